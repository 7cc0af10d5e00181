"""Certified only where the runs determine the law. Tables are drawn anew, and a failure names the seed."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import tables_of_kinds as kinds
from hypothesis import given, settings
from hypothesis import strategies as st
from test_boundary import without_floor

import chinchilla_jax as cj
from chinchilla_jax.fitting.identifiability import Separation, condition, rival_of
from chinchilla_jax.laws import CHINCHILLA, Design
from chinchilla_jax.laws.separation import line_spreads
from chinchilla_jax.solvers import Problem, Status

TOGETHER = {
    "one ratio": kinds.one_ratio,
    "jitter 1%": partial(kinds.one_ratio, jitter=0.01),
    "jitter 5%": partial(kinds.one_ratio, jitter=0.05),
    "power frontier": kinds.power_frontier,
    "one budget": kinds.one_budget,
    "one run apart": kinds.one_run_apart,
}
HEALTHY = {"isoflop": kinds.isoflop, "grid": kinds.grid}


def fresh_seed():
    return int(np.random.default_rng().integers(2**31))


@pytest.mark.parametrize("kind", TOGETHER)
def test_tables_whose_terms_go_together_are_never_certified_without_a_warning(kind):
    seed = fresh_seed()
    for number in range(6):
        fit = cj.fit(TOGETHER[kind]([seed, number]), starts=64)
        if "jitter" not in kind:
            assert fit.status is Status.UNIDENTIFIED, (seed, number)
        assert not fit.status.certified or fit.warnings, (seed, number)
        if fit.status is Status.UNIDENTIFIED:
            assert "a factor of" in fit.reason, (seed, number)
        else:  # certified with a warning, or out of steps for a reason that says the same
            assert "condition number" in " ".join((fit.reason, *fit.warnings)), (seed, number)


@pytest.mark.parametrize("kind", HEALTHY)
def test_healthy_tables_are_certified_and_hardly_ever_warned(kind):
    seed = fresh_seed()
    fits = [cj.fit(HEALTHY[kind]([seed, number]), starts=64) for number in range(25)]
    assert [number for number, fit in enumerate(fits) if not fit.status.certified] == [], seed
    assert sum(bool(fit.warnings) for fit in fits) <= 6, seed


def test_the_twins_of_one_table_are_both_named():
    """The law that was found and the one with its terms exchanged predict the same losses."""
    n = np.geomspace(1e7, 1e10, 16)
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(16))
    loss = (1.7 + 80 * n**-0.25 + 2e4 * (20 * n) ** -0.5) * noise
    runs = cj.Runs(params=n, tokens=20 * n, flops=120 * n**2, loss=loss)
    fit = cj.fit(runs)
    assert fit.status is Status.UNIDENTIFIED and not fit.certificate.holds
    assert "20 tokens per parameter" in fit.reason and "twin" in fit.reason
    twin = CHINCHILLA.fitted(CHINCHILLA.exchanged(fit.theta), Design.from_runs(runs))
    np.testing.assert_allclose(twin.loss(n, 20 * n), fit.law.loss(n, 20 * n), rtol=1e-9)
    ratios = [float(law.tokens_per_param(10 * runs.flops.max())) for law in (fit.law, twin)]
    assert f"{ratios[0]:.3g} by the law found and {ratios[1]:.3g} by its twin" in fit.reason
    assert max(ratios) / min(ratios) > 1e6


def test_the_embedded_tables_are_determined():
    for name in ("chinchilla", "llama3"):
        fit = cj.fit(cj.load_runs(name), starts=64)
        assert fit.status is Status.CONVERGED and fit.warnings == (), name


def test_a_resample_on_a_line_is_unidentified():
    """Two budgets: a resample can hold runs of one of them only, or one run of the other."""
    rng = np.random.default_rng(fresh_seed())
    params = np.tile(np.geomspace(1e8, 1e9, 8), 2)
    runs = kinds.with_losses(rng, params, np.repeat([1e19, 4e19], 8) / 6 / params)
    design = Design.from_runs(runs)
    weights = np.ones((3, 16))
    weights[1, 8:] = 0
    weights[2, 9:] = 0
    point = cj.fit(runs, starts=64)
    from chinchilla_jax.solvers import SolverOptions, solve

    problem = Problem(law=CHINCHILLA, design=design, objective=cj.Huber())
    found = solve(problem, weights, np.tile(point.theta, (3, 1)), options=SolverOptions(wide_start=True))
    assert found.status[0] == Status.CONVERGED
    assert list(found.status[1:]) == [Status.UNIDENTIFIED] * 2


def test_spreads_are_those_of_least_squares():
    """Against regressions by NumPy, with every run left out in turn."""
    rng = np.random.default_rng(fresh_seed())
    runs = kinds.one_ratio(fresh_seed(), jitter=0.2)
    design = Design.from_runs(runs)
    used = rng.random((5, len(runs))) < 0.7
    x, y = np.log(runs.params), np.log(runs.tokens)

    def spread(rows):
        def about(a, b):
            return np.std(b[rows] - np.polyval(np.polyfit(a[rows], b[rows], 1), a[rows]))

        return min(about(x, y), about(y, x))

    whole, without = line_spreads(design, used)
    for lane, row in enumerate(used):
        rows = np.flatnonzero(row)
        assert whole[lane] == pytest.approx(spread(rows), rel=1e-6)
        assert without[lane] == pytest.approx(
            min(spread(np.delete(rows, k)) for k in range(len(rows))), rel=1e-6
        )


def test_the_run_that_carries_everything_is_named():
    runs = kinds.one_run_apart(3)
    apart = int(np.argmax(np.abs(np.log(runs.tokens / runs.params / 20))))
    separation = Separation.of(Design.from_runs(runs), None)
    assert separation.one_carries and separation.run == apart
    assert separation.power == pytest.approx(1.0) and separation.ratio == pytest.approx(20.0)
    assert f"run {apart + 1} of the table" in cj.fit(runs, starts=32).reason


def test_a_rival_needs_to_be_as_good_and_to_differ():
    runs = kinds.grid(5)
    fit = cj.fit(runs, starts=64)
    problem = Problem(law=CHINCHILLA, design=Design.from_runs(runs), objective=cj.Huber())
    floor = np.eye(5)[2]
    near, far = fit.theta + 1e-7 * floor, fit.theta + 0.5 * floor
    assert rival_of(problem, None, fit.theta, np.stack([near, far])) is None
    assert rival_of(problem, None, fit.theta, np.zeros((0, 5))) is None
    # The same losses by another law: what lies off these runs is all that differs.
    line = kinds.one_ratio(7)
    found = cj.fit(line, starts=64)
    on_line = Problem(law=CHINCHILLA, design=Design.from_runs(line), objective=cj.Huber())
    rival = rival_of(on_line, None, found.theta, CHINCHILLA.exchanged(found.theta)[None])
    assert rival is not None and rival.excess < 1e-6
    assert condition(on_line, None, found.theta) > condition(problem, None, fit.theta)


@pytest.mark.parametrize("what", ["params", "tokens"])
def test_a_loss_that_rises_is_an_optimum_without_a_prescription(what):
    rng = np.random.default_rng(fresh_seed())
    params, tokens = 10 ** rng.uniform(7, 9, 30), 10 ** rng.uniform(9, 11, 30)
    falls, rises = (tokens, params) if what == "params" else (params, tokens)
    loss = 1.5 + 30 * falls**-0.25 + 0.05 * rises**0.12
    runs = cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)
    noisy = dataclasses.replace(runs, loss=loss * np.exp(1e-3 * rng.standard_normal(30)))
    fit = cj.fit(noisy, starts=256)
    exponent = fit.law.alpha if what == "params" else fit.law.beta
    assert fit.status.certified and exponent < 0
    assert not 0 < fit.law.tokens_per_param(1e21) < np.inf
    words = {"params": "rises with parameters", "tokens": "rises with tokens"}[what]
    assert any(words in warning and f"{exponent:.3g}" in warning for warning in fit.warnings)


ODD = {**TOGETHER, **HEALTHY, "no floor": lambda seed: without_floor(seed, n=24)}


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(kind=st.sampled_from(sorted(ODD)), seed=st.integers(0, 2**31), delta=st.sampled_from([1e-3, 0.01]))
def test_one_table_has_one_status(kind, seed, delta):
    """Whichever command fits it."""
    runs = ODD[kind](seed)
    fit = cj.fit(runs, objective=cj.Huber(delta))
    boot = cj.bootstrap(runs, objective=cj.Huber(delta), resamples=4, seed=0)
    assert fit.status is boot.point.status
    assert fit.objective_value == pytest.approx(boot.point.objective_value, rel=1e-6)
    assert boot.point.warnings == fit.warnings or kind not in HEALTHY


def test_running_out_of_steps_on_a_line_does_not_ask_for_more():
    runs = kinds.one_ratio(11)
    fit = cj.fit(runs, starts=8, options=cj.SolverOptions(max_steps=1))
    assert fit.status is Status.UNIDENTIFIED and "More runs of this kind do not help" in fit.reason
    apart = cj.fit(kinds.grid(11), starts=8, options=cj.SolverOptions(max_steps=1))
    assert apart.status is Status.MAX_STEPS and apart.reason == apart.status.sentence


def test_one_size_and_one_token_count_are_named():
    rng = np.random.default_rng(2)
    counts = np.geomspace(1e9, 1e12, 12)
    for params, tokens, words in (
        (np.full(12, 1e9), counts, "1e+09 parameters"),
        (counts, np.full(12, 3e10), "3e+10 tokens"),
    ):
        fit = cj.fit(kinds.with_losses(rng, params, tokens), starts=32)
        assert fit.status is Status.UNIDENTIFIED and f"all runs have {words}" in fit.reason
