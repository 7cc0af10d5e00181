"""What every solver takes and gives: one contract, one test over all of them."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.validation import positive_number, whole_number, worker_count
from chinchilla_jax.laws.objectives import HuberScale, ZonedObjective, own_residuals
from chinchilla_jax.solvers.status import Status, is_certified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.law import Law
    from chinchilla_jax.laws.objectives import Objective

ENGINES = ("auto", "lanes", "xla")
PRECISIONS = ("mixed", "float64", "float32")
MOST_RANKS = 4  # starts per lane that one call takes; a call of fewer has the same shape
SAME_VALUE = 1e-9  # relative difference of objectives under which two optima are one
_STATIONARY = 1e-9  # decrement above which an UNIDENTIFIED point has run off and is no optimum
_FLOAT32_STEPS = 100
# How good an end is, by status: certified, at the bound or not, then UNIDENTIFIED, then the others.
_PREFERENCE = np.zeros(len(Status), np.int8)
for _rank, _status in enumerate(
    (Status.CONVERGED, Status.BOUNDARY, Status.UNIDENTIFIED, Status.MAX_STEPS, Status.INVALID)
):
    _PREFERENCE[_status] = _rank


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolverOptions:
    """How hard a solver tries.

    Args:
        tolerance: Newton decrement, relative to the objective, at or below which a fit is certified; above
            1e-5 a decrement depends on the coordinates it is computed in, and says little.
        max_steps: steps after which a lane ends as MAX_STEPS.
        precision: "mixed" (float32 steps, float64 finish and certificate; where float64 steps alone compile
            in half the time and are nearly as fast, on GPUs and on CPUs for other laws than the
            five-parameter one, it is these), "float64", or
            "float32" (steps in float32 only; the certificate is still computed in float64, and such steps
            end at a decrement of 1e-11 to 1e-7: with the default tolerance nothing is certified, give 1e-6).
        wide_start: begin with the quadratic zone as wide as the residuals and narrow it on the way; for
            starts far from the optimum.
        workers: threads that share the batch; None for one per available core.
        engine: what takes the steps of "newton" for the five-parameter law: "lanes" (compiled by LLVM, for
            CPUs), "xla" (any device), or "auto" for the first on CPUs where LLVM accepts it and the second
            elsewhere. Every other law and solver runs through XLA.

    Example:
        >>> cj.fit(runs, starts=16, options=cj.SolverOptions(max_steps=3)).status.name
        'MAX_STEPS'
    """

    tolerance: float = 1e-12
    max_steps: int = 400
    precision: str = "mixed"
    wide_start: bool = False
    workers: int | None = None
    engine: str = "auto"

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        positive_number("tolerance", self.tolerance)
        whole_number("max_steps", self.max_steps, low=1)
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.workers is not None:
            worker_count(self.workers)
        if self.engine not in ENGINES:
            raise unknown_name("engine", self.engine, ENGINES)

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


@dataclasses.dataclass(frozen=True)
class Tries:
    """How many lanes that follow each other are tries at one row of weights, each to an end of its own.

    The CPU kernel ends a try where it meets the end of an earlier one of the row, or is far above it.

    Attributes:
        near: of each row, from starts near an optimum.
        wide: after these, from far ones: as by `SolverOptions.wide_start`.
    """

    near: int = 1
    wide: int = 0

    @property
    def count(self) -> int:
        """Lanes of a row."""
        return self.near + self.wide


ONE_TRY = Tries()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What is fitted to what, and by which objective; the weights of the runs come with each lane.

    Attributes:
        law: the law, p parameters.
        design: the runs, n of them.
        objective: what is minimised.
    """

    law: Law
    design: Design
    objective: Objective

    def residuals(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log predicted minus log observed loss; theta (..., p) to (..., n)."""
        return self.law.residuals(theta, self.design)

    @functools.cached_property
    def loss_unit(self) -> float:
        """Geometric mean of the losses, the unit in which raw residuals are fitted; 1 for others.

        In this unit they are about as large as those of the log loss, and every threshold keeps its meaning.
        """
        return math.exp(float(np.mean(self.design.log_loss))) if self.raw else 1.0

    @property
    def raw(self) -> bool:
        """Whether the residuals that count are of the loss itself."""
        return isinstance(self.objective, ZonedObjective) and self.objective.raw

    def counted(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Residuals as the objective counts them, in `loss_unit`; theta (..., p) to (..., n)."""
        return self._counted(self.residuals(theta))

    def _counted(self, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        found = own_residuals(self.objective, residuals, self.design.log_loss)
        return found / self.loss_unit if self.raw else found

    def losses(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each run adds to the objective, but for its weight and a common factor; (..., p) to (..., n).

        For `HuberScale` |r_i|: its minimum is that of least absolute deviations.
        """
        return self.losses_of(self.residuals(theta))

    def losses_of(self, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        """`losses` of log residuals (..., n), whatever predicts."""
        residual, objective = self._counted(residuals), self.objective
        if isinstance(objective, HuberScale):
            return np.abs(residual)
        unit = self.loss_unit
        return objective.losses(residual, objective.down / unit, objective.up / unit)

    def jacobian(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivative of `residuals`; theta (..., p) to (..., n, p)."""
        return self.law.jacobian(theta, self.design)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """Where R lanes ended. Every lane has a status; theta is finite unless it is INVALID.

    Attributes:
        theta: (R, p) internal coordinates, see `Law`.
        objective_value: (R,); inf where there is none.
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
    def empty(cls, lanes: int, size: int) -> Solution:
        """Room for `lanes` lanes of `size` parameters, to be filled with `put`."""
        return cls(
            theta=np.empty((lanes, size)),
            objective_value=np.empty(lanes),
            decrement=np.empty(lanes),
            status=np.empty(lanes, np.int8),
            steps=np.empty(lanes, np.int32),
        )

    @classmethod
    def invalid(cls, lanes: int, size: int) -> Solution:
        """All lanes INVALID: there is nothing to fit."""
        nan = np.full(lanes, np.nan)
        return cls(
            theta=np.full((lanes, size), np.nan),
            objective_value=nan,
            decrement=nan.copy(),
            status=np.full(lanes, Status.INVALID, np.int8),
            steps=np.zeros(lanes, np.int32),
        )

    @classmethod
    def concatenated(cls, parts: Sequence[Solution]) -> Solution:
        """The lanes of several solutions, one after the other."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS})

    @classmethod
    def best_of(cls, parts: Sequence[Solution]) -> Solution:
        """Per lane the solution of lowest objective; between equal ones, the better certified."""
        if len(parts) == 1:
            return parts[0]
        stacked = cls(**{name: np.stack([getattr(part, name) for part in parts], 1) for name in _FIELDS})
        lanes = np.arange(len(parts[0]))
        return stacked[lanes, _best(stacked)]

    def __len__(self) -> int:
        """Number of lanes."""
        return len(self.status)

    def __getitem__(self, lanes: Any) -> Solution:
        """Those lanes."""
        return Solution(**{name: getattr(self, name)[lanes] for name in _FIELDS})

    def put(self, lanes: NDArray[np.intp] | slice, other: Solution) -> None:
        """Put `other` in the place of these lanes."""
        for name in _FIELDS:
            getattr(self, name)[lanes] = getattr(other, name)

    def best_lane(self) -> int:
        """The lane of lowest objective; between equal ones, the better certified.

        An UNIDENTIFIED lane below every certified one is the answer: the data then prefer a law at infinity,
        and a local optimum would hide that.
        """
        if not np.isfinite(self.objective_value).any():
            return 0
        return int(_best(self[None])[0])

    @property
    def is_optimum(self) -> NDArray[np.bool_]:
        """Lanes that ended at a minimum, certified or one of many; (R,)."""
        one_of_many = (self.status == Status.UNIDENTIFIED) & (self.decrement <= _STATIONARY)
        return (is_certified(self.status) | one_of_many) & np.isfinite(self.objective_value)

    def same_value(self, value: float) -> NDArray[np.bool_]:
        """Lanes whose objective agrees with `value`, (R,)."""
        with np.errstate(invalid="ignore"):
            return np.abs(self.objective_value - value) <= SAME_VALUE * abs(value)


_FIELDS = tuple(field.name for field in dataclasses.fields(Solution))


def _best(found: Solution) -> NDArray[np.intp]:
    """Position of the best lane in every row of solutions with fields (R, K); (R,)."""
    value = np.where(np.isfinite(found.objective_value), found.objective_value, np.inf)
    lowest = value.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        close = (value <= lowest + SAME_VALUE * np.abs(lowest)) | (value == lowest)
    order = np.lexsort((found.decrement, _PREFERENCE[found.status], ~close), axis=1)
    return np.asarray(order[:, 0])


DEFAULT_OPTIONS = SolverOptions()


class Solver(Protocol):
    """Minimise the objective for every lane."""

    def __call__(
        self,
        problem: Problem,
        weights: NDArray[Any],
        starts: NDArray[np.float64],
        *,
        options: SolverOptions = DEFAULT_OPTIONS,
        on_progress: Callable[[int], None] | None = None,
    ) -> Solution:
        """Fit R lanes: `weights` (R, n) or (1, n), `starts` (R, p) internal coordinates."""
        ...
