"""`chinchilla-jax fit`: the law of a table of runs, and the evidence that it is the optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax.cli import options, output

if TYPE_CHECKING:
    from chinchilla_jax import FitResult, Runs


def fit_command(
    data: options.DataArgument,
    params: options.ParamsOption = "as_plotted",
    drop_highest_loss: options.DropOption = None,
    column: options.ColumnOption = None,
    experiment: options.ExperimentOption = None,
    objective: options.ObjectiveOption = "huber",
    delta: options.DeltaOption = 1e-3,
    solver: options.SolverOption = "newton",
    starts: Annotated[
        str, typer.Option(metavar="N", help="grid (the published 4,500 starts), or how many of them.")
    ] = "grid",
    as_json: options.JsonOption = False,
) -> None:
    """Fit L(N, D) = E + A N^-alpha + B D^-beta to a table of runs.

    Exits with 1 when the fit is not certified as an optimum.
    """
    chosen = options.read_objective(objective, delta)
    count = int(starts) if starts.isascii() and starts.isdigit() else starts
    runs = options.read_runs(data, params, drop_highest_loss, column, experiment)

    from chinchilla_jax import fit

    result = fit(runs, objective=chosen, solver=solver, starts=count)
    if as_json:
        output.say_json(_fields(runs, result, solver))
    else:
        _say(runs, result, solver)
    require_certified(result)


def require_certified(result: FitResult) -> None:
    """Raise `ChinchillaError`, which ends the command with exit code 1, unless the point fit is certified."""
    if result.status.name != "CONVERGED":
        raise ChinchillaError(f"the fit ended as {result.status.name}: {result.status.sentence}")


def point_fields(result: FitResult) -> dict[str, Any]:
    """A point fit for JSON."""
    return {
        "law": output.law_fields(result.law),
        "objective_value": result.objective_value,
        "status": result.status.name,
        "certificate": {
            "kind": result.certificate.kind,
            "value": result.certificate.value,
            "tolerance": result.certificate.tolerance,
            "holds": result.certificate.holds,
        },
        "steps": result.steps,
        "starts": {
            "n": result.starts.n,
            "n_at_best": result.starts.n_at_best,
            "status_counts": result.starts.status,
        },
    }


def _fields(runs: Runs, result: FitResult, solver: str) -> dict[str, Any]:
    a, b = result.law.exponents
    return {
        "data": output.runs_fields(runs),
        **output.objective_fields(result.objective),
        "solver": solver,
        **point_fields(result),
        "optimal_exponents": {"params": a, "tokens": b},
    }


def _say(runs: Runs, result: FitResult, solver: str) -> None:
    a, b = result.law.exponents
    starts, certificate = result.starts, result.certificate
    objective = f"{result.objective.name}, delta {result.objective.delta:g}"
    proof = f"{certificate.kind} {certificate.value:.2g} (tolerance {certificate.tolerance:g})"
    reached = f"{starts.n_at_best:,} of {starts.n:,} at the best optimum by {solver}"
    output.say(output.runs_line(runs))
    output.say()
    output.say_table(("parameter", "estimate"), output.law_fields(result.law).items())
    output.say()
    output.say(f"optimum      params ~ C^{a:.4f}, tokens ~ C^{b:.4f}")
    output.say(f"objective    {result.objective_value:.13g} ({objective})")
    output.say_wrapped("status", f"{result.status.name}: {result.status.sentence}", indent=13)
    output.say_wrapped("certificate", proof, indent=13)
    output.say_wrapped("starts", f"{reached}; {output.status_line(starts.status)}", indent=13)
