"""What is fitted and how: law, objective, weights, solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import choices
from chinchilla_jax.cli.options import Decorator, bundle
from chinchilla_jax.cli.own_code import load_own, names_code

if TYPE_CHECKING:
    from chinchilla_jax.laws import Law, Objective, OwnObjective
    from chinchilla_jax.laws.objectives import Delta
    from chinchilla_jax.solvers import SolverOptions


def law_option(help: str, **settings: Any) -> Decorator[Any]:
    """The option --law with the name of a law, or several if `multiple` is among the settings."""
    return click.option(
        "--law",
        type=choices.NameOrCode(choices.LAWS),
        metavar="NAME",
        help=f"{help}: {choices.or_text((*choices.LAWS, 'FILE.py:NAME'))} "
        "(your own, see docs/how-to/own-law.md).",
        **settings,
    )


floor_option = click.option(
    "--floor",
    type=choices.NON_NEGATIVE,
    metavar="E",
    show_default="1.69",
    help="Irreducible loss (nats per token) for --law fixed_floor.",
)


def read_laws(names: Sequence[str], floor: float | None) -> list[Law]:
    """The laws of these names; one of the user's own code is executed.

    Raises:
        UsageError: a floor is given, and no law takes one; or a name leads to no law.
    """
    if floor is None:
        return [_read_law(name) for name in names]
    from chinchilla_jax.laws import FixedFloor

    if FixedFloor.name not in names:
        raise UsageError(f"--floor is for --law {FixedFloor.name}, not {names[0]}; leave it out")
    return [FixedFloor(floor) if name == FixedFloor.name else _read_law(name) for name in names]


def _read_law(name: str) -> Law:
    from chinchilla_jax.laws import Law, read_law

    if names_code(name):
        law: Law = load_own("--law", name, Law, "chinchilla_jax.laws.from_function(predict, {...})")
        return law
    return read_law(name)


def _read_one_law(law: str, floor: float | None) -> Law:
    return read_laws([law], floor)[0]


law_options = bundle(
    "law",
    _read_one_law,
    {"law": law_option("Law to fit", default="chinchilla"), "floor": floor_option},
)
"""--law and --floor, as `law`."""


DELTA_DEFAULT = "auto; 0.001 on an embedded table"


def delta_option(**settings: Any) -> Decorator[Any]:
    """The option --delta."""
    return click.option(
        "--delta",
        type=choices.WIDTH,
        metavar="X",
        help="Residual (of the log loss; for raw_huber in nats per token) up to which Huber's objective is "
        "quadratic; auto: 1.345 times a robust scale of the residuals"
        f"{'; repeatable' if settings.get('multiple') else ''}.",
        **settings,
    )


penalty_option = click.option(
    "--penalty",
    type=choices.POSITIVE,
    metavar="X",
    show_default="10",
    help="Cost of an overestimate relative to an underestimate, for asymmetric.",
)


def read_own_objective(name: str) -> OwnObjective:
    """The objective in the user's own code."""
    from chinchilla_jax.laws import OwnObjective

    made = "chinchilla_jax.objective_from_function(rho)"
    found: OwnObjective = load_own("--objective", name, OwnObjective, made)
    return found


def _read_objective(objective: str, delta: Delta | None, penalty: float | None) -> Objective | str:
    from chinchilla_jax.laws import read_objective

    if names_code(objective):
        return read_objective(read_own_objective(objective), delta=delta, penalty=penalty)
    found = read_objective(objective, delta=delta, penalty=penalty)
    # By its name alone, so that the table may say how wide the zone is: see `usual_delta`.
    return objective if delta is None and penalty is None else found


objective_options = bundle(
    "objective",
    _read_objective,
    {
        "objective": click.option(
            "--objective",
            type=choices.NameOrCode(choices.OBJECTIVES),
            metavar="NAME",
            default="huber",
            help=f"What is minimised: {choices.or_text((*choices.OBJECTIVES, 'FILE.py:NAME'))} (your own).",
        ),
        "delta": delta_option(show_default=DELTA_DEFAULT),
        "penalty": penalty_option,
    },
)
"""--objective, --delta and --penalty, as `objective`."""

weights_option = click.option(
    "--weights", metavar="COLUMN", help="Column of DATA with the weight of each run (zero or more)."
)


@dataclass(frozen=True, kw_only=True)
class Solver:
    """The solver that --solver and --engine name."""

    name: str
    engine: str

    def options(
        self, law: Law | None = None, objective: Objective | str | None = None, *, wide_start: bool = False
    ) -> SolverOptions | None:
        """Options for `fit` (with a wide start) or `bootstrap`; None for the library's own defaults.

        Args:
            law: what is fitted; None for the five-parameter law.
            objective: what is minimised; None for Huber's.
            wide_start: whether the starts are far from the optimum.

        Raises:
            UsageError: no engine is chosen for this law and objective, XLA runs them all.
        """
        if self.engine == "auto":
            return None
        from chinchilla_jax.laws import read_objective
        from chinchilla_jax.solvers.dispatch import has_kernel

        objective = None if objective is None else read_objective(objective)
        if (
            self.engine != "xla"
            and law is not None
            and objective is not None
            and not has_kernel(law, objective)
        ):
            raise UsageError(
                f"--engine {self.engine} does not fit {law.name} by {objective.name}; leave it out"
            )
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
