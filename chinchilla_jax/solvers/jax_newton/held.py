"""Minima over all coordinates but one, which is held where it is: profiles of the objective, on the host.

Notation (B lanes, n runs, p coordinates)
    theta     coordinates (B, p)
    held      position of the coordinate that a lane holds, (B,)
    g, H      gradient (B, p) and Hessian (B, p, p) of the objective

A damped Newton method in NumPy, for a few lanes near their minima; derivatives are those of the engine.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax._util.kept_programs import kept_programs
from chinchilla_jax.laws.objectives import ZonedObjective
from chinchilla_jax.solvers.jax_newton.compiled import host
from chinchilla_jax.solvers.jax_newton.law_program import law_program
from chinchilla_jax.solvers.jax_newton.passes import Residuals, RunsOfLanes, moments
from chinchilla_jax.solvers.xla_options import padded_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Floats, Law
    from chinchilla_jax.laws.own_objective import Rho
    from chinchilla_jax.solvers.base import Problem

_BLOCK = 16  # lanes of a compiled call
_STEPS, _LENGTHS = 60, (1.0, 0.3, 0.1, 0.01, 1e-3)
_SETTLED = 1e-9  # decrement, relative to the objective, at which a lane is done
_ROUNDING = 1e-6  # decrement below which rounding may be what keeps a step from leading lower
_WIDE = (0.1, 0.03, 0.01, 0.003)  # half-widths of the zone where a lane begins far from its minimum
_SMALLEST = 1e-9  # curvature, relative to the diagonal, that a step divides by
_LONGEST = 3.0  # step of a coordinate, in units of itself or 1


@dataclasses.dataclass(frozen=True)
class Point:
    """What the derivatives at theta say; a lane that is not finite there has the value inf.

    Attributes:
        theta: (B, p).
        value: (B,).
        gradient: (B, p).
        hessian: (B, p, p).
    """

    theta: Floats
    value: Floats
    gradient: Floats
    hessian: Floats

    def replaced(self, other: Point, lanes: NDArray[np.bool_]) -> Point:
        """Those of `other` in these lanes (B,)."""
        return self.put(np.flatnonzero(lanes), other.of(lanes))

    def of(self, lanes: Any) -> Point:
        """Those lanes."""
        return Point(self.theta[lanes], self.value[lanes], self.gradient[lanes], self.hessian[lanes])

    def put(self, lanes: NDArray[np.intp], other: Point) -> Point:
        """`other` in place of these lanes."""
        found = Point(*(getattr(self, field.name).copy() for field in dataclasses.fields(self)))
        for field in dataclasses.fields(self):
            getattr(found, field.name)[lanes] = getattr(other, field.name)
        return found


class Profile:
    """The objective of lanes with weights (B, n), as a function of theta."""

    def __init__(self, problem: Problem, weights: NDArray[Any]) -> None:
        """Take the lanes of one data set, and compile what they need."""
        self.problem = problem
        design, law, objective = problem.design, problem.law, problem.objective
        assert isinstance(objective, ZonedObjective)
        count, size = len(design), padded_runs(len(design))

        def padded(values: Floats) -> Floats:
            return np.concatenate([values, np.full(size - count, values[0])])

        self.weights = np.zeros((len(weights), size))
        self.weights[:, :count] = weights
        places = tuple(padded(each) for each in design.places)
        constants = law.constants(design)
        unit = np.float64(problem.loss_unit)
        self._data = (places, padded(design.log_loss), constants, unit)
        self._zone = np.array([objective.down / unit, objective.up / unit])
        sizes = size, len(places), len(constants)
        self._call = _compiled(type(law), *sizes, problem.raw, type(objective).rho)

    def at(self, theta: Floats, lanes: NDArray[np.intp] | None = None, least: Floats | None = None) -> Point:
        """The derivatives of these lanes, all by default, at theta (B, p).

        The quadratic zone reaches `least` (B,) either way, if that is further than the objective's own.
        """
        zone = np.maximum(self._zone, 0.0 if least is None else least[:, None])
        zone = np.broadcast_to(zone, (len(theta), 2))
        size = self.problem.law.size
        weights = self.weights if lanes is None else self.weights[lanes]
        rows, columns = np.tril_indices(size)
        packed = np.empty((len(theta), 1 + size + len(rows)))
        with float64_scope(), jax.default_device(host()):
            for first in range(0, len(theta), _BLOCK):
                part = slice(first, min(first + _BLOCK, len(theta)))
                block = (np.resize(each[part], (_BLOCK, each.shape[1])) for each in (theta, weights, zone))
                found = self._call(*block, *self._data)
                packed[part] = np.asarray(found)[: part.stop - first]
        finite = np.isfinite(packed).all(axis=1)
        packed[~finite] = 0.0
        hessian = np.empty((len(theta), size, size))
        hessian[:, rows, columns] = hessian[:, columns, rows] = packed[:, 1 + size :]
        return Point(theta, np.where(finite, packed[:, 0], np.inf), packed[:, 1 : 1 + size], hessian)

    def minima(
        self, begun: Point, held: NDArray[np.intp], far: NDArray[np.bool_] | None = None
    ) -> tuple[Point, NDArray[np.bool_]]:
        """Minima with a coordinate held, from near ones; and whether they were reached, (B,).

        Lanes that begin `far` from theirs get there under wider zones, each narrower than the last.
        """
        here = begun
        if far is not None and far.any():
            for width in _WIDE:
                least = np.where(far, width, 0.0)
                here, _ = self._descended(self.at(here.theta, least=least), held, least, far)
            here = here.replaced(self.at(here.theta), far)
        return self._descended(here, held, np.zeros(len(held)), np.ones(len(held), bool))

    def _descended(
        self, begun: Point, held: NDArray[np.intp], least: Floats, running: NDArray[np.bool_]
    ) -> tuple[Point, NDArray[np.bool_]]:
        here, settled = begun, ~running
        stuck = ~np.isfinite(here.value)
        bounded = list(self.problem.law.bounded)
        for _ in range(_STEPS):
            step, decrement = self.step(here, held)
            settled |= ~stuck & (decrement <= _SETTLED * np.abs(here.value))
            left = ~(settled | stuck)
            if not left.any():
                break
            for length in _LENGTHS:
                some = np.flatnonzero(left)
                theta = here.theta[some] + length * step[some]
                theta[:, bounded] = np.maximum(theta[:, bounded], 0.0)
                found = self.at(theta, some, least[some])
                lower = found.value < here.value[some]
                here = here.put(some[lower], found.of(lower))
                left[some[lower]] = False
                if not left.any():
                    break
            # No step leads lower: the minimum is a kink, or rounding decides.
            stuck |= left & (decrement > _ROUNDING * np.abs(here.value))
            settled |= left & ~stuck
        return here, settled

    def step(self, here: Point, held: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Newton's step (B, p) of the coordinates that are free, and what it promises (B,)."""
        gradient, values, vectors, size = self.scaled(here, held)
        along = np.einsum("rjk,rj->rk", vectors, gradient)
        curvature = np.maximum(np.abs(values), _SMALLEST)
        step = -np.einsum("rjk,rk->rj", vectors, along / curvature) / size
        longest = (np.abs(step) / np.maximum(np.abs(here.theta), 1.0)).max(axis=1)
        return step * np.minimum(1.0, _LONGEST / np.maximum(longest, 1e-300))[:, None], 0.5 * np.sum(
            along**2 / curvature, axis=1
        )

    def moved(self, here: Point, held: NDArray[np.intp], stride: Floats, others: tuple[Floats, ...]) -> Point:
        """The coordinate held moved by `stride` (B,), the others as the minimum over them begins to move.

        How far they go with it is the best of `others`, each (B,) like `stride`, or not at all.
        """
        every, bounded = np.arange(len(held)), list(self.problem.law.bounded)
        alone = here.theta.copy()
        alone[every, held] += stride
        _, values, vectors, size = self.scaled(here, held)
        pull = here.hessian[every, held] / size
        pull[every, held] = 0.0
        along = np.einsum("rjk,rj->rk", vectors, pull) / np.maximum(np.abs(values), _SMALLEST)
        slope = np.einsum("rjk,rk->rj", vectors, along) / size
        best = self.at(alone)
        for length in others:
            theta = alone - slope * length[:, None]
            theta[:, bounded] = np.maximum(theta[:, bounded], 0.0)
            tried = self.at(theta)
            best = best.replaced(tried, tried.value < best.value)
        return best

    def scaled(
        self, here: Point, held: NDArray[np.intp] | None = None
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Gradient, eigenvalues and eigenvectors of H at a unit diagonal, and the units (B, p).

        A coordinate that is held, or at its bound and pushed beyond, has no part in them.
        """
        fixed = np.zeros(here.theta.shape, bool)
        if held is not None:
            fixed[np.arange(len(held)), held] = True
        for j in self.problem.law.bounded:
            fixed[:, j] |= (here.theta[:, j] <= 0) & (here.gradient[:, j] >= 0)
        gradient = np.where(fixed, 0.0, here.gradient)
        hessian = np.where(fixed[:, :, None] | fixed[:, None, :], 0.0, here.hessian)
        diagonal = np.abs(np.einsum("rjj->rj", hessian))
        size = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        scaled = hessian / (size[:, :, None] * size[:, None, :])
        lanes, places = np.nonzero(fixed)
        scaled[lanes, places, places] = 1.0
        values, vectors = np.linalg.eigh(scaled)
        return gradient / size, values, vectors, size


@functools.cache
def _compiled(
    law: type[Law], n_runs: int, n_variables: int, n_constants: int, raw: bool, rho: Rho | None
) -> Any:
    """Value, gradient and lower triangle of H of `_BLOCK` lanes, side by side, compiled."""

    def packed(theta: Any, weights: Any, zone: Any, places: Any, log_loss: Any, given: Any, unit: Any) -> Any:
        program = law_program(law, n_constants, np.float64)
        features, shared = jax.vmap(program.prepare, in_axes=(0, None))(places, given)

        def of_lanes(values: Any) -> Any:
            return jnp.broadcast_to(values, (_BLOCK, *jnp.shape(values)))

        target = jnp.exp(log_loss) / unit if raw else log_loss
        runs = RunsOfLanes(
            weights,
            tuple(of_lanes(x) for x in features),
            tuple(of_lanes(x if x.ndim == 0 else x[0]) for x in shared),
            of_lanes(target),
            of_lanes(unit),
        )
        found = moments(Residuals(program, raw, rho), tuple(theta.T), runs, *zone.T)
        lower = [found.hessian[j, k] for j in range(program.size) for k in range(j + 1)]
        return jnp.stack([found.value, *found.gradient, *lower], axis=1)

    def array(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, np.float64)

    arguments = (
        array(_BLOCK, len(law.parameters)), array(_BLOCK, n_runs), array(_BLOCK, 2),
        (array(n_runs),) * n_variables, array(n_runs), array(n_constants), array(),
    )  # fmt: skip
    with float64_scope(), jax.default_device(host()):
        lowered = jax.jit(packed).lower(*arguments)
        with kept_programs():
            return lowered.compile()
