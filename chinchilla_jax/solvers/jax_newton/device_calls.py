"""Calls of an accelerator: sent small and filled up there, none waiting for another, few numbers back.

All calls of a law have one shape, for compiling takes longer than millions of fits. What is sent has one of a
few sizes, which small programs fill up on the device. The certificates come from there as well (judged.py);
lanes of which the device is not sure are judged by the host, from their derivatives alone.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax._util.kept_programs import KeptProgram
from chinchilla_jax.solvers.base import MOST_RANKS
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS
from chinchilla_jax.solvers.certificate import doubtful_runs
from chinchilla_jax.solvers.drawn import Drawn, Weights, draw
from chinchilla_jax.solvers.jax_newton.calls import Calls, numbered, placed
from chinchilla_jax.solvers.jax_newton.compiled import compiled, draws
from chinchilla_jax.solvers.jax_newton.device_memory import require_room
from chinchilla_jax.solvers.jax_newton.judged import Fitted, fitted, fitted_in_float64
from chinchilla_jax.solvers.jax_newton.rounds import Ends, Limits, Requests, Tables, unpacked
from chinchilla_jax.solvers.pool_starts import Members, PoolStarts, chosen, members_of
from chinchilla_jax.solvers.xla_options import padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Floats
    from chinchilla_jax.solvers.base import Problem
    from chinchilla_jax.solvers.pool_starts import Pool

# Sizes of what is sent and fetched, up to that of a call.
_LANES = (4096, 131072)
_ROWS = (1024, 16384)
_UNSURE = (256, 4096, 65536)  # lanes that the host judges, at a time
_TABLES = 4  # sets of data sets that stay on the device


class Pooled(NamedTuple):
    """Starts that the device chooses.

    Attributes:
        pool: (R,) of each lane.
        members: of all pools.
    """

    pool: NDArray[np.int32]
    members: Members


class Begun(NamedTuple):
    """A call that the device has been given.

    Attributes:
        lanes: (L,) which of the request; a slice where they are in a row.
        found: of each slot of what is fetched, without `ends`.
        ends: of each slot of the call.
        slots: (L,) of the lanes in `found`.
        whole: (L,) of the lanes in `ends`.
        size: coordinates p.
    """

    lanes: Any
    found: Fitted
    ends: Any
    slots: Any
    whole: Any
    size: int

    def fetched(self) -> Fitted:
        """Where the lanes (L,) ended, once the device is done."""
        return jax.tree.map(lambda each: np.asarray(each)[self.slots], self.found)

    def unsure(self, lanes: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], Ends]]:
        """The ends of these of the lanes, some at a time."""
        for first in range(0, len(lanes), _UNSURE[-1]):
            some = lanes[first : first + _UNSURE[-1]]
            at = np.zeros(padded(len(some), _UNSURE), np.int32)
            at[: len(some)] = np.arange(len(self.ends))[self.whole][some]
            with float64_scope():
                ends = np.asarray(_program(_rows_of)(self.ends, at))
            yield some, unpacked(ends[: len(some)], self.size)


class DeviceCalls(Calls):
    """Compiled calls of an accelerator."""

    def __init__(self, *shared: Any, judged: bool = True) -> None:
        """Take what the lanes share, and whether to ask if the runs with a weight determine the law."""
        super().__init__(*shared)
        self.judged = judged

    def _held(self, weights: Weights) -> Any:
        """Weights that are drawn there, or as few bytes as hold them."""
        if isinstance(weights, Drawn) and draws(self.platform):
            return weights
        return _compact(np.asarray(weights))

    def pooled(self, starts: PoolStarts, begun: Callable[[Pool], Floats]) -> Pooled:
        """These starts, to be chosen by the device; `begun` gives the members of a pool as (K, p + 1)."""
        return Pooled(starts.pool, members_of(starts, self.n_runs, self.sizes.conditions, begun))

    def begin(self, lanes: NDArray[np.intp], starts: Floats | Pooled, limits: Limits) -> Begun:
        """Have these of R lanes fitted from starts (K, R, p + 1); inside `float64_scope`."""
        count, size = len(lanes), self.sizes.lanes
        at = slice(int(lanes[0]), int(lanes[-1]) + 1)
        some = at if at.stop - at.start == count and np.all(np.diff(lanes) == 1) else lanes
        numbers, condition = numbered(self.condition[some], self.sizes.conditions)
        rows, row = numbered(self.row[some], self.sizes.rows)
        held = [self.problems[number] for number in numbers]
        part = min(padded(-(-count // self.devices), (*_LANES, size)), size)
        slots, share = self._slots(count, part)
        sent = part * self.devices
        tables = _tables_there(self, held)
        weights, first, total = self._weights(rows)
        row = placed(row.astype(np.int32), slots, sent)
        small = Requests(
            condition=placed(condition.astype(np.int32), slots, sent),
            row=row,
            starts=_at_slots(starts[:, some], slots, sent)
            if isinstance(starts, np.ndarray)
            else chosen(weights, row, placed(starts.pool[some], slots, sent), starts.members),
            down=placed(self.down[some], slots, sent),
            up=placed(self.up[some], slots, sent),
            n_lanes=self._lanes_of_devices(count, share),
        )
        requests = _program(_in_full, self.devices, size)(small)
        arguments = (tables._replace(weights=weights, first=first, total=total), requests, limits)
        law, rho = held[0].law, getattr(held[0].objective, "rho", None)
        stage = fitted if limits.float32_steps > 0 else fitted_in_float64
        ENGINE_CALLS.add(count)
        program = compiled(stage, type(law), held[0].raw, arguments, self.platform, rho)
        require_room(program)
        found = program(*arguments)
        heads = _program(_heads, self.devices, part)(found._replace(ends=None))
        for each in jax.tree.leaves(heads):
            each.copy_to_host_async()
        whole, _ = self._slots(count, size)
        return Begun(some, heads, found.ends, slots, whole, law.size)

    def _tables(self, held: Sequence[Problem], described: tuple[Any, Any, Any]) -> Tables:
        tables = super()._tables(held, described)
        if not self.judged:
            return tables._replace(doubtful=np.full_like(tables.doubtful, -1))
        tables.doubtful[: len(held)] = [doubtful_runs(each.law, each.design) for each in held]
        return tables

    def _weights(self, rows: NDArray[np.intp]) -> tuple[Any, Any, Any]:
        """These rows, a run of each that has a weight, and sums, filled up; drawn or sent."""
        most = self.sizes.rows
        shape = (min(padded(len(rows), (*_ROWS, most)), most), self.n_runs)
        if isinstance(self.weights, Drawn):
            return _program(_filled, most)(draw(self.weights, rows, shape))
        weights = np.zeros(shape, self.weights.dtype)
        weights[: len(rows), : self.weights.shape[1]] = self.weights[rows]
        return _program(_described, most)(weights)


_there: OrderedDict[tuple[Any, ...], tuple[Any, Any]] = OrderedDict()
_there_lock = threading.Lock()


def _tables_there(calls: DeviceCalls, held: Sequence[Problem]) -> Tables:
    """The tables of these data sets, sent once where call follows call on the same ones."""
    key = (*map(id, held), calls.sizes, calls.judged, calls.platform)
    with _there_lock:
        if key not in _there:
            # With the data sets, whose addresses nothing else can have meanwhile.
            _there[key] = jax.device_put(calls._tables(held, (None, None, None))), held
        _there.move_to_end(key)
        if len(_there) > _TABLES:
            _there.popitem(last=False)
        tables: Tables = _there[key][0]
    return tables


def _at_slots(starts: Floats, slots: Any, size: int) -> Floats:
    """Starts (K, L, p + 1) at their slots of an array of `size`, one of each lane or `MOST_RANKS`."""
    ranks = 1 if len(starts) == 1 else MOST_RANKS
    if starts.shape[:2] == (ranks, size):
        return starts
    found = np.ones((ranks, size, starts.shape[2]))
    found[: len(starts), slots] = starts
    return found


def _compact(weights: NDArray[Any]) -> NDArray[Any]:
    """The same weights as small whole numbers if they are that, as counts of a resample are."""
    if weights.dtype == np.uint8:
        return weights
    with np.errstate(invalid="ignore"):
        small = weights.astype(np.uint8)
    return small if np.array_equal(small, weights) else np.asarray(weights, np.float64)


@functools.cache
def _program(function: Callable[..., Any], *settings: int) -> KeptProgram:
    """One of the functions below, compiled."""
    return KeptProgram(functools.partial(function, *settings))


def _in_full(devices: int, size: int, requests: Requests) -> Requests:
    """The requests with `size` lanes per device, and all ranks."""

    def filled(values: Any, axis: int = 0) -> Any:
        shape = values.shape
        each = values.reshape(*shape[:axis], devices, -1, *shape[axis + 1 :])
        widths = [(0, 0)] * each.ndim
        widths[axis + 1] = (0, size - each.shape[axis + 1])
        return jnp.pad(each, widths).reshape(*shape[:axis], devices * size, *shape[axis + 1 :])

    starts = filled(requests.starts, 1)
    starts = jnp.pad(starts, [(0, MOST_RANKS - len(starts)), (0, 0), (0, 0)])
    of_lanes = {name: filled(getattr(requests, name)) for name in ("condition", "row", "down", "up")}
    return requests._replace(starts=starts, **of_lanes)


def _heads(devices: int, part: int, found: Fitted) -> Fitted:
    """The first `part` lanes of each device."""

    def head(values: Any) -> Any:
        each = values.reshape(devices, -1, *values.shape[1:])[:, :part]
        return each.reshape(-1, *values.shape[1:])

    return jax.tree.map(head, found)


def _filled(size: int, described: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Weights and what goes with them, with `size` rows."""

    def filled(values: Any) -> Any:
        return jnp.pad(values, [(0, size - len(values)), *[(0, 0)] * (values.ndim - 1)])

    weights, first, total = map(filled, described)
    return weights, first, total


def _described(size: int, weights: Any) -> tuple[Any, Any, Any]:
    """Weights (W, n), a run of each row that has one, and sums, with `size` rows."""
    first = jnp.argmax(weights > 0, axis=1).astype(jnp.int32)
    return _filled(size, (weights, first, jnp.sum(weights, axis=1, dtype=jnp.float64)))


def _rows_of(ends: Any, at: Any) -> Any:
    return ends[at]
