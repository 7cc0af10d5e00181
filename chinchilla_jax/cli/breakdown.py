"""`chinchilla-jax breakdown`: the smallest miscount of each kind that changes each conclusion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.labels import percent_text
from chinchilla_jax._util.limits import CONDITIONS
from chinchilla_jax._util.text import flops_text, plain_number
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit_options import Solver, law_options, newton_options
from chinchilla_jax.cli.options import (
    USUAL_BUDGET,
    flops_option,
    level_option,
    out_option,
    output_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.resampling import (
    WEIGHT_SCHEMES,
    Resampling,
    print_dependence,
    resampling_options,
    scheme_fields,
)
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax.laws import Law

_ALREADY = "already"
_HEADER = ["family", "to", "criterion", "size", "low", "high", "documented", "times documented"]


@click.command("breakdown")
@table_options()
@law_options
@click.option(
    "--family",
    metavar="NAME",
    multiple=True,
    help="Family of perturbations, such as multiplicative; repeatable.  "
    "[default: the four that miscount parameters]",
)
@resamples_option(400, "Bootstrap resamples at every size tried.")
@click.option(
    "--repeats",
    type=choices.WholeNumber(1, CONDITIONS),
    metavar="K",
    default=5,
    help="Draws of the noise of random families.",
)
@flops_option("Training compute (FLOP) of the first criterion", show_default=USUAL_BUDGET)
@level_option
@seed_option("Seed of the resamples and noise.")
@resampling_options(WEIGHT_SCHEMES)
@out_option("what every search finds")
@newton_options
@figures_option
@output_options
def breakdown_command(
    table: Table,
    law: Law,
    family: tuple[str, ...],
    resamples: int,
    repeats: int,
    flops: tuple[float, ...],
    level: float,
    seed: int,
    resampling: Resampling,
    out: str | None,
    solver: Solver,
    figures: Figures,
    as_json: bool,
) -> None:
    """Find the smallest miscount that changes each conclusion.

    Each is found by bisection and given with its bootstrap interval, and as a multiple of the miscount that
    is documented for Chinchilla's table (15.2%). Takes several minutes.
    """
    from chinchilla_jax.analysis.breakdown_points import breakdown, n_searches
    from chinchilla_jax.bootstrapping.auto_scheme import resolve_scheme
    from chinchilla_jax.perturbations import PARAMS_FAMILIES
    from chinchilla_jax.planning.plausibility import compute_doubt, largest_compute

    runs = resampling.read_runs(table.for_laws(law))
    options = solver.options(law, "huber")
    scheme, dependence = resolve_scheme(resampling.read(), runs, law=law, options=options)
    families = family or PARAMS_FAMILIES
    with (
        output.refusing(as_json, "breakdown"),
        output.progress(
            "breakdown", n_searches(runs, families, repeats), "searches", laws=[law], n_runs=len(runs)
        ) as advance,
    ):
        found = breakdown(
            runs,
            law=law,
            families=families,
            resamples=resamples,
            repeats=repeats,
            flops=flops or None,
            level=level,
            seed=seed,
            scheme=scheme,
            options=options,
            out=out,
            progress=advance,
        )
    largest = largest_compute(runs)
    doubts = {
        budget: doubt for budget in found.attrs["estimates"] if (doubt := compute_doubt(budget, largest))
    }
    if figures:
        from chinchilla_jax import plots

        figures.save({"breakdown": lambda: plots.breakdown(found)})
    if as_json:
        output.print_json(
            {
                "data": output.runs_fields(runs),
                "model": law.name,
                "resamples": resamples,
                "repeats": repeats,
                "level": level,
                "seed": seed,
                **scheme_fields(scheme, dependence),
                "flops": found.attrs["flops"],
                "doubt": doubts.get(found.attrs["flops"]),
                "budgets": [
                    {"flops": budget, "estimate": estimate, "doubt": doubts.get(budget)}
                    for budget, estimate in found.attrs["estimates"].items()
                ],
                "criteria": found.attrs["criteria"],
                "estimate": found.attrs["estimate"],
                "breakdown": output.records(found),
                "warnings": found.attrs["warnings"],
            }
        )
        return
    output.print_runs(runs)
    print_dependence(dependence)
    if law.name != "chinchilla":
        output.echo(f"law {law.name}")
    output.echo(
        f"smallest miscount that changes a conclusion, {percent_text(level)} interval; - if none does"
    )
    output.echo()
    alone = len(found.attrs["estimates"]) == 1
    rows = [_cells(row, alone=alone) for row in output.records(found)]
    output.print_table(_HEADER, rows, keys=3, digits=3)
    if any(_ALREADY in row for row in rows):
        output.echo(f"{_ALREADY}: so without any miscount; as an end of an interval: so in some resamples")
    if any(str(cell).startswith((">", "<")) for row in rows for cell in row):
        output.echo("> and <: beyond the sizes that were searched, or could be fitted")
    output.echo()
    indent = max(map(len, found.attrs["criteria"])) + 2
    for criterion, meaning in found.attrs["criteria"].items():
        output.print_field(criterion, meaning, indent=indent)
    for budget, doubt in doubts.items():
        output.print_field("budget", f"{flops_text(budget, 4)} FLOP is {doubt}", indent=indent)
    own = "" if runs.name == "chinchilla" else "; nothing is documented about this table"
    output.print_field(
        "documented",
        "a miscount of 15.2%, the largest error of the standard formula on Chinchilla's models (Schaeffer et "
        f"al. 2025), as a size of each family{own}",
        indent=indent,
    )
    output.print_warnings(found.attrs["warnings"])


def _cells(row: dict[str, Any], *, alone: bool) -> list[Any]:
    """A row for the terminal: what holds without any miscount, and what lies beyond the search, in words."""
    from chinchilla_jax.analysis.breakdown_criteria import criterion_key

    down = row["direction"] == "down"
    beyond = f"{'<' if down else '>'}{plain_number(row['searched_to'], 3)}"

    def end(times: float, size: float) -> Any:
        return _ALREADY if times == 0 else beyond if math.isinf(times) else size

    near, far = row["times_low"], row["times_high"]
    low, high = (far, near) if down else (near, far)  # sizes that shrink from none begin at the high end
    found = row["times_documented"]
    return [
        row["family"],
        row["direction"],
        criterion_key(row["criterion"], row["flops"], alone=alone),
        _ALREADY if found == 0 else row["size"],
        end(low, row["low"]),
        end(high, row["high"]),
        row["documented"],
        math.nan if found == 0 else found,
    ]
