"""Fits without each run and without the worst of them, against fits of tables that lack them."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax import plots
from chinchilla_jax.analysis import influence

LAW = cj.ScalingLaw(E=1.7, A=400.0, B=900.0, alpha=0.34, beta=0.31)
BUDGET = 1e21
DELTA = 0.005


def planted(seed=0, off=0.1, run=7):
    """Thirty runs of one law, one of which is worse than the law by `off`."""
    places = np.array([(n, d) for n in np.geomspace(3e7, 3e9, 6) for d in np.geomspace(1e9, 1e11, 5)])
    params, tokens = places.T
    errors = np.random.default_rng(seed).normal(0, 0.004, len(params))
    errors[run] += off
    losses = LAW.loss(params, tokens) * np.exp(errors)
    return cj.load_runs({"params": params, "tokens": tokens, "loss": losses})


RUNS = planted()
FOUND = influence(RUNS, flops=BUDGET, delta=DELTA)


def alone(kept):
    """Tokens per parameter and parameters of the runs that are kept, by a fit of their own."""
    fit = cj.fit(RUNS.take(kept), delta=DELTA, starts=256)
    return float(fit.law.tokens_per_param(BUDGET)), fit.parameters


def test_every_row_is_the_fit_of_the_table_without_it():
    everything, _ = alone(np.ones(len(RUNS), bool))
    assert FOUND.ratio == pytest.approx(everything, rel=1e-7)
    for run in (0, 7, 13, 29):
        kept = np.arange(len(RUNS)) != run
        ratio, parameters = alone(kept)
        row = FOUND.table.iloc[run]
        assert row["tokens_per_param"] == pytest.approx(ratio, rel=1e-6)
        assert row["change"] == pytest.approx(np.log(ratio / everything), abs=1e-6)
        assert row[list(parameters)].to_dict() == pytest.approx(parameters, rel=1e-5)
        law = cj.ScalingLaw(**parameters)
        missed = np.log(law.loss(RUNS.params[run], RUNS.tokens[run]) / RUNS.loss[run])
        assert row["left_out"] == pytest.approx(missed, abs=1e-7)


def test_the_worst_are_left_out_together():
    for row in FOUND.without.itertuples():
        assert row.n_left_out == len(row.rows) == {0.01: 1, 0.02: 1, 0.05: 2}[row.share]
    last = FOUND.without.query("way == 'raise' and share == 0.05").iloc[0]
    worst = FOUND.table["change"].nsmallest(2).index
    assert sorted(last["rows"]) == sorted(FOUND.table["row"][worst])
    ratio, _ = alone(~np.isin(np.arange(len(RUNS)), worst))
    assert last["tokens_per_param"] == pytest.approx(ratio, rel=1e-6)


def test_a_bad_run_is_found_and_said():
    assert FOUND.largest_residuals(1)["row"].item() == "index 7"
    changes = FOUND.table["change"].to_numpy()
    m = len(changes)
    assert FOUND.error == pytest.approx(np.sqrt((m - 1) ** 2 / m * changes.var(ddof=1)))
    # Huber's objective bounds what a bad run does; squared error does not.
    loud = influence(planted(off=0.4), flops=BUDGET, objective="squared")
    assert loud.most_influential(1)["row"].item() == "index 7"
    assert loud.sentence.startswith("without index 7, tokens per parameter at 1e21 FLOP are ")
    assert "this run alone makes" in loud.sentence
    quiet = influence(planted(off=0.0), flops=BUDGET, delta=DELTA)
    assert quiet.sentence.endswith("the most that any run moves them")


def test_runs_without_weight_move_nothing():
    weights = np.ones(len(RUNS))
    weights[7] = 0.0
    found = influence(RUNS, flops=BUDGET, delta=DELTA, weights=weights, shares=(0.04,))
    assert found.table["change"][7] == pytest.approx(0.0, abs=1e-9)
    assert all("index 7" not in rows for rows in found.without["rows"])


def test_a_run_that_the_law_needs_is_named_by_its_status():
    places = [(n, d) for n in (1e8, 4e8, 1.6e9) for d in (2e9, 8e9)] + [(1e8, 1e11)]
    params, tokens = np.array(places).T
    noise = np.exp(np.random.default_rng(3).normal(0, 0.004, 7))
    losses = LAW.loss(params, tokens) * noise
    found = influence({"params": params, "tokens": tokens, "loss": losses}, delta=DELTA)
    failed = ~found.table["status"].isin(["CONVERGED", "BOUNDARY"])
    assert found.table.loc[failed, ["tokens_per_param", "change", "E"]].isna().all(axis=None)
    assert not failed.any() or f"{failed.sum()} of 7 fits without a run" in found.warnings[-1]


def test_the_command_and_its_figure(tmp_path):
    path = tmp_path / "runs.csv"
    RUNS.to_frame().to_csv(path, index=False)
    options = ("--flops", "1e21", "--delta", str(DELTA), "--share", "0.05")
    found = strict_json(done("influence", str(path), *options, "--json", "--figures", str(tmp_path)))
    assert [run["row"] for run in found["runs"]] == [f"row {i + 2}" for i in range(30)]
    assert found["runs"][7]["change"] == pytest.approx(FOUND.table["change"][7], rel=1e-6)
    assert [row["way"] for row in found["without"]] == ["residual", "raise", "lower"]
    assert (tmp_path / "influence.png").stat().st_size > 5000
    text = done("influence", str(path), *options)
    assert FOUND.sentence[:7].capitalize() in text and "largest residuals" in text
    assert "0.05      2  those that lower it most" in text
    assert "give shares of the runs between 0 and 0.5" in refused("influence", str(path), "--share", "0.7")
    figure = Figure()
    plots.influence(FOUND, axes=figure.subplots(1, 2))


def test_several_budgets_share_the_fits():
    budgets = [BUDGET, 1e23]
    found = influence(RUNS, flops=budgets, delta=DELTA)
    assert found.table.equals(FOUND.table) and found.flops == BUDGET
    other = influence(RUNS, flops=1e23, delta=DELTA)
    assert found.sentence == f"{FOUND.sentence}; {other.sentence}"
    assert found.budgets["flops"].tolist() == budgets
    for row, one in zip(found.budgets.itertuples(), (FOUND, other), strict=True):
        most = one.most_influential(1).iloc[0]
        assert (row.tokens_per_param, row.standard_error, row.row) == (one.ratio, one.error, most["row"])
        assert (row.without, row.change) == (most["tokens_per_param"], most["change"])
    assert FOUND.budgets.shape[0] == 1


def test_a_law_without_an_optimum_is_said_once():
    """Its sentence was repeated for every budget."""
    found = influence(RUNS, "compute_only", flops=[BUDGET, 1e23])
    assert found.sentence == "the law has no compute-optimal tokens per parameter, which the runs could move"
    assert found.budgets["row"].tolist() == ["", ""]


def test_the_command_takes_several_budgets(tmp_path):
    path = tmp_path / "runs.csv"
    RUNS.to_frame().to_csv(path, index=False)
    text = done("influence", str(path), "--flops", "1e21", "--flops", "1e23", "--delta", str(DELTA))
    assert "at each budget" in text and "at 1e21 FLOP:" in text
