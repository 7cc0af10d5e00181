"""Starts taken from pools of optima: for each lane the members of lowest objective under its weights.

Where a device draws the weights, it also chooses the starts: neither is on the host. It adds up the
objectives of the members in another order, and the host in one that depends on the size of its blocks. What
each run adds is therefore rounded to whole numbers of a unit far below the differences that matter: sums of
whole numbers have no rounding, and choices depend on no order. Of equal members the first of the pool is
taken. With weights that are not whole, of two members whose objectives agree to rounding either may come
first.

Notation
    R, n, p    lanes; runs; coordinates
    P, K       pools; members of one
    M          members of all pools, one after the other
    S          starts that are kept of each lane
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax._util.kept_programs import KeptProgram
from chinchilla_jax.solvers.base import MOST_RANKS, Problem
from chinchilla_jax.solvers.drawn import Drawn, draw
from chinchilla_jax.solvers.xla_options import default_platform, options, padded, padded_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_LOST = 1e6  # in place of a loss that is not finite
_EXACT = 2**24  # up to which float32 adds whole numbers without rounding
_FINE = 0.05  # most that a member's objective may be off by rounding, in mean losses of a run
_ROWS = (256, 4096, 16384)  # of weights, where the host asks for the lowest; fewer are padded
_SLOTS = 32  # members that it is given: for fewer it is the same program
_MEMBERS = (64, 1024, 16384, 32768, 65536, 131072)  # of all pools of a call; fewer are padded


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Known optima of one data set.

    Attributes:
        problem: what is fitted.
        members: (K, p).
        ranks: how many of them a lane starts from, best first.
    """

    problem: Problem
    members: NDArray[np.float64]
    ranks: int

    @functools.cached_property
    def losses(self) -> NDArray[Any]:
        """What each run adds to the objective of each member, see `losses_of_runs`; (K, n)."""
        return losses_of_runs(self.problem, self.members)


@dataclasses.dataclass(frozen=True, eq=False)
class PoolStarts:
    """Starts of R lanes, not chosen yet.

    Attributes:
        pools: (P,).
        pool: (R,) number of the pool of each lane.
    """

    pools: tuple[Pool, ...]
    pool: NDArray[np.int32]

    @classmethod
    def of(cls, pool: Pool, lanes: int) -> PoolStarts:
        """So many lanes that start from one pool."""
        return cls((pool,), np.zeros(lanes, np.int32))

    @classmethod
    def joined(cls, parts: Sequence[PoolStarts]) -> PoolStarts:
        """Those of several requests, one after the other."""
        pools = {id(pool): pool for part in parts for pool in part.pools}
        number = {key: place for place, key in enumerate(pools)}
        mine = [np.array([number[id(pool)] for pool in part.pools], np.int32)[part.pool] for part in parts]
        return cls(tuple(pools.values()), np.concatenate(mine))

    def of_lanes(self, lanes: Any) -> PoolStarts:
        """Those of some lanes."""
        return PoolStarts(self.pools, self.pool[lanes])


Starts: TypeAlias = "Sequence[NDArray[np.float64]] | PoolStarts"
"""Candidates of every lane, best guess first, each (R, p); or where they come from."""


def of_lanes(starts: Starts, lanes: Any) -> Starts:
    """The starts of some lanes."""
    if isinstance(starts, PoolStarts):
        return starts.of_lanes(lanes)
    return [each[lanes] for each in starts]


def losses_of_runs(problem: Problem, members: NDArray[np.float64]) -> NDArray[Any]:
    """What each run adds to the objective of each of `members` (K, p), per weight; (K, n), finite.

    In a unit of its own, in which they are whole numbers, as float32, that it adds exactly as long as the
    weights are counts of n runs or fewer. As float64, not rounded, where such a unit would be too coarse:
    where runs are very many, or one member is far off.
    """
    loss = problem.losses(members)
    loss = np.where(np.isfinite(loss), loss, _LOST)
    n_runs = loss.shape[1]
    unit = loss.max(initial=0.0) / (_EXACT // n_runs or 1)
    mean = loss.mean(axis=1).min(initial=np.inf)
    return np.rint(loss / unit).astype(np.float32) if 0 < unit * math.sqrt(n_runs) <= _FINE * mean else loss


class Members(NamedTuple):
    """All pools of a call, one after the other; of NumPy outside, of JAX inside."""

    losses: Any  # (M, n)
    starts: Any  # (M, p + 1), the last how many times as wide the zone is at first
    first: Any  # (P,), of each pool
    count: Any  # (P,)
    ranks: Any  # (P,)


def members_of(
    starts: PoolStarts,
    n_runs: int,
    most_pools: int,
    begun: Callable[[Pool], NDArray[np.float64]],
) -> Members:
    """The pools as a compiled call takes them.

    Args:
        starts: the pools.
        n_runs: what the runs are padded to.
        most_pools: what the pools are padded to.
        begun: of a pool, its members as starts (K, p + 1).
    """
    pools = starts.pools
    count = np.array([len(pool.members) for pool in pools], np.int32)
    total = int(count.sum())
    size = padded(total, (*_MEMBERS, total))
    losses = np.zeros((size, n_runs))
    np.concatenate([pool.losses for pool in pools], out=losses[:total, : pools[0].losses.shape[1]])
    begun_from = [begun(pool) for pool in pools]
    found = np.ones((size, begun_from[0].shape[1]))
    np.concatenate(begun_from, out=found[:total])

    def of_pools(values: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.concatenate([values, np.zeros(max(most_pools - len(values), 0), np.int32)])

    ranks = np.minimum([pool.ranks for pool in pools], count).astype(np.int32)
    first = (np.cumsum(count) - count).astype(np.int32)
    return Members(losses, found, of_pools(first), of_pools(count), of_pools(ranks))


def chosen(weights: Any, row: NDArray[np.int32], pool: NDArray[np.int32], members: Members) -> Any:
    """Starts (S, R, p + 1) of lanes, on the device; the last number negative where another start follows.

    Args:
        weights: (W, n), of the device.
        row: (R,) the row of weights of each lane.
        pool: (R,) its pool.
        members: of the pools.
    """
    with float64_scope():
        return _program(_choose, MOST_RANKS)(weights, row, pool, members)


def lowest(weights: Drawn, pool: Pool) -> list[NDArray[np.float64]]:
    """The `ranks` lowest members under every row of weights, found by the device; each (W, p)."""
    count, ranks = len(weights), min(pool.ranks, len(pool.members))
    size = padded(count, (*_ROWS, count))
    rows, _, _ = draw(weights, np.arange(count), (size, padded_runs(weights.shape[1])))
    starts = np.column_stack([pool.members, np.ones(len(pool.members))])
    members = members_of(PoolStarts.of(pool, count), rows.shape[1], 1, lambda _: starts)
    lanes = np.arange(size, dtype=np.int32)
    with float64_scope():
        found = np.asarray(_program(_lowest, max(ranks, _SLOTS))(rows, lanes, 0 * lanes, members))
    return list(pool.members[found[:ranks, :count]])


@functools.cache
def _program(function: Callable[..., Any], slots: int) -> KeptProgram:
    return KeptProgram(functools.partial(function, slots), options(default_platform()))


def _lowest(slots: int, weights: Any, row: Any, pool: Any, members: Members) -> Any:
    """The members (S, R), among those of all pools, of lowest objective for each lane, best first."""
    import jax.numpy as jnp
    from jax import lax

    first, count = members.first[pool], members.count[pool]
    slot = jnp.arange(slots, dtype=jnp.int32)[:, None]

    def follow(values: Any) -> Any:
        return jnp.concatenate([values[:1], values[:-1]])

    def tried(carry: Any) -> Any:
        k, value, member = carry
        at = first + jnp.minimum(k, count - 1)
        new = jnp.sum(weights[row].astype(jnp.float64) * members.losses[at], axis=1)
        new = jnp.where(k < count, new, jnp.inf)
        # Behind those that are as low, so that the first of equal members comes first.
        place = jnp.sum(value <= new, axis=0, dtype=jnp.int32)
        value = jnp.where(slot < place, value, jnp.where(slot == place, new, follow(value)))
        member = jnp.where(slot < place, member, jnp.where(slot == place, at, follow(member)))
        return k + 1, value, member

    most, shape = jnp.max(members.count), (slots, len(row))
    begun = (jnp.int32(0), jnp.full(shape, jnp.inf), jnp.zeros(shape, jnp.int32))
    return lax.while_loop(lambda carry: carry[0] < most, tried, begun)[2]


def _choose(slots: int, weights: Any, row: Any, pool: Any, members: Members) -> Any:
    """What `chosen` returns."""
    import jax.numpy as jnp

    starts = members.starts[_lowest(slots, weights, row, pool, members)]
    follows = jnp.arange(1, slots + 1, dtype=jnp.int32)[:, None] < members.ranks[pool]
    return starts.at[:, :, -1].set(jnp.where(follows, -1.0, 1.0) * starts[:, :, -1])
