"""Which members of a pool resamples begin from: exact choices, and pools that grow by what pilots find."""

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.scouting import scout
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.fitting.optima_pool import best_of_pool
from chinchilla_jax.laws import CHINCHILLA, Squared
from chinchilla_jax.laws.design import Design
from chinchilla_jax.perturbations import LogNormalNoise
from chinchilla_jax.solvers import Problem, SolverOptions, Status, solve
from chinchilla_jax.solvers.certificate import certify, surely_certified
from chinchilla_jax.solvers.pool_starts import losses_of_runs

RUNS = LogNormalNoise(2.4, repeat=2).apply(cj.load_runs("chinchilla", params="standard"), seed=0)
PROBLEM = Problem(law=CHINCHILLA, design=Design.from_runs(RUNS), objective=cj.Huber())
WEIGHTS = resample_weights(len(RUNS), np.arange(300), 0)


@pytest.fixture(scope="module")
def recipe():
    minima = cj.fit(RUNS, starts=32).starts.minima
    return scout(PROBLEM, minima, options=SolverOptions(), raced=True)


def test_choices_are_those_of_exact_sums_in_any_block(recipe):
    whole = losses_of_runs(PROBLEM, recipe.pool)
    assert whole.dtype == np.float32 and (whole == np.rint(whole)).all()
    exact = WEIGHTS.astype(np.int64) @ whole.T.astype(np.int64)
    order = np.argsort(exact, axis=1, kind="stable")
    for ranks in (1, 3, 6):
        expected = recipe.pool[order[:, :ranks].T]
        np.testing.assert_array_equal(best_of_pool(PROBLEM, WEIGHTS, recipe.pool, ranks), expected)
        several = [best_of_pool(PROBLEM, WEIGHTS[i : i + 7], recipe.pool, ranks) for i in range(0, 300, 7)]
        np.testing.assert_array_equal(np.concatenate(several, axis=1), expected)
        np.testing.assert_array_equal(best_of_pool(PROBLEM, 1.0 * WEIGHTS, recipe.pool, ranks), expected)
    # More counts than runs, which float32 may not add exactly.
    many = (200 * (WEIGHTS > 0)).astype(np.uint8)
    order = (many.astype(np.int64) @ whole.T.astype(np.int64)).argmin(axis=1)
    np.testing.assert_array_equal(best_of_pool(PROBLEM, many, recipe.pool, 1)[0], recipe.pool[order])


def test_whole_numbers_are_fine_beside_the_differences_between_members(recipe):
    found = WEIGHTS @ losses_of_runs(PROBLEM, recipe.pool).T.astype(np.float64)
    expected = WEIGHTS @ PROBLEM.losses(recipe.pool).T
    unit = expected.sum() / found.sum()
    np.testing.assert_allclose(found * unit, expected, rtol=3e-5)
    lowest = np.take_along_axis(expected, found.argmin(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(lowest, expected.min(axis=1), rtol=3e-5)


@pytest.mark.parametrize(
    ("objective", "change"), [(cj.Huber(), 0.0), (cj.Huber(), np.inf), (Squared(), 30.0)]
)
def test_losses_stay_as_they_are_where_whole_numbers_would_be_too_coarse(objective, change):
    problem = Problem(law=CHINCHILLA, design=PROBLEM.design, objective=objective)
    pool = CHINCHILLA.starts(PROBLEM.design, 6)
    pool[-1, 0] += change
    found, expected = losses_of_runs(problem, pool), problem.losses(pool)
    if change:
        assert found.dtype == np.float64 and np.isfinite(found).all()
        np.testing.assert_array_equal(found[:-1], expected[:-1])
    else:
        assert found.dtype == np.float32


def test_a_perfect_fit_has_losses_of_zero():
    law = cj.ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
    runs = cj.Runs(
        params=RUNS.params, tokens=RUNS.tokens, flops=RUNS.flops, loss=law.loss(RUNS.params, RUNS.tokens)
    )
    problem = Problem(law=CHINCHILLA, design=Design.from_runs(runs), objective=cj.Huber())
    theta = cj.fit(runs, starts=32).theta
    assert np.isfinite(losses_of_runs(problem, theta[None])).all()


def test_a_pool_holds_optima_of_pilots_that_were_fitted_anyway(recipe):
    """Of 24 far pilots, of 104 that show whether two starts agree and, as some do not, of 128 more."""
    assert recipe.ranks == 2 and len(recipe.pool) > 104
    assert len(np.unique(recipe.pool, axis=0)) == len(recipe.pool)
    quiet = cj.load_runs("chinchilla", params="standard")
    problem = Problem(law=CHINCHILLA, design=Design.from_runs(quiet), objective=cj.Huber())
    found = scout(problem, cj.fit(quiet, starts=32).starts.minima, options=SolverOptions(), raced=True)
    assert found.ranks == 1 and len(found.pool) == 1 + 24 + 26
    # Each begins nearer to its optimum than from 24 of them.
    weights = resample_weights(len(quiet), np.arange(300), 0)
    steps = [
        solve(problem, weights, best_of_pool(problem, weights, pool, 1)).steps.mean()
        for pool in (found.pool[:25], found.pool)
    ]
    assert steps[1] < 0.98 * steps[0]


def test_what_a_factorisation_certifies_eigenvalues_do_too(recipe):
    found = solve(PROBLEM, WEIGHTS, recipe.candidates(PROBLEM, WEIGHTS))
    assert (found.status == Status.BOUNDARY).sum() > 50
    draws = np.random.default_rng(0)
    # From optima to points some way off, where decrements are beyond the tolerance.
    off = np.geomspace(1e-12, 1e-4, 300)[:, None] * draws.standard_normal((300, 5))
    off[found.status == Status.BOUNDARY, 2] = 0.0
    for theta in (found.theta, found.theta + off, CHINCHILLA.starts(PROBLEM.design, 300)):
        every = certify(PROBLEM.design, WEIGHTS, theta, 1e-3)
        certified = every.definite & (every.decrement <= 1e-12)
        sure = np.concatenate(
            [
                surely_certified(PROBLEM.design, WEIGHTS[i : i + 1], theta[i : i + 1], 1e-3, 1e-12)
                for i in range(300)
            ]
        )
        assert not (sure & ~certified).any()
        assert (certified & ~sure).sum() <= 3
        together = surely_certified(PROBLEM.design, WEIGHTS, theta, 1e-3, 1e-12)
        assert not (together & ~certified).any()
