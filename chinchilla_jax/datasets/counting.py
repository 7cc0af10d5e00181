"""Parameters of a decoder-only transformer from its architecture, by several counting rules.

| code       | symbol | shape      | unit                                                |
|------------|--------|------------|-----------------------------------------------------|
| vocab_size | V      | () or (m,) | tokens in the vocabulary                            |
| d_model    | d      | () or (m,) | width of the residual stream                        |
| ffw_size   | f      | () or (m,) | width of the feed-forward layer                     |
| kv_size    | k      | () or (m,) | width of one head's queries, keys and values        |
| n_heads    | h      | () or (m,) | heads per layer                                     |
| n_layers   | l      | () or (m,) | layers                                              |
| count      | N      | () or (m,) | parameters, exact int64                             |

Sources: the architectures are Table A9 of Hoffmann et al. 2022 (arXiv:2203.15556); `standard`, `best_fit` and
the variants are those of Schaeffer et al. 2025 (arXiv:2509.23963). All leave out biases, norms and positions.

`architectures.relative_error_summary` compares the rules with the counts that were reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import whole_array

Count: TypeAlias = int | np.int64 | NDArray[np.int64]
MILLION = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Architecture:
    """Dimensions of one transformer, or of m of them at once.

    Each field is an integer or an array of integers, positive; arrays broadcast against each other. They are
    stored as int64 (arrays as read-only copies), so that every count is exact.

    Raises:
        UsageError: a field is not a positive whole number, shapes do not fit, or a count would exceed int64.
    """

    d_model: Count
    ffw_size: Count
    kv_size: Count
    n_heads: Count
    n_layers: Count
    vocab_size: Count

    def __post_init__(self) -> None:
        """Convert and check the fields."""
        fields = {
            field.name: _positive_int64(field.name, getattr(self, field.name))
            for field in dataclasses.fields(self)
        }
        try:
            np.broadcast_shapes(*(value.shape for value in fields.values()))
        except ValueError:
            shapes = ", ".join(f"{name} {value.shape}" for name, value in fields.items() if value.shape)
            raise UsageError(
                f"Architecture: shapes do not fit together ({shapes}); give arrays of one length"
            ) from None
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        # int64 wraps around silently; the bound is twice the largest rule.
        d, f, k, h, n, v = (value.astype(np.float64) for value in fields.values())
        if np.any(2 * (2 * v * d + n * d * (5 * k * h + 3 * f)) >= 2.0**63):
            raise UsageError("Architecture: a count would exceed the range of int64; check the dimensions")


def _positive_int64(name: str, value: ArrayLike) -> np.int64 | NDArray[np.int64]:
    remedy = "give a positive whole number, or a 1-D array of them"
    array = whole_array(f"Architecture: {name}", value, low=1, high=2**62, remedy=remedy)
    if array.ndim > 1:
        raise UsageError(f"Architecture: {name} has shape {array.shape}; {remedy}")
    array.setflags(write=False)
    return array[()]  # a zero-dimensional array becomes a plain int64


def _embedding(a: Architecture) -> Count:
    return a.vocab_size * a.d_model


def _layers(a: Architecture, *, attention: int, feed_forward: int) -> Count:
    """Weights of all layers with this many attention and feed-forward matrices in each."""
    per_layer = attention * a.d_model * a.kv_size * a.n_heads + feed_forward * a.d_model * a.ffw_size
    return a.n_layers * per_layer


def standard(architecture: Architecture) -> Count:
    """V d + l (4 d k h + 2 d f): tied embedding; query, key, value and output; a plain feed-forward layer."""
    return _embedding(architecture) + _layers(architecture, attention=4, feed_forward=2)


def best_fit(architecture: Architecture) -> Count:
    """V d + l (5 d k h + 2 d f): the variation of `standard` that comes closest to Table A9.

    The study found the 5 by fitting. Relative positions as in Transformer-XL (Dai et al. 2019,
    arXiv:1901.02860) would add a fifth matrix of that shape to each layer.
    """
    return _embedding(architecture) + _layers(architecture, attention=5, feed_forward=2)


def untied(architecture: Architecture) -> Count:
    """2 V d + l (4 d k h + 2 d f): `standard` with a separate output embedding."""
    return 2 * _embedding(architecture) + _layers(architecture, attention=4, feed_forward=2)


def gated(architecture: Architecture) -> Count:
    """V d + l (4 d k h + 3 d f): `standard` with a gate, so three matrices in the feed-forward layer."""
    return _embedding(architecture) + _layers(architecture, attention=4, feed_forward=3)


def gated_shared_kv(architecture: Architecture) -> Count:
    """V d + l (3 d k h + 3 d f): `gated`, with one matrix for keys and values together.

    "Shared" means keys equal to values in each head (query, key/value, output: three matrices in place of
    four), not one key and one value for all heads (multi-query attention), where the two would take 2 d k.
    """
    return _embedding(architecture) + _layers(architecture, attention=3, feed_forward=3)


def without_embedding(architecture: Architecture) -> Count:
    """`standard` without V d: l (4 d k h + 2 d f), the N of Kaplan et al. 2020 (arXiv:2001.08361)."""
    return _layers(architecture, attention=4, feed_forward=2)


COUNTING_RULES: Mapping[str, Callable[[Architecture], Count]] = MappingProxyType(
    {rule.__name__: rule for rule in (standard, best_fit, untied, gated, gated_shared_kv, without_embedding)}
)


def round_to_millions(count: ArrayLike) -> np.int64 | NDArray[np.int64]:
    """The count in whole millions, still as a plain count (int64); exact halves go to the even million.

    Args:
        count: positive counts, shape () or (m,); exact up to 9e15.
    """
    return np.rint(np.asarray(count) / MILLION).astype(np.int64) * MILLION
