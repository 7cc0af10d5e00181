"""The joint test of a published law: against SciPy, by hand, under the null, against theory."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

import chinchilla_jax as cj
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis.chi_squared import log10_chi_squared_tail
from chinchilla_jax.analysis.coverage_noise import Noise, simulated_losses
from chinchilla_jax.analysis.wald import wald_test, wald_test_of_tables
from chinchilla_jax.analysis.wald_calibration import null_p_values
from chinchilla_jax.analysis.wald_coordinates import coordinates
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022
from chinchilla_jax.solvers.certificate import derivatives

RUNS = cj.load_runs("chinchilla")


@pytest.fixture(scope="module")
def boot():
    return cj.bootstrap(RUNS, resamples=1000, seed=0)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 7])
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
    test = wald_test(boot, HOFFMANN_2022, RUNS, compare="all")
    assert test.statistic == pytest.approx(expected, rel=1e-6)
    assert test.log10_p == pytest.approx(scipy.stats.chi2.logsf(expected, 5) / np.log(10), rel=1e-5)
    assert test.table["z"].to_numpy() == pytest.approx(
        (test.table["law"] - test.table["fit"]) / test.table["standard_error"]
    )


def test_the_published_laws(boot):
    hoffmann = wald_test(boot, HOFFMANN_2022, RUNS, compare="all")
    # Besiroglu et al. 2024 reject it; no resample is as far from the fit.
    assert hoffmann.p_value < 1e-10 and hoffmann.p_bootstrap == pytest.approx(1 / 1001)
    assert "is rejected" in hoffmann.sentence and "at most 0.001" in hoffmann.sentence
    ours = wald_test(boot, BESIROGLU_2024, RUNS, compare="all")
    assert ours.p_value > 0.5 and ours.p_bootstrap > 0.5 and "is not rejected" in ours.sentence
    itself = wald_test(boot, boot.point.law, RUNS, compare="all")
    assert itself.statistic == pytest.approx(0, abs=1e-18)
    assert itself.p_value == pytest.approx(1) and itself.p_bootstrap == 1
    # The mixed test of the replication: the point of HuberScale, which it printed.
    mixed = wald_test(boot, HOFFMANN_2022, RUNS, compare="all", estimate=BESIROGLU_2024)
    assert mixed.p_value < 1e-10 and mixed.statistic != hoffmann.statistic


def test_by_default_the_exponents_alone_are_compared(boot):
    exponents = np.stack([boot.laws.alpha, boot.laws.beta], axis=1)
    law, point = HOFFMANN_2022, boot.point.law
    difference = np.array([law.alpha - point.alpha, law.beta - point.beta])
    expected = difference @ np.linalg.solve(np.cov(exponents, rowvar=False), difference)
    # Another text or tokenizer: E, A and B move, and nothing is said about them.
    elsewhere = dataclasses.replace(law, E=0.9, A=200.0, B=100.0)
    for each in (law, elsewhere):
        test = wald_test(boot, each, RUNS)
        assert test.statistic == pytest.approx(expected, rel=1e-9) and test.degrees == 2
        assert test.table["coordinate"].tolist() == ["alpha", "beta"]
    assert wald_test(boot, elsewhere, RUNS, compare="all").statistic > 1000
    assert "tokenizer" in test.notes[0] and "taken as exact" in test.notes[1]


def test_errors_of_the_law_are_added(boot):
    exact = wald_test(boot, HOFFMANN_2022, RUNS)
    errors = (0.02, 0.03)
    test = wald_test(boot, HOFFMANN_2022, RUNS, errors=errors)
    exponents = np.stack([boot.laws.alpha, boot.laws.beta], axis=1)
    covariance = np.cov(exponents, rowvar=False) + np.diag(np.square(errors))
    difference = exact.table["law"].to_numpy() - exact.table["fit"].to_numpy()
    assert test.statistic == pytest.approx(difference @ np.linalg.solve(covariance, difference), rel=1e-9)
    assert test.p_bootstrap > exact.p_bootstrap and "added" in test.notes[1]
    none = wald_test(boot, HOFFMANN_2022, RUNS, errors=(0.0, 0.0))
    assert none.statistic == pytest.approx(exact.statistic)
    # All five, by differences of the coordinates.
    sizes = np.array([0.03, 120.0, 1300.0, 0.02, 0.02])
    every = wald_test(boot, BESIROGLU_2024, RUNS, compare="all", errors=sizes)
    names, values = zip(*BESIROGLU_2024.as_dict().items(), strict=True)

    def at(shift):
        moved = np.asarray(values) + shift
        return coordinates(cj.ScalingLaw(**dict(zip(names, moved, strict=True))), RUNS)

    steps = np.diag(np.asarray(values) * 1e-6)
    jacobian = np.stack([(at(h) - at(-h)) / (2 * h.sum()) for h in steps], axis=1)
    of_fit = np.cov(coordinates(boot.laws, RUNS), rowvar=False)
    expected = np.sqrt(np.diag(of_fit + jacobian @ np.diag(sizes**2) @ jacobian.T))
    assert every.table["standard_error"].to_numpy() == pytest.approx(expected, rel=1e-6)


def test_two_tables_of_one_law_agree_and_of_two_laws_do_not():
    def table(seed, **changed):
        law = dataclasses.replace(BESIROGLU_2024, **changed)
        noise = np.exp(0.005 * np.random.default_rng(seed).standard_normal(240))
        loss = np.asarray(law.loss(RUNS.params, RUNS.tokens)) * noise
        runs = dataclasses.replace(RUNS, loss=loss, name="x")
        return runs, cj.bootstrap(runs, resamples=300, seed=seed, scheme="pairs")

    (runs, boot), (same, same_boot) = table(1), table(2)
    # Another text: other E, A and B, the same exponents.
    text, text_boot = table(3, E=1.2, A=300.0, B=1500.0)
    steep, steep_boot = table(4, A=4000.0, alpha=0.45)
    for other, other_boot in ((same, same_boot), (text, text_boot)):
        test = wald_test_of_tables(boot, runs, other_boot, other)
        assert test.p_value > 0.01 and test.p_bootstrap > 0.01 and "other" in test.table
    covariance = sum(np.cov(np.stack([b.laws.alpha, b.laws.beta])) for b in (boot, same_boot))
    first, second = boot.point.law, same_boot.point.law
    difference = np.array([second.alpha - first.alpha, second.beta - first.beta])
    expected = difference @ np.linalg.solve(covariance, difference)
    test = wald_test_of_tables(boot, runs, same_boot, same)
    assert test.statistic == pytest.approx(expected, rel=1e-9)
    assert wald_test_of_tables(boot, runs, steep_boot, steep).p_value < 1e-4
    assert wald_test_of_tables(boot, runs, text_boot, text, compare="all").p_value < 1e-4


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
    spread = wald_test(boot, HOFFMANN_2022, RUNS, compare="all").table["standard_error"].to_numpy()
    law = boot.point.law
    expected = sandwich / [1, 1, law.E, design.params_scale, design.tokens_scale]
    assert spread == pytest.approx(expected, rel=0.35)


@pytest.mark.parametrize("compare", ["exponents", "all"])
def test_under_the_null_p_values_are_uniform(compare):
    table = null_p_values(RUNS, datasets=60, resamples=200, seed=1, compare=compare)
    for column in ("p_value", "p_bootstrap"):
        found = table[column].dropna()
        assert len(found) >= 58
        # 1 in 1,000 uniform samples would fail this; the seed is fixed.
        assert scipy.stats.kstest(found, "uniform").pvalue > 1e-3
        assert 0 < np.mean(found < 0.2) < 0.4


def test_simulated_tables_are_fitted_by_the_estimator_of_the_table():
    table = null_p_values(RUNS, datasets=1, resamples=60, seed=3, compare="all")
    truth = cj.fit(RUNS)
    losses = simulated_losses(RUNS, truth.law, Noise.of_fit(truth), np.array([0]), 3)[0]
    drawn = dataclasses.replace(RUNS, loss=losses, name="simulated")
    boot = cj.bootstrap(drawn, resamples=60, seed=4, objective=truth.objective, scheme="pairs")
    expected = wald_test(boot, truth.law, drawn, compare="all")
    assert table["statistic"][0] == pytest.approx(expected.statistic, rel=1e-4)


def test_mistakes_cost_one_line(boot):
    few = cj.bootstrap(RUNS, resamples=20)
    with pytest.raises(UsageError, match="at least 50"):
        wald_test(few, HOFFMANN_2022, RUNS)
    with pytest.raises(UsageError, match="E, A and B positive"):
        wald_test(boot, cj.ScalingLaw(E=0, A=1, B=1, alpha=1, beta=1), RUNS, compare="all")
    with pytest.raises(UsageError, match="finite exponents"):
        wald_test(boot, cj.ScalingLaw(E=1, A=1, B=1, alpha=np.nan, beta=1), RUNS)
    with pytest.raises(UsageError, match="one for each of alpha, beta"):
        wald_test(boot, HOFFMANN_2022, RUNS, errors=[0.1] * 5)
    with pytest.raises(UsageError, match="exponents"):
        wald_test(boot, HOFFMANN_2022, RUNS, compare="E")
    with pytest.raises(UsageError, match="single one"):
        wald_test(boot, boot.laws, RUNS)
    with pytest.raises(UsageError, match="spread differently"):
        wald_test(cj.bootstrap(RUNS, scheme="jackknife"), HOFFMANN_2022, RUNS)
    with pytest.raises(UsageError, match="INVALID"):
        broken = dataclasses.replace(RUNS, params=RUNS.params - 1e9)
        wald_test(cj.bootstrap(broken, resamples=60), HOFFMANN_2022, broken)
    with pytest.raises(UsageError, match="at least 1"):
        log10_chi_squared_tail(1.0, 0)
    with pytest.raises(UsageError, match="datasets"):
        null_p_values(RUNS, datasets=0)
    assert coordinates(HOFFMANN_2022, RUNS).shape == (5,)
