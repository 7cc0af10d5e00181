"""`cj.backtest`: predictions of runs that were held out, against fits of the same runs; calibration."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj
from chinchilla_jax.cli import main
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH
from chinchilla_jax.planning import Calibration, backtest_laws
from chinchilla_jax.planning.calibration import Judged, calibrate, calibrated_by_others, least_windows
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS

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


def predictions(misses, *, windows, log_distance=0.0):
    """Intervals of ln L from -1 to 1 in 1%, and runs that lie so far outside them."""
    misses = np.asarray(misses, dtype=float)
    observed = np.exp(0.01 * (1 + misses))
    columns = {"window": windows, "log_distance": log_distance, "observed": observed}
    return pd.DataFrame({**columns, "new_run_low": np.exp(-0.01), "new_run_high": np.exp(0.01)})


def test_a_rate_is_the_quantile_of_misses_in_which_windows_weigh_the_same():
    # Nine windows of ten runs: with that of the new one, 80% of the weight is at the eighth.
    table = predictions(np.repeat(np.arange(9.0), 10), windows=np.repeat(list("abcdefghi"), 10))
    assert calibrate(table, 0.8).rate == pytest.approx(0.01 * 7 / 0.5)
    # Many runs of one window weigh no more than few.
    more = predictions(
        np.repeat(np.arange(9.0), [*[1] * 8, 200]), windows=np.repeat(list("abcdefghi"), [*[1] * 8, 200])
    )
    assert calibrate(more, 0.8).rate == pytest.approx(0.01 * 7 / 0.5)
    far = predictions(np.full(20, 3.0), windows=["a"] * 20, log_distance=np.log(10.0))
    assert calibrate(far, 0.8).rate == pytest.approx(0.01 * 3 / 1.5)


def test_intervals_that_hold_are_not_widened():
    inside = predictions(np.full(20, -1.0), windows=np.repeat(list("abcd"), 5))
    found = calibrate(inside, 0.8)
    assert found.rate == 0
    limits = np.log([[1.9], [2.1]])
    assert np.array_equal(found.widened(limits, np.ones(1)), limits)
    assert "finds no need to widen the intervals" in found.sentence
    assert calibrate(inside.head(9), 0.8) is None


def test_limits_are_calibrated_by_what_their_window_holds(found):
    runs = planted()
    table = found.table
    held_out = [
        runs.flops > table[table["window"] == each]["flops"].min() * (1 - 1e-9)
        for each in table["window"].unique()
    ]
    numbers = table["window"].map({name: k for k, name in enumerate(table["window"].unique())})
    places = np.concatenate([np.flatnonzero(each) for each in held_out])
    with_few = calibrated_by_others(table.assign(number=numbers), places, held_out, 0.5)
    assert np.isnan(with_few[:, numbers == 0]).all()
    last = numbers == 2
    known = np.isin(places, np.flatnonzero(~held_out[2]))
    own = np.log(table.loc[last, ["new_run_low", "new_run_high"]].to_numpy().T)
    expected = calibrate(table[known], 0.5).widened(own, table.loc[last, "log_distance"].to_numpy())
    assert np.allclose(with_few[:, last], expected)


@pytest.mark.slow
def test_later_runs_are_held_where_a_law_errs():
    found = cj.backtest("llama3", objective="squared", scheme="pairs", resamples=100)
    far = found.bands[found.bands["n_calibrated"] >= 30]
    assert (far["covered_new_run"] < 0.6).all()
    assert (far["covered_calibrated"] >= 0.75).all()
    assert "alone, they held" in found.calibration.sentence


def test_a_prediction_is_widened_by_what_is_measured_at_its_distance():
    boot = cj.bootstrap(planted(), **QUICK)
    places = {"params": [1e9, 1e11], "tokens": [2e10, 2e12]}
    calibration = Calibration(rate=0.02, windows=12, level=0.8)
    plain, wide = cj.predict(boot, places).table, cj.predict(boot, places, calibration=calibration).table
    added = [np.log(each["new_run_high"] / each["new_run_low"]) for each in (wide, plain)]
    decades = np.maximum(plain["log_distance"], 0) / np.log(10)
    assert np.allclose(added[0] - added[1], 2 * 0.02 * (decades + 0.5))
    pd.testing.assert_series_equal(wide["mean_high"], plain["mean_high"])
    with pytest.raises(cj.UsageError, match=r"the calibration is of level 0.8, the intervals of 0.95"):
        cj.predict(boot, places, level=0.95, calibration=calibration)


def test_what_a_calibration_cannot_promise_is_said():
    assert [least_windows(level) for level in (0.5, 0.8, 0.95)] == [1, 4, 19]
    few = Calibration(rate=0.01, windows=12, level=0.95)
    assert "95% intervals need 19 windows" in few.doubt
    assert "too few windows to measure" in few.sentence
    judged = (Judged(0.0, 50, 0.5, 0.95), Judged(1.0, 20, 0.1, 0.85))
    short = dataclasses.replace(few, windows=19, judged=judged)
    assert "they held too few runs one to two decades beyond" in short.doubt
    assert "should hold 95% of new runs" in short.sentence
    assert "85% of 20 predicted runs one to two decades beyond (10% before widening)" in short.sentence
    assert not dataclasses.replace(short, judged=judged[:1]).doubt


def test_budgets_that_chain_into_one_are_taken_one_by_one():
    runs = planted().take(np.arange(24))
    spread = dataclasses.replace(runs, flops=np.geomspace(1e17, 1e19, 24))
    assert cj.backtest(spread, windows=4, cost="6nd", **QUICK).table["window"].nunique() == 4


def test_differences_are_paired_by_run_and_window(found):
    table = found.differences.set_index(["rival", "from_decades"])
    errors = (found.table["nearest"] / found.table["observed"] - 1).abs() - found.table["error"].abs()
    far = found.table["log_distance"] >= 2 * np.log(10)
    row = table.loc[("nearest", 2.0)]
    assert row["difference"] == pytest.approx(errors[far].mean())
    assert 0 < row["low"] < row["difference"] < row["high"]


@pytest.mark.slow
def test_other_laws_are_compared_on_the_same_predictions():
    runs = planted()
    every = backtest_laws(runs, ["chinchilla", "equal_exponents"], windows=1, **QUICK)
    assert list(every.backtests) == ["chinchilla", "equal_exponents"]
    one, other = (each.table["error"].abs() for each in every.backtests.values())
    assert every.table["n"].sum() == len(one)
    weighted = (every.table["difference"] * every.table["n"]).sum() / len(one)
    assert weighted == pytest.approx((other - one).mean())


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
    said = capsys.readouterr().out
    assert said.count("in %\n") == 2
    assert max(map(len, said.splitlines())) <= 80
    assert (tmp_path / "backtest.png").exists()
    assert main([*common, "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["calibration"]["level"] == 0.8
    assert "80% intervals need 4 windows" in fields["calibration"]["doubt"]
    assert {row["rival"] for row in fields["differences"]} == {"lowest", "power_law", "nearest"}
    assert fields["cost"]["formula"] == "6 N D"
    assert len({row["window"] for row in fields["predictions"]}) == 1


@pytest.mark.slow
def test_predict_widens_by_a_backtest_and_says_so(tmp_path, capsys):
    planted().to_frame()[["params", "tokens", "loss"]].to_csv(tmp_path / "runs.csv", index=False)
    arguments = ["predict", str(tmp_path / "runs.csv"), "--flops", "1e22", "--resamples", "20"]
    assert main([*arguments, "--calibrated"]) == 0
    assert "a backtest of " in " ".join(capsys.readouterr().out.split())
    assert main([*arguments, "--calibrated", "--weights", "loss"]) == 2
    assert "--calibrated and --weights cannot be combined" in capsys.readouterr().err


def test_windows_take_few_starts_of_the_thousands():
    before = ENGINE_CALLS.lanes
    cj.backtest(planted(), windows=3, **QUICK)
    assert ENGINE_CALLS.lanes - before < 4500
