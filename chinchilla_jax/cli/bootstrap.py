"""`chinchilla-jax bootstrap`: standard errors, intervals and prescriptions with their bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax.cli import options, output
from chinchilla_jax.cli.fit import point_fields, require_certified

if TYPE_CHECKING:
    from chinchilla_jax import BootstrapResult, Runs

    Columns: TypeAlias = dict[str, list[Any]]

_DEFAULT_FLOPS = [1e20, 1e22, 1e24, 1e26]
_PARAMETER_COLUMNS = ["parameter", "estimate", "standard_error", "low", "high", "n_converged", "n_failed"]
_BAND_COLUMNS = ["flops", "low", "median", "high"]


def bootstrap_command(
    data: options.DataArgument,
    params: options.ParamsOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    resamples: options.ResamplesOption = 4000,
    seed: options.SeedOption = 0,
    level: options.LevelOption = 0.8,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="percentile, gaussian, basic, bca, studentised or highest_density."
        ),
    ] = "percentile",
    scheme: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="pairs, cluster, residual, wild, bayesian, m_out_of_n, jackknife or delete_d.",
        ),
    ] = "pairs",
    inner: Annotated[
        int, typer.Option(metavar="K", help="Resamples of each resample, for --method studentised.")
    ] = 50,
    flops: Annotated[
        list[float] | None,
        typer.Option(
            metavar="C",
            help="Training compute (FLOP) to prescribe for; may be repeated.  [default: 1e20 1e22 1e24 1e26]",
            show_default=False,
        ),
    ] = None,
    objective: options.ObjectiveOption = "huber",
    delta: options.DeltaOption = 1e-3,
    solver: options.SolverOption = "newton",
    as_json: options.JsonOption = False,
) -> None:
    """Bootstrap a table of runs: errors, intervals, bands.

    Every resample is fitted; intervals of the parameters and bands of the compute-optimal tokens per
    parameter are taken over the certified fits. Exits with 1 when the point fit is not certified, or no
    resample's fit is.
    """
    _check(level, method, scheme, inner, flops or _DEFAULT_FLOPS)
    nested = inner if method == "studentised" else 0
    chosen = options.read_objective(objective, delta)
    runs = options.read_runs(data, params, drop_highest_loss, column, experiment)

    from chinchilla_jax import bootstrap
    from chinchilla_jax._util.progress_bar import resolve

    with resolve("auto") as reporter:
        reporter.begin("bootstrap", resamples * (1 + nested))
        result = bootstrap(
            runs,
            resamples=resamples,
            seed=seed,
            objective=chosen,
            solver=solver,
            scheme=scheme,
            jackknife=method == "bca",
            inner=nested,
            progress=reporter.advance,
        )
    table = result.parameter_columns(level, method)
    bands, _ = result.tokens_per_param_columns(flops or _DEFAULT_FLOPS, level, method)
    if as_json:
        settings = {
            "resamples": len(result.status),
            "seed": seed,
            "level": level,
            "method": method,
            "scheme": scheme,
            "solver": solver,
        }
        output.say_json(_fields(runs, result, settings, table, bands))
    else:
        _say(runs, result, f"{level:g} {method}", table, bands)
    require_certified(result.point)
    if not result.converged.any():
        raise ChinchillaError("no resample's fit is certified; use more runs, or another solver")


def _check(level: float, method: str, scheme: str, inner: int, flops: list[float]) -> None:
    """Refuse now what would be refused after the fits."""
    from chinchilla_jax.bootstrapping.schemes import read_scheme
    from chinchilla_jax.intervals.methods import BOOTSTRAP_METHODS, read_method
    from chinchilla_jax.intervals.quantiles import central_tails

    central_tails(level)
    normal = read_method(method, BOOTSTRAP_METHODS).normal
    if not read_scheme(scheme).quantiles and not normal:
        raise UsageError(f"--scheme {scheme} gives a spread and no quantiles; add --method gaussian")
    if method == "studentised" and inner < 2:
        raise UsageError(f"--inner {inner}: --method studentised needs 2 or more resamples of each resample")
    options.require_positive("--flops", flops)


def _fields(
    runs: Runs, result: BootstrapResult, settings: dict[str, Any], table: Columns, bands: Columns
) -> dict[str, Any]:
    return {
        "data": output.runs_fields(runs),
        **output.objective_fields(result.point.objective),
        **settings,
        "status_counts": result.counts(),
        "point": point_fields(result.point),
        "parameters": output.records(table, _PARAMETER_COLUMNS),
        "tokens_per_param": output.records(bands, _BAND_COLUMNS),
    }


def _say(runs: Runs, result: BootstrapResult, interval: str, table: Columns, bands: Columns) -> None:
    statuses = output.status_line(result.counts())
    output.say(output.runs_line(runs))
    scheme = "" if result.scheme.name == "pairs" else f" ({result.scheme.name})"
    output.say(f"{len(result.status):,} resamples{scheme}, {result.point.objective.name}: {statuses}")
    output.say()
    output.say(f"parameters, interval {interval}")
    output.say_table(_PARAMETER_COLUMNS, output.rows(table, _PARAMETER_COLUMNS))
    output.say()
    output.say(f"compute-optimal tokens per parameter, band {interval}")
    output.say_table(_BAND_COLUMNS, output.rows(bands, _BAND_COLUMNS))
