"""From starts to certificates in one compiled call, for many data sets: places that lanes pass through.

A call works on T places. After every few steps the lanes that are done are put away, and the next ones take
their places: no lane waits for the slowest, until none are left. Nothing leaves the device in between. A
lane's arithmetic does not depend on its place or its company.

Notation
    R, T    lanes of the call, of which `n_lanes` are real and the rest padding; places
    C, W    data sets (conditions); rows of weights
    n, p    runs; coordinates
    m       places for the runs of a row that have a weight, of which a resample leaves about a third out
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.solvers.jax_newton.passes import RunsOfLanes
from chinchilla_jax.solvers.jax_newton.step import Lanes, Rules, Task, start_lanes, step
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.solvers.thresholds import FLOAT32_TOLERANCE, PAUSED, RUNNING

VISIT = 1  # steps between two rounds of putting away


class Tables(NamedTuple):
    """The data sets and the weights; of NumPy outside, of JAX inside."""

    u: Any  # (C, n)
    v: Any
    log_loss: Any
    constants: Any  # (C, k)
    unit: Any  # (C,), of raw residuals
    weights: Any  # (W, m), any real dtype: those of the runs that have one, then zeros
    index: Any  # (W, m), which runs they are; where there is no weight, one of them again


class Requests(NamedTuple):
    """What is asked for: R lanes."""

    condition: Any  # (R,), which data set
    row: Any  # (R,), which row of weights
    starts: Any  # (R, p)
    down: Any  # (R,), the objective's own zone
    up: Any
    widening: Any  # (R,), how many times as wide it is at first
    n_lanes: Any  # real lanes; scalar


class Limits(NamedTuple):
    """How far each stage goes; scalars."""

    tolerance: Any
    float32_steps: Any  # 0: the float32 stage is left out
    float64_steps: Any
    search_after: Any  # float64 steps before the first line search


class Ends(NamedTuple):
    """Where the lanes ended, first axis R."""

    theta: Any
    anchor: Any
    anchor_value: Any
    gradient: Any
    hessian: Any  # lower triangle by rows
    decrement: Any
    widening: Any
    status: Any
    steps: Any


def solve(
    rules: tuple[Rules, Rules], places: int, tables: Tables, requests: Requests, limits: Limits
) -> Ends:
    """Fit every lane: steps in float32 first, the finish and the certificate in float64.

    Args:
        rules: of the law, for float32 and for float64; static.
        places: T; static.
        tables: data sets and weights.
        requests: the lanes.
        limits: of the stages.
    """
    single = limits.float32_steps > 0
    tolerance = jnp.float32(FLOAT32_TOLERANCE)
    # Once for all lanes: taking a row is cheap, and picking runs out of a table is not.
    tasks = lax.optimization_barrier(_tasks(rules[1], tables, requests))
    tasks32 = lax.optimization_barrier(jax.tree.map(lambda x: x.astype(jnp.float32), tasks))
    starts, widening = requests.starts, requests.widening
    stage = _stage(rules[0], places, tasks32, starts.astype(jnp.float32), widening.astype(jnp.float32))
    state = stage(tolerance, limits.float32_steps, jnp.int32(0), jnp.where(single, requests.n_lanes, 0))
    # A certified lane has taken its next step already; any other resumes from its best accepted point.
    ahead = jnp.where((state.status == int(Status.CONVERGED))[:, None], state.theta, state.anchor)
    finite = jnp.all(jnp.isfinite(ahead), axis=1, keepdims=True)
    reached = jnp.where(single & finite, ahead.astype(jnp.float64), starts)
    # The float32 stage has narrowed the zone.
    stage = _stage(rules[1], places, tasks, reached, jnp.where(single, jnp.ones_like(widening), widening))
    ends = stage(limits.tolerance, limits.float64_steps, limits.search_after, requests.n_lanes)
    return ends._replace(steps=ends.steps + jnp.where(single, state.steps, 0))


def _tasks(rules: Rules, tables: Tables, requests: Requests) -> Task:
    """What every lane minimises, (R, m), in float64."""
    prepare = jax.vmap(rules.of.program.prepare, in_axes=(0, 0, None))
    features, shared = jax.vmap(prepare)(tables.u, tables.v, tables.constants)
    shared = tuple(x if x.ndim == 1 else x[:, 0] for x in shared)
    target = tables.log_loss
    if rules.of.raw:
        target = jnp.exp(target) / tables.unit[:, None]
    condition, row = requests.condition, requests.row
    which = tables.index[row]
    weights = tables.weights[row].astype(jnp.float64)

    def of_lanes(column: Array) -> Array:
        return column[condition[:, None], which]

    return Task(
        runs=RunsOfLanes(
            weights=weights,
            features=tuple(map(of_lanes, features)),
            shared=tuple(x[condition] for x in shared),
            target=of_lanes(target),
            unit=tables.unit[condition],
        ),
        down=requests.down,
        up=requests.up,
        total=jnp.sum(weights, axis=1),
        n_runs=jnp.full(condition.shape, float(tables.u.shape[1])),
    )


def _renewed(now: Task, tasks: Task, done: Array, number: Array) -> Task:
    """The tasks at the places, those that are done with that of the lane `number` instead."""
    if jax.default_backend() != "cpu":
        return jax.tree.map(lambda x: x[number], tasks)
    # One after the other: on a CPU half of the places cost half as much.
    place = jnp.arange(len(done), dtype=jnp.int32)
    first = jnp.where(done, jnp.cumsum(done, dtype=jnp.int32) - 1, len(done))
    order = jnp.zeros_like(place).at[first].set(place, mode="drop")

    def one(index: Array, now: Task) -> Task:
        at = order[index]

        def copied(mine: Array, theirs: Array) -> Array:
            taken = lax.dynamic_slice_in_dim(theirs, number[at], 1)
            return lax.dynamic_update_slice_in_dim(mine, taken, at, 0)

        return jax.tree.map(copied, now, tasks)

    return lax.fori_loop(0, jnp.sum(done, dtype=jnp.int32), one, now)


def _stage(rules: Rules, places: int, tasks: Task, starts: Array, widening: Array) -> Any:
    """A function of (tolerance, limit, search_after, n_lanes) that takes the steps of one precision."""
    size = starts.shape[0]

    def fresh(lanes: Array) -> Lanes:
        return start_lanes(starts[lanes].T, widening[lanes])

    def run(tolerance: Array, limit: Array, search_after: Array, n_lanes: Array) -> Ends:
        number = jnp.minimum(jnp.arange(places, dtype=jnp.int32), size - 1)
        vacant = jnp.arange(places) >= n_lanes
        state = fresh(number)
        state = state._replace(status=jnp.where(vacant, PAUSED, state.status))
        number = jnp.where(vacant, size, number)
        ends = jax.tree.map(lambda x: jnp.zeros((size, *x.shape[1:]), x.dtype), _ends(state))

        def proceed(carry: Any) -> Array:
            state, _, _, _, _ = carry
            return jnp.any(state.status == RUNNING)

        def body(carry: Any) -> Any:
            state, now, number, upcoming, ends = carry

            def one(_: Array, state: Lanes) -> Lanes:
                return step(rules, state, now, tolerance, limit, search_after)

            state = lax.fori_loop(0, VISIT, one, state)
            done = state.status != RUNNING
            away = jnp.where(done, number, size)
            ends = jax.tree.map(lambda x, y: x.at[away].set(y, mode="drop"), ends, _ends(state))
            following = upcoming + jnp.cumsum(done, dtype=jnp.int32) - 1
            vacant = done & (following >= n_lanes)
            number = jnp.where(done, jnp.where(vacant, size, following), number)
            upcoming = jnp.minimum(upcoming + jnp.sum(done, dtype=jnp.int32), n_lanes)
            at = jnp.minimum(number, size - 1)
            new = fresh(at)
            new = new._replace(status=jnp.where(vacant, PAUSED, new.status))
            state = jax.tree.map(lambda x, y: jnp.where(done, x, y), new, state)
            return state, _renewed(now, tasks, done & ~vacant, at), number, upcoming, ends

        now = jax.tree.map(lambda x: x[jnp.minimum(number, size - 1)], tasks)
        begun = (state, now, number, jnp.minimum(places, n_lanes), ends)
        return lax.while_loop(proceed, body, begun)[-1]

    return run


def _ends(state: Lanes) -> Ends:
    """What is kept of lanes that are done, lanes first."""
    return Ends(
        theta=state.theta.T,
        anchor=state.anchor.T,
        anchor_value=state.anchor_value,
        gradient=state.gradient.T,
        hessian=state.hessian.T,
        decrement=state.decrement,
        widening=state.widening,
        status=state.status,
        steps=state.steps,
    )
