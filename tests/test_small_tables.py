"""Schemes on few runs and few groups, against least-squares theory and simulated coverage."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.few_groups import (
    COUNTED_GROUPS,
    COUNTED_RUNS,
    estimated_between,
    scheme_for_few,
    worth_of_few,
    worth_of_some,
)
from chinchilla_jax.bootstrapping.left_out import left_out_residuals
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter
from chinchilla_jax.bootstrapping.schemes import Bayesian, Cluster, MOutOfN, Pairs, Residual, Wild
from chinchilla_jax.bootstrapping.weights import concentration
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.fitting.problem_fit import fit_problem
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH

LEAST_SQUARES = cj.Huber(delta=10.0)  # every residual lies in the quadratic zone


def isoflop(budgets=4, sizes=5, noise=0.005, seed=0, repeats=1):
    flops = np.repeat(np.geomspace(1e18, 1e21, budgets), sizes)
    params = np.asarray(TRUTH.optimal(flops)[0]) * np.tile(np.geomspace(0.25, 4, sizes), budgets)
    flops, params = np.repeat(flops, repeats), np.repeat(params, repeats)
    tokens = flops / (6 * params)
    error = noise * np.random.default_rng(seed).standard_normal(len(flops))
    return cj.Runs(params, tokens, flops, np.asarray(TRUTH.loss(params, tokens)) * np.exp(error), name="made")


def grid(sizes, counts, noise=0.005, seed=0):
    params = np.repeat(np.geomspace(5e7, 2e9, sizes), counts)
    tokens = np.tile(np.geomspace(1e9, 4e10, counts), sizes)
    error = noise * np.random.default_rng(seed).standard_normal(len(params))
    loss = np.asarray(TRUTH.loss(params, tokens)) * np.exp(error)
    return cj.Runs(params, tokens, 6 * params * tokens, loss, name="grid")


def problem_and_fit(runs, objective=LEAST_SQUARES):
    problem = read_problem("test", runs, "chinchilla", objective)
    return problem, fit_problem(problem, None, starts=64)


# --- residuals without the run ------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [LEAST_SQUARES, cj.Huber(delta=1e-3)])
def test_left_out_residuals_are_those_of_fits_without_the_run(objective):
    runs = isoflop()
    problem, point = problem_and_fit(runs, objective)
    found = left_out_residuals(ResampleFitter.prepared(problem, point), point)
    for run in (0, 7, 19):
        kept = np.arange(20) != run
        law = cj.fit(runs.take(np.flatnonzero(kept)), objective=objective).law
        expected = np.log(law.loss(runs.params[run], runs.tokens[run]) / runs.loss[run])
        assert found[run] == pytest.approx(float(expected), abs=1e-7)


def test_left_out_residuals_of_least_squares_follow_from_leverages():
    runs = isoflop(noise=1e-4)  # nearly linear
    problem, point = problem_and_fit(runs)
    found = left_out_residuals(ResampleFitter.prepared(problem, point), point)
    q, _ = np.linalg.qr(problem.jacobian(point.theta))
    assert found == pytest.approx(point.residuals / (1 - (q**2).sum(axis=1)), rel=0.03, abs=1e-6)


def test_a_run_that_the_law_needs_has_a_residual_all_the_same():
    # Three sizes are the fewest; one of them has a single run.
    base = grid(3, 4)
    runs = base.take(np.arange(9))
    problem, point = problem_and_fit(runs)
    found = left_out_residuals(ResampleFitter.prepared(problem, point), point)
    assert np.isfinite(found).all()
    assert abs(found[8]) <= abs(point.residuals[8]) / (1 - 0.9) * (1 + 1e-9)


# --- errors that are drawn ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [Residual(), Wild()])
def test_errors_that_are_drawn_have_the_quantiles_of_t(scheme):
    # Residuals of one size and either sign: what is drawn is a sign times the common scale.
    residuals = np.tile([0.01, -0.01], 6)
    errors = scheme.log_errors(residuals, residuals, np.arange(20000), 0, delta=1.0, size=5)
    scale = np.abs(errors[:, 0]) / 0.01
    assert np.ptp(np.abs(errors), axis=1) == pytest.approx(0)
    # nu / scale^2 is chi-squared with nu = n - p.
    assert stats.kstest(7 / scale**2, stats.chi2(7).cdf).pvalue > 1e-3
    signs = np.sign(errors)
    assert signs.mean() == pytest.approx(0, abs=0.01)


def test_a_wild_error_is_of_the_run_and_of_either_sign():
    residuals, left_out = np.linspace(-0.02, 0.03, 12), np.linspace(-0.04, 0.05, 12)
    errors = Wild().log_errors(residuals, left_out, np.arange(3000), 0)
    size = np.abs(errors) / np.abs(0.3 * residuals + 0.7 * left_out)
    assert np.ptp(size, axis=1) == pytest.approx(0, abs=1e-9)
    assert np.sign(errors).mean(axis=0) == pytest.approx(0, abs=0.08)
    assert np.array_equal(Wild().log_errors(residuals, left_out, np.array([9, 4]), 0), errors[[9, 4]])


@pytest.mark.parametrize("scheme", [Residual(), Wild()])
def test_resamples_by_drawn_errors_are_fits_of_their_losses(scheme):
    runs = isoflop()
    problem, point = problem_and_fit(runs, cj.Huber(delta=5e-3))
    boot = cj.bootstrap(runs, resamples=70, scheme=scheme, point=point, objective=point.objective)
    assert boot.converged.all()
    left_out = left_out_residuals(ResampleFitter.prepared(problem, point), point)
    errors = scheme.log_errors(point.residuals, left_out, np.array([3, 69]), 0, delta=5e-3)
    for lane, error in zip((3, 69), errors, strict=True):
        loss = runs.loss * np.exp(point.residuals + error)
        alone = cj.fit(cj.Runs(runs.params, runs.tokens, runs.flops, loss), objective=point.objective)
        assert boot.objective_value[lane] == pytest.approx(alone.objective_value, rel=1e-9)
        assert boot.laws.alpha[lane] == pytest.approx(alone.law.alpha, rel=1e-5)


def test_fewer_resamples_by_residuals_are_the_first_of_more():
    runs = isoflop()
    some = cj.bootstrap(runs, resamples=5, scheme="residual", objective=LEAST_SQUARES)
    more = cj.bootstrap(runs, resamples=130, scheme="residual", objective=LEAST_SQUARES)
    assert np.array_equal(some.laws.alpha, more.laws.alpha[:5])


# --- few runs, few groups -----------------------------------------------------------------------------------


def test_parameters_estimated_between_groups():
    jacobian = np.random.default_rng(0).standard_normal((40, 5))
    members = np.repeat(np.arange(8), 5)
    # The trace of the product of the two projections, written out.
    between = (members[:, None] == members) / 5
    hat = jacobian @ np.linalg.inv(jacobian.T @ jacobian) @ jacobian.T
    assert estimated_between(jacobian, members) == pytest.approx(np.trace(between @ hat))
    assert estimated_between(jacobian, np.arange(40)) == pytest.approx(5)
    # Seeds of one configuration have one row of the Jacobian: everything is estimated between them.
    assert estimated_between(np.repeat(jacobian, 3, axis=0), np.repeat(np.arange(40), 3)) == pytest.approx(5)
    # A column that sums to zero in every group is estimated within.
    within = np.tile([1.0, -1.0], 20)[:, None]
    assert estimated_between(within, np.repeat(np.arange(20), 2)) == pytest.approx(0, abs=1e-12)


def test_sizes_with_the_same_tokens_estimate_about_three_parameters_between_them():
    runs = grid(8, 5)
    problem, point = problem_and_fit(runs)
    found = estimated_between(problem.jacobian(point.theta), Cluster("params").members(runs))
    assert 2.5 < found < 3.5


@pytest.mark.parametrize(
    ("runs", "scheme", "expected"),
    [
        (isoflop(3, 4), Pairs(), Bayesian(concentration=(7 / 12) ** 1.5)),
        (isoflop(4, 5), Pairs(), Pairs()),
        (isoflop(3, 4), MOutOfN(), MOutOfN()),
        (isoflop(3, 4, repeats=3), Cluster(by="replicates"), (7 / 12) ** 1.5),
        (grid(COUNTED_GROUPS, 3), Cluster(by="params"), None),
    ],
)
def test_few_runs_or_groups_get_real_weights(runs, scheme, expected):
    problem, point = problem_and_fit(runs)
    found = scheme_for_few(scheme, runs, problem.jacobian(point.theta))
    if isinstance(scheme, Cluster):
        assert found.by == scheme.by
        assert found.concentration == (None if expected is None else pytest.approx(expected))
    else:
        assert found == expected


def test_what_few_runs_are_worth_is_said():
    worth = {n: worth_of_few(n) for n in (7, 8, 11, 12)}
    assert "only 8 runs" in worth[8] and "76 to 91%" in worth[8] and "fewer" not in worth[8]
    assert "nothing is known of fewer" in worth[7] and "only 11 runs" in worth[11] and worth[12] is None
    assert worth_of_some(11) == "" == worth_of_some(16)
    assert "12 to 15 runs covered 79 to 86%" in worth_of_some(12) == worth_of_some(15)
    boot = cj.bootstrap(isoflop(3, 4), resamples=40)
    assert boot.scheme == Bayesian(concentration=concentration(12, 5))
    # They cover what they claim, within the simulations: said beside the scheme, without a warning.
    assert worth_of_some(12) in boot.dependence.sentence
    assert not any("runs" in warning and "cover" in warning for warning in boot.warnings)


def test_weights_of_clusters_are_common_to_their_runs():
    runs = grid(8, 5)
    weights = Cluster("params", concentration=0.5).weights(runs, np.arange(500), 3)
    blocks = weights.reshape(500, 8, 5)
    assert (blocks == blocks[:, :, :1]).all()
    assert blocks[:, :, 0].sum(axis=1) == pytest.approx(8)
    assert np.array_equal(
        weights[[7, 2]], Cluster("params", concentration=0.5).weights(runs, np.array([7, 2]), 3)
    )
    boot = cj.bootstrap(runs, resamples=50, scheme=Cluster("params", concentration=0.5))
    assert boot.converged.all()
    for concentrated in (0.0, -1.0, np.nan):
        with pytest.raises(cj.UsageError, match="concentration"):
            Cluster("params", concentration=concentrated)
        with pytest.raises(cj.UsageError, match="concentration"):
            Bayesian(concentration=concentrated)
    with pytest.raises(cj.UsageError, match="no resamples of resamples"):
        cj.bootstrap(runs, resamples=4, inner=4, scheme=Cluster("params", concentration=0.5))


def test_the_concentration_tends_to_that_of_rubin():
    values = [concentration(groups, 5) for groups in (6, 12, COUNTED_RUNS, 240, 10**6)]
    assert values == sorted(values) and values[-1] == pytest.approx(1, abs=1e-4)
    assert concentration(5, 5) == pytest.approx(0.1**1.5)  # never 0


def test_m_out_of_n_on_few_runs():
    assert MOutOfN().size(12) == 12 and MOutOfN().factor(12) == 1
    assert MOutOfN().size(40) == 25 and MOutOfN().factor(40, 5) == pytest.approx(np.sqrt(20 / 35))
    assert MOutOfN().size(10000) == 1000 and MOutOfN(m=6).factor(7, 7) <= 1


def test_runs_without_weight_do_not_count_as_runs_of_a_scheme():
    half = np.repeat([0.0, 1.0], 40)
    assert MOutOfN().completed(80, 5, half) == MOutOfN(m=50, used=40)
    assert MOutOfN(m=50, used=40).factor(80, 5) == pytest.approx(MOutOfN().factor(40, 5))
    assert MOutOfN(m=56).completed(80, 5, half).factor(80, 5) == pytest.approx(np.sqrt(23 / 35))
    assert MOutOfN().completed(5, 3, np.array([0.0, 1, 1, 1, 1])).size(5) == 5
    assert MOutOfN().completed(80, 5, np.ones(80)) == MOutOfN()
    assert Bayesian().completed(80, 5, half) == Bayesian(concentration=concentration(40, 5))


@pytest.mark.parametrize("scheme", ["m_out_of_n", "residual", "wild"])
def test_standard_errors_are_those_of_the_table_without_runs_of_weight_zero(scheme):
    # Half of 80 runs: of 27 drawn some 13 had a weight. Those left out are outliers: no errors to draw.
    runs, kept = isoflop(8, 10), np.arange(80) % 2 == 1
    runs = dataclasses.replace(runs, loss=np.where(kept, runs.loss, 1.2 * runs.loss))
    some = [getattr(runs, name)[kept] for name in ("params", "tokens", "flops", "loss")]
    others = cj.Runs(**dict(zip(("params", "tokens", "flops", "loss"), some, strict=True)))
    errors = [
        cj.bootstrap(each, resamples=400, objective=cj.Huber(1e-2), scheme=scheme, weights=weights)
        .standard_errors()
        .loc[["E", "alpha", "beta"], "standard_error"]
        for each, weights in ((runs, kept.astype(float)), (others, None))
    ]
    np.testing.assert_allclose(errors[0], errors[1], rtol=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["pairs", "bayesian", "wild", "residual", "m_out_of_n"])
def test_schemes_cover(scheme):
    """80% intervals on 40 data sets of 100 resamples of 20 runs: within twelve points, over two sigma."""
    runs, hits = isoflop(noise=0.0), []
    for number in range(40):
        error = 0.005 * np.random.default_rng([5, number]).standard_normal(len(runs))
        data = cj.Runs(runs.params, runs.tokens, runs.flops, runs.loss * np.exp(error))
        point = cj.fit(data, objective=cj.Huber(delta=6.7e-3), starts=8)
        boot = cj.bootstrap(
            data, resamples=100, seed=number, scheme=scheme, objective=point.objective, point=point
        )
        table = boot.interval(0.8).set_index("parameter")
        for name in ("alpha", "beta"):
            hits.append(table.loc[name, "low"] <= getattr(TRUTH, name) <= table.loc[name, "high"])
    assert np.mean(hits) == pytest.approx(0.8, abs=0.12)


def test_few_runs_are_not_said_to_vary_no_more_than_their_noise():
    """One constant loss is sixty times as far from these by squares: the noise is unknown, not large."""
    runs = cj.Runs(
        params=[1e8, 2e8, 4e8, 1e8, 2e8, 4e8, 8e8],
        tokens=[2e9, 4e9, 8e9, 1e10, 2e10, 4e10, 1.6e10],
        loss=[3.1, 2.9, 2.75, 2.95, 2.7, 2.6, 2.55],
    )
    fit = cj.fit(runs, starts=64)
    assert fit.status.name == "UNIDENTIFIED"
    assert fit.reason.startswith(
        "7 runs for 5 parameters show the size of the noise so poorly that one constant"
    )
