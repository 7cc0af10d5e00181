"""Objectives on the loss itself, against SciPy and against code that is slow and obvious."""

import json

import numpy as np
import pytest
from scipy import optimize

import chinchilla_jax as cj
from chinchilla_jax.cli import main
from chinchilla_jax.datasets import Runs
from chinchilla_jax.laws import Design, RawHuber, RawSquared, Squared
from chinchilla_jax.solvers import Problem, SolverOptions, Status, solve

STARTS = 64


def simulated(seed, n=30, noise=0.02):
    rng = np.random.default_rng(seed)
    truth = cj.ScalingLaw(E=1.7, A=400.0, B=2000.0, alpha=0.34, beta=0.36)
    params, tokens = 10 ** rng.uniform(7, 10, n), 10 ** rng.uniform(8.5, 11.5, n)
    loss = truth.loss(params, tokens) + noise * rng.standard_normal(n)
    return Runs(params, tokens, 6 * params * tokens, loss, name=f"simulated {seed}")


TABLES = {
    "chinchilla": cj.load_runs("chinchilla"),
    "llama3": cj.load_runs("llama3"),
    **{f"simulated {seed}": simulated(seed) for seed in range(3)},
}


def predicted(x, runs):
    """E + A N^-alpha + B D^-beta, with logarithms of E, A and B."""
    params, tokens = x[1] - x[3] * np.log(runs.params), x[2] - x[4] * np.log(runs.tokens)
    # SciPy tries laws far away.
    return np.exp(min(x[0], 100)) + np.exp(np.minimum(params, 100)) + np.exp(np.minimum(tokens, 100))


def coordinates(law):
    return np.array([np.log(law.E), np.log(law.A), np.log(law.B), law.alpha, law.beta])


def huber_sum(x, runs, delta, weights):
    total = 0.0
    for loss, value, weight in zip(runs.loss, predicted(x, runs), weights, strict=True):
        e = abs(value - loss)
        total += weight * (e * e / 2 if e <= delta else delta * (e - delta / 2))
    return total


@pytest.mark.parametrize("name", TABLES)
def test_squared_error_of_the_loss_is_what_scipy_minimises(name):
    runs = TABLES[name]
    fit = cj.fit(runs, objective="raw_squared", starts=STARTS)
    assert fit.status is Status.CONVERGED
    rng = np.random.default_rng(0)
    best = min(
        (
            optimize.least_squares(
                lambda x: predicted(x, runs) - runs.loss,
                coordinates(fit.law) + spread * rng.standard_normal(5) * [0.3, 2, 2, 0.1, 0.1],
                method="lm", xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=3000,
            )
            for spread in (0, 0.1, 0.3, 1, 1, 1)
        ),
        key=lambda found: found.cost,
    )  # fmt: skip
    assert fit.objective_value == pytest.approx(best.cost, rel=1e-9)
    assert coordinates(fit.law) == pytest.approx(best.x, rel=1e-4)
    raw = fit.law.loss(runs.params, runs.tokens) - runs.loss
    assert fit.objective_value == pytest.approx(np.sum(raw**2) / 2, rel=1e-9)
    assert RawSquared().value(raw, np.ones(len(runs))) == pytest.approx(fit.objective_value, rel=1e-9)


@pytest.mark.parametrize("delta", [1e-3, 0.02, 10.0])
def test_nothing_is_lower_than_huber_of_the_loss(delta):
    runs = TABLES["simulated 0"]
    weights = 1.0 + np.arange(30) % 3
    fit = cj.fit(runs, objective=RawHuber(delta), weights=weights, starts=STARTS)
    own = weights / weights.mean()
    x = coordinates(fit.law)
    assert fit.status is Status.CONVERGED
    value = huber_sum(x, runs, delta, own)
    assert fit.objective_value == pytest.approx(value, rel=1e-9)
    rng = np.random.default_rng(1)
    for spread in (0.0, 1e-3, 0.1, 0.5):
        start = x + spread * rng.standard_normal(5) * [0.1, 1, 1, 0.1, 0.1]
        found = optimize.minimize(
            huber_sum, start, args=(runs, delta, own), method="Nelder-Mead",
            options={"maxfev": 400, "xatol": 1e-10, "fatol": 1e-16},
        )  # fmt: skip
        assert found.fun >= value * (1 - 1e-9)


def test_the_unit_of_loss_is_of_no_account():
    runs = TABLES["simulated 1"]
    bits = Runs(runs.params, runs.tokens, runs.flops, runs.loss * 1e3)
    nats = cj.fit(runs, objective=RawHuber(0.01), starts=STARTS)
    found = cj.fit(bits, objective=RawHuber(10.0), starts=STARTS)
    assert found.status is nats.status is Status.CONVERGED
    assert found.objective_value == pytest.approx(1e6 * nats.objective_value, rel=1e-9)
    assert (found.law.alpha, found.law.E) == pytest.approx((nats.law.alpha, 1e3 * nats.law.E), rel=1e-7)
    assert found.residual_scale == pytest.approx(1e3 * nats.residual_scale, rel=1e-6)


def test_resamples_are_what_scipy_finds_for_their_weights():
    runs = TABLES["chinchilla"]
    boot = cj.bootstrap(runs, objective="raw_squared", resamples=8, seed=2)
    assert boot.converged.all()
    from chinchilla_jax.bootstrapping.weights import resample_weights

    drawn = resample_weights(240, np.arange(8), 2)
    for lane in range(8):
        root = np.sqrt(drawn[lane].astype(float))
        found = optimize.least_squares(
            lambda x, root=root: root * (predicted(x, runs) - runs.loss),
            coordinates(boot.laws[lane]), method="lm", xtol=1e-14, ftol=1e-14, gtol=1e-14,
        )  # fmt: skip
        assert boot.objective_value[lane] == pytest.approx(found.cost, rel=1e-9)
        assert coordinates(boot.laws[lane]) == pytest.approx(found.x, rel=1e-4)


def test_another_law_of_the_loss():
    runs = TABLES["chinchilla"]
    fit = cj.fit(runs, "equal_exponents", objective="raw_squared", starts=8)
    assert fit.status is Status.CONVERGED
    log_ratios = np.log(runs.params), np.log(runs.tokens)

    def residual(x):
        return (
            np.exp(x[0])
            + np.exp(x[1] - x[3] * log_ratios[0])
            + np.exp(x[2] - x[3] * log_ratios[1])
            - runs.loss
        )

    natural = fit.parameters
    start = [np.log(natural["E"]), np.log(natural["A"]), np.log(natural["B"]), natural["alpha"]]
    found = optimize.least_squares(residual, start, method="lm", xtol=1e-14, ftol=1e-14)
    assert fit.objective_value == pytest.approx(found.cost, rel=1e-9)


def test_delta_is_in_nats_and_may_be_automatic():
    runs = TABLES["simulated 2"]
    fit = cj.fit(runs, objective="raw_huber", delta="auto", starts=STARTS)
    assert fit.objective.automatic and 0.01 < fit.objective.delta < 0.05  # 1.345 times a noise of 0.02
    raw = np.abs(fit.law.loss(runs.params, runs.tokens) - runs.loss)
    assert fit.residual_scale == pytest.approx(1.4826 * np.median(raw) * (30 / 25) ** 0.5, rel=1e-9)


def test_small_residuals_weigh_like_the_log_loss_of_equal_losses():
    """Where all losses are nearly the same, the two kinds of residual are one."""
    rng = np.random.default_rng(5)
    truth = cj.ScalingLaw(E=100.0, A=40.0, B=60.0, alpha=0.2, beta=0.25)
    params, tokens = 10 ** rng.uniform(7, 10, 40), 10 ** rng.uniform(8.5, 11.5, 40)
    loss = truth.loss(params, tokens) * np.exp(1e-4 * rng.standard_normal(40))
    runs = Runs(params, tokens, 6 * params * tokens, loss)
    raw, log = (cj.fit(runs, objective=kind, starts=STARTS) for kind in (RawSquared(), Squared()))
    assert raw.law.alpha == pytest.approx(log.law.alpha, rel=0.05)
    assert raw.objective_value == pytest.approx(100.0**2 * log.objective_value, rel=0.05)


def test_runs_without_a_loss_are_invalid():
    runs = TABLES["simulated 0"]
    bad = Runs(np.where(np.arange(30) == 3, -1.0, runs.params), runs.tokens, runs.flops, runs.loss)
    problem = Problem(law=cj.fit(runs, starts=2).model, design=Design.from_runs(bad), objective=RawSquared())
    found = solve(problem, np.ones((1, 30)), np.zeros((2, 5)), options=SolverOptions())
    assert (found.status == Status.INVALID).all()
    assert cj.fit(bad, objective="raw_huber", delta="auto", starts=2).status is Status.INVALID


def test_raw_objectives_on_the_command_line(capsys):
    assert main(["fit", "chinchilla", "--objective", "raw_squared", "--starts", "64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["objective"] == "raw_squared" and found["law"]["alpha"] == pytest.approx(0.357615, abs=1e-5)
    assert main(["fit", "chinchilla", "--objective", "raw_huber", "--delta", "auto", "--starts", "64"]) == 0
    assert "(raw_huber, delta 0.0171 (automatic))" in capsys.readouterr().out
    assert main(["fit", "chinchilla", "--objective", "raw_squared", "--delta", "1"]) == 2
    assert "'raw_squared' has no delta" in capsys.readouterr().err
    arguments = ["objectives", "chinchilla", "--delta", "1e-3", "--resamples", "4", "--flops", "1e22"]
    assert main(arguments) == 0
    assert "raw_squared" in capsys.readouterr().out
