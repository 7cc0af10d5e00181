"""Fit lanes of any law on any number of data sets: calls of a few shapes, threads, and rounds.

Notation
    R         lanes; each names its data set and its row of weights
    C, W      data sets; rows of weights, shared by the data sets
    n, p      runs; coordinates

The contract is that of solvers/base.py: a status for every lane, float64 certificates, and CONVERGED only
with a Newton decrement of at most the tolerance and a positive definite Hessian.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, Problem, Solution, SolverOptions
from chinchilla_jax.solvers.jax_newton.verdicts import verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Floats
    from chinchilla_jax.solvers.jax_newton.rounds import Ends, Limits

_LEAST_LANES = 512  # of a call, where there is a choice
_FIRST_STEPS = 40  # of either stage, after which the lanes that are left go on by themselves
_FEW_LANES = 64  # in a call of those
_CONDITIONS = (1, 16, 256)  # sizes of a call
_WIDEST = 0.1  # half-width of the quadratic zone at the start, in log loss
_MOST_WIDENING = 1e12


def solve_many(
    problems: Sequence[Problem],
    weights: NDArray[Any],
    starts: Floats,
    *,
    condition: NDArray[np.integer],
    row: NDArray[np.integer],
    down: Floats,
    up: Floats,
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
    judged: bool = True,
) -> Solution:
    """Fit R lanes on C data sets of one law, each from its own start.

    Args:
        problems: (C,) what is fitted to what: one law, one kind of residual, n runs each.
        weights: (W, n), not negative.
        starts: (R, p) internal coordinates.
        condition: (R,) which data set.
        row: (R,) which row of weights.
        down: (R,) how far the quadratic zone reaches below zero, in units of `Problem.loss_unit`.
        up: (R,) how far it reaches above.
        options: how hard to try.
        on_progress: called with the number of lanes just finished.
        judged: whether to ask if the runs with a weight determine the law.

    Raises:
        UsageError: the shapes do not fit together.
    """
    law = problems[0].law
    starts = np.asarray(starts, dtype=np.float64)
    count = len(starts)
    _check(problems, weights, starts, (condition, row, down, up))
    if not count:
        return Solution.empty(0, law.size)
    found = Solution.empty(count, law.size)
    valid = np.array([problem.design.valid for problem in problems])[condition]
    lost = np.flatnonzero(~valid)
    found.put(lost, Solution.invalid(len(lost), law.size))
    lanes = np.flatnonzero(valid)
    # Data sets side by side: a call holds a few of them.
    lanes = lanes[np.argsort(condition[lanes], kind="stable")]
    call = _Calls(problems, weights, condition, row, down, up, options)
    widening = np.ones(count)
    if options.wide_start:
        for number in np.unique(condition[lanes]):
            some = lanes[condition[lanes] == number]
            widening[some] = _widening(problems[number], starts[some], np.minimum(down, up)[some])
    starts = _above_bounds(law.bounded, starts)

    def work(part: NDArray[np.intp]) -> None:
        with float64_scope():
            ends = call.finished(part, starts[part], widening[part])
        for number in np.unique(condition[part]):
            mine = np.flatnonzero(condition[part] == number)
            at = part[mine]
            of_mine = type(ends)(*(field[mine] for field in ends))
            problem, rows = problems[number], weights[row[at]]
            found.put(
                at, verdicts(problem, rows, of_mine, down[at], up[at], options.tolerance, judged=judged)
            )
        if on_progress is not None:
            on_progress(len(part))

    # By their own number of runs: how a lane is summed may not depend on its company.
    long = call.counts[lanes] > call.n_runs[0]
    parts = call.parts(lanes[~long]) + call.parts(lanes[long])
    workers = min(call.workers, len(parts))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, parts))
    else:
        for part in parts:
            work(part)
    return found


def solve_by_jax(
    problem: Problem,
    weights: NDArray[Any],
    starts: Floats,
    *,
    down: Floats,
    up: Floats,
    options: SolverOptions = DEFAULT_OPTIONS,
    on_progress: Callable[[int], None] | None = None,
    judged: bool = True,
) -> Solution:
    """Fit R lanes of one data set, as `newton.solver.solve_any_law`: weights (R, n) or (1, n)."""
    count = len(starts)
    row = np.zeros(count, np.intp) if len(weights) == 1 else np.arange(count)
    return solve_many(
        [problem], weights, starts, condition=np.zeros(count, np.intp), row=row, down=down, up=up,
        options=options, on_progress=on_progress, judged=judged,
    )  # fmt: skip


def _check(
    problems: Sequence[Problem], weights: NDArray[Any], starts: Floats, of_lanes: tuple[NDArray[Any], ...]
) -> None:
    law, n_runs = problems[0].law, len(problems[0].design)
    if any(type(p.law) is not type(law) or p.raw != problems[0].raw for p in problems):
        raise UsageError("the data sets of one call have different laws or residuals; give one law")
    if any(len(p.design) != n_runs for p in problems) or np.ndim(weights) != 2 or weights.shape[1] != n_runs:
        raise UsageError(
            f"{law.name}: weights {np.shape(weights)} do not fit {n_runs} runs in every data set; "
            "give weights (rows, runs)"
        )
    if starts.shape != (len(starts), law.size) or any(np.shape(x) != (len(starts),) for x in of_lanes):
        raise UsageError(
            f"{law.name}: starts {starts.shape} do not fit {law.size} parameters and the lanes; "
            "give starts (lanes, parameters) and one data set, row and zone for each lane"
        )


def _above_bounds(bounded: tuple[int, ...], starts: Floats) -> Floats:
    found = starts.copy()
    found[:, list(bounded)] = np.maximum(found[:, list(bounded)], 0.0)
    return found


def _widening(problem: Problem, starts: Floats, narrowest: Floats) -> Floats:
    """How many times its final width the quadratic zone has at each start: as wide as the residuals."""
    narrow = np.isfinite(narrowest) & (narrowest < _WIDEST)
    if not narrow.any():
        return np.ones(len(starts))
    with np.errstate(all="ignore"):
        size = np.median(np.abs(problem.counted(starts)), axis=1)
    size = np.where(np.isfinite(size), size, _WIDEST)
    narrowest = np.where(narrow, np.maximum(narrowest, 1e-300), 1.0)
    most = np.minimum(_WIDEST / np.maximum(narrowest, 1e-12), _MOST_WIDENING)
    return np.where(narrow, np.clip(size / narrowest, 1.0, np.maximum(most, 1.0)), 1.0)


class _Calls:
    """Compiled calls on what all lanes of a request share."""

    def __init__(
        self,
        problems: Sequence[Problem],
        weights: NDArray[Any],
        condition: NDArray[np.integer],
        row: NDArray[np.integer],
        down: Floats,
        up: Floats,
        options: SolverOptions,
    ) -> None:
        import jax

        from chinchilla_jax.solvers.jax_newton.compiled import LANES, runs_of_rows

        self.problems, self.options = problems, options
        self.condition, self.row, self.down, self.up = condition, row, down, up
        small = weights.dtype.kind in "iub" and weights.size and weights.max() < 256
        self.weights = np.asarray(weights, np.uint8 if small else np.float64)
        self.n_runs = runs_of_rows(len(problems[0].design))
        self.counts = np.count_nonzero(self.weights, axis=1)[row]
        self.most = LANES[-1]
        on_cpu = jax.default_backend() == "cpu"
        self.workers = (options.workers or available_cores()) if on_cpu else 1

    def parts(self, lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Lanes by call: even shares, but not so small that the slowest lanes weigh more than the rest."""
        length = min(self.most, max(-(-len(lanes) // self.workers), _LEAST_LANES))
        parts = [lanes[first : first + length] for first in range(0, len(lanes), length)]
        return [piece for part in parts for piece in self._few_conditions(part)]

    def _few_conditions(self, lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Lanes split so that no call has more data sets than it holds."""
        new = np.flatnonzero(np.diff(self.condition[lanes])) + 1
        return np.split(lanes, new[_CONDITIONS[-1] - 1 :: _CONDITIONS[-1]])

    def finished(self, lanes: NDArray[np.intp], starts: Floats, widening: Floats) -> Ends:
        """Where these lanes end: all of them in one call, the few that take many steps in others."""
        options = self.options
        first = _limits(
            options.tolerance,
            min(options.float32_steps, _FIRST_STEPS),
            min(options.float64_steps, _FIRST_STEPS),
            options.search_after,
        )
        ends = self(lanes, starts, widening, first)
        if options.float64_steps <= _FIRST_STEPS:
            return ends
        last = _limits(options.tolerance, 0, options.float64_steps - _FIRST_STEPS, 0)
        left = np.flatnonzero(ends.status < 0)
        for begin in range(0, len(left), _FEW_LANES):
            some = left[begin : begin + _FEW_LANES]
            begun = np.where(np.isfinite(ends.anchor[some]), ends.anchor[some], starts[some])
            again = self(lanes[some], begun, ends.widening[some], last, few=True)
            again.steps[:] += ends.steps[some]
            for mine, theirs in zip(ends, again, strict=True):
                mine[some] = theirs
        return ends

    def __call__(
        self, lanes: NDArray[np.intp], starts: Floats, widening: Floats, limits: Limits, few: bool = False
    ) -> Ends:
        """Fit these lanes in one call; inside `float64_scope`."""
        import jax

        from chinchilla_jax.solvers.jax_newton.compiled import compiled, padded_lanes
        from chinchilla_jax.solvers.jax_newton.rounds import Requests, Tables

        count = len(lanes)
        size = padded_lanes(count)
        numbers, condition = np.unique(self.condition[lanes], return_inverse=True)
        rows, row = np.unique(self.row[lanes], return_inverse=True)
        held = [self.problems[number] for number in numbers]
        most = next(most for most in _CONDITIONS if most >= len(held))
        length = self.n_runs[int(self.counts[lanes].max() > self.n_runs[0])]
        packed, index = _packed(self.weights[rows], size, length)
        tables = Tables(
            u=_padded(np.stack([p.design.log_params for p in held]), most),
            v=_padded(np.stack([p.design.log_tokens for p in held]), most),
            log_loss=_padded(np.stack([p.design.log_loss for p in held]), most),
            constants=_padded(np.stack([p.law.constants(p.design) for p in held]), most),
            unit=_padded(np.array([p.loss_unit for p in held]), most),
            weights=packed,
            index=index,
        )
        requests = Requests(
            condition=_padded(condition.astype(np.int32), size),
            row=_padded(row.astype(np.int32), size),
            starts=_padded(starts, size),
            down=_padded(self.down[lanes], size),
            up=_padded(self.up[lanes], size),
            widening=_padded(widening, size),
            n_lanes=np.int32(count),
        )
        call = compiled(type(held[0].law), held[0].raw, tables, requests, limits, few)
        return jax.tree.map(lambda x: np.array(np.asarray(x)[:count]), call(tables, requests, limits))


def _limits(tolerance: float, float32_steps: int, float64_steps: int, search_after: int) -> Limits:
    from chinchilla_jax.solvers.jax_newton.rounds import Limits

    return Limits(
        np.float64(tolerance), np.int32(float32_steps), np.int32(float64_steps), np.int32(search_after)
    )


def _padded(values: NDArray[Any], size: int) -> NDArray[Any]:
    """`values` with the last repeated up to `size` rows."""
    if len(values) == size:
        return values
    return np.concatenate([values, np.broadcast_to(values[-1:], (size - len(values), *values.shape[1:]))])


def _packed(weights: NDArray[Any], size: int, length: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The weights above zero of every row and where they are, (size, length); see `rounds.Tables`."""
    order = np.argsort(weights == 0, axis=1, kind="stable")[:, :length]
    empty = np.arange(order.shape[1]) >= np.count_nonzero(weights, axis=1)[:, None]
    packed, index = np.zeros((size, length), weights.dtype), np.zeros((size, length), np.int32)
    rows, columns = order.shape
    packed[:rows, :columns] = np.where(empty, 0, np.take_along_axis(weights, order, axis=1))
    index[:rows] = order[:, :1]
    index[:rows, :columns] = np.where(empty, order[:, :1], order)
    return packed, index
