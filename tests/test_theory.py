"""Closed forms against fits of noise-free and simulated runs, and diagnoses against planted errors."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import least_squares
from test_intervals import TRUTH, classical_errors, runs_with_noise

import chinchilla_jax as cj
from chinchilla_jax.analysis.diagnosis import confusion, diagnose, diagnose_counts
from chinchilla_jax.analysis.theory import CLOSED_FORMS, theory_of
from chinchilla_jax.analysis.theory_tables import theory_summary, theory_table
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.perturbations import FAMILIES

RUNS = runs_with_noise(noise=0.003)
EXACT = dataclasses.replace(RUNS, loss=TRUTH.loss(RUNS.params, RUNS.tokens))


def least_squares_law(runs):
    """SciPy's fit in (ln A, ln B, E, alpha, beta), all scaled: no code of the library."""
    n, d = np.log(runs.params), np.log(runs.tokens)
    middle_n, middle_d = n.mean(), d.mean()

    def residual(x):
        a, b, e, alpha, beta = x
        terms = np.exp(a - alpha * (n - middle_n)) + np.exp(b - beta * (d - middle_d)) + e
        return np.log(terms / runs.loss)

    start = [math.log(480) - 0.35 * middle_n, math.log(2000) - 0.37 * middle_d, 1.8, 0.35, 0.37]
    found = least_squares(residual, start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    a, b, e, alpha, beta = found.x
    return np.array([a + alpha * middle_n, b + beta * middle_d, e, alpha, beta])


def logs(law):
    return np.array([math.log(law.A), math.log(law.B), law.E, law.alpha, law.beta])


@pytest.mark.parametrize(
    ("family", "size"),
    [
        ("multiplicative", 0.3),
        ("systematic_bias", 1.4),
        ("tokens_multiplicative", 0.3),
        ("coupled_multiplicative", 2.5),
        ("loss_multiplicative", 1.7),
        ("loss_offset", 0.2),
        ("loss_offset", -1.5),
    ],
)
def test_exact_families_leave_no_residual(family, size):
    predicted = theory_of(EXACT, TRUTH).predict(family, size, TRUTH)
    changed = FAMILIES[family](size).apply(EXACT)
    assert predicted.loss(changed.params, changed.tokens) == pytest.approx(changed.loss, rel=1e-12)


@pytest.mark.parametrize("size", [0.4, 1.152])
def test_tokens_per_param_move_by_the_powers_that_are_derived(size):
    """On noisy runs, by whole fits: the exponents of the head of theory.py."""
    fitted = cj.fit(RUNS, starts=16).law
    theory = theory_of(RUNS, fitted)
    total = fitted.alpha + fitted.beta
    powers = {
        "multiplicative": -2 * fitted.alpha / total,
        "tokens_multiplicative": 2 * fitted.beta / total,
        "coupled_multiplicative": -2.0,
        "loss_multiplicative": 0.0,
    }
    for family, power in powers.items():
        law = cj.fit(FAMILIES[family](size).apply(RUNS), starts=16).law
        for flops in (1e20, 5.76e23):
            factor = law.tokens_per_param(flops) / fitted.tokens_per_param(flops)
            assert factor == pytest.approx(size**power, rel=1e-7)
            predicted = theory.predict(family, size, fitted).tokens_per_param(flops)
            assert predicted / fitted.tokens_per_param(flops) == pytest.approx(size**power, rel=1e-12)
    # An offset moves E, and tokens per parameter only by what it does to the weight of each residual.
    law = cj.fit(cj.LossOffset(0.3).apply(RUNS), starts=16).law
    assert abs(law.E - fitted.E - 0.3) < 2e-3
    assert law.tokens_per_param(1e22) == pytest.approx(fitted.tokens_per_param(1e22), rel=0.02)


def test_noise_in_the_losses_moves_nothing_but_the_scatter():
    least_squares_objective = cj.Huber(delta=10.0)
    fitted = cj.fit(RUNS, starts=16, objective=least_squares_objective).law
    assert theory_of(RUNS, fitted).predict("loss_log_normal_noise", 0.2, fitted) == fitted
    sigma, errors = 0.003, classical_errors(RUNS)
    for repeat in range(3):
        noisy = cj.LossLogNormalNoise(sigma, repeat).apply(RUNS)
        found = cj.fit(noisy, starts=16, objective=least_squares_objective).law
        # As large as the noise that the runs have, so that a whole fit moves by about its standard error.
        moved = np.array([found.alpha - fitted.alpha, found.beta - fitted.beta])
        assert (np.abs(moved) < 4 * errors[3:]).all()


@pytest.mark.parametrize("family", ["tokens_additive", "coupled_additive", "coupled_systematic_bias"])
def test_tokens_that_follow_or_err_are_right_to_first_order(family):
    theory = theory_of(EXACT, TRUTH)
    made = FAMILIES[family]
    scale = 1.0 if made.form == "systematic_bias" else getattr(EXACT, made.of).min()
    ends = [made.neutral + sign * 1e-4 * scale for sign in (1, -1)]
    # The derivative by SciPy: whole fits of runs that are a little wrong either way.
    up, down = (least_squares_law(made(size).apply(EXACT)) for size in ends)
    high, low = (logs(theory.predict(family, size, TRUTH)) for size in ends)
    assert (high - low) / 2 == pytest.approx((up - down) / 2, rel=2e-3, abs=1e-9)


def test_runs_with_tokens_of_another_count_are_coupled_to_first_order():
    """Where C is not 6 N D, coupling moves the tokens even at no error."""
    noise = np.exp(0.002 * np.random.default_rng(3).normal(size=len(EXACT)))
    runs = dataclasses.replace(EXACT, flops=1.1 * noise * EXACT.flops)
    recomputed = FAMILIES["coupled_multiplicative"](1.0).apply(runs)
    predicted = theory_of(runs, TRUTH).predict("coupled_multiplicative", 1.0, TRUTH)
    found = least_squares_law(recomputed)
    assert logs(predicted) == pytest.approx(found, rel=2e-4)
    assert logs(predicted)[1] - logs(TRUTH)[1] > 0.03


def test_an_additive_error_is_right_to_first_order():
    theory = theory_of(EXACT, TRUTH)
    c = 1e-4 * EXACT.params.min()
    # The derivative by SciPy: two whole fits of counts that are a little too high and too low.
    up, down = (least_squares_law(cj.Additive(sign * c).apply(EXACT)) for sign in (1, -1))
    assert theory.response * c == pytest.approx((up - down) / 2, rel=1e-3, abs=1e-9)
    # The finite form has that derivative, and stays close where c is a fifth of the smallest model.
    moved = (logs(theory.predict("additive", c, TRUTH)) - logs(theory.predict("additive", -c, TRUTH))) / 2
    assert moved == pytest.approx(theory.response * c, rel=1e-3, abs=1e-12)
    large = 0.2 * EXACT.params.min()
    found = least_squares_law(cj.Additive(large).apply(EXACT))
    assert theory.predict("additive", large, TRUTH).alpha == pytest.approx(found[3], rel=0.02)
    assert abs(found[3] / TRUTH.alpha - 1) > 0.03


@pytest.mark.parametrize("sigma", [0.3, 1.0])
@pytest.mark.parametrize("family", ["log_normal_noise", "tokens_log_normal_noise"])
def test_noise_attenuates_by_the_reliability_ratio(family, sigma):
    # What the derivation assumes: ln N normal, apart from ln D. The median then follows the closed form.
    r = np.random.default_rng(0)
    n, d = 20.5 + 1.2 * r.normal(size=200000), 24 + 1.2 * r.normal(size=200000)
    params, tokens = np.exp(n), np.exp(d)
    runs = cj.Runs(params, tokens, 6 * params * tokens, TRUTH.loss(params, tokens))
    theory = theory_of(runs, TRUTH)
    side = theory if family == "log_normal_noise" else theory.mirror
    assert side.reliability(sigma) == pytest.approx(1.44 / (1.44 + sigma**2), rel=0.01)
    predicted = theory.predict(family, sigma, TRUTH)
    wrong = FAMILIES[family](sigma).apply(runs)
    residual = np.log(runs.loss / predicted.loss(wrong.params, wrong.tokens))
    # The conditional median is zero everywhere: in every part of the range of counts.
    order = np.argsort(getattr(wrong, FAMILIES[family].of))
    for part in np.array_split(order, 8):
        error = 1.25 * residual[part].std() / math.sqrt(part.size)
        assert abs(np.median(residual[part])) < 5 * error
    # And it is no trifle: the unattenuated law is far off at the ends.
    ends = order[:25000]
    unattenuated = np.log(runs.loss[ends] / TRUTH.loss(wrong.params[ends], wrong.tokens[ends]))
    assert abs(np.median(unattenuated)) > 20 * error


def test_noisy_tokens_raise_tokens_per_param_with_compute():
    """By whole fits: beta shrinks, so that the slope (alpha - beta)/(alpha + beta) grows."""
    n, r = 30000, np.random.default_rng(0)
    params, tokens = np.exp(20.5 + 1.2 * r.normal(size=n)), np.exp(24 + 1.2 * r.normal(size=n))
    runs = cj.Runs(params, tokens, 6 * params * tokens, TRUTH.loss(params, tokens))
    predicted = theory_of(runs, TRUTH).predict("tokens_log_normal_noise", 0.5, TRUTH)
    found = cj.fit(cj.TokensLogNormalNoise(0.5).apply(runs), starts=8).law
    assert found.beta == pytest.approx(predicted.beta, rel=0.03)
    assert found.alpha == pytest.approx(TRUTH.alpha, rel=0.02)
    moved = predicted.slope_per_decade - TRUTH.slope_per_decade
    assert moved > 0.05
    assert found.slope_per_decade - TRUTH.slope_per_decade == pytest.approx(moved, rel=0.2)


def test_coupled_noise_has_no_closed_form_and_says_so():
    assert set(FAMILIES) - set(CLOSED_FORMS) == {"coupled_log_normal_noise"}
    with pytest.raises(cj.UsageError, match="coupled_log_normal_noise has no closed form"):
        theory_of(RUNS, TRUTH).predict("coupled_log_normal_noise", 0.1, TRUTH)


@given(st.sampled_from(sorted(FAMILIES)), st.floats(allow_nan=True, allow_infinity=True))
@example("loss_multiplicative", 8.988465674311579e304)
@example("loss_multiplicative", 1.7e308)
@example("systematic_bias", 5e-324)
@example("additive", 1.7e308)
@example("coupled_systematic_bias", 1e300)
def test_a_size_has_a_law_or_one_line(family, size):
    theory = theory_of(RUNS, TRUTH)
    try:
        law = theory.predict(family, size, TRUTH)
    except cj.UsageError as error:
        assert "\n" not in str(error)
    else:
        assert math.isfinite(law.alpha)


POSITIVE = st.floats(min_value=5e-324, max_value=1.7976931348623157e308)
EXTREME_LAWS = st.builds(
    lambda E, A, B, alpha, beta: ScalingLaw(E=E, A=A, B=B, alpha=alpha, beta=beta),
    *(st.just(0.0) | POSITIVE for _ in range(3)),
    *(st.floats(allow_nan=False, allow_infinity=False) for _ in range(2)),
)


@given(st.sampled_from(sorted(FAMILIES)), st.floats(allow_nan=False, allow_infinity=False), EXTREME_LAWS)
@example("additive", 0.0, ScalingLaw(E=0.0, A=5e-324, B=5e-324, alpha=5e-324, beta=5e-324))
@example("additive", 1.0, ScalingLaw(E=1.0, A=0.0, B=0.0, alpha=0.0, beta=0.0))
@example("coupled_multiplicative", 2.0, ScalingLaw(E=0.0, A=1.0, B=1e16, alpha=-2e180, beta=1e300))
def test_any_law_has_a_closed_form_or_one_line(family, size, law):
    for around in (TRUTH, law):
        try:
            theory_of(RUNS, around).predict(family, size, law)
        except cj.UsageError as error:
            assert "\n" not in str(error)


def test_the_table_of_differences():
    theory = theory_of(EXACT, TRUTH)
    laws = {"identity": TRUTH, "multiplicative=2.0": theory.predict("multiplicative", 2.0, TRUTH)}
    point = pd.DataFrame(
        [
            {"condition": name, "objective": "huber", "status": "CONVERGED"}
            | {field: getattr(law, field) for field in PARAMETERS}
            for name, law in laws.items()
        ]
    )
    point.loc[1, "beta"] *= 1.1
    conditions = pd.DataFrame(
        {"condition": list(laws), "family": ["identity", "multiplicative"], "value": [0.0, 2.0], "repeat": 0}
    )
    table = theory_table(EXACT, conditions, point).set_index(["quantity", "flops"])["relative_difference"]
    assert table["beta"].item() == pytest.approx(0.1)
    assert table["A"].item() == pytest.approx(0, abs=1e-12)
    whole = theory_table(EXACT, conditions, point)
    summary = theory_summary(whole).set_index("quantity")
    assert summary.loc["beta", "largest_difference"] == pytest.approx(0.1)
    assert len(whole) == 8
    # What cannot be fitted, and what has no closed form, has no row.
    more = pd.DataFrame(
        {
            "condition": ["multiplicative=0.0", "coupled_log_normal_noise=0.1#0"],
            "family": ["multiplicative", "coupled_log_normal_noise"],
            "value": [0.0, 0.1],
            "repeat": 0,
        }
    )
    fits = pd.DataFrame({"condition": more["condition"], "objective": "huber", "status": "INVALID"})
    extended = theory_table(EXACT, pd.concat([conditions, more]), pd.concat([point, fits]))
    pd.testing.assert_frame_equal(extended, whole)
    with pytest.raises(cj.UsageError, match="no column 'status'"):
        theory_table(EXACT, conditions, point.drop(columns="status"))


# --- diagnosis ----------------------------------------------------------------------------------------------


def test_planted_errors_are_found_with_their_size():
    planted = {
        "multiplicative": [0.9],
        "additive": [-0.2 * RUNS.params.min()],
        "systematic_bias": [1.1],
        "log_normal_noise": [0.5],
    }
    table = confusion(RUNS, planted=planted, resamples=60)
    assert table["right"].all(), table
    found = table.set_index("planted")["diagnosed_size"]
    assert found["multiplicative"] == pytest.approx(0.9, rel=1e-3)
    assert found["systematic_bias"] == pytest.approx(1.1, rel=1e-3)
    assert found["additive"] == pytest.approx(planted["additive"][0], rel=0.1)
    assert found["log_normal_noise"] == pytest.approx(0.5, rel=0.4)
    assert (table["n_resamples"] >= 50).all()


def test_in_a_curve_noise_is_a_bias_but_for_its_scatter():
    boot = cj.bootstrap(RUNS, resamples=60)
    other = cj.bootstrap(cj.SystematicBias(1.3).apply(RUNS), resamples=60)
    found = diagnose(RUNS, boot, other, use="curve")
    rows = found.table.set_index("family")
    assert rows.loc["systematic_bias", "size"] == pytest.approx(1.3, rel=1e-3)
    reliability = theory_of(RUNS, boot.point.law).reliability(rows.loc["log_normal_noise", "size"])
    assert 1 / reliability == pytest.approx(1.3, rel=0.05)
    assert rows.loc["log_normal_noise", "log_likelihood"] < rows.loc["systematic_bias", "log_likelihood"]
    whole = diagnose(RUNS, boot, other)
    assert whole.table["family"].iloc[0] == "systematic_bias"
    assert "bias with exponent 1.3" in whole.sentence
    same = diagnose(RUNS, boot, boot)
    assert "no miscount is needed" in same.sentence
    with pytest.raises(cj.UsageError, match="different resamples"):
        diagnose(RUNS, boot, cj.bootstrap(RUNS, resamples=59))
    with pytest.raises(cj.UsageError, match="did you mean 'curve'"):
        diagnose(RUNS, boot, other, use="curves")
    with pytest.raises(cj.UsageError, match="more than the count"):
        diagnose_counts(RUNS, dataclasses.replace(RUNS, loss=2 * RUNS.loss))
