"""Point fit of the law: many starts in one batched call, the best of them certified.

Notation: see objective.py and solvers/design.py.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.fitting.starts import distinct_minima
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.objectives import Huber, HuberScale, Objective
from chinchilla_jax.laws.published_grid import grid_starts
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.solvers import SolverOptions, Status, get_solver
from chinchilla_jax.solvers.status import status_counts

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.solvers import Solution

_AT_BEST = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """Why a fit is believed to be an optimum.

    Attributes:
        kind: "newton_decrement" (`Huber`; `HuberScale` with a wide zone) or "dual" (`HuberScale` at a
            vertex).
        value: relative decrease that a Newton step would still bring, or by how much the dual constraints and
            stationarity are missed.
        tolerance: bound that `value` had to meet.
        holds: whether it did, with a positive definite Hessian (Newton) or independent gradients (dual).
    """

    kind: str
    value: float
    tolerance: float
    holds: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartsReport:
    """What became of the starts.

    Attributes:
        n: how many there were.
        status: number of starts per status name.
        n_at_best: starts that ended within 1e-9 (relative) of the best objective.
        minima: (k, 5) distinct optima in internal coordinates, best first.
    """

    n: int
    status: dict[str, int]
    n_at_best: int
    minima: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """A fitted law and the evidence for it.

    Attributes:
        law: the law, scalar fields in natural units; NaN when INVALID.
        objective_value: value of the objective at the law.
        status: `Status` of the fit; `status.sentence` says it in words.
        certificate: see `Certificate`.
        steps: solver steps of the start that reached the best optimum.
        starts: see `StartsReport`.
        objective: what was minimised.
        residuals: log predicted minus log observed loss, (n,).
        n_runs: number of runs fitted.
    """

    law: ScalingLaw
    objective_value: float
    status: Status
    certificate: Certificate
    steps: int
    starts: StartsReport
    objective: Objective
    residuals: NDArray[np.float64]
    n_runs: int

    def __repr__(self) -> str:
        """What a reader at a prompt wants to know; every field is an attribute."""
        value = f"{self.objective.name} {self.objective_value:.6g}"
        return f"<FitResult {self.law!r}: {self.status.name}, {value}, {self.n_runs} runs>"

    def to_frame(self) -> pd.DataFrame:
        """One row: objective, E, A, B, alpha, beta, objective_value, status, certificate, steps, starts."""
        import pandas as pd

        law = {name: float(getattr(self.law, name)) for name in ("E", "A", "B", "alpha", "beta")}
        return pd.DataFrame(
            [
                {
                    "objective": self.objective.name,
                    **law,
                    "objective_value": self.objective_value,
                    "status": self.status.name,
                    "certificate": self.certificate.value,
                    "steps": self.steps,
                    "n_starts": self.starts.n,
                    "n_at_best": self.starts.n_at_best,
                    "n_runs": self.n_runs,
                }
            ]
        )


def fit(
    runs: Runs,
    *,
    objective: Objective = Huber(),  # noqa: B008 - frozen, shared on purpose
    solver: str = "newton",
    starts: str | int | FitResult = "grid",
    options: SolverOptions | None = None,
) -> FitResult:
    """Fit the law to `runs` from many starts and return the best optimum with its certificate.

    Args:
        runs: the runs; at least six distinct ones to mean anything.
        objective: `Huber` or `HuberScale`.
        solver: "newton", "optax-lbfgs", "jaxopt-lbfgs" or "jaxopt-bfgs".
        starts: "grid" for the 4,500 starts of Hoffmann et al. 2022 (arXiv:2203.15556, section D.4), or a
            number of starts spread over that grid, or another fit of the same runs, whose distinct optima
            are then the starts.
        options: how hard the solver tries; the default begins with a wide quadratic zone.

    Returns:
        The fit. It is returned, not raised, when it did not converge: look at `status`.

    Raises:
        UsageError: unknown solver or starts, or something that is no runs or no objective.
    """
    require_kinds("fit", runs, objective)
    options = options or SolverOptions(wide_start=not isinstance(starts, FitResult), max_steps=150)
    solve = get_solver(solver, objective)
    design = Design.from_runs(runs)
    theta = _start_points(design, starts)
    solution = solve(design, np.ones((1, len(runs)), np.uint8), theta, objective=objective, options=options)
    return _result(design, solution, objective, options)


def require_kinds(caller: str, runs: object, objective: object) -> None:
    """Refuse a path where runs are expected, or a name where an objective is.

    Raises:
        UsageError: saying what to give instead.
    """
    from chinchilla_jax.datasets import Runs

    if not isinstance(runs, Runs):
        raise UsageError(f"{caller}: runs is {short(runs)}, expected Runs; load_runs reads a table")
    if not isinstance(objective, Huber | HuberScale):
        raise UsageError(f"{caller}: objective is {short(objective)}, expected Huber() or HuberScale()")


def _start_points(design: Design, starts: object) -> NDArray[np.float64]:
    """Starting points (S, 5) in internal coordinates."""
    if isinstance(starts, FitResult):
        # A fit that found nothing (INVALID) has no optima; one start then carries the status on.
        return starts.starts.minima if len(starts.starts.minima) else np.zeros((1, 5))
    if starts == "grid":
        return design.theta_from_logs(grid_starts())
    if isinstance(starts, bool) or not isinstance(starts, int) or starts < 1:
        raise UsageError(
            f"starts is {short(starts)}, expected 'grid', a number of starts such as 64, or a fit"
        )
    return design.theta_from_logs(grid_starts(starts))


def _result(design: Design, solution: Solution, objective: Objective, options: SolverOptions) -> FitResult:
    best = _best_lane(solution)
    value = float(solution.objective_value[best])
    with np.errstate(invalid="ignore"):
        same = np.abs(solution.objective_value - value) <= _AT_BEST * abs(value)
    report = StartsReport(
        n=len(solution.status),
        status=status_counts(solution.status),
        n_at_best=int(np.sum(same & (solution.status == solution.status[best]))),
        minima=distinct_minima(solution),
    )
    status = Status(int(solution.status[best]))
    residuals = design.residuals(solution.theta[best]) if design.valid else np.full(len(design), np.nan)
    dual = isinstance(objective, HuberScale) and _is_vertex(residuals, objective)
    certificate = Certificate(
        kind="dual" if dual else "newton_decrement",
        value=float(solution.decrement[best]),
        tolerance=1e-9 if dual else options.tolerance,
        holds=status is Status.CONVERGED,
    )
    return FitResult(
        law=_scalar_law(design.law(solution.theta[best])),
        objective_value=value,
        status=status,
        certificate=certificate,
        steps=int(solution.steps[best]),
        starts=report,
        objective=objective,
        residuals=residuals,
        n_runs=len(design),
    )


def _is_vertex(residuals: NDArray[np.float64], objective: HuberScale) -> bool:
    """Whether five residuals lie in a zone that is tiny beside the typical residual."""
    width = objective.delta * objective.scale(residuals, np.ones_like(residuals))
    size = np.abs(residuals)
    return bool(width < 1e-5 * size.mean() and np.sum(size <= width * (1 + 1e-6)) >= 5)


def _best_lane(solution: Solution) -> int:
    """The lane with the lowest objective; among equals the best certified one.

    A lane that ended as UNIDENTIFIED with a lower objective than every certified one is the answer: the data
    then prefer a law at infinity, and a local optimum would hide that.
    """
    value = np.where(np.isfinite(solution.objective_value), solution.objective_value, np.inf)
    if not np.isfinite(value).any():
        return 0
    lowest = value.min()
    close = value <= lowest + _AT_BEST * abs(lowest)
    # Statuses are ordered from certified to not; ties go to the smaller certificate.
    order = np.lexsort((solution.decrement, solution.status, ~close))
    return int(order[0])


def _scalar_law(law: ScalingLaw) -> ScalingLaw:
    values: dict[str, Any] = {name: float(getattr(law, name)) for name in ("E", "A", "B", "alpha", "beta")}
    return ScalingLaw(**values)
