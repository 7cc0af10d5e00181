"""From starts to certificates, for many data sets in one call: float32 steps, then float64 ones.

The lanes pass through places (places.py). No array but the weights themselves is of lanes times runs. On CPUs
each stage is a call of its own, and who asks for no float32 compiles half as much. On an accelerator they are
one call, `judged.fitted`, which ends with the certificates, and nothing leaves the device in between.

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
from chinchilla_jax.solvers.thresholds import FLOAT32_TOLERANCE


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
    doubtful: Any  # (C,), runs with a weight up to which the host asks if they determine the law


class Requests(NamedTuple):
    """What is asked for: R lanes."""

    condition: Any  # (R,), which data set
    row: Any  # (R,), which row of weights
    # (K, R, p + 1), best guess first. The last number says how many times as wide the zone is at first, and
    # is negative where another start of the lane follows.
    starts: Any
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


Stage = Callable[[tuple[Rules, Rules], Layout, Tables, Requests, Limits], Any]


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
    found = float32_stage(rules, layout, tables, requests, limits)
    requests = requests._replace(starts=going_on(found, requests.starts[0])[None])
    ends = float64_stage(rules, layout, tables, requests, limits)
    return ends.at[:, -1].add(found[:, -1].astype(ends.dtype))


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
    run = stage(rules[1], layout, source, _where_it_ended)
    return run(
        requests.starts, requests.n_lanes.reshape(()),
        (limits.tolerance, limits.float64_steps, limits.search_after),
    )  # fmt: skip


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
