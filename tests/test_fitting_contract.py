"""One contract over all laws, objectives and engines that are allowed together."""

import functools

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax.laws import (
    CHINCHILLA,
    OBJECTIVES,
    STANDARD,
    Design,
    HuberScale,
    read_law,
    read_objective,
)
from chinchilla_jax.solvers import SOLVER_NAMES, Problem, SolverOptions, Status, dispatch, solve

# Always 240 runs: what is compiled once serves all tests.
RUNS = cj.load_runs("chinchilla")
DESIGN = Design.from_runs(RUNS)
PAIRS = [(law, objective) for law in STANDARD for objective in OBJECTIVES]
ENGINES = [
    (law, objective, engine)
    for law, objective in PAIRS
    for engine in (
        ("lanes", "xla", "any law")
        if dispatch.has_kernel(read_law(law), read_objective(objective))
        else ("auto",)
    )
    if not (engine == "any law" and objective == "huber_scale")
]


def by_tier(combinations):
    """The fast tier has the five-parameter law, except by XLA, and one other; each of the rest compiles."""
    return [
        given
        if (given[0] == "chinchilla" and given[-1] != "xla") or given[:2] == ("kaplan", "huber")
        else pytest.param(*given, marks=pytest.mark.slow)
        for given in combinations
    ]


@functools.cache
def point(law, objective):
    return cj.fit(RUNS, law, objective=objective, starts=24)


def value(objective, residuals, weights, loss=RUNS.loss):
    """The objective by its definition, run by run; residuals of the log loss."""
    if objective.name.startswith("raw"):
        residuals = loss * np.exp(residuals) - loss
    total = 0.0
    if isinstance(objective, HuberScale):
        sigma = objective.scale(residuals, weights)
        for r, w in zip(residuals, weights, strict=True):
            x = abs(r / sigma)
            loss = x * x / 2 if x <= objective.delta else objective.delta * (x - objective.delta / 2)
            total += w * (loss + np.log(sigma) + objective.log_normaliser)
        return total
    for r, w in zip(residuals, weights, strict=True):
        if r > objective.up:
            loss = objective.up * (r - objective.up / 2)
        elif r < -objective.down:
            loss = objective.down * (-r - objective.down / 2)
        else:
            loss = r * r / 2
        total += w * loss / objective.unit
    return total


@pytest.mark.parametrize(("law", "objective"), by_tier(PAIRS))
def test_the_best_of_many_starts_is_a_certified_minimum(law, objective):
    fit = point(law, objective)
    assert fit.status is Status.CONVERGED and fit.certificate.holds
    assert fit.certificate.value <= fit.certificate.tolerance
    assert list(fit.parameters) == list(read_law(law).parameters)
    ones = np.ones(len(RUNS))
    assert fit.objective_value == pytest.approx(value(fit.objective, fit.residuals, ones), rel=1e-9)
    # What it predicts is what the residuals say, and nothing near it is lower.
    predicted = np.log(fit.law.loss(RUNS.params, RUNS.tokens)) - np.log(RUNS.loss)
    assert predicted == pytest.approx(fit.residuals, abs=1e-9)
    rng = np.random.default_rng(0)
    for size in (1e-6, 1e-4, 1e-2):
        near = fit.theta + size * rng.standard_normal((8, len(fit.theta)))
        for residuals in fit.model.residuals(near, DESIGN):
            slack = 1e-9 * abs(fit.objective_value)
            assert value(fit.objective, residuals, ones) >= fit.objective_value - slack


@pytest.mark.parametrize(("law", "objective", "engine"), by_tier(ENGINES))
def test_every_engine_reaches_the_same_optima(law, objective, engine):
    problem = Problem(law=read_law(law), design=DESIGN, objective=read_objective(objective))
    best = point(law, objective)
    rng = np.random.default_rng(1)
    weights = rng.multinomial(240, np.full(240, 1 / 240), size=6).astype(np.uint8)
    starts = np.tile(best.theta, (6, 1))
    options = SolverOptions(wide_start=True, engine="auto" if engine == "any law" else engine)
    if engine == "any law":
        found = dispatch.solve_generally(problem, weights, starts, options=options)
    else:
        found = solve(problem, weights, starts, options=options)
    assert found.theta.shape == (6, problem.law.size) and np.isfinite(found.theta).all()
    assert not np.isnan(found.decrement).any() and (found.steps > 0).all()
    sound = found.status == Status.CONVERGED
    assert sound.sum() >= 4
    # Each of them fitted again from where it ended, alone and in other company, is where it was.
    again = solve(problem, weights[sound], found.theta[sound], options=SolverOptions())
    assert again.objective_value == pytest.approx(found.objective_value[sound], rel=1e-9)


@pytest.mark.parametrize(("law", "objective"), by_tier(PAIRS))
def test_a_weight_of_nothing_is_absence_and_only_ratios_count(law, objective):
    kept = np.arange(240) % 6 > 0
    fit = cj.fit(RUNS, law, objective=objective, weights=3.0 * kept, starts=point(law, objective))
    problem = Problem(law=fit.model, design=DESIGN, objective=fit.objective)
    alone = solve(problem, kept[None].astype(np.uint8), fit.theta[None])
    assert fit.objective_value == pytest.approx(
        value(fit.objective, fit.residuals[kept], np.ones(200), RUNS.loss[kept]), rel=1e-9
    )
    assert alone.objective_value[0] == pytest.approx(fit.objective_value, rel=1e-9)


@pytest.mark.parametrize(("law", "objective"), by_tier(PAIRS))
def test_a_bootstrap_has_a_status_for_every_lane_and_intervals_of_every_parameter(law, objective):
    boot = cj.bootstrap(RUNS, law, objective=objective, resamples=4, seed=3, point=point(law, objective))
    assert boot.solution.theta.shape == (4, read_law(law).size)
    assert sum(boot.counts().values()) == 4
    assert boot.converged.sum() >= 3
    frame = boot.interval()
    assert frame["parameter"].tolist() == list(read_law(law).parameters)
    assert (frame["low"] <= frame["high"]).all()
    band = boot.tokens_per_param([1e22])
    assert 0 < band["low"][0] <= band["median"][0] <= band["high"][0]
    # Whatever is resampled beside it, a resample is the same fit.
    some = cj.bootstrap(RUNS, law, objective=objective, resamples=2, seed=3, point=point(law, objective))
    assert some.objective_value == pytest.approx(boot.objective_value[:2], rel=1e-12)


@pytest.mark.parametrize("solver", [name for name in SOLVER_NAMES if name != "newton"])
@pytest.mark.parametrize(("law", "objective"), [pair for pair in PAIRS if pair != ("chinchilla", "huber")])
def test_a_pair_that_a_solver_cannot_fit_is_one_line(law, objective, solver):
    with pytest.raises(cj.UsageError, match="use 'newton'") as caught:
        cj.fit(RUNS, law, objective=objective, solver=solver)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["residual", "wild"])
def test_schemes_of_the_middle_refuse_an_objective_of_the_edge(scheme):
    with pytest.raises(cj.UsageError, match="fits their edge; use 'pairs'"):
        cj.bootstrap(RUNS, objective="asymmetric", scheme=scheme, resamples=4)


def test_the_five_parameter_law_is_its_own_fitted_value():
    fit = point("chinchilla", "huber")
    assert isinstance(fit.law, cj.ScalingLaw)
    assert CHINCHILLA.theta(fit.law, DESIGN) == pytest.approx(fit.theta, rel=1e-12)
