"""Order statistics of lines against the plain sort of all values at every place."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chinchilla_jax.intervals import line_order
from chinchilla_jax.intervals.line_order import Stretches, line_order_statistics
from chinchilla_jax.solvers.lane_kernel.loading import load_kernel


def by_sorting(slope, intercept, x, ranks):
    """The slow and obvious way."""
    return np.sort(np.multiply.outer(x, slope) + intercept, axis=1)[:, ranks].T


def assert_same(slope, intercept, x, ranks, stretches=None):
    slope, intercept, x = (np.asarray(each, dtype=float) for each in (slope, intercept, x))
    with np.errstate(over="ignore"):
        expected = by_sorting(slope, intercept, x, ranks)
    for kernel in (None, load_kernel()) if stretches is None else (None,):
        with (
            np.errstate(over="ignore"),
            mock.patch.object(line_order, "_loaded_kernel", lambda it=kernel: it),
        ):
            found = line_order_statistics(slope, intercept, x, ranks, stretches=stretches or Stretches())
        assert np.array_equal(found, expected)  # the same bits; only a zero may have either sign


def always(count, margin):
    """Stretches however few lines and places there are."""
    return Stretches(count=count, margin=margin, least_places=2, least_lines=1, least_inside=1)


whole = st.integers(-3, 3).map(float)  # ties, parallel lines, lines through one point
plain = st.floats(-100, 100)
huge = st.sampled_from([0.0, 1e-310, -1e-200, 1e-9, 1.0, -1e9, 1e100, -1e150, 1e307, -1e307])
beyond = st.sampled_from([np.inf, -np.inf]).map(lambda intercept: (0.0, intercept))


@st.composite
def lines(draw):
    numbers = draw(st.sampled_from([whole, plain, huge, st.just(0.5)]))
    line = st.tuples(numbers, numbers)
    kinds = st.one_of(line, line, line, beyond) if draw(st.booleans()) else line
    return np.array(draw(st.lists(kinds, min_size=1, max_size=50))).T


@settings(max_examples=400)
@given(
    lines(),
    st.lists(st.one_of(whole, plain), min_size=1, max_size=40),
    st.data(),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.05, 0.2]),
)
def test_any_lines_at_any_places(lines, x, data, stretches, margin):
    slope, intercept = lines
    ranks = sorted(data.draw(st.sets(st.integers(0, slope.size - 1), min_size=1, max_size=6)))
    assert_same(slope, intercept, x, ranks, always(stretches, margin))
    assert_same(slope, intercept, x, ranks)


def test_no_places():
    with mock.patch.object(line_order, "_loaded_kernel", side_effect=AssertionError):  # it would write there
        found = line_order_statistics(np.ones(5), np.arange(5.0), np.empty(0), [0, 3])
    assert found.shape == (2, 0)


def test_lines_that_leave_the_range_of_float64():
    rng = np.random.default_rng(0)
    slope, intercept = 10.0 ** rng.uniform(-300, 306, (2, 2000)) * rng.choice([-1, 1], (2, 2000))
    assert_same(slope, intercept, np.linspace(-60, 500, 100), [0, 199, 200, 1000, 1999])


def cloud(kind, n, rng):
    slope, intercept = 0.04 * rng.standard_normal((2, n))
    if kind == "heavy tails":
        slope, intercept = 0.04 * rng.standard_cauchy((2, n))
    elif kind == "two clusters":
        slope += 0.5 * (rng.random(n) < 0.3)
    elif kind == "rounded":
        slope, intercept = slope.round(2), intercept.round(1)
    elif kind == "parallel":
        slope[:] = 0.04
    elif kind == "one point":
        intercept = 0 * slope
    elif kind == "all equal":
        slope[:], intercept[:] = 0.04, 3
    elif kind == "some infinite":
        slope[: n // 5] = 0
        intercept[: n // 5] = np.where(rng.random(n // 5) < 0.5, np.inf, -np.inf)
    return slope, intercept - 43 * slope  # they meet at x = 43, as the laws do near the budgets of the runs


KINDS = (
    "normal",
    "heavy tails",
    "two clusters",
    "rounded",
    "parallel",
    "one point",
    "all equal",
    "some infinite",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [501, 4000])
def test_clouds_of_lines(kind, n):
    rng = np.random.default_rng(n)
    slope, intercept = cloud(kind, n, rng)
    x = np.linspace(39.6, 62.7, 201)
    ranks = sorted({0, n - 1, *(int(share * n) + one for share in (0.005, 0.1, 0.5, 0.9) for one in (0, 1))})
    for places in (x, rng.permutation(np.concatenate([x, x[::3]])), x[:40], x[100:140], x - 43):
        assert_same(slope, intercept, places, ranks)
    # Chords so wide and near that the curves between leave them, and lines that are below one end only.
    for stretches in (always(1, 0.0), always(2, 0.05)):
        for some in (ranks, *([rank] for rank in ranks)):
            assert_same(slope, intercept, x[::5], some, stretches)


@pytest.mark.parametrize("spread", [1e-14, 1e-13])
def test_lines_that_differ_by_little_more_than_rounding(spread):
    x = np.linspace(39.6, 62.7, 201)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        slope, intercept = 0.7 + 1e-15 * rng.standard_normal(501), 3 + spread * rng.standard_normal(501)
        assert_same(slope, intercept, x, [50, 250, 251, 450], always(2, 0.0))


def test_few_lines_are_evaluated_between_the_ends():
    n, x = 4000, np.linspace(39.6, 62.7, 201)
    slope, intercept = cloud("normal", n, np.random.default_rng(0))
    ranks = [399, 400, 1999, 2000, 3599, 3600]
    evaluated = []
    evaluate = line_order._evaluate

    def counting(slope, intercept, x, *rest):
        evaluated.append(slope.size * x.size)
        evaluate(slope, intercept, x, *rest)

    with (
        mock.patch.object(line_order, "_evaluate", counting),
        mock.patch.object(line_order, "_loaded_kernel", lambda: None),
    ):
        found = line_order_statistics(slope, intercept, x, ranks)
    assert np.array_equal(found, by_sorting(slope, intercept, x, ranks))
    assert sum(evaluated) < 0.4 * n * x.size  # over three groups of ranks
