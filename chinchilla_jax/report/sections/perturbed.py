"""The runs of a study under perturbations: all conditions at one budget, each family, and their trends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chinchilla_jax.plots.sweeps import title_of
from chinchilla_jax.report import curves, tables
from chinchilla_jax.report.content import Section
from chinchilla_jax.report.figures import ratios_first

if TYPE_CHECKING:
    from chinchilla_jax.report.facts import Facts
    from chinchilla_jax.report.figures import PageFigure


def perturbed(facts: Facts, placed: Mapping[str, Sequence[PageFigure]]) -> list[Section]:
    """The sections, from the figures by their place (`section_of`)."""
    every = [tables.at_budget(facts)]
    if not facts.families:
        return [Section(id="conditions", title="Conditions", tables=every)]
    first = Section(
        id="perturbed", title="Perturbed runs", figures=placed.get("perturbations", ()), tables=every
    )
    return [first, *(_family(facts, name, placed.get(name, ())) for name in facts.families), *_trends(facts)]


def _family(facts: Facts, family: str, figures: Sequence[PageFigure]) -> Section:
    title = title_of(family)
    return Section(
        id=family,
        title=title,
        short=title.partition(":")[0],
        explorers=curves.family_explorer(facts, family),
        figures=ratios_first(figures),
        tables=[tables.family_ratios(facts, family), tables.family_params(facts, family)],
    )


def _trends(facts: Facts) -> list[Section]:
    table = tables.trends(facts)
    return [Section(id="all-trends", title="Trends", tables=[table])] if len(table) else []
