"""Optima at E = 0: certified as such by every solver, by name, and never for anything else."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize

import chinchilla_jax as cj
from chinchilla_jax.cli import main
from chinchilla_jax.laws import CHINCHILLA, LAWS, Design, Huber, HuberScale, Squared
from chinchilla_jax.solvers import Problem, Solution, SolverOptions, Status, solve
from chinchilla_jax.solvers.certificate import certify, derivatives, judge
from chinchilla_jax.solvers.dispatch import solve_generally

WIDE = SolverOptions(wide_start=True)


def without_floor(seed, n=40, lowered=0.2):
    """Runs of a law with E = 0, and all losses lowered a little: the best E would be negative."""
    rng = np.random.default_rng(seed)
    params, tokens = 10 ** rng.uniform(7.5, 10.5, n), 10 ** rng.uniform(9, 12, n)
    law = cj.ScalingLaw(E=0.0, A=60.0, B=60.0, alpha=0.12, beta=0.12)
    loss = (law.loss(params, tokens) - lowered) * np.exp(0.003 * rng.standard_normal(n))
    return cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)


def lowest_with_bound(design, weights, theta, delta):
    """Minimum under E >= 0 by SciPy, from near theta; its value."""

    def objective(point):
        with np.errstate(all="ignore"):  # SciPy tries laws far away
            value, gradient, _ = derivatives(design, weights, point[None], delta)
        return value[0] * 1e6, gradient[0] * 1e6

    bounds = [(None, None), (None, None), (0, None), (None, None), (None, None)]
    start = theta + np.array([0.05, -0.05, 0.05, 0.02, -0.02])
    found = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-15})
    return found.fun / 1e6


@pytest.mark.parametrize("engine", ["lanes", pytest.param("xla", marks=pytest.mark.slow)])
def test_lanes_at_zero_are_optima_under_the_bound(engine):
    seed = int(np.random.default_rng().integers(2**32))
    rng = np.random.default_rng(seed)
    design = Design.from_runs(without_floor(seed, lowered=0.3))
    weights = rng.multinomial(40, np.full(40, 1 / 40), 60).astype(np.float64)
    point = cj.fit(without_floor(seed, lowered=0.3), starts=32)
    problem = Problem(law=CHINCHILLA, design=design, objective=Huber(0.01))
    starts = np.tile(point.theta, (60, 1))
    found = solve(problem, weights, starts, options=SolverOptions(engine=engine, wide_start=True))
    lanes = found.status == Status.BOUNDARY
    assert lanes.mean() > 0.1, seed
    assert (found.theta[lanes, 2] == 0).all() and (found.theta[found.status == Status.CONVERGED, 2] > 0).all()
    check = certify(design, weights[lanes], found.theta[lanes], 0.01)
    assert (check.held & check.definite & (check.decrement <= 1e-12)).all(), seed
    for lane in np.flatnonzero(lanes)[:5]:
        lowest = lowest_with_bound(design, weights[lane][None], found.theta[lane], 0.01)
        assert found.objective_value[lane] <= lowest * (1 + 1e-7), (seed, lane)


@pytest.mark.parametrize("objective", [Huber(), Huber(0.01), Squared(), HuberScale(0.5)], ids=str)
def test_every_objective_has_boundary_optima(objective):
    fit = cj.fit(without_floor(5), objective=objective, starts=64)
    assert fit.status is Status.BOUNDARY and fit.law.E == 0
    assert fit.certificate.holds and fit.certificate.value <= fit.certificate.tolerance
    assert any("E is 0" in warning for warning in fit.warnings)


@pytest.mark.slow
def test_the_solver_for_any_law_and_the_engines_agree():
    design = Design.from_runs(without_floor(6))
    problem = Problem(law=CHINCHILLA, design=design, objective=Huber(0.01))
    starts, weights = CHINCHILLA.starts(design, 16), np.ones((1, 40))
    fast = solve(problem, weights, starts, options=WIDE)
    general = solve_generally(problem, weights, starts, options=WIDE)
    one, other = fast[[fast.best_lane()]], general[[general.best_lane()]]
    assert one.status[0] == other.status[0] == Status.BOUNDARY
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-5, atol=1e-9)
    runs = without_floor(6)
    point = cj.fit(runs, objective=Huber(0.01), starts=32)
    library = cj.fit(runs, objective=Huber(0.01), solver="optax-lbfgs", starts=point)
    assert library.status is Status.BOUNDARY


@pytest.mark.parametrize(
    ("name", "status"), [("equal_exponents", Status.BOUNDARY), ("kaplan", Status.CONVERGED)]
)
def test_only_laws_with_an_irreducible_loss_have_its_bound(name, status):
    assert cj.fit(without_floor(7), LAWS[name](), objective=Huber(0.01), starts=8).status is status


def test_a_term_that_vanished_is_not_at_the_boundary():
    design = Design.from_runs(without_floor(8))
    theta = cj.fit(without_floor(8), starts=32).theta[None].copy()
    theta[0, 0] = -60.0  # A next to nothing
    found = certify(design, np.ones((1, 40)), theta, 1e-3)
    assert found.vanished[0]
    assert judge(CHINCHILLA, theta, found, 1e-12)[0] != Status.BOUNDARY


def test_of_equal_optima_the_better_certified_is_the_best():
    order = [Status.CONVERGED, Status.BOUNDARY, Status.UNIDENTIFIED, Status.MAX_STEPS, Status.INVALID]
    for first, better in enumerate(order):
        for worse in order[first + 1 :]:
            value = np.array([1.0 - 1e-12, 1.0])
            solution = Solution(
                theta=np.zeros((2, 5)), objective_value=value, decrement=np.zeros(2),
                status=np.array([worse, better], np.int8), steps=np.zeros(2, np.int32),
            )  # fmt: skip
            assert solution.best_lane() == 1, (better, worse)


def test_a_fit_at_the_boundary_exits_with_0_and_warns(tmp_path, capsys):
    runs = without_floor(9, lowered=0.3)
    path = tmp_path / "runs.csv"
    runs.to_frame().to_csv(path, index=False)
    assert not main(["fit", str(path), "--starts", "64", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "BOUNDARY" and found["law"]["E"] == 0 and found["certificate"]["holds"]
    assert "E is 0" in found["warnings"][0]
