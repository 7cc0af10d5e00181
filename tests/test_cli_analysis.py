"""The commands of the analysis layer: what they print, and that a mistake costs one line."""

import numpy as np
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
