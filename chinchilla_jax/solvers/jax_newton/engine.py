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

MOST_RANKS = 4  # starts per lane; a call of fewer has the same shape
_LEAST_LANES = 512  # of a call, where there is a choice
_FIRST_STEPS = 40  # of either stage, after which the lanes that are left go on by themselves
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
    """Fit R lanes on C data sets of one law, each from the best of its K starts.

    Args:
        problems: (C,) what is fitted to what: one law, one kind of residual, n runs each.
        weights: (W, n), not negative.
        starts: (R, p) internal coordinates, or candidates (K, R, p), best guess first.
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
    starts = starts[None] if starts.ndim == 2 else starts
    count = starts.shape[1]
    _check(problems, weights, starts, (condition, row, down, up))
    if not count:
        return Solution.empty(0, law.size)
    found = Solution.empty(count, law.size)
    valid = np.array([problem.design.valid for problem in problems])[condition]
    lost = np.flatnonzero(~valid)
    found.put(lost, Solution.invalid(len(lost), law.size))
    # Data sets side by side: a call holds a few of them.
    lanes = np.flatnonzero(valid)
    lanes = lanes[np.argsort(condition[lanes], kind="stable")]
    call = _Calls(problems, weights, condition, row, down, up, options)
    widening = np.ones(starts.shape[:2])
    if options.wide_start:
        for number in np.unique(condition[lanes]):
            some = lanes[condition[lanes] == number]
            narrowest = np.minimum(down, up)[some]
            widening[:, some] = [_widening(problems[number], each[some], narrowest) for each in starts]
    starts = _above_bounds(law.bounded, starts)
    tolerance, search_after = options.tolerance, options.search_after
    first = (min(options.float32_steps, _FIRST_STEPS), min(options.float64_steps, _FIRST_STEPS))
    last = (0, options.float64_steps - first[1])
    going_on: list[tuple[NDArray[np.intp], Ends]] = []

    def settle(part: NDArray[np.intp], ends: Ends) -> None:
        for number in np.unique(condition[part]):
            mine = np.flatnonzero(condition[part] == number)
            at = part[mine]
            of_mine = type(ends)(*(field[mine] for field in ends))
            rows = weights[row[at]]
            found.put(
                at,
                verdicts(problems[number], rows, of_mine, down[at], up[at], options.tolerance, judged=judged),
            )
        if on_progress is not None:
            on_progress(len(part))

    def begin(part: NDArray[np.intp]) -> None:
        with float64_scope():
            ends = call(part, starts[:, part], widening[:, part], _limits(tolerance, *first, search_after))
        left = (ends.status < 0) & (last[1] > 0)
        going_on.append((part[left], type(ends)(*(field[left] for field in ends))))
        settle(part[~left], type(ends)(*(field[~left] for field in ends)))

    def go_on(part: NDArray[np.intp]) -> None:
        begun = np.where(np.isfinite(before.anchor), before.anchor, starts[0])[part]
        with float64_scope():
            ends = call(part, begun[None], before.widening[None, part], _limits(tolerance, *last, 0))
        ends.steps[:] += before.steps[part]
        settle(part, ends)

    _in_threads(begin, call.parts(lanes), call.workers)
    # The lanes of all calls that take many steps keep each other company.
    left = np.concatenate([part for part, _ in going_on]) if going_on else lanes[:0]
    if len(left):
        left = np.sort(left)
        before = _of_lanes(going_on, count)
        left = left[np.argsort(condition[left], kind="stable")]
        _in_threads(go_on, call.parts(left), call.workers)
    return found


def _of_lanes(parts: list[tuple[NDArray[np.intp], Ends]], count: int) -> Ends:
    """The ends of some lanes at their places in arrays of all; elsewhere zero."""
    found = type(parts[0][1])(*(np.zeros((count, *x.shape[1:]), x.dtype) for x in parts[0][1]))
    for part, ends in parts:
        for whole, some in zip(found, ends, strict=True):
            whole[part] = some
    return found


def _in_threads(
    work: Callable[[NDArray[np.intp]], None], parts: list[NDArray[np.intp]], workers: int
) -> None:
    if min(workers, len(parts)) > 1:
        with ThreadPoolExecutor(min(workers, len(parts))) as pool:
            list(pool.map(work, parts))
    else:
        for part in parts:
            work(part)


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
    count = np.shape(starts)[-2]
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
    lanes = starts.shape[1:2]
    if starts.ndim != 3 or starts.shape[2] != law.size or any(np.shape(x) != lanes for x in of_lanes):
        raise UsageError(
            f"{law.name}: starts {starts.shape} do not fit {law.size} parameters and the lanes; give starts "
            "(lanes, parameters) or (candidates, lanes, parameters); each lane has a data set, row and zone"
        )
    if len(starts) > MOST_RANKS:
        raise UsageError(f"{len(starts)} starts per lane; at most {MOST_RANKS} are taken")


def _above_bounds(bounded: tuple[int, ...], starts: Floats) -> Floats:
    found = starts.copy()
    found[..., list(bounded)] = np.maximum(found[..., list(bounded)], 0.0)
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

        from chinchilla_jax.solvers.jax_newton.compiled import CONDITIONS, LANES, padded_runs

        self.problems, self.options = problems, options
        self.condition, self.row, self.down, self.up = condition, row, down, up
        self.weights = _compact(weights)
        self.first = np.argmax(self.weights > 0, axis=1).astype(np.int32)
        self.n_runs = padded_runs(weights.shape[1])
        self.most, self.most_conditions = LANES[-1], CONDITIONS[-1]
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
        return np.split(lanes, new[self.most_conditions - 1 :: self.most_conditions])

    def __call__(self, lanes: NDArray[np.intp], starts: Floats, widening: Floats, limits: Limits) -> Ends:
        """Fit these lanes from starts (K, L, p) in one call; inside `float64_scope`."""
        import jax

        from chinchilla_jax.solvers.jax_newton.compiled import (
            CONDITIONS,
            LANES,
            compiled,
            padded,
        )
        from chinchilla_jax.solvers.jax_newton.rounds import Requests, Tables

        count, ranks = len(lanes), len(starts)
        size = padded(count, LANES)
        numbers, condition = np.unique(self.condition[lanes], return_inverse=True)
        rows, row = np.unique(self.row[lanes], return_inverse=True)
        held = [self.problems[number] for number in numbers]
        most = padded(len(held), CONDITIONS)

        def columns(name: str) -> Floats:
            table = np.stack([getattr(p.design, name) for p in held])
            return _padded(_padded(table.T, self.n_runs).T, most)

        weights = np.zeros((size, self.n_runs), self.weights.dtype)
        weights[: len(rows), : self.weights.shape[1]] = self.weights[rows]
        tables = Tables(
            u=columns("log_params"),
            v=columns("log_tokens"),
            log_loss=columns("log_loss"),
            constants=_padded(np.stack([p.law.constants(p.design) for p in held]), most),
            unit=_padded(np.array([p.loss_unit for p in held]), most),
            weights=weights,
            first=_padded(self.first[rows], size),
            n_runs=np.float64(self.weights.shape[1]),
        )
        requests = Requests(
            condition=_padded(condition.astype(np.int32), size),
            row=_padded(row.astype(np.int32), size),
            starts=_room(starts, MOST_RANKS, size),
            down=_padded(self.down[lanes], size),
            up=_padded(self.up[lanes], size),
            widening=_room(widening, MOST_RANKS, size),
            n_lanes=np.int32(count),
            ranks=np.int32(ranks),
        )
        call = compiled(type(held[0].law), held[0].raw, tables, requests, limits)
        return jax.tree.map(lambda x: np.array(np.asarray(x)[:count]), call(tables, requests, limits))


def _limits(tolerance: float, float32_steps: int, float64_steps: int, search_after: int) -> Limits:
    from chinchilla_jax.solvers.jax_newton.rounds import Limits

    return Limits(
        np.float64(tolerance), np.int32(float32_steps), np.int32(float64_steps), np.int32(search_after)
    )


def _compact(weights: NDArray[Any]) -> NDArray[Any]:
    """The same weights as small whole numbers if they are that, as counts of a resample are."""
    if weights.dtype == np.uint8:
        return weights
    with np.errstate(invalid="ignore"):
        small = weights.astype(np.uint8)
    return small if np.array_equal(small, weights) else np.asarray(weights, np.float64)


def _padded(values: NDArray[Any], size: int) -> NDArray[Any]:
    """`values` with the last repeated up to `size` rows."""
    if len(values) == size:
        return values
    return np.concatenate([values, np.broadcast_to(values[-1:], (size - len(values), *values.shape[1:]))])


def _room(values: Floats, ranks: int, size: int) -> Floats:
    """Values (K, L, ...) at the beginning of an array (ranks, size, ...)."""
    found = np.ones((ranks, size, *values.shape[2:]))
    found[: len(values), : values.shape[1]] = values
    return found
