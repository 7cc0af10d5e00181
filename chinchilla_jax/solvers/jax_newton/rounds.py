"""From starts to certificates, for many data sets in one call: float32 steps, then float64 ones.

The lanes pass through places (places.py). No array but the weights themselves is of lanes times runs. On an
accelerator both stages are one compiled call, `solve`, and nothing leaves the device in between. On CPUs each
is a call of its own, and who asks for no float32 compiles half as much.

Notation
    R, T    lanes of the call, of which `n_lanes` are real and the rest padding; places
    K       starts of each lane, at most
    C, W    data sets (conditions); rows of weights
    n, p    runs; coordinates
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from chinchilla_jax.solvers.jax_newton.places import Layout, Source, stage
from chinchilla_jax.solvers.jax_newton.step import Lanes, Rules
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
    total: Any  # (W,), sum of the weights
    n_runs: Any  # of the table, without padding; scalar


class Requests(NamedTuple):
    """What is asked for: R lanes."""

    condition: Any  # (R,), which data set
    row: Any  # (R,), which row of weights
    starts: Any  # (K, R, p + 1), best guess first; see `with_widening`
    down: Any  # (R,), the objective's own zone
    up: Any
    n_lanes: Any  # real lanes; (1,), or of each device


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


def with_widening(starts: Any, widening: Any) -> Any:
    """Starts (K, R, p) with one more number: how many times as wide the zone is at first, (K, R).

    It is negative where another start of the lane follows: one that is not NaN.
    """
    follows = np.zeros(widening.shape, bool)
    follows[:-1] = np.isfinite(starts[1:]).all(axis=2)
    signed = np.where(follows, -widening, widening)
    return np.concatenate([starts, signed[..., None]], axis=2)


Stage = Callable[[tuple[Rules, Rules], Layout, Tables, Requests, Limits], Array]


def solve(
    rules: tuple[Rules, Rules], layout: Layout, tables: Tables, requests: Requests, limits: Limits
) -> Array:
    """Fit every lane: both stages in one; see `unpacked` for what it returns.

    Args:
        rules: of the law, for float32 and for float64; static.
        layout: of the places; static.
        tables: data sets and weights.
        requests: the lanes.
        limits: of the stages.
    """
    single = limits.float32_steps > 0
    begun = requests._replace(n_lanes=jnp.where(single, requests.n_lanes, 0))
    found = float32_stage(rules, layout, tables, begun, limits)
    first = requests.starts[0]
    starts = requests.starts.at[0].set(jnp.where(single, going_on(found, first), first))
    requests = requests._replace(starts=starts)
    ends = float64_stage(rules, layout, tables, requests, limits)
    return ends.at[:, -1].add(jnp.where(single, found[:, -1], 0.0).astype(ends.dtype))


def float32_stage(
    rules: tuple[Rules, Rules], layout: Layout, tables: Tables, requests: Requests, limits: Limits
) -> Array:
    """Steps in float32: where each lane goes on, and its steps so far; (R, p + 1)."""
    source = _source(rules[1], tables, requests)
    if not layout.copied:  # picked out in every pass, and so the smaller the better
        source = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, source)
        source = source._replace(weights=tables.weights)
    run = stage(rules[0], layout, source, _where_to_go_on)
    return run(
        requests.starts, requests.n_lanes.reshape(()),
        (jnp.float32(FLOAT32_TOLERANCE), limits.float32_steps, jnp.int32(0)),
    )  # fmt: skip


def going_on(found: Any, first: Any) -> Any:
    """Starts (R, p + 1) of the float64 stage, where a float32 one, which has narrowed the zone, ended.

    Args:
        found: what `float32_stage` returned.
        first: the first starts (R, p + 1), for lanes that it lost.
    """
    numpy = np if isinstance(found, np.ndarray) else jnp
    reached = found[:, :-1].astype(np.float64)
    reached = numpy.where(numpy.isfinite(reached).all(axis=1, keepdims=True), reached, first[:, :-1])
    return numpy.concatenate([reached, numpy.ones_like(first[:, -1:])], axis=1)


def float64_stage(
    rules: tuple[Rules, Rules], layout: Layout, tables: Tables, requests: Requests, limits: Limits
) -> Array:
    """Steps in float64 to the certificate; see `unpacked` for what it returns."""
    source = _source(rules[1], tables, requests)
    n_lanes, most = requests.n_lanes.reshape(()), limits.float64_steps
    run = stage(rules[1], layout, source, _where_it_ended)
    ends = run(
        requests.starts, n_lanes,
        (limits.tolerance, jnp.minimum(most, _SOON) if layout.slow else most, limits.search_after),
    )  # fmt: skip
    if layout.slow:
        ends = _slow_ones(rules[1], layout, source, ends, n_lanes, limits)
    return ends


def _slow_ones(
    rules: Rules, layout: Layout, source: Source, ends: Array, n_lanes: Array, limits: Limits
) -> Array:
    """The ends of all lanes, those not certified soon taken further from their best points, in fewer places.

    Which lanes these are depends on themselves alone, so that none has other digits in other company.
    """
    size = ends.shape[0]
    so_far = unpacked(ends, rules.of.program.size)
    slow = (so_far.status == PAUSED) & (jnp.arange(size) < n_lanes)
    (lane,) = jnp.nonzero(slow, size=size, fill_value=size - 1)
    theirs = source._replace(
        condition=source.condition[lane], row=source.row[lane], down=source.down[lane], up=source.up[lane]
    )
    run = stage(rules, layout._replace(places=layout.slow), theirs, _where_it_ended)
    count = jnp.sum(slow, dtype=jnp.int32)
    starts = jnp.concatenate([so_far.anchor, so_far.widening[:, None]], axis=1)[lane][None]
    found = run(
        starts, count,
        (limits.tolerance, jnp.maximum(limits.float64_steps - _SOON, 1), jnp.int32(0)),
    )  # fmt: skip
    found = found.at[:, -1].add(ends[lane, -1])
    return ends.at[jnp.where(jnp.arange(size) < count, lane, size)].set(found, mode="drop")


def _source(rules: Rules, tables: Tables, requests: Requests) -> Source:
    prepare = jax.vmap(rules.of.program.prepare, in_axes=(0, None))
    features, shared = jax.vmap(prepare)(tables.places, tables.constants)
    target = tables.log_loss
    if rules.of.raw:
        target = jnp.exp(target) / tables.unit[:, None]
    source = Source(
        features=features,
        target=target,
        weights=tables.weights,
        first=tables.first,
        total=tables.total,
        shared=tuple(x if x.ndim == 1 else x[:, 0] for x in shared),
        unit=tables.unit,
        n_runs=tables.n_runs,
        condition=requests.condition,
        row=requests.row,
        down=requests.down,
        up=requests.up,
    )
    # Held once, and not computed again wherever it is used.
    return lax.optimization_barrier(source)


# What is kept of a start: rows of (T, fields).


def _where_to_go_on(state: Lanes) -> list[Array]:
    """A certified lane has taken its next step already; any other resumes from its best accepted point."""
    return [jnp.where(state.status == int(Status.CONVERGED), state.theta, state.anchor)]


def _where_it_ended(state: Lanes) -> list[Array]:
    rows = (state.theta, state.anchor, state.gradient, state.hessian)
    columns = (state.anchor_value, state.decrement, state.widening, state.status.astype(state.theta.dtype))
    return [*rows, jnp.stack(columns)]


def unpacked(ends: Any, size: int) -> Ends:
    """`Ends` of lanes of a law of `size` parameters: rows of `_where_it_ended`, and the steps last."""
    places = np.cumsum([size, size, size, size * (size + 1) // 2])
    theta, anchor, gradient, hessian = (
        ends[:, first:stop] for first, stop in zip((0, *places), places, strict=False)
    )
    value, decrement, widening, status, steps = ends[:, places[-1] :].T
    return Ends(
        theta, anchor, value, gradient, hessian, decrement, widening,
        status.astype(np.int32), steps.astype(np.int32),
    )  # fmt: skip
