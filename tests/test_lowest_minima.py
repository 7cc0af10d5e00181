"""Resamples of small tables end at the lowest minimum, and the bootstrap says how often they do not."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping import audit as auditing
from chinchilla_jax.bootstrapping.audit import Audit, audit
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter
from chinchilla_jax.bootstrapping.scouting import scout
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.fitting.optima_pool import best_of_parts, best_of_pool
from chinchilla_jax.fitting.point_fit import fit_among_many
from chinchilla_jax.laws import CHINCHILLA, read_law
from chinchilla_jax.laws.design import Design
from chinchilla_jax.solvers import Problem, Solution, SolverOptions, solve

LANES = 400
HUBER = cj.Huber(delta=1e-3)  # narrow beside the noise: many minima
TRUTH = cj.ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)


def _isoflop(budgets: int, sizes: int, noise: float, seed: int) -> cj.Runs:
    flops = np.repeat(np.geomspace(1e18, 1e21, budgets), sizes)
    params = np.sqrt(flops / 120) * np.tile(np.geomspace(0.25, 4, sizes), budgets)
    tokens = flops / (6 * params)
    loss = TRUTH.loss(params, tokens) * np.exp(
        noise * np.random.default_rng(seed).standard_normal(len(params))
    )
    return cj.Runs(params=params, tokens=tokens, flops=flops, loss=loss)


@pytest.fixture(scope="module")
def runs() -> cj.Runs:
    """Sixteen runs, 2% noise: from one near start, one resample in a hundred misses its lowest minimum."""
    return _isoflop(4, 4, 0.02, 2)


@pytest.fixture(scope="module")
def problem(runs: cj.Runs) -> Problem:
    return Problem(law=CHINCHILLA, design=Design.from_runs(runs), objective=HUBER)


@pytest.fixture(scope="module")
def weights(runs: cj.Runs) -> np.ndarray:
    return resample_weights(len(runs), np.arange(LANES), 0)


@pytest.fixture(scope="module")
def lowest(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """Lowest objective of each resample from 100 starts spread over the published grid, (LANES,)."""
    wide = SolverOptions(wide_start=True, max_steps=150)
    found = [
        solve(problem, weights, np.tile(start, (LANES, 1)), options=wide)
        for start in CHINCHILLA.starts(problem.design, 100)
    ]
    return np.asarray(Solution.best_of(found).objective_value)


def _missed(boot: cj.BootstrapResult, lowest: np.ndarray) -> np.ndarray:
    certified = np.isin(boot.status, ["CONVERGED", "BOUNDARY"])
    return np.flatnonzero(certified & (boot.objective_value > lowest * (1 + 1e-6) + 1e-18))


def test_resamples_of_a_small_table_end_at_their_lowest_minimum(runs: cj.Runs, lowest: np.ndarray) -> None:
    boot = cj.bootstrap(runs, resamples=LANES, objective=HUBER, scheme="pairs")
    assert len(_missed(boot, lowest)) == 0
    assert np.isin(boot.status, ["CONVERGED", "BOUNDARY"]).mean() > 0.98


def test_pilots_at_the_boundary_are_reason_to_search() -> None:
    # 110 runs, 5% noise: every pilot agrees with itself, and 1.5% of the resamples missed their minimum.
    params, tokens = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(5e7, 2e9, 11), np.geomspace(1e9, 5e10, 10))
    )
    loss = TRUTH.loss(params, tokens) * np.exp(0.05 * np.random.default_rng(33).standard_normal(110))
    noisy = cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)
    problem = Problem(law=CHINCHILLA, design=Design.from_runs(noisy), objective=HUBER)
    minima = cj.fit(noisy, objective=HUBER, starts=64).starts.minima
    assert scout(problem, minima, options=SolverOptions()).most > 1


def test_a_resample_that_is_searched_is_the_same_among_more(runs: cj.Runs) -> None:
    point = cj.fit(runs, objective=HUBER, starts=64)
    few = cj.bootstrap(runs, resamples=40, seed=3, objective=HUBER, point=point, scheme="pairs")
    many = cj.bootstrap(runs, resamples=300, seed=3, objective=HUBER, point=point, scheme="pairs")
    np.testing.assert_array_equal(many.status[:40], few.status)
    np.testing.assert_allclose(many.objective_value[:40], few.objective_value, rtol=1e-9, atol=1e-18)


def test_the_audit_finds_what_was_missed(
    problem: Problem, runs: cj.Runs, weights: np.ndarray, lowest: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "_EVERY", 1)
    monkeypatch.setattr(auditing, "_MOST", LANES)
    point = cj.fit(runs, objective=HUBER, starts=64)
    fitter = ResampleFitter.prepared(problem, point)
    assert fitter.recipe is not None
    hasty = dataclasses.replace(fitter, recipe=dataclasses.replace(fitter.recipe, ranks=1, most=1, far=None))
    found = hasty.fit(weights, hasty.starts(weights))
    boot = cj.BootstrapResult(
        solution=found, design=problem.design, resample_ids=np.arange(LANES), point=point
    )
    missed = _missed(boot, lowest)
    assert len(missed) >= 3
    report = audit(fitter, found, lambda lanes: weights[lanes])
    assert report is not None
    assert report.missed >= len(missed)
    assert report.rate == report.missed / report.searched
    # And they are mended.
    np.testing.assert_array_less(found.objective_value[missed], lowest[missed] * (1 + 1e-6))


def test_a_rate_above_one_in_a_thousand_is_mentioned(runs: cj.Runs) -> None:
    assert Audit(searched=250, missed=0).warnings == ()
    assert Audit(searched=5000, missed=5).warnings == ()
    (sentence,) = Audit(searched=250, missed=2).warnings
    assert sentence.startswith("2 of 250 resamples")
    boot = cj.bootstrap(runs, resamples=64, scheme="pairs")
    assert boot.audit is not None and boot.audit.searched == 4
    assert boot.miss_rate == boot.audit.missed / 4
    told = dataclasses.replace(boot, audit=Audit(searched=250, missed=2))
    assert sentence in told.warnings
    assert math.isnan(dataclasses.replace(boot, audit=None).miss_rate)


def test_where_pilots_agree_one_start_is_enough() -> None:
    boot = cj.bootstrap(cj.load_runs("chinchilla"), resamples=20)
    assert boot.audit == Audit(searched=104 + 384, missed=0)
    assert boot.warnings == boot.point.warnings


@pytest.mark.slow
def test_resamples_of_other_laws_end_at_their_lowest_minimum_too() -> None:
    """From two optima of the point fit, one in six missed it."""
    params, tokens = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(5e7, 2e9, 5), np.geomspace(1e9, 5e10, 4))
    )
    loss = TRUTH.loss(params, tokens) * np.exp(0.02 * np.random.default_rng(6).standard_normal(20))
    some = cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)
    law = read_law("kaplan")
    boot = cj.bootstrap(some, law, resamples=32, objective=HUBER, scheme="pairs")
    problem = Problem(law=law, design=Design.from_runs(some), objective=HUBER)
    weights = resample_weights(20, np.arange(32), 0)
    wide = SolverOptions(wide_start=True, max_steps=300)
    found = [
        solve(problem, weights, np.tile(start, (32, 1)), options=wide)
        for start in law.starts(problem.design, 12)
    ]
    assert len(_missed(boot, Solution.best_of(found).objective_value)) == 0


@pytest.mark.slow
def test_minima_side_by_side_along_a_valley_are_seen_on_many_runs_too() -> None:
    """Of 100 resamples of the 240 runs by kaplan, one near start missed two."""
    runs, law = cj.load_runs("chinchilla", params="standard"), read_law("kaplan")
    boot = cj.bootstrap(runs, law, resamples=100, objective=HUBER, scheme="pairs")
    problem = Problem(law=law, design=Design.from_runs(runs), objective=HUBER)
    wide, missed = SolverOptions(wide_start=True), np.array([43, 86])
    weights = resample_weights(240, missed, 0)
    found = [
        solve(problem, weights, np.tile(start, (2, 1)), options=wide)
        for start in law.starts(problem.design, 24)
    ]
    lowest = Solution.best_of(found).objective_value
    assert (boot.objective_value[missed] < lowest * (1 + 1e-6)).all()
    assert boot.counted.all()


def test_the_best_of_each_part_of_a_pool_lies_in_that_part(problem: Problem, weights: np.ndarray) -> None:
    along = np.linspace(-1, 1, 12)
    pool = np.array([1.0, 1.0, 1.7, 0.5, 0.5]) + 0.1 * np.outer(along, [1, -1, 0, 1, -1])
    starts = best_of_parts(problem, weights[:40], pool, 3)
    assert starts.shape == (3, 40, 5)
    place = (starts[..., 0] - 1.0) / 0.1
    assert (np.ptp(place, axis=1) < 2 / 3).all()
    assert sorted(np.round(place.mean(axis=1))) == [-1, 0, 1]
    everywhere = best_of_pool(problem, weights[:40], pool, 1)[0]
    assert (starts == everywhere).all(axis=2).any(axis=0).all()


@pytest.mark.parametrize(("seed", "starts"), [(2, 512), (3, 4500)])
def test_a_fit_among_many_has_the_lowest_minimum_of_all_starts(seed: int, starts: int) -> None:
    """That of the second table has 83 of 4,500 starts and none of the first 64, most of which agree."""
    table = _isoflop(4, 4, 0.02, seed)
    found, every = fit_among_many(table, objective=HUBER), cj.fit(table, objective=HUBER)
    assert found.starts.n == starts and found.status is every.status
    assert found.objective_value == pytest.approx(every.objective_value, rel=1e-9)


def test_a_fit_among_many_goes_on_where_its_starts_show_no_optimum() -> None:
    """The law of these twelve runs lies at infinity, where no start is certified."""
    runs = cj.load_runs("olmo_ladder")
    found = fit_among_many(runs.take(runs.params < 5e8))
    assert found.starts.n == 4500 and not found.status.certified
