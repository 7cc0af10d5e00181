"""Weights that a device draws for itself: ids and a seed, and what to draw from them.

On a GPU the weights of a call are drawn where they are used: a row is a function of a seed and its id. The
host has numbers of them only if it asks. Whole numbers come out with the same bits everywhere; weights that
take a logarithm would not, and are sent.

Notation
    W, n       rows of weights; runs
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax._util.kept_programs import KeptProgram

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Row:
    """How a row of weights is drawn, on a device and on the host.

    Attributes:
        function: of the settings, a seed and an id, in `jax.numpy`: the row (n,), counts below 256.
        on_host: of the settings, ids (W,) and a seed: the same rows (W, n), uint8.
        settings: whatever they depend on besides.
        n_runs: n.
    """

    function: Callable[..., Any]
    on_host: Callable[..., NDArray[np.uint8]]
    settings: tuple[Hashable, ...]
    n_runs: int

    def __call__(self, seed: Any, identity: Any) -> Any:
        """The row (n,) of an id, in JAX."""
        return self.function(*self.settings, seed, identity)

    def rows(self, ids: NDArray[np.uint32], seed: int) -> NDArray[np.uint8]:
        """The rows (W, n) of ids (W,), on the host."""
        return self.on_host(*self.settings, ids, seed)


class Drawn:
    """Weights (W, n) that the device draws; `np.asarray` makes them on the host.

    Attributes:
        row_of: how a row is drawn.
        ids: (W,) of the rows, uint32.
        seed: of all rows.
    """

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, row_of: Row, ids: NDArray[np.uint32], seed: int) -> None:
        """Weights of these ids."""
        self.row_of, self.ids, self.seed = row_of, ids, seed
        self._noted: list[tuple[NDArray[np.intp], Any, Any]] = []

    @property
    def shape(self) -> tuple[int, int]:
        """Of the array: (W, n)."""
        return len(self.ids), self.row_of.n_runs

    def __len__(self) -> int:
        """Number of rows W."""
        return len(self.ids)

    def __getitem__(self, rows: Any) -> Drawn:
        """Those rows; nothing is drawn."""
        return Drawn(self.row_of, self.ids[rows], self.seed)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The rows, drawn on the host."""
        return self.row_of.rows(self.ids, self.seed).astype(dtype or self.dtype, copy=False)

    def note(self, rows: NDArray[np.intp], total: Any, used: Any) -> None:
        """Keep the sums of these rows and their numbers of runs with a weight."""
        self._noted.append((rows, total, used))

    def facts(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Sum and number of runs with a weight of these rows, (R,) each; of the device where it drew them."""
        total, used = np.empty(len(self)), np.full(len(self), -1, np.int32)
        for known, of_total, of_used in self._noted:
            total[known], used[known] = np.asarray(of_total)[: len(known)], np.asarray(of_used)[: len(known)]
        # Not of others: those of later calls the device has yet to draw.
        missing = np.unique(rows[used[rows] < 0])
        if len(missing):
            weights = np.asarray(self[missing])
            total[missing] = weights.sum(axis=1, dtype=np.float64)
            used[missing] = np.count_nonzero(weights, axis=1)
            self.note(missing, total[missing], used[missing])
        return total[rows], used[rows]


Weights: TypeAlias = "NDArray[Any] | Drawn"
"""Weights (W, n), as numbers or as what a device draws."""


def sums(weights: Weights) -> NDArray[np.float64]:
    """The sum of every row, (W,)."""
    if isinstance(weights, Drawn):
        return weights.facts(np.arange(len(weights)))[0]
    return np.asarray(weights.sum(axis=1, dtype=np.float64))


def concatenated(parts: Sequence[Weights]) -> Weights:
    """The rows of several arrays, one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Drawn) and all(
        isinstance(part, Drawn) and (part.row_of, part.seed) == (first.row_of, first.seed) for part in parts
    ):
        return Drawn(first.row_of, np.concatenate([part.ids for part in parts]), first.seed)  # type: ignore[union-attr]
    return np.concatenate([np.asarray(part) for part in parts])


def draw(weights: Drawn, rows: NDArray[np.intp], shape: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Rows of weights drawn by the default device: (W, n), a run of each that has a weight (W,), sums (W,).

    Args:
        weights: how they are drawn; keeps what the host may ask of the rows.
        rows: which of them.
        shape: what they are padded to: rows by repeating the last, runs by zeros.
    """
    ids = weights.ids[rows]
    padded = np.concatenate([ids, np.repeat(ids[-1:], shape[0] - len(ids))])
    with float64_scope():
        program = _drawing(weights.row_of, shape[1])
        found, first, total, used = program(np.uint32(weights.seed), padded)
    weights.note(rows, total, used)
    return found, first, total


@functools.lru_cache(maxsize=64)
def _drawing(row_of: Row, n_runs: int) -> KeptProgram:
    import jax
    import jax.numpy as jnp

    def several(seed: Any, ids: Any) -> tuple[Any, Any, Any, Any]:
        with jax.threefry_partitionable(True):
            rows = jax.vmap(row_of, (None, 0))(seed, ids)
        rows = jnp.pad(rows, ((0, 0), (0, n_runs - rows.shape[1]))).astype(Drawn.dtype)
        first = jnp.argmax(rows > 0, axis=1).astype(jnp.int32)
        used = jnp.sum(rows > 0, axis=1, dtype=jnp.int32)
        return rows, first, jnp.sum(rows, axis=1, dtype=jnp.float64), used

    return KeptProgram(several)
