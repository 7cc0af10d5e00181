"""Random numbers that are functions of (seed, stream, id) alone.

The CPU kernel draws them where it can be used, JAX elsewhere. The bits are the same, those of Threefry-2x32
in JAX's partitionable layout, whatever the caller's JAX configuration.

Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (SC11); `jax.random`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.solvers.engine_choice import drawing_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 1024


def random_bits(width: int, ids: NDArray[np.uint32], seed: int, stream: int) -> NDArray[np.uint32]:
    """Bits (R, width) for the ids (R,)."""
    kernel = drawing_kernel()
    if kernel is not None:
        return kernel.random_bits(width, ids, seed, stream)
    return _by_jax(np.empty((len(ids), width), np.uint32), ids, seed, stream, False)


def random_counts(n_runs: int, ids: NDArray[np.uint32], seed: int, stream: int) -> NDArray[np.uint8]:
    """How often each of `n_runs` runs comes up in as many draws with replacement, (R, n_runs).

    A run is the high half of bits times n_runs: uniform to n_runs / 2^32, without a second draw.
    """
    kernel = drawing_kernel()
    if kernel is not None:
        return kernel.random_counts(n_runs, ids, seed, stream)
    return _by_jax(np.empty((len(ids), n_runs), np.uint8), ids, seed, stream, True)


def _by_jax(
    found: NDArray[Any], ids: NDArray[np.uint32], seed: int, stream: int, counted: bool
) -> NDArray[Any]:
    from chinchilla_jax._util.float64 import float64_scope

    draw = _jitted(found.shape[1], stream, counted)
    with float64_scope():
        for begin in range(0, len(ids), _CHUNK):
            part = ids[begin : begin + _CHUNK]
            padded = np.resize(part, _CHUNK)  # one shape, compiled once
            found[begin : begin + len(part)] = np.asarray(draw(np.uint32(seed), padded))[: len(part)]
    return found


@functools.cache
def _jitted(width: int, stream: int, counted: bool) -> Any:
    import jax

    row = (
        functools.partial(counts_row, width, width, stream)
        if counted
        else functools.partial(bits_row, width, stream)
    )

    def block(seed: Any, resamples: Any) -> Any:
        with jax.threefry_partitionable(True):
            return jax.vmap(row, (None, 0))(seed, resamples)

    return jax.jit(block)


def bits_row(width: int, stream: int, seed: Any, resample: Any) -> Any:
    """Bits (width,) of one id, in JAX; under `jax.threefry_partitionable`."""
    import jax
    import jax.numpy as jnp

    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), stream)
    return jax.random.bits(jax.random.fold_in(key, resample), (width,), jnp.uint32)


def counts_row(draws: int, n_runs: int, stream: int, seed: Any, resample: Any) -> Any:
    """How often each of `n_runs` comes up in `draws` draws of one id, (n_runs,); likewise."""
    import jax.numpy as jnp

    index = (bits_row(draws, stream, seed, resample).astype(jnp.uint64) * n_runs) >> 32
    return jnp.zeros(n_runs, jnp.int32).at[index].add(1).astype(jnp.uint8)
