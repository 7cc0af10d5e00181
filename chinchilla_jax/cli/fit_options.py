"""What is fitted and how: objective, weights, solver, resampling scheme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import choices
from chinchilla_jax.cli.options import Decorator, bundle

if TYPE_CHECKING:
    from chinchilla_jax.laws.objectives import Objective
    from chinchilla_jax.solvers import SolverOptions


def objective_options(names: Sequence[str]) -> Decorator[Any]:
    """The objective, as `objective`.

    Args:
        names: objectives that the command can minimise; the first is the default.
    """
    options: dict[str, Decorator[Any]] = {
        "objective": click.option(
            "--objective",
            type=choices.Name(names),
            metavar="NAME",
            default=names[0],
            help=f"What is minimised: {choices.or_text(names)}.",
        ),
        "delta": delta_option,
    }
    if "asymmetric" in names:
        options["penalty"] = penalty_option
    return bundle("objective", read_objective, options)


delta_option = click.option(
    "--delta",
    type=choices.POSITIVE,
    metavar="X",
    default=1e-3,
    help="Residual (in log loss) up to which Huber's objective is quadratic.",
)
penalty_option = click.option(
    "--penalty",
    type=choices.POSITIVE,
    metavar="X",
    default=10,
    help="Weight of an overestimate relative to an underestimate under asymmetric.",
)


def read_objective(objective: str, delta: float, penalty: float = 10.0) -> Objective | Any:
    """The objective that --objective, --delta and --penalty name."""
    from chinchilla_jax.laws import objectives

    # Each objective takes the numbers that it has.
    if objective == objectives.AsymmetricError.name:
        return objectives.read_objective(objective, penalty=penalty)
    return objectives.read_objective(objective, delta=None if objective == "squared" else delta)


weights_option = click.option(
    "--weights", metavar="COLUMN", help="Column of DATA with the weight of each run (zero or more)."
)


@dataclass(frozen=True, kw_only=True)
class Solver:
    """The solver that --solver and --engine name."""

    name: str
    engine: str

    def options(self, *, wide_start: bool = False) -> SolverOptions | None:
        """Options for `fit` (with a wide start) or `bootstrap`; None for the library's own defaults."""
        if self.engine == "auto":
            return None
        from chinchilla_jax.solvers import SolverOptions

        return SolverOptions(engine=self.engine, wide_start=wide_start)


def read_solver(solver: str = "newton", engine: str = "auto") -> Solver:
    """The solver that --solver and --engine name.

    Raises:
        UsageError: the solver has no engines.
    """
    if engine != "auto" and solver != "newton":
        raise UsageError(f"--engine {engine} is for --solver newton, not {solver}; leave one of them out")
    return Solver(name=solver, engine=engine)


engine_option = click.option(
    "--engine",
    type=choices.Name(choices.ENGINES),
    metavar="NAME",
    default="auto",
    help="What runs the Newton steps: lanes (compiled, for CPUs), xla (any device), or auto to choose.",
)
newton_options = bundle("solver", read_solver, {"engine": engine_option})
"""--engine alone, as `solver`, for commands that always use Newton's method."""

solver_options = bundle(
    "solver",
    read_solver,
    {
        "solver": click.option(
            "--solver",
            type=choices.Name(choices.SOLVERS),
            metavar="NAME",
            default="newton",
            help=f"{choices.or_text(choices.SOLVERS)}.",
        ),
        "engine": engine_option,
    },
)


# Schemes that weight the runs, which every law and objective allows.
WEIGHT_SCHEMES = ("pairs", "cluster", "bayesian")


def scheme_option(names: Sequence[str] = choices.SCHEMES) -> Decorator[Any]:
    """The option --scheme.

    Args:
        names: schemes that the command supports; the first is the default.
    """
    return click.option(
        "--scheme",
        type=choices.Name(names),
        metavar="NAME",
        default=names[0],
        help=f"How to resample: {choices.or_text(names)}.",
    )
