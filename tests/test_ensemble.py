"""Ensembles of laws: weights against SciPy, mixtures of draws, and what the command prints."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax._util.errors import NoEstimateError
from chinchilla_jax.analysis import stack_laws
from chinchilla_jax.analysis.stacking import law_weights, stacking_weights
from chinchilla_jax.planning.mixed_draws import mixed_limits, spreads

RUNS = cj.load_runs("chinchilla")
LAWS = ["chinchilla", "equal_exponents"]
PLACES = {"params": [1e9, 1e11], "tokens": [2e10, 2e12]}


@pytest.fixture(scope="module")
def ensemble():
    return stack_laws(RUNS, LAWS, resamples=60, seed=2)


def test_stacking_weights_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(5):
        density = rng.normal(size=(40, 4)) + np.array([0.0, 0.1, -0.3, -4.0])
        shares = rng.dirichlet(np.ones(40), size=1)

        def loss(weights, density=density, shares=shares):
            return -float(shares[0] @ np.log(np.exp(density) @ weights))

        best = minimize(
            loss,
            np.full(4, 0.25),
            method="SLSQP",
            bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-12},
        )
        (found,) = stacking_weights(density, shares)
        assert found.sum() == pytest.approx(1, abs=1e-12) and (found >= 0).all()
        assert loss(found) <= best.fun + 2e-6


def test_weights_by_what_is_held_out():
    density = np.tile([0.0, -0.5], (6, 1))
    shares = np.full((1, 6), 1 / 6)
    # Akaike's: of three pieces of evidence, not of six runs.
    odds = np.exp(-0.5 * 3)
    assert law_weights(density, shares, 3, "pseudo_bma") == pytest.approx([1 / (1 + odds), odds / (1 + odds)])
    assert law_weights(density, shares, 3, "stacking") == pytest.approx([1, 0], abs=1e-2)
    assert law_weights(density, shares, 3, "equal").tolist() == [0.5, 0.5]


def test_a_mixture_of_draws():
    rng = np.random.default_rng(1)
    draws = [rng.normal(0, 1, (4000, 2)), rng.normal([0, 10], 2, (500, 2))]
    weights = np.array([0.75, 0.25])
    low, high = mixed_limits(draws, weights, 0.8)
    taken = np.concatenate([draws[0][:1500], draws[1]])  # as many of each as it weighs
    assert low == pytest.approx(np.quantile(taken, 0.1, axis=0), abs=0.15)
    assert high == pytest.approx(np.quantile(taken, 0.9, axis=0), abs=0.35)
    within, between = spreads(draws, weights)
    total = np.cov(np.concatenate([draws[0], np.tile(draws[1], (8, 1))])[:, 1], aweights=np.repeat(
        [0.75, 0.25], 4000), ddof=0)  # fmt: skip
    assert within[1] ** 2 + between[1] ** 2 == pytest.approx(float(total), rel=1e-9)
    assert between[0] < 0.1 < 4 < between[1]
    # A law without weight adds nothing.
    assert mixed_limits(draws, np.array([1.0, 0.0]), 0.8) == pytest.approx(
        np.quantile(draws[0], [0.1, 0.9], axis=0), abs=1e-2
    )


def test_an_ensemble_predicts_by_all_its_laws(ensemble):
    assert ensemble.names == LAWS and ensemble.weights.sum() == pytest.approx(1)
    assert ensemble.held_out == "above 1.6e20 FLOP and above 8e20 FLOP"
    assert ensemble.table["error"].to_numpy() == pytest.approx([0.0093, 0.0080], abs=2e-4)
    found = cj.predict(ensemble, PLACES)
    single = [cj.predict(boot, PLACES).table for boot in ensemble.boots]
    low = np.minimum(single[0]["mean_low"], single[1]["mean_low"])
    high = np.maximum(single[0]["mean_high"], single[1]["mean_high"])
    table = found.table
    assert (low <= table["mean_low"]).all() and (table["mean_high"] <= high).all()
    assert (table["new_run_high"] - table["new_run_low"] > table["mean_high"] - table["mean_low"]).all()
    assert (table[["within", "between"]] > 0).all(axis=None)
    assert found.by_law["law"].tolist() == LAWS * 2 and found.by_law["place"].tolist() == [0, 0, 1, 1]
    assert found.by_law["loss"].to_numpy()[::2] == pytest.approx(single[0]["loss"])
    # One law with all the weight is that law.
    alone = cj.predict(dataclasses.replace(ensemble, weights=np.array([1.0, 0.0])), PLACES).table
    for name in ("loss", "mean_low", "mean_high", "new_run_low", "new_run_high"):
        assert alone[name].to_numpy() == pytest.approx(single[0][name], rel=2e-3), name
    # Budgets alone are spent as the law of most weight says.
    budgets = cj.predict(ensemble, {"flops": [1e22]}).table
    lead = ensemble.boots[int(np.argmax(ensemble.weights))].point.law
    assert budgets["params"][0] == pytest.approx(lead.optimal(1e22)[0])


def test_mistakes_of_ensembles():
    with pytest.raises(cj.UsageError, match="'bma'"):
        stack_laws(RUNS, LAWS, method="bma")
    with pytest.raises(cj.UsageError, match="unknown split"):
        stack_laws(RUNS, LAWS, split="rows")
    alike = cj.Runs(RUNS.params, 20 * RUNS.params, loss=RUNS.loss)
    with pytest.raises(NoEstimateError, match="no law to predict with: chinchilla has no certified fit"):
        stack_laws(alike, ["chinchilla"], resamples=4)


def test_forms_predicts_by_all_laws(tmp_path, monkeypatch):
    places = tmp_path / "places.csv"
    places.write_text("params,tokens\n1e9,2e10\n1e11,2e12\n")
    asked = ("forms", "chinchilla", "--law", "equal_exponents", "--split", "runs", "--folds", "2",
             "--resamples", "3", "--at", str(places))  # fmt: skip
    found = strict_json(done(*asked, "--json"))["ensemble"]
    assert [law["law"] for law in found["laws"]] == LAWS and found["held_out"] == "2 folds of runs"
    assert len(found["places"]) == 2 and len(found["by_law"]) == 4
    assert found["places"][1]["mean_low"] < found["places"][1]["loss"] < found["places"][1]["mean_high"]
    text = done(*asked)
    assert "all laws together, weighed by runs held out 2 folds of runs: chinchilla" in " ".join(text.split())
    monkeypatch.setattr("chinchilla_jax.analysis.form_comparison.compare_forms", None)  # not reached
    assert "nowhere.csv" in refused("forms", "chinchilla", "--at", "nowhere.csv")
