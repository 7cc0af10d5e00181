"""`chinchilla-jax fit`: the law of a table of runs, and the evidence that it is the optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax.cli import output
from chinchilla_jax.cli.fit_options import Solver, objective_options, solver_options
from chinchilla_jax.cli.options import output_options
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax import FitResult, Runs
    from chinchilla_jax.laws.objectives import Objective


@click.command("fit")
@table_options()
@objective_options(("huber", "huber_scale"))
@solver_options
@click.option(
    "--starts",
    metavar="N",
    default="auto",
    help="Starting points: auto (the 4,500 of the published fit), or N spread over that grid.",
)
@output_options
def fit_command(table: Table, objective: Objective, solver: Solver, starts: str, as_json: bool) -> None:
    """Fit L(N, D) = E + A N^-alpha + B D^-beta to a table of runs.

    Exits with 1 if the fit is not certified as an optimum.
    """
    count = int(starts) if starts.isascii() and starts.isdigit() else starts
    runs = table.read()

    from chinchilla_jax import fit

    result = fit(
        runs, objective=objective, solver=solver.name, starts=count, options=solver.options(wide_start=True)
    )
    if as_json:
        output.print_json(_fields(runs, result, solver.name))
    else:
        _print(runs, result, solver.name)
    require_certified(result)


def require_certified(result: FitResult) -> None:
    """End the command with exit code 1 unless the point fit is certified.

    Raises:
        ChinchillaError: it is not.
    """
    if result.status.name != "CONVERGED":
        raise ChinchillaError(f"the fit ended as {result.status.name}: {result.status.sentence}")


def point_fields(result: FitResult) -> dict[str, Any]:
    """A point fit for JSON."""
    return {
        "law": result.law.as_dict(),
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


def _print(runs: Runs, result: FitResult, solver: str) -> None:
    a, b = result.law.exponents
    starts, certificate = result.starts, result.certificate
    fields = output.objective_fields(result.objective)
    name = fields.pop("objective")
    objective = ", ".join([name, *(f"{field} {value:g}" for field, value in fields.items())])
    proof = f"{certificate.kind} {certificate.value:.2g} (tolerance {certificate.tolerance:g})"
    reached = f"{starts.n_at_best:,} of {starts.n:,} at the best optimum by {solver}"
    output.echo(output.runs_line(runs))
    output.echo()
    output.print_table(("parameter", "estimate"), result.law.as_dict().items())
    output.echo()
    output.echo(f"optimum      params ~ C^{a:.4f}, tokens ~ C^{b:.4f}")
    output.echo(f"objective    {result.objective_value:.13g} ({objective})")
    output.print_field("status", f"{result.status.name}: {result.status.sentence}", indent=13)
    output.print_field("certificate", proof, indent=13)
    output.print_field("starts", f"{reached}; {output.status_line(starts.status)}", indent=13)
