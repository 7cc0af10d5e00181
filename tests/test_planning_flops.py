"""FLOP of an architecture: published ratios, a count by hand, and the crossover of attention."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import done, refused, strict_json

from chinchilla_jax import UsageError, planning
from chinchilla_jax.datasets.counting import Architecture, untied

# Table A4 of Hoffmann et al. 2022 (arXiv:2203.15556): parameters and half their last printed digit
# (millions), layers, d_model, ffw_size, heads, kv_size, FLOP ratio.
TABLE_A4 = (
    (73, 0.5, 10, 640, 2560, 10, 64, 1.03),
    (305, 0.5, 20, 1024, 4096, 16, 64, 1.10),
    (552, 0.5, 24, 1280, 5120, 10, 128, 1.08),
    (1100, 50, 26, 1792, 7168, 14, 128, 1.04),
    (1600, 50, 28, 2048, 8192, 16, 128, 1.03),
    (6800, 50, 40, 3584, 14336, 28, 128, 0.99),
)
sizes = st.integers(1, 4096)
architectures = st.builds(
    Architecture,
    d_model=sizes,
    ffw_size=sizes,
    kv_size=st.integers(1, 256),
    n_heads=st.integers(1, 64),
    n_layers=st.integers(1, 100),
    vocab_size=st.integers(1, 10**6),
)


@pytest.mark.parametrize(("millions", "half", "layers", "d", "f", "heads", "kv", "published"), TABLE_A4)
def test_the_published_ratios_are_those_of_the_layers(millions, half, layers, d, f, heads, kv, published):
    architecture = Architecture(
        d_model=d, ffw_size=f, kv_size=kv, n_heads=heads, n_layers=layers, vocab_size=32_000
    )
    whole, alone = planning.flop_ratio(architecture, 1e6 * np.array([millions + half, millions - half]), 2048)
    assert alone[0] < published + 0.005
    assert alone[1] > published - 0.005
    # Counted whole they would be off by more than any rounding.
    assert whole[0] > published + 0.02


def test_one_sequence_counted_by_hand():
    """V 5, d 2, f 3, k 1, h 2, l 1, S 4: the terms of appendix F for the sequence, added up on paper."""
    architecture = Architecture(d_model=2, ffw_size=3, kv_size=1, n_heads=2, n_layers=1, vocab_size=5)
    embedding, logits = 2 * 4 * 5 * 2, 2 * 4 * 2 * 5
    attention = 2 * 3 * 4 * 2 * 2 + 2 * 4 * 4 * 2 + 3 * 2 * 4 * 4 + 2 * 4 * 4 * 2 + 2 * 4 * 2 * 2
    dense = 2 * 4 * (2 * 3 + 2 * 3)
    count = planning.flop_count(architecture, 4)
    assert 4 * float(count.forward) == embedding + attention + dense + logits
    assert 4 * float(count.training) == 3 * (embedding + attention + dense + logits)


@given(architectures)
def test_without_context_training_is_six_flop_per_weight(architecture):
    """With embedding and logits apart, each weight is used once: 2 forward and 4 backward."""
    count = planning.flop_count(architecture, 1)
    weights = float(untied(architecture))
    assert float(count.training - 3 * count.context) == pytest.approx(6 * weights, rel=1e-12)


@given(architectures)
def test_at_the_crossover_both_cost_the_same(architecture):
    for context_only in (False, True):
        length = float(planning.attention_crossover(architecture, context_only=context_only))
        per_token = planning.flop_count(architecture, 1)
        attention = float(per_token.context) * length + (0 if context_only else float(per_token.projections))
        if length > 0:
            assert attention == pytest.approx(float(per_token.feed_forward), rel=1e-9)
        else:
            assert attention >= float(per_token.feed_forward) * (1 - 1e-12)


def test_the_50_models():
    table = planning.flop_ratio_table()
    assert len(table) == 50
    assert (table["ratio"] > table["ratio_layers"]).all()
    assert (table["ratio_layers"].between(0.9, 1.2)).all()
    np.testing.assert_allclose(
        planning.flop_ratio_table(counting="standard", seq_len=4096)["feed_forward"], table["feed_forward"]
    )
    # With f = 4 d and k h = d: attention passes the feed-forward layer near 2 d, its quadratic part near 4 d.
    usual = Architecture(d_model=1024, ffw_size=4096, kv_size=64, n_heads=16, n_layers=1, vocab_size=1)
    assert float(planning.attention_crossover(usual)) == pytest.approx(2 * 1024, rel=0.02)
    assert float(planning.attention_crossover(usual, context_only=True)) == pytest.approx(4 * 1024, rel=0.02)


@pytest.mark.parametrize("seq_len", [0, -1, 2.5, []])
def test_a_length_is_a_positive_whole_number(seq_len):
    with pytest.raises(UsageError, match="seq_len"):
        planning.flop_ratio_table(seq_len=seq_len)


def test_on_the_command_line(tmp_path):
    assert len(strict_json(done("flops", "--json", "--figures", str(tmp_path)))["models"]) == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flop_ratio.png", "flop_ratio.svg"]
    assert "crossover" in done("flops")
    shape = ("--d-model", "1024", "--ffw-size", "4096", "--kv-size", "64", "--n-heads", "16")
    found = strict_json(done("flops", *shape, "--n-layers", "20", "--json"))
    assert found["ratio_layers"] > 1
    assert found["params"] == 32168 * 1024 + 20 * (4 * 1024 * 1024 + 2 * 1024 * 4096)
    assert "attention passes" in done("flops", *shape, "--n-layers", "20")
    assert "leave the architecture out" in refused("flops", *shape, "--n-layers", "2", "--figures", "x")
    assert "--n-layers is missing" in refused("flops", *shape)
    assert "'--n-layers': '0' is not a whole number of at least 1" in refused(
        "flops", *shape, "--n-layers", "0"
    )
    assert "did you mean 'standard'?" in refused("flops", "--counting", "standart")
    assert "'--seq-len': '0' is not a whole number" in refused("flops", "--seq-len", "0")
