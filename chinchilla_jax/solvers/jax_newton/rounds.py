"""From starts to certificates in one compiled call, for many data sets: places that lanes pass through.

A call works on T places. A place takes a lane, all of its starts one after the other, and then the next lane:
no lane waits for the slowest, until none are left. Later starts are given up as soon as they cannot end below
the earlier ones. Nothing leaves the device in between, and no array but the weights themselves is of lanes
times runs. A lane's arithmetic does not depend on its place or its company.

Notation
    R, T    lanes of the call, of which `n_lanes` are real and the rest padding; places
    K       starts of each lane, of which the first `ranks` are used
    C, W    data sets (conditions); rows of weights
    n, p    runs; coordinates
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.solvers.jax_newton.passes import RunsOfLanes
from chinchilla_jax.solvers.jax_newton.step import Lanes, Rules, Task, start_lanes, step
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.solvers.thresholds import FLOAT32_TOLERANCE, HOPE, PAUSED, RUNNING, SAME_POINT


class Layout(NamedTuple):
    """How the places of a call are held; static.

    Attributes:
        places: T.
        copied: whether a place holds its runs, copied when it takes a lane, which is right for CPUs, or
            picks them out of the tables in every pass, as GPUs do at no cost.
    """

    places: int
    copied: bool


class Tables(NamedTuple):
    """The data sets and the weights; of NumPy outside, of JAX inside."""

    u: Any  # (C, n)
    v: Any
    log_loss: Any
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
    n_lanes: Any  # real lanes; scalar
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


class _Source(NamedTuple):
    """What tasks are made of, in the dtype of a stage."""

    features: tuple[Array, ...]  # (C, n)
    target: Array  # (C, n)
    weights: Array  # (W, n)
    first: Array  # (W,)
    condition: Array  # (R,)
    row: Array  # (R,)
    of_lanes: Task  # with fields (R,), and no runs

    def runs(self, condition: Array, row: Array) -> tuple[Array, ...]:
        """Weights, features and target of lanes (B,), or of one, with these; each (B, n) or (n,).

        A run without a weight gets the features of one that has a weight, and is finite where it is.
        """
        weights, first = _picked(self.weights, row), _picked(self.first, row)
        counts = weights > 0

        def of_lane(column: Array) -> Array:
            mine = _picked(column, condition)
            spare = jax.vmap(_picked)(mine, first)[:, None] if mine.ndim == 2 else _picked(mine, first)
            return jnp.where(counts, mine, spare)

        dtype = self.target.dtype
        return (weights.astype(dtype), *map(of_lane, self.features), _picked(self.target, condition))


def _picked(values: Array, index: Array) -> Array:
    """Entries of the first axis; XLA compiles that of one index to a slice."""
    if index.ndim:
        return values.at[index].get(mode="promise_in_bounds")
    return lax.dynamic_index_in_dim(values, index, 0, keepdims=False)


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
    single = limits.float32_steps > 0
    double_source = _source(rules[1], tables, requests)
    single_source = jax.tree.map(
        lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, double_source
    )._replace(weights=tables.weights)
    starts, ranks = requests.starts, requests.ranks
    run = _stage(rules[0], layout, single_source, _where_to_go_on)
    found = run(
        starts, requests.widening, ranks, jnp.where(single, requests.n_lanes, 0),
        (jnp.float32(FLOAT32_TOLERANCE), limits.float32_steps, jnp.int32(0)),
    )  # fmt: skip
    reached = found[:, :-1].astype(jnp.float64)
    reached = jnp.where(jnp.isfinite(reached).all(axis=1, keepdims=True), reached, starts[0])
    # The float32 stage has narrowed the zone and chosen the start.
    starts = starts.at[0].set(jnp.where(single, reached, starts[0]))
    widening = jnp.where(single, jnp.ones_like(requests.widening), requests.widening)
    run = _stage(rules[1], layout, double_source, _where_it_ended)
    ends = run(
        starts, widening, jnp.where(single, 1, ranks), requests.n_lanes,
        (limits.tolerance, limits.float64_steps, limits.search_after),
    )  # fmt: skip
    steps = jnp.where(single, found[:, -1], 0.0).astype(jnp.float64)
    return _unpacked(ends, starts.shape[-1], steps)


def _source(rules: Rules, tables: Tables, requests: Requests) -> _Source:
    prepare = jax.vmap(rules.of.program.prepare, in_axes=(0, 0, None))
    features, shared = jax.vmap(prepare)(tables.u, tables.v, tables.constants)
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
        _Source(features, target, tables.weights, tables.first, condition, row, of_lanes)
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


class _Places(NamedTuple):
    """The state of T places."""

    lanes: Lanes
    task: Task  # with runs (T, n) where the layout copies them
    number: Array  # of the lane, and R where there is none
    rank: Array
    best: Array  # objective of the best start so far
    kept: Array  # (T, fields), of that start
    steps: Array  # of the starts before this one
    upcoming: Array  # number of the next lane; scalar
    ends: Array  # (R, fields)


def _stage(
    rules: Rules, layout: Layout, source: _Source, keep: Callable[[Lanes], list[Array]]
) -> Callable[..., Array]:
    """A function of (starts, widening, ranks, n_lanes, step limits) that takes the steps of one precision."""
    dtype = source.target.dtype
    size, places = source.condition.shape[0], layout.places

    def run(starts: Array, widening: Array, ranks: Array, n_lanes: Array, limits: tuple[Array, ...]) -> Array:
        starts, widening = starts.astype(dtype), widening.astype(dtype)

        def fresh(rank: Array, number: Array) -> Lanes:
            return start_lanes(starts[rank, number].T, widening[rank, number])

        def proceed(now: _Places) -> Array:
            return jnp.any(now.lanes.status == RUNNING)

        def body(now: _Places) -> _Places:
            task = now.task if layout.copied else _task(source, jnp.minimum(now.number, size - 1))
            lanes = step(rules, now.lanes, task, *limits)
            given_up = (lanes.status == RUNNING) & _beaten(lanes, now)
            lanes = lanes._replace(status=jnp.where(given_up, PAUSED, lanes.status))
            done = (lanes.status != RUNNING) & (now.number < size)
            # A start that was given up has taken its steps, and has lost.
            steps = now.steps + jnp.where(done, lanes.steps, 0)
            # Values under a zone that is still wide do not compare.
            comparable = jnp.isfinite(lanes.anchor_value) & (lanes.widening <= 1.0)
            value = jnp.where(comparable, lanes.anchor_value, jnp.inf)
            wins = done & ~given_up & ((value < now.best) | (now.rank == 0))
            kept = jnp.concatenate([x.T for x in keep(lanes)], axis=1)
            kept = jnp.where(wins[:, None], kept, now.kept)
            best = jnp.where(wins, value, now.best)
            again = done & (now.rank + 1 < ranks)
            away = done & ~again
            following = now.upcoming + jnp.cumsum(away, dtype=jnp.int32) - 1
            number = jnp.where(away, jnp.where(following >= n_lanes, size, following), now.number)
            rank = jnp.where(away, 0, jnp.where(again, now.rank + 1, now.rank))
            at = jnp.minimum(number, size - 1)
            new = fresh(rank, at)
            new = new._replace(status=jnp.where(number == size, PAUSED, new.status))
            exchange = _exchanged if layout.copied else _scattered
            record = jnp.concatenate([kept, steps[:, None].astype(dtype)], axis=1)
            task, ends = exchange(source, now, away, record, at)
            return _Places(
                lanes=jax.tree.map(lambda x, y: jnp.where(done, x, y), new, lanes),
                task=task,
                number=number,
                rank=rank,
                best=jnp.where(away, jnp.inf, best),
                kept=kept,
                steps=jnp.where(away, 0, steps),
                upcoming=jnp.minimum(now.upcoming + jnp.sum(away, dtype=jnp.int32), n_lanes),
                ends=ends,
            )

        number = jnp.arange(places, dtype=jnp.int32)
        nothing = jnp.zeros_like(number)
        vacant = number >= n_lanes
        at = jnp.minimum(number, size - 1)
        lanes = fresh(nothing, at)
        lanes = lanes._replace(status=jnp.where(vacant, PAUSED, lanes.status))
        kept = jnp.concatenate([x.T for x in keep(lanes)], axis=1)
        begun = _Places(
            lanes=lanes,
            task=_task(source, at) if layout.copied else (),
            number=jnp.where(vacant, size, number),
            rank=nothing,
            best=jnp.full(places, jnp.inf, dtype),
            kept=kept,
            steps=nothing,
            upcoming=jnp.minimum(places, n_lanes),
            ends=jnp.zeros((size, kept.shape[1] + 1), dtype),
        )
        return lax.while_loop(proceed, body, begun).ends

    return run


def _beaten(lanes: Lanes, now: _Places) -> Array:
    """Which starts cannot end below the best of their lane any more, or only at the same point."""
    reached = now.kept[:, : lanes.anchor.shape[0]].T
    same = jnp.max(jnp.abs(lanes.anchor - reached), axis=0) < SAME_POINT
    decrement = jnp.where(jnp.isfinite(lanes.decrement), jnp.abs(lanes.decrement), 1.0)
    hoped = lanes.anchor_value * (1.0 - jnp.clip(HOPE * decrement, 0.0, 1.0))
    # Before its first accepted point a start has no value; under a wide zone, none that compares.
    begun = jnp.isfinite(lanes.anchor_value) & (lanes.widening <= 1.0)
    return (now.rank > 0) & begun & (same | (hoped > now.best))


def _task(source: _Source, number: Array) -> Task:
    """What the lanes (T,) of these numbers minimise."""
    task = jax.tree.map(lambda x: x[number], source.of_lanes)
    weights, *features, target = source.runs(source.condition[number], source.row[number])
    runs = task.runs._replace(weights=weights, features=tuple(features), target=target)
    return task._replace(runs=runs)


def _scattered(source: _Source, now: _Places, away: Array, record: Array, number: Array) -> tuple[Any, Array]:
    """The ends of all lanes with those of the places that are `away`."""
    size = source.condition.shape[0]
    return (), now.ends.at[jnp.where(away, now.number, size)].set(record, mode="drop")


def _exchanged(source: _Source, now: _Places, away: Array, record: Array, number: Array) -> tuple[Any, Array]:
    """The same, and what the places minimise from now on, those `away` with that of lane `number` instead.

    One place after the other: the more is copied the fewer are done.
    """
    place = jnp.arange(len(away), dtype=jnp.int32)
    order = jnp.where(away, jnp.cumsum(away, dtype=jnp.int32) - 1, len(away))
    order = jnp.zeros_like(place).at[order].set(place, mode="drop")

    def one(index: Array, carry: Any) -> Any:
        runs, ends = carry
        at = order[index]
        lane = number[at]
        ends = lax.dynamic_update_index_in_dim(ends, record[at], now.number[at], 0)
        new = source.runs(source.condition[lane], source.row[lane])
        return tuple(
            lax.dynamic_update_index_in_dim(mine, theirs, at, 0)
            for mine, theirs in zip(runs, new, strict=True)
        ), ends

    runs = now.task.runs
    held = (runs.weights, *runs.features, runs.target)
    held, ends = lax.fori_loop(0, jnp.sum(away, dtype=jnp.int32), one, (held, now.ends))
    weights, *features, target = held
    scalars = jax.tree.map(lambda x: x[number], source.of_lanes)
    runs = scalars.runs._replace(weights=weights, features=tuple(features), target=target)
    return scalars._replace(runs=runs), ends
