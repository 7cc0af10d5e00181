"""The page of a table without a study: the list of its sections, and the answer at their top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax._util.labels import COUNTING_NAMES, INTERVAL_COLUMNS, quantity_label
from chinchilla_jax._util.text import counts_text, flops_text
from chinchilla_jax.planning.plans import plan
from chinchilla_jax.planning.plausibility import NEW_RUN_LOSS
from chinchilla_jax.report.cells import page_table
from chinchilla_jax.report.content import Linked, Page, Section, plain_text
from chinchilla_jax.report.numbers import answer_texts, by_column, half_width
from chinchilla_jax.report.sections.advice import advice, next_beside
from chinchilla_jax.report.sections.fitted import fitted
from chinchilla_jax.report.sections.quality import quality
from chinchilla_jax.report.sections.sure import rivals_beside, sure
from chinchilla_jax.study.environment import drawn_by, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from chinchilla_jax._util.side_process import SideProcess
    from chinchilla_jax.planning.plans import Plan
    from chinchilla_jax.report.cells import PageTable
    from chinchilla_jax.report.content import Sentence
    from chinchilla_jax.report.subject import Subject

_SAME = 5e-3  # as budgets are rounded to three digits
_LOSSES = {NEW_RUN_LOSS: "loss"}
_SHOWN = (*INTERVAL_COLUMNS, "median")
_QUANTITIES = ("params", "tokens", "tokens_per_param", "loss")


def table_page(subject: Subject, side: SideProcess | None = None) -> Page:
    """The page of a bootstrap of one table; a side process answers what takes fits of its own."""
    next_ones, rivals = next_beside(subject, side), rivals_beside(subject, side)
    top = answer(subject)
    return Page(
        title=f"Scaling law of {subject.name}",
        about=f"{len(subject.runs):,} runs, {len(subject.boot.steps):,} resamples, chinchilla_jax "
        f"{drawn_by()['chinchilla_jax']}",
        description=plain_text(top.paragraphs[0]),
        sections=[
            top,
            *fitted(subject),
            *quality(subject),
            *advice(subject, next_ones),
            *sure(subject, rivals),
            read(subject),
        ],
    )


def answer(subject: Subject) -> Section:
    """The prescription at the first budget with its doubts, and what the reader must know before using it."""
    made = _plan(subject)
    warnings: list[Sentence] = [[f"Warning: {line}."] for line in subject.boot.warnings]
    if isinstance(made, ChinchillaError):
        said: Sentence = [f"These runs give no prescription: {str(made).rstrip('.')}."]
        return Section(id="answer", title="Answer", paragraphs=[said], notes=warnings)
    rows = made.table.set_index("quantity")
    anchors = {name: f"answer-{name}" for name in _QUANTITIES}
    return Section(
        id="answer",
        title="Answer",
        key_figures=[
            (Linked(_row_texts(name, rows.loc[name])[0], anchors[name]), _meaning(name))
            for name in _QUANTITIES
        ],
        paragraphs=[_prescription(subject, rows, made.doubts, anchors), _evidence(subject)],
        notes=warnings,
        tables=[_numbers(subject, made, anchors)],
    )


def _plan(subject: Subject) -> Plan | ChinchillaError:
    if isinstance(subject.sample, ChinchillaError):
        return subject.sample
    try:
        return plan(subject.sample, flops=subject.flops[0], level=subject.level)
    except ChinchillaError as error:
        return error


def _meaning(quantity: str) -> str:
    return {"params": "parameters", "tokens": "training tokens", "loss": "predicted loss"}.get(
        quantity, quantity_label(quantity)
    )


def _prescription(
    subject: Subject, rows: pd.DataFrame, doubts: Mapping[str, str], anchors: Mapping[str, str]
) -> Sentence:
    """What to train at the budget of the answer."""

    def number(quantity: str, unit: str = "") -> list[str | Linked]:
        estimate, low, high, _ = _row_texts(quantity, rows.loc[quantity])
        return [Linked(f"{estimate}{unit}", anchors[quantity]), f" ({low} to {high})"]

    budget, largest = subject.flops[0], None if subject.range is None else subject.range[1]
    own = largest is not None and abs(budget / largest - 1) < _SAME
    doubt = "; ".join(dict.fromkeys(doubts[name] for name in ("flops", *_QUANTITIES) if name in doubts))
    return [
        f"At {flops_text(budget)} FLOP{', the compute of the largest run,' if own else ','} the "
        f"{len(subject.runs):,} runs of {subject.name} call for ",
        *number("params", " parameters"),
        " and ",
        *number("tokens", " tokens"),
        ": ",
        *number("tokens_per_param", " tokens per parameter"),
        ". The law predicts a loss of ",
        *number("loss", f" {subject.runs.loss_unit}"),
        f". In brackets: the {subject.interval}{f' ({doubt})' if doubt else ''}.",
    ]


def _evidence(subject: Subject) -> Sentence:
    boot = subject.boot
    lost = int((~boot.counted).sum())
    left = f", of which {lost:,} do not count" if lost else ""
    return [f"The intervals rest on {len(boot.steps):,} resamples{left}."]


def _numbers(subject: Subject, made: Plan, anchors: Mapping[str, str]) -> PageTable:
    table = made.table[made.table["quantity"].isin([*_QUANTITIES, NEW_RUN_LOSS])]
    names = table["quantity"].tolist()
    texts = [_row_texts(name, row) for name, (_, row) in zip(names, table.iterrows(), strict=True)]
    shown = table.assign(quantity=[quantity_label(name, subject.runs.loss_unit) for name in names])
    doubts = [made.doubts.get(name, "") for name in names]
    if any(doubts):
        shown = shown.assign(doubt=doubts)
    return page_table(
        shown,
        id="answer-numbers",
        title=f"The prescription at {flops_text(subject.flops[0])} FLOP",
        caption=f"With the {subject.interval}.",
        anchors=[anchors.get(name, "") for name in names],
        texts=by_column(_SHOWN, texts),
    )


def _row_texts(quantity: str, row: Mapping[str, float]) -> list[str]:
    """The numbers of a row of the plan, in the order of `_SHOWN`."""
    values = [float(row[name]) for name in _SHOWN]
    return answer_texts(_LOSSES.get(quantity, quantity), values, half_width(*values[1:3]))


def read(subject: Subject) -> Section:
    """What was read of the table, and how it was fitted."""
    boot, fit, runs = subject.boot, subject.fit, subject.runs
    counts = counts_text(boot.counts())
    return Section(
        id="run",
        title="What was read and fitted",
        short="What was read",
        terms=[
            ("Data", "; ".join([f"{subject.name}, {len(runs):,} runs", *runs.read_lines])),
            ("Hash of the data", runs.data_hash),
            ("Counting of parameters", COUNTING_NAMES.get(runs.counting, runs.counting)),
            ("Law", fit.model.name),
            ("Objective", repr(fit.objective)),
            ("Resamples", f"{len(boot.steps):,} by scheme {boot.scheme.text}: {counts}"),
            ("Intervals", subject.interval),
            ("Training cost", fit.cost.evidence.text(fit.cost) if fit.cost.evidence else "6 N D"),
            ("Versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
        ],
    )
