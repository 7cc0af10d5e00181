"""`chinchilla-jax bootstrap`: standard errors, intervals, and bands of the prescription."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax._util.labels import INTERVAL_COLUMNS, kind_text
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.costs import cost_fields, cost_option, print_cost, read_cost
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit import fit_drawings, point_fields, require_certified
from chinchilla_jax.cli.fit_options import (
    Solver,
    law_options,
    objective_options,
    solver_options,
    weights_option,
)
from chinchilla_jax.cli.options import (
    boundary_option,
    flops_option,
    level_option,
    output_options,
    resamples_option,
    seed_option,
)
from chinchilla_jax.cli.parameter_table import PARAMETER_COLUMNS, print_parameters
from chinchilla_jax.cli.resampling import (
    Resampling,
    print_dependence,
    resampling_options,
    scheme_fields,
    scheme_text,
)
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax import BootstrapResult, Runs
    from chinchilla_jax.laws import Cost, Law, Objective

    Columns: TypeAlias = dict[str, list[Any]]

_BAND_COLUMNS = ["flops", *INTERVAL_COLUMNS]
_MEDIAN = "median"
# The share of resamples that do not count from which a note points it out.
_MANY_FAILED = 0.01


@click.command("bootstrap")
@table_options()
@resamples_option()
@seed_option()
@level_option
@click.option(
    "--method",
    type=choices.Name(choices.METHODS),
    metavar="NAME",
    default="percentile",
    help=f"Interval method: {choices.or_text(choices.METHODS)}.",
)
@resampling_options()
@boundary_option
@click.option(
    "--inner",
    type=choices.WholeNumber(2),
    metavar="K",
    default=50,
    help="Resamples of each resample, for --method studentised.",
)
@flops_option("Training compute (FLOP) to prescribe for", ("1e20", "1e22", "1e24", "1e26"))
@cost_option
@law_options
@objective_options
@weights_option
@solver_options
@figures_option
@output_options
def bootstrap_command(
    table: Table,
    resamples: int,
    seed: int,
    level: float,
    method: str,
    resampling: Resampling,
    boundary: str,
    inner: int,
    flops: tuple[float, ...],
    cost: str | None,
    law: Law,
    objective: Objective | str,
    weights: str | None,
    solver: Solver,
    figures: Figures,
    as_json: bool,
) -> None:
    """Bootstrap a table of runs: errors, intervals, bands.

    Fits every resample; intervals of the parameters and bands of the compute-optimal tokens per parameter
    come from the certified fits. Exits with 1 if the point fit, or the fit of every resample, is not
    certified: without an estimate there is no interval.
    """
    _check(method, resampling.name)
    asked = read_cost(cost)
    nested = inner if method == "studentised" else 0
    options = solver.options(law, objective)
    runs = resampling.read_runs(table.for_laws(law))
    own = table.read_weights(weights, runs)

    from chinchilla_jax.bootstrapping.boundary import boundary_comparison

    result = resampling.bootstrap(
        runs, law, resamples=resamples, seed=seed, objective=objective, weights=own, solver=solver.name,
        jackknife=method == "bca", inner=nested, boundary=boundary, options=options,
    )  # fmt: skip
    result = priced(result, asked, runs)
    params = result.parameter_columns(level, method)
    bands, _ = result.tokens_per_param_columns(flops, level, method)
    both = _without_edges(boundary_comparison(result, flops, level, method)) if result.estimated else None
    if figures and result.estimated:
        _draw(result, level, figures)
    if as_json:
        settings = {
            "weights": weights,
            "resamples": len(result.steps),
            "seed": seed,
            "level": level,
            "method": method,
            **scheme_fields(result.scheme, result.dependence),
            "boundary": boundary,
            "solver": solver.name,
        }
        output.print_json(_fields(runs, result, settings, params, bands, both))
    else:
        _print(runs, result, weights, kind_text(level, method), params, bands, both)
    require_certified(result.point)
    if not result.counted.any():
        if result.at_boundary.any():
            raise ChinchillaError(
                f"the {int(result.at_boundary.sum()):,} certified resamples all have their best fit at E = 0 "
                "and were left out, as --boundary drop asks; use --boundary keep"
            )
        raise ChinchillaError("the fit of no resample is certified; use more runs or another solver")


def priced(result: BootstrapResult, cost: Cost | str | None, runs: Runs) -> BootstrapResult:
    """The result with the cost that --cost asks for."""
    from chinchilla_jax.laws.measured_cost import asked_cost

    own = asked_cost(cost, result.point.cost, output.runs_line(runs))
    return dataclasses.replace(result, point=dataclasses.replace(result.point, cost=own))


def _draw(result: BootstrapResult, level: float, figures: Figures) -> None:
    """The fit, and the optimum of each budget with its band."""
    from chinchilla_jax import plots

    figures.save(fit_drawings(result.point))
    figures.save(
        {
            name: functools.partial(plots.bootstrap, result, name, level=level)
            for name in ("tokens_per_param", "params", "tokens", "loss")
        }
    )


def _check(method: str, scheme: str) -> None:
    """Refuse combinations that would only be refused after the fits."""
    from chinchilla_jax.bootstrapping.auto_scheme import is_auto
    from chinchilla_jax.bootstrapping.schemes import read_scheme
    from chinchilla_jax.intervals.methods import BOOTSTRAP_METHODS, read_method

    if is_auto(scheme):
        return
    if not read_scheme(scheme).quantiles and not read_method(method, BOOTSTRAP_METHODS).normal:
        raise UsageError(f"--scheme {scheme} estimates a spread but no quantiles; add --method gaussian")


def _fields(
    runs: Runs,
    result: BootstrapResult,
    settings: dict[str, Any],
    params: Columns,
    bands: Columns,
    both: Columns | None,
) -> dict[str, Any]:
    shown = _Prescription.of(result, bands)
    return {
        "data": output.runs_fields(runs),
        "model": result.point.model.name,
        **output.objective_fields(result.point.objective),
        **settings,
        "status_counts": result.counts(),
        "point": point_fields(result.point) | ({} if result.estimated else {"law": None}),
        "parameters": output.records(params, PARAMETER_COLUMNS) if result.estimated else None,
        "tokens_per_param": (
            output.doubtful_records(shown.columns, shown.doubts, [*_BAND_COLUMNS, _MEDIAN])
            if result.estimated
            else None
        ),
        "cost": cost_fields(result.point.cost),
        "no_optimum": shown.missing or None,
        "other_boundary": output.optional_records(both),
        "warnings": result.warnings,
    }


def _print(
    runs: Runs,
    result: BootstrapResult,
    weights: str | None,
    kind: str,
    params: Columns,
    bands: Columns,
    both: Columns | None,
) -> None:
    from chinchilla_jax.laws.objectives import is_automatic

    statuses = output.status_line(result.counts())
    output.print_runs(runs)
    scheme = "" if result.scheme.name == "pairs" else f" ({scheme_text(result.scheme)})"
    objective = result.point.objective
    fitted = [
        output.objective_text(objective) if is_automatic(objective) else objective.name,
        *([f"weights from {weights}"] if weights else []),
    ]
    if result.point.model.name != "chinchilla":
        fitted.insert(0, f"law {result.point.model.name}")
    output.echo(f"{len(result.steps):,} resamples{scheme}, {', '.join(fitted)}: {statuses}")
    if not result.estimated:
        output.print_warnings(result.point.warnings)  # why there is no estimate is the error's to say
        return
    from chinchilla_jax.bootstrapping.boundary import MANY_LOST

    print_dependence(result.dependence)
    failed, share = int((~result.counted).sum()), float((~result.counted).mean())
    if _MANY_FAILED <= share <= MANY_LOST:  # above, there is a warning
        output.echo(
            f"note: {failed:,} resamples ({share:.0%}) do not count; the intervals describe only the others"
        )
    output.echo()
    print_parameters(params, kind, len(result.steps))
    if result.point.goodness is not None:
        output.print_paragraph(f"{result.point.goodness}")
    output.echo()
    shown = _Prescription.of(result, bands)
    if shown.missing:
        output.print_paragraph(f"compute-optimal tokens per parameter: none at any budget, {shown.missing}")
    else:
        print_cost(result.point.cost)
        output.echo(f"compute-optimal tokens per parameter, {kind} band")
        output.print_table(_BAND_COLUMNS, output.rows(shown.columns, _BAND_COLUMNS), doubts=shown.doubts)
        if shown.edges:
            output.print_paragraph(shown.edges)
    output.print_boundary(both, result.boundary)
    output.print_warnings(result.warnings)


def _without_edges(both: Columns | None) -> Columns | None:
    """The comparison without ratios that stand for an optimum at an edge, and rows that have no other."""
    from chinchilla_jax.planning.plausibility import known_ratio

    if both is None:
        return None
    kept = []
    for quantity, budget, *values in output.rows(both):
        shown = [known_ratio(value) for value in values] if quantity == "tokens_per_param" else values
        if shown[0] == shown[0]:
            kept.append((quantity, budget, *shown))
    return dict(zip(both, map(list, zip(*kept, strict=True)), strict=True)) if kept else None


@dataclass(frozen=True, kw_only=True)
class _Prescription:
    """Bands of tokens per parameter as they are shown.

    Attributes:
        columns: flops and limits; NaN where there is none.
        doubts: about each budget.
        missing: why the law has no compute-optimal point; "" if it has one.
        edges: a sentence about limits that are left out.
    """

    columns: Columns
    doubts: list[str]
    missing: str
    edges: str

    @classmethod
    def of(cls, result: BootstrapResult, bands: Columns) -> _Prescription:
        from chinchilla_jax.planning.plausibility import (
            band_doubts,
            clear_edges,
            largest_compute,
            no_optimum,
        )

        missing = no_optimum(result.point.law)
        columns, edges = clear_edges(bands, result.lean_replicates("percentile").laws, result.counted)
        if missing:
            unknown = [float("nan")] * len(bands["flops"])
            columns |= dict.fromkeys([*INTERVAL_COLUMNS, _MEDIAN], unknown)
        return cls(
            columns=columns,
            doubts=band_doubts(columns, largest_compute(result.design, result.point.cost)),
            missing=missing,
            edges=edges,
        )
