"""Random bits, and resample counts drawn with them: Threefry-2x32, bit for bit the same as `jax.random`.

Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (SC11); twenty rounds, rotations of
their table 2. Keys are JAX's: a seed is the key (0, seed), and folding in a number encrypts (0, number) with
the key. The bits at a place are the two halves of the encrypted (0, place), combined by exclusive or.
"""

from __future__ import annotations

import numpy as np

from chinchilla_jax.solvers.lane_kernel.compiling import inner

_ROTATIONS = np.array([[13, 15, 26, 6], [17, 29, 16, 24]], np.uint32)
_PARITY = np.uint32(0x1BD11BDA)


@inner()
def _encrypt(first, second, x, y):
    """Encrypt each (0, y[i]) with the key (first, second), in place; x and y are (n,) uint32.

    The outer loops are over rounds, the inner ones over numbers: unrolled rounds cost LLVM a second and gain
    nothing.
    """
    third = np.uint32(np.uint32(first ^ second) ^ _PARITY)
    for i in range(np.uint64(len(y))):
        x[i], y[i] = first, np.uint32(y[i] + second)
    for group in range(5):
        first, second, third = second, third, first
        for k in range(4):
            turn = _ROTATIONS[group % 2, k]
            back = np.uint32(np.uint32(32) - turn)
            for i in range(np.uint64(len(y))):
                x[i] = np.uint32(x[i] + y[i])
                y[i] = np.uint32(np.uint32(np.uint32(y[i] << turn) | np.uint32(y[i] >> back)) ^ x[i])
        for i in range(np.uint64(len(y))):
            x[i], y[i] = np.uint32(x[i] + first), np.uint32(y[i] + np.uint32(second + np.uint32(group + 1)))


@inner()
def draw_bits(seed, stream, resample, bits, scratch):
    """Random bits of one resample, into `bits` (n,) uint32; `scratch` has the same shape."""
    first, second = np.uint32(0), seed
    for number in (stream, resample):
        bits[0] = number
        _encrypt(first, second, scratch[:1], bits[:1])
        first, second = scratch[0], bits[0]
    for i in range(np.uint64(len(bits))):
        bits[i] = i
    _encrypt(first, second, scratch, bits)
    for i in range(np.uint64(len(bits))):
        bits[i] ^= scratch[i]


@inner()
def count(bits, counts):
    """How often each run is drawn, into `counts` (n,): the high half of bits times n is the run's number."""
    n = np.uint64(len(counts))
    for i in range(n):
        counts[i] = 0
    for i in range(np.uint64(len(bits))):
        counts[(np.uint64(bits[i]) * n) >> np.uint64(32)] += 1
