"""The frame of the gamma law: the same law in other coordinates, a way to its limit, and its derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.laws import LAWS
from chinchilla_jax.laws.objectives import Squared
from chinchilla_jax.solvers import Problem, Status
from chinchilla_jax.solvers.dispatch import solve_generally
from chinchilla_jax.solvers.jax_newton.frame_program import FrameProgram

LAW = LAWS["gamma"]()
SIZES, RATIOS = np.geomspace(1e7, 1e10, 6), (5.0, 20.0, 80.0)
PARAMS, TOKENS = (each.ravel() for each in np.meshgrid(SIZES, 1e9 * np.array(RATIOS)))

# Around the published law, and half way to the limit.
THETAS = (
    (1.7, 6.0, 6.0, -1.0, -1.0, 0.0),
    (0.3, 2.0, 9.0, -2.0, -1.2, 0.5),
    (1.9, 0.1, 5.0, -5.0, -0.9, 3.5),
)


@functools.cache
def program():
    with float64_scope():
        found = FrameProgram(LAW.frame, 6, np.float64)
        return jax.jit(lambda theta: found.at(list(theta[:, None]), jnp.array([False])))


def matrices(theta):
    """J and T_abc of the frame at theta (6,)."""
    jacobian, curvature = np.eye(6), np.zeros((6, 6, 6))
    at = program()(np.asarray(theta, np.float64))
    for key, value in at.jacobian.items():
        jacobian[key] += np.asarray(value)[0]
    for (a, b, c), value in at.curvature.items():
        curvature[a, b, c] = curvature[a, c, b] = np.asarray(value)[0]
    return jacobian, curvature


@pytest.mark.parametrize("theta", THETAS)
def test_the_frame_is_left_where_it_was_entered(theta):
    with float64_scope():
        here = [jnp.float64(x) for x in theta]
        assert LAW.frame.applies(here)
        back = np.asarray(LAW.frame.leave(LAW.frame.enter(here)))
    np.testing.assert_allclose(back, theta, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("theta", THETAS)
def test_derivatives_are_those_of_the_way_back(theta):
    with float64_scope():
        phi = np.array(LAW.frame.enter([jnp.float64(x) for x in theta]))

        def leave(phi):
            return np.array(LAW.frame.leave(list(phi)))

        steps = 1e-4 * np.eye(6)
        first = np.stack([(leave(phi + h) - leave(phi - h)) / 2e-4 for h in steps], axis=1)
        jacobian, curvature = matrices(theta)
        np.testing.assert_allclose(jacobian, first, rtol=1e-5, atol=1e-5 * np.abs(first).max())
        for b, h in enumerate(steps):
            there, here = (matrices(np.array(LAW.frame.leave(list(phi + way * h))))[0] for way in (1.0, -1.0))
            second = (there - here) / 2e-4
            np.testing.assert_allclose(
                curvature[:, :, b], second, rtol=1e-5, atol=1e-5 * np.abs(second).max()
            )


@pytest.mark.slow  # compiles a program
def test_a_lane_follows_the_valley_to_its_limit():
    # Runs of the law's limit, E + (e^a N^-alpha e^(B D^-beta)), as gamma grows; by noise it is inside or out.
    loss = 1.8 + 90.0 * PARAMS**-0.27 * np.exp(4e3 * TOKENS**-0.4)
    start = LAW.internal({"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.35, "beta": 0.35, "gamma": 1.0}, None)
    ends = []
    for seed in (0, 1):
        noise = np.exp(1e-3 * np.random.default_rng(seed).standard_normal(len(PARAMS)))
        runs = cj.Runs(PARAMS, TOKENS, loss=loss * noise)
        problem = Problem(law=LAW, design=LAW.design(runs), objective=Squared())
        ends.append(solve_generally(problem, np.ones((1, len(runs))), start[None]))
    # In plain coordinates both ran out of 400 steps at a gamma of about 25, at three times these objectives.
    inside, outside = ends
    assert inside.status[0] == Status.CONVERGED
    assert inside.steps[0] < 50
    assert outside.status[0] == Status.UNIDENTIFIED
    assert outside.steps[0] < 50
    assert np.exp(outside.theta[0, 5]) > 1e4
