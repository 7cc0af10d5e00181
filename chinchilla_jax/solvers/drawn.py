"""Weights that a device can draw for itself: numbers of the host, and what to draw to have the same.

On a GPU the weights of a call are drawn where they are used and are not sent there: a row is a function of a
seed and its id. The host keeps its own copy for what it decides, such as the starts. Whole numbers come out
with the same bits everywhere; weights that take a logarithm would not, and are sent.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Row:
    """How a row of weights is drawn.

    Attributes:
        function: of the settings, a seed and an id, in `jax.numpy`: the row (n,), counts below 256.
        settings: whatever it depends on besides.
    """

    function: Callable[..., Any]
    settings: tuple[Hashable, ...]

    def __call__(self, seed: Any, identity: Any) -> Any:
        """The row (n,) of an id."""
        return self.function(*self.settings, seed, identity)


class Drawn(np.ndarray[Any, Any]):
    """Weights (W, n) and how they are drawn. What is computed from them is a plain array that was not.

    Attributes:
        row_of: how a row is drawn; None for other weights.
        ids: (W,) of the rows, uint32.
        seed: of all rows.
    """

    row_of: Row | None = None
    ids: NDArray[np.uint32]
    seed: int

    @classmethod
    def of(cls, weights: NDArray[Any], row_of: Row, ids: NDArray[np.uint32], seed: int) -> Drawn:
        """These weights, with how they are drawn."""
        found = weights.view(cls)
        found.row_of, found.ids, found.seed = row_of, ids, seed
        return found

    def __repr__(self) -> str:
        """As that of any array."""
        return repr(np.asarray(self))

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Plain results of NumPy's functions."""
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def __getitem__(self, key: Any) -> Any:
        """A plain part of the weights."""
        return np.asarray(self)[key]


def draw(weights: Drawn, rows: NDArray[np.intp], shape: tuple[int, int], dtype: Any) -> tuple[Any, Any, Any]:
    """Rows of weights drawn by the default device: (W, n), a run of each that has a weight (W,), sums (W,).

    Args:
        weights: with how they are drawn.
        rows: which of them.
        shape: what they are padded to: rows by repeating the last, runs by zeros.
        dtype: of the weights.
    """
    from chinchilla_jax._util.float64 import float64_scope

    assert weights.row_of is not None
    ids = weights.ids[rows]
    padded = np.concatenate([ids, np.repeat(ids[-1:], shape[0] - len(ids))])
    with float64_scope():
        program = _drawing(weights.row_of, shape[1], np.dtype(dtype))
        found: tuple[Any, Any, Any] = program(np.uint32(weights.seed), padded)
    return found


@functools.lru_cache(maxsize=64)
def _drawing(row_of: Row, n_runs: int, dtype: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def several(seed: Any, ids: Any) -> tuple[Any, Any, Any]:
        with jax.threefry_partitionable(True):
            rows = jax.vmap(row_of, (None, 0))(seed, ids)
        rows = jnp.pad(rows, ((0, 0), (0, n_runs - rows.shape[1]))).astype(dtype)
        first = jnp.argmax(rows > 0, axis=1).astype(jnp.int32)
        return rows, first, jnp.sum(rows, axis=1, dtype=jnp.float64)

    return jax.jit(several)
