"""Studies under a law other than that of five parameters."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax.cli import main
from chinchilla_jax.laws import Kaplan
from chinchilla_jax.laws.own_law import recorded
from chinchilla_jax.report import run_shard
from chinchilla_jax.study import Shard
from chinchilla_jax.study.session import Session
from chinchilla_jax.study.spec.reproduce import spec_toml, study_command

TRUTH = {"N_c": 8.8e13, "D_c": 5.4e13, "alpha_N": 0.076, "alpha_D": 0.095}
TABLES = ("conditions.parquet", "point.parquet", "summary/params.parquet", "summary/tokens_per_param.parquet")


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A study of runs drawn from the law of Kaplan et al., with 0.5% of noise."""
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(17, 23, 60)), np.exp(rng.uniform(20, 26, 60))
    power = TRUTH["alpha_N"] / TRUTH["alpha_D"]
    loss = ((TRUTH["N_c"] / n) ** power + TRUTH["D_c"] / d) ** TRUTH["alpha_D"]
    runs = cj.Runs(n, d, loss=loss * np.exp(0.005 * rng.standard_normal(60)), name="planted")
    table = tmp_path_factory.mktemp("planted") / "planted.csv"
    runs.to_frame().to_csv(table, index=False)
    return cj.StudySpec.from_dict(
        {
            "data": str(table),
            "law": "kaplan",
            "sweeps": [
                {"family": "multiplicative", "values": [0.5, 2.0]},
                {"family": "systematic_bias", "values": [1.1]},
            ],
            "resamples": 200,
            "levels": [0.95],
            "flops": [1e20, 1e24],
        }
    )


@pytest.fixture(scope="module")
def planted(spec, tmp_path_factory):
    return cj.run_study(spec, tmp_path_factory.mktemp("study") / "out", progress=None, figures=False)


@pytest.mark.slow
def test_a_study_recovers_the_law_and_what_a_miscount_does_to_it(planted):
    assert set(planted.fits()["status"]) == {"CONVERGED"}
    assert list(planted.point.columns)[1:7] == ["objective", *TRUTH, "objective_value"]
    params = planted.params.set_index(["condition", "method", "parameter"])
    for name, value in TRUTH.items():
        row = params.loc["identity", "percentile", name]
        assert row["low"] <= value <= row["high"]
    assert set(planted.params["method"]) == {"percentile", "gaussian"}
    # N_c has the unit of N, and an exponent of N takes up a power of N: exactly, in every fit.
    fits = {name: planted.fits(name) for name in planted.conditions["condition"]}
    for factor in (0.5, 2.0):
        ratio = fits[f"multiplicative={factor}"][list(TRUTH)] / fits["identity"][list(TRUTH)]
        np.testing.assert_allclose(ratio, np.tile([factor, 1, 1, 1], (200, 1)), rtol=1e-5)
    bias = fits["systematic_bias=1.1"]["alpha_N"] / fits["identity"]["alpha_N"]
    np.testing.assert_allclose(bias, 1 / 1.1, rtol=1e-5)


@pytest.mark.slow
def test_its_prescriptions_are_those_of_its_law(planted):
    laws, codes = planted.laws("identity")
    assert laws.shape == codes.shape == (200,)
    fit = cj.fit(planted.runs(), "kaplan", delta=1e-3)
    found = planted.point_law("identity")
    np.testing.assert_allclose(list(found.as_dict().values()), list(fit.parameters.values()), rtol=1e-6)
    table = planted.tokens_per_param
    rows = table[table["condition"] == "identity"]
    assert set(table["method"]) == {"percentile"}
    np.testing.assert_allclose(rows["estimate"], fit.law.tokens_per_param([1e20, 1e24]), rtol=1e-6)
    low, high = np.quantile(laws.tokens_per_param(1e24), [0.025, 0.975])
    np.testing.assert_allclose(rows[["low", "high"]].iloc[1], [low, high], rtol=1e-9)


@pytest.mark.slow
def test_a_study_that_was_cut_short_gives_the_same_tables(spec, planted, tmp_path):
    run_shard(spec, tmp_path / "out", Shard(1, 2), progress=None, figures=False)
    resumed = cj.run_study(spec, tmp_path / "out", progress=None, figures=False)
    for name in TABLES:
        assert (resumed.path / name).read_bytes() == (planted.path / name).read_bytes()
    for part in planted.info["parts"]:
        theirs, mine = (pq.read_table(each.path / part["file"]) for each in (resumed, planted))
        assert theirs.equals(mine)


@pytest.mark.slow
def test_it_has_a_page_and_is_another_study_than_under_other_laws(spec, planted, capsys):
    assert "kaplan: " in (planted.path / "report.html").read_text(encoding="utf-8")
    with pytest.raises(cj.UsageError, match="law: 'kaplan' there, 'chinchilla' asked for"):
        cj.run_study(dataclasses.replace(spec, law="chinchilla"), planted.path, progress=None)
    assert main(["plan", "--study", str(planted.path), "--flops", "1e24", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["plan"]["tokens_per_param"]["estimate"]
    table = planted.tokens_per_param.set_index(["condition", "flops"])
    assert planned == pytest.approx(table.loc[("identity", 1e24), "estimate"], rel=1e-9)


def test_a_spec_says_its_law_and_its_columns(tmp_path, capsys):
    assert cj.StudySpec(law="kaplan").model == Kaplan()
    assert "law" not in cj.StudySpec().to_dict()
    table = tmp_path / "runs.csv"
    frame = cj.load_runs("chinchilla").to_frame()
    frame.assign(U=frame["tokens"] / 2).to_csv(table, index=False)
    spec = cj.StudySpec(data=str(table), law="repeated_data", columns={"unique_tokens": "U"})
    assert spec.reading["variables"] == {"unique_tokens": "U"} and not spec.reading["columns"]
    path = tmp_path / "study.toml"
    path.write_text(
        f'data = "{table.as_posix()}"\nlaw = "repeated_data"\ncolumns = {{ unique_tokens = "U" }}'
    )
    assert cj.StudySpec.from_toml(path).model == spec.model
    assert main(["study", "check", "paper", "--law", "mine.py:law"]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["study", "check", "paper", "--law", "kaplan", "--resamples", "100"]) == 0


# --- a law of the user's own -------------------------------------------------------------------------------

KINDS = {"E": cj.positive(1.7), "K": cj.positive(300.0), "g": cj.positive(0.15)}


def own_law(power=1.0, **changed):
    def predict(p, x):
        return p["E"] + p["K"] * (x["params"] ** power * x["tokens"]) ** -p["g"]

    return cj.laws.from_function(predict, KINDS | changed, name="mine")


def test_a_directory_is_of_one_function(tmp_path):
    spec = cj.StudySpec(law=own_law(), resamples=20)
    first = Session(spec, tmp_path / "out", Progress())
    # Resumed and extended by the same function, made again.
    again = Session(dataclasses.replace(spec, law=own_law(), resamples=30), tmp_path / "out", Progress())
    assert {chunk.key for chunk in first.store.chunks} <= {chunk.key for chunk in again.store.chunks}
    for other, said in (
        (own_law(power=1.1), "law mine: another function, fingerprint "),
        (own_law(E=cj.positive(1.8)), "law mine: other parameters, fingerprint "),
        ("kaplan", "law: 'mine' there, 'kaplan' asked for"),
    ):
        with pytest.raises(cj.UsageError, match="holds another study") as error:
            Session(dataclasses.replace(spec, law=other, resamples=30), tmp_path / "out", Progress())
        assert said in str(error.value)
    # The record alone: everything but the function.
    there = cj.StudySpec.from_record(spec.to_dict()).model
    assert there.to_dict() == spec.model.to_dict() and recorded(there.to_dict()) == there != spec.model
    with pytest.raises(cj.UsageError, match="law mine is a function of whoever ran the study"):
        finish = Session(dataclasses.replace(spec, law=there, resamples=30), tmp_path / "out", Progress())
        finish.run(finish.missing(), None, finish=True)


def test_a_spec_from_elsewhere_holds_no_law_but_a_name(tmp_path):
    path = tmp_path / "study.toml"
    for law in ("'mine.py:law'", "{ name = 'mine', fingerprint = '00' }", "[1]"):
        path.write_text(f"law = {law}")
        with pytest.raises(cj.UsageError, match=r"study.toml: line 1: law "):
            cj.StudySpec.from_toml(path)
    assert cj.StudySpec.from_toml(path, law=own_law()).model.name == "mine"
    assert "law" not in spec_toml(cj.StudySpec(law=own_law()))
    assert "--law FILE.py:NAME" in study_command(cj.StudySpec(law=own_law()))
    for fields in ({}, {"name": 1}, own_law().to_dict() | {"parameters": {"E": 1}, "fingerprint": "x"}):
        with pytest.raises(cj.UsageError, match="is not what a study keeps of one"):
            recorded(fields)
    taken = cj.laws.from_function(lambda p, x: p["status"] / x["params"], {"status": cj.positive(1.0)})
    with pytest.raises(cj.UsageError, match="parameter status has the name of a column"):
        Session(cj.StudySpec(law=taken), tmp_path / "out", Progress())
    with pytest.raises(cj.UsageError, match="give the name of a built-in law"):
        cj.StudySpec(law=Kaplan())


@pytest.mark.slow
def test_a_study_of_ones_own_law(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cj.load_runs("chinchilla").to_frame().to_csv("runs.csv", index=False)
    (tmp_path / "study.toml").write_text(
        'data = "runs.csv"\nresamples = 20\nflops = [1e20, 1e24]\ncolumns = { loss = "loss" }\n'
        '[[sweeps]]\nfamily = "multiplicative"\nvalues = [0.5]\n'
    )
    (tmp_path / "mine.py").write_text(
        "import chinchilla_jax as cj\n"
        "def two(p, x):\n"
        "    return 1.7 + p['A'] / x['params'] ** 0.35 + p['B'] / x['tokens'] ** 0.37\n"
        "law = cj.laws.from_function(two, dict(A=cj.positive(400), B=cj.positive(2000)))\n"
    )
    command = ["study", "study.toml", "--out", "out", "--no-figures", "--quiet", "--law", "mine.py:law"]
    assert main([*command, "--shard", "1/2"]) == 0 and main([*command]) == 0
    assert "two" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    # The directory alone has the tables and the page, and --law FILE.py:NAME what needs the function.
    assert main(["study", "finish", "out"]) == 0 and "identity" in capsys.readouterr().out
    plan = ["plan", "--study", "out", "--flops", "1e24"]
    assert main(plan) == 2 and "give the law too: --law FILE.py:NAME" in capsys.readouterr().err
    assert main([*plan, "--law", "mine.py:law", "--json"]) == 0
    study = cj.open_study("out")
    amplitudes = study.params.set_index(["condition", "parameter"]).loc["identity", "estimate"]
    wanted = cj.ScalingLaw(
        E=1.7, A=amplitudes["A"], B=amplitudes["B"], alpha=0.35, beta=0.37
    ).tokens_per_param(1e24)
    found = study.tokens_per_param.set_index(["condition", "flops"]).loc[("identity", 1e24), "estimate"]
    assert found == pytest.approx(wanted, rel=1e-6)
    assert f'"estimate": {found:.6f}'[:-3] in capsys.readouterr().out
