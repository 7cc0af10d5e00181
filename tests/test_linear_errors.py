"""Leverage and linear errors of a fit: against refits, and what they make a fit say."""

import numpy as np
import pytest
from test_identifiability import fresh_seed

import chinchilla_jax as cj
from chinchilla_jax.fitting.linear_errors import LinearErrors
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.solvers import Problem
from chinchilla_jax.solvers.status import Status

TRUTH = cj.ScalingLaw(E=1.7, A=400.0, B=2000.0, alpha=0.34, beta=0.37)


def table(params, tokens, noise, seed):
    error = noise * np.random.default_rng(seed).standard_normal(len(params))
    return cj.Runs(
        params=params,
        tokens=tokens,
        flops=6 * params * tokens,
        loss=TRUTH.loss(params, tokens) * np.exp(error),
    )


def isoflop():
    flops = np.repeat(np.geomspace(1e18, 1e21, 4), 5)
    params = np.sqrt(flops / 120) * np.tile(np.geomspace(0.25, 4, 5), 4)
    return params, flops / 6 / params


def lone_size():
    """Two sizes, and one run of a third."""
    params = np.r_[np.repeat([1e8, 1e9], 8), 3e9]
    return params, np.r_[np.tile(np.geomspace(1e9, 1e11, 8), 2), 3e10]


def lone_count():
    """Two token counts, and one run of a third."""
    params = np.r_[np.repeat(np.geomspace(1e8, 1e10, 8), 2), 3e8]
    return params, np.r_[np.tile([4e9, 4e10], 8), 2e11]


def test_they_are_those_of_refits():
    runs = table(*isoflop(), 1e-6, 0)  # the law is as good as linear so near its runs
    weights = np.random.default_rng(1).uniform(0.5, 2, len(runs))
    fit = cj.fit(runs, objective="squared", weights=weights)
    problem = Problem(law=CHINCHILLA, design=Design.from_runs(runs), objective=fit.objective)
    errors = LinearErrors.of(problem, weights, fit.theta)
    assert errors.leverage.sum() == pytest.approx(5)
    for i in (0, 7, 19):
        refits = []
        for sign in (1, -1):
            moved = runs.loss * np.exp(sign * 1e-5 * (np.arange(len(runs)) == i))
            again = cj.Runs(params=runs.params, tokens=runs.tokens, flops=runs.flops, loss=moved)
            refits.append(cj.fit(again, objective="squared", weights=weights, starts=64))
        ratio, predicted = (
            (np.log(found[0]) - np.log(found[1])) / 2e-5
            for found in (
                [float(each.law.tokens_per_param(errors.budget)) for each in refits],
                [float(each.law.loss(runs.params[i], runs.tokens[i])) for each in refits],
            )
        )

        assert errors.passed[i] == pytest.approx(ratio, rel=2e-3)
        assert errors.leverage[i] == pytest.approx(predicted, rel=2e-3)


@pytest.mark.parametrize("design", [lone_size, lone_count])
def test_a_run_that_carries_the_answer_is_named(design):
    runs = table(*design(), 0.002, fresh_seed())
    fit = cj.fit(runs)
    assert not fit.status.certified or any("run 17 of the table" in each for each in fit.warnings)
    if fit.status is Status.CONVERGED:
        boot = cj.bootstrap(runs, resamples=20)
        assert any("run 17 of the table" in each for each in boot.warnings)


def near(kind, rng):
    """Designs that are almost degenerate, off any line."""
    jitter = np.exp(0.01 * rng.standard_normal(16))
    sizes, counts = np.geomspace(1e7, 1e10, 16), np.geomspace(1e9, 1e11, 8)
    return {
        "two sizes": (np.repeat([1e8, 1e9], 8) * jitter, np.tile(counts, 2), 0.002),
        "two counts": (np.tile(np.geomspace(1e8, 1e10, 8), 2), np.repeat([4e9, 4e10], 8) * jitter, 0.002),
        "bent line": (sizes, 20 * sizes * np.exp(0.15 * np.log(sizes / 3e8) ** 2), 0.002),
        "by turns": (sizes, np.where(np.arange(16) % 2, 20, 35) * sizes, 0.01),
    }[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["two sizes", "two counts", "bent line", "by turns"])
def test_what_noise_moves_far_is_not_certified_in_silence(kind):
    seed = fresh_seed()
    silent = []
    for number in range(5):
        runs = table(*near(kind, np.random.default_rng([seed, number])), [seed, number])
        fit = cj.fit(runs, starts=64)
        budget = 10 * runs.flops.max()
        if fit.status.certified and not fit.warnings:
            ratio = float(fit.law.tokens_per_param(budget) / TRUTH.tokens_per_param(budget))
            silent.append(abs(np.log(ratio)) / np.log(10))
    # One in fifteen ends where the runs seem to tell more than they do.
    assert len(silent) <= 3, (seed, silent)


def test_a_constant_is_no_law():
    params, tokens = isoflop()
    seed = fresh_seed()
    fits = []
    for number in range(5):
        noise = np.random.default_rng([seed, number]).standard_normal(len(params))
        loss = 2.5 * np.exp(0.01 * noise)
        runs = cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)
        fits.append(cj.fit(runs, starts=64))
    # The test has a level of 5%, and of those found by chance none is silent.
    assert sum("one constant loss fits these runs" in fit.reason for fit in fits) >= 2, seed
    assert all(fit.warnings for fit in fits if fit.status.certified), seed


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e3])
def test_the_width_for_losses_has_their_unit(unit):
    runs = table(*isoflop(), 0.005, 3)
    runs = cj.Runs(runs.params, runs.tokens, runs.flops, runs.loss * np.r_[1.08, np.ones(19)])
    other = cj.Runs(runs.params, runs.tokens, runs.flops, runs.loss * unit)
    fit, scaled = (cj.fit(each, objective="raw_huber", starts=64) for each in (runs, other))
    assert scaled.objective.delta == pytest.approx(unit * fit.objective.delta, rel=1e-2)
    assert scaled.law.tokens_per_param(1e22) == pytest.approx(fit.law.tokens_per_param(1e22), rel=1e-3)


def test_unequal_weights_count_as_fewer_runs():
    params, tokens = isoflop()
    runs = table(params, tokens, 0.005, 0)
    fit = cj.fit(runs, weights=params * tokens)
    assert any("20 runs count as 6.1 of equal weight" in each for each in fit.warnings)
    assert not any("of equal weight" in each for each in cj.fit(runs).warnings)


def heavy():
    """Tokens that grow with parameters, and one run with eight times as many."""
    params = np.r_[np.geomspace(2e7, 2e9, 20), 2e8]
    jitter = np.exp(0.3 * np.random.default_rng(5).standard_normal(20))
    return params, np.r_[20 * params[:20] * jitter, 3.2e10]


def ratios_alike():
    """Sizes over two decades at 15 to 30 tokens per parameter."""
    params = np.repeat(np.geomspace(2e7, 2e9, 8), 3)
    return params, params * np.tile(np.geomspace(15, 30, 3), 8)


@pytest.mark.parametrize(
    ("design", "noise", "said"),
    [
        (heavy, 0.005, "run 21 of the table alone has"),
        (ratios_alike, 0.01, "correlation of ln N and ln D 0.98, condition number"),
        (isoflop, 0.005, None),
        (isoflop, 0.01, None),
    ],
)
def test_a_layout_at_fault_is_named_once_and_a_healthy_one_never(design, noise, said):
    for seed in range(5):
        found = cj.fit(table(*design(), noise, seed), starts=32, delta=0.01).warnings
        named = [each for each in found if "alone has" in each or "correlation of" in each]
        assert len(named) == (said is not None), (seed, found)
        assert said is None or said in named[0]
