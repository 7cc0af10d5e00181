"""The page of a multiverse: what all analyses of a table say, and which choice of the analyst moves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.labels import percent_text, quantity_label
from chinchilla_jax._util.text import count_text, flops_text, list_text
from chinchilla_jax.plots import specification_curve
from chinchilla_jax.report.cells import page_table
from chinchilla_jax.report.content import Page, Section
from chinchilla_jax.report.drawn import drawn_figure
from chinchilla_jax.report.numbers import answer_text
from chinchilla_jax.study.environment import drawn_by
from chinchilla_jax.study.multiverse.quantities import QUANTITIES

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.analysis import MultiverseAnswer
    from chinchilla_jax.report.cells import PageTable
    from chinchilla_jax.report.figures import PageFigure
    from chinchilla_jax.study.multiverse.result import MultiverseResult

_RATIO = "tokens_per_param"
_MOST_ROWS = 1000  # of the table of analyses; the others are in its Parquet or in Python
_MOST_CURVES = 4  # budgets with a figure


def multiverse_page(found: MultiverseResult) -> Page:
    """The page of a multiverse; where no analysis has an answer, it says why.

    Args:
        found: of `cj.multiverse`.
    """
    budgets = [float(each) for each in found.flops if found.has_answer(float(each))]
    answers = {flops: found.answer(_RATIO, flops) for flops in budgets}
    said = [answer.sentence for answer in answers.values()] or ["No analysis has an answer."]
    sections = [
        Section(
            id="answer",
            title="Answer",
            paragraphs=[[each] for each in said],
            notes=[[note] for note in ([found.failed_text] if found.n_failed else []) + list(found.notes)],
            figures=[_curve(found, flops, answers[flops]) for flops in budgets[:_MOST_CURVES]],
        )
    ]
    if budgets:
        sections += [
            Section(
                id="choices",
                title="Which choice moves the answer",
                paragraphs=[_explained()],
                tables=_effects(answers[budgets[0]], budgets[0]),
            ),
            Section(
                id="intervals",
                title="Choices and resampling together",
                tables=[_intervals(found, budgets)],
            ),
        ]
    sections += [
        Section(id="analyses", title="The analyses", tables=_analyses(found)),
        Section(id="run", title="What was run", terms=_terms(found)),
    ]
    return Page(
        title=f"Every analysis of {found.data}",
        about=f"{count_text(len(found), 'analysis', 'analyses')}, {found.resamples:,} resamples of each, "
        f"chinchilla_jax {drawn_by()['chinchilla_jax']}",
        description=said[0],
        sections=sections,
    )


def _explained() -> list[str]:
    return [
        "The shares split the variance between the analyses, and sum to 1. Alone is what a choice explains "
        "if no other is known, total what it leaves open if all others are; the move is the largest between "
        "two of its options, over pairs of analyses that agree in all else."
    ]


def _curve(found: MultiverseResult, flops: float, answer: MultiverseAnswer) -> PageFigure:
    caption = (
        f"The compute-optimal tokens per parameter at {flops_text(flops)} FLOP by every analysis, in order, "
        f"with {percent_text(found.level)} intervals; below, the options that each one took; beside them, "
        "the share of the variance that each choice makes."
    )
    return drawn_figure(f"specification_curve_{flops:g}", caption, lambda: specification_curve(answer)[0])


def _effects_table(effects: pd.DataFrame, id: str, title: str, caption: str) -> PageTable:
    """Effects or interactions of choices, shares in percent."""
    shares = [name for name in ("share", "alone", "total") if name in effects]
    texts = {name: [f"{100 * each:.1f}%" for each in effects[name]] for name in shares}
    return page_table(effects, id=id, title=title, caption=caption, texts=texts)


def _effects(answer: MultiverseAnswer, flops: float) -> list[PageTable]:
    at = f"at {flops_text(flops)} FLOP"
    tables = [
        _effects_table(
            answer.effects, "effects", "Of the answer",
            f"Shares of the variance of the logarithm of tokens per parameter {at}.",
        )
    ]  # fmt: skip
    if len(answer.interactions):
        caption = "Share of the variance beyond what the two explain one by one."
        title = "Pairs of choices that do more together"
        tables.append(_effects_table(answer.interactions, "interactions", title, caption))
    if answer.is_resampled:
        caption = "Of the ratio of its limits: which choice makes the answer look more certain."
        title = "Of the width of the interval"
        tables.append(_effects_table(answer.width_effects, "width-effects", title, caption))
    return tables


def _intervals(found: MultiverseResult, budgets: list[float]) -> PageTable:
    import pandas as pd

    rows: list[dict[str, Any]] = []
    quantities = []
    for flops in budgets:
        for quantity in QUANTITIES:
            answer = found.answer(quantity, flops)
            if not answer.is_resampled:
                continue
            quantities.append(quantity)
            interval, variance, facts = answer.interval, answer.variance, answer.facts
            rows.append(
                {
                    "flops": flops, "quantity": quantity_label(quantity, found.loss_unit),
                    "lowest": facts.lowest, "low": interval.low,
                    "median": interval.median, "high": interval.high,
                    "highest": facts.highest, "default": facts.default, "default low": interval.default_low,
                    "default high": interval.default_high, "times as wide": interval.times_as_wide,
                    "share of choices": variance.share_of_choices,
                }
            )  # fmt: skip
    texts = {
        name: [answer_text(each, row[name]) for each, row in zip(quantities, rows, strict=True)]
        for name in ("lowest", "low", "median", "high", "highest", "default", "default low", "default high")
    }
    texts["share of choices"] = [f"{row['share of choices']:.0%}" for row in rows]
    return page_table(
        pd.DataFrame(rows),
        id="pooled",
        title="By budget",
        caption=f"{percent_text(found.level)} of the resamples of all analyses, each analysis of the same "
        "weight, beside the default analysis by itself. It says how far the answer moves if both the choices "
        "and the runs are open; it promises no coverage.",
        texts=texts,
    )


def _analyses(found: MultiverseResult) -> list[PageTable]:
    every = found.table[found.table["quantity"] == _RATIO].drop(columns="quantity")
    shown = _spread(every.sort_values(["flops", "estimate"]), _MOST_ROWS)
    said = "" if len(shown) == len(every) else f" {len(shown):,} of {len(every):,}, evenly spaced in rank."
    tables = [
        page_table(
            shown,
            id="analyses-table",
            title="Tokens per parameter by analysis",
            caption=f"In the order of the answers.{said}",
            fold=True,
        )
    ]
    if found.n_failed:
        tables.append(
            page_table(
                found.failures(), id="failures", title="Analyses without an answer", caption="And why."
            )
        )
    return tables


def _spread(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    if len(rows) <= most:
        return rows
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))]


def _terms(found: MultiverseResult) -> list[tuple[str, str]]:
    named = [(name, list_text(list(options), 12)) for name, options in found.choices.items() if options]
    return [
        ("Data", f"{found.data}, {count_text(found.n_runs, 'run')}"),
        *named,
        ("Parameters in every answer", found.counting),
        ("Resamples", f"{found.resamples:,} of each analysis, seed {found.seed}"),
    ]
