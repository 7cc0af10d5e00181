"""`cj.backtest`: predictions of runs that were held out, against fits of the same runs; calibration."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj
from chinchilla_jax.cli import main
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH
from chinchilla_jax.planning import Calibration
from chinchilla_jax.planning.backtesting import _calibration

QUICK = {"objective": "squared", "scheme": "pairs", "resamples": 40}


def planted(seed=0, *, noise=0.005):
    """48 runs on eight budgets, of two labs."""
    flops, ratio = np.meshgrid(np.geomspace(1e17, 1e21, 8), np.geomspace(3, 150, 6))
    params = np.sqrt(flops / 6 / ratio).ravel()
    tokens = params * ratio.ravel()
    errors = noise * np.random.default_rng(seed).standard_normal(48)
    loss = TRUTH.loss(params, tokens) * np.exp(errors)
    return cj.Runs(params=params, tokens=tokens, loss=loss, groups={"lab": np.tile(["a", "b", "c"], 16)})


@pytest.fixture(scope="module")
def found():
    return cj.backtest(planted(), windows=3, **QUICK)


def test_each_window_predicts_what_lies_beyond_it(found):
    runs = planted()
    assert found.table["window"].nunique() == 3
    first = found.table[found.table["window"] == found.table["window"].iloc[0]]
    below = runs.flops < first["flops"].min() * (1 - 1e-9)
    assert len(first) == (~below).sum()
    law = cj.fit(runs.take(below), objective="squared", starts=64).law
    assert np.allclose(first["loss"], law.loss(first["params"], first["tokens"]), rtol=1e-9)
    assert np.allclose(first["error"], first["loss"] / first["observed"] - 1)
    assert np.allclose(first["log_distance"], np.log(first["flops"] / runs.flops[below].max()), atol=1e-9)
    held = (first["new_run_low"] <= first["observed"]) & (first["observed"] <= first["new_run_high"])
    assert (held == first["in_new_run"]).all()
    assert (found.table["in_new_run"] >= found.table["in_mean"]).mean() > 0.95


def test_rivals_are_what_they_are_called(found):
    runs = planted()
    first = found.table[found.table["window"] == found.table["window"].iloc[0]]
    window = runs.take(runs.flops < first["flops"].min() * (1 - 1e-9))
    assert (first["lowest"] == window.loss.min()).all()
    distance = np.hypot(
        np.log(first["params"].to_numpy()[:, None] / window.params),
        np.log(first["tokens"].to_numpy()[:, None] / window.tokens),
    )
    assert np.allclose(first["nearest"], window.loss[distance.argmin(axis=1)])
    assert found.bands["error"].max() < found.bands["error_lowest"].min()


@pytest.mark.slow
def test_new_runs_are_held_where_the_law_holds():
    shares = [cj.backtest(planted(seed), windows=3, **QUICK).table["in_new_run"].mean() for seed in range(6)]
    assert 0.65 < np.mean(shares) < 0.95


def test_calibrated_intervals_hold_what_they_promise_on_the_backtest_itself():
    table = cj.load_runs("llama3")
    found = cj.backtest(table, windows=3, **QUICK)
    calibration = found.calibration
    assert found.table["in_new_run"].mean() < 0.6
    assert list(calibration.factors) == sorted(calibration.factors)
    limits = np.log(found.table[["new_run_low", "new_run_high"]].to_numpy().T)
    low, high = calibration.widened(limits, found.table["log_distance"])
    observed = np.log(found.table["observed"])
    assert ((low <= observed) & (observed <= high)).mean() >= 0.8


def test_a_prediction_is_widened_by_the_factor_of_its_distance():
    boot = cj.bootstrap(planted(), **QUICK)
    places = {"params": [1e9, 1e11], "tokens": [2e10, 2e12]}
    calibration = Calibration(decades=(0.0, 1.0), factors=(1.5, 3.0), counts=(10, 10), level=0.8)
    plain, wide = cj.predict(boot, places).table, cj.predict(boot, places, calibration=calibration).table
    widths = [np.log(each["new_run_high"] / each["new_run_low"]) for each in (wide, plain)]
    assert np.allclose(widths[0] / widths[1], [1.5, 3.0])
    pd.testing.assert_series_equal(wide["mean_high"], plain["mean_high"])
    with pytest.raises(cj.UsageError, match=r"the calibration is of level 0.8, the intervals of 0.95"):
        cj.predict(boot, places, level=0.95, calibration=calibration)


def test_an_interval_beside_its_estimate_is_scored_and_widened_about_its_middle():
    columns = {"loss": 2.0, "observed": 2.02, "new_run_low": 1.9, "new_run_high": 1.999}
    table = pd.DataFrame({**columns, "log_distance": np.zeros(20)})
    limits = np.log([[1.9], [1.999]])
    low, high = _calibration(table, 0.8).widened(limits, np.zeros(1))
    assert low < limits[0]
    assert high == pytest.approx(np.log(2.02))


def test_too_few_runs_for_the_level_are_named():
    few = Calibration(decades=(0.0, 0.5), factors=(1.5, 3.0), counts=(19, 12), level=0.95)
    assert few.sentence.endswith(
        "from 0.5 decades the largest miss is taken, which may be too little: 0.95 needs 19 runs"
    )
    assert not dataclasses.replace(few, counts=(19, 19)).doubt


def test_other_axes_and_groups():
    by_size = cj.backtest(planted(), over="params", windows=1, **QUICK)
    first = by_size.table[by_size.table["window"] == by_size.table["window"].iloc[0]]
    assert first["window"].iloc[0].startswith("params up to")
    labs = cj.backtest(planted(), over="lab", **QUICK)
    assert labs.table["window"].unique().tolist() == ["without lab a", "without lab b", "without lab c"]
    assert len(labs.table) == 48


@pytest.mark.parametrize(
    ("over", "runs", "message"),
    [
        ("flops", planted().take(np.arange(8)), "no limit of flops leaves 12 runs below it"),
        ("team", planted(), "the runs carry no column 'team'"),
    ],
)
def test_what_cannot_be_backtested_is_one_line(over, runs, message):
    with pytest.raises(cj.UsageError, match=message):
        cj.backtest(runs, over=over, resamples=20)


def test_the_commands(tmp_path, capsys):
    runs = planted()
    runs.to_frame()[["params", "tokens", "loss"]].to_csv(tmp_path / "runs.csv", index=False)
    common = ["backtest", str(tmp_path / "runs.csv"), "--windows", "1", "--resamples", "20"]
    assert main([*common, "--figures", str(tmp_path)]) == 0
    assert "median errors in %" in capsys.readouterr().out
    assert (tmp_path / "backtest.png").exists()
    assert main([*common, "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["calibration"]["level"] == 0.8
    assert fields["calibration"]["doubt"] is None
    assert fields["cost"]["formula"] == "6 N D"
    assert len({row["window"] for row in fields["predictions"]}) == 1


@pytest.mark.slow
def test_predict_widens_by_a_backtest_and_says_so(tmp_path, capsys):
    planted().to_frame()[["params", "tokens", "loss"]].to_csv(tmp_path / "runs.csv", index=False)
    arguments = ["predict", str(tmp_path / "runs.csv"), "--flops", "1e22", "--resamples", "20"]
    assert main([*arguments, "--calibrated"]) == 0
    assert "widened by what a backtest has measured" in " ".join(capsys.readouterr().out.split())
    assert main([*arguments, "--calibrated", "--weights", "loss"]) == 2
    assert "--calibrated and --weights cannot be combined" in capsys.readouterr().err
