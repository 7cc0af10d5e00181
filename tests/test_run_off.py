"""Parameters that a table does not bound: named, with where they go, for any law; others are left alone."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chinchilla_jax as cj
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.fitting.doubts import judge_fit
from chinchilla_jax.fitting.run_off import RunOff, _change, run_off_warnings, run_offs
from chinchilla_jax.laws import LAWS, from_function
from chinchilla_jax.solvers import Problem, Status

SIZES = np.geomspace(1e7, 1e10, 60)


def saturating(p, x):
    # Size is worth at most R billion parameters.
    worth = -p["R"] * jnp.expm1(-x["params"] / 1e9 / p["R"])
    return p["E"] + p["A"] * worth ** -p["alpha"]


LAW = from_function(
    saturating,
    {
        "E": cj.real(1.7),
        "A": cj.positive(0.5),
        "alpha": cj.positive(0.3),
        "R": cj.positive(2.0, low=0.05, high=20.0),
    },
)


def problem(limit, seed):
    rng = np.random.default_rng(seed)
    truth = {"E": 1.7, "A": 0.4, "alpha": 0.35, "R": limit}
    with float64_scope():
        loss = np.asarray(saturating(truth, {"params": jnp.asarray(SIZES)}))
    loss = loss * np.exp(2e-3 * rng.standard_normal(len(SIZES)))
    runs = cj.Runs(SIZES, 20 * SIZES, loss=loss)
    return Problem(law=LAW, design=LAW.design(runs), objective=cj.Huber(1e-3))


def ended(limit):
    """Where a lane may have ended."""
    return LAW.internal({"E": 1.7, "A": 0.4, "alpha": 0.35, "R": limit}, None)


@settings(max_examples=6)
@given(st.integers(0, 2**31), st.floats(1e5, 1e12))
def test_what_a_table_does_not_bound_is_named(seed, reached):
    # The largest size is 10 billion: a limit of 10,000 billion is none.
    (found,) = run_offs(problem(1e4, seed), np.ones((1, len(SIZES))), ended(reached)[None])
    assert str(found) == "R grows without limit"


@settings(max_examples=6)
@given(st.integers(0, 2**31), st.floats(0.3, 3.0), st.floats(-2.0, 2.0))
def test_what_a_table_bounds_is_left_alone(seed, limit, off):
    # Wherever a lane ran out of steps, short of its limit or beyond.
    bounded = problem(limit, seed)
    theta = np.stack([ended(limit * math.exp(off)), ended(limit)])
    assert run_offs(bounded, np.ones((1, len(SIZES))), theta) == [None, None]


def test_a_fit_and_its_resamples_say_what_runs_off():
    unbounded = problem(1e4, seed=1)
    judged = judge_fit(
        unbounded, None, ended(1e9), Status.MAX_STEPS, np.empty((0, 4)), unbounded.residuals(ended(1e9))
    )
    assert judged.status is Status.UNIDENTIFIED
    assert judged.reason.startswith("R grows without limit: the table does not bound it; add runs")
    # Short of steps, with all determined, is what it was.
    bounded = problem(1.0, seed=1)
    judged = judge_fit(
        bounded, None, ended(1.5), Status.MAX_STEPS, np.empty((0, 4)), bounded.residuals(ended(1.5))
    )
    assert judged.status is Status.MAX_STEPS and judged.reason == Status.MAX_STEPS.sentence
    off = {3: RunOff({"R": "inf"}), 5: RunOff({"R": "inf", "A": "inf"}), 6: RunOff({"A": "0"})}
    (said,) = run_off_warnings(off, 40)
    assert "in 2 of 40 resamples R grows without limit and in 1 of 40 resamples A falls to zero" in said
    assert run_off_warnings({}, 40) == ()


def test_a_law_of_one_parameter_is_followed_too():
    law = from_function(lambda p, x: p["E"] + 0 * x["params"], {"E": cj.positive(2.0)}, name="level")
    runs = cj.Runs(SIZES, 20 * SIZES, loss=2 + 0.1 * np.sin(SIZES))
    level = Problem(law=law, design=law.design(runs), objective=cj.Huber(1e-3))
    assert run_offs(level, np.ones((1, len(SIZES))), np.log([[2.0], [50.0]])) == [None, None]


def test_the_limit_is_said_by_a_law_that_knows_it():
    law = LAWS["repeated_data"]
    off = RunOff({"R_N": "inf"}, (law.limits["R_N", math.inf],))
    assert "in the limit parameters in excess are worth as much as the others" in off.sentence
    assert str(RunOff({"a": "-inf", "b": "-inf", "g": "0", "s": "bound"})) == (
        "a and b fall without limit, g falls to zero and s reaches its bound"
    )


@pytest.mark.slow
def test_farseer_runs_off_on_the_240_runs():
    found = cj.fit(cj.load_runs("chinchilla"), "farseer")
    assert found.status is Status.UNIDENTIFIED
    assert "without limit" in found.reason and "falls to zero" in found.reason


def test_a_parameter_that_falls_from_the_largest_number_to_none_has_a_size_of_change():
    assert _change(1e300, 0.0) == pytest.approx(-600 * math.log(10))
