"""The commands of the analysis layer: what they print, and that a mistake costs one line."""

import numpy as np
import pandas as pd
import pytest
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax.datasets import load_runs


@pytest.mark.parametrize("method", ["basic", "bca", "studentised", "highest_density"])
def test_bootstrap_by_every_method(method):
    arguments = ("bootstrap", "chinchilla", "--resamples", "30", "--inner", "3", "--method", method)
    found = strict_json(done(*arguments, "--json"))
    assert found["method"] == method and found["scheme"] == "pairs"
    for row in found["parameters"]:
        assert row["low"] < row["high"]
    boot = cj.bootstrap(
        load_runs("chinchilla"),
        resamples=30,
        jackknife=method == "bca",
        inner=3 if method == "studentised" else 0,
    )
    expected = boot.interval(method=method)
    assert [row["low"] for row in found["parameters"]] == pytest.approx(list(expected["low"]), rel=1e-7)


def test_bootstrap_by_a_scheme():
    text = done("bootstrap", "chinchilla", "--resamples", "30", "--scheme", "cluster")
    assert "30 resamples (cluster by params), huber: 30 CONVERGED" in text
    # A jackknife has as many fits as runs, whatever is asked for.
    text = done("bootstrap", "chinchilla", "--scheme", "jackknife", "--method", "gaussian")
    assert "240 resamples (jackknife)" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bootstrap", "chinchilla", "--scheme", "pair"], "did you mean 'pairs'?"),
        (["bootstrap", "chinchilla", "--scheme", "jackknife"], "--method gaussian"),
        (["bootstrap", "chinchilla", "--method", "studentised", "--inner", "1"], "at least 2"),
        (["bootstrap", "chinchilla", "--method", "bca", "--scheme", "wild"], "no jackknife beside it"),
        (["coverage", "chinchilla", "--noise", "white"], "'white' is not one of residuals, signed"),
        (
            ["coverage", "chinchilla", "--datasets", "0"],
            "'--datasets': '0' is not a whole number of at least 1",
        ),
        (["coverage", "nowhere.csv"], "nowhere.csv"),
        (["breakdown", "chinchilla", "--family", "additiv"], "did you mean 'additive'?"),
        (["breakdown", "chinchilla", "--level", "80"], "between 0 and 1"),
        (["diagnose", "chinchilla"], "OTHER"),
        (["diagnose", "chinchilla", "llama3"], "more than the count"),
        (["diagnose", "chinchilla", "standard", "--use", "laws"], "did you mean 'law'?"),
    ],
)
def test_mistakes(arguments, message):
    assert message in refused(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("diagnose", "chinchilla", "reported", "--counting", "standard", "--resamples", "20"),
        ("objectives", "chinchilla", "--delta", "1e-3", "--resamples", "4", "--flops", "1e22"),
        ("wald", "chinchilla", "--resamples", "60"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_another_engine_prints_the_same(arguments):
    assert done(*arguments, "--engine", "xla") == done(*arguments)


def test_every_command_that_fits_takes_an_engine():
    analyses = ("coverage", "breakdown", "diagnose", "forms", "objectives", "wald")
    for command in ("fit", "bootstrap", "plan", "inference", "isoflop", *analyses):
        assert "--engine NAME" in done(command, "--help")
    for group, command in (("study", "run"), ("progress", "next")):
        assert "--engine NAME" in done(group, command, "--help")


def test_coverage_of_errors_that_runs_share(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "runs.csv"
    params = np.repeat(np.geomspace(1e8, 1e10, 8), 5)
    tokens = np.tile(np.geomspace(1e9, 1e11, 5), 8)
    errors = 0.005 * (rng.normal(size=8)[np.arange(40) // 5] + 0.5 * rng.normal(size=40))
    loss = (1.8 + 480 * params**-0.35 + 2000 * tokens**-0.37) * np.exp(errors)
    names = [f"lab {i // 5 % 4}" for i in range(40)]
    pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, "lab": names}).to_csv(path, index=False)
    few = ("--datasets", "2", "--resamples", "20", "--method", "percentile", "--flops", "1e22")
    found = strict_json(done("coverage", str(path), *few, "--json"))
    assert found["groups"] == ["params"] and found["correlation"][0] > 0.5
    assert len(found["coverage"]) == 5 * 2
    given = ("--groups", "params", "--correlation", "0.25", "--scheme", "pairs", "--delta", "0.004")
    found = strict_json(done("coverage", str(path), *few, *given, "--json"))
    assert (found["correlation"], found["delta"], found["scheme"]) == ([0.25], 0.004, "pairs")
    text = done("coverage", str(path), *few, "--groups", "none", "--cluster", "lab", "--boundary", "drop")
    assert "(cluster by lab)" in text and "every run errs on its own" in text
    text = done("coverage", str(path), *few, "--groups", "lab")
    assert "errors of runs with the same 'lab' are correlated by" in text
    needless = refused("coverage", str(path), "--correlation", "0.5")
    assert "correlation is of the errors of one group" in needless
    unknown = refused("coverage", str(path), "--groups", "labs")
    assert "no column is named 'labs'; did you mean 'lab'" in unknown
    assert "embedded llama3 has no such column" in refused("coverage", "llama3", "--groups", "lab")


def test_coverage(tmp_path):
    arguments = (
        "coverage",
        "chinchilla",
        "--datasets",
        "2",
        "--resamples",
        "20",
        "--out",
        str(tmp_path / "run"),
    )
    found = strict_json(done(*arguments, "--json"))
    assert len(found["coverage"]) == 8 * 2 * 5
    assert all(row["n"] == 2 for row in found["coverage"])
    text = done(*arguments)
    assert "2 data sets of 20 resamples (pairs), noise residuals" in text
    assert "tokens per parameter within the range of the data" in text
    assert "resamples is 20 there and 21 here" in refused(*arguments[:-3], "21", *arguments[-2:])


def test_breakdown_and_diagnose():
    arguments = ("--counting", "standard", "--family", "multiplicative", "--resamples", "10")
    found = strict_json(done("breakdown", "chinchilla", *arguments, "--json"))
    assert [row["criterion"] for row in found["breakdown"]][:2] == [
        "ratio_leaves_interval",
        "slope_excludes_zero",
    ]
    sizes = [row["size"] for row in found["breakdown"] if row["size"] is not None]
    assert sizes and all(0.001 <= size <= 1000 for size in sizes)
    # The reported counts are 7.4% above the standard ones on average (Schaeffer et al. 2025): a factor.
    found = strict_json(
        done("diagnose", "chinchilla", "reported", "--counting", "standard", "--resamples", "40", "--json")
    )
    best = found["families"][0]
    assert best["family"] == "multiplicative"
    runs, other = load_runs("chinchilla", params="standard"), load_runs("chinchilla", params="reported")
    assert best["size"] == pytest.approx(np.exp(np.mean(np.log(other.params / runs.params))), abs=0.01)
    assert found["sentence"].startswith("The difference looks like a factor of 1.07")
