"""The commands forms, objectives and wald: what they print, and that a mistake costs one line."""

import numpy as np
import pytest
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax.analysis.wald import wald_test
from chinchilla_jax.laws import Squared
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022

FORMS = ("forms", "chinchilla", "--law", "equal_exponents", "--split", "runs", "--folds", "2",
         "--resamples", "3", "--objective", "squared")  # fmt: skip


@pytest.mark.parametrize(
    ("law", "objective"),
    [
        ("kaplan", "huber"),
        pytest.param("equal_exponents", "huber_scale", marks=pytest.mark.slow),
        pytest.param("fixed_floor", "asymmetric", marks=pytest.mark.slow),
    ],
)
def test_every_law_by_every_objective(law, objective):
    named = ("--law", law, "--objective", objective)
    found = strict_json(done("fit", "chinchilla", *named, "--starts", "8", "--json"))
    expected = cj.fit(cj.load_runs("chinchilla"), law, objective=objective, starts=8)
    assert (found["model"], found["objective"], found["status"]) == (law, objective, "CONVERGED")
    assert found["law"] == expected.parameters
    text = done("fit", "chinchilla", *named, "--starts", "8")
    assert f"{law}: {expected.model.formula}" in text
    boot = strict_json(
        done("bootstrap", "chinchilla", *named, "--resamples", "4", "--flops", "1e22", "--json")
    )
    assert [row["parameter"] for row in boot["parameters"]] == list(expected.parameters)
    assert boot["tokens_per_param"][0]["low"] > 0


def test_weights(tmp_path):
    table = cj.load_runs("chinchilla").to_frame()
    table["trust"] = np.where(np.arange(240) < 40, 0.0, 2.0)
    path = str(tmp_path / "runs.csv")
    table.to_csv(path, index=False)
    runs = cj.load_runs(path)
    found = strict_json(done("fit", path, "--weights", "trust", "--starts", "16", "--json"))
    assert found["weights"] == "trust"
    assert found["law"] == cj.fit(runs, weights=table["trust"], starts=16).parameters
    asked = ("bootstrap", path, "--weights", "trust", "--resamples", "20")
    boot = strict_json(done(*asked, "--json"))
    expected = cj.bootstrap(runs, weights=table["trust"], resamples=20).interval()
    assert [row["low"] for row in boot["parameters"]] == list(expected["low"])
    text = " ".join(done(*asked).split())
    assert f"20 resamples (cluster by params), huber, delta {boot['delta']:g} (automatic)" in text
    assert "weights from trust: 20 CONVERGED" in text


def test_forms():
    found = strict_json(done(*FORMS, "--json"))
    assert found["objective"] == "squared" and found["method"] == "centred"
    assert [fit["form"] for fit in found["fits"]] == ["chinchilla", "equal_exponents"]
    assert all(fit["goodness"]["r_squared"] > 0.9 for fit in found["fits"])
    expected = cj.fit(cj.load_runs("chinchilla"), "equal_exponents", objective=Squared())
    assert found["fits"][1]["objective_value"] == pytest.approx(expected.objective_value, rel=1e-9)
    assert len(found["comparison"]) == 2 and len(found["sentences"]) == 1
    text = done(*FORMS)
    assert "held out 2 folds of runs: error (%), difference with 80% centred interval" in text
    assert " ".join(found["sentences"][0].split()) in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_fixed_floor_is_compared_beside_the_usual_laws_where_it_has_a_floor():
    quick = ("--split", "flops", "--budget", "8e20", "--resamples", "2", "--json")
    found = strict_json(done("forms", "chinchilla", "--floor", "1.8", *quick))
    forms = [fit["form"] for fit in found["fits"]]
    assert forms == ["chinchilla", "equal_exponents", "kaplan", "broken", "gamma", "fixed_floor"]
    assert any(why.startswith("farseer has nine parameters") for why in found["left_out"])
    assert any(why.startswith("repeated_data needs unique_tokens") for why in found["left_out"])


def test_objectives(tmp_path):
    table = cj.load_runs("chinchilla").to_frame()
    table["trust"] = np.where(np.arange(240) < 40, 0.0, 2.0)
    table.to_csv(tmp_path / "runs.csv", index=False)
    arguments = ("objectives", str(tmp_path / "runs.csv"), "--weights", "trust", "--law", "equal_exponents",
                 "--delta", "1e-3", "--resamples", "4", "--flops", "1e22")  # fmt: skip
    found = strict_json(done(*arguments, "--json"))
    rows = [row for row in found["objectives"] if row["quantity"] == "E"]
    assert [row["objective"] for row in rows] == ["huber", "squared", "raw_squared", "asymmetric"]
    runs = cj.load_runs(tmp_path / "runs.csv")
    expected = cj.fit(runs, "equal_exponents", weights=table["trust"], delta=1e-3)
    assert rows[0]["estimate"] == pytest.approx(expected.parameters["E"], rel=1e-9)
    text = done(*arguments)
    assert "tokens per parameter at 1e22 FLOP" in text and "CONVERGED" in text
    assert max(map(len, text.splitlines())) <= 80


def test_wald():
    found = strict_json(done("wald", "chinchilla", "--resamples", "200", "--json"))
    runs = cj.load_runs("chinchilla")
    expected = wald_test(cj.bootstrap(runs, resamples=200), HOFFMANN_2022, runs)
    assert found["statistic"] == pytest.approx(expected.statistic, rel=1e-6) and found["degrees"] == 2
    given = ("wald", "chinchilla", "--resamples", "200")
    found = strict_json(done(*given, "--errors", "0.02,0.02", "--json"))
    assert found["errors"] == [0.02, 0.02] and found["statistic"] < expected.statistic
    found = strict_json(done(*given, "--compare", "all", "--json"))
    assert found["degrees"] == 5 and [row["coordinate"] for row in found["coordinates"]][2] == "ln E"
    text = " ".join(done(*given, "--against", "llama3").split())
    assert "against llama3" in text and "both tables have the same exponents" in text
    text = done("wald", "chinchilla", "--resamples", "200", "--law", "1.8172,482.01,2085.43,0.3478,0.3658")
    assert "is not rejected at 5%" in " ".join(text.split()) and "taken as exact" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["forms", "chinchilla", "--law", "kaplen"], "did you mean 'kaplan'?"),
        (["forms", "chinchilla", "--law", "chinchilla"], "nothing to be compared with"),
        (
            ["forms", "chinchilla", "--split", "row"],
            "--split 'row' is not one of runs, params, flops, tokens",
        ),
        (["fit", "chinchilla", "--objective", "squared", "--delta", "1"], "'squared' has no delta"),
        (["fit", "chinchilla", "--penalty", "2"], "'huber' has no penalty"),
        (["fit", "chinchilla", "--floor", "2"], "--floor is for --law fixed_floor"),
        (["fit", "chinchilla", "--law", "kaplan", "--engine", "lanes"], "does not fit kaplan by huber"),
        (["fit", "chinchilla", "--law", "kaplan", "--solver", "optax-lbfgs"], "not kaplan; use 'newton'"),
        (["fit", "chinchilla", "--weights", "w"], "embedded table"),
        (["forms", "chinchilla", "--weights", "w"], "embedded table"),
        (["forms", "chinchilla", "--floor", "-1", "--law", "fixed_floor"], "zero or more"),
        (["forms", "chinchilla", "--folds", "1"], "at least 2"),
        (["wald", "chinchilla", "--errors", "0.1;0.2"], "give numbers such as 0.02,0.02"),
        (["wald", "chinchilla", "--law", "hoffmann2022", "--against", "llama3"], "give one of them"),
        (["objectives", "chinchilla", "--delta", "0"], "'--delta': '0' is not a positive number"),
        (["objectives", "chinchilla", "--penalty", "-3"], "not a positive number"),
        (["objectives", "chinchilla", "--scheme", "residual"], "not one of auto, pairs, cluster, bayesian"),
        (["wald", "chinchilla", "--law", "1,2,3"], "five numbers"),
        (["wald", "chinchilla", "--resamples", "10"], "at least 50"),
        (["wald", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_mistakes(arguments, message):
    assert message in refused(*arguments)
