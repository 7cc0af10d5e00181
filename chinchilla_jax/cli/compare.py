"""`chinchilla-jax compare`: how many times the compute one recipe saves over another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.labels import kind_text
from chinchilla_jax._util.text import flops_text, list_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit_options import law_options, objective_options
from chinchilla_jax.cli.options import (
    bundle,
    flops_option,
    level_option,
    output_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.resampling import WEIGHT_SCHEMES, Resampling, resampling_options
from chinchilla_jax.cli.table_options import COLUMN_OPTIONS, Table, make_table

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.planning import Comparison

_REJECTED = 0.05
COMPARE_RECIPES = (
    "For two recipes on one validation set, chinchilla-jax compare says how much compute one saves."
)
"""What other commands about two tables point to."""


def _about_tables(**about_data: Any) -> Table:
    found = make_table(data="", **about_data)
    if found.countings:
        raise UsageError("compare reads one count of the parameters: give --column params=NAME")
    return found


def _at(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> list[tuple[float, float]]:
    places = []
    for text in given:
        try:
            params, tokens = (float(each) for each in text.split(","))
        except ValueError:
            raise UsageError(
                f"--at {short(text)}: give the parameters and tokens of a run, such as 7e9,1.4e11"
            ) from None
        places.append((params, tokens))
    return places


@click.command("compare")
@click.argument("data", nargs=-1, required=True, help="Two or more tables of runs, or one and --by.")
@bundle("table", _about_tables, dict(COLUMN_OPTIONS))
@click.option("--by", metavar="COLUMN", help="Column of the one table that names the recipe of each run.")
@click.option("--name", metavar="NAME", multiple=True, help="Name of a recipe, in the order of the tables.")
@click.option(
    "--baseline", metavar="NAME", show_default="the first", help="Recipe to compare the others with."
)
@flops_option("Training compute (FLOP) to compare at")
@click.option(
    "--at", metavar="N,D", multiple=True, callback=_at, help="A fixed run to compare at, its parameters and "
    "tokens; repeatable.",
)  # fmt: skip
@click.option(
    "--pair",
    metavar="COLUMN",
    show_default="equal params and tokens, if their residuals are correlated",
    help="Column whose equal labels pair runs of different tables, such as seed; none for independent "
    "tables.",
)
@click.option(
    "--share",
    type=choices.Name(choices.SHARES),
    metavar="NAME",
    default="auto",
    help="What the recipes have in common: none, exponents, all (exponents and E), or auto: all where a "
    "recipe has too few runs for a law of its own.",
)
@resamples_option()
@seed_option()
@level_option
@resampling_options(WEIGHT_SCHEMES)
@law_options
@objective_options
@figures_option
@click.option("--page", metavar="FILE", help="Write the comparison as one HTML page: a path or URL.")
@output_options
def compare_command(
    data: tuple[str, ...],
    table: Table,
    by: str | None,
    name: tuple[str, ...],
    baseline: str | None,
    flops: tuple[float, ...],
    at: list[tuple[float, float]],
    pair: str | None,
    share: str,
    resamples: int,
    seed: int,
    level: float,
    resampling: Resampling,
    law: Law,
    objective: Objective | str,
    figures: Figures,
    page: str | None,
    as_json: bool,
) -> None:
    """Compare recipes: how many times the compute one saves.

    For each recipe and budget, how many times the compute the baseline needs for the same compute-optimal
    loss, with intervals. The losses must be of one validation set and tokenizer. Options about columns and
    rows hold for all tables.
    """
    from chinchilla_jax import compare

    runs = _read(data, table.for_laws(law), by, pair, resampling)
    names = list(name) or None
    with (
        output.refusing(as_json, "recipes"),
        output.progress(
            "compare", resamples * max(len(runs), 2), laws=[law], n_runs=max(map(len, runs))
        ) as advance,
    ):
        found = compare(
            *runs, flops=flops or None, names=names, by=by, baseline=baseline, places=at, level=level,
            resamples=resamples, seed=seed, law=law, objective=objective, scheme=resampling.read(), pair=pair,
            share=share, progress=advance,
        )  # fmt: skip
    if figures:
        from chinchilla_jax import plots

        figures.save({"recipes": lambda: plots.comparison(found)})
    if page is not None:
        from chinchilla_jax.report import write_comparison

        write_comparison(found, page)
    if as_json:
        output.print_json(_fields(found, resamples, seed))
    else:
        _print(found)


def _read(
    data: Sequence[str], table: Table, by: str | None, pair: str | None, resampling: Resampling
) -> list[Any]:
    from chinchilla_jax.planning.recipes import load_recipe

    asked = [each for each in (by, pair) if each not in (None, "none")]
    if resampling.cluster is not None and resampling.cluster not in choices.GROUPINGS:
        asked.append(resampling.cluster)
    groups = tuple(dict.fromkeys((*table.group, *asked)))
    tables = [dataclasses.replace(table, data=source) for source in data]
    return [
        load_recipe(each.data, params=each.counting, **each.reading | {"groups": groups}) for each in tables
    ]


def _fields(found: Comparison, resamples: int, seed: int) -> dict[str, Any]:
    return {
        "recipes": {
            name: {
                "data": output.runs_fields(runs),
                "law": {key: float(value) for key, value in found.laws.points[name].as_dict().items()},
                "goodness": _goodness(found, name),
            }
            for name, runs in found.runs.items()
        },
        "compute": "6 N D" if found.along_6nd else "that of the tables",
        "baseline": found.baseline,
        "level": found.level,
        "resamples": resamples,
        "counted": int(found.laws.counted.sum()),
        "seed": seed,
        "pairing": found.laws.pairing,
        "shared": found.laws.shared,
        "table": output.doubtful_records(found.table, found.doubts),
        "curve": output.records(found.curve),
        "losses": output.records(found.losses),
        "crossings": output.doubtful_records(found.crossings, found.crossings["doubt"].tolist()),
        "places": output.optional_records(found.places),
        "ranking": output.optional_records(found.ranking),
        "leads": output.optional_records(found.leads),
        "parameters": output.records(found.parameters),
        "sharing": [dataclasses.asdict(test) for test in found.sharing],
        "warnings": found.warnings,
    }


def _goodness(found: Comparison, name: str) -> dict[str, Any] | None:
    fit = found.laws.fits.get(name)
    return None if fit is None or fit.goodness is None else fit.goodness.as_dict()


def _print(found: Comparison) -> None:
    said: tuple[str, ...] = ()
    for name, runs in found.runs.items():
        output.echo(f"{name}: {output.runs_line(runs)}")
        # Recipes of one table are read alike.
        for line in runs.read_lines:
            if line not in said:
                output.print_paragraph(line)
        said = runs.read_lines
        fit = found.laws.fits.get(name)
        if fit is not None and fit.goodness is not None:
            output.print_paragraph(f"{fit.goodness}")
    output.print_paragraph(found.laws.pairing)
    output.echo()
    several = len(found.runs) > 2
    output.print_paragraph(
        f"times the compute that {found.baseline} needs for the same loss, "
        f"{kind_text(found.level)} interval over {int(found.laws.counted.sum()):,} resamples"
    )
    header = ["recipe", "flops", "multiplier", "low", "high", "adjusted low", "adjusted high", "better"]
    if not several and len(found.table) == 1:
        header = [each for each in header if not each.startswith("adjusted")]
    names = [each.replace(" ", "_") for each in header]
    output.print_table(header, output.rows(found.table, names), keys=2, digits=3, doubts=found.doubts)
    if "adjusted low" in header:
        output.echo("adjusted: for all rows at once; better: share of the resamples in which it is")
    if (found.table["high"] == float("inf")).any():
        output.print_paragraph(f"inf: {found.baseline} never reaches that loss, with any amount of compute")
    _print_losses(found)
    _print_crossings(found)
    if found.places is not None:
        _print_places(found.places)
    if found.ranking is not None and found.leads is not None:
        _print_ranking(found.ranking, found.leads)
    _print_parameters(found)
    output.print_warnings(found.warnings)


def _print_losses(found: Comparison) -> None:
    output.echo()
    output.print_paragraph(
        f"compute-optimal loss, and its difference from that of {found.baseline} ({found.loss_unit})"
    )
    names = ["recipe", "flops", "loss", "baseline_loss", "difference", "difference_low", "difference_high"]
    header = ["recipe", "flops", "loss", found.baseline, "difference", "low", "high"]
    output.print_table(header, output.rows(found.table, names), keys=2, intervals=[range(2, 7)])


def _print_crossings(found: Comparison) -> None:
    for row in found.crossings.to_dict("records"):
        if row["share"] < (1 - found.level) / 2 and row["flops"] != row["flops"]:
            continue
        known = row["flops"] == row["flops"]
        at = f"{flops_text(row['flops'])} FLOP" if known else "no budget of the estimate"
        output.echo()
        low, high = found.curve["flops"].min(), found.curve["flops"].max()
        output.print_paragraph(
            f"{row['recipe']} and {found.baseline} cross at {at}; of the resamples, {row['share']:.0%} cross "
            f"between {flops_text(low)} and {flops_text(high)} FLOP, {found.level:.0%} of these for the "
            f"first time from {flops_text(row['low'])} to {flops_text(row['high'])}"
            f"{'; ' if row['doubt'] else ''}{row['doubt']}"
        )


def _print_places(places: pd.DataFrame) -> None:
    output.echo()
    output.print_paragraph("at fixed runs: multiplier at the same tokens per parameter, and at the same size")
    names = ["recipe", "params", "tokens", "loss", "difference"]
    limits = [f"{way}{end}" for way in ("same_ratio", "same_size") for end in ("", "_low", "_high")]
    output.print_table(
        [each.replace("_", " ") for each in (*names, *limits)],
        output.rows(places, [*names, *limits]),
        keys=3,
        digits=4,
    )


def _print_ranking(ranking: pd.DataFrame, leads: pd.DataFrame) -> None:
    output.echo()
    output.print_paragraph(
        "which is best: probabilities, less what choosing the best of several adds (too large for the first "
        "where losses differ by less than their errors)"
    )
    names = ["flops", "recipe", "loss", "p_best", "p_second", "may_be_best"]
    rows = [[*row[:5], "yes" if row[5] else "no"] for row in output.rows(ranking, names)]
    header = ["flops", "recipe", "loss", "P(best)", "P(second)", "may be best"]
    output.print_table(header, rows, keys=2, digits=4)
    for row in leads.to_dict("records"):
        output.print_paragraph(
            f"at {flops_text(row['flops'])} FLOP {row['best']} leads {row['second']} by {row['lead']:.3g} "
            f"times the compute, {row['corrected']:.3g} less what choosing the best adds ({row['low']:.3g} "
            f"to {row['high']:.3g})"
        )


def _print_parameters(found: Comparison) -> None:
    output.echo()
    output.print_paragraph(f"parameters, and their difference from those of {found.baseline}")
    names = ["recipe", "parameter", "estimate", "baseline", "difference", "low", "high"]
    header = [found.baseline if name == "baseline" else name for name in names]
    output.print_table(header, output.rows(found.parameters, names), keys=2, intervals=[range(2, 7)])
    if not found.sharing:
        return
    rejected = [test for test in found.sharing if test.p < _REJECTED]
    said = [f"{test.shared} (p {test.p:.2g})" for test in found.sharing]
    verdict = (
        f"the data reject that the recipes share {list_text([test.shared for test in rejected])}"
        if rejected
        else "the data do not reject that the recipes share any of these"
    )
    output.print_paragraph(f"in common? {', '.join(said)}: {verdict}")
