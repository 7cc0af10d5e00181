"""The joint test of a published law: against SciPy, by hand, under the null, against theory."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

import chinchilla_jax as cj
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis.wald import (
    coordinates,
    log10_chi_squared_tail,
    null_p_values,
    wald_test,
)
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022
from chinchilla_jax.solvers.certificate import derivatives

RUNS = cj.load_runs("chinchilla")


@pytest.fixture(scope="module")
def boot():
    return cj.bootstrap(RUNS, resamples=1000, seed=0)


@pytest.mark.parametrize("degrees", [1, 3, 5, 7])
@pytest.mark.parametrize("statistic", [1e-9, 0.3, 5.0, 80.0, 1200.0])
def test_the_tail_of_chi_squared(statistic, degrees):
    expected = scipy.stats.chi2.logsf(statistic, degrees) / np.log(10)
    assert log10_chi_squared_tail(statistic, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_tail_goes_on_where_a_float_ends():
    # Leading term of the tail: h^(3/2) exp(-h) / Gamma(5/2).
    h = 5e4
    expected = (1.5 * np.log(h) - h - np.log(scipy.special.gamma(2.5))) / np.log(10)
    assert log10_chi_squared_tail(2 * h, 5) == pytest.approx(expected, rel=1e-8)


def test_the_statistic_by_hand_in_uncentred_logs(boot):
    # Centring is linear: the published (ln A, ln B, ln E, alpha, beta) give the same number.
    def logs(law):
        return np.stack([np.log(law.A), np.log(law.B), np.log(law.E), law.alpha, law.beta], axis=-1)

    difference = logs(HOFFMANN_2022) - logs(boot.point.law)
    expected = difference @ np.linalg.solve(np.cov(logs(boot.laws), rowvar=False), difference)
    test = wald_test(boot, HOFFMANN_2022, RUNS)
    assert test.statistic == pytest.approx(expected, rel=1e-6)
    assert test.log10_p == pytest.approx(scipy.stats.chi2.logsf(expected, 5) / np.log(10), rel=1e-5)
    assert test.table["z"].to_numpy() == pytest.approx(
        (test.table["law"] - test.table["fit"]) / test.table["standard_error"]
    )


def test_the_published_laws(boot):
    hoffmann = wald_test(boot, HOFFMANN_2022, RUNS)
    # Besiroglu et al. 2024 reject it; no resample is as far from the fit.
    assert hoffmann.p_value < 1e-10 and hoffmann.p_bootstrap == pytest.approx(1 / 1001)
    assert "is rejected" in hoffmann.sentence and "at most 0.001" in hoffmann.sentence
    ours = wald_test(boot, BESIROGLU_2024, RUNS)
    assert ours.p_value > 0.5 and ours.p_bootstrap > 0.5 and "is not rejected" in ours.sentence
    itself = wald_test(boot, boot.point.law, RUNS)
    assert itself.statistic == pytest.approx(0, abs=1e-18)
    assert itself.p_value == pytest.approx(1) and itself.p_bootstrap == 1
    # The mixed test of the replication: the point of HuberScale, which it printed.
    mixed = wald_test(boot, HOFFMANN_2022, RUNS, estimate=BESIROGLU_2024)
    assert mixed.p_value < 1e-10 and mixed.statistic != hoffmann.statistic


def test_the_covariance_is_near_the_sandwich():
    # H^-1 K H^-1 (Huber 1967), K the sum of squared scores, on a smooth objective: theory without resampling.
    objective = cj.Huber(1e-2)
    boot = cj.bootstrap(RUNS, resamples=1000, seed=0, objective=objective)
    design = Design.from_runs(RUNS)
    theta = CHINCHILLA.theta(boot.point.law, design)[None]
    _, _, hessian = derivatives(design, np.ones((1, 240)), theta, objective.delta)
    psi = np.clip(CHINCHILLA.residuals(theta, design)[0], -objective.delta, objective.delta)
    scores = psi[:, None] * CHINCHILLA.jacobian(theta, design)[0]
    inverse = np.linalg.inv(hessian[0])
    sandwich = np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))
    spread = wald_test(boot, HOFFMANN_2022, RUNS).table["standard_error"].to_numpy()
    law = boot.point.law
    expected = sandwich / [1, 1, law.E, design.params_scale, design.tokens_scale]
    assert spread == pytest.approx(expected, rel=0.35)


def test_under_the_null_p_values_are_uniform():
    table = null_p_values(RUNS, datasets=60, resamples=200, seed=1)
    for column in ("p_value", "p_bootstrap"):
        found = table[column].dropna()
        assert len(found) >= 58
        # 1 in 1,000 uniform samples would fail this; the seed is fixed.
        assert scipy.stats.kstest(found, "uniform").pvalue > 1e-3
        assert 0 < np.mean(found < 0.2) < 0.4


def test_mistakes_cost_one_line(boot):
    few = cj.bootstrap(RUNS, resamples=20)
    with pytest.raises(UsageError, match="at least 50"):
        wald_test(few, HOFFMANN_2022, RUNS)
    with pytest.raises(UsageError, match="E, A and B positive"):
        wald_test(boot, cj.ScalingLaw(E=0, A=1, B=1, alpha=1, beta=1), RUNS)
    with pytest.raises(UsageError, match="single one"):
        wald_test(boot, boot.laws, RUNS)
    with pytest.raises(UsageError, match="spread differently"):
        wald_test(cj.bootstrap(RUNS, scheme="jackknife"), HOFFMANN_2022, RUNS)
    with pytest.raises(UsageError, match="INVALID"):
        broken = dataclasses.replace(RUNS, params=RUNS.params - 1e9)
        wald_test(cj.bootstrap(broken, resamples=60), HOFFMANN_2022, broken)
    with pytest.raises(UsageError, match="odd positive"):
        log10_chi_squared_tail(1.0, 2)
    with pytest.raises(UsageError, match="datasets"):
        null_p_values(RUNS, datasets=0)
    assert coordinates(HOFFMANN_2022, RUNS).shape == (5,)
