"""Resampling and bootstrap: paired, reproducible, certified, and exact where theory is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.resample_fits import fit_resamples
from chinchilla_jax.bootstrapping.weights import PILOT, resample_weights
from chinchilla_jax.solvers import Problem, Solution, SolverOptions
from chinchilla_jax.solvers.batch import Batch
from chinchilla_jax.solvers.dispatch import solve_widths
from chinchilla_jax.solvers.huber_scale import solve_huber_scale

RESAMPLES = 150


@pytest.fixture(scope="module")
def runs() -> cj.Runs:
    return cj.load_runs("chinchilla", params="standard")


@pytest.fixture(scope="module")
def weights(runs: cj.Runs) -> np.ndarray:
    return resample_weights(len(runs), np.arange(RESAMPLES), 0)


def _boot(runs: cj.Runs, weights: np.ndarray, **options: object) -> cj.BootstrapResult:
    point = cj.fit(runs, starts=48)
    return fit_resamples(runs, weights=weights, point=point, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain(runs: cj.Runs, weights: np.ndarray) -> cj.BootstrapResult:
    return _boot(runs, weights)


def test_weights_count_draws() -> None:
    weights = resample_weights(37, np.arange(500), 5)
    assert weights.shape == (500, 37)
    assert (weights.sum(axis=1) == 37).all()
    # Each count is Binomial(37, 1/37): a chi-square over the pooled histogram.
    seen = np.bincount(np.minimum(weights.ravel(), 5), minlength=6)
    expected = stats.binom.pmf(np.arange(5), 37, 1 / 37) * weights.size
    expected = np.append(expected, weights.size - expected.sum())
    assert stats.chisquare(seen, expected).pvalue > 1e-4


def test_weights_are_a_function_of_seed_and_id_alone() -> None:
    ids = np.array([7, 3, 2999, 0, 7])
    every = resample_weights(240, np.arange(3000), 11)
    np.testing.assert_array_equal(resample_weights(240, ids, 11), every[ids])
    assert not np.array_equal(resample_weights(240, ids, 12), every[ids])
    assert not np.array_equal(resample_weights(240, ids, 11, stream=PILOT), every[ids])


def test_weights_are_pinned() -> None:
    """These numbers define every bootstrap of this package: a change changes every published figure."""
    np.testing.assert_array_equal(resample_weights(12, np.arange(2), 0), PINNED)


def test_bad_seed_is_named() -> None:
    with pytest.raises(cj.UsageError, match="seed is -1"):
        resample_weights(10, np.arange(2), -1)


def test_every_lane_is_certified(plain: cj.BootstrapResult) -> None:
    assert plain.counts() == {
        "CONVERGED": RESAMPLES,
        "MAX_STEPS": 0,
        "UNIDENTIFIED": 0,
        "INVALID": 0,
        "BOUNDARY": 0,
    }
    assert plain.decrement.max() <= 1e-12
    assert np.isfinite(plain.to_frame().drop(columns="status").to_numpy(dtype=float)).all()


@pytest.mark.parametrize("factor", [1e-3, 250.0])
def test_multiplicative_identity_on_every_resample(
    runs: cj.Runs, weights: np.ndarray, plain: cj.BootstrapResult, factor: float
) -> None:
    shifted = _boot(cj.Multiplicative(factor).apply(runs), weights)
    assert shifted.converged.all()
    for name in ("E", "B", "alpha", "beta"):
        np.testing.assert_allclose(getattr(shifted.laws, name), getattr(plain.laws, name), rtol=1e-5)
    np.testing.assert_allclose(shifted.laws.A, plain.laws.A * factor**plain.laws.alpha, rtol=1e-4)


@pytest.mark.parametrize("slope", [10**-0.5, 10**0.5])
def test_bias_identity_on_every_resample(
    runs: cj.Runs, weights: np.ndarray, plain: cj.BootstrapResult, slope: float
) -> None:
    bent = _boot(cj.SystematicBias(slope).apply(runs), weights)
    assert bent.converged.all()
    for name in ("E", "B", "beta"):
        np.testing.assert_allclose(getattr(bent.laws, name), getattr(plain.laws, name), rtol=1e-5)
    np.testing.assert_allclose(bent.laws.alpha, plain.laws.alpha / slope, rtol=1e-5)


def test_more_resamples_change_none_of_the_first(runs: cj.Runs) -> None:
    point = cj.fit(runs, starts=48)
    few = cj.bootstrap(runs, resamples=40, seed=3, point=point)
    many = cj.bootstrap(runs, resamples=300, seed=3, point=point)
    for name in ("E", "A", "B", "alpha", "beta"):
        # In blocks of other shapes: 1e-9, which lanes left at the first certified point missed by 1e-6.
        np.testing.assert_allclose(getattr(many.laws, name)[:40], getattr(few.laws, name), rtol=1e-9)


def test_an_uncertified_point_fit_does_not_make_resamples_invalid(runs: cj.Runs) -> None:
    point = cj.fit(runs, starts=8, options=SolverOptions(max_steps=1))
    assert point.status is cj.Status.MAX_STEPS
    boot = cj.bootstrap(runs, resamples=20, point=point)
    assert boot.counts()["CONVERGED"] == 20


def test_float64_is_float64_from_several_starts_too(runs: cj.Runs, weights: np.ndarray) -> None:
    noisy = cj.LogNormalNoise(2.5).apply(runs)
    slow = _boot(noisy, weights[:60], options=SolverOptions(precision="float64"))
    fast = _boot(noisy, weights[:60])
    both = slow.converged & fast.converged
    assert both.sum() > 20
    assert np.mean(np.abs(slow.objective_value / fast.objective_value - 1)[both] < 1e-9) > 0.8


def test_workers_and_precision_do_not_change_the_answer(
    runs: cj.Runs, weights: np.ndarray, plain: cj.BootstrapResult
) -> None:
    again = _boot(runs, weights, options=SolverOptions(workers=1))
    np.testing.assert_array_equal(again.laws.alpha, plain.laws.alpha)
    slow = _boot(runs, weights, options=SolverOptions(precision="float64"))
    np.testing.assert_allclose(slow.objective_value, plain.objective_value, rtol=1e-9)


def test_invalid_counts_are_named(runs: cj.Runs, weights: np.ndarray) -> None:
    broken = _boot(cj.Additive(-1e9).apply(runs), weights)
    assert broken.counts()["INVALID"] == RESAMPLES
    assert broken.point.status is cj.Status.INVALID
    assert "not positive" in broken.point.status.sentence
    assert broken.standard_errors()["n_failed"].eq(RESAMPLES).all()


def test_published_standard_errors() -> None:
    """Besiroglu et al. 2024: A (124.58), B (1293.23), E (0.03), alpha (0.02), beta (0.02)."""
    boot = cj.bootstrap(cj.load_runs("chinchilla"), resamples=1000, seed=0)
    error = boot.standard_errors().set_index("parameter")["standard_error"]
    assert error["A"] == pytest.approx(124.58, rel=0.12)
    assert error["B"] == pytest.approx(1293.23, rel=0.15)
    # Published to one digit; each bound is half a unit of it, plus the Monte-Carlo error of 1,000 resamples.
    assert error["E"] == pytest.approx(0.03, abs=0.0065)
    assert error["alpha"] == pytest.approx(0.02, abs=0.006) and error["beta"] == pytest.approx(
        0.02, abs=0.006
    )


def test_huber_scale_bootstrap_is_certified(runs: cj.Runs) -> None:
    boot = cj.bootstrap(runs, resamples=40, objective=cj.HuberScale(), point=None)
    assert boot.converged.mean() > 0.9
    assert boot.point.objective == cj.HuberScale()


def test_few_calls_of_huber_scale_end_where_all_do(
    runs: cj.Runs, weights: np.ndarray, plain: cj.BootstrapResult
) -> None:
    """A lane from the bound that has joined another is not narrowed again."""
    problem = Problem(law=plain.point.model, design=plain.design, objective=cj.HuberScale())
    batch = Batch.of(problem, weights[:20], 20)
    lanes: list[int] = []

    def counted(batch: Batch, *others: Any, **options: Any) -> Solution:
        lanes[-1] += len(batch)
        return solve_widths(batch, *others, **options)

    def ends(few_calls: bool) -> Solution:
        lanes.append(0)
        starts = [plain.solution.theta[:20]]
        return solve_huber_scale(batch, starts, solve_widths=counted, few_calls=few_calls)

    every, few = ends(False), ends(True)
    np.testing.assert_allclose(few.objective_value, every.objective_value, rtol=1e-12)
    np.testing.assert_array_equal(few.status, every.status)
    assert lanes[1] < 0.8 * lanes[0]


def test_one_estimator_per_bootstrap(runs: cj.Runs, plain: cj.BootstrapResult) -> None:
    with pytest.raises(cj.UsageError, match="one estimator"):
        cj.bootstrap(runs, resamples=10, objective=cj.HuberScale(), point=plain.point)
    with pytest.raises(cj.UsageError, match="mixes two estimators"):
        plain.interval(method="besiroglu2024")
    with pytest.raises(cj.UsageError, match="resamples is 1"):
        cj.bootstrap(runs, resamples=1)


PINNED = np.array(
    [[1, 0, 3, 2, 1, 0, 1, 1, 1, 1, 0, 1], [1, 4, 1, 0, 1, 1, 1, 1, 0, 2, 0, 0]], dtype=np.uint8
)


def test_blocks_of_resamples_change_nothing(runs, monkeypatch):
    whole = cj.bootstrap(runs, resamples=50, seed=3)
    monkeypatch.setattr("chinchilla_jax.bootstrapping.resample_fits._MOST_BLOCK", 16)
    parts = cj.bootstrap(runs, resamples=50, seed=3)
    np.testing.assert_array_equal(parts.objective_value, whole.objective_value)
    np.testing.assert_array_equal(parts.laws.A, whole.laws.A)
    np.testing.assert_array_equal(parts.status, whole.status)
    assert parts.counts() == whole.counts()
    assert sum(whole.counts().values()) == 50


def test_fewer_resamples_are_the_first_of_more(runs):
    few, more = cj.bootstrap(runs, resamples=20, seed=3), cj.bootstrap(runs, resamples=50, seed=3)
    np.testing.assert_array_equal(few.laws.B, more.laws.B[:20])
    np.testing.assert_array_equal(few.decrement, more.decrement[:20])


def test_results_are_shown_in_a_line():
    runs = cj.load_runs("chinchilla")
    point = cj.fit(runs, starts=16)
    shown = repr(point)
    assert "CONVERGED" in shown and "240 runs" in shown and len(shown) < 250
    boot = cj.bootstrap(runs, resamples=20, point=point)
    assert repr(boot).startswith("<BootstrapResult of 20 resamples: 20 CONVERGED; point ")
    assert len(repr(boot)) < 250


def test_a_point_fit_of_other_runs_is_refused() -> None:
    standard, reported = (cj.load_runs("chinchilla", params=name) for name in ("standard", "reported"))
    point = cj.fit(reported, starts=8)
    with pytest.raises(cj.UsageError, match="point is a fit of other runs"):
        cj.bootstrap(standard, resamples=4, point=point)
    with pytest.raises(cj.UsageError, match="starts is a fit of other runs"):
        cj.fit(standard, starts=point)


def test_errors_of_huber_scale_are_centred_in_units_of_the_loss() -> None:
    # At so small a zone the estimator is least absolute deviations, whose centre is the median.
    runs = cj.load_runs("chinchilla")
    point = cj.fit(runs, objective="huber_scale", starts=16)
    boot = cj.bootstrap(runs, objective="huber_scale", scheme="residual", resamples=40, point=point)
    drawn = np.array([law.loss(runs.params, runs.tokens) for law in boot.laws])
    apart = np.log(drawn / point.law.loss(runs.params, runs.tokens))
    assert abs(np.median(apart)) < 3e-4


def test_progress_counts_every_lane_once_for_every_law() -> None:
    runs = cj.load_runs("chinchilla")
    for law in ("chinchilla", "kaplan"):
        seen: list[int] = []
        cj.bootstrap(runs, law, resamples=20, progress=seen.append, point=cj.fit(runs, law, starts=8))
        assert sum(seen) == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "foo"}, "unknown precision"),
        ({"workers": -3}, "workers is -3"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"tolerance": 0.0}, "tolerance is 0"),
        ({"engine": "lane"}, "did you mean 'lanes'"),
    ],
)
def test_options_without_a_meaning_are_refused(options, message) -> None:
    with pytest.raises(cj.UsageError, match=message):
        cj.SolverOptions(**options)
