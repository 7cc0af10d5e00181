"""What every solver takes and gives: one contract, one test over all of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.objectives import Objective


_FLOAT32_STEPS = 100
ENGINES = ("auto", "lanes", "xla")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolverOptions:
    """How hard a solver tries.

    Args:
        tolerance: Newton decrement, relative to the objective, at or below which a fit is certified; above
            1e-5 a decrement depends on the coordinates it is computed in, and says little.
        max_steps: steps after which a lane ends as MAX_STEPS.
        precision: "mixed" (float32 steps, float64 finish and certificate), "float64" throughout, or
            "float32" (steps in float32 only; the certificate is still computed in float64, and such steps
            end at a decrement of 1e-11 to 1e-7: with the default tolerance nothing is certified, give 1e-6).
        wide_start: begin with the quadratic zone as wide as the residuals and narrow it on the way; for
            starts far from the optimum.
        workers: threads that share the batch; None for one per available core.
        engine: what runs the steps of "newton": "lanes" (compiled by LLVM, for CPUs), "xla" (any device), or
            "auto" for the first on CPUs where llvmlite is installed and the second elsewhere.
    """

    tolerance: float = 1e-12
    max_steps: int = 400
    precision: str = "mixed"
    wide_start: bool = False
    workers: int | None = None
    engine: str = "auto"

    @property
    def float32_steps(self) -> int:
        """Most steps of a start in float32."""
        return 0 if self.precision == "float64" else min(_FLOAT32_STEPS, self.max_steps)

    @property
    def float64_steps(self) -> int:
        """Most steps of a lane in float64."""
        return 1 if self.precision == "float32" else self.max_steps

    @property
    def search_after(self) -> int:
        """Steps in float64 before the first line search: next to an optimum the full step is right."""
        return 0 if self.precision == "float64" else 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution:
    """Where R lanes ended. Every lane has a status; theta is finite unless it is INVALID.

    Attributes:
        theta: (R, 5) internal coordinates, see `Design`.
        objective_value: (R,).
        decrement: (R,) Newton decrement relative to the objective (for `HuberScale`: largest excess of a
            dual multiplier over its bound, plus the stationarity residual).
        status: (R,) int8, `Status` values.
        steps: (R,) int32.
    """

    theta: NDArray[np.float64]
    objective_value: NDArray[np.float64]
    decrement: NDArray[np.float64]
    status: NDArray[np.int8]
    steps: NDArray[np.int32]

    @classmethod
    def invalid(cls, lanes: int) -> Solution:
        """All lanes INVALID: there is nothing to fit."""
        nan = np.full(lanes, np.nan)
        return cls(
            theta=np.full((lanes, 5), np.nan),
            objective_value=nan,
            decrement=nan.copy(),
            status=np.full(lanes, Status.INVALID, np.int8),
            steps=np.zeros(lanes, np.int32),
        )

    def __getitem__(self, lanes: NDArray[np.intp] | slice) -> Solution:
        """Those lanes."""
        return Solution(**{f.name: getattr(self, f.name)[lanes] for f in dataclasses.fields(self)})

    def better_of(self, other: Solution) -> Solution:
        """Per lane, the solution with the lower objective (self where they tie or neither is finite)."""
        take = other.objective_value < self.objective_value
        merged = {}
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            merged[field.name] = np.where(take[:, None] if mine.ndim == 2 else take, theirs, mine)
        merged["steps"] = self.steps + other.steps
        return Solution(**merged)


DEFAULT_OPTIONS = SolverOptions()


class Solver(Protocol):
    """Minimise the objective for every lane."""

    def __call__(
        self,
        design: Design,
        weights: NDArray[np.integer] | NDArray[np.floating],
        starts: NDArray[np.float64],
        *,
        objective: Objective,
        options: SolverOptions = DEFAULT_OPTIONS,
        on_progress: Callable[[int], None] | None = None,
    ) -> Solution:
        """Fit R lanes: `weights` (R, n) or (1, n), `starts` (R, 5) internal coordinates."""
        ...


class Ends(NamedTuple):
    """Where an engine left R lanes.

    Attributes:
        theta: (R, 5) after the last step.
        anchor: (R, 5) last accepted points.
        anchor_value: (R,) objective there; inf where the zone has just been narrowed.
        decrement: (R,) there.
        width: (R,) half-width of the zone in the end.
        status: (R,) a `Status`, or RUNNING for a lane that ran out of steps.
        steps: (R,) in both precisions.
    """

    theta: NDArray[np.float64]
    anchor: NDArray[np.float64]
    anchor_value: NDArray[np.float64]
    decrement: NDArray[np.float64]
    width: NDArray[np.float64]
    status: NDArray[np.integer]
    steps: NDArray[np.integer]


class Engine(Protocol):
    """What runs the Newton steps of a chunk of lanes on one data set."""

    workers: int  # calls that may run at the same time

    def lanes_per_call(self, count: int) -> int:
        """How many of `count` lanes a call should be given."""
        ...

    def __call__(
        self,
        weights: NDArray[Any],
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        first_width: NDArray[np.float64],
    ) -> Ends:
        """Fit R lanes from the best of their starts (K, R, 5), best guess first.

        Weights are (R, n) or (1, n); zone half-widths (R,), the objective's own and the one to begin with.
        """
        ...
