"""Quasi-Newton solvers of other libraries behind this library's contract: for comparison and cross-checks.

Notation (one lane, n runs; theta as in laws/chinchilla.py; u, v, y as in laws/design.py)
    x           (a', b', ln E, alpha', beta'): theta with the logarithm of E, so that E stays positive; (5,)
    residual    r = LSE(a' - alpha' u, b' - beta' v, ln E) - y; (n,)
    scaled      sum_i w_i Huber(r_i) / (width sum_i w_i): what the libraries minimise. No component of its
                gradient is much above one anywhere, so a first step of unit length is a sane one; ()

What these solvers do not do by themselves is done around them, in rounds:

- The objective has kinks in its second derivative, and curvature remembered from beyond a kink misleads. A
  round is at most 200 iterations; a lane not certified by then starts the next with a fresh memory.
- They have no certificate. Every lane is judged in float64 by `solvers.certificate` after each round, and
  only a certified lane is CONVERGED: 1/2 g' H^-1 g <= tolerance x objective with H positive definite. A lane
  that stops short of that is MAX_STEPS, even where its objective agrees with the best one to many digits
  and even where it stopped by itself (a line search that ends in rounding errors).
- They cannot reach E = 0, which is at minus infinity here. A lane that has gone far down is tried at E = 0.

On the 240 runs every resample without noise on N is certified. Under strong log-normal noise, where the best
E is zero or near it, the valley is curved in these coordinates: some lanes end as MAX_STEPS, up to 1e-4
above the optimum that the Newton method certifies.

On a CPU one lane is solved after the other (`lax.map`), threads sharing the blocks: vmapped, every lane waits
for the slowest line search of the batch, and takes 2 to 20 times as long. Elsewhere the lanes are vmapped.

Source: optax.lbfgs; jaxopt (https://jaxopt.github.io), which is no longer maintained.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.laws.chinchilla import CHINCHILLA
from chinchilla_jax.laws.design import FLOOR
from chinchilla_jax.laws.objectives import Huber, residual_loss
from chinchilla_jax.laws.scaling_law import log_terms
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS, Problem, Solution, SolverOptions
from chinchilla_jax.solvers.certificate import (
    Optimality,
    certify,
    identifiable,
    judge,
)
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design


class Columns(NamedTuple):
    """The runs, shared by all lanes: standardised logs u, v (n,), log loss y (n,)."""

    log_params: Any
    log_tokens: Any
    log_loss: Any


# x of one lane to its scaled objective
ScalarFunction: TypeAlias = Callable[[Array], Array]
# (function, start, iteration limit, norm of the gradient to stop at) -> (x, iterations) of one lane
Minimiser: TypeAlias = Callable[[ScalarFunction, Array, Array, float], tuple[Array, Array]]

_GRADIENT_TOLERANCE = 1e-11  # of `scaled`; a decrement of 1e-12 needs about 1e-8
_ROUND, _SHORT = 200, 50  # step limits of a round, and of one in a widened zone
_WIDE_ROUNDS = 4
_BLOCK = 8  # small: the last block is filled up with repeated lanes
_BLOCK_ELSEWHERE = 4096
# E as a share of the lowest loss.
_LIFTED_FLOOR = 0.01
_TRY_ZERO_BELOW = 1e-4
_SMALLEST_FLOOR = 1e-12


def scaled(x: Array, weights: Array, columns: Columns, width: Array) -> Array:
    """The objective of one lane in units in which its gradient is of order one; finite for finite `x`."""
    a, b, log_floor, alpha, beta = x
    of_params, of_tokens = log_terms(a, b, alpha, beta, columns.log_params, columns.log_tokens)
    terms = jnp.stack([of_params, of_tokens, jnp.full_like(of_params, log_floor)])
    residual = jax.nn.logsumexp(terms, axis=0) - columns.log_loss
    return jnp.sum(weights * residual_loss(residual, width, width)) / (width * jnp.sum(weights))


def library_solver(name: str) -> LibrarySolver:
    """The solver called `name`: "optax-lbfgs", "jaxopt-lbfgs" or "jaxopt-bfgs".

    Raises:
        UsageError: another name, or the library is not installed.
    """
    if name == "optax-lbfgs":
        from chinchilla_jax.solvers.libraries.optax_minimisers import optax_lbfgs

        return LibrarySolver(name=name, minimise=optax_lbfgs)
    if name in ("jaxopt-lbfgs", "jaxopt-bfgs"):
        from chinchilla_jax.solvers.libraries.jaxopt_minimisers import (
            import_jaxopt,
            jaxopt_bfgs,
            jaxopt_lbfgs,
        )

        import_jaxopt()
        return LibrarySolver(name=name, minimise=jaxopt_lbfgs if name == "jaxopt-lbfgs" else jaxopt_bfgs)
    raise UsageError(f"library_solver: {name!r} is unknown; use optax-lbfgs, jaxopt-lbfgs or jaxopt-bfgs")


@functools.lru_cache(maxsize=16)
def _compiled(minimise: Minimiser, one_by_one: bool) -> Callable[..., tuple[Array, Array]]:
    """A jitted function of a block of lanes: starts (B, 5), weights (B, n), columns, widths (B,), limit."""

    def block(
        starts: Array, weights: Array, columns: Columns, widths: Array, steps: Array
    ) -> tuple[Array, Array]:
        def lane(inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            start, of_runs, width = inputs
            return minimise(lambda x: scaled(x, of_runs, columns, width), start, steps, _GRADIENT_TOLERANCE)

        over = functools.partial(lax.map, lane) if one_by_one else jax.vmap(lane)
        x, taken = over((starts, weights, widths))
        return x, taken

    return jax.jit(block)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LibrarySolver:
    """A `Solver` made of a library's minimiser.

    Of the options, `max_steps` bounds the iterations of a lane over all rounds. `precision` "mixed" and
    "float64" are the same here: float64 throughout.

    Args:
        name: as in `library_solver`.
        minimise: minimises the scaled objective of one lane.
    """

    name: str
    minimise: Minimiser

    def __call__(
        self,
        problem: Problem,
        weights: NDArray[Any],
        starts: NDArray[np.float64],
        *,
        options: SolverOptions = DEFAULT_OPTIONS,
        on_progress: Callable[[int], None] | None = None,
    ) -> Solution:
        """Fit every lane. See `solvers.base.Solver` for the arguments.

        Raises:
            UsageError: an objective other than `Huber`, or a precision that is not offered here.
        """
        objective, design = problem.objective, problem.design
        if not isinstance(objective, Huber):
            raise UsageError(f"solver {self.name!r} minimises huber, not {objective.name}; use 'newton'")
        if options.precision not in ("mixed", "float64"):
            raise UsageError(
                f"solver {self.name!r} works in float64; for precision {options.precision!r} use 'newton'"
            )
        if not design.valid:
            return Solution.invalid(len(starts), CHINCHILLA.size)
        return _Rounds(self, design, weights, objective.down, options).solve(starts, on_progress)


class _Rounds:
    """One call of a `LibrarySolver`: the lanes between the rounds."""

    def __init__(
        self,
        solver: LibrarySolver,
        design: Design,
        weights: NDArray[Any],
        delta: float,
        options: SolverOptions,
    ) -> None:
        self.design, self.delta, self.options = design, delta, options
        self.weights = np.asarray(weights, dtype=np.float64)  # one type: compiled once
        on_cpu = jax.default_backend() == "cpu"
        self.run_block = _compiled(solver.minimise, on_cpu)
        self.block = _BLOCK if on_cpu else _BLOCK_ELSEWHERE
        self.workers = options.workers or (available_cores() if on_cpu else 1)
        columns: tuple[Any, ...] = (design.log_params, design.log_tokens, design.log_loss)
        self.columns = Columns(*columns)

    def solve(self, starts: NDArray[np.float64], on_progress: Callable[[int], None] | None) -> Solution:
        """Rounds until every lane is certified, has stalled or has used its steps."""
        theta = np.array(starts, dtype=np.float64)
        if not len(theta):
            return Solution.invalid(0, CHINCHILLA.size)
        widest = self._widest(theta)
        found = self._certify(theta, slice(None))
        status = judge(CHINCHILLA, theta, found, self.options.tolerance)
        steps = np.zeros(len(theta), np.int32)
        active = np.arange(len(theta))
        for widening, limit in self._schedule():
            width = self.delta * (widest[active] / self.delta) ** widening
            reached, taken = self._round(theta[active], found.gradient[active], active, width, limit)
            reached, new = self._try_zero(reached, active)
            steps[active] += taken
            # In a wider zone another objective is minimised: its minimum is the next start, better or not.
            narrow = width <= self.delta
            rounding = 1 + 8 * np.finfo(float).eps
            better = ~narrow | (new.objective_value <= found.objective_value[active] * rounding)
            moved = better & (reached != theta[active]).any(axis=1)
            theta[active[better]] = reached[better]
            found.overwrite(active[better], new, better)
            status[active[better]] = judge(CHINCHILLA, reached, new, self.options.tolerance)[better]
            done = narrow & (~moved | (status[active] != Status.MAX_STEPS))
            active = active[~done]
            if on_progress is not None and done.any():
                on_progress(int(done.sum()))
            if not len(active):
                break
        if on_progress is not None and len(active):
            on_progress(len(active))
        status[~identifiable(CHINCHILLA, self.design, self.weights) & np.ones(len(theta), bool)] = (
            Status.UNIDENTIFIED
        )
        return Solution(
            theta=theta,
            objective_value=found.objective_value,
            decrement=found.decrement,
            status=status,
            steps=steps,
        )

    def _widest(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half-width of the zone to begin with (R,): the median residual if a wide start is asked for."""
        if not self.options.wide_start:
            return np.full(len(theta), self.delta)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.median(np.abs(CHINCHILLA.residuals(theta, self.design)), axis=1)
        return np.maximum(np.nan_to_num(spread, nan=1.0, posinf=100.0), self.delta)

    def _schedule(self) -> list[tuple[float, int]]:
        """The rounds: by how much the zone is widened (1 as at first, 0 not at all), and the step limit."""
        left = self.options.max_steps
        rounds = []
        if self.options.wide_start:
            count = min(_WIDE_ROUNDS, left // (2 * _SHORT))
            rounds = [(1.0 - number / count, _SHORT) for number in range(count)]
            left -= count * _SHORT
        while left > 0:
            rounds.append((0.0, min(_ROUND, left)))
            left -= _ROUND
        return rounds

    def _round(
        self,
        theta: NDArray[np.float64],
        gradient: NDArray[np.float64],
        lanes: NDArray[np.intp],
        widths: NDArray[np.float64],
        limit: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """One round of the library's solver for `lanes`, in blocks of one shape."""
        x = theta.copy()
        # Where E is next to nothing there is no slope in ln E: one that is to grow is lifted first.
        floor = theta[:, FLOOR] / np.exp(self.design.log_loss.min())
        floor = np.where((gradient[:, FLOOR] < 0) & (floor < _LIFTED_FLOOR), _LIFTED_FLOOR, floor)
        x[:, FLOOR] = np.log(np.maximum(floor, _SMALLEST_FLOOR)) + self.design.log_loss.min()
        blocks = [np.arange(i, min(i + self.block, len(x))) for i in range(0, len(x), self.block)]

        def work(block: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
            padded = np.resize(block, self.block)
            with float64_scope():
                out, taken = self.run_block(
                    x[padded], self._weights(lanes[padded]), self.columns, widths[padded], np.int32(limit)
                )
                return np.asarray(out)[: len(block)], np.asarray(taken, np.int32)[: len(block)]

        with ThreadPoolExecutor(self.workers) as pool:
            out, taken = (np.concatenate(parts) for parts in zip(*pool.map(work, blocks), strict=True))
        with np.errstate(over="ignore"):
            out[:, FLOOR] = np.exp(out[:, FLOOR])
        usable = np.isfinite(out).all(axis=1)
        return np.where(usable[:, None], out, theta), taken

    def _try_zero(
        self, theta: NDArray[np.float64], lanes: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], Optimality]:
        """Certificates of `theta`, with E put to zero where it was on its way there and that is no worse."""
        found = self._certify(theta, lanes)
        low = np.flatnonzero(theta[:, FLOOR] < _TRY_ZERO_BELOW * np.exp(self.design.log_loss.min()))
        if len(low):
            at_zero = theta[low] * (np.arange(theta.shape[1]) != FLOOR)
            zero = self._certify(at_zero, lanes[low])
            take = zero.held & (zero.objective_value <= found.objective_value[low])
            theta = theta.copy()
            theta[low[take]] = at_zero[take]
            found.overwrite(low[take], zero, take)
        return theta, found

    def _certify(self, theta: NDArray[np.float64], lanes: Any) -> Optimality:
        return certify(self.design, self._weights(lanes), theta, self.delta, tolerance=self.options.tolerance)

    def _weights(self, lanes: Any) -> NDArray[Any]:
        """Weights of `lanes`; all lanes together may share one row."""
        if len(self.weights) > 1:
            return self.weights[lanes]
        return self.weights if isinstance(lanes, slice) else np.repeat(self.weights, len(lanes), axis=0)
