"""Parameter counts against hand counts, against exact integers, and against the published relative errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax.datasets import ArchitectureTable, chinchilla_architectures
from chinchilla_jax.datasets.architectures import relative_error_summary, relative_errors
from chinchilla_jax.datasets.counting import (
    COUNTING_RULES,
    Architecture,
    round_to_millions,
)

TINY = {"d_model": 2, "ffw_size": 3, "kv_size": 5, "n_heads": 7, "n_layers": 11, "vocab_size": 13}


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        ("standard", 26 + 11 * (4 * 70 + 2 * 6)),
        ("best_fit", 26 + 11 * (5 * 70 + 2 * 6)),
        ("untied", 52 + 11 * (4 * 70 + 2 * 6)),
        ("gated", 26 + 11 * (4 * 70 + 3 * 6)),
        ("gated_shared_kv", 26 + 11 * (3 * 70 + 3 * 6)),
        ("without_embedding", 11 * (4 * 70 + 2 * 6)),
    ],
)
def test_each_rule_by_hand(rule, count):
    assert COUNTING_RULES[rule](Architecture(**TINY)) == count


def test_the_registry_holds_exactly_these_rules():
    assert list(COUNTING_RULES) == [
        "standard", "best_fit", "untied", "gated", "gated_shared_kv", "without_embedding",
    ]  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(1, 9000)] * 6), min_size=1, max_size=5),
    st.sampled_from(list(COUNTING_RULES)),
)
def test_arrays_count_as_python_integers_do(rows, rule):
    rows = [(d, f, k % 200 + 1, h % 100 + 1, n % 200 + 1, v) for d, f, k, h, n, v in rows]
    d, f, k, h, n, v = (np.array(column) for column in zip(*rows, strict=True))
    count = COUNTING_RULES[rule](
        Architecture(d_model=d, ffw_size=f, kv_size=k, n_heads=h, n_layers=n, vocab_size=v)
    )
    assert count.dtype == np.int64
    embedding = {"untied": 2, "without_embedding": 0}.get(rule, 1)
    attention = {"best_fit": 5, "gated_shared_kv": 3}.get(rule, 4)
    feed_forward = 3 if "gated" in rule else 2
    by_hand = [
        embedding * v * d + n * (attention * d * k * h + feed_forward * d * f) for d, f, k, h, n, v in rows
    ]
    assert count.tolist() == by_hand


@pytest.mark.parametrize("bad", [0, -1, 1.5, 2.0, "4", None, [1, 0], [[1]], 2**63, True])
def test_architecture_refuses_what_is_not_a_positive_whole_number(bad):
    with pytest.raises(UsageError, match="n_heads"):
        Architecture(**{**TINY, "n_heads": bad})


def test_architecture_refuses_shapes_that_do_not_fit_and_counts_beyond_int64():
    with pytest.raises(UsageError, match=r"n_heads \(2,\).*n_layers \(3,\)"):
        Architecture(**{**TINY, "n_heads": [1, 2], "n_layers": [1, 2, 3]})
    with pytest.raises(UsageError, match="int64"):
        Architecture(**{**TINY, "d_model": 10**9, "n_layers": 10**9})


def test_architecture_arrays_are_read_only_copies():
    heads = np.array([1, 2])
    architecture = Architecture(**{**TINY, "n_heads": heads})
    heads[0] = 9
    assert architecture.n_heads.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        architecture.n_heads[0] = 9


# Published in Schaeffer et al. 2025 (arXiv:2509.23963), to one decimal.
def test_published_relative_errors_of_the_standard_rule():
    row = relative_error_summary(["standard"]).iloc[0]
    assert round(row.mean_percent, 1) == 7.4
    assert round(row.max_percent, 1) == 15.2
    assert round(row.min_percent, 1) == 3.6
    assert (row.n_exact, row.n_different) == (0, 50)
    # The published maximum is that of the rounded counts.
    assert round(relative_error_summary(["standard"], rounded=False).iloc[0].max_percent, 1) == 15.3


def test_published_maximum_of_the_best_fit_rule_and_what_the_text_says_about_it():
    row = relative_error_summary(["best_fit"]).iloc[0]
    assert round(row.max_percent, 1) == round(row.max_absolute_percent, 1) == 8.7
    # "6 of 50 differ" in the text: 21 differ, 6 of them by more than two million (and by more than 0.3%).
    assert (row.n_exact, row.n_different, row.n_beyond_two_million) == (29, 21, 6)
    table = relative_errors(["best_fit"])
    off = table[table.params != table.reported_params]
    assert (off.relative_error_percent.abs() > 0.3).sum() == 6
    small = (off.reported_params - off.params)[off.relative_error_percent.abs() < 0.3]
    assert sorted(small // 10**6) == [1] * 14 + [2]


def test_no_count_ends_on_exactly_half_a_million():
    architecture = chinchilla_architectures().architecture
    for name, rule in COUNTING_RULES.items():
        assert not np.any(rule(architecture) % 1_000_000 == 500_000), name


def test_relative_errors_has_one_row_per_rule_and_model_and_keeps_the_order():
    table = relative_errors(["untied", "standard"], rounded=False)
    assert table.rule.tolist() == ["untied"] * 50 + ["standard"] * 50
    assert table.model.tolist() == [*range(1, 51)] * 2
    first = table.iloc[50]
    assert (first.reported_params, first.params) == (
        44_000_000,
        32168 * 512 + 8 * (4 * 512 * 512 + 2 * 512 * 2048),
    )
    assert first.relative_error_percent == pytest.approx(100 * (44e6 - first.params) / 44e6)
    assert len(relative_errors()) == 300
    assert relative_error_summary().rule.tolist() == list(COUNTING_RULES)
    assert relative_errors("standard").rule.unique().tolist() == ["standard"]


def test_unknown_rule_names_the_nearest():
    with pytest.raises(UsageError, match=r"'bestfit'; did you mean 'best_fit'\?.*without_embedding"):
        relative_errors(["bestfit"])
    with pytest.raises(UsageError, match="no counting rule"):
        relative_errors([])


def test_rounding_to_millions():
    assert round_to_millions([1_499_999, 1_500_000, 1_500_001, 2_500_000]).tolist() == [1e6, 2e6, 2e6, 2e6]
    assert round_to_millions(44_400_000) == 44_000_000
    assert round_to_millions(2**40).dtype == np.int64


def test_table_a9_is_complete_and_joins_by_whole_millions_only():
    models = chinchilla_architectures()
    assert len(models) == len(np.unique(models.reported_params)) == 50
    assert models.reported_params[[0, -1]].tolist() == [44_000_000, 16_183_000_000]
    assert models.to_frame().shape == (50, 7)
    assert set(models.to_frame().vocab_size) == {32168}
    assert models.rows([57_400_000.0, 16_182_600_000.0]).tolist() == [1, 49]
    assert models.rows(models.reported_params).tolist() == list(range(50))
    shuffled = ArchitectureTable(np.array([3, 1, 2]) * 10**6, Architecture(**TINY))
    assert shuffled.rows([1.1e6, 2.9e6, 2e6]).tolist() == [1, 0, 2]
    with pytest.raises(DataError, match=r"5\.76e"):
        models.rows([57e6, 57.6e6])
    with pytest.raises(ValueError, match="read-only"):
        models.reported_params[0] = 1
