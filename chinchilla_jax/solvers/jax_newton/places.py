"""Places that lanes pass through: the steps of one precision, for any number of lanes.

A place takes a lane, all of its starts one after the other, and then the next lane: no lane waits for the
slowest, until none are left. Later starts are given up as soon as they cannot end below the earlier ones. A
lane's arithmetic does not depend on its place or its company.

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

from chinchilla_jax.solvers.jax_newton.step import Lanes, Rules, Task, start_lanes, step
from chinchilla_jax.solvers.thresholds import HOPE, PAUSED, RUNNING, SAME_POINT


class Layout(NamedTuple):
    """How the places of a call are held; static.

    Attributes:
        places: T.
        copied: whether a place holds its runs, copied when it takes a lane, which is right for CPUs, or
            picks them out of the tables in every pass, as GPUs do at no cost.
        slow: places for lanes that are not certified after some float64 steps, or 0: these stay where they
            are. A step of all places takes its time however many are vacant, and the slowest lanes take a
            hundred times as many as the others.
    """

    places: int
    copied: bool
    slow: int = 0


class Source(NamedTuple):
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


class _Places(NamedTuple):
    """The state of T places."""

    lanes: Lanes
    task: Any  # with runs (T, n) where the layout copies them; else nothing
    number: Array  # of the lane, and R where there is none
    rank: Array
    best: Array  # objective of the best start so far
    kept: Array  # (T, fields), of that start
    steps: Array  # of the starts before this one
    upcoming: Array  # number of the next lane; scalar
    ends: Array  # (R, fields)


def stage(
    rules: Rules, layout: Layout, source: Source, keep: Callable[[Lanes], list[Array]]
) -> Callable[..., Array]:
    """A function of (starts, widening, ranks, n_lanes, step limits) that takes the steps of one precision."""
    dtype = source.target.dtype
    size, places = source.condition.shape[0], layout.places

    def apart(x: Any) -> Any:
        # XLA for GPUs would compute the end of a step inside a sum over the places: in one block, and with
        # registers spilled.
        return x if layout.copied else lax.optimization_barrier(x)

    def run(starts: Array, widening: Array, ranks: Array, n_lanes: Array, limits: tuple[Array, ...]) -> Array:
        starts, widening = starts.astype(dtype), widening.astype(dtype)

        def fresh(rank: Array, number: Array) -> Lanes:
            return start_lanes(starts[rank, number].T, widening[rank, number])

        def proceed(now: _Places) -> Array:
            return jnp.any(now.lanes.status == RUNNING)

        def body(now: _Places) -> _Places:
            task = now.task if layout.copied else _task(source, jnp.minimum(now.number, size - 1))
            lanes = apart(step(rules, now.lanes, task, *limits))
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
            away, again = apart((done & ~again, again))
            taken = apart(jnp.cumsum(away, dtype=jnp.int32))
            following = now.upcoming + taken - 1
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
                upcoming=jnp.minimum(now.upcoming + taken[-1], n_lanes),
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


def _task(source: Source, number: Array) -> Task:
    """What the lanes (T,) of these numbers minimise."""
    task = jax.tree.map(lambda x: x[number], source.of_lanes)
    weights, *features, target = source.runs(source.condition[number], source.row[number])
    runs = task.runs._replace(weights=weights, features=tuple(features), target=target)
    return task._replace(runs=runs)


def _scattered(source: Source, now: _Places, away: Array, record: Array, number: Array) -> tuple[Any, Array]:
    """The ends of all lanes with those of the places that are `away`."""
    size = source.condition.shape[0]
    return (), now.ends.at[jnp.where(away, now.number, size)].set(record, mode="drop")


def _exchanged(source: Source, now: _Places, away: Array, record: Array, number: Array) -> tuple[Any, Array]:
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
