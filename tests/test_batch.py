"""Lanes of many data sets in one call: what each would be alone, bit for bit."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chinchilla_jax as cj
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.laws import CHINCHILLA, LAWS, STANDARD
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.objectives import Squared
from chinchilla_jax.solvers import Problem, Solution, SolverOptions, solve
from chinchilla_jax.solvers.batch import Batch
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS
from chinchilla_jax.solvers.dispatch import solve_many
from chinchilla_jax.solvers.five_parameter import _first_width
from chinchilla_jax.solvers.lane_kernel import engine
from chinchilla_jax.solvers.requests import Request, alone, ask_each, side_by_side

NEAR = SolverOptions(workers=1)


def problems(count, n=24, objective=None, seed=0):
    """Data sets of n runs; the last run of each is there twice."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        params, tokens = np.exp(rng.uniform(16, 23, n)), np.exp(rng.uniform(20, 26, n))
        loss = (1.7 + 400 * params**-0.34 + 2000 * tokens**-0.37) * np.exp(rng.normal(0, 0.02, n))
        params[-1], tokens[-1], loss[-1] = params[-2], tokens[-2], loss[-2]
        design = Design.from_runs(cj.Runs(params=params, tokens=tokens, loss=loss, flops=6 * params * tokens))
        found.append(Problem(law=CHINCHILLA, design=design, objective=objective or cj.Huber()))
    return found


def invalid(problem):
    return dataclasses.replace(problem, design=dataclasses.replace(problem.design, valid=False))


def same(one, other):
    for field in dataclasses.fields(Solution):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


@given(
    condition=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    rows=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=15, deadline=None)
def test_functions_of_a_batch_are_those_of_each_data_set(condition, rows, seed):
    rng = np.random.default_rng(seed)
    four, lanes = problems(4), np.array(condition)
    weights = rng.integers(0, 3, (rows, 24)).astype(np.uint8)
    batch = Batch(tuple(four), weights, lanes, rng.integers(0, rows, len(lanes)))
    theta = CHINCHILLA.starts(four[0].design, len(lanes))
    factors = rng.normal(size=(len(lanes), 24))
    for lane, each in enumerate(batch.condition):
        design, one = four[each].design, slice(lane, lane + 1)
        np.testing.assert_array_equal(batch.residuals(theta)[lane], CHINCHILLA.residuals(theta[lane], design))
        np.testing.assert_array_equal(batch.jacobian(theta)[lane], CHINCHILLA.jacobian(theta[lane], design))
        np.testing.assert_array_equal(
            batch.curvature(theta, factors)[one], CHINCHILLA.curvature(theta[one], design, factors[one])
        )
        np.testing.assert_array_equal(batch.rows[lane], weights[batch.row[lane]])
    seen = np.concatenate([np.arange(len(batch))[some] for _, some in batch.data_sets()])
    assert sorted(seen) == list(range(len(batch)))


@pytest.mark.parametrize("objective", [cj.Huber(), cj.HuberScale(), Squared()], ids=lambda x: x.name)
def test_a_lane_ends_alike_in_any_company(objective):
    """Resamples of four data sets, one of which cannot be fitted, in an order that mixes them."""
    four = problems(4, objective=objective)
    four[2] = invalid(four[2])
    weights = np.random.default_rng(1).integers(0, 3, (6, 24)).astype(np.uint8)
    condition, row = np.tile(np.arange(4), 6), np.repeat(np.arange(6), 4)
    natural = {"E": 1.7, "A": 400.0, "B": 2000.0, "alpha": 0.34, "beta": 0.37}
    starts = np.array([CHINCHILLA.internal(natural, problem.design) for problem in four])[condition]
    found = solve_many(Batch(tuple(four), weights, condition, row), [starts], options=NEAR)
    assert (found.status[condition != 2] == cj.Status.CONVERGED).any()
    for number, problem in enumerate(four):
        mine = condition == number
        same(found[mine], solve(problem, weights, starts[mine], options=NEAR))


@pytest.mark.parametrize("ranks", [1, 3])
def test_resamples_of_many_data_sets_are_few_calls_with_the_same_ends(ranks, monkeypatch):
    """Rows of weights in order and in common, some with few runs; one start or several."""
    four = problems(4)
    monkeypatch.setattr(engine, "_MOST_LANES", 9)
    weights = np.random.default_rng(3).integers(0, 3, (7, 24)).astype(np.uint8)
    weights[0, 4:] = 0
    condition, row = np.repeat(np.arange(4), 7), np.tile(np.arange(7), 4)
    row[condition == 1] = 2
    start = CHINCHILLA.starts(four[0].design, ranks * 28).reshape(ranks, 28, 5)
    wide = dataclasses.replace(NEAR, wide_start=True, max_steps=80)
    before = ENGINE_CALLS.calls
    found = solve_many(Batch(tuple(four), weights, condition, row), list(start), options=wide)
    assert ENGINE_CALLS.calls == before + 1
    assert len(set(found.status.tolist())) > 1
    for number, problem in enumerate(four):
        mine = condition == number
        alone_in = list(start[:, mine])
        same(found[mine], solve(problem, weights[row[mine]], alone_in, options=wide))


def test_starts_of_one_fit_compete_within_their_data_set():
    """HuberScale point fits of several data sets from several starts each, as alone."""
    four, wide = problems(4, objective=cj.HuberScale()), dataclasses.replace(NEAR, wide_start=True)
    starts = np.concatenate([CHINCHILLA.starts(problem.design, 5) for problem in four])
    weights, condition = np.ones((1, 24), np.uint8), np.repeat(np.arange(4), 5)
    batch = Batch(tuple(four), weights, condition, np.zeros(20, np.intp))
    found = solve_many(batch, [starts], options=wide)
    for number, problem in enumerate(four):
        mine = condition == number
        same(found[mine], solve(problem, weights, starts[mine], options=wide))


@pytest.mark.parametrize("law", sorted(set(STANDARD) - {"chinchilla"})[:1])
def test_other_laws_take_many_data_sets_too(law):
    law = LAWS[law]()
    two = [dataclasses.replace(each, law=law) for each in problems(2)]
    condition = np.array([1, 0, 1])
    weights = np.random.default_rng(2).integers(0, 4, (3, 24)).astype(np.uint8)
    starts = law.starts(two[0].design, 3)
    theta = np.stack([law.residuals(starts[k], two[condition[k]].design) for k in range(3)])
    np.testing.assert_allclose(Batch(tuple(two), weights, condition, np.arange(3)).residuals(starts), theta)


def test_procedures_side_by_side_ask_together():
    """Two questions each, the second of which depends on the first answer; three data sets, two calls."""
    three = problems(3)
    weights = np.random.default_rng(3).integers(0, 3, (4, 24)).astype(np.uint8)

    def asking(problem):
        start = np.tile(CHINCHILLA.starts(problem.design, 1), (4, 1))
        first = yield Request(problem=problem, weights=weights, starts=[start], options=NEAR)
        again = yield Request(
            problem=problem, weights=weights, starts=[first.theta[::-1]], row=np.arange(4)[::-1], options=NEAR
        )
        return first, again

    before = ENGINE_CALLS.calls
    together = side_by_side([asking(problem) for problem in three])
    assert ENGINE_CALLS.calls - before == 2
    for problem, found in zip(three, together, strict=True):
        for one, other in zip(found, alone(asking(problem)), strict=True):
            same(one, other)


def test_weights_that_do_not_fit_are_refused():
    (problem,) = problems(1)
    with pytest.raises(UsageError, match="do not fit 24 runs and 3 lanes"):
        Batch.of(problem, np.ones((2, 24)), 3)


def test_several_starts_of_a_lane_are_one_call_of_the_kernel():
    problem = problems(1)[0]
    weights = np.random.default_rng(4).integers(0, 4, (5, 24)).astype(np.uint8)
    starts = [np.tile(start, (5, 1)) for start in CHINCHILLA.starts(problem.design, 3)]
    before = ENGINE_CALLS.calls
    ends = alone(ask_each(problem, weights, starts, NEAR))
    assert ENGINE_CALLS.calls - before == 1
    for start, found in zip(starts, ends, strict=True):
        same(found, solve(problem, weights, start, options=NEAR))


@pytest.mark.parametrize("ranks", [0, 1, 2])
def test_no_lanes_have_an_empty_solution_for_each_start(ranks):
    (problem,) = problems(1)
    ends = alone(ask_each(problem, np.empty((0, 24), np.uint8), [np.empty((0, 5))] * ranks, NEAR))
    assert [len(end) for end in ends] == [0] * ranks


def test_the_first_zone_of_lanes_that_begin_together_is_that_of_each_alone():
    two = problems(2)
    starts = np.repeat(CHINCHILLA.starts(two[0].design, 3), [2, 1, 3], axis=0)
    condition = np.array([0, 0, 0, 0, 1, 1])  # the last start is the same on both data sets
    batch = Batch(tuple(two), np.ones((1, 24)), condition, np.zeros(6, np.intp))
    widths = np.full(6, 1e-3)
    found = _first_width(batch, starts, widths)
    size = [np.sort(np.abs(two[k].residuals(start)))[12] for k, start in zip(condition, starts, strict=True)]
    np.testing.assert_array_equal(found, np.clip(size, 1e-3, 1.0))
    empty = np.zeros(0, np.intp)
    assert len(_first_width(batch[empty], starts[empty], widths[empty])) == 0
