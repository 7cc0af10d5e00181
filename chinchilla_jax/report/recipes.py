"""The page of a comparison of recipes: one self-contained file with its figure and its tables."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from chinchilla_jax._util.directories import open_file
from chinchilla_jax._util.labels import interval_text
from chinchilla_jax._util.text import list_text
from chinchilla_jax.plots import comparison
from chinchilla_jax.report.cells import page_table
from chinchilla_jax.report.content import Page, Section
from chinchilla_jax.report.drawn import drawn_figure
from chinchilla_jax.report.page import html, write_text
from chinchilla_jax.study.environment import drawn_by

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.planning import Comparison
    from chinchilla_jax.report.cells import PageTable
    from chinchilla_jax.report.figures import PageFigure


def write_comparison(found: Comparison, path: str | os.PathLike[str]) -> Path | str:
    """Write the page of a comparison.

    Args:
        found: what `cj.compare` returned.
        path: the file to write or replace, or its URL.

    Returns:
        The file: a path, or a URL.

    Raises:
        ImportError: jinja2 is not installed.
        OSError: the file cannot be written.
    """
    folder, name = open_file(path)
    return write_text(folder, name, render_comparison(found))


def render_comparison(found: Comparison) -> str:
    """The page as text."""
    names, several = list(found.runs), len(found.runs) > 2
    counted = int(found.laws.counted.sum())
    interval = f"{interval_text(found.level, 'percentile')} over {counted:,} resamples"
    sections = [
        Section(
            id="answer",
            title="Answer",
            paragraphs=[[f"{line}."] for line in found.sentences],
            notes=[[f"Warning: {line}."] for line in found.warnings],
        ),
        Section(
            id="multipliers",
            title="Compute multipliers",
            figures=[_picture(found, interval)],
            tables=[_multipliers(found, interval), _losses(found)],
        ),
        Section(id="crossings", title="Where they cross", tables=[_crossings(found)]),
    ]
    if several:
        sections.append(Section(id="ranking", title="Which is best", tables=_ranking(found)))
    if found.places is not None:
        sections.append(Section(id="places", title="At fixed runs", tables=[_places(found)]))
    sections += [
        Section(id="parameters", title="Parameters", tables=_parameters(found)),
        Section(id="curve", title="The whole curve", tables=[_curve(found)]),
        Section(id="run", title="What was compared", terms=_terms(found, interval), tables=[_recipes(found)]),
    ]
    page = Page(
        title=f"{list_text(names[1:])} against {found.baseline}",
        about=f"{len(names)} recipes, {counted:,} resamples of each, chinchilla_jax "
        f"{drawn_by()['chinchilla_jax']}",
        description=found.sentences[0],
        sections=sections,
    )
    return html(page)


def _terms(found: Comparison, interval: str) -> list[tuple[str, str]]:
    shared = found.laws.shared
    return [
        ("Baseline", found.baseline),
        ("Compute", "6 N D" if found.along_6nd else "the FLOP of the tables"),
        ("Resampling", found.laws.pairing),
        ("In common", "nothing" if shared is None else f"parameters: {shared}"),
        ("Intervals", interval),
    ]


def _picture(found: Comparison, interval: str) -> PageFigure:
    return drawn_figure(
        "recipes",
        f"How many times the compute {found.baseline} needs for the loss of each recipe, and the compute-"
        f"optimal losses beside the runs: {interval}, and band that holds whole curves.",
        lambda: comparison(found)[0],
    )


def _recipes(found: Comparison) -> PageTable:
    import pandas as pd

    rows = []
    for name, runs in found.runs.items():
        fit = found.laws.fits.get(name)
        good = None if fit is None else fit.goodness
        lack = None if good is None else good.lack_of_fit
        rows.append(
            {
                "recipe": name,
                "runs": len(runs),
                "least FLOP": float(found.compute[name].min()),
                "largest FLOP": float(found.compute[name].max()),
                "residual scale %": None if good is None else good.scale_percent,
                "R2 of ln L": None if good is None else good.r_squared,
                "farthest run": "" if good is None else f"{good.largest_row}, {good.largest_percent:+.3g}%",
                "lack of fit p": None if lack is None else lack.p,
                "hash of the data": runs.data_hash,
            }
        )
    return page_table(
        pd.DataFrame(rows),
        id="recipes",
        title="Recipes",
        caption="Their runs, and how well the law describes them.",
    )


def _multipliers(found: Comparison, interval: str) -> PageTable:
    columns = ["recipe", "flops", "multiplier", "low", "high", "adjusted_low", "adjusted_high", "better"]
    return page_table(
        found.table[columns].assign(doubt=found.doubts),
        id="multipliers-table",
        title="Times the compute that the baseline needs",
        caption=f"For the same compute-optimal loss, with the {interval}. Adjusted limits hold for all rows "
        "at once; better is the share of the resamples in which the recipe is.",
    )


def _losses(found: Comparison) -> PageTable:
    columns = ["recipe", "flops", "loss", "baseline_loss", "difference", "difference_low", "difference_high"]
    return page_table(
        found.table[columns],
        id="losses",
        title="Compute-optimal losses",
        caption=f"And their difference from that of {found.baseline}, in {found.loss_unit}.",
    )


def _crossings(found: Comparison) -> PageTable:
    return page_table(
        found.crossings,
        id="crossings-table",
        title="Budgets at which the better recipe changes",
        caption="The first in the range of the figure: of the fits, and of the resamples that cross; share "
        "is how many of them do.",
    )


def _ranking(found: Comparison) -> list[PageTable]:
    assert found.ranking is not None and found.leads is not None
    return [
        page_table(
            found.ranking,
            id="ranking-table",
            title="Probability of being best and second",
            caption="Less what choosing the best adds. A recipe may be best unless another is better with "
            "simultaneous confidence over all pairs.",
        ),
        page_table(
            found.leads,
            id="leads",
            title="Leads of the best over the second",
            caption="As multipliers of compute; corrected is less what choosing the best of several adds, "
            "and the interval is of that.",
        ),
    ]


def _places(found: Comparison) -> PageTable:
    assert found.places is not None
    return page_table(
        found.places,
        id="places-table",
        title="Fixed runs",
        caption="Loss and its difference, and the multiplier at the same tokens per parameter and at the "
        "same size.",
    )


def _parameters(found: Comparison) -> list[PageTable]:
    tables = [
        page_table(
            found.parameters,
            id="parameters-table",
            title="Parameters side by side",
            caption=f"With intervals of their differences from those of {found.baseline}.",
        )
    ]
    if found.sharing:
        tables.append(
            page_table(
                _sharing(found),
                id="sharing",
                title="What the recipes could have in common",
                caption="Wald tests on the resamples; a small p rejects.",
            )
        )
    return tables


def _sharing(found: Comparison) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([dataclasses.asdict(test) for test in found.sharing])


def _curve(found: Comparison) -> PageTable:
    return page_table(
        found.curve,
        id="curve-table",
        title="Multipliers by budget",
        caption="What the figure shows.",
    )
