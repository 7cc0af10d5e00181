"""The split of the variance, the pooled interval, the facts of a curve and its sentences."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chinchilla_jax import DataError, UsageError
from chinchilla_jax.analysis import (
    choice_effects,
    curve_facts,
    multiverse_sentence,
    pooled_interval,
    split_variance,
)
from chinchilla_jax.analysis.mixture_quantiles import mixture_quantiles


def sample(n=40, resamples=300, seed=0, failing=True):
    rng = np.random.default_rng(seed)
    estimates = 20.0 * np.exp(0.4 * rng.normal(size=n))
    draws = estimates[:, None] * np.exp(0.1 * rng.normal(size=(n, resamples)))
    if failing:
        draws[rng.random(draws.shape) < 0.3 * rng.random((n, 1))] = np.nan
    return estimates, draws


def test_resampling_and_choices_sum_to_the_variance_of_the_pooled_resamples():
    estimates, draws = sample(failing=False)
    split = split_variance(estimates, draws)
    assert split.scale == "log" and (split.n, split.n_left_out, split.n_draws_left_out) == (40, 0, 0)
    assert split.total == pytest.approx(np.var(np.log(draws)))
    assert split.resampling == pytest.approx(0.01, rel=0.05)
    assert split.share_of_choices == pytest.approx(split.choices / split.total)
    # With failures, of the mixture in which each analysis weighs the same.
    estimates, draws = sample()
    split = split_variance(estimates, draws)
    weights = 1.0 / np.sum(np.isfinite(draws), axis=1, keepdims=True) * np.isfinite(draws)
    logs = np.nan_to_num(np.log(draws))
    mean = np.average(logs, weights=weights)
    assert split.total == pytest.approx(np.average((logs - mean) ** 2, weights=weights))
    assert split.n_draws_left_out == np.isnan(draws).sum()


def test_analyses_without_an_estimate_or_two_resamples_are_counted_and_left_out():
    estimates, draws = sample(failing=False)
    expected = split_variance(estimates[2:], draws[2:])
    estimates[0], draws[1, 1:] = np.nan, np.nan
    found = split_variance(estimates, draws)
    assert found.n_left_out == 2 and found.total == pytest.approx(expected.total)
    draws[5, :3] = [0.0, np.inf, np.nan]  # no logarithm
    assert split_variance(estimates, draws).n_draws_left_out == 3
    with pytest.raises(DataError, match="two resamples"):
        split_variance(estimates, draws[:, :1])
    with pytest.raises(DataError, match="40 analyses and draws 39"):
        split_variance(estimates, draws[1:])
    with pytest.raises(UsageError, match="shape"):
        split_variance(estimates, estimates)


def slow_quantile(draws, probability):
    """The smallest value at which the mean over analyses of their distribution functions reaches it."""
    rows = [row[~np.isnan(row)] for row in draws]
    rows = [row for row in rows if len(row)]
    for value in np.unique(np.concatenate(rows)):
        if np.mean([np.mean(row <= value) for row in rows]) >= probability - 1e-12:
            return value
    raise AssertionError


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 9), st.sampled_from([0.5, 0.8, 0.95]))
def test_the_pooled_interval_inverts_the_mean_distribution_function(seed, n, resamples, level):
    rng = np.random.default_rng(seed)
    draws = np.round(rng.normal(size=(n, resamples)), 1)
    draws[rng.random(draws.shape) < 0.3] = np.nan
    draws[rng.random(draws.shape) < 0.05] = np.inf
    if np.isnan(draws).all():
        with pytest.raises(DataError, match="no resample has an answer"):
            pooled_interval(draws, level)
        return
    found = pooled_interval(draws, level)
    assert found.n == np.sum(~np.isnan(draws).all(axis=1))
    tails = ((1 - level) / 2, 0.5, (1 + level) / 2)
    # At a jump of the distribution function rounding decides between two neighbours.
    for got, tail in zip((found.low, found.median, found.high), tails, strict=True):
        assert slow_quantile(draws, tail - 1e-9) <= got <= slow_quantile(draws, min(tail + 1e-9, 1.0))


def test_of_many_resamples_the_pooled_quantiles_are_those_of_numpy():
    rng = np.random.default_rng(0)
    draws = rng.lognormal(size=(300, 500))
    draws[rng.random(draws.shape) < rng.random((300, 1))] = np.nan
    draws[7] = np.nan
    draws[:, 3] = np.round(draws[:, 3])  # ties
    draws[2, 5:40], draws[3, 5:40] = np.inf, -np.inf
    known = ~np.isnan(draws)
    counts = known.sum(axis=1)
    weights = np.repeat(1.0 / np.maximum(counts, 1), counts)
    probabilities = [0.0, 1e-3, 0.1, 0.5, 0.777, 0.9, 0.9999, 1.0]
    expected = np.quantile(draws[known], probabilities[1:-1], weights=weights, method="inverted_cdf")
    found = mixture_quantiles(draws, probabilities)
    assert found[1:-1].tolist() == expected.tolist()
    assert (found[0], found[-1]) == (-np.inf, np.inf)


def test_an_analysis_whose_resamples_often_fail_counts_as_much_as_another():
    draws = np.vstack([np.full(100, 10.0), np.full(100, 30.0)])
    draws[1, 1:] = np.nan
    assert pooled_interval(draws, 0.8).high == 30.0


def test_the_pooled_interval_is_set_beside_that_of_the_default_analysis():
    _, draws = sample(failing=False)
    found = pooled_interval(draws, 0.8, default=3)
    low, high = np.quantile(draws[3], [0.1, 0.9])
    assert (found.default_low, found.default_high) == pytest.approx((low, high))
    assert found.times_as_wide == pytest.approx(math.log(found.high / found.low) / math.log(high / low))
    shifted = pooled_interval(draws - 20.0, 0.8, default=3)
    assert shifted.times_as_wide == pytest.approx((found.high - found.low) / (high - low))
    alone = pooled_interval(draws[3:4], 0.8, default=0)
    assert alone.times_as_wide == pytest.approx(1.0, abs=0.05)
    assert math.isnan(pooled_interval(draws, 0.8).times_as_wide)
    draws[3] = np.nan
    assert math.isnan(pooled_interval(draws, 0.8, default=3).times_as_wide)
    with pytest.raises(UsageError, match="default is 40"):
        pooled_interval(draws, 0.8, default=40)


def test_facts_of_a_curve():
    estimates = np.array([10.0, 20.0, 30.0, np.nan, 40.0, np.inf])
    low, high = estimates - 5.0, estimates + 5.0
    facts = curve_facts(estimates, low=low, high=high, reference=22.0, default=2)
    assert (facts.n, facts.n_failed, facts.lowest, facts.median, facts.highest) == (4, 2, 10.0, 25.0, 40.0)
    assert (facts.share_below, facts.share_above, facts.share_excluding) == (0.25, 0.5, 0.75)
    assert facts.default == 30.0 and facts.default_rank == pytest.approx(2 / 3)
    own = curve_facts(estimates, low=low, high=high, default=0)
    assert own.reference == 10.0 and own.share_above == 0.75
    bare = curve_facts(estimates)
    assert math.isnan(bare.reference) and math.isnan(bare.share_excluding)
    with pytest.raises(DataError, match="one limit for each"):
        curve_facts(estimates, low=low[1:], high=high, reference=1.0)
    with pytest.raises(DataError, match="finite answer"):
        curve_facts([np.nan])


def test_sentences_name_the_mover_the_failures_and_what_resampling_adds():
    table = pd.DataFrame(
        [(law, counting) for law in ("chinchilla", "kaplan") for counting in ("standard", "reported")],
        columns=["law", "counting"],
    )
    estimates = np.array([20.0, 26.0, 22.0, np.nan])
    draws = estimates[:, None] * np.linspace(0.9, 1.1, 101)
    low, high = np.quantile(draws, [0.1, 0.9], axis=1)
    effects = choice_effects(table, estimates)
    text = multiverse_sentence(
        curve_facts(estimates, low=low, high=high, reference=20.0),
        effects,
        answer="the ratio at 1e22 FLOP",
        pooled=pooled_interval(draws, 0.8, default=0),
        split=split_variance(estimates, draws),
    )
    assert text.startswith("Over 3 defensible analyses the ratio at 1e22 FLOP runs from 20 to 26 (median 22,")
    assert f"The counting of parameters moves it most: {effects['share'][0]:.0%} of the variance" in text
    assert "a factor of 1.3 from standard to reported" in text
    assert "times the width of the default analysis by itself (from 18.4 to 21.6)" in text
    assert "67% of the intervals exclude 20 (67% lie above)." in text
    assert text.endswith("1 analysis gave no answer.")
    single = multiverse_sentence(
        curve_facts([7.3e10]), choice_effects(table[:1], [7.3e10]), answer="the size", is_count=True
    )
    assert single == "The one analysis with an answer gives 73B for the size."
