"""Several countings and losses of one table of the user's: in Python, on commands and in studies."""

import numpy as np
import pandas as pd
import pytest
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax.datasets.interpretations import Interpretations

LAW = cj.ScalingLaw(E=1.7, A=400.0, B=900.0, alpha=0.34, beta=0.31)
COUNTINGS = {"total": "params", "double": "params_double", "body": "params_body"}
LOSSES = {"web": "loss", "code": "loss_code"}


def table():
    places = np.array([(n, d) for n in np.geomspace(3e7, 3e9, 6) for d in np.geomspace(1e9, 1e11, 5)])
    params, tokens = places.T
    noise = np.random.default_rng(0).normal(0, 0.004, (2, len(params)))
    losses = LAW.loss(params, tokens) * np.exp(noise)
    columns = {"params": params, "params_double": 2 * params, "params_body": params - 2e7, "tokens": tokens}
    return pd.DataFrame({**columns, "loss": losses[0], "loss_code": 0.6 * losses[1]})


FRAME = table()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("countings") / "runs.csv"
    FRAME.to_csv(found, index=False)
    return str(found)


def test_each_counting_and_loss_is_read_by_its_name():
    plain = cj.load_runs(FRAME, countings=COUNTINGS, losses=LOSSES)
    assert plain.counting == "total+web" and plain == cj.load_runs(
        FRAME, params="total+web", countings=COUNTINGS, losses=LOSSES
    )
    other = cj.load_runs(FRAME, params="body+code", countings=COUNTINGS, losses=LOSSES)
    np.testing.assert_array_equal(other.params, FRAME["params_body"])
    np.testing.assert_array_equal(other.loss, FRAME["loss_code"])
    np.testing.assert_array_equal(other.flops, plain.flops)
    assert other.source.columns["params"] == "params_body" and other.counting == "body+code"
    assert cj.load_runs(FRAME, params="code", losses=LOSSES).counting == "code"
    assert Interpretations(countings=COUNTINGS).names == ("total", "double", "body")


def test_tokens_that_follow_from_compute_are_those_of_the_first_counting():
    frame = FRAME.drop(columns="tokens").assign(flops=6 * FRAME["params"] * FRAME["tokens"])
    runs = cj.load_runs(frame, params="double", countings=COUNTINGS)
    np.testing.assert_allclose(runs.tokens, FRAME["tokens"])
    np.testing.assert_array_equal(runs.params, 2 * FRAME["params"])


def test_all_interpretations_are_of_the_same_rows():
    frame = FRAME.copy()
    frame.loc[3, "params_body"] = None
    frame.loc[8, "loss_code"] = None
    for name in ("total+web", "body+code"):
        runs = cj.load_runs(frame, params=name, countings=COUNTINGS, losses=LOSSES, drop_missing=True)
        assert sorted(set(range(30)) - set(map(int, runs.rows))) == [3, 8]
    with pytest.raises(ChinchillaError, match="index 3, column 'params_body'"):
        cj.load_runs(frame, params="body", countings=COUNTINGS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"countings": COUNTINGS, "params": "bdy"}, "did you mean 'body'"),
        ({"countings": {"a b": "params"}}, "cannot be a name"),
        ({"countings": {"as_given": "params"}}, "cannot be a name"),
        ({"countings": {"a": 3}}, "give the name of a column"),
        ({"countings": 3}, "give columns by name"),
        ({"countings": {"a": "params"}, "losses": {"a": "loss"}}, "'a' names a counting and a loss"),
        ({"countings": {"a": "parms"}}, "no column is named 'parms'"),
        ({"countings": COUNTINGS, "columns": {"params": "params"}}, "leave one of them out"),
        ({"params": "standard"}, "name columns of counts"),
    ],
)
def test_countings_without_meaning(options, said):
    with pytest.raises(UsageError, match=said):
        cj.load_runs(FRAME, **options)
    if "params" not in options and "columns" not in options:
        with pytest.raises(UsageError):
            cj.load_runs("chinchilla", **options)


COUNTED = (
    "--counting",
    "total=params",
    "--counting",
    "double=params_double",
    "--counting",
    "body=params_body",
)


def test_a_command_answers_for_each_counting(path):
    options = ("--starts", "16", "--delta", "0.005")
    found = strict_json(done("fit", path, *COUNTED, *options, "--json"))
    assert list(found["interpretations"]) == ["total", "double", "body"]
    for name, column in COUNTINGS.items():
        part = found["interpretations"][name]
        alone = cj.fit(
            FRAME.assign(params=FRAME[column])[["params", "tokens", "loss"]], starts=16, delta=0.005
        )
        assert part["law"] == pytest.approx(alone.parameters, rel=1e-6)
        assert part["data"]["params"] == name
    body = 100 * (1 - FRAME["params_body"] / FRAME["params"]).groupby(FRAME["params"]).first()
    errors = found["relative_errors"]
    assert [(row["counting"], row["against"]) for row in errors] == [("double", "total"), ("body", "total")]
    assert errors[0]["min_percent"] == pytest.approx(-100) == errors[0]["max_percent"]
    assert errors[1]["mean_percent"] == pytest.approx(body.mean())
    text = done("fit", path, *COUNTED, *options)
    assert (
        text.index("relative error of the counts") < text.index("read as total") < text.index("read as body")
    )
    only = strict_json(done("fit", path, "--counting", "body=params_body", *options, "--json"))
    assert only["law"] == found["interpretations"]["body"]["law"]


def test_a_command_answers_for_each_loss_and_decisions_for_each_counting(path):
    named = ("--loss", "web=loss", "--loss", "code=loss_code")
    found = strict_json(done("fit", path, *named, "--starts", "16", "--json"))["interpretations"]
    assert found["code"]["law"]["E"] == pytest.approx(0.6 * found["web"]["law"]["E"], rel=0.1)
    found = strict_json(done("plan", path, *COUNTED, "--flops", "1e20", "--resamples", "8", "--json"))
    assert list(found["interpretations"]) == ["total", "double", "body"]


def test_diagnose_compares_two_countings(path):
    found = strict_json(done("diagnose", path, *COUNTED[:4], "--resamples", "30", "--json"))
    best = found["families"][0]
    assert best["family"] == "multiplicative" and best["size"] == pytest.approx(2.0, rel=1e-3)
    assert "two --counting NAME=COLUMN" in refused("diagnose", path, *COUNTED)
    assert "two --counting NAME=COLUMN" in refused("diagnose", path)


def test_options_that_contradict_each_other_are_refused(path):
    assert "give one counting of chinchilla" in refused("fit", path, "--counting", "standard", *COUNTED[:2])
    assert "is given twice" in refused("fit", path, *COUNTED[:2], *COUNTED[:2])
    assert "for your own tables" in refused("fit", "chinchilla", *COUNTED[:2])
    assert "did you mean 'standard'" in refused("fit", "chinchilla", "--counting", "standrad")


@pytest.mark.slow
def test_a_study_has_a_condition_curves_and_figures_of_each(path, tmp_path):
    spec = cj.StudySpec(
        data=path, countings=COUNTINGS, resamples=6, flops=[1e20, 1e22], delta=0.005,
        sweeps=[{"family": "multiplicative", "values": [2.0]}],
    )  # fmt: skip
    file = tmp_path / "spec.toml"
    from chinchilla_jax.study.spec.reproduce import spec_toml

    file.write_text(spec_toml(spec))
    assert cj.StudySpec.from_toml(file) == spec and spec.interpretations == ("total", "double", "body")
    study = cj.run_study(spec, tmp_path / "out", progress=None)
    ids = ["identity", "identity@double", "identity@body", "multiplicative=2.0"]
    assert study.conditions["condition"].tolist() == ids
    fits = {name: study.fits(name) for name in ids}
    for name in ("A", "alpha", "E"):  # twice every count, as a column and as a perturbation
        np.testing.assert_allclose(fits["identity@double"][name], fits["multiplicative=2.0"][name], rtol=1e-6)
    assert cj.open_study(tmp_path / "out").spec == spec
    drawn = {each.name for each in study.figures}
    assert {"relative_error.png", "parameters_by_counting.png", "tokens_per_param_by_counting.png"} <= drawn
    page = (tmp_path / "out" / "report.html").read_text()
    assert "How far the counts of double and body lie from those of total" in page


def test_a_study_of_two_losses(path, tmp_path):
    spec = cj.StudySpec(data=path, losses=LOSSES, countings={"total": "params"}, resamples=4, flops=[1e20])
    study = cj.run_study(spec, tmp_path / "out", progress=None, figures=False)
    assert study.conditions["params"].tolist() == ["total+web", "total+code"]
    point = study.point[study.point["objective"] == "huber"].set_index("condition")
    assert point["E"]["identity@total+code"] == pytest.approx(0.6 * point["E"]["identity"], rel=0.1)
    with pytest.raises(UsageError, match="losses is for tables of your own"):
        cj.StudySpec(losses=LOSSES)
    with pytest.raises(UsageError, match="did you mean 'total"):
        cj.StudySpec(data=path, losses=LOSSES, countings={"total": "params"}, interpretations=["total+wbe"])
