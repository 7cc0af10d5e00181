"""The runs of a study as they are, by each way to count their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chinchilla_jax.report import curves, tables
from chinchilla_jax.report.content import Section
from chinchilla_jax.report.figures import ratios_first

if TYPE_CHECKING:
    from chinchilla_jax.report.facts import Facts
    from chinchilla_jax.report.figures import PageFigure


def unperturbed(facts: Facts, figures: Sequence[PageFigure]) -> list[Section]:
    """The section; none if the study has no unperturbed condition."""
    if not len(facts.countings):
        return []
    shown = [tables.unperturbed_params(facts), tables.unperturbed_ratios(facts)]
    if len(set(facts.study.spec.flops)) > 1:  # a slope needs two budgets
        shown.append(tables.slopes(facts))
    return [
        Section(
            id="unperturbed",
            title="Unperturbed runs",
            short="Unperturbed",
            explorers=curves.unperturbed_explorer(facts),
            figures=ratios_first(figures),
            tables=shown,
        )
    ]
