"""From starts to certificates in one compiled call: precision stages, tiles and compaction of the batch.

Lanes go through in tiles that fit the cache. After a few steps most lanes are done; those that are not are
moved to the front, and only as many tiles are visited as they fill, so no lane waits for the slowest. Nothing
leaves the device in between. A lane's arithmetic does not depend on the tile it is in: the same lane ends
with the same bits in any batch.

Notation: B lanes of the call, of which `n_lanes` are real and the rest padding; T lanes of a tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.solvers.status import Status
from chinchilla_jax.solvers.thresholds import FLOAT32_TOLERANCE, HOPE, PAUSED, RUNNING, SAME_POINT, SETTLED
from chinchilla_jax.solvers.xla.moments import Columns
from chinchilla_jax.solvers.xla.newton import Lanes, start_lanes, step

_VISIT = 2  # steps of a tile before it is put back


class Batch(NamedTuple):
    """What every stage shares: B lanes of weights on n runs, in float64; of NumPy outside, of JAX inside."""

    weights: Any  # (B, n), any real dtype
    columns: Columns
    total: Any  # (B,), sum of the weights
    width: Any  # (B,), the objective's own zone
    n_lanes: Any  # real lanes; one number per device


class Limits(NamedTuple):
    """How far each stage goes; scalars."""

    tolerance: Any
    float32_steps: Any  # 0: the float32 stage is left out
    float64_steps: Any
    search_after: Any  # float64 steps before the first line search


def solve(
    batch: Batch, starts: Array, ranks: Array, first_width: Array, limits: Limits, tile: int
) -> tuple[Lanes, Array]:
    """Fit every lane from the best of its starts.

    Args:
        batch: weights and runs.
        starts: (K, B, 5) internal coordinates, best guess first; only the first `ranks` are used.
        ranks: scalar.
        first_width: (B,) zone to begin with, at least the batch's own.
        limits: of the stages.
        tile: lanes per tile (static), a divisor of B.

    Returns:
        The lanes of the float64 stage, and the float32 steps taken, (B,).
    """
    batch = batch._replace(n_lanes=batch.n_lanes.reshape(()))
    theta, steps = _race(batch, starts, ranks, first_width, limits, tile)
    # The float32 stage has narrowed the zone.
    width = jnp.where(limits.float32_steps > 0, batch.width, first_width)
    lanes = start_lanes(theta, width)
    only = jnp.int32(1)
    lanes = _stage(lanes, batch, only, limits.tolerance, limits.float64_steps, limits.search_after, tile)
    return lanes, steps


def _race(
    batch: Batch, starts: Array, ranks: Array, first_width: Array, limits: Limits, tile: int
) -> tuple[Array, Array]:
    """Neighbourhood of the best optimum (5, B) that float32 steps find from `starts`; steps taken (B,).

    All starts of a lane run side by side, and one is given up as soon as it cannot win any more.
    """
    most, lanes = starts.shape[:2]
    batch32 = batch._replace(
        columns=Columns(*(column.astype(jnp.float32) for column in batch.columns)),
        total=batch.total.astype(jnp.float32),
        width=batch.width.astype(jnp.float32),
    )
    theta = jnp.moveaxis(starts, -1, 0).reshape(5, most * lanes)
    state = start_lanes(theta.astype(jnp.float32), jnp.tile(first_width.astype(jnp.float32), most))

    def pause(state: Lanes) -> Array:
        # Rejected again and again near the optimum: float32 has nothing more to give.
        settled = (state.rejections >= 2) & (state.decrement < SETTLED)
        return settled | lax.cond(ranks > 1, lambda: _beaten(state, most), lambda: jnp.zeros_like(settled))

    tolerance = jnp.float32(FLOAT32_TOLERANCE)
    state = _stage(state, batch32, ranks, tolerance, limits.float32_steps, jnp.int32(0), tile, pause)
    # A certified lane has taken its next step already; any other resumes from its best accepted point.
    ahead = jnp.where(state.status == int(Status.CONVERGED), state.theta, state.anchor)
    reached = jnp.where(jnp.isfinite(ahead), ahead, theta).astype(jnp.float64)
    reached = jnp.where(limits.float32_steps > 0, reached, theta).reshape(5, most, lanes)
    first = jnp.argmin(_values(state, most), axis=0)
    best = jnp.take_along_axis(reached, first[None, None], axis=1)[:, 0]
    return best, jnp.sum(state.steps.reshape(most, lanes), axis=0)


def _values(state: Lanes, most: int) -> Array:
    """Lowest objective so far of every start (K, B); inf where there is none."""
    value = state.anchor_value.reshape(most, -1)
    return jnp.where(jnp.isfinite(value), value, jnp.inf)


def _beaten(state: Lanes, most: int) -> Array:
    """Which starts cannot end below the best of their lane any more, or only at the same point."""
    value = _values(state, most)
    first = jnp.argmin(value, axis=0)[None]
    lowest = jnp.take_along_axis(value, first, axis=0)
    anchor = state.anchor.reshape(5, *value.shape)
    leader = jnp.take_along_axis(anchor, first[None], axis=1)
    same = jnp.max(jnp.abs(anchor - leader), axis=0) < SAME_POINT
    decrement = jnp.abs(state.decrement).reshape(value.shape)
    decrement = jnp.where(jnp.isfinite(decrement), decrement, 1.0)
    hoped = value * (1.0 - jnp.clip(HOPE * decrement, 0.0, 1.0))
    led = jnp.arange(most)[:, None] != first
    return (led & (same | (hoped > lowest))).reshape(-1)


def _stage(
    lanes: Lanes,
    batch: Batch,
    ranks: Array,
    tolerance: Array,
    limit: Array,
    search_after: Array,
    tile: int,
    pause: Callable[[Lanes], Array] | None = None,
) -> Lanes:
    """Up to `limit` steps of every running lane, with compaction in between.

    `lanes` are `ranks` starts of each lane of `batch`, one rank after the other.
    """
    size = batch.weights.shape[0]
    index = jnp.arange(lanes.status.shape[0], dtype=jnp.int32)
    real = (index % size < batch.n_lanes) & (index // size < ranks)
    lanes = lanes._replace(status=jnp.where(real, lanes.status, PAUSED))

    def visit(lanes: Lanes, members: Array, steps: Array, taken: Array) -> Lanes:
        of = members % size
        weights, total, width = batch.weights[of], batch.total[of], batch.width[of]
        part = jax.tree.map(lambda x: x[..., members], lanes)

        def proceed(carry: tuple[Array, Lanes]) -> Array:
            return (carry[0] < steps) & jnp.any(carry[1].status == RUNNING)

        def body(carry: tuple[Array, Lanes]) -> tuple[Array, Lanes]:
            done, part = carry
            may_search = taken + done >= search_after
            return done + 1, step(part, weights, total, batch.columns, width, tolerance, may_search)

        _, part = lax.while_loop(proceed, body, (jnp.int32(0), part))
        return jax.tree.map(lambda x, y: x.at[..., members].set(y, unique_indices=True), lanes, part)

    def proceed(carry: tuple[Lanes, Array, Array, Array]) -> Array:
        _, _, active, taken = carry
        return (active > 0) & (taken < limit)

    def body(carry: tuple[Lanes, Array, Array, Array]) -> tuple[Lanes, Array, Array, Array]:
        lanes, order, active, taken = carry
        steps = jnp.minimum(_VISIT, limit - taken)

        def one(index: Array, lanes: Lanes) -> Lanes:
            return visit(lanes, lax.dynamic_slice(order, (index * tile,), (tile,)), steps, taken)

        lanes = lax.fori_loop(0, (active + tile - 1) // tile, one, lanes)
        if pause is not None:
            stop = (lanes.status == RUNNING) & pause(lanes)
            lanes = lanes._replace(status=jnp.where(stop, PAUSED, lanes.status))
        order, active = _running_first(lanes.status == RUNNING)
        return lanes, order, active, taken + steps

    start = (lanes, *_running_first(lanes.status == RUNNING), jnp.int32(0))
    return lax.while_loop(proceed, body, start)[0]


def _running_first(running: Array) -> tuple[Array, Array]:
    """Order (B,) of the lanes with the running ones first, and their number."""
    ahead = jnp.cumsum(running, dtype=jnp.int32)
    active = ahead[-1]
    index = jnp.arange(len(running), dtype=jnp.int32)
    place = jnp.where(running, ahead - 1, active + index - ahead)
    return jnp.zeros_like(index).at[place].set(index, unique_indices=True), active
