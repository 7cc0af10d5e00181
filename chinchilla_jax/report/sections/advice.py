"""What to do: the best run of each budget with its bands, and what further runs would bring."""

from __future__ import annotations

import dataclasses
import shlex
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chinchilla_jax import plots
from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax._util.labels import INTERVAL_COLUMNS, quantity_label
from chinchilla_jax._util.side_process import SideProcess, taken
from chinchilla_jax._util.text import count_text, flops_text
from chinchilla_jax.planning.design import next_runs
from chinchilla_jax.planning.optimum_curve import CURVES, optimum_curve
from chinchilla_jax.planning.plausibility import band_doubts
from chinchilla_jax.plots.grids import BEYOND
from chinchilla_jax.report.cells import page_table
from chinchilla_jax.report.content import Listing, Section
from chinchilla_jax.report.curves import optimum_explorer
from chinchilla_jax.report.drawn import drawn_figure
from chinchilla_jax.report.numbers import answer_texts, half_width, shown

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws import Law
    from chinchilla_jax.report.cells import PageTable
    from chinchilla_jax.report.content import Sentence
    from chinchilla_jax.report.figures import PageFigure
    from chinchilla_jax.report.subject import Subject

_NEXT_RUNS = 3
_CERTAIN = 2.0  # Monte-Carlo errors by which a width is narrower
_RESAMPLES, _TABLES, _REFITS = 200, 16, 50  # of the question what they bring: under a second
_MOST_BUDGETS = 9
_SYMBOLS = {"params": "N", "tokens": "D", "tokens_per_param": "D/N", "loss": "L"}
_COLUMNS = {name: quantity_label(name).partition(" (")[0] for name in _SYMBOLS}


def advice(subject: Subject, beside: Future[_Next] | None = None) -> list[Section]:
    """The section; none if the law prescribes nothing.

    Args:
        subject: of the page.
        beside: what `next_beside` has begun.
    """
    if isinstance(subject.sample, ChinchillaError) or not subject.flops:
        return []
    try:
        table = optimum_curve(subject.sample, _budgets(subject), level=subject.level)
        explorers = optimum_explorer(subject)
    except ChinchillaError:
        return []
    if not np.isfinite(table["estimate"]).any():
        return []
    found = _next(subject, beside)
    return [
        Section(
            id="advice",
            title="What to do",
            paragraphs=[
                [
                    "The best run of each budget: its parameters, its training tokens, and the loss that the "
                    f"law predicts, each with its {subject.interval}."
                ],
                *_brings(subject, found),
            ],
            explorers=explorers,
            stills=[_figure(subject, name) for name in ("params", "tokens") if subject.pictures],
            tables=[_optima(subject, table), *([] if found is None else [_next_table(found)])],
            listings=[_command(subject)],
        )
    ]


def _budgets(subject: Subject) -> list[float]:
    """Powers of ten from the smallest run to a hundred times the largest, and the reader's budgets."""
    low, high = subject.range or (min(subject.flops), max(subject.flops))
    tens = 10.0 ** np.arange(np.ceil(np.log10(low)), np.floor(np.log10(BEYOND * high)) + 1)
    step = -(-len(tens) // _MOST_BUDGETS)
    return sorted({float(f"{budget:.3g}") for budget in tens[::step]} | set(subject.flops))


def _optima(subject: Subject, table: pd.DataFrame) -> PageTable:
    """One row per budget, each quantity with the ends of its interval."""
    rows = {name: table[table["quantity"] == name].reset_index(drop=True) for name in CURVES}
    flops = rows["params"]["flops"]
    frame, texts = pd.DataFrame({"flops": flops}), {"flops": [flops_text(value) for value in flops]}
    for name in _SYMBOLS:
        numbers = zip(*(rows[name][column] for column in INTERVAL_COLUMNS), strict=True)
        read = [answer_texts(name, each, half_width(*each[1:])) for each in numbers]
        for i, column in enumerate(INTERVAL_COLUMNS):
            label = _COLUMNS[name] if column == INTERVAL_COLUMNS[0] else f"{_SYMBOLS[name]} {column}"
            frame[label] = rows[name][column]
            texts[label] = [each[i] for each in read]
    doubts = band_doubts(rows["tokens_per_param"], subject.range[1] if subject.range else None)
    return page_table(
        frame.assign(doubt=doubts) if any(doubts) else frame,
        id="prescriptions",
        title="The best run of each budget",
        caption=f"Low and high: the {subject.interval} of the number before them.",
        anchors=[f"prescription-{i}" for i in range(len(frame))],
        texts=texts,
    )


def _figure(subject: Subject, quantity: str) -> PageFigure:
    caption = (
        f"Compute-optimal {quantity_label(quantity)} of each budget, with the {subject.interval}. "
        "Shaded is the range of the runs; dashed is beyond it."
    )
    return drawn_figure(
        f"optimum_{quantity}", caption, plots.bootstrap, subject.boot, quantity,
        flops=subject.flops, level=subject.level,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Next:
    """What the page says of `NextRuns`, whose fields they are: what another process can hand over."""

    table: pd.DataFrame
    widths: pd.DataFrame
    flops: float
    n_fits: int


def next_beside(subject: Subject, side: SideProcess | None) -> Future[_Next] | None:
    """Have the side process, if there is one, choose the next runs while other sections are made."""
    if side is None or not subject.quick or isinstance(subject.sample, ChinchillaError) or not subject.flops:
        return None
    return side.submit(_chosen, subject.runs, subject.fit.model, **_next_options(subject))


def _next(subject: Subject, beside: Future[_Next] | None) -> _Next | None:
    """What some more runs would bring, where that is quick and has an answer."""
    if not subject.quick:
        return None
    try:
        return taken(beside) or _chosen(subject.runs, subject.fit.model, **_next_options(subject))
    except ChinchillaError:
        return None


def _chosen(runs: Runs, law: Law, /, **options: Any) -> _Next:
    found = next_runs(runs, law, **options)
    return _Next(found.table, found.widths, found.flops, found.n_fits)


def _next_options(subject: Subject) -> dict[str, Any]:
    return {
        "flops": subject.flops[0], "allowance": _allowance(subject), "runs": _NEXT_RUNS,
        "level": subject.level, "resamples": _RESAMPLES, "tables": _TABLES, "refits": _REFITS,
        "objective": subject.fit.objective, "weights": subject.fit.weights, "scheme": subject.boot.scheme,
        "cost": subject.fit.cost, "progress": None,
    }  # fmt: skip


def _allowance(subject: Subject) -> float:
    """The compute of the largest run, as far as that is known."""
    return float(f"{subject.range[1] if subject.range else subject.flops[0]:.3g}")


def _brings(subject: Subject, found: _Next | None) -> list[Sentence]:
    if found is None:
        return []
    first = found.widths.iloc[0]
    change = 100 * float(1 - first["after"] / first["before"])
    error = 100 * float(first["error"] / first["before"])
    at = f"the interval of the tokens per parameter at {flops_text(subject.flops[0])} FLOP"
    runs = f"{count_text(len(found.table), 'more run')} for {flops_text(found.flops)} FLOP in all"
    if change > _CERTAIN * error:
        return [[f"{runs} narrow {at} by about {shown(change, 1)}%, by {found.n_fits:,} simulated fits."]]
    return [
        [
            f"{runs} narrow {at} by no more than {found.n_fits:,} simulated fits can tell "
            f"({shown(change, 1)}% \u00b1 {shown(error, 1)}%)."
        ]
    ]


def _next_table(found: _Next) -> PageTable:
    names = ["params", "tokens", "flops", "tokens_per_param"]
    return page_table(
        found.table[names].rename(columns={"tokens_per_param": quantity_label("tokens_per_param")}),
        id="next-runs",
        title="Runs to train next",
        caption="Those that narrow the interval most to first order, for the compute of the largest run; the "
        "best first.",
    )


def _command(subject: Subject) -> Listing:
    return Listing(
        id="next-command",
        label="Command to choose the next runs",
        lead="To ask for another quantity, allowance or machine, add the options that read this table:",
        text=f"chinchilla-jax next {shlex.quote(subject.name)} --flops {flops_text(subject.flops[0])} "
        f"--allowance {flops_text(_allowance(subject))} --runs {_NEXT_RUNS}",
    )
