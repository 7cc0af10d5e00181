"""HuberScale's optima in a narrow zone, against successive linear programs that know nothing of them."""

import numpy as np
import pytest
from scipy.optimize import linprog

import chinchilla_jax as cj
from chinchilla_jax.datasets import Runs
from chinchilla_jax.laws import CHINCHILLA, STANDARD, Design, Law, read_law
from chinchilla_jax.solvers import Problem, Status, solve
from chinchilla_jax.solvers.least_absolute import DUAL_TOLERANCE, ZERO


def table(seed, n, floor, noise, tails=False):
    rng = np.random.default_rng(seed)
    params, tokens = 10 ** rng.uniform(7, 10, n), 10 ** rng.uniform(8.5, 11.5, n)
    error = rng.standard_t(2, n).clip(-8, 8) if tails else rng.standard_normal(n)
    loss = (floor + 400 * params**-0.34 + 2000 * tokens**-0.36) * np.exp(noise * error)
    return Runs(params, tokens, 6 * params * tokens, loss, name=f"table {seed}")


def residuals(x, design):
    """And their derivatives, written out."""
    a, b, floor, alpha, beta = x
    u, v = design.log_params, design.log_tokens
    p, q = np.exp(np.clip(a - alpha * u, -300, 300)), np.exp(np.clip(b - beta * v, -300, 300))
    loss = floor + p + q
    return np.log(loss) - design.log_loss, np.stack([p, q, np.ones_like(p), -u * p, -v * q], 1) / loss[
        :, None
    ]


def absolute_sum(x, design, weights):
    return float(np.sum(weights * np.abs(residuals(x, design)[0])))


def lowest(x, design, weights):
    """Successive linear programs in a trust region, from x with E >= 0; the sum where they end."""
    x, radius, n = np.maximum(x, [-np.inf, -np.inf, 0, -np.inf, -np.inf]), 0.3, len(design)
    value = absolute_sum(x, design, weights)
    for _ in range(120):
        r, jacobian = residuals(x, design)
        bounds = [(-radius, radius)] * 5 + [(0, None)] * n
        bounds[2] = (max(-radius, -x[2]), radius)
        found = linprog(
            np.r_[np.zeros(5), weights],
            A_ub=np.block([[jacobian, -np.eye(n)], [-jacobian, -np.eye(n)]]), b_ub=np.r_[-r, r],
            bounds=bounds,
        )  # fmt: skip
        if found.status or value - found.fun <= 1e-13 * value or radius < 1e-11:
            break
        trial = x + found.x[:5]
        trial[2] = max(trial[2], 0.0)
        after = absolute_sum(trial, design, weights)
        if value - after > 0.1 * (value - found.fun):
            x, value, radius = trial, after, min(1.5 * radius, 2.0)
        else:
            radius *= 0.3
    return value


def lanes(runs, resamples, seed):
    """A bootstrap, its weights, and the design."""
    from chinchilla_jax.bootstrapping.weights import resample_weights

    boot = cj.bootstrap(runs, objective=cj.HuberScale(), resamples=resamples, seed=seed, scheme="pairs")
    drawn = resample_weights(len(runs), np.arange(resamples), seed).astype(float)
    return boot.solution, drawn, Design.from_runs(runs)


@pytest.mark.parametrize("name", STANDARD)
def test_the_curvature_is_the_derivative_of_the_jacobian(name):
    law, design = read_law(name), Design.from_runs(table(0, 20, 1.7, 0.02))
    rng = np.random.default_rng(1)
    theta, factors = law.starts(design, 3), rng.standard_normal((3, 20))
    found = law.curvature(theta, design, factors)
    generic = Law.curvature(law, theta, design, factors)
    for j in range(law.size):
        step = 1e-5 * np.eye(law.size)[j]
        slopes = (law.jacobian(theta + step, design) - law.jacobian(theta - step, design)) / 2e-5
        expected = np.einsum("rn,rnk->rk", factors, slopes)
        assert found[:, j] == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert generic[:, j] == pytest.approx(found[:, j], rel=1e-9, abs=1e-11)


@pytest.mark.parametrize(
    ("seed", "n", "floor", "noise", "tails"),
    [(1, 8, 1.7, 0.01, False), (2, 12, 0.3, 0.1, True), (3, 20, 0.0, 0.2, True), (4, 30, 1.0, 0.1, False)],
)
def test_no_certified_lane_lies_above_linear_programs(seed, n, floor, noise, tails):
    found, drawn, design = lanes(table(seed, n, floor, noise, tails), 2, seed)
    rng = np.random.default_rng(seed)
    for lane in range(2):
        if found.status[lane] not in (Status.CONVERGED, Status.BOUNDARY):
            continue
        theta, w = found.theta[lane], drawn[lane]
        mine = absolute_sum(theta, design, w)
        starts = [theta, np.where(np.arange(5) == 2, 0.0, theta), theta + 0.2 * rng.standard_normal(5)]
        assert mine <= min(lowest(x, design, w) for x in starts) * (1 + 1e-7)
        assert (found.status[lane] == Status.BOUNDARY) == (theta[2] == 0)


def test_an_optimum_may_have_fewer_zeros_than_parameters():
    """The law bends: curvature holds it in place where residuals do not."""
    found, drawn, design = lanes(table(3, 20, 0.0, 0.2, tails=True), 12, 3)
    small = np.abs(CHINCHILLA.residuals(found.theta, design)) <= ZERO
    zeros = np.sum(small & (drawn > 0), axis=1)
    rooms = 5 - (found.theta[:, 2] == 0)
    few = np.isin(found.status, (Status.CONVERGED, Status.BOUNDARY)) & (zeros < rooms)
    assert few.any()
    assert (found.decrement[few] <= DUAL_TOLERANCE).all()
    rng = np.random.default_rng(0)
    for lane in np.flatnonzero(few)[:2]:
        value = absolute_sum(found.theta[lane], design, drawn[lane])
        for size in (1e-7, 1e-5, 1e-3):
            for near in found.theta[lane] + size * rng.standard_normal((50, 5)):
                near[2] = max(near[2], 0.0)
                assert absolute_sum(near, design, drawn[lane]) > value * (1 - 1e-13)


def test_one_run_twice_is_one_constraint():
    runs = table(5, 14, 1.7, 0.02)
    twice = Runs(*(np.repeat(each, 2) for each in (runs.params, runs.tokens, runs.flops, runs.loss)))
    one, two = (cj.fit(each, objective="huber_scale", starts=32) for each in (runs, twice))
    assert two.status is one.status is Status.CONVERGED
    assert two.law.alpha == pytest.approx(one.law.alpha, rel=1e-9)


def test_every_start_of_a_lane_competes():
    """The best guess alone would end in the first of two minima."""
    runs = table(2, 12, 0.3, 0.1, tails=True)
    problem = Problem(law=CHINCHILLA, design=Design.from_runs(runs), objective=cj.HuberScale())
    starts = CHINCHILLA.starts(problem.design, 6)
    weights = np.ones((2, 12))
    alone = [solve(problem, weights, np.tile(start, (2, 1))).objective_value.min() for start in starts]
    together = solve(problem, weights, [np.tile(start, (2, 1)) for start in starts])
    assert (together.objective_value <= min(alone) + 1e-9 * abs(min(alone))).all()


def test_laws_that_run_off_have_no_certificate_and_raise_no_warning():
    """Eight runs under heavy noise: many a resample has no optimum at all."""
    found, _, _ = lanes(table(7, 8, 1.7, 0.5, tails=True), 16, 7)
    certified = np.isin(found.status, (Status.CONVERGED, Status.BOUNDARY))
    assert 0 < certified.sum() < 16
    assert (found.decrement[certified] <= 1e-9).all() and np.abs(found.theta[certified, 3:]).max() < 12
