"""The Newton method for any law in plain JAX: against the solver it is to replace, SciPy and itself."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from chinchilla_jax import fit, load_runs
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.datasets import Runs
from chinchilla_jax.laws import (
    LAWS,
    STANDARD,
    AsymmetricError,
    Design,
    Huber,
    Kaplan,
    Law,
    RawHuber,
    ScalingLaw,
)
from chinchilla_jax.perturbations import LogNormalNoise
from chinchilla_jax.solvers import Problem, SolverOptions, Status, solve
from chinchilla_jax.solvers.batch import Batch
from chinchilla_jax.solvers.certificate import certify
from chinchilla_jax.solvers.dispatch import solve_generally, solve_many
from chinchilla_jax.solvers.jax_newton import compiled
from chinchilla_jax.solvers.jax_newton.law_program import LawProgram
from chinchilla_jax.solvers.jax_newton.verdicts import _eliminated

RUNS = load_runs("chinchilla", params="standard")
DESIGN = Design.from_runs(RUNS)
LANES = 24
WEIGHTS = resample_weights(len(RUNS), np.arange(LANES), 0)
SAME = ("theta", "objective_value", "decrement", "status", "steps")


def point(law, runs=RUNS, objective=None):
    return np.asarray(fit(runs, law=law, objective=objective or Huber()).starts.minima[0])


def solved(law, weights, starts, *, design=DESIGN, objective=None, **options):
    """One data set."""
    problem = Problem(law=law, design=design, objective=objective or Huber())
    return solve_generally(problem, weights, starts, options=SolverOptions(**options))


# --- the program of a law ----------------------------------------------------------------------------------


class Array(Kaplan):
    """Takes theta as an array, and divides, and has a derivative of its own."""

    @staticmethod
    def log_loss(theta, place, constants):
        u, v = place
        inside = jax.nn.logsumexp(jnp.stack([theta[0] - theta[2] * u, theta[1] - constants[0] * v]))
        return jnp.exp(theta[3]) * inside / jax.nn.relu(1.0 + 0.0 * u)


@pytest.mark.slow
@pytest.mark.parametrize("law", [*(LAWS[name] for name in STANDARD), Array])
def test_the_program_of_a_law_has_its_derivatives(law):
    rng = np.random.default_rng(0)
    p, constants = law().size, law().constants(DESIGN)
    theta, u, v = rng.uniform(0.2, 0.6, p), 0.3, -0.4
    with float64_scope():
        program = LawProgram(law, len(constants), np.float64)
        features, shared = program.prepare((jnp.float64(u), jnp.float64(v)), jnp.asarray(constants))

        def inner(x):
            return program.inner(list(x), features, shared)

        def whole(x):
            return jnp.log(inner(x)) if program.ends_in_log else inner(x)

        def expected(x):
            return law.log_loss(x, (u, v), jnp.asarray(constants))

        x = jnp.asarray(theta)
        np.testing.assert_allclose(whole(x), expected(x), rtol=1e-14)
        gradients = (jax.jit(jax.jacfwd(each))(x) for each in (whole, expected))
        np.testing.assert_allclose(*gradients, rtol=1e-12, atol=1e-15)
        hessian = np.asarray(jax.jit(jax.hessian(expected))(x))
        np.testing.assert_allclose(jax.jit(jax.jacfwd(jax.jacfwd(whole)))(x), hessian, rtol=1e-11, atol=1e-14)
        # What is left out is zero, and nothing else is missing.
        hessian = np.asarray(jax.jit(jax.jacfwd(jax.jacfwd(inner)))(x))
        for j in range(p):
            for k in range(j + 1):
                by = program.second.get((j, k))
                found = by(list(x), features, shared) if by else 0.0
                np.testing.assert_allclose(found, hessian[j, k], rtol=1e-12, atol=1e-15)


def test_what_does_not_depend_on_theta_is_computed_once():
    with float64_scope():
        program = LawProgram(LAWS["broken"], 6, np.float64)
    names = {equation.name for equation in program._lane_equations}
    assert program.ends_in_log and "logaddexp" not in names


# --- optima ------------------------------------------------------------------------------------------------


def assert_scipy_goes_no_lower(problem, weights, theta):
    """BFGS from beside each end (R, p) finds the same objective, or a higher one where it stops early."""
    for lane, end in enumerate(theta):

        def value(moved, row=weights[lane]):
            return float(problem.losses(moved) @ row)

        scale = value(end)
        begun = end + 0.01 * np.random.default_rng(lane).standard_normal(len(end))
        with np.errstate(all="ignore"):
            rival = optimize.minimize(lambda moved, value=value, scale=scale: value(moved) / scale, begun)
        assert rival.fun >= 1 - 1e-9
        assert rival.fun <= 1.01


@pytest.mark.slow
@pytest.mark.parametrize("name", STANDARD)
def test_every_law_ends_at_optima_that_scipy_knows(name):
    law = LAWS[name]()
    starts = np.tile(point(name), (LANES, 1))
    found = solved(law, WEIGHTS, starts)
    assert (found.status == Status.CONVERGED).all() and (found.decrement <= 1e-12).all()
    problem = Problem(law=law, design=DESIGN, objective=Huber())
    assert_scipy_goes_no_lower(problem, WEIGHTS[:3], found.theta[:3])


@pytest.mark.slow
def test_the_five_parameter_law_ends_where_the_lane_kernel_does():
    law = LAWS["chinchilla"]()
    starts = np.tile(point("chinchilla"), (LANES, 1))
    problem = Problem(law=law, design=DESIGN, objective=Huber())
    found, other = (
        solve(problem, WEIGHTS, starts, options=SolverOptions(engine=engine)) for engine in ("xla", "lanes")
    )
    np.testing.assert_allclose(found.objective_value, other.objective_value, rtol=1e-12)
    np.testing.assert_allclose(found.theta, other.theta, atol=1e-8)
    assert (found.status == other.status).all()


@pytest.mark.slow
@pytest.mark.parametrize("objective", [AsymmetricError(), RawHuber()], ids=repr)
def test_every_zone(objective):
    law = LAWS["chinchilla"]()
    wide = isinstance(objective, AsymmetricError)
    starts = np.tile(point("chinchilla"), (16, 1))
    found = solved(law, WEIGHTS[:16], starts, objective=objective, wide_start=wide)
    assert (found.status == Status.CONVERGED).all()
    assert_scipy_goes_no_lower(
        Problem(law=law, design=DESIGN, objective=objective), WEIGHTS[:3], found.theta[:3]
    )


@pytest.mark.slow
def test_starts_far_away_narrow_the_zone():
    law = LAWS["chinchilla"]()
    starts = law.starts(DESIGN, 40)
    found = solved(law, np.ones((1, 240)), starts, wide_start=True)
    best = fit(RUNS).objective_value
    assert np.mean(np.abs(found.objective_value / best - 1) < 1e-9) > 0.5
    assert (found.objective_value >= best * (1 - 1e-9)).all()


@pytest.mark.slow
def test_certificates_are_those_of_the_independent_check():
    noisy = Design.from_runs(LogNormalNoise(2.4).apply(RUNS, seed=0))
    law = LAWS["chinchilla"]()
    starts = np.tile(law.starts(noisy, 12), (2, 1))
    found = solved(law, WEIGHTS, starts, design=noisy, wide_start=True)
    certified = np.isin(found.status, (Status.CONVERGED, Status.BOUNDARY))
    assert certified.mean() > 0.5
    check = certify(noisy, WEIGHTS, found.theta, 1e-3)
    assert (check.definite & (check.decrement <= 1e-12))[certified].all()
    assert (check.held == (found.status == Status.BOUNDARY))[certified].all()


# --- statuses ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_law_without_irreducible_loss_ends_at_the_boundary():
    rng = np.random.default_rng(0)
    params, tokens = 10 ** rng.uniform([7.5, 9.0], [10.2, 11.8], (240, 2)).T
    loss = ScalingLaw(E=1e-9, A=20.0, B=30.0, alpha=0.12, beta=0.13).loss(params, tokens)
    loss = loss - 0.05 * loss.min()
    loss *= np.exp(1e-3 * rng.standard_normal(240))
    design = Design.from_runs(Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss))
    law = LAWS["chinchilla"]()
    starts = np.tile(law.starts(design, 1), (LANES, 1))
    found = solved(law, WEIGHTS, starts, design=design, wide_start=True)
    at_bound = found.status == Status.BOUNDARY
    assert at_bound.any() and (found.theta[at_bound, 2] == 0).all()
    check = certify(design, WEIGHTS[at_bound], found.theta[at_bound], 1e-3)
    assert (check.definite & check.held & (check.decrement <= 1e-12)).all()


@pytest.mark.slow
def test_other_statuses():
    law = LAWS["chinchilla"]()
    starts = np.tile(point("chinchilla") + 0.2, (4, 1))
    assert (solved(law, WEIGHTS[:4], starts, max_steps=2).status == Status.MAX_STEPS).all()
    few = np.zeros((1, 240))
    few[0, :3] = 1.0
    assert (solved(law, few, starts).status == Status.UNIDENTIFIED).all()
    infinite = np.where(np.arange(5) == 0, np.inf, starts)
    found = solved(law, WEIGHTS[:4], infinite, max_steps=30)
    assert not np.isin(found.status, (Status.CONVERGED, Status.BOUNDARY)).any()
    broken = Design.from_runs(Runs(params=-RUNS.params, tokens=RUNS.tokens, flops=RUNS.flops, loss=RUNS.loss))
    assert (solved(law, WEIGHTS[:4], starts, design=broken).status == Status.INVALID).all()
    assert len(solved(law, WEIGHTS[:0], starts[:0])) == 0


def test_the_product_of_pivots_bounds_the_smallest_eigenvalue():
    rng = np.random.default_rng(0)
    for p in range(2, 9):
        factor = rng.standard_normal((200, p, p + 2)) * np.exp(rng.uniform(-6, 0, (200, p, 1)))
        matrix = factor @ np.swapaxes(factor, 1, 2)
        size = np.sqrt(np.einsum("rjj->rj", matrix))
        matrix /= size[:, :, None] * size[:, None]
        right = rng.standard_normal((200, p))
        form, product = _eliminated(matrix, right)
        lowest = np.linalg.eigvalsh(matrix)[:, 0]
        assert (product * ((p - 1) / p) ** (p - 1) <= lowest * (1 + 1e-9)).all()
        np.testing.assert_allclose(
            form, np.einsum("rj,rj->r", right, np.linalg.solve(matrix, right[..., None])[..., 0]), rtol=1e-6
        )


# --- batches -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_lane_ends_with_the_same_bits_in_any_company():
    name = "chinchilla"
    law = LAWS[name]()
    weights = resample_weights(240, np.arange(600), 7)
    starts = point(name) + np.random.default_rng(0).uniform(-0.3, 0.3, (600, law.size))
    together = solved(law, weights, starts, wide_start=True)
    assert together.steps.max() >= 2 * together.steps.min()
    for some in (np.array([561, 3, 89, 17, 40]), np.arange(100, 300)):
        apart = solved(law, weights[some], starts[some], wide_start=True)
        for field in SAME:
            np.testing.assert_array_equal(getattr(apart, field), getattr(together, field)[some])


@pytest.mark.slow
def test_many_data_sets_in_one_call():
    law, count = LAWS["chinchilla"](), 5
    tables = [LogNormalNoise(sigma).apply(RUNS, seed=1) for sigma in (0.01, 0.1, 0.2, 0.3)]
    bad = Runs(params=-RUNS.params, tokens=RUNS.tokens, flops=RUNS.flops, loss=RUNS.loss)
    designs = [Design.from_runs(runs) for runs in (*tables, bad)]
    problems = [Problem(law=law, design=design, objective=Huber()) for design in designs]
    rng = np.random.default_rng(0)
    condition, row = (x.reshape(-1) for x in np.indices((count, 16)))
    order = rng.permutation(len(row))
    condition, row = condition[order], row[order]
    starts = np.tile(point("chinchilla"), (len(row), 1))
    batch = Batch(tuple(problems), WEIGHTS[:16], condition, row)
    found = solve_many(batch, [starts], options=SolverOptions(wide_start=True, engine="xla"))
    assert (found.status[condition == 4] == Status.INVALID).all()
    for number in range(4):
        mine = condition == number
        alone = solved(law, WEIGHTS[row[mine]], starts[mine], design=designs[number], wide_start=True)
        for field in SAME:
            np.testing.assert_array_equal(getattr(found[mine], field), getattr(alone, field))


@pytest.mark.slow
def test_lanes_of_one_call_have_different_numbers_of_starts():
    law = LAWS["chinchilla"]()
    near = np.tile(point("chinchilla"), (16, 1))
    far = np.repeat(law.starts(DESIGN, 2), 8, axis=0)
    several = np.arange(16) % 3 > 0
    problem = Problem(law=law, design=DESIGN, objective=Huber())
    options = SolverOptions(engine="xla")
    further = np.where(several[:, None], near, np.nan)
    found = solve(problem, WEIGHTS[:16], [far, further], options=options)
    one = solve(problem, WEIGHTS[:16][~several], [far[~several]], options=options)
    two = solve(problem, WEIGHTS[:16][several], [far[several], near[several]], options=options)
    for field in SAME:
        np.testing.assert_array_equal(getattr(found[~several], field), getattr(one, field))
        np.testing.assert_array_equal(getattr(found[several], field), getattr(two, field))


@pytest.mark.slow
def test_threads_that_begin_together_compile_once(monkeypatch):
    monkeypatch.setattr(compiled, "_calls", {})
    asked, compile_once = [], compiled._compile

    def counted(*arguments):
        asked.append(arguments)
        return compile_once(*arguments)

    monkeypatch.setattr(compiled, "_compile", counted)
    law, starts = LAWS["equal_exponents"](), np.tile(point("equal_exponents"), (8, 1))
    ends: list = [None] * 4

    def work(number):
        ends[number] = solved(law, WEIGHTS[:8], starts)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
    for end in ends:
        np.testing.assert_array_equal(end.theta, ends[0].theta)


@pytest.mark.slow
def test_a_law_that_takes_an_array():
    law: Law = Array()
    starts = np.tile(point("kaplan"), (8, 1))
    found = solved(law, WEIGHTS[:8], starts)
    expected = solved(Kaplan(), WEIGHTS[:8], starts)
    np.testing.assert_allclose(found.theta, expected.theta, atol=1e-7)
