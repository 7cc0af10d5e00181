"""Tries at one resample: they end where they meet or get nowhere, and the lowest of them is what it was."""

import numpy as np
import pytest
from test_batch import problems, same

import chinchilla_jax as cj
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.solvers import Solution, SolverOptions, Status, requests
from chinchilla_jax.solvers.lane_kernel import engine
from chinchilla_jax.solvers.requests import alone, ask_each, ask_tries, side_by_side
from chinchilla_jax.solvers.status import is_certified

NEAR = SolverOptions(workers=1)
RESAMPLES = 30


@pytest.fixture(scope="module")
def problem():
    return problems(1, n=16)[0]


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(3)
    return np.stack([np.bincount(rng.integers(0, 16, 16), minlength=16) for _ in range(RESAMPLES)])


def starts(problem, count):
    return [np.tile(start, (RESAMPLES, 1)) for start in CHINCHILLA.starts(problem.design, count)]


def test_the_lowest_of_tries_is_that_of_starts_that_know_nothing_of_each_other(problem, weights):
    near = starts(problem, 12)
    each, tried = (
        alone(ask_each(problem, weights, near, NEAR)),
        alone(ask_tries(problem, weights, near, options=NEAR)),
    )
    one, other = Solution.best_of(each), Solution.best_of(tried)
    certified = is_certified(one.status)
    assert certified.sum() > 20
    np.testing.assert_array_equal(other.status[certified], one.status[certified])
    np.testing.assert_allclose(other.objective_value[certified], one.objective_value[certified], rtol=1e-10)
    np.testing.assert_allclose(other.theta[certified], one.theta[certified], atol=1e-5)
    assert sum(end.steps.sum() for end in tried) < 0.95 * sum(end.steps.sum() for end in each)


@pytest.mark.parametrize("seed", [13, 21, 30, 35])
def test_a_try_that_rests_on_its_way_is_not_given_up(seed):
    """Noise and a narrow zone make valleys in which a try hardly moves for 40 steps, and then ends lowest."""
    rng, n = np.random.default_rng(seed), 16
    params, tokens = np.exp(rng.uniform(*np.log([3e7, 5e9]), n)), np.exp(rng.uniform(*np.log([5e8, 1e11]), n))
    loss = (1.8 + 480 / params**0.35 + 2100 / tokens**0.37) * np.exp(0.1 * rng.standard_normal(n))
    runs = cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)
    problem = read_problem("this test", runs, CHINCHILLA, cj.Huber(delta=1e-4))
    weights = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(RESAMPLES)])
    near = starts(problem, 12)
    one = Solution.best_of(alone(ask_each(problem, weights, near, NEAR)))
    other = Solution.best_of(alone(ask_tries(problem, weights, near, options=NEAR)))
    certified = is_certified(one.status)
    assert certified.sum() > 10
    assert (other.objective_value[certified] < (1 + 1e-6) * one.objective_value[certified]).all()


def test_a_try_that_ends_where_another_did_is_that_one_to_the_bit(problem, weights):
    near = [1.01 * Solution.best_of(alone(ask_each(problem, weights, starts(problem, 12), NEAR))).theta]
    first, again, far = alone(ask_tries(problem, weights, 2 * near, near, options=NEAR))
    met = is_certified(first.status)
    assert met.sum() > 20
    for name in ("theta", "objective_value", "decrement", "status"):
        np.testing.assert_array_equal(getattr(again, name)[met], getattr(first, name)[met])
    assert (again.steps[met] <= first.steps[met]).all(), "it stops before the last steps"
    # The zone of a far start begins wide.
    assert np.abs(far.objective_value[met] / first.objective_value[met] - 1).max() < 1e-6
    assert (far.steps != again.steps).any()


def test_a_try_that_gets_nowhere_is_given_up_above_the_lowest(problem, weights):
    near = [Solution.best_of(alone(ask_each(problem, weights, starts(problem, 12), NEAR))).theta]
    near += starts(problem, 30)
    by_themselves = alone(ask_each(problem, weights, near, NEAR))
    best, *tried = alone(ask_tries(problem, weights, near, options=NEAR))
    same(best, by_themselves[0])
    lanes = is_certified(best.status)
    count, steps, of_each = 0, 0, 0
    for one, other in zip(tried, by_themselves[1:], strict=True):
        gave_up = lanes & (one.status == Status.MAX_STEPS) & (one.steps < 400)
        assert (one.objective_value[gave_up] > 1.3 * best.objective_value[gave_up]).all()
        assert (other.objective_value[gave_up] > (1 - 1e-6) * best.objective_value[gave_up]).all()
        count, steps = count + gave_up.sum(), steps + one.steps[gave_up].sum()
        of_each += other.steps[gave_up].sum()
    assert count > 10 and steps < 0.7 * of_each


@pytest.mark.parametrize("workers", [1, 3])
def test_tries_end_alike_in_any_company(monkeypatch, weights, workers):
    """Calls of a few lanes, which do not come apart within a resample; several data sets at once."""
    two, options = problems(2, n=16), SolverOptions(workers=workers)
    near, far = starts(two[0], 3), starts(two[0], 2)

    def asking(problem):
        return ask_tries(problem, weights, near, far, options=options)

    expected = [alone(asking(problem)) for problem in two]
    monkeypatch.setattr(engine, "_LANES", 7)
    monkeypatch.setattr(engine, "_LANES_ALONE", 7)
    for found, of_one in zip(side_by_side([asking(problem) for problem in two]), expected, strict=True):
        for end, of_start in zip(found, of_one, strict=True):
            same(end, of_start)


def test_a_call_without_enough_memory_is_halved_between_resamples(monkeypatch, problem, weights):
    near, fit, halves = [start[:29] for start in starts(problem, 7)], requests.solve_many, []

    def asking(count):
        return ask_tries(problem, weights[:count], [start[:count] for start in near], options=NEAR)

    def small(batch, *given, **options):
        if len(batch) > 110:
            raise MemoryError
        return fit(batch, *given, **options)

    expected = alone(asking(29))
    monkeypatch.setattr(requests, "solve_many", small)
    (found,) = side_by_side([asking(29)], halves.append)
    assert halves == [14 * 7]
    for end, of_start in zip(found, expected, strict=True):
        same(end, of_start)


def test_where_tries_know_nothing_of_each_other_far_starts_have_options_of_their_own(weights):
    (problem,) = problems(1, n=16, objective=cj.HuberScale())
    few, wide = weights[:4], SolverOptions(workers=1, wide_start=True, max_steps=60)
    near, far = [start[:4] for start in starts(problem, 2)]
    one, other = alone(ask_tries(problem, few, [near], [far], options=NEAR, wide_options=wide))
    same(one, alone(ask_each(problem, few, [near], NEAR))[0])
    same(other, alone(ask_each(problem, few, [far], wide))[0])
