"""Requests as compiled calls take them: which lanes go together, arrays padded to the shapes of a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax.solvers.base import MOST_RANKS
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Floats
    from chinchilla_jax.solvers.base import Problem, SolverOptions
    from chinchilla_jax.solvers.drawn import Weights
    from chinchilla_jax.solvers.jax_newton.rounds import Ends, Limits, Stage, Tables

_LEAST_LANES = 512  # of a call, where there is a choice


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
        from chinchilla_jax.solvers.jax_newton.compiled import devices, sizes
        from chinchilla_jax.solvers.xla_options import padded_runs

        self.problems, self.options, self.platform = problems, options, platform
        self.condition, self.row, self.down, self.up = condition, row, down, up
        self.weights = self._held(weights)
        self.n_runs = padded_runs(weights.shape[1])
        self.sizes = sizes(platform, self.n_runs)
        self.devices = devices(platform)
        one_call_is_serial = platform == "cpu" and self.devices == 1
        self.workers = (options.workers or available_cores()) if one_call_is_serial else 1

    def _held(self, weights: Weights) -> Any:
        """The weights as calls take them: on a CPU of one dtype, and so one program."""
        return np.asarray(weights, np.float64)

    def parts(self, lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Lanes by call: even shares, but not so small that the slowest lanes weigh more than the rest."""
        length = min(self.sizes.lanes * self.devices, max(-(-len(lanes) // self.workers), _LEAST_LANES))
        parts = [lanes[first : first + length] for first in range(0, len(lanes), length)]
        parts = [piece for part in parts for piece in self._few_conditions(part)]
        return [piece for part in parts for piece in self._few_rows(part)]

    def _few_conditions(self, lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Lanes split so that no call has more data sets than it holds."""
        most = self.sizes.conditions
        if len(self.problems) <= most:
            return [lanes]
        new = np.flatnonzero(np.diff(self.condition[lanes])) + 1
        return np.split(lanes, new[most - 1 :: most])

    def _few_rows(self, lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Lanes split so that no call has more rows of weights than it holds."""
        most = self.sizes.rows
        parts: list[NDArray[np.intp]] = []
        while True:
            if min(len(self.weights), len(lanes)) <= most:
                return [*parts, lanes]
            _, first = np.unique(self.row[lanes], return_index=True)
            if len(first) <= most:
                return [*parts, lanes]
            end = np.sort(first)[most]
            parts.append(lanes[:end])
            lanes = lanes[end:]

    def __call__(self, lanes: NDArray[np.intp], starts: Floats, limits: Limits) -> Ends:
        """Fit these of R lanes from starts (K, R, p + 1) in one call; inside `float64_scope`."""
        from chinchilla_jax.solvers.jax_newton.compiled import compiled
        from chinchilla_jax.solvers.jax_newton.rounds import (
            Requests,
            float32_stage,
            float64_stage,
            going_on,
            unpacked,
        )

        count = len(lanes)
        slots, share = self._slots(count, self.sizes.lanes)
        whole = self.sizes.lanes * self.devices
        numbers, condition = numbered(self.condition[lanes], self.sizes.conditions)
        rows, row = numbered(self.row[lanes], self.sizes.rows)
        held = [self.problems[number] for number in numbers]
        sent = self.weights[rows]
        weights = np.zeros((self.sizes.rows, self.n_runs))
        weights[: len(rows), : sent.shape[1]] = sent
        first = np.argmax(sent > 0, axis=1).astype(np.int32)
        described = (weights, _padded(first, len(weights)), _padded(sent.sum(axis=1), len(weights)))
        tables = self._tables(held, described)
        requests = Requests(
            condition=placed(condition.astype(np.int32), slots, whole),
            row=placed(row.astype(np.int32), slots, whole),
            starts=_room(starts[:, lanes], slots, whole),
            down=placed(self.down[lanes], slots, whole),
            up=placed(self.up[lanes], slots, whole),
            n_lanes=self._lanes_of_devices(count, share),
        )
        ENGINE_CALLS.add(count)
        law, rho = held[0].law, getattr(held[0].objective, "rho", None)

        def ends(stage: Stage, requests: Requests) -> Floats:
            arguments = (tables, requests, limits)
            call = compiled(stage, type(law), held[0].raw, arguments, self.platform, rho)
            return np.asarray(call(*arguments))[slots]

        if limits.float32_steps == 0:
            return unpacked(ends(float64_stage, requests), law.size)
        reached = ends(float32_stage, requests)
        requests.starts[0, slots] = going_on(reached, requests.starts[0, slots])
        found = unpacked(ends(float64_stage, requests), law.size)
        return found._replace(steps=found.steps + reached[:, -1].astype(np.int32))

    def _slots(self, count: int, size: int) -> tuple[Any, int]:
        """Where so many lanes are in arrays of `size` per device, and how many each device has."""
        share = -(-count // self.devices)
        if self.devices == 1:
            return slice(0, count), share
        at = np.arange(count)
        return at // share * size + at % share, share

    def _lanes_of_devices(self, count: int, share: int) -> NDArray[np.int32]:
        return np.clip(count - np.arange(self.devices) * share, 0, share).astype(np.int32)

    def _tables(self, held: Sequence[Problem], described: tuple[Any, Any, Any]) -> Tables:
        """These data sets as a call takes them, with weights, a run of each that has one, and sums."""
        from chinchilla_jax.solvers.jax_newton.rounds import Tables

        most = self.sizes.conditions

        def table(rows: Sequence[Floats]) -> Floats:
            return _padded(_padded(np.stack(rows).T, self.n_runs).T, most)

        weights, first, total = described
        return Tables(
            places=tuple(table(rows) for rows in zip(*(p.design.places for p in held), strict=True)),
            log_loss=table([p.design.log_loss for p in held]),
            constants=_padded(np.stack([p.law.constants(p.design) for p in held]), most),
            unit=_padded(np.array([p.loss_unit for p in held]), most),
            weights=weights,
            first=first,
            total=total,
            n_runs=np.float64(self.weights.shape[1]),
            doubtful=np.zeros(most, np.int32),
        )


def numbered(of_lanes: NDArray[Any], most: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Numbers that occur among those of lanes (R,), and which of them each lane has.

    A whole stretch of numbers, which needs no sorting, if it is no longer than the lanes or `most`.
    """
    low = int(of_lanes.min())
    length = int(of_lanes.max()) - low + 1
    if length <= min(len(of_lanes), most):
        return np.arange(low, low + length), of_lanes - low
    numbers, which = np.unique(of_lanes, return_inverse=True)
    return numbers, which


def _padded(values: NDArray[Any], size: int) -> NDArray[Any]:
    """`values` with the last repeated up to `size` rows."""
    if len(values) == size:
        return values
    return np.concatenate([values, np.broadcast_to(values[-1:], (size - len(values), *values.shape[1:]))])


def placed(values: NDArray[Any], slots: Any, size: int) -> NDArray[Any]:
    """Values (L,) at their slots of an array (size,)."""
    found = np.zeros(size, values.dtype)
    found[slots] = values
    return found


def _room(values: Floats, slots: Any, size: int) -> Floats:
    """Values (K, L, ...) at their slots of an array (MOST_RANKS, size, ...)."""
    found = np.ones((MOST_RANKS, size, *values.shape[2:]))
    found[: len(values), slots] = values
    return found
