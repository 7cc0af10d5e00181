"""What was fitted: the runs with the law's curves, and the parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chinchilla_jax import plots
from chinchilla_jax._util.labels import quantity_label, with_symbols
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.report.cells import page_table
from chinchilla_jax.report.content import Section
from chinchilla_jax.report.drawn import drawn_figure
from chinchilla_jax.report.numbers import answer_texts, by_column, half_width
from chinchilla_jax.report.run_points import loss_explorer

if TYPE_CHECKING:
    from chinchilla_jax.report.cells import PageTable
    from chinchilla_jax.report.figures import PageFigure
    from chinchilla_jax.report.subject import Subject

_AGAINST = {
    "flops": "at five sizes, with the lowest loss of each budget",
    "params": "at one budget each: IsoFLOP slices",
    "tokens": "at five sizes",
}


def fitted(subject: Subject) -> list[Section]:
    """The section; none if the fit is not certified."""
    if not subject.fit.status.certified:
        return []
    n, law = len(subject.runs), subject.fit.model
    formula = f" L = {with_symbols(law.formula)} (law {law.name})" if law.formula else f" {law.name}"
    span = subject.range
    where = "" if span is None else f" from {flops_text(span[0])} to {flops_text(span[1])} FLOP"
    return [
        Section(
            id="fitted",
            title="What was fitted",
            paragraphs=[
                [
                    f"The law{formula} was fitted to {n:,} runs{where}. The shaded range of a "
                    "figure is that of the runs; a dashed curve is extrapolated."
                ]
            ],
            explorers=[loss_explorer(subject)],
            stills=[_figure(subject, against) for against in _AGAINST if subject.pictures],
            tables=[_parameters(subject)],
        )
    ]


def _figure(subject: Subject, against: str) -> PageFigure:
    caption = (
        f"Loss of the runs against {quantity_label(against)}, and the fitted law {_AGAINST[against]}. Shaded "
        "is the range of the runs; dashed is beyond it."
    )
    return drawn_figure(f"fit_{against}", caption, plots.fit, subject.fit, against=against)


def _parameters(subject: Subject) -> PageTable:
    boot = subject.boot
    table = boot.interval(subject.level).assign(standard_error=boot.standard_errors()["standard_error"])
    numbers = ["estimate", "standard_error", "low", "high"]
    texts = [
        answer_texts(name, row, row[1] if math.isfinite(row[1]) else half_width(*row[2:]))
        for name, *row in table[["parameter", *numbers]].itertuples(index=False, name=None)
    ]
    return page_table(
        table[["parameter", *numbers]],
        id="fitted-parameters",
        title="Parameters",
        caption=f"Estimates on all runs, with the {subject.interval} over {int(boot.counted.sum()):,} of "
        f"{len(boot.steps):,} resamples.",
        texts=by_column(numbers, texts),
        law="" if subject.fit.model.name == "chinchilla" else subject.fit.model.name,
    )
