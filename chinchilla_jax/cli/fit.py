"""`chinchilla-jax fit`: the law of a table of runs, and the evidence that it is the optimum."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax.cli import output
from chinchilla_jax.cli.figures import Figures, figures_option
from chinchilla_jax.cli.fit_options import (
    Solver,
    law_options,
    objective_options,
    solver_options,
    weights_option,
)
from chinchilla_jax.cli.options import output_options
from chinchilla_jax.cli.table_options import Table, table_options

if TYPE_CHECKING:
    from chinchilla_jax import FitResult, Runs
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.plots.save import Drawn


@click.command("fit")
@table_options()
@law_options
@objective_options
@weights_option
@solver_options
@click.option(
    "--starts",
    metavar="N",
    default="auto",
    help="Number of starting points; auto is the 4,500 of the published fit, or 32 for other laws.",
)
@figures_option
@output_options
def fit_command(
    table: Table,
    law: Law,
    objective: Objective | str,
    weights: str | None,
    solver: Solver,
    starts: str,
    figures: Figures,
    as_json: bool,
) -> None:
    """Fit a scaling law to a table of runs.

    The default law is L(N, D) = E + A N^-alpha + B D^-beta. Exits with 1 if the fit is not certified as an
    optimum; one at the bound E = 0 is certified, and a warning says so.
    """
    count = int(starts) if starts.isascii() and starts.isdigit() else starts
    options = solver.options(law, objective, wide_start=True)
    runs = table.for_laws(law).read()
    own = table.read_weights(weights, runs)

    from chinchilla_jax import fit

    result = fit(
        runs, law, objective=objective, weights=own, solver=solver.name, starts=count, options=options
    )
    if figures and result.status.certified:
        figures.save(fit_drawings(result))
    if as_json:
        output.print_json(_fields(runs, result, weights, solver.name))
    else:
        _print(runs, result, weights, solver.name)
    require_certified(result, said=True)


def fit_drawings(result: FitResult, of: str = "") -> dict[str, Callable[[], Drawn]]:
    """The pictures of a certified fit by name, which ends in what it is of."""
    from chinchilla_jax import plots

    return {f"fit{of}": lambda: plots.fit(result), f"residuals{of}": lambda: plots.residuals(result)}


def require_certified(result: FitResult, *, said: bool = False) -> None:
    """End the command with exit code 1 unless the point fit is certified.

    Args:
        result: the point fit.
        said: whether the reason is printed already.

    Raises:
        ChinchillaError: it is not.
    """
    if not result.status.certified:
        why = "no estimate" if said else result.reason
        raise ChinchillaError(f"the fit ended as {result.status.name}: {why}")


def point_fields(result: FitResult) -> dict[str, Any]:
    """A point fit for JSON: `law` is null without an estimate, and `law_found` where the solver ended."""
    return {
        "law": result.parameters if result.status.certified else None,
        "law_found": result.parameters,
        "objective_value": result.objective_value,
        "status": result.status.name,
        "reason": result.reason,
        "certificate": {
            "kind": result.certificate.kind,
            "value": result.certificate.value,
            "tolerance": result.certificate.tolerance,
            "holds": result.certificate.holds,
        },
        "goodness": None if result.goodness is None else result.goodness.as_dict(),
        "steps": result.steps,
        "starts": {
            "n": result.starts.n,
            "n_at_best": result.starts.n_at_best,
            "status_counts": result.starts.status,
        },
    }


def _fields(runs: Runs, result: FitResult, weights: str | None, solver: str) -> dict[str, Any]:
    from chinchilla_jax.planning.plausibility import no_optimum

    certified = result.status.certified
    exponents = result.law.exponents if certified else None
    missing = no_optimum(result.law) if certified else ""
    return {
        "data": output.runs_fields(runs),
        "model": result.model.name,
        **output.objective_fields(result.objective),
        "weights": weights,
        "solver": solver,
        **point_fields(result),
        "residual_scale": result.residual_scale,
        "residual_scale_over_delta": result.scale_over_delta,
        "optimal_exponents": {"params": exponents[0], "tokens": exponents[1]}
        if exponents is not None and not missing
        else None,
        "no_optimum": missing or None,
        "doubt": _doubt(runs, result)[1] or None if certified and not missing else None,
        "warnings": result.warnings,
    }


def _print(runs: Runs, result: FitResult, weights: str | None, solver: str) -> None:
    starts, certificate = result.starts, result.certificate
    proof = f"{certificate.kind} {certificate.value:.2g} (tolerance {certificate.tolerance:g})"
    reached = f"{starts.n_at_best:,} of {starts.n:,} at the best optimum by {solver}"
    output.print_runs(runs)
    if (law := result.model).name != "chinchilla":
        output.echo(f"law {law.name}: {law.formula}" if law.formula else f"law {law.name}")
    output.echo()
    if result.status.certified:
        output.print_table(("parameter", "estimate"), result.parameters.items())
        output.echo()
        optimum = _optimum_text(runs, result)
        if optimum:
            output.print_field("optimum", optimum, indent=13)
    else:
        output.echo("no estimate")
        output.echo()
    objective = output.objective_text(result.objective, weights)
    value = f"{result.objective_value:.13g} ({objective}){_zone_text(result)}"
    output.print_field("objective", value, indent=13)
    if result.goodness is not None:
        output.print_field("goodness", f"{result.goodness}", indent=13)
    output.print_field("status", f"{result.status.name}: {result.reason}", indent=13)
    output.print_field("certificate", proof, indent=13)
    output.print_field("starts", f"{reached}; {output.status_line(starts.status)}", indent=13)
    output.print_warnings(result.warnings)


def _optimum_text(runs: Runs, result: FitResult) -> str:
    """How the optimum grows, or why there is none, and what makes it hard to believe; "" if unknown."""
    from chinchilla_jax.planning.plausibility import no_optimum

    missing = no_optimum(result.law)
    if missing:
        return f"none at any budget: {missing}"
    parts = []
    if result.law.exponents is not None:
        a, b = result.law.exponents
        parts.append(f"params ~ C^{a:.4f}, tokens ~ C^{b:.4f}")
    ratio, doubt = _doubt(runs, result)
    if doubt:
        parts.append(f"{ratio:.3g} tokens per parameter at the compute of the largest run ({doubt})")
    return "; ".join(parts)


def _doubt(runs: Runs, result: FitResult) -> tuple[float, str]:
    """Tokens per parameter at the compute of the largest run, and what makes them hard to believe."""
    from chinchilla_jax.planning.plausibility import largest_compute, ratio_doubt

    largest = largest_compute(runs, result.cost)
    if largest is None:
        return math.nan, ""
    ratio = float(result.law.tokens_per_param(largest, result.cost))
    return ratio, ratio_doubt(ratio)


def _zone_text(result: FitResult) -> str:
    """What the spread of the residuals makes of a Huber objective whose delta was given; "" for others."""
    from chinchilla_jax.fitting.automatic_delta import zone_sentence
    from chinchilla_jax.laws.objectives import is_automatic

    ratio = result.scale_over_delta
    if ratio is None or math.isnan(ratio) or is_automatic(result.objective):
        return ""
    return f"; residuals spread {ratio:.2g} times delta: {zone_sentence(ratio)}"
