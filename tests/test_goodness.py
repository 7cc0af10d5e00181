"""Goodness of fit: what `fit` and `bootstrap` say of the residuals, and the test for lack of fit."""

import json

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax.cli import main
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH


def planted(seed, *, sizes=6, ratios=4, copies=3, noise=0.01, bend=0.0):
    """Runs of a grid, `copies` of each configuration, with normal errors; `bend` is no law of the five."""
    generator = np.random.default_rng(seed)
    params, ratio = np.meshgrid(np.geomspace(1e7, 3e9, sizes), np.geomspace(5, 200, ratios))
    params = np.tile(params.ravel(), copies)
    tokens = params * np.tile(ratio.ravel(), copies)
    log_loss = np.log(TRUTH.loss(params, tokens)) + noise * generator.standard_normal(len(params))
    log_loss += bend * np.cos(2 * np.log(params))
    return cj.Runs(params=params, tokens=tokens, loss=np.exp(log_loss))


def lack_of_fit(runs):
    return cj.fit(runs, objective="squared", starts=8).goodness.lack_of_fit


def test_it_is_what_the_residuals_say():
    runs = planted(0)
    found = cj.fit(runs, objective="squared")
    goodness, residuals = found.goodness, found.residuals
    assert goodness.scale_percent == pytest.approx(100 * found.residual_scale)
    log_loss = np.log(runs.loss)
    assert goodness.r_squared == pytest.approx(
        1 - np.sum(residuals**2) / np.sum((log_loss - log_loss.mean()) ** 2)
    )
    worst = int(np.argmax(np.abs(residuals)))
    assert goodness.largest_row == runs.name_row(worst)
    observed = runs.loss[worst] / found.law.loss(runs.params[worst], runs.tokens[worst])
    assert goodness.largest_percent == pytest.approx(100 * (observed - 1))
    assert goodness.lack_of_fit.degrees == (24 - 5, 72 - 24)


def test_lack_of_fit_against_a_regression_on_configurations():
    """Pure error and lack of fit add up to the sum of squares of the residuals, none of which is cut off."""
    runs = planted(3, copies=2)
    found = cj.fit(runs, objective="squared")
    test, residuals = found.goodness.lack_of_fit, found.residuals
    pairs = residuals.reshape(2, 24)
    within = np.sum((pairs[0] - pairs[1]) ** 2) / 2
    between = np.sum(residuals**2) - within
    assert pytest.approx(between / 19 / (within / 24), rel=0.05) == test.F


def test_lack_of_fit_is_uniform_where_the_law_holds_and_small_where_it_does_not():
    p = np.array([lack_of_fit(planted(seed)).p for seed in range(40)])
    assert 0.2 < p.mean() < 0.8
    assert (p < 0.01).mean() <= 0.1
    assert lack_of_fit(planted(0, bend=0.03)).p < 1e-4


def test_without_replicates_there_is_no_test_and_a_weightless_run_does_not_count():
    assert cj.fit(planted(0, copies=1)).goodness.lack_of_fit is None
    runs = planted(0)
    loss = runs.loss.copy()
    loss[5] *= 2
    spoilt = cj.Runs(params=runs.params, tokens=runs.tokens, loss=loss)
    assert cj.fit(spoilt).goodness.largest_row == "run 6"
    weights = np.ones(len(runs))
    weights[5] = 0
    assert cj.fit(spoilt, weights=weights).goodness.r_squared == pytest.approx(
        cj.fit(runs, weights=weights).goodness.r_squared
    )


def test_lack_of_fit_is_not_tested_where_its_assumptions_do_not_hold():
    runs = planted(0)
    assert cj.fit(runs, objective="asymmetric").goodness.lack_of_fit is None
    weights = np.where(np.arange(len(runs)) % 3 == 0, 1.0, 0.01)
    assert cj.fit(runs, objective="squared", weights=weights).goodness.lack_of_fit is None
    same = cj.fit(runs, objective="squared", weights=np.full(len(runs), 0.5)).goodness.lack_of_fit
    assert pytest.approx(cj.fit(runs, objective="squared").goodness.lack_of_fit.F) == same.F


@pytest.mark.parametrize("command", [["fit"], ["bootstrap", "--resamples", "20"]])
def test_commands_print_it(command, capsys):
    main([command[0], "chinchilla", *command[1:]])
    text = " ".join(capsys.readouterr().out.split())
    assert "residual scale 0.485%, R2 of ln L 0.99498; farthest is row 7, 5.15% above the law" in text
    main([command[0], "chinchilla", "--json", *command[1:]])
    fields = json.loads(capsys.readouterr().out)
    goodness = fields.get("point", fields)["goodness"]
    assert goodness["lack_of_fit"]["degrees"] == [231, 4]


def test_what_repeats_a_configuration_with_another_recipe_is_no_repetition():
    runs = planted(0, copies=2)
    assert lack_of_fit(runs) is not None
    recipe = np.repeat([0.0, 0.05], len(runs) // 2)
    other = cj.Runs(params=runs.params, tokens=runs.tokens, loss=runs.loss * np.exp(recipe))
    assert lack_of_fit(other) is None
