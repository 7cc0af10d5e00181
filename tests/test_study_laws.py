"""Studies under a law other than that of five parameters."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest

import chinchilla_jax as cj
from chinchilla_jax.cli import main
from chinchilla_jax.laws import Kaplan
from chinchilla_jax.report import run_shard
from chinchilla_jax.study import Shard

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
    assert main(["plan", "--study", str(planted.path), "--flops", "1e24"]) == 0
    table = planted.tokens_per_param.set_index(["condition", "flops"])
    assert f"{table.loc[('identity', 1e24), 'estimate']:.4g}" in capsys.readouterr().out


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
    assert "names code" in capsys.readouterr().err
    assert main(["study", "check", "paper", "--law", "kaplan", "--resamples", "100"]) == 0
