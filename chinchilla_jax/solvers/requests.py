"""Procedures that ask for fits: written for one data set, run for one or for many side by side.

A procedure is a generator. It yields `Request`s, is sent a `Solution` for each, and returns its result. Run
`alone`, each request is one call of a solver. Run `side_by_side`, what all of them ask for at a time is one
call: the point fits of a study, its scouting and its resamples take a few large calls each, not thousands of
small ones. No result depends on the company, since no lane's does.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from chinchilla_jax._util.devices import out_of_memory
from chinchilla_jax.laws.objectives import Huber, HuberScale, Squared
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, ONE_TRY, Problem, Solution, SolverOptions, Tries
from chinchilla_jax.solvers.batch import Batch
from chinchilla_jax.solvers.dispatch import has_kernel, on_device, solve_many, takes_tries
from chinchilla_jax.solvers.drawn import Weights
from chinchilla_jax.solvers.pool_starts import PoolStarts, Starts, of_lanes

if TYPE_CHECKING:
    from numpy.typing import NDArray


T = TypeVar("T")
_LEAST_LANES = 64  # smallest part into which a call is halved when a device has too little memory


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """Lanes of one data set to be fitted; see `dispatch.solve`.

    Attributes:
        problem: what is fitted; n runs, p parameters.
        weights: (W, n), not negative; or what a device draws.
        starts: candidates for every lane, best guess first, each (R, p); or where they come from.
        row: (R,) the row of weights of each lane; None for one row each, or one for all.
        solver: its name.
        options: how hard to try.
        tries: lanes of each row of weights, see `dispatch.solve_many`.
        on_progress: called with the number of lanes just finished.
    """

    problem: Problem
    weights: Weights
    starts: Starts
    row: NDArray[np.intp] | None = None
    solver: str = "newton"
    options: SolverOptions = DEFAULT_OPTIONS
    tries: Tries = ONE_TRY
    on_progress: Callable[[int], None] | None = None

    def __len__(self) -> int:
        """Number of lanes."""
        return len(self.starts.pool if isinstance(self.starts, PoolStarts) else self.starts[0])

    @property
    def batch(self) -> Batch:
        """The lanes."""
        if self.row is None:
            return Batch.of(self.problem, self.weights, len(self))
        return Batch((self.problem,), self.weights, np.zeros(len(self), np.intp), self.row)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What requests must have in common to be one call."""
        law, objective = self.problem.law, self.problem.objective
        # The lanes of a call to a device may have different numbers of starts: the fewer calls, the less it
        # waits for the slowest lanes of each.
        several = on_device(law, objective, self.solver, self.options.engine) and not isinstance(
            objective, HuberScale
        )
        # Engines on the host take a zone for each lane, those of squared error without end.
        zone_each = not several and self.solver == "newton" and type(objective) in (Huber, Squared)
        return (
            law,
            "a zone for each lane" if zone_each else objective,
            self.weights.dtype,
            len(self.problem.design),
            "pools" if isinstance(self.starts, PoolStarts) else 0 if several else len(self.starts),
            self.solver,
            self.options,
            self.tries,
        )


Asking = Generator[Request, Solution, T]


def ask_each(
    problem: Problem,
    weights: Weights,
    starts: Sequence[NDArray[np.float64]],
    options: SolverOptions = DEFAULT_OPTIONS,
) -> Asking[list[Solution]]:
    """Fit every lane from each of several starts, each to its end.

    One call of a device, which gains nothing from many small ones, or of the CPU kernel, whose lanes cost
    less than what surrounds a call; for other laws on the host one for each start.

    Args:
        problem: what is fitted; n runs, p parameters.
        weights: (R, n).
        starts: K of them, each (R, p).
        options: how hard to try.
    """
    law, objective = problem.law, problem.objective
    together = has_kernel(law, objective) or on_device(law, objective, "newton", options.engine)
    if isinstance(objective, HuberScale) or problem.raw or not together:
        ends = []
        for start in starts:
            ends.append((yield Request(problem=problem, weights=weights, starts=[start], options=options)))
        return ends
    if not starts:
        return []
    found = yield Request(
        problem=problem,
        weights=weights,
        row=np.tile(np.arange(len(weights)), len(starts)),
        starts=[np.concatenate(starts)],
        options=options,
    )
    lanes = len(weights)
    return [found[rank * lanes : (rank + 1) * lanes] for rank in range(len(starts))]


def ask_tries(
    problem: Problem,
    weights: Weights,
    near: Sequence[NDArray[np.float64]],
    wide: Sequence[NDArray[np.float64]] = (),
    *,
    options: SolverOptions,
    wide_options: SolverOptions | None = None,
) -> Asking[list[Solution]]:
    """Fit every lane from each of several starts, each to its end or to where an earlier one ended.

    By the CPU kernel, whose tries at a row of weights know of each other; elsewhere as `ask_each`.

    Args:
        problem: what is fitted; n runs, p parameters.
        weights: (R, n).
        near: starts near an optimum, each (R, p), best guess first.
        wide: starts far from it, each (R, p).
        options: how hard to try.
        wide_options: from far starts, where tries know nothing of each other.
    """
    if not takes_tries(problem, options):
        ends = yield from ask_each(problem, weights, near, options)
        return ends + (yield from ask_each(problem, weights, wide, wide_options or options))
    tries = Tries(len(near), len(wide))
    found = yield Request(
        problem=problem,
        weights=weights,
        row=np.repeat(np.arange(len(weights)), tries.count),
        starts=[np.stack([*near, *wide], axis=1).reshape(-1, problem.law.size)],
        options=options,
        tries=tries,
    )
    return [found[rank :: tries.count] for rank in range(tries.count)]


def alone(procedure: Asking[T]) -> T:
    """The result of one procedure."""
    return side_by_side([procedure])[0]


def side_by_side(procedures: Sequence[Asking[T]], on_halved: Callable[[int], None] | None = None) -> list[T]:
    """The results of several procedures, whose requests of the same kind are answered together.

    Args:
        procedures: none of them begun.
        on_halved: where a device has too little memory for a call, it is halved until it fits; called with
            the number of lanes of each half.
    """
    results: dict[int, T] = {}
    pending: dict[int, Request] = {}

    def proceed(number: int, answer: Solution | None) -> None:
        try:
            # The first `send` of a generator takes None.
            pending[number] = procedures[number].send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            results[number] = end.value

    for number in range(len(procedures)):
        proceed(number, None)
    while pending:
        kinds: dict[tuple[Any, ...], list[int]] = {}
        for number, request in pending.items():
            kinds.setdefault(request.kind, []).append(number)
        asked, pending = pending, {}
        for numbers in kinds.values():
            requests = [asked[number] for number in numbers]
            for number, answer in zip(numbers, _answers(requests, on_halved), strict=True):
                proceed(number, answer)
    return [results[number] for number in range(len(procedures))]


def _answers(requests: Sequence[Request], on_halved: Callable[[int], None] | None) -> list[Solution]:
    """Solutions of requests of one kind, from one call."""
    first = requests[0]
    batch = Batch.joined([request.batch for request in requests]) if len(requests) > 1 else first.batch
    starts = _joined([request.starts for request in requests])
    report = first.on_progress if len(requests) == 1 else None
    found = _halving(batch, starts, first, report, on_halved)
    if report is None:
        for request in requests:
            if request.on_progress is not None:
                request.on_progress(len(request))
    ends = np.cumsum([len(request) for request in requests])
    return [found[end - len(each) : end] for each, end in zip(requests, ends, strict=True)]


def _joined(parts: Sequence[Starts]) -> Starts:
    """The starts of several requests, one after the other; NaN where one has fewer than another."""
    pools = [part for part in parts if isinstance(part, PoolStarts)]
    if pools:
        return PoolStarts.joined(pools)
    arrays = [part for part in parts if not isinstance(part, PoolStarts)]
    return [
        np.concatenate(
            [
                np.full_like(each[0], np.nan) if start is None else start
                for each, start in zip(arrays, column, strict=True)
            ]
        )
        for column in itertools.zip_longest(*arrays)
    ]


def _halving(
    batch: Batch,
    starts: Starts,
    like: Request,
    report: Callable[[int], None] | None,
    on_halved: Callable[[int], None] | None,
) -> Solution:
    try:
        return solve_many(
            batch, starts, solver=like.solver, options=like.options, tries=like.tries, on_progress=report
        )
    except Exception as error:
        rows = len(batch) // like.tries.count  # whose tries stay together
        if not out_of_memory(error) or len(batch) < 2 * _LEAST_LANES or rows < 2:
            raise
    gc.collect()  # what the call that failed held there
    middle = rows // 2 * like.tries.count
    if on_halved is not None:
        on_halved(middle)
    return Solution.concatenated(
        [
            _halving(batch[lanes], of_lanes(starts, lanes), like, report, on_halved)
            for lanes in (slice(middle), slice(middle, None))
        ]
    )
