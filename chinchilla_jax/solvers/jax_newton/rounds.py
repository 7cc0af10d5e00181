"""From starts to certificates in one compiled call, for many data sets: float32 steps, then float64 ones.

The lanes pass through places (places.py). Nothing leaves the device in between, and no array but the weights
themselves is of lanes times runs.

Notation
    R, T    lanes of the call, of which `n_lanes` are real and the rest padding; places
    K       starts of each lane, of which the first `ranks` are used
    C, W    data sets (conditions); rows of weights
    n, p    runs; coordinates
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.solvers.jax_newton.passes import RunsOfLanes
from chinchilla_jax.solvers.jax_newton.places import Layout, Source, stage
from chinchilla_jax.solvers.jax_newton.step import Lanes, Rules, Task
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.solvers.thresholds import FLOAT32_TOLERANCE, PAUSED

_SOON = 8  # float64 steps; most lanes are certified after two


class Tables(NamedTuple):
    """The data sets and the weights; of NumPy outside, of JAX inside."""

    places: Any  # of every variable of the law (C, n)
    log_loss: Any  # (C, n)
    constants: Any  # (C, k)
    unit: Any  # (C,), of raw residuals
    weights: Any  # (W, n), any real dtype
    first: Any  # (W,), a run that has a weight
    n_runs: Any  # of the table, without padding; scalar


class Requests(NamedTuple):
    """What is asked for: R lanes."""

    condition: Any  # (R,), which data set
    row: Any  # (R,), which row of weights
    starts: Any  # (K, R, p), best guess first
    down: Any  # (R,), the objective's own zone
    up: Any
    widening: Any  # (K, R), how many times as wide it is at first
    n_lanes: Any  # real lanes; (1,), or of each device
    ranks: Any  # starts that are used; scalar


class Limits(NamedTuple):
    """How far each stage goes; scalars."""

    tolerance: Any
    float32_steps: Any  # of a start; 0: the float32 stage is left out
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
    steps: Any  # of all starts


def solve(
    rules: tuple[Rules, Rules], layout: Layout, tables: Tables, requests: Requests, limits: Limits
) -> Ends:
    """Fit every lane: steps in float32 first, the finish and the certificate in float64.

    Args:
        rules: of the law, for float32 and for float64; static.
        layout: of the places; static.
        tables: data sets and weights.
        requests: the lanes.
        limits: of the stages.
    """
    requests = requests._replace(n_lanes=requests.n_lanes.reshape(()))
    single = limits.float32_steps > 0
    double_source = _source(rules[1], tables, requests)
    single_source = jax.tree.map(
        lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, double_source
    )._replace(weights=tables.weights)
    starts, ranks = requests.starts, requests.ranks
    run = stage(rules[0], layout, single_source, _where_to_go_on)
    found = run(
        starts, requests.widening, ranks, jnp.where(single, requests.n_lanes, 0),
        (jnp.float32(FLOAT32_TOLERANCE), limits.float32_steps, jnp.int32(0)),
    )  # fmt: skip
    reached = found[:, :-1].astype(jnp.float64)
    reached = jnp.where(jnp.isfinite(reached).all(axis=1, keepdims=True), reached, starts[0])
    # The float32 stage has narrowed the zone and chosen the start.
    starts = starts.at[0].set(jnp.where(single, reached, starts[0]))
    widening = jnp.where(single, jnp.ones_like(requests.widening), requests.widening)
    run = stage(rules[1], layout, double_source, _where_it_ended)
    most = limits.float64_steps
    ends = run(
        starts, widening, jnp.where(single, 1, ranks), requests.n_lanes,
        (limits.tolerance, jnp.minimum(most, _SOON) if layout.slow else most, limits.search_after),
    )  # fmt: skip
    if layout.slow:
        ends = _slow_ones(rules[1], layout, double_source, ends, requests, limits)
    steps = jnp.where(single, found[:, -1], 0.0).astype(jnp.float64)
    return _unpacked(ends, starts.shape[-1], steps)


def _slow_ones(
    rules: Rules, layout: Layout, source: Source, ends: Array, requests: Requests, limits: Limits
) -> Array:
    """The ends of all lanes, those not certified soon taken further from their best points, in fewer places.

    Which lanes these are depends on themselves alone, so that none has other digits in other company.
    """
    size = ends.shape[0]
    so_far = _unpacked(ends, requests.starts.shape[-1], jnp.zeros(size))
    slow = (so_far.status == PAUSED) & (jnp.arange(size) < requests.n_lanes)
    (lane,) = jnp.nonzero(slow, size=size, fill_value=size - 1)
    of_lanes = jax.tree.map(lambda x: x[lane], source.of_lanes)
    theirs = source._replace(condition=source.condition[lane], row=source.row[lane], of_lanes=of_lanes)
    run = stage(rules, layout._replace(places=layout.slow), theirs, _where_it_ended)
    count = jnp.sum(slow, dtype=jnp.int32)
    found = run(
        so_far.anchor[lane][None], so_far.widening[lane][None], jnp.int32(1), count,
        (limits.tolerance, jnp.maximum(limits.float64_steps - _SOON, 1), jnp.int32(0)),
    )  # fmt: skip
    found = found.at[:, -1].add(ends[lane, -1])
    return ends.at[jnp.where(jnp.arange(size) < count, lane, size)].set(found, mode="drop")


def _source(rules: Rules, tables: Tables, requests: Requests) -> Source:
    prepare = jax.vmap(rules.of.program.prepare, in_axes=(0, None))
    features, shared = jax.vmap(prepare)(tables.places, tables.constants)
    shared = tuple(x if x.ndim == 1 else x[:, 0] for x in shared)
    target = tables.log_loss
    if rules.of.raw:
        target = jnp.exp(target) / tables.unit[:, None]
    condition, row = requests.condition, requests.row
    total = jnp.sum(tables.weights.astype(jnp.float64), axis=1)
    runs = RunsOfLanes((), (), tuple(x[condition] for x in shared), (), tables.unit[condition])
    n_runs = jnp.full(condition.shape, 1.0) * tables.n_runs
    of_lanes = Task(runs, requests.down, requests.up, total[row], n_runs)
    # Held once, and not computed again wherever it is used.
    return lax.optimization_barrier(
        Source(features, target, tables.weights, tables.first, condition, row, of_lanes)
    )


# What is kept of a start: (T, fields), the last of them its steps.


def _where_to_go_on(state: Lanes) -> list[Array]:
    """A certified lane has taken its next step already; any other resumes from its best accepted point."""
    return [jnp.where(state.status == int(Status.CONVERGED), state.theta, state.anchor)]


def _where_it_ended(state: Lanes) -> list[Array]:
    rows = (state.theta, state.anchor, state.gradient, state.hessian)
    columns = (state.anchor_value, state.decrement, state.widening, state.status.astype(state.theta.dtype))
    return [*rows, jnp.stack(columns)]


def _unpacked(ends: Array, size: int, steps: Array) -> Ends:
    """`Ends` from what `_where_it_ended` kept; steps of the stage before (R,)."""
    places = [size, 2 * size, 3 * size, 3 * size + size * (size + 1) // 2]
    theta, anchor, gradient, hessian, others = jnp.split(ends, places, axis=1)
    value, decrement, widening, status, taken = others.T
    return Ends(
        theta, anchor, value, gradient, hessian, decrement, widening,
        status.astype(jnp.int32), (taken + steps).astype(jnp.int32),
    )  # fmt: skip
