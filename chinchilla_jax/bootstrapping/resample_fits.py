"""Fits of given weightings of one data set: what a bootstrap and a study share.

Notation
    R, n, p    resamples, runs, parameters of the law
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.bootstrapping.scouting import Recipe, ask_recipe, differ
from chinchilla_jax.fitting.optima_pool import best_of_pool
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.fitting.run_off import can_be_followed, run_offs
from chinchilla_jax.solvers import Problem, Solution, SolverOptions, Status, check_solver
from chinchilla_jax.solvers.dispatch import device_draws, takes_tries
from chinchilla_jax.solvers.drawn import Drawn
from chinchilla_jax.solvers.pool_starts import PoolStarts
from chinchilla_jax.solvers.requests import Asking, Request, alone, ask_tries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.solvers.drawn import Weights
    from chinchilla_jax.solvers.pool_starts import Starts

_BLOCK_BYTES = 2**26  # of float64 weights, in memory at a time
_LEAST_BLOCK, _MOST_BLOCK = 64, 16384  # resamples
_DEVICE_BLOCK = 2**17  # resamples that a device draws and fits at a time: it takes many at once
_FAR_STEPS = 150  # of a start far from the optimum


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ResampleFitter:
    """What all resamples of one data set share. Its methods may be called from any thread.

    Attributes:
        problem: what is fitted.
        own: (n,) weights of the runs, None where all count the same.
        solver: name of the solver.
        options: how hard it tries.
        recipe: how to start, from the scouting; None where there is nothing to fit.
        follows: whether lanes that ran out of steps are followed, to tell which are UNIDENTIFIED: of no use
            to a caller who counts both as failed.
    """

    problem: Problem
    own: NDArray[np.float64] | None
    solver: str
    options: SolverOptions
    recipe: Recipe | None
    follows: bool = True

    @classmethod
    def prepared(
        cls,
        problem: Problem,
        point: FitResult,
        *,
        own: NDArray[np.float64] | None = None,
        solver: str = "newton",
        options: SolverOptions | None = None,
        raced: bool = False,
    ) -> ResampleFitter:
        """Scout for starts, from the optima of the point fit; `raced` as for `ask_scout`."""
        asking = cls.ask_prepared(problem, point, own=own, solver=solver, options=options, raced=raced)
        return alone(asking)

    @classmethod
    def ask_prepared(
        cls,
        problem: Problem,
        point: FitResult,
        *,
        own: NDArray[np.float64] | None = None,
        solver: str = "newton",
        options: SolverOptions | None = None,
        raced: bool = False,
        search_small: bool = True,
    ) -> Asking[ResampleFitter]:
        """`prepared` as a procedure, see solvers/requests.py; `search_small` as for `ask_scout`."""
        check_solver(solver, problem.law, problem.objective)
        options = options or SolverOptions()
        recipe = None
        if problem.design.valid:
            recipe = yield from ask_recipe(
                problem, point.starts.minima, own, options, raced=raced, search_small=search_small
            )
            if not recipe.scouted:
                # Starts that pilots have not tried are not known to be near.
                options = dataclasses.replace(options, wide_start=True)
        return cls(problem=problem, own=own, solver=solver, options=options, recipe=recipe)

    @functools.cached_property
    def device_draws(self) -> bool:
        """Whether the weights of resamples can be left to the device, see solvers/drawn.py."""
        return self.own is None and device_draws(self.problem, self.solver, self.options.engine)

    def resampled(self, scheme: Scheme, runs: Runs, ids: NDArray[np.integer], seed: int) -> Weights:
        """What a scheme draws for these resamples (R,), (R, n); left to the device where it can draw it."""
        return (scheme.drawn if self.device_draws else scheme.weights)(runs, ids, seed)

    def weighted(self, drawn: Weights) -> Weights:
        """Weights of the lanes: what was drawn (R, n) times the weights of the runs."""
        if isinstance(drawn, Drawn):
            return drawn
        # In row order: sums over the runs then have the same bits in a block of any length.
        if self.own is not None:
            drawn = drawn * self.own
        return drawn if drawn.flags.c_contiguous else np.ascontiguousarray(drawn)

    def starts(self, weights: Weights) -> Starts:
        """Starts of a block of weights (R, n), best guess first, each (R, p); or where they come from."""
        return [] if self.recipe is None else self.recipe.candidates(self.problem, weights)

    def fit(
        self,
        weights: Weights,
        starts: Starts,
        on_progress: Callable[[int], None] | None = None,
    ) -> Solution:
        """Fit a block of weights (R, n) from these starts."""
        return alone(self.ask_fit(weights, starts, on_progress))

    def ask_fit(
        self,
        weights: Weights,
        starts: Starts,
        on_progress: Callable[[int], None] | None = None,
    ) -> Asking[Solution]:
        """`fit` as a procedure, see solvers/requests.py."""
        if self.recipe is None:
            if on_progress is not None:
                on_progress(len(weights))
            return Solution.invalid(len(weights), self.problem.law.size)
        if self.recipe.most and self.solver == "newton":
            assert not isinstance(starts, PoolStarts)
            found = yield from self._ask_search(weights, starts, on_progress)
            self._judge_run_offs(found, weights)
            return found
        found = yield Request(
            problem=self.problem,
            weights=weights,
            starts=starts,
            solver=self.solver,
            options=self.options,
            on_progress=on_progress,
        )
        if not self.recipe.scouted:
            yield from self._ask_rest_of_pool(found, weights)
        self._judge_run_offs(found, weights)
        return found

    def _judge_run_offs(self, found: Solution, weights: Weights) -> None:
        """Lanes that ran out of steps after a parameter that these runs do not bound are UNIDENTIFIED."""
        left = np.flatnonzero(found.status == Status.MAX_STEPS)
        if self.follows and len(left) and can_be_followed(self.problem):
            off = run_offs(self.problem, np.asarray(weights[left]), found.theta[left])
            found.status[left[[each is not None for each in off]]] = Status.UNIDENTIFIED

    def _ask_search(
        self,
        weights: Weights,
        starts: Sequence[NDArray[np.float64]],
        on_progress: Callable[[int], None] | None,
    ) -> Asking[Solution]:
        """Fit every lane from several starts, each to its end; from all of them where the first ones differ.

        A race would be faster, but where minima lie side by side it leaves the wrong starts behind.
        """
        assert self.recipe is not None
        first = min(self.recipe.ranks, len(starts))
        far = () if self.recipe.far is None else self.recipe.far
        ends = yield from self.ask_each_try(weights, starts[:first], far)
        best = Solution.best_of(ends)
        asked = differ(np.array([end.objective_value for end in ends]), weights)
        tries = takes_tries(self.problem, self.options)
        if tries:
            asked |= best.status == Status.MAX_STEPS
        left = np.flatnonzero(asked)
        if len(left) and len(starts) > first:
            others = [start[left] for start in starts[first:]]
            if tries:  # the best is what they meet, and goes on if it ran out of steps
                others = [best.theta[left], *others]
            more = yield from self.ask_each_try(weights[left], others)
            best.put(left, Solution.best_of([best[left], *more]))
        if on_progress is not None:
            on_progress(len(weights))
        return best

    def ask_each_try(
        self,
        weights: Weights,
        near: Sequence[NDArray[np.float64]],
        far: Sequence[NDArray[np.float64]] | NDArray[np.float64] = (),
    ) -> Asking[list[Solution]]:
        """Fit every lane (R, n) from each of `near`, starts (R, p), and of `far`, points (p,).

        Returns:
            A solution for each of the starts, those of `near` first.
        """
        steps = min(self.options.max_steps, _FAR_STEPS)
        wide = dataclasses.replace(self.options, wide_start=True, max_steps=steps)
        lanes = (len(weights), self.problem.law.size)
        return (
            yield from ask_tries(
                self.problem, weights, near, [np.broadcast_to(start, lanes) for start in far],
                options=self.options, wide_options=wide,
            )
        )  # fmt: skip

    def _ask_rest_of_pool(self, found: Solution, weights: Weights) -> Asking[None]:
        """Fit lanes without a certificate from every other optimum known."""
        assert self.recipe is not None
        pool, ranks = self.recipe.pool, self.recipe.ranks
        for rank in range(ranks, len(pool)):
            left = np.flatnonzero(~found.is_optimum)
            if not len(left):
                break
            some = np.asarray(weights[left])
            start = best_of_pool(self.problem, some, pool, ranks=rank + 1)[rank]
            again = yield Request(problem=self.problem, weights=some, starts=[start], options=self.options)
            found.put(left, Solution.best_of([found[left], again]))


def fit_all(
    fitter: ResampleFitter,
    weights_of: Callable[[slice], Weights],
    count: int,
    *,
    drawn: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Solution:
    """Fit `count` resamples block by block: memory for their fits, and for the weights of two blocks.

    `weights_of` gives what is drawn for a slice of the resamples, (R, n). A device draws the first `drawn`.
    """
    solution = Solution.empty(count, fitter.problem.law.size)
    parts = _blocks(fitter, count, drawn)

    def prepared(lanes: slice) -> tuple[Weights, Starts]:
        weights = fitter.weighted(weights_of(lanes))
        return weights, fitter.starts(weights)

    if fitter.device_draws:
        # The host has little to do for a block, and does it while the device fits the next one.
        with ThreadPoolExecutor(2) as several:
            fits = several.map(lambda lanes: fitter.fit(*prepared(lanes)), parts)
            for lanes, found in zip(parts, fits, strict=True):
                solution.put(lanes, found)
                if on_progress is not None:
                    on_progress(lanes.stop - lanes.start)
        return solution

    # The next block is drawn while one is fitted: drawing is the work of a single thread.
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(prepared, parts[0])
        for lanes, following in itertools.zip_longest(parts, parts[1:]):
            weights, starts = upcoming.result()
            if following is not None:
                upcoming = ahead.submit(prepared, following)
            solution.put(lanes, fitter.fit(weights, starts, on_progress))
    return solution


def _blocks(fitter: ResampleFitter, count: int, drawn: int) -> list[slice]:
    """Resamples that are fitted at a time: more where the host has neither weights nor starts of them."""
    block = min(max(_BLOCK_BYTES // (8 * len(fitter.problem.design)), _LEAST_BLOCK), _MOST_BLOCK)
    large = block if fitter.recipe is None or fitter.recipe.most else _DEVICE_BLOCK
    found = [slice(first, min(first + large, drawn)) for first in range(0, drawn, large)]
    found += [slice(first, min(first + block, count)) for first in range(drawn, count, block)]
    return found or [slice(0, 0)]


def fit_resamples(
    runs: Runs,
    *,
    weights: NDArray[Any],
    point: FitResult,
    solver: str = "newton",
    resample_ids: NDArray[np.int64] | None = None,
    options: SolverOptions | None = None,
    raced: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> BootstrapResult:
    """Fit given resamples of one data set.

    Args:
        runs: the runs, n of them.
        weights: (R, n) resample weights; the weights of the runs themselves are those of `point`.
        point: point fit on all runs, whose optima seed the pool of starts; says what is fitted.
        solver: solver name.
        resample_ids: (R,) for the result; 0..R-1 by default.
        options: how hard the solver tries.
        raced: as for `ask_scout`, where there are hundreds of data sets.
        on_progress: called with the number of fits just finished.
    """
    problem = read_problem("fit_resamples", runs, point.model, point.objective)
    fitter = ResampleFitter.prepared(
        problem, point, own=point.weights, solver=solver, options=options, raced=raced
    )
    found = fit_all(fitter, lambda lanes: weights[lanes], len(weights), on_progress=on_progress)
    ids = np.arange(len(weights)) if resample_ids is None else resample_ids
    return BootstrapResult(solution=found, design=problem.design, resample_ids=ids, point=point)
