"""Simulated coverage: what is drawn, how it is counted, and that an interrupted run resumes."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_intervals import TRUTH, runs_with_noise

import chinchilla_jax as cj
from chinchilla_jax.analysis import (
    CoverageSpec,
    coverage,
    coverage_rows,
    coverage_simulation,
    coverage_table,
    rank_methods,
)
from chinchilla_jax.analysis.coverage_noise import Noise, simulated_losses
from chinchilla_jax.analysis.coverage_tables import coverage_error

SMALL = CoverageSpec(datasets=3, resamples=30, inner=2, scheme="pairs")


@pytest.mark.parametrize("noise", ["residuals", "signed"])
def test_simulated_losses_scatter_about_the_truth_as_the_errors_do(noise):
    runs = runs_with_noise()
    errors = np.random.default_rng(0).standard_t(3, size=len(runs)) * 0.01
    source = Noise(errors=errors, kind=noise)
    losses = simulated_losses(runs, TRUTH, source, np.arange(2000), 0)
    drawn = np.log(losses / TRUTH.loss(runs.params, runs.tokens))
    if noise == "signed":
        assert np.abs(drawn) == pytest.approx(np.broadcast_to(np.abs(errors), drawn.shape))
        assert (drawn > 0).mean(axis=0) == pytest.approx(0.5, abs=0.06)
    else:
        # Every run draws from all errors: the same distribution for the first run as for all together.
        assert np.isin(drawn[0].round(12), errors.round(12)).all()
        assert stats.ks_2samp(drawn[:, 0], errors).pvalue > 1e-3
    again = simulated_losses(runs, TRUTH, source, np.array([1999, 5]), 0)
    assert np.array_equal(again, losses[[1999, 5]])


def rows_of(lows, highs, truth=1.0, **keys):
    keys = {"quantity": "alpha", "flops": np.nan, "level": 0.8, "method": "basic"} | keys
    return pd.DataFrame({**keys, "dataset": range(len(lows)), "truth": truth, "low": lows, "high": highs})


def test_counting():
    lows, highs = [0.5, 1.5, 0.2, 1.0, np.nan], [2.0, 2.5, 0.9, 1.0, np.nan]
    (row,) = coverage_table(rows_of(lows, highs)).to_dict("records")
    assert (row["coverage"], row["below"], row["above"]) == (0.5, 0.25, 0.25)
    assert (row["n"], row["n_without"]) == (4, 1)
    assert row["coverage_error"] == coverage_error(0.5, 4)
    assert row["median_width"] == pytest.approx(np.median([1.5, 1.0, 0.7, 0.0]))
    assert row["median_ratio"] == pytest.approx(np.median([4.0, 2.5 / 1.5, 4.5, 1.0]))


def test_the_error_of_a_share_is_half_of_wilsons_interval():
    stats = pytest.importorskip("scipy.stats")
    one_sigma = stats.norm.cdf(1) - stats.norm.cdf(-1)
    for held, n in ((0, 10), (7, 10), (10, 10), (1900, 2000)):
        wilson = stats.binomtest(held, n).proportion_ci(one_sigma, method="wilson")
        assert coverage_error(held / n, n) == pytest.approx((wilson.high - wilson.low) / 2)
    assert coverage_error(1.0, 200) > 0
    assert np.isnan(coverage_error(np.nan, 0))


def test_methods_are_ranked_by_their_worst_miss_inside_the_data():
    ratio = {"quantity": "tokens_per_param"}
    inside, outside = runs_with_noise().flops.mean(), 1e30
    held, missed = ([0.5] * 10, [2.0] * 10), ([1.5] * 10, [2.0] * 10)
    rows = pd.concat(
        [
            rows_of(*held, **ratio, flops=inside, method="good"),
            rows_of(*missed, **ratio, flops=outside, method="good"),
            rows_of(*missed, **ratio, flops=inside, method="bad"),
        ]
    )
    ranked = rank_methods(coverage_table(rows), runs_with_noise())
    assert list(ranked["method"]) == ["good", "bad"]
    assert list(ranked["worst_error"]) == pytest.approx([0.2, 0.8])


def test_an_interrupted_run_goes_on_and_ends_with_the_same_numbers(tmp_path):
    runs, seen = runs_with_noise(), []
    whole = coverage(runs, SMALL)
    first = CoverageSpec(datasets=1, resamples=30, inner=2, scheme="pairs")
    coverage(runs, first, out=tmp_path / "run")
    resumed = coverage(runs, SMALL, out=tmp_path / "run", progress=seen.append)
    pd.testing.assert_frame_equal(resumed, whole)
    assert sum(seen) == 3
    rows = coverage_rows(tmp_path / "run")
    assert len(rows) == 3 * 8 * 2 * 6
    assert set(whole["method"]) == set(SMALL.methods)
    # Nothing left to do: the files are read, and nothing is fitted.
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    pd.testing.assert_frame_equal(coverage(runs, SMALL, out=tmp_path / "run"), whole)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    with pytest.raises(cj.UsageError, match="resamples is 30 there and 31 here"):
        coverage(runs, CoverageSpec(datasets=3, resamples=31, inner=2, scheme="pairs"), out=tmp_path / "run")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A directory with one part of three data sets, and its table."""
    folder = tmp_path_factory.mktemp("coverage") / "run"
    return folder, coverage(runs_with_noise(), SMALL, out=folder)


@pytest.fixture
def copied(kept, tmp_path):
    """A copy of that directory that a test may damage, and the table."""
    shutil.copytree(kept[0], tmp_path / "run")
    return tmp_path / "run", kept[1]


def part_of(folder):
    (path,) = folder.glob("part-*")
    return path


def test_a_damaged_part_is_named_and_computed_again(copied):
    folder, whole = copied
    path = part_of(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(cj.DataError, match=rf"{path.name}: this part is damaged.*to recompute it"):
        coverage_rows(folder)
    seen = []
    with pytest.warns(cj.DataWarning, match=rf"{path.name}: damaged, will be recomputed"):
        again = coverage(runs_with_noise(), SMALL, out=folder, progress=seen.append)
    pd.testing.assert_frame_equal(again, whole)
    assert again.attrs == whole.attrs and seen == [1, 1, 1]
    assert path.read_bytes() != bytes(content)


def test_an_empty_record_breaks_nothing(copied):
    folder, whole = copied
    (folder / "coverage.json").write_bytes(b"")
    with pytest.warns(cj.DataWarning, match=r"coverage.json: damaged .* and written again"):
        again = coverage(runs_with_noise(), SMALL, out=folder)
    pd.testing.assert_frame_equal(again, whole)
    pd.testing.assert_frame_equal(coverage(runs_with_noise(), SMALL, out=folder), whole)


@pytest.mark.slow
def test_a_run_that_is_stopped_anywhere_ends_with_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(coverage_simulation, "_PART", 2)
    runs, spec = runs_with_noise(), CoverageSpec(datasets=3, resamples=5, scheme="pairs", methods=("basic",))
    whole = coverage(runs, spec)
    for stop in (1, 3):  # within the first part, and within the second
        done = []

        def progress(number, done=done, stop=stop):
            done.append(number)
            if len(done) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            coverage(runs, spec, out=tmp_path / "run", progress=progress, workers=1)
    seen = []
    again = coverage(runs, spec, out=tmp_path / "run", progress=seen.append)
    pd.testing.assert_frame_equal(again, whole)
    assert again.attrs == whole.attrs
    assert seen == [2, 1]


def test_a_directory_of_an_older_version_is_read_and_extended(copied):
    """Its files have no checksums: part-000000.parquet, and coverage.json without one."""
    folder, whole = copied
    rows = coverage_rows(folder)
    part_of(folder).unlink()
    record = json.loads((folder / "coverage.json").read_text())
    del record["checksum"]
    (folder / "coverage.json").write_text(json.dumps(record, indent=2))
    rows[rows["dataset"] < 2].to_parquet(folder / "part-000000.parquet", index=False)
    assert len(coverage_rows(folder)) == 2 * 8 * 2 * 6
    seen = []
    again = coverage(runs_with_noise(), SMALL, out=folder, progress=seen.append)
    pd.testing.assert_frame_equal(again, whole)
    assert seen == [2, 1]
    pd.testing.assert_frame_equal(coverage_rows(folder), rows)


@pytest.mark.slow
def test_a_torn_file_of_an_older_version_is_computed_again(copied):
    folder, whole = copied
    record = json.loads((folder / "coverage.json").read_text())
    del record["checksum"]
    (folder / "coverage.json").write_text(json.dumps(record))
    part_of(folder).unlink()
    (folder / "part-000000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(cj.DataError, match=r"part-000000.parquet: damaged; run the same command again"):
        coverage_rows(folder)
    with pytest.warns(cj.DataWarning, match="part-000000.parquet: damaged, will be recomputed"):
        pd.testing.assert_frame_equal(coverage(runs_with_noise(), SMALL, out=folder), whole)
    assert not (folder / "part-000000.parquet").exists()


def test_a_run_may_be_kept_at_a_url(kept):
    pytest.importorskip("fsspec")
    runs = runs_with_noise()
    pd.testing.assert_frame_equal(coverage(runs, SMALL, out="memory://coverage"), kept[1])
    assert len(coverage_rows("memory://coverage")) == 3 * 8 * 2 * 6
    seen = []
    coverage(runs, SMALL, out="memory://coverage", progress=seen.append)
    assert seen == [3]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(cj.UsageError, match="holds no coverage run"):
        coverage(runs_with_noise(), SMALL, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"datasets": 0}, "datasets is 0"),
        ({"noise": "white"}, "unknown noise"),
        ({"inner": 0, "methods": ("studentised",)}, "needs resamples of resamples; give inner=50"),
        ({"methods": ("bcaa",)}, "did you mean 'bca'"),
    ],
)
def test_what_cannot_be_simulated(arguments, message):
    with pytest.raises(cj.UsageError, match=message):
        CoverageSpec(**arguments)
