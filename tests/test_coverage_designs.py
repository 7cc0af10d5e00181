"""The experiment on coverage by design: the same data whatever the workers, groups as asked, known truths."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj

HERE = Path(__file__).parent.parent / "experiments" / "coverage_designs"
sys.path.insert(0, str(HERE))

designs, judge, run, summary = map(importlib.import_module, ("designs", "judge", "run", "summary"))


@pytest.fixture(scope="module")
def rows():
    return designs.rows()


def test_rows_are_designs_that_a_table_can_have(rows):
    assert len(rows) == 15
    for name, row in rows.items():
        runs = row.data_set(3, 0)
        assert len(runs) == len(row.params) == len(row.tokens)
        assert np.isfinite(runs.loss).all() and (runs.loss > 0).all()
        assert row.flops == pytest.approx(10 * runs.flops.max())
        if name.split(",")[0] in ("isoflop", "grid"):
            assert f"{len(runs)} runs" in name


def test_a_data_set_is_a_function_of_row_seed_and_number(rows):
    row = rows["t, 2 degrees"]
    assert row.data_set(7, 0) == row.data_set(7, 0)
    others = (row.data_set(8, 0), row.data_set(7, 1), rows["5% outliers"].data_set(7, 0))
    assert all(not np.array_equal(row.data_set(7, 0).loss, other.loss) for other in others)


@pytest.mark.parametrize("name", ["three seeds each", "effect of a size", "isoflop, 40 runs"])
def test_errors_have_the_size_and_the_correlation_that_the_readme_says(rows, name):
    row = rows[name]
    drawn = np.array([row.draw(np.random.default_rng(i), i) for i in range(4000)])
    covariance = drawn.T @ drawn / len(drawn) / designs.NOISE**2
    assert np.diag(covariance) == pytest.approx(np.ones(len(row.params)), abs=0.12)
    apart = ~np.eye(len(covariance), dtype=bool)
    members = np.arange(len(covariance)) if row.members is None else row.members
    same = (members[:, None] == members) & apart
    assert covariance[apart & ~same] == pytest.approx(0, abs=0.08)
    if same.any():
        assert covariance[same].mean() == pytest.approx(0.7, abs=0.02)


def test_unequal_errors_go_from_one_percent_to_three_tenths(rows):
    row = rows["errors fall with size"]
    drawn = np.array([row.draw(np.random.default_rng(i), i) for i in range(4000)]).std(axis=0)
    assert drawn[np.argmin(row.params)] == pytest.approx(0.01, rel=0.05)
    assert drawn[np.argmax(row.params)] == pytest.approx(0.003, rel=0.05)
    heavy = np.concatenate([rows["t, 2 degrees"].draw(np.random.default_rng(i), i) for i in range(500)])
    assert np.median(np.abs(heavy)) == pytest.approx(0.6745 * designs.NOISE, rel=0.03)


def test_whatever_the_workers_a_part_is_the_same_and_is_read_again(rows, tmp_path):
    settings = [judge.Setting.read("pairs:0.001"), judge.Setting.read("known:auto")]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    name = "effect of a size"
    whole = run.part(name, range(0, 3), settings, 20, 0, tmp_path / "a")
    assert whole.shape == (3, 2, 2, 3)
    alone = run.part(name, range(2, 3), settings, 20, 0, tmp_path / "b")
    assert np.array_equal(alone[0], whole[2])
    (path,) = (tmp_path / "a").glob("*.npz")
    stamp = path.stat().st_mtime_ns
    assert np.array_equal(run.part(name, range(0, 2), settings, 20, 0, tmp_path / "a"), whole[:2])
    assert path.stat().st_mtime_ns == stamp
    more = [*settings[:1], judge.Setting.read("pairs:0.01")]
    added = run.part(name, range(0, 3), more, 20, 0, tmp_path / "a")
    assert np.array_equal(added[:, 0], whole[:, 0])
    (path,) = (tmp_path / "a").glob("*.npz")  # its name has the checksum of what it holds
    with np.load(path) as file:
        assert set(file.files) == {"pairs:0.001", "known:auto", "pairs:0.01"}
    assert list(whole["scheme"][0, :, 0, 0]) == ["pairs", "cluster"]


def test_intervals_are_those_of_the_public_path(rows):
    row = rows["isoflop, 20 runs"]
    found = judge.judged(row, 5, [judge.Setting.read("pairs:0.001")], 50, 0)[0, 0]
    boot = cj.bootstrap(row.data_set(5, 0), resamples=50, seed=6, objective=cj.Huber(1e-3), scheme="pairs")
    table = boot.interval(0.8).set_index("parameter")
    for i, name in ((1, "alpha"), (2, "beta")):
        assert found["point"][i] == pytest.approx(table["estimate"][name], rel=1e-9)
        assert found["low"][i, 0] == pytest.approx(table["low"][name], rel=1e-9)
        assert found["high"][i, 0] == pytest.approx(table["high"][name], rel=1e-9)
    wide = boot.intervals(flops=[row.flops], levels=[0.95]).set_index("quantity").loc["tokens_per_param"]
    assert np.exp([found["low"][0, 1], found["high"][0, 1]]) == pytest.approx([wide["low"], wide["high"]])
    median = boot.tokens_per_param(row.flops)["median"][0]
    assert np.exp(found["median"][0]) == pytest.approx(median, rel=1e-3)  # halfway in logarithms here


def test_counting_on_a_mean_whose_coverage_is_known():
    """Intervals mean +- z s/sqrt(n) of normal samples cover as Student's t says."""
    rng, n, count = np.random.default_rng(0), 6, 20000
    sample = rng.normal(size=(count, n))
    mean, se = sample.mean(axis=1), sample.std(axis=1, ddof=1) / np.sqrt(n)
    found = np.zeros((count, 1, 1, 1), judge.JUDGED)
    entries = found[:, 0, 0, 0]
    entries["point"], entries["median"], entries["counted"] = mean, mean + 0.1 * rng.normal(size=count), 1.0
    for place, z in enumerate((1.2816, 1.96)):
        entries["low"][:, place], entries["high"][:, place] = mean - z * se, mean + z * se
    found[:10, 0, 0, 0]["low"] = np.nan
    settings, truth = [judge.Setting.read("pairs:auto")], np.zeros(1)
    table = summary.coverage_rows("mean", settings, found, truth)
    stats = pytest.importorskip("scipy.stats")
    for line, z in zip(table.to_dict("records"), (1.2816, 1.96), strict=True):
        expected = 1 - 2 * stats.t.sf(z, n - 1)
        assert line["coverage"] == pytest.approx(expected, abs=4 * line["coverage_error"])
        assert line["below"] + line["above"] == pytest.approx(1 - line["coverage"])
        assert (line["n"], line["n_without"]) == (count - 10, 10)
    (line,) = summary.estimate_rows("mean", settings, found, truth).to_dict("records")
    assert line["point_rmse"] == pytest.approx(1 / np.sqrt(n), rel=0.02)
    assert line["median_rmse"] == pytest.approx(np.sqrt(1 / n + 0.01), rel=0.02)
    assert line["mse_difference"] == pytest.approx(0.01, abs=4 * line["mse_difference_error"])


def test_coverage_where_theory_knows_it(rows):
    """Exponents of a large, nearly linear problem: pairs intervals hold them as often as they say."""
    row = rows["isoflop, 40 runs"]
    settings = [judge.Setting.read("pairs:auto")]
    found = np.stack([judge.judged(row, number, settings, 100, 0) for number in range(60)])
    table = summary.coverage_rows(row.name, settings, found, judge.truths(row))
    kept = table[(table["boundary"] == "keep") & (table["level"] == 0.8)]
    assert kept["coverage"].mean() == pytest.approx(0.8, abs=0.1)
    assert (kept["n"] == 60).all()


@pytest.mark.slow
def test_the_smoke_run_and_its_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run.main(["--smoke", "--workers", "1"])
    printed = capsys.readouterr().out
    assert "effect of a size: 2 data sets" in printed
    assert list(tmp_path.iterdir()) == []
    run.main(
        ["--datasets", "2", "--resamples", "20", "--rows", "grid, 20 runs", "--workers", "1", "--tables", "t"]
    )
    settings = len(run.SETTINGS) + 1 + len(run.OTHER_SCHEMES)
    assert len(pd.read_csv(tmp_path / "t" / "coverage.csv")) == settings * 2 * 3 * 2
    assert (tmp_path / "t" / "figures" / "coverage_designs.png").stat().st_size > 10000
    with pytest.raises(cj.UsageError, match="resamples is 20 there and 21 here"):
        run.main(["--resamples", "21", "--out", "results/coverage-designs-20-0", "--rows", "grid, 20 runs"])
