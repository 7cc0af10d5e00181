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

What the table says against what the paper says (`relative_error_summary()`; relative error is
100 (reported - formula)/reported, with counts rounded to whole millions as there):

- `standard`: mean 7.388%, max 15.245%, min 3.614%: the published 7.4%, 15.2%, 3.6%. Without rounding the
  max is 15.283%, which would be published as 15.3%. All 50 counts differ from the reported ones.
- `best_fit`: max 8.689%, the published 8.7%; the most negative is -3.949%, so the sign does not matter. The
  paper's text says that 6 of the 50 counts differ from the reported ones. In whole millions 21 differ: 14 by
  one million, one by two (11,452 reported, 11,450 counted), and 6 by 26 million or more (reported 664, 816,
  1018, 1266, 2007 and 13,775 million). So 6 is right for counts off by more than 0.3%, not for counts that
  differ at all. The 15 small differences have one sign (the formula is short), as the biases and norms that
  it leaves out would give.
- No count of any rule here ends on exactly half a million, so how halves are rounded does not matter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short, unknown_name

if TYPE_CHECKING:
    import pandas as pd

Count: TypeAlias = int | np.int64 | NDArray[np.int64]
_MILLION = 1_000_000


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
        # int64 wraps around in silence; twice the largest rule leaves room for any of them.
        d, f, k, h, n, v = (value.astype(np.float64) for value in fields.values())
        if np.any(2 * (2 * v * d + n * d * (5 * k * h + 3 * f)) >= 2.0**63):
            raise UsageError("Architecture: a count would exceed the range of int64; check the dimensions")


def _positive_int64(name: str, value: ArrayLike) -> np.int64 | NDArray[np.int64]:
    array = np.array(value)
    if array.dtype.kind not in "iu" or array.ndim > 1 or np.any(array < 1) or np.any(array > 2**62):
        raise UsageError(
            f"Architecture: {name} is {short(value)}; give a positive whole number, or a 1-D array of them"
        )
    array = array.astype(np.int64)
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

    The study finds the 5 by fitting. Relative positions as in Transformer-XL (Dai et al. 2019,
    arXiv:1901.02860) would add a fifth matrix of that shape to each layer.
    """
    return _embedding(architecture) + _layers(architecture, attention=5, feed_forward=2)


def untied(architecture: Architecture) -> Count:
    """2 V d + l (4 d k h + 2 d f): `standard` with an output embedding of its own."""
    return 2 * _embedding(architecture) + _layers(architecture, attention=4, feed_forward=2)


def gated(architecture: Architecture) -> Count:
    """V d + l (4 d k h + 3 d f): `standard` with a gate, so three matrices in the feed-forward layer."""
    return _embedding(architecture) + _layers(architecture, attention=4, feed_forward=3)


def gated_shared_kv(architecture: Architecture) -> Count:
    """V d + l (3 d k h + 3 d f): `gated`, with one matrix for keys and values together.

    "Shared" is read here as keys equal to values in each head (query, key/value, output: three matrices in
    place of four), and not as one key and one value for all heads (multi-query attention), where these two
    would shrink to 2 d k.
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
    return np.rint(np.asarray(count) / _MILLION).astype(np.int64) * _MILLION


def relative_errors(rules: Iterable[str] | None = None, *, rounded: bool = True) -> pd.DataFrame:
    """Every model of Table A9 counted by every rule, against its reported count.

    Args:
        rules: names out of `COUNTING_RULES`; None for all.
        rounded: whether counts are rounded to whole millions first, as in arXiv:2509.23963.

    Returns:
        One row per rule and model, rule by rule in the order given: model (1 to 50, the row of Table A9),
        reported_params and params (counts), rule, relative_error_percent = 100 (reported - params)/reported,
        positive where the rule counts fewer than reported.

    Raises:
        UsageError: a rule is unknown.
    """
    import pandas as pd

    # Imported late: `datasets` is built on the formulas above, and only this table needs it back.
    from chinchilla_jax.datasets.architectures import chinchilla_architectures

    models = chinchilla_architectures()
    reported = models.reported_params
    frames = []
    for name in _known(rules):
        exact = np.asarray(COUNTING_RULES[name](models.architecture))
        params = round_to_millions(exact) if rounded else exact
        columns = {
            "model": np.arange(1, len(models) + 1),
            "reported_params": reported,
            "rule": name,
            "params": params,
            "relative_error_percent": 100.0 * (reported - params) / reported,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def relative_error_summary(rules: Iterable[str] | None = None, *, rounded: bool = True) -> pd.DataFrame:
    """`relative_errors` in one row per rule.

    Returns:
        Columns rule; mean_percent, max_percent and min_percent of the signed relative error;
        max_absolute_percent; and, always in whole millions, n_exact (models counted as reported), n_different
        (the rest) and n_beyond_two_million (those off by more than that).
    """
    import pandas as pd

    rows = []
    for name, group in relative_errors(rules, rounded=rounded).groupby("rule", sort=False):
        percent = group["relative_error_percent"]
        off = np.abs(group["reported_params"].to_numpy() - round_to_millions(group["params"].to_numpy()))
        rows.append(
            {
                "rule": name,
                "mean_percent": percent.mean(),
                "max_percent": percent.max(),
                "min_percent": percent.min(),
                "max_absolute_percent": percent.abs().max(),
                "n_exact": int((off == 0).sum()),
                "n_different": int((off > 0).sum()),
                "n_beyond_two_million": int((off > 2 * _MILLION).sum()),
            }
        )
    return pd.DataFrame(rows)


def _known(rules: Iterable[str] | None) -> list[str]:
    if rules is None:
        return list(COUNTING_RULES)
    names = [rules] if isinstance(rules, str) else list(rules)
    for name in names:
        if name not in COUNTING_RULES:
            raise unknown_name("counting rule", name, COUNTING_RULES)
    if not names:
        raise UsageError(f"no counting rule given; choose from {', '.join(COUNTING_RULES)}")
    return names
