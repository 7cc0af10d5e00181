"""Places that lanes pass through: the steps of one precision, for any number of lanes.

A place takes a lane, all of its starts one after the other, and then the next lane: no lane waits for the
slowest, until none are left. Later starts are given up as soon as they cannot end below the earlier ones. A
lane's arithmetic does not depend on its place or its company.

Notation
    R, T    lanes of the call, of which `n_lanes` are real and the rest padding; places
    K       starts of each lane, at most
    C, W    data sets (conditions); rows of weights
    n, p    runs; coordinates
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from chinchilla_jax.solvers.jax_newton.passes import RunsOfLanes
from chinchilla_jax.solvers.jax_newton.step import Lanes, Rules, Task, start_lanes, step
from chinchilla_jax.solvers.thresholds import HOPE, PAUSED, RUNNING, SAME_POINT

_FEW = 1024  # places


class Layout(NamedTuple):
    """How the places of a call are held; static.

    Attributes:
        places: T.
        copied: whether a place holds its runs, copied when it takes a lane, which is right for CPUs, or
            picks them out of the tables in every pass, as GPUs do at no cost.
    """

    places: int
    copied: bool


class Source(NamedTuple):
    """What tasks are made of."""

    features: tuple[Array, ...]  # (C, n)
    target: Array  # (C, n)
    weights: Array  # (W, n)
    first: Array  # (W,)
    total: Array  # (W,)
    shared: tuple[Array, ...]  # (C,)
    unit: Array  # (C,)
    n_runs: Array
    condition: Array  # (R,)
    row: Array  # (R,)
    down: Array  # (R,)
    up: Array  # (R,)

    def numbers(self, lane: Array) -> Array:
        """What a task needs besides its runs, see `_task`, of lanes (B,), or of one; (B, k) or (k,)."""
        condition, row = _picked(self.condition, lane), _picked(self.row, lane)
        of_data_set = [_picked(column, condition) for column in (self.unit, *self.shared)]
        total = _picked(self.total, row)
        n_runs = jnp.broadcast_to(self.n_runs, total.shape)
        return jnp.stack(
            [_picked(self.down, lane), _picked(self.up, lane), total, n_runs, *of_data_set], axis=-1
        )

    def runs(self, lane: Array, dtype: Any) -> tuple[Array, ...]:
        """Weights, features and target of lanes (B,), or of one; each (B, n) or (n,).

        A run without a weight gets the features of one that has a weight, and is finite where it is.
        """
        condition, row = _picked(self.condition, lane), _picked(self.row, lane)
        weights, first = _picked(self.weights, row), _picked(self.first, row)
        counts = weights > 0

        def of_lane(column: Array) -> Array:
            mine = _picked(column, condition)
            spare = jax.vmap(_picked)(mine, first)[:, None] if mine.ndim == 2 else _picked(mine, first)
            return jnp.where(counts, mine, spare).astype(dtype)

        target = _picked(self.target, condition)
        return (weights.astype(dtype), *map(of_lane, self.features), target.astype(dtype))


def _picked(values: Array, index: Array) -> Array:
    """Entries of the first axis; XLA compiles that of one index to a slice."""
    if index.ndim:
        return values.at[index].get(mode="promise_in_bounds")
    return lax.dynamic_index_in_dim(values, index, 0, keepdims=False)


class _Places(NamedTuple):
    """The state of T places."""

    lanes: Lanes
    runs: Any  # of the tasks where the layout copies them, each (T, n); else nothing
    number: Array  # of the lane, and R where there is none
    rank: Array
    further: Array  # whether another start of the lane follows
    best: Array  # objective of the best start so far
    kept: Array  # (T, fields), of that start; where the layout copies tasks, their numbers and start follow
    steps: Array  # of all starts of the lane that are done
    upcoming: Array  # number of the next lane; scalar
    ends: Array  # (R, fields + 1)


def stage(
    rules: Rules, layout: Layout, source: Source, keep: Callable[[Lanes], list[Array]]
) -> Callable[..., Array]:
    """A function of (starts, n_lanes, step limits) that takes the steps of one precision.

    Starts are those of `rounds.Requests`.
    """
    dtype = rules.of.program.dtype
    size, places = source.condition.shape[0], layout.places
    numbers: Any = None if layout.copied else source.numbers(jnp.arange(size, dtype=jnp.int32))

    def apart(x: Any) -> Any:
        # XLA for GPUs would compute the end of a step inside a sum over the places: in one block, and with
        # registers spilled.
        return x if layout.copied else lax.optimization_barrier(x)

    def run(starts: Array, n_lanes: Array, limits: tuple[Array, ...]) -> Array:
        of_rank = starts.reshape(-1, starts.shape[-1])
        if not layout.copied:
            of_rank = of_rank.astype(dtype)

        def begin(rank: Array, number: Array) -> Array:
            """A start (p + 1,) of one lane, or of several."""
            return _picked(of_rank, rank * size + number).astype(dtype)

        def copied(rank: Array, number: Array) -> tuple[tuple[Array, ...], Array]:
            """Runs (n,) of one lane; its numbers and a start."""
            numbers = source.numbers(number).astype(dtype)
            return source.runs(number, dtype), jnp.concatenate([numbers, begin(rank, number)])

        def proceed(now: _Places) -> Array:
            busy = jnp.any(now.lanes.status == RUNNING)
            return busy | (now.upcoming < n_lanes) if layout.copied else busy

        def stepped(now: _Places) -> _Places:
            if layout.copied:
                runs, mine = now.runs, now.kept[:, fields:-size_of_start]
            else:
                at = jnp.minimum(now.number, size - 1)
                runs, mine = source.runs(at, dtype), _picked(numbers, at)
            lanes = apart(step(rules, now.lanes, _task(runs, mine), *limits))
            given_up = (lanes.status == RUNNING) & _beaten(lanes, now)
            status = jnp.where(given_up, PAUSED, lanes.status)
            value = jnp.where(given_up, jnp.inf, lanes.anchor_value)
            return now._replace(lanes=lanes._replace(status=status, anchor_value=value))

        def settled(now: _Places) -> tuple[_Places, Array]:
            """The places with starts that are done counted, and which of these are their lanes' best."""
            lanes = now.lanes
            done = (lanes.status != RUNNING) & (now.number < size)
            # Values under a zone that is still wide do not compare.
            comparable = jnp.isfinite(lanes.anchor_value) & (lanes.widening <= 1.0)
            value = jnp.where(comparable, lanes.anchor_value, jnp.inf)
            wins = done & ((value < now.best) | (now.rank == 0))
            best = jnp.where(wins, value, now.best)
            now = now._replace(best=best, steps=now.steps + jnp.where(done, lanes.steps, 0))
            if not layout.copied:
                kept = jnp.concatenate([x.T for x in keep(lanes)], axis=1)
                now = now._replace(kept=jnp.where(wins[:, None], kept, now.kept))
            return now, wins

        def refilled(now: _Places) -> _Places:
            """The places with those that are done at the next start of their lane, or at the next lane."""
            now, wins = settled(now)
            done = now.lanes.status != RUNNING
            again = done & now.further & (now.number < size)
            away = done & ~again & ((now.number < size) | (now.upcoming < n_lanes))
            away, again = apart((away, again))
            taken = apart(_counted(away))
            following = now.upcoming + taken - 1
            number = jnp.where(away, jnp.where(following >= n_lanes, size, following), now.number)
            rank = jnp.where(away, 0, now.rank + again)
            at = jnp.minimum(number, size - 1)
            if layout.copied:
                now = _exchanged(now, away | again, wins, keep, lambda place: copied(rank[place], at[place]))
                start = now.kept[:, -size_of_start:]
            else:
                now = now._replace(ends=_put(now, away))
                start = begin(rank, at)
            new = start_lanes(start[:, :-1].T, jnp.abs(start[:, -1]))
            new = new._replace(status=jnp.where(number == size, PAUSED, new.status))
            return now._replace(
                lanes=jax.tree.map(lambda x, y: jnp.where(away | again, x, y), new, now.lanes),
                number=number,
                rank=rank,
                further=jnp.where(away | again, start[:, -1] < 0, now.further),
                best=jnp.where(away, jnp.inf, now.best),
                steps=jnp.where(away, 0, now.steps),
                upcoming=jnp.minimum(now.upcoming + taken[-1], n_lanes),
            )

        def lanes_and_copies() -> tuple[Lanes, Any, Any]:
            number = jnp.zeros(places, jnp.int32)
            start = begin(number, number)
            return start_lanes(start[:, :-1].T, start[:, -1]), *copied(number[0], number[0])

        # Nothing is in the places: a turn of the loop fills them.
        lanes, of_one, more_of_one = jax.eval_shape(lanes_and_copies)
        fields = sum(len(x) for x in jax.eval_shape(keep, lanes))
        size_of_start = starts.shape[-1]
        begun = _Places(
            lanes=jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), lanes),
            runs=tuple(jnp.zeros((places, *x.shape), dtype) for x in of_one) if layout.copied else (),
            number=jnp.full(places, size, jnp.int32),
            rank=jnp.zeros(places, jnp.int32),
            further=jnp.zeros(places, bool),
            best=jnp.zeros(places, dtype),
            kept=jnp.zeros((places, fields + (len(more_of_one) if layout.copied else 0)), dtype),
            steps=jnp.zeros(places, jnp.int32),
            upcoming=jnp.int32(0),
            ends=jnp.zeros((size, fields + 1), dtype),
        )
        if not layout.copied:  # what costs less there than a turn
            begun = refilled(begun)
        return lax.while_loop(proceed, lambda now: refilled(stepped(now)), begun).ends

    return run


def _counted(flags: Array) -> Array:
    """How many of the flags (T,) up to each place are set."""
    if len(flags) > _FEW:
        return jnp.cumsum(flags, dtype=jnp.int32)
    # One small kernel, in place of five to compile.
    place = jnp.arange(len(flags))
    return jnp.sum((place <= place[:, None]) & flags, axis=1, dtype=jnp.int32)


def _beaten(lanes: Lanes, now: _Places) -> Array:
    """Which starts cannot end below the best of their lane any more, or only at the same point."""
    reached = now.kept[:, : lanes.anchor.shape[0]].T
    same = jnp.max(jnp.abs(lanes.anchor - reached), axis=0) < SAME_POINT
    decrement = jnp.where(jnp.isfinite(lanes.decrement), jnp.abs(lanes.decrement), 1.0)
    hoped = lanes.anchor_value * (1.0 - jnp.clip(HOPE * decrement, 0.0, 1.0))
    # Before its first accepted point a start has no value; under a wide zone, none that compares.
    begun = jnp.isfinite(lanes.anchor_value) & (lanes.widening <= 1.0)
    return (now.rank > 0) & begun & (same | (hoped > now.best))


def _task(runs: Sequence[Array], numbers: Array) -> Task:
    """What lanes with these runs and numbers minimise."""
    weights, *features, target = runs
    down, up, total, n_runs, unit, *shared = numbers.astype(target.dtype).T
    return Task(RunsOfLanes(weights, tuple(features), tuple(shared), target, unit), down, up, total, n_runs)


def _put(now: _Places, away: Array) -> Array:
    """The ends of all lanes with those of the places that are `away`."""
    record = jnp.concatenate([now.kept, now.steps[:, None].astype(now.kept.dtype)], axis=1)
    return now.ends.at[jnp.where(away, now.number, len(now.ends))].set(record, mode="drop")


def _exchanged(
    now: _Places,
    changed: Array,
    wins: Array,
    keep: Callable[[Lanes], list[Array]],
    new: Callable[[Array], tuple[tuple[Array, ...], Array]],
) -> _Places:
    """The places with the starts that won kept, `_put` away, and what is `new` to those that are `changed`.

    One place after the other: the more is copied the fewer they are.
    """
    count = _counted(changed)
    # The place of each of those that change. What is put away of a lane that has further starts, or of a
    # vacant place, is written over later.
    order = jnp.sum(count <= jnp.arange(len(changed))[:, None], axis=1, dtype=jnp.int32)

    def one(index: Array, carry: Any) -> Any:
        place = order[index]
        lane = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, place, -1, keepdims=False), now.lanes)
        ended = jnp.concatenate(keep(lane))
        kept = jnp.where(wins[place], ended, now.kept[place, : len(ended)])
        runs, others = new(place)
        record = jnp.append(kept, now.steps[place].astype(kept.dtype))

        def put(mine: Array, theirs: Array, at: Array) -> Array:
            return lax.dynamic_update_index_in_dim(mine, theirs, at, 0)

        return (
            tuple(put(mine, theirs, place) for mine, theirs in zip(carry[0], runs, strict=True)),
            put(carry[1], jnp.concatenate([kept, others]), place),
            put(carry[2], record, now.number[place]),
        )

    runs, kept, ends = lax.fori_loop(0, count[-1], one, (now.runs, now.kept, now.ends))
    return now._replace(runs=runs, kept=kept, ends=ends)
