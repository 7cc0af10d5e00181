"""Requests as compiled calls take them: which lanes go together, arrays padded to the shapes of a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax.solvers.base import MOST_RANKS
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS
from chinchilla_jax.solvers.drawn import Drawn, Weights, draw
from chinchilla_jax.solvers.pool_starts import Members, PoolStarts, chosen, members_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Floats
    from chinchilla_jax.solvers.base import Problem, SolverOptions
    from chinchilla_jax.solvers.jax_newton.rounds import Ends, Limits, Stage
    from chinchilla_jax.solvers.pool_starts import Pool

_LEAST_LANES = 512  # of a call, where there is a choice


class Pooled(NamedTuple):
    """Starts that the device chooses.

    Attributes:
        pool: (R,) of each lane.
        members: of all pools.
    """

    pool: NDArray[np.int32]
    members: Members


class Calls:
    """Compiled calls on what all lanes of a request share."""

    def __init__(
        self,
        problems: Sequence[Problem],
        weights: Weights,
        condition: NDArray[np.integer],
        row: NDArray[np.integer],
        down: Floats,
        up: Floats,
        options: SolverOptions,
        platform: str,
    ) -> None:
        """Take what the lanes share."""
        from chinchilla_jax.solvers.jax_newton.compiled import devices, draws, padded_runs, sizes

        self.problems, self.options = problems, options
        self.condition, self.row, self.down, self.up = condition, row, down, up
        self.platform = platform
        self.drawn = weights if isinstance(weights, Drawn) and draws(platform) else None
        # One dtype on a CPU, and so one program; counts as bytes where they are sent to a device.
        self.weights: Weights = (
            self.drawn
            if self.drawn is not None
            else (np.asarray(weights, np.float64) if platform == "cpu" else _compact(np.asarray(weights)))
        )
        self.n_runs = padded_runs(weights.shape[1])
        self.sizes = sizes(platform, self.n_runs)
        self.devices = devices(platform)
        one_call_is_serial = platform == "cpu" and self.devices == 1
        self.workers = (options.workers or available_cores()) if one_call_is_serial else 1

    def parts(self, lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Lanes by call: even shares, but not so small that the slowest lanes weigh more than the rest."""
        length = min(self.sizes.lanes[-1] * self.devices, max(-(-len(lanes) // self.workers), _LEAST_LANES))
        parts = [lanes[first : first + length] for first in range(0, len(lanes), length)]
        parts = [piece for part in parts for piece in self._few_conditions(part)]
        return [piece for part in parts for piece in self._few_rows(part)]

    def _few_conditions(self, lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Lanes split so that no call has more data sets than it holds."""
        new, most = np.flatnonzero(np.diff(self.condition[lanes])) + 1, self.sizes.conditions[-1]
        return np.split(lanes, new[most - 1 :: most])

    def _few_rows(self, lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Lanes split so that no call has more rows of weights than it holds."""
        most = self.sizes.rows[-1]
        parts: list[NDArray[np.intp]] = []
        while True:
            _, first = np.unique(self.row[lanes], return_index=True)
            if len(first) <= most:
                return [*parts, lanes]
            end = np.sort(first)[most]
            parts.append(lanes[:end])
            lanes = lanes[end:]

    def pooled(self, starts: PoolStarts, begun: Callable[[Pool], Floats]) -> Pooled:
        """These starts, to be chosen by the device; `begun` gives the members of a pool as (K, p + 1)."""
        from chinchilla_jax.solvers.jax_newton.compiled import padded

        most = padded(len(starts.pools), self.sizes.conditions)
        return Pooled(starts.pool, members_of(starts, self.n_runs, most, begun))

    def __call__(self, lanes: NDArray[np.intp], starts: Floats | Pooled, limits: Limits) -> Ends:
        """Fit these of R lanes from starts (K, R, p + 1) in one call; inside `float64_scope`."""
        from chinchilla_jax.solvers.jax_newton.compiled import compiled, in_one_call, padded
        from chinchilla_jax.solvers.jax_newton.rounds import (
            Requests,
            Tables,
            float32_stage,
            float64_stage,
            going_on,
            solve,
            unpacked,
        )  # fmt: skip

        count = len(lanes)
        # Each device has `share` lanes and padding up to `size`; `slots` is where the lanes are.
        share = -(-count // self.devices)
        size = padded(share, self.sizes.lanes)
        whole = size * self.devices
        at = np.arange(count)
        slots = at // share * size + at % share
        n_lanes = np.clip(count - np.arange(self.devices) * share, 0, share).astype(np.int32)
        numbers, condition = np.unique(self.condition[lanes], return_inverse=True)
        rows, row = np.unique(self.row[lanes], return_inverse=True)
        held = [self.problems[number] for number in numbers]
        most = padded(len(held), self.sizes.conditions)

        def table(rows: Sequence[Floats]) -> Floats:
            return _padded(_padded(np.stack(rows).T, self.n_runs).T, most)

        weights, first, total = self._weights(rows, padded(len(rows), self.sizes.rows))
        tables = Tables(
            places=tuple(table(rows) for rows in zip(*(p.design.places for p in held), strict=True)),
            log_loss=table([p.design.log_loss for p in held]),
            constants=_padded(np.stack([p.law.constants(p.design) for p in held]), most),
            unit=_padded(np.array([p.loss_unit for p in held]), most),
            weights=weights,
            first=first,
            total=total,
            n_runs=np.float64(self.weights.shape[1]),
        )
        row = _placed(row.astype(np.int32), slots, whole)
        requests = Requests(
            condition=_placed(condition.astype(np.int32), slots, whole),
            row=row,
            starts=_room(starts[:, lanes], slots, whole)
            if isinstance(starts, np.ndarray)
            else chosen(weights, row, _placed(starts.pool[lanes], slots, whole), starts.members),
            down=_placed(self.down[lanes], slots, whole),
            up=_placed(self.up[lanes], slots, whole),
            n_lanes=n_lanes,
        )
        ENGINE_CALLS.add(count)
        law, rho = held[0].law, getattr(held[0].objective, "rho", None)

        def ends(stage: Stage, requests: Requests) -> Floats:
            arguments = (tables, requests, limits)
            call = compiled(stage, type(law), held[0].raw, arguments, self.platform, rho)
            return np.asarray(call(*arguments))[slots]

        if in_one_call(self.platform):
            return unpacked(ends(solve, requests), law.size)
        if limits.float32_steps == 0:
            return unpacked(ends(float64_stage, requests), law.size)
        reached = ends(float32_stage, requests)
        begun = np.require(requests.starts, requirements="W")
        begun[0, slots] = going_on(reached, begun[0, slots])
        requests = requests._replace(starts=begun)
        found = unpacked(ends(float64_stage, requests), law.size)
        return found._replace(steps=found.steps + reached[:, -1].astype(np.int32))

    def _weights(self, rows: NDArray[np.intp], count: int) -> tuple[Any, Any, Any]:
        """These rows padded to `count`, a run of each that has a weight, and sums; drawn or sent."""
        shape, dtype = (count, self.n_runs), self.weights.dtype
        if self.drawn is not None:
            return draw(self.drawn, rows, shape, dtype)
        sent = np.asarray(self.weights[rows])
        weights = np.zeros(shape, dtype)
        weights[: len(rows), : sent.shape[1]] = sent
        first = np.argmax(sent > 0, axis=1).astype(np.int32)
        return weights, _padded(first, count), _padded(sent.sum(axis=1, dtype=np.float64), count)


def _compact(weights: NDArray[Any]) -> NDArray[Any]:
    """The same weights as small whole numbers if they are that, as counts of a resample are."""
    if weights.dtype == np.uint8:
        return weights
    with np.errstate(invalid="ignore"):
        small = weights.astype(np.uint8)
    return small if np.array_equal(small, weights) else np.asarray(weights, np.float64)


def _padded(values: NDArray[Any], size: int) -> NDArray[Any]:
    """`values` with the last repeated up to `size` rows."""
    if len(values) == size:
        return values
    return np.concatenate([values, np.broadcast_to(values[-1:], (size - len(values), *values.shape[1:]))])


def _placed(values: NDArray[Any], slots: NDArray[np.intp], size: int) -> NDArray[Any]:
    """Values (L,) at their slots of an array (size,)."""
    found = np.zeros(size, values.dtype)
    found[slots] = values
    return found


def _room(values: Floats, slots: NDArray[np.intp], size: int) -> Floats:
    """Values (K, L, ...) at their slots of an array (MOST_RANKS, size, ...)."""
    found = np.ones((MOST_RANKS, size, *values.shape[2:]))
    found[: len(values), slots] = values
    return found
