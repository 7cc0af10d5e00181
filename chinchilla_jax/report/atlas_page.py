"""The page of an atlas: what holds where, the tables side by side, and what cannot be said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.labels import interval_text
from chinchilla_jax._util.text import count_text, list_text
from chinchilla_jax.analysis.claim_rules import FAILS, HOLDS, LEVEL, UNDETERMINED
from chinchilla_jax.analysis.claims import CLAIMS
from chinchilla_jax.plots import (
    atlas_breakdown,
    atlas_claims,
    atlas_ratios,
    atlas_slopes,
    atlas_table,
    save_figures,
)
from chinchilla_jax.plots.panels import unshown
from chinchilla_jax.report.cells import page_table
from chinchilla_jax.report.content import Page, Section
from chinchilla_jax.report.drawn import drawn_figure
from chinchilla_jax.report.page import html, write_text
from chinchilla_jax.study.atlas.store import place
from chinchilla_jax.study.derived import FIGURES, PAGE
from chinchilla_jax.study.environment import drawn_by

if TYPE_CHECKING:
    from chinchilla_jax.report.content import Sentence
    from chinchilla_jax.study.atlas import Atlas

_CRITERIA: Mapping[str, str] = {
    "ratio_leaves_interval": "the median tokens per parameter at the compute of the largest run leave their "
    "interval without any error",
    "slope_excludes_zero": "the interval of the slope leaves out zero",
}


def write_atlas_page(atlas: Atlas, *, figures: bool = True) -> Path | str:
    """Write report.html of an atlas into its directory, and its figures into figures/.

    Args:
        atlas: finished.
        figures: whether to draw the figures; the page shows its own either way.

    Returns:
        The page: a path, or a URL.
    """
    directory = atlas.directory
    if figures:
        with unshown():
            save_figures(atlas_figures(atlas), place(directory, FIGURES), formats=("png", "pdf"))
    return write_text(directory, PAGE, html(atlas_page(atlas)))


def atlas_figures(atlas: Atlas) -> Iterator[tuple[str, Any]]:
    """Every figure of an atlas, by name; each is drawn when it is asked for."""
    yield "claims", atlas_claims(atlas.claims)
    yield "slopes", atlas_slopes(atlas.slopes)
    yield "tokens_per_param_largest", atlas_ratios(atlas.ratios)
    yield "tokens_per_param_beyond", atlas_ratios(atlas.ratios, budget="ten times that")
    for criterion in _CRITERIA:
        if len(atlas.breakdown):
            yield f"breakdown_{criterion}", atlas_breakdown(atlas.breakdown, criterion)
    for table in atlas.info["tables"]:
        yield f"table_{table}", atlas_table(atlas.sensitivity, table)


def atlas_page(atlas: Atlas) -> Page:
    """The page of a finished atlas."""
    tables = atlas.info["tables"]
    fits = int(atlas.overview["fits"].sum())
    sentences = _answer(atlas)
    interval = interval_text(LEVEL, "percentile")
    return Page(
        title="Atlas of scaling laws",
        about=f"{count_text(len(tables), 'table')}, {fits:,} bootstrap fits, chinchilla_jax "
        f"{drawn_by()['chinchilla_jax']}",
        description=sentences[0][0] if isinstance(sentences[0][0], str) else "",
        sections=[
            Section(id="answer", title="Answer", paragraphs=sentences, notes=_multiplicity(atlas)),
            _claims(atlas),
            _slopes(atlas, interval),
            _ratios(atlas, interval),
            _breakdown(atlas, interval),
            _each(atlas, interval),
            _tables(atlas),
        ],
        made_from=" from the tables in this directory",
    )


def _answer(atlas: Atlas) -> list[Sentence]:
    """Per claim, on which tables it holds, on which it fails."""
    claims = atlas.claims
    found: list[Sentence] = []
    for claim in CLAIMS:
        rows = claims[claims["claim"] == claim.name]
        by = {name: list(rows.loc[rows["verdict"] == name, "table"]) for name in (HOLDS, FAILS, UNDETERMINED)}
        asked = sum(len(each) for each in by.values())
        parts = [f"holds on {len(by[HOLDS])} of {asked}"]
        if by[FAILS]:
            parts.append(f"fails on {list_text(by[FAILS], len(by[FAILS]))}")
        if by[UNDETERMINED]:
            parts.append(f"undetermined on {list_text(by[UNDETERMINED], len(by[UNDETERMINED]))}")
        found.append([f"{claim.sentence}: {'; '.join(parts)}."])
    return found


def _multiplicity(atlas: Atlas) -> list[Sentence]:
    counts = atlas.multiplicity
    return [
        [
            f"Of {counts['judged']} cells, theorems apart, {counts['holds']} hold, {counts['fails']} fail "
            f"and {counts['undetermined']} are undetermined. Were every truth at its margin, chance alone "
            f"would decide {counts['by_chance']:g} of the {counts['judged']} wrongly. Of the "
            f"{counts['holds'] + counts['fails']} that are decided, {counts['survive']} stand when all "
            f"{counts['judged']} are judged together (Holm 1979), and are in bold "
            "in the figure. Tables that share authors, sizes or validation sets are not independent."
        ]
    ]


def _claims(atlas: Atlas) -> Section:
    import pandas as pd

    rules = pd.DataFrame(
        [{"claim": each.name, "is that": each.sentence, "holds if": each.rule} for each in CLAIMS]
    )
    return Section(
        id="claims",
        title="The claims of the published study, table by table",
        short="Claims",
        figures=[
            drawn_figure(
                "claims", "What each table says about each claim.", lambda: atlas_claims(atlas.claims)
            )
        ],
        tables=[
            page_table(
                rules,
                id="rules",
                title="Rules",
                caption="Fixed before any table was judged: a claim holds where the whole interval lies "
                "within the margin, fails where it lies beyond it, and is undetermined otherwise.",
            ),
            page_table(
                atlas.claims,
                id="verdicts",
                title="Verdicts",
                caption="With the change that decided, its interval and its margin; p is the share of the "
                "resamples that contradict the verdict.",
                source="summary/claims.parquet",
                fold=True,
            ),
        ],
    )


def _slopes(atlas: Atlas, interval: str) -> Section:
    return Section(
        id="slopes",
        title="Do optimal tokens per parameter change with compute?",
        short="Slopes",
        figures=[
            drawn_figure(
                "slopes",
                f"Slope of the optimal tokens per parameter, median and {interval}, by table and count.",
                lambda: atlas_slopes(atlas.slopes),
            )
        ],
        tables=[
            page_table(
                atlas.slopes,
                id="slopes-table",
                title="Slopes",
                caption="Decades of tokens per parameter per decade of compute, (alpha - beta)/(alpha + "
                "beta).",
                source="summary/slopes.parquet",
            )
        ],
    )


def _ratios(atlas: Atlas, interval: str) -> Section:
    return Section(
        id="ratios",
        title="How many tokens per parameter?",
        short="Tokens per parameter",
        figures=[
            drawn_figure(
                "ratios",
                f"At the compute of each table's largest run: median and {interval}.",
                lambda: atlas_ratios(atlas.ratios),
            ),
            drawn_figure(
                "ratios-beyond",
                "Extrapolated: at ten times that compute.",
                lambda: atlas_ratios(atlas.ratios, budget="ten times that"),
            ),
        ],
        tables=[
            page_table(
                atlas.ratios,
                id="ratios-table",
                title="Tokens per parameter",
                caption="Where beyond is 10, the law is extrapolated tenfold beyond the runs.",
                source="summary/ratios.parquet",
            )
        ],
    )


def _breakdown(atlas: Atlas, interval: str) -> Section:
    if not len(atlas.breakdown):
        return Section(id="breakdown", title="How wrong may the counts be?", short="Breakdown")
    return Section(
        id="breakdown",
        title="How wrong may the counts be?",
        short="Breakdown",
        figures=[
            drawn_figure(
                f"breakdown-{criterion}",
                f"Smallest errors at which {meaning}, in documented miscounts (15.2%), with the "
                f"{interval}, up (triangles) and down.",
                lambda criterion=criterion: atlas_breakdown(atlas.breakdown, criterion)[0],
            )
            for criterion, meaning in _CRITERIA.items()
        ],
        tables=[
            page_table(
                atlas.breakdown,
                id="breakdown-table",
                title="Breakdown",
                caption="times_documented is 0 where the conclusion is so without any error, and empty where "
                "no error that was searched changes it.",
                source="summary/breakdown.parquet",
                fold=True,
            )
        ],
    )


def _each(atlas: Atlas, interval: str) -> Section:
    return Section(
        id="each",
        title="Every table under every error",
        short="Each table",
        paragraphs=[
            [
                "The axes are the same for all tables. Sizes are in units of the table: amounts over its "
                "smallest model, noise over the spread of its ln N. Diamonds are errors as large as the "
                "documented miscount of 15.2%."
            ]
        ],
        figures=[
            drawn_figure(
                f"table-{name}",
                f"{name}: slope of the optimal tokens per parameter, median and {interval}.",
                lambda name=name: atlas_table(atlas.sensitivity, name)[0],
            )
            for name in atlas.info["tables"]
        ],
    )


def _tables(atlas: Atlas) -> Section:
    return Section(
        id="tables",
        title="The tables, and what limits them",
        short="Tables",
        terms=[(str(row["table"]), str(row["caveat"])) for _, row in atlas.overview.iterrows()],
        tables=[
            page_table(
                atlas.overview.drop(columns=["caveat", "data_hash"]),
                id="overview",
                title="Tables",
                caption="Each has a study of its own in the folder of its name, with a page.",
                source="summary/overview.parquet",
            )
        ],
    )
