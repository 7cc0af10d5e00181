"""The batched Newton method as XLA runs it: one compiled call per chunk of lanes, see xla/stages.py."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.solvers.engine import ENGINE_CALLS, EngineResult
from chinchilla_jax.solvers.xla import stages
from chinchilla_jax.solvers.xla.moments import Columns
from chinchilla_jax.solvers.xla.newton import Lanes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.solvers.base import SolverOptions
    from chinchilla_jax.solvers.batch import Batch

# Lanes per call and per tile. On the CPU a tile's state stays in the cache, and a call is the unit
# of work of a thread; elsewhere a tile fills the device.
_SHAPES = {"cpu": (4096, 32)}
_SHAPES_ELSEWHERE = (65536, 16384)
_MOST_WEIGHTS = 2**24  # in a call
_LEAST_LANES = 512  # of a call, where there is a choice


@functools.cache
def _compiled(tile: int) -> Callable[..., Any]:
    """The compiled call, its lanes shared out over all local devices."""
    solve: Callable[..., Any] = functools.partial(stages.solve, tile=tile)
    devices = jax.local_devices()
    if len(devices) > 1:
        lanes, shared = PartitionSpec("lanes"), PartitionSpec()
        vectors = PartitionSpec(None, "lanes")
        batch = stages.Batch(lanes, Columns(shared, shared, shared), lanes, lanes, lanes)
        specs: Any = (vectors if name in ("theta", "anchor", "step") else lanes for name in Lanes._fields)
        # Every device goes through its own lanes at its own pace: nothing is exchanged.
        solve = jax.shard_map(
            solve,
            mesh=Mesh(np.array(devices), ("lanes",)),
            in_specs=(batch, vectors, shared, lanes, stages.Limits(*(shared,) * 4)),
            out_specs=(Lanes(*specs), lanes),
            check_vma=False,
        )
    # Sums over the runs become vector arithmetic only if their order may change. Calls are the unit of
    # parallel work on the CPU; XLA's own threads inside one only get in the way.
    on_cpu = {"xla_cpu_enable_fast_math": True, "xla_cpu_multi_thread_eigen": False}
    return jax.jit(solve, compiler_options=on_cpu if jax.default_backend() == "cpu" else None)


class XlaEngine:
    """One compiled call: pads the lanes, runs the stages, and takes the results back."""

    def __init__(self, n_runs: int, options: SolverOptions, most_ranks: int) -> None:
        """Take the size of a table and the limits; `most_ranks` starts are compiled for, fewer are padded."""
        backend = jax.default_backend()
        self.devices = jax.local_device_count()
        self.size, tile = _SHAPES.get(backend, _SHAPES_ELSEWHERE)
        # A large table in fewer lanes: the weights of a call stay within some megabytes.
        while self.size > tile and self.size * n_runs > _MOST_WEIGHTS:
            self.size //= 2
        self.solve = _compiled(tile)
        one_call_is_serial = backend == "cpu" and self.devices == 1
        self.workers = (options.workers or available_cores()) if one_call_is_serial else 1
        self.most_ranks = most_ranks
        self.limits = stages.Limits(
            tolerance=np.float64(options.tolerance),
            float32_steps=np.int32(options.float32_steps),
            float64_steps=np.int32(options.float64_steps),
            search_after=np.int32(options.search_after),
        )

    def lanes_per_call(self, count: int) -> int:
        """Even shares, but not so small that the slowest lanes of each call weigh more than the rest."""
        return min(self.size * self.devices, max(-(-count // self.workers), _LEAST_LANES))

    def __call__(
        self,
        batch: Batch,
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        first_width: NDArray[np.float64],
    ) -> EngineResult:
        """Fit R lanes, the data sets in turn. See `Engine`."""
        parts, places = [], []
        for problem, lanes in batch.data_sets():
            design, mine = problem.design, batch[lanes]
            columns = Columns(design.log_params, design.log_tokens, design.log_loss)
            parts.append(self._fit(columns, mine.own, starts[:, lanes], widths[lanes], first_width[lanes]))
            places.append(np.arange(len(batch))[lanes])
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(np.concatenate(places), kind="stable")
        return EngineResult(*(np.concatenate(column)[back] for column in zip(*parts, strict=True)))

    def _fit(
        self,
        columns: Columns,
        weights: NDArray[Any],
        starts: NDArray[np.float64],
        widths: NDArray[np.float64],
        first_width: NDArray[np.float64],
    ) -> EngineResult:
        """Fit R lanes of one data set: weights (R, n) or (1, n)."""
        ENGINE_CALLS.add(len(widths))
        ranks, count = starts.shape[:2]
        # Each device has `share` lanes and padding up to `size`; `slots` is where the lanes are.
        share = -(-count // self.devices)
        device, place = np.divmod(np.arange(self.devices * self.size), self.size)
        lanes = np.minimum(device * share + np.minimum(place, share - 1), count - 1)
        slots = np.arange(count) // share * self.size + np.arange(count) % share
        n_lanes = np.clip(count - np.arange(self.devices) * share, 0, share).astype(np.int32)
        padded = np.zeros((self.most_ranks, len(lanes), 5))
        padded[:ranks] = starts[:, lanes]
        rows = np.zeros_like(lanes) if len(weights) == 1 else lanes
        with float64_scope():
            total = weights.sum(axis=1, dtype=np.float64)
            batch = stages.Batch(weights[rows], columns, total[rows], widths[lanes], n_lanes)
            outcome = self.solve(batch, padded, np.int32(ranks), first_width[lanes], self.limits)
            state, steps = jax.tree.map(lambda x: np.asarray(x)[..., slots], outcome)
        return EngineResult(
            theta=state.theta.T,
            anchor=state.anchor.T,
            anchor_value=state.anchor_value,
            decrement=state.decrement,
            width=state.width,
            status=state.status,
            steps=steps + state.steps,
        )
