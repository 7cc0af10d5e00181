"""A table with names of its own and two experiments in it goes into every command, and into a study."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax.cli import main

LAW = cj.ScalingLaw(E=1.7, A=400.0, B=900.0, alpha=0.34, beta=0.31)
CHOSEN = ("--column", "loss=eval/ce", "--column", "params=n_all", "--experiment", "web")
COLUMNS = {"loss": "eval/ce", "params": "n_all"}
WEB = ("--experiment", "web")
FEW = ("--resamples", "10")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Three budgets with six sizes each, twice over; two columns that could count the parameters."""
    flops, params = (each.ravel() for each in np.meshgrid([1e18, 1e19, 1e20], np.geomspace(5e7, 2e9, 6)))
    tokens = flops / (6 * params)
    noise = np.random.default_rng(0).normal(0, 0.004, (2, flops.size))
    parts = [
        pd.DataFrame(
            {
                "experiment": name,
                "n_all": params,
                "n_without_embedding": 0.93 * params,
                "tokens": tokens,
                "eval/ce": LAW.loss(params, tokens) * np.exp(noise[i]) + 0.2 * i,
            }
        )
        for i, name in enumerate(("web", "code"))
    ]
    found = tmp_path_factory.mktemp("own") / "our runs.csv"
    pd.concat(parts).to_csv(found, index=False)
    return str(found)


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "--starts", "16"),
        ("bootstrap", *FEW),
        ("coverage", "--datasets", "1", *FEW),
        ("breakdown", "--family", "multiplicative", *FEW),
        ("isoflop", *FEW),
        ("forms", "--law", "equal_exponents", "--split", "runs", "--folds", "2", "--resamples", "4"),
        ("objectives", "--delta", "1e-3", "--weights", "tokens", "--resamples", "4"),
        ("wald", "--resamples", "400"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_about_a_table(path, arguments):
    command, *options = arguments
    found = strict_json(done(command, path, *CHOSEN, *options, "--json"))
    wanted = cj.load_runs(path, columns=COLUMNS, experiment="web")
    assert found["data"]["hash"] == wanted.data_hash
    assert found["data"]["n_runs"] == 18


@pytest.mark.parametrize(
    "arguments",
    [("plan", "--flops", "1e22"), ("inference", "--like-params", "1e9", "--input-tokens", "1e11")],
    ids=lambda arguments: arguments[0],
)
def test_a_command_about_a_decision(path, arguments):
    command, *options = arguments
    found = strict_json(done(command, path, *CHOSEN, *options, *FEW, "--json"))
    assert "18 runs" in found["source"]
    point = cj.fit(cj.load_runs(path, columns=COLUMNS, experiment="web")).law
    assert found["point_law"]["E"] == pytest.approx(float(point.E), rel=1e-6)
    message = refused(command, *CHOSEN, *options, "--law", "hoffmann2022")
    assert "leave out --column and --experiment, or --law" in message
    message = refused(command, *options, "--law", "hoffmann2022", "--counting", "standard")
    assert "--law replaces a fit to DATA; leave out --counting, or --law" in message


def test_two_counts_of_one_table_are_diagnosed(path):
    other = ("--other-column", "params=n_without_embedding")
    found = strict_json(done("diagnose", path, path, *CHOSEN, *other, *FEW, "--json"))
    assert found["families"][0]["family"] == "multiplicative"
    assert found["families"][0]["size"] == pytest.approx(0.93, rel=1e-3)
    assert found["data"]["hash"] != found["other"]["hash"]
    assert "for a table" in refused("diagnose", "chinchilla", "reported", *other)


def test_a_spec_for_it_is_written_and_runs(path, tmp_path):
    spec = tmp_path / "mine.toml"
    done("study", "init", str(spec), "--data", path, *CHOSEN)
    assert f"study check {spec}\n" in spec.read_text() and "study.toml" not in spec.read_text()
    read = cj.StudySpec.from_toml(spec)
    assert (read.data, dict(read.columns), read.experiment) == (path, COLUMNS, "web")
    assert read.interpretations == ("as_given",)
    runs = cj.load_runs(path, columns=COLUMNS, experiment="web")
    additive = next(sweep for sweep in read.sweeps if sweep.family == "additive")
    assert max(abs(value) for value in additive.values) == pytest.approx(0.3 * runs.params.min(), rel=0.05)
    assert "31: 1 identity" in done("study", "check", str(spec))
    assert "names 2 experiments" in refused("study", "init", str(tmp_path / "no.toml"), "--data", path)


def test_a_study_of_it(path, tmp_path):
    spec = tmp_path / "spec.toml"
    spec.write_text(
        f"data = {path!r}\n"
        'columns = { loss = "eval/ce", params = "n_all" }\n'
        'experiment = "web"\nresamples = 10\nflops = [1e20, 1e22]\n'
    )
    done("study", str(spec), "--out", str(tmp_path / "out"), "--no-figures")
    study = cj.open_study(tmp_path / "out")
    assert study.runs().data_hash == cj.load_runs(path, columns=COLUMNS, experiment="web").data_hash
    spec.write_text(spec.read_text().replace("web", "code"))
    message = refused("study", str(spec), "--out", str(tmp_path / "out"), "--quiet")
    assert "experiment: 'web' there, 'code' asked for" in message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--column", "loss"], "give QUANTITY=NAME"),
        (["--column", "loss=a", "--column", "loss=b"], "is given twice"),
        ([*WEB, "--column", "loss=eval"], "did you mean 'eval/ce'?"),
        ([*WEB, "--column", "los=eval/ce"], "did you mean 'loss'?"),
        (["--experiment", "wab"], "did you mean 'web'?"),
        ([], "names 2 experiments ('web', 'code')"),
    ],
)
def test_mistakes(path, given, said):
    assert said in refused("fit", path, *given)


def test_options_that_do_not_fit_the_table_are_refused_by_name(path, tmp_path):
    table = tmp_path / "own.csv"
    columns = {"weights in model": [1e8], "seen": [2e9], "nll c4": [3.1], "nll pile": [2.9]}
    pd.DataFrame(columns).to_csv(table, index=False)
    named = refused("fit", str(table))
    assert "pass --column 'loss=nll c4' or --column 'loss=nll pile' and --column params=NAME" in named
    rest = refused("fit", str(table), "--column", "loss=nll c4")
    assert "pass --column params=NAME --column tokens=NAME, or rename the columns" in rest
    assert "columns=... in load_runs and specs" in rest
    assert "own.csv: 1 distinct run in 1 row; " in refused(
        "fit", str(table), *("--column", "loss=nll c4"), *("--column", "params=weights in model"),
        *("--column", "tokens=seen"),
    )  # fmt: skip
    assert "our runs.csv: no column is named 'w'; the table has" in refused(
        "fit", path, *CHOSEN, "--weights", "w"
    )
    assert "(--counting on the command line)" in refused("fit", path, *CHOSEN, "--counting", "standard")
    assert "not a directory; give the directory that a study was written to" in refused(
        "study", "status", path
    )


def test_a_bootstrap_with_many_failures_says_so(tmp_path):
    params, tokens = np.array([2e7, 1e8, 3e8, 6e8, 1e9, 3e9]), np.array([9e9, 2e9, 4e10, 3e9, 8e10, 2e10])
    loss = LAW.loss(params, tokens) * np.exp(np.random.default_rng(0).normal(0, 0.004, 6))
    table = tmp_path / "six.csv"
    pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}).to_csv(table, index=False)
    said = " ".join(done("bootstrap", str(table), "--resamples", "50").split())
    assert re.search(r"warning: \d\d of 50 resamples \(\d\d%\) have no certified fit \(", said)
    assert "the intervals describe only the others" in said


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """Forty runs whose errors are those of five labs, of four sizes and ten token counts."""
    params, tokens = (
        each.ravel() for each in np.meshgrid(np.geomspace(1e8, 1e10, 4), np.geomspace(2e9, 2e11, 10))
    )
    lab = np.random.default_rng(2).permutation(np.repeat(np.arange(5), 8))
    errors = 0.006 * np.random.default_rng(1).standard_normal(5)[lab]
    errors += 0.002 * np.random.default_rng(2).standard_normal(40)
    frame = pd.DataFrame(
        {"params": params, "tokens": tokens, "loss": LAW.loss(params, tokens) * np.exp(errors)}
    )
    found = tmp_path_factory.mktemp("labs") / "labs.csv"
    frame.assign(lab=[f"lab {number}" for number in lab]).to_csv(found, index=False)
    return str(found)


@pytest.mark.parametrize(
    "arguments",
    [
        ("bootstrap", *FEW),
        ("breakdown", "--family", "multiplicative", *FEW),
        ("forms", "--law", "equal_exponents", "--split", "runs", "--folds", "2", "--resamples", "4"),
        ("objectives", "--delta", "1e-3", "--resamples", "4"),
        ("wald", "--resamples", "400"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_groups_are_resampled_by_any_column(labs, arguments):
    command, *options = arguments
    named = strict_json(done(command, labs, *options, "--cluster", "lab", "--json"))
    assert (named["scheme"], named["cluster"], named["dependence"]) == ("cluster", "lab", None)
    assert any("only 5 groups by lab can be resampled" in each for each in named["warnings"])


def test_a_column_of_groups_is_not_read_unasked(labs):
    measured = strict_json(done("bootstrap", labs, *FEW, "--json"))
    assert {row["grouping"] for row in measured["dependence"]["groupings"]} <= {"sizes", "budgets"}
    assert measured["scheme"] == "pairs"


def test_a_line_says_how_runs_were_resampled_and_why(labs):
    text = " ".join(done("bootstrap", labs, *FEW).split())
    assert "scheme auto: runs are resampled one by one, since residuals show no correlation within" in text
    text = done("bootstrap", labs, *FEW, "--cluster", "lab")
    assert "10 resamples (cluster by lab), huber" in text and "scheme auto" not in text
    plan = strict_json(done("plan", labs, "--flops", "1e22", *FEW, "--json"))
    assert plan["resampling"].startswith("runs are resampled one by one")
    text = " ".join(done("bootstrap", "llama3", *FEW).split())
    assert "one by one, as published for llama3; in a table of your own whole groups would be," in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--cluster", "labs"), "no column is named 'labs'; did you mean 'lab'"),
        (("--cluster", "lab", "--scheme", "pairs"), "--cluster is for --scheme cluster, not pairs"),
    ],
)
def test_groups_that_there_are_not(labs, arguments, expected):
    assert expected in refused("bootstrap", labs, *arguments)
    assert "the embedded llama3 has no such column" in refused(
        "plan", "llama3", "--flops", "1e22", "--cluster", "lab"
    )
    assert "leave out --cluster" in refused(
        "plan", "--law", "hoffmann2022", "--flops", "1e22", "--cluster", "params"
    )


def test_a_table_without_an_estimate_gives_no_numbers(tmp_path, capsys):
    params = np.geomspace(5e7, 2e9, 16)
    loss = LAW.loss(params, 20 * params) * np.exp(np.random.default_rng(3).normal(0, 0.003, 16))
    table = tmp_path / "ratio.csv"
    pd.DataFrame({"params": params, "tokens": 20 * params, "loss": loss}).to_csv(table, index=False)
    assert main(["fit", str(table)]) == 1
    said, error = capsys.readouterr()
    for word in ("alpha", "\noptimum ", "warning", "undefined"):
        assert word not in said
    assert "all runs have 20 tokens per parameter" in " ".join(said.split()).lower()
    assert error.count("\n") == 1 and "20 tokens" not in error and "UNIDENTIFIED" in error
    assert main(["fit", str(table), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["law"] is None and found["optimal_exponents"] is None and found["no_optimum"] is None
    assert set(found["law_found"]) == {"E", "A", "B", "alpha", "beta"}
    assert found["reason"].startswith("All runs have 20 tokens per parameter")
    # Nothing is said about intervals that there are not.
    boot = cj.bootstrap(cj.load_runs(table), resamples=20)
    assert not boot.estimated and len(boot.warnings) == 1 and "there is no estimate" in boot.warnings[0]
    assert repr(boot.point).startswith("<FitResult no estimate: UNIDENTIFIED")


@pytest.mark.parametrize("command", ["predict", "plan", "fit"])
def test_the_default_counting_is_no_name_of_an_embedded_table(command):
    printed = " ".join(done(command, "--help").split())
    assert "[default: (the column of params)]" in printed
    assert "[default: (as_plotted)]" not in printed
