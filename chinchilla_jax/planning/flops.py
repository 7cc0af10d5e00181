"""Training FLOP of a transformer from its architecture, term by term, against the short form 6 N D.

| code     | symbol | shape      | unit                                                          |
|----------|--------|------------|---------------------------------------------------------------|
| seq_len  | S      | () or (m,) | tokens per sequence                                           |
| terms    |        | () or (m,) | FLOP per token of one forward pass                            |
| training |        | () or (m,) | FLOP per token, forward and backward: three times forward     |
| ratio    |        | () or (m,) | training / (6 N)                                              |

Per token, after Hoffmann et al. 2022 (arXiv:2203.15556, appendix F), a multiplication and an addition being
two FLOP, with the dimensions of datasets/counting.py (V, d, f, k, h, l):

    embedding              2 V d                  the look-up, counted as a matrix product
    attention projections  l (6 d k h + 2 k h d)  queries, keys, values; output
    attention over context l (4 S k h + 3 h S)    logits, softmax, reduction: quadratic in S per sequence
    feed-forward           l (4 d f)
    logits                 2 d V
    backward               twice forward

The paper's own ratios (its Table A4: 1.03, 1.10, 1.08, 1.04, 1.03, 0.99 for models of 73M to 6.8B parameters
at S = 2,048) are those of the layers alone, over 6 N D with N as reported: with embedding and logits, which
the appendix lists too, the same six ratios are 1.60 to 1.03. This module gives both.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.validation import whole_array
from chinchilla_jax.datasets.architectures import chinchilla_architectures
from chinchilla_jax.datasets.counting import COUNTING_RULES, Architecture
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN

if TYPE_CHECKING:
    import pandas as pd

CHINCHILLA_SEQ_LEN = 2048
_FORWARD_AND_BACKWARD = 3.0
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlopCount:
    """FLOP per token of one forward pass, by term; each () or (m,), float64.

    Attributes:
        embedding: the look-up, counted as a matrix product.
        projections: queries, keys, values and output of attention.
        context: attention over the context, proportional to its length.
        feed_forward: both matrices of the feed-forward layer.
        logits: the product with the vocabulary.
    """

    embedding: Array
    projections: Array
    context: Array
    feed_forward: Array
    logits: Array

    @property
    def attention(self) -> Array:
        """Projections and context together."""
        return self.projections + self.context

    @property
    def layers(self) -> Array:
        """Attention and feed-forward of all layers, without the vocabulary at either end."""
        return self.attention + self.feed_forward

    @property
    def forward(self) -> Array:
        """All terms."""
        return self.embedding + self.layers + self.logits

    @property
    def training(self) -> Array:
        """All terms, forward and backward."""
        return _FORWARD_AND_BACKWARD * self.forward

    @property
    def layers_training(self) -> Array:
        """The layers alone, forward and backward."""
        return _FORWARD_AND_BACKWARD * self.layers


def flop_count(architecture: Architecture, seq_len: ArrayLike = CHINCHILLA_SEQ_LEN) -> FlopCount:
    """FLOP per token of a forward pass.

    Args:
        architecture: one, or m of them.
        seq_len: tokens per sequence S, () or broadcast against (m,).

    Raises:
        UsageError: a sequence length is not a positive whole number.
    """
    remedy = "give tokens per sequence, a positive whole number"
    s = whole_array("seq_len", seq_len, low=1, remedy=remedy).astype(np.float64)
    d, f, k, h, n, v = (
        np.asarray(each, dtype=np.float64) for each in dataclasses.asdict(architecture).values()
    )
    heads = k * h
    shape = np.broadcast_shapes(s.shape, *(each.shape for each in (d, f, k, h, n, v)))
    terms = {
        "embedding": 2 * v * d,
        "projections": n * (6 * d * heads + 2 * heads * d),
        "context": n * (4 * s * heads + 3 * h * s),
        "feed_forward": n * 4 * d * f,
        "logits": 2 * d * v,
    }
    return FlopCount(**{name: np.broadcast_to(term, shape) for name, term in terms.items()})


def attention_crossover(architecture: Architecture, *, context_only: bool = False) -> Array:
    """Context length S at which attention costs as much as the feed-forward layer, () or (m,).

    Args:
        architecture: one, or m of them.
        context_only: whether to leave the projections out of attention.

    Returns:
        S = (4 d f - 8 d k h) / (4 k h + 3 h), or 4 d f / (4 k h + 3 h) for the context alone; 0 where
        attention costs more at every length.
    """
    d, f, k, h = (
        np.asarray(getattr(architecture, name), dtype=np.float64)
        for name in ("d_model", "ffw_size", "kv_size", "n_heads")
    )
    projections = 0.0 if context_only else 8 * d * k * h
    return np.maximum((4 * d * f - projections) / (4 * k * h + 3 * h), 0.0)


def flop_ratio(
    architecture: Architecture, params: ArrayLike, seq_len: ArrayLike = CHINCHILLA_SEQ_LEN
) -> tuple[Array, Array]:
    """(whole model, layers alone): training FLOP per token over 6 N, for N as given.

    Args:
        architecture: one, or m of them.
        params: N by any counting rule, positive.
        seq_len: tokens per sequence.
    """
    count = flop_count(architecture, seq_len)
    six_n = FLOPS_PER_PARAM_TOKEN * np.asarray(params, dtype=np.float64)
    return count.training / six_n, count.layers_training / six_n


def flop_ratio_table(*, counting: str = "reported", seq_len: int = CHINCHILLA_SEQ_LEN) -> pd.DataFrame:
    """The 50 architectures of Table A9 of Hoffmann et al. 2022: full count against 6 N D.

    Args:
        counting: how N is counted: "reported" or a rule of `datasets.counting.COUNTING_RULES`.
        seq_len: tokens per sequence.

    Returns:
        One row per model: model (1 to 50), params, d_model, n_layers; forward FLOP per token of embedding,
        projections, context, feed_forward, logits; ratio (whole model), ratio_layers (layers alone, as in
        the paper's Table A4); crossover and crossover_context (tokens, see `attention_crossover`).

    Raises:
        UsageError: an unknown counting, or a sequence length that is not a positive whole number.
    """
    import pandas as pd

    models = chinchilla_architectures()
    if counting != "reported" and counting not in COUNTING_RULES:
        raise unknown_name("counting", counting, ("reported", *COUNTING_RULES))
    reported = counting == "reported"
    counted = models.reported_params if reported else COUNTING_RULES[counting](models.architecture)
    n = np.asarray(counted, dtype=np.float64)
    count = flop_count(models.architecture, seq_len)
    whole, layers = flop_ratio(models.architecture, n, seq_len)
    terms = {field.name: getattr(count, field.name) for field in dataclasses.fields(count)}
    return pd.DataFrame(
        {
            "model": np.arange(1, len(models) + 1),
            "params": n,
            "d_model": models.architecture.d_model,
            "n_layers": models.architecture.n_layers,
            **terms,
            "ratio": whole,
            "ratio_layers": layers,
            "crossover": attention_crossover(models.architecture),
            "crossover_context": attention_crossover(models.architecture, context_only=True),
        }
    )
