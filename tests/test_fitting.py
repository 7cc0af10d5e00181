"""Point fits against the published figures and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize
from solving import solve_design

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping import scouting
from chinchilla_jax.bootstrapping.weights import PILOT, resample_weights
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.published_grid import grid_starts, published_grid
from chinchilla_jax.solvers import Problem


@pytest.fixture(scope="module")
def runs() -> cj.Runs:
    return cj.load_runs("chinchilla")


@pytest.fixture(scope="module")
def huber(runs: cj.Runs) -> cj.FitResult:
    return cj.fit(runs)


@pytest.fixture(scope="module")
def vertex(runs: cj.Runs) -> cj.FitResult:
    return cj.fit(runs, objective=cj.HuberScale(), starts=64)


def test_huber_reaches_the_exact_minimum(huber: cj.FitResult) -> None:
    assert huber.objective_value == pytest.approx(0.0010182740175, abs=1e-12)
    assert huber.status is cj.Status.CONVERGED
    assert huber.certificate.holds and huber.certificate.value <= 1e-12
    assert pytest.approx(477.8, abs=0.05) == huber.law.A
    assert pytest.approx(2143, abs=0.5) == huber.law.B
    assert (huber.law.E, huber.law.alpha, huber.law.beta) == pytest.approx((1.8172, 0.3473, 0.3672), abs=5e-5)


def test_every_start_is_accounted_for(huber: cj.FitResult) -> None:
    assert huber.starts.n == 4500
    assert sum(huber.starts.status.values()) == 4500
    assert 3500 < huber.starts.n_at_best <= huber.starts.status["CONVERGED"]


def test_objective_value_is_that_of_the_law(runs: cj.Runs, huber: cj.FitResult) -> None:
    residual = np.log(huber.law.loss(runs.params, runs.tokens)) - np.log(runs.loss)
    size = np.abs(residual)
    by_hand = np.sum(np.where(size <= 1e-3, 0.5 * residual**2, 1e-3 * (size - 0.5e-3)))
    assert huber.objective_value == pytest.approx(by_hand, rel=1e-12)
    np.testing.assert_allclose(huber.residuals, residual, atol=1e-13)


def test_scipy_finds_nothing_lower(runs: cj.Runs, huber: cj.FitResult) -> None:
    objective = cj.Huber()

    def value(logs: np.ndarray) -> float:
        a, b, e, alpha, beta = logs
        law = np.exp(a - alpha * np.log(runs.params)) + np.exp(b - beta * np.log(runs.tokens)) + np.exp(e)
        return float(objective.value(np.log(law) - np.log(runs.loss), 1.0)) * 1e3

    law = huber.law
    start = np.array([np.log(law.A), np.log(law.B), np.log(law.E), law.alpha, law.beta])
    for scale in (0.0, 0.01, 0.05):
        noise = scale * np.random.default_rng(0).normal(size=5)
        found = optimize.minimize(value, start + noise, method="Nelder-Mead", options={"maxiter": 4000})
        assert found.fun / 1e3 >= huber.objective_value * (1 - 1e-9)


def test_huber_scale_reaches_the_vertex(vertex: cj.FitResult) -> None:
    law = vertex.law
    assert round(law.A, 3) == 482.006
    assert round(law.B, 3) == 2085.436
    assert round(law.E, 6) == 1.816864
    assert (round(law.alpha, 6), round(law.beta, 6)) == (0.347813, 0.365854)
    assert np.sum(np.abs(vertex.residuals)) == pytest.approx(1.1294946536, abs=1e-9)
    assert vertex.objective_value == pytest.approx(-879.773139, abs=1e-6)
    assert vertex.certificate.kind == "dual" and vertex.certificate.holds
    assert np.sum(np.abs(vertex.residuals) < 1e-12) == 5


def test_the_vertex_satisfies_its_dual_by_linear_programming(runs: cj.Runs, vertex: cj.FitResult) -> None:
    """Multipliers within [-1, 1] that balance the gradient exist, found by an independent solver."""
    law, u, v = vertex.law, np.log(runs.params), np.log(runs.tokens)
    of_params, of_tokens = law.A * runs.params**-law.alpha, law.B * runs.tokens**-law.beta
    total = of_params + of_tokens + law.E
    jacobian = np.stack(
        [of_params / total, of_tokens / total, 1 / total, -u * of_params / total, -v * of_tokens / total]
    )
    zero = np.abs(vertex.residuals) < 1e-12
    pull = jacobian[:, ~zero] @ np.sign(vertex.residuals[~zero])
    scale = np.abs(jacobian).sum(axis=1)
    multipliers = np.linalg.solve(jacobian[:, zero] / scale[:, None], -pull / scale)
    assert np.abs(multipliers).max() < 1


@pytest.mark.parametrize("delta", [0.3, 1.345])
def test_huber_scale_with_a_wide_zone_agrees_with_scipy(runs: cj.Runs, delta: float) -> None:
    fit = cj.fit(runs, objective=cj.HuberScale(delta), starts=32)
    objective = cj.HuberScale(delta)

    def value(z: np.ndarray) -> float:
        a, b, e, alpha, beta, log_sigma = z
        law = np.exp(a - alpha * np.log(runs.params)) + np.exp(b - beta * np.log(runs.tokens)) + np.exp(e)
        return float(objective.value(np.log(law) - np.log(runs.loss), np.ones(len(runs)), np.exp(log_sigma)))

    law = fit.law
    sigma = float(objective.scale(fit.residuals, np.ones(len(runs))))
    start = np.array([np.log(law.A), np.log(law.B), np.log(law.E), law.alpha, law.beta, np.log(sigma)])
    found = optimize.minimize(
        value, start + 1e-3, method="Nelder-Mead", options={"maxiter": 6000, "xatol": 1e-10}
    )
    assert fit.status is cj.Status.CONVERGED
    assert value(start) == pytest.approx(fit.objective_value, abs=1e-9)
    assert fit.objective_value <= found.fun + 1e-7


@pytest.mark.parametrize("delta", [1e-3, 0.5, 2.0])
def test_huber_density_integrates_to_one(delta: float) -> None:
    objective = cj.HuberScale(delta)
    reach = 40 / delta

    def density(x: float) -> float:
        return float(np.exp(-objective.value(np.array([x]), np.ones(1), np.array(1.0))))

    mass = 2 * integrate.quad(density, 0, reach, points=[delta], limit=400)[0]
    assert mass == pytest.approx(1.0, abs=1e-6)


def test_published_grid_is_the_published_one() -> None:
    grid = published_grid()
    assert grid.shape == (4500, 5)
    assert {tuple(np.unique(grid[:, 2])), tuple(np.unique(grid[:, 3]))} == {
        (-1.0, -0.5, 0.0, 0.5, 1.0),
        (0.0, 0.5, 1.0, 1.5, 2.0),
    }
    assert len(np.unique(grid_starts(4500), axis=0)) == 4500


def test_noisy_data_recovers_the_law() -> None:
    truth = cj.ScalingLaw(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.33)
    rng = np.random.default_rng(3)
    params, tokens = 10 ** rng.uniform(7.5, 10.5, 400), 10 ** rng.uniform(9, 12, 400)
    loss = truth.loss(params, tokens) * np.exp(0.002 * rng.standard_t(4, 400))
    fit = cj.fit(cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss), starts=64)
    assert fit.status is cj.Status.CONVERGED
    assert fit.law.alpha == pytest.approx(0.34, abs=0.01)
    assert fit.law.beta == pytest.approx(0.33, abs=0.01)
    assert pytest.approx(1.7, abs=0.02) == fit.law.E


def test_data_without_a_floor_are_at_the_boundary() -> None:
    """Losses of a law whose best E is negative: the best E in range is zero, and that is an optimum."""
    rng = np.random.default_rng(1)
    params, tokens = 10 ** rng.uniform(7.5, 10.5, 200), 10 ** rng.uniform(9, 12, 200)
    loss = cj.ScalingLaw(E=0.0, A=60.0, B=60.0, alpha=0.12, beta=0.12).loss(params, tokens) - 0.3
    fit = cj.fit(cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss), starts=32)
    assert fit.status is cj.Status.BOUNDARY and fit.status.certified
    assert fit.law.E == 0
    assert fit.certificate.holds
    assert "E = 0" in fit.status.sentence
    assert "E is 0" in fit.warnings[0]


def test_one_model_size_is_unidentified() -> None:
    """The Hessian has a zero row there; curved coordinates once made it look positive definite."""
    rng = np.random.default_rng(0)
    tokens = np.geomspace(1e9, 1e12, 12)
    loss = 2 + 500 * tokens**-0.3 * np.exp(0.01 * rng.normal(size=12))
    fit = cj.fit(cj.Runs(params=np.full(12, 1e9), tokens=tokens, flops=6e9 * tokens, loss=loss), starts=32)
    assert fit.status is cj.Status.UNIDENTIFIED
    assert fit.starts.status["CONVERGED"] == 0


def test_an_amplitude_past_float64_is_unidentified(runs: cj.Runs) -> None:
    assert cj.fit(cj.Additive(1e12).apply(runs), starts=32).status is cj.Status.UNIDENTIFIED


def test_huber_scale_of_a_perfect_fit_has_no_certificate() -> None:
    """The likelihood grows without bound as the scale goes to zero."""
    law = cj.ScalingLaw(E=1.7, A=400.0, B=1200.0, alpha=0.34, beta=0.33)
    params, tokens = np.geomspace(1e8, 1e10, 12), np.tile([1e9, 1e10, 1e11], 4)
    runs = cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=law.loss(params, tokens))
    fit = cj.fit(runs, objective=cj.HuberScale(), starts=16)
    assert fit.status is not cj.Status.CONVERGED
    assert np.isfinite(fit.objective_value)


def test_bad_arguments_are_named(runs: cj.Runs) -> None:
    with pytest.raises(cj.UsageError, match="starts is 0"):
        cj.fit(runs, starts=0)
    with pytest.raises(cj.UsageError, match="did you mean 'newton'"):
        cj.fit(runs, solver="newtn")
    with pytest.raises(cj.UsageError, match="delta is"):
        cj.Huber(float("nan"))
    with pytest.raises(cj.UsageError, match="vertex"):
        cj.fit(runs, objective=cj.HuberScale(), solver="optax-lbfgs")


@pytest.mark.parametrize("call", [cj.fit, cj.bootstrap])
def test_what_is_no_table_or_objective_is_answered_in_one_line(call) -> None:
    with pytest.raises(
        cj.UsageError, match=f"^{call.__name__} cannot read 42, of type int; give an embedded"
    ):
        call(42)
    with pytest.raises(cj.DataError, match="did you mean 'chinchilla'"):
        call("chinchila")
    with pytest.raises(cj.UsageError, match="objective is 1; give Huber"):
        call(cj.load_runs("chinchilla"), objective=1)


@settings(max_examples=60, deadline=None)
@given(
    residual=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30),
    weights=st.lists(st.integers(0, 5), min_size=30, max_size=30),
    delta=st.floats(1e-3, 50.0),
)
def test_the_scale_minimises_the_likelihood(residual: list[float], weights: list[int], delta: float) -> None:
    r, w = np.array(residual), np.array(weights[: len(residual)], float)
    w[0] += 1
    objective = cj.HuberScale(delta)

    def value(log_sigma: float) -> float:
        return float(objective.value(r, w, np.exp(log_sigma)))

    found = float(np.log(objective.scale(r, w)))
    sought = optimize.minimize_scalar(value, bracket=(found - 1.0, found + 1.5), tol=1e-12)
    assert value(found) <= sought.fun + 1e-12 * abs(sought.fun)
    # One lane of many is the same as alone.
    assert np.exp(found) == pytest.approx(objective.scale(np.stack([r, 2 * r]), w)[0], rel=1e-15)


def _few_runs(seed: int) -> cj.Runs:
    """Twelve runs in three budgets, 2% noise: many starts end elsewhere than at the best optimum."""
    rng = np.random.default_rng(seed)
    params, flops = np.meshgrid(np.geomspace(5e7, 1e9, 4), np.geomspace(1e18, 1e20, 3))
    params, tokens = params.ravel(), (flops / (6 * params)).ravel()
    loss = cj.ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37).loss(params, tokens)
    loss *= np.exp(0.02 * rng.standard_normal(12))
    return cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)


def test_a_table_has_one_point_fit_whatever_asks_for_it() -> None:
    some = _few_runs(1)
    alone = cj.fit(some)
    beside = cj.bootstrap(some, resamples=2).point
    # Where few starts agree the bootstrap tries them all, as the fit does; options that say nothing of steps
    # change no limit.
    chosen = cj.fit(some, options=cj.SolverOptions(workers=1))
    for other in (beside, chosen):
        assert other.starts.status == alone.starts.status
        assert (other.status, other.objective_value) == (alone.status, alone.objective_value)
    assert cj.fit(some, options=cj.SolverOptions(max_steps=3)).steps <= 6  # 3 in each precision


@pytest.mark.parametrize(("raced", "n_far", "distance"), [(True, 1, 0.1), (False, 2, 0.3)])
def test_the_pool_for_hard_data_holds_every_optimum_of_its_pilots(raced, n_far, distance) -> None:
    # Runs with 20% noise on the loss: the best of two starts often runs off, where the other ends well.
    rng = np.random.default_rng(3)
    truth = cj.ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
    params, tokens = 10 ** rng.uniform([7.5, 9], [10.2, 11.8], (120, 2)).T
    loss = truth.loss(params, tokens) * np.exp(0.2 * rng.standard_t(3, 120))
    design = Design.from_runs(cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss))
    known = np.array([[-1.0, -1.0, 1.8, 0.4, 0.4]])
    problem = Problem(law=CHINCHILLA, design=design, objective=cj.Huber())
    recipe = scouting.scout(problem, known, options=cj.SolverOptions(), raced=raced)
    assert recipe.ranks > 1
    weights = resample_weights(120, np.arange(128, 256), 0, stream=PILOT)
    n_optima = 0
    for start in CHINCHILLA.theta_from_logs(grid_starts(n_far), design):
        options = cj.SolverOptions(wide_start=True, max_steps=40)
        found = solve_design(design, weights, np.tile(start, (128, 1)), objective=cj.Huber(), options=options)
        optima = found.theta[found.status == cj.Status.CONVERGED]
        apart = np.abs(optima[:, None] - recipe.pool).max(axis=2).min(axis=1)
        assert (apart <= distance).all()
        n_optima += len(optima)
    assert n_optima > 50 * n_far
