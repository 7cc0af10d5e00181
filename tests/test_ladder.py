"""Progressive scaling: what is stored, what survives, and what is proposed."""

import json
import math
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_laws import spread_sample
from test_cli import done, refused, strict_json

from chinchilla_jax import DataError, UsageError
from chinchilla_jax.datasets.counting import COUNTING_RULES, Architecture
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022
from chinchilla_jax.planning.ladder import (
    Ladder,
    LadderSettings,
    ModelGrid,
    Run,
    RunStore,
    export_runs,
    import_runs,
    tokens_for_params,
)

SETTINGS = LadderSettings(flops_range=(1e17, 1e19), ratio_range=(5, 80), seeds=12, factor=4.0, resamples=20)
GRID = {"d_model": [256, 512, 768, 1024], "n_heads": [8], "n_layers": list(range(2, 20))}


@pytest.fixture
def study(tmp_path):
    return Ladder.create(tmp_path / "study.db", SETTINGS)


def train(run):
    """A training run on the published law, without noise."""
    return HOFFMANN_2022.loss(run.params, run.tokens)


def test_seeds_lie_in_their_ranges_and_repeat(tmp_path, study):
    runs = []
    for _ in range(SETTINGS.seeds):
        runs.append(study.next())
        study.append(2.0)
    assert all(1e17 <= run.flops <= 1e19 for run in runs)
    assert all(5 <= run.tokens / run.params <= 80 for run in runs)
    assert [run.flops for run in runs] == pytest.approx([6 * run.params * run.tokens for run in runs])
    assert {run.stage for run in runs} == {"seed"}
    again = Ladder.create(tmp_path / "again.db", SETTINGS)
    assert [again.next(another=True).params for _ in runs] == [run.params for run in runs]


def test_a_run_for_an_answer_narrows_it_within_the_factor(study):
    generator = np.random.default_rng(0)
    for _ in range(SETTINGS.seeds):
        study.append(train(study.next()) * np.exp(0.004 * generator.standard_normal()))
    largest = max(run.flops for run in study.store.runs())
    with pytest.raises(UsageError, match="law chinchilla has none"):
        study.next(target="gamma")
    asked = ["progress", "next", str(study.store.path), "--for", "alpha"]
    run = strict_json(done(*asked, "--json"))
    assert run["stage"] == "scaled"
    assert run["flops"] <= SETTINGS.factor * largest * (1 + 1e-9)
    assert run["flops"] == pytest.approx(6 * run["params"] * run["tokens"])
    gain = run["proposal"]["narrows"]
    assert gain["target"] == "alpha"
    assert 0 < gain["after"] < gain["width"]
    assert "narrows      alpha" in done(*asked)


def test_seeds_are_log_uniform(study):
    runs = [study.seed_run(i) for i in range(2000)]
    for values, (low, high) in (
        ([run.flops for run in runs], SETTINGS.flops_range),
        ([run.tokens / run.params for run in runs], SETTINGS.ratio_range),
    ):
        u = np.sort(np.log(np.array(values) / low) / np.log(high / low))
        # Kolmogorov: 1.63 / sqrt(n) is passed once in a hundred draws, and these are fixed.
        assert np.abs(u - (np.arange(2000) + 0.5) / 2000).max() < 1.63 / math.sqrt(2000)


def test_a_proposal_stays_open_until_its_loss(study):
    first = study.next()
    assert study.next() == first
    assert Ladder.open(study.store.path).next() == first
    other = study.next(another=True)
    assert other.run == first.run + 1
    with pytest.raises(UsageError, match="runs 1, 2 are open"):
        study.append(3.0)
    closed = study.append(3.0, run=first.run)
    assert (closed.params, closed.loss) == (first.params, 3.0)
    assert study.next() == other
    with pytest.raises(UsageError, match="run 1 has its loss already"):
        study.append(3.0, run=1)
    with pytest.raises(UsageError, match="no run 9"):
        study.append(3.0, run=9)
    with pytest.raises(UsageError, match="loss is -1"):
        study.append(-1.0, run=2)
    study.append(2.9)
    with pytest.raises(UsageError, match="no run is open"):
        study.append(2.9)


CRASH = """
import os, signal, sys
from chinchilla_jax.planning.ladder import Ladder
study = Ladder.open(sys.argv[1])
print(study.next().params.hex(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_crash_between_proposal_and_append_loses_nothing(study):
    result = subprocess.run(
        [sys.executable, "-c", CRASH, str(study.store.path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    found = Ladder.open(study.store.path).next()
    assert found.run == 1
    assert found.params.hex() == result.stdout.strip()


def test_a_crash_inside_a_transaction_leaves_the_file_as_it_was(study):
    study.next()
    with pytest.raises(KeyboardInterrupt), study.store.transaction() as inside:
        inside.put(Run(run=0, stage="seed", params=1.0, tokens=1.0, flops=6.0))
        raise KeyboardInterrupt
    assert len(study.store.runs()) == 1


def _propose(path):
    return Ladder.open(path).next(another=True).run


def test_processes_that_propose_together_get_different_runs(study):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        numbers = pool.map(_propose, [str(study.store.path)] * 6)
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    params = [run.params for run in study.store.runs()]
    assert params == [study.seed_run(i).params for i in range(6)]


def test_the_next_budget_is_spent_at_the_fitted_optimum(study, tmp_path):
    """Without noise the fit is the law itself, and the proposal its optimum at four times the budget."""
    # As many runs as Chinchilla has, so that what is compiled once serves all tests.
    seeds = [study.seed_run(i) for i in range(240)]
    lines = [f"{run.params!r},{run.tokens!r},{train(run)!r}" for run in seeds]
    (tmp_path / "runs.csv").write_text("\n".join(["params,tokens,loss", *lines]))
    assert import_runs(study.store, tmp_path / "runs.csv") == 240
    largest = max(run.flops for run in study.store.runs())
    run = study.next()
    assert run.stage == "scaled"
    assert run.flops == pytest.approx(4 * largest)
    params, tokens = HOFFMANN_2022.optimal(4 * largest)
    assert run.params == pytest.approx(params, rel=1e-3)
    assert run.tokens == pytest.approx(tokens, rel=1e-3)
    interval = run.proposal["params"]
    assert interval["low"] <= interval["median"] <= interval["high"]
    assert interval["estimate"] == run.params
    assert run.proposal["loss"]["estimate"] == pytest.approx(HOFFMANN_2022.loss(params, tokens), rel=1e-4)


def test_a_proposal_takes_the_nearest_model_and_its_tokens(tmp_path):
    import dataclasses

    study = Ladder.create(tmp_path / "grid.db", dataclasses.replace(SETTINGS, grid=GRID))
    seed = study.next()
    architecture = Architecture(
        **seed.config,
        ffw_size=4 * seed.config["d_model"],
        kv_size=seed.config["d_model"] // 8,
        vocab_size=32168,
    )
    assert seed.params == COUNTING_RULES["standard"](architecture)
    assert 6 * seed.params * seed.tokens == pytest.approx(seed.flops)
    sample = spread_sample(50)
    scaled = study.scaled_run(sample, 2e18)
    assert scaled.params == ModelGrid(GRID).nearest(scaled.proposal["params"]["estimate"])[1]
    # These tokens make this size optimal: at their joint budget the law asks for exactly this model.
    assert sample.point.optimal(scaled.flops)[0] == pytest.approx(scaled.params)
    assert tokens_for_params(sample.point, scaled.params) == pytest.approx(scaled.tokens)


def test_budgets_grow_on_a_coarse_grid_until_it_has_no_larger_model(tmp_path):
    import dataclasses

    grid = {"n": [3e7, 1e8, 3e8, 1e9, 3e9]}
    settings = dataclasses.replace(SETTINGS, grid=grid)
    study = Ladder.create(tmp_path / "coarse.db", settings, size=lambda n: n)
    sample = spread_sample(5)
    largest, sizes = 1e19, []
    # 1e8 and 3e8 are so far apart that the nearest to the optimum of twice a budget can be the model before.
    while len(sizes) < 10:
        try:
            run = study.scaled_run(sample, largest)
        except UsageError as error:
            assert "larger models" in str(error)
            break
        assert run.flops >= math.sqrt(settings.factor) * largest * (1 - 1e-9)
        assert run.tokens == pytest.approx(tokens_for_params(sample.point, run.params))
        sizes.append(run.params)
        largest = run.flops
    assert sizes == [size for size in grid["n"] if size >= sizes[0]] and len(sizes) > 1


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(1, 50), min_size=1, max_size=5), min_size=1),
    st.floats(0.1, 1e6),
)
def test_the_nearest_configuration_is_the_one_a_search_of_all_finds(grid, wanted):
    import itertools

    def size(**config):
        return float(math.prod(config.values()))

    found, params = ModelGrid(grid, size).nearest(wanted)
    every = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    least = min(abs(math.log(size(**each) / wanted)) for each in every)
    assert abs(math.log(params / wanted)) == pytest.approx(least, abs=1e-12)
    assert size(**found) == params


def test_the_built_in_counter_counts_as_one_by_one():
    grid = ModelGrid(GRID)

    def size(d_model, n_heads, n_layers):
        shape = {"ffw_size": 4 * d_model, "kv_size": d_model // n_heads, "vocab_size": 32168}
        return COUNTING_RULES["standard"](
            Architecture(d_model=d_model, n_heads=n_heads, n_layers=n_layers, **shape)
        )

    one_by_one = ModelGrid(GRID, size)
    for wanted in np.geomspace(1e6, 1e9, 30):
        assert grid.nearest(wanted) == one_by_one.nearest(wanted)


@pytest.mark.parametrize(
    ("grid", "size", "message"),
    [
        ({}, None, "empty"),
        ({"d_model": []}, None, "empty"),
        ({"d_model": [8], "n_heads": [1]}, None, "lacks n_layers"),
        ({"width": [8]}, None, "unknown dimension"),
        ({"a": [1]}, lambda a: -a, "give a positive number"),
        ({"a": [1]}, lambda a: "big", "give a positive number"),
        ({"a": range(2000), "b": range(2000)}, lambda a, b: 1, "4,000,000 configurations"),
    ],
)
def test_a_grid_that_cannot_be_counted_is_refused(grid, size, message):
    with pytest.raises(UsageError, match=message):
        ModelGrid(grid, size)


runs = st.lists(
    st.tuples(st.floats(1e3, 1e13), st.floats(1e3, 1e15), st.none() | st.floats(0.1, 10)),
    min_size=1,
    max_size=8,
)


@pytest.mark.filterwarnings("ignore::chinchilla_jax._util.errors.DataWarning")
@given(runs, st.sampled_from(["csv", "parquet"]))
def test_export_and_import_are_inverse(tmp_path_factory, found, suffix):
    folder = tmp_path_factory.mktemp("runs")
    study = Ladder.create(folder / "one.db", SETTINGS)
    with study.store.transaction() as inside:
        for params, tokens, loss in found:
            config = {"d_model": 8} if loss else None
            inside.put(
                Run(
                    run=0,
                    stage="seed",
                    params=params,
                    tokens=tokens,
                    flops=6 * params * tokens,
                    loss=loss,
                    config=config,
                )
            )
    assert export_runs(study.store, folder / f"runs.{suffix}") == len(found)
    other = Ladder.create(folder / "two.db", SETTINGS)
    assert import_runs(other.store, folder / f"runs.{suffix}") == len(found)
    assert other.store.runs() == study.store.runs()


def test_an_import_adds_all_runs_or_none(tmp_path, study):
    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss\n1e8,1e9,3.2\n1e8,1e9,none\n")
    with pytest.raises(DataError, match=r"row 3, column 'loss': 'none' marks a missing value"):
        import_runs(study.store, path)
    assert study.store.runs() == []
    path.write_text("N,D,loss\n1e8,1e9,3.2\n1e8,2e9,\n")
    assert import_runs(study.store, path) == 2
    assert [(run.stage, run.loss) for run in study.store.runs()] == [("imported", 3.2), ("imported", None)]


def test_an_import_reads_units_and_says_what_it_read(tmp_path, study):
    path, said = tmp_path / "runs.csv", []
    path.write_text("n_params,tokens (B),val_bpb\n1e8,1,1.1\n2e8,2,\n")
    import_runs(study.store, path, units={"params": "count"}, bytes_per_token=4.0, say=said.append)
    assert [run.tokens for run in study.store.runs()] == [1e9, 2e9]
    assert study.store.runs()[0].loss == pytest.approx(1.1 * np.log(2) * 4)
    assert "tokens from 'tokens (B)' in billions, loss from 'val_bpb' in bits per byte, 4 bytes" in said[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flops_range": (1e19, 1e17)}, "lower limit below"),
        ({"flops_range": (-1, 1e17)}, "flops_range is -1"),
        ({"ratio_range": (5, 5)}, "lower limit below"),
        ({"seeds": 5}, "seeds is 5"),
        ({"factor": 1.0}, "factor is 1"),
        ({"resamples": 1}, "resamples is 1"),
    ],
)
def test_settings_are_checked_before_a_file_is_made(change, message):
    with pytest.raises(UsageError, match=message):
        LadderSettings(**{"flops_range": (1e17, 1e19), **change})


def test_a_file_that_is_not_a_database_is_one_line(tmp_path, study):
    with pytest.raises(DataError, match="no such database"):
        RunStore(tmp_path / "absent.db")
    (tmp_path / "text.db").write_text("hello, this is no database")
    with pytest.raises(DataError, match="not a usable database"):
        RunStore(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "other.db").close()
    (tmp_path / "other.db").touch()
    with pytest.raises(DataError, match="no such table"):
        RunStore(tmp_path / "other.db")
    with pytest.raises(UsageError, match="exists already"):
        Ladder.create(study.store.path, SETTINGS)
    with pytest.raises(UsageError, match="cannot be made"):
        Ladder.create(tmp_path / "no" / "folder.db", SETTINGS)
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


def test_too_few_losses_cannot_be_fitted(study):
    for _ in range(SETTINGS.seeds):
        study.next(another=True)
    study.append(3.0, run=1)
    with pytest.raises(UsageError, match="1 runs have their loss; a fit needs 6"):
        study.next(another=True)


def test_on_the_command_line(tmp_path):
    path, grid = str(tmp_path / "study.db"), tmp_path / "grid.json"
    grid.write_text(json.dumps(GRID))
    ranges = ("--flops-range", "1e17", "1e19")
    assert "created" in done("progress", "init", path, *ranges, "--seeds", "8", "--grid", str(grid))
    assert "exists already" in refused("progress", "init", path, *ranges)
    assert "d_model" in done("progress", "next", path)
    run = strict_json(done("progress", "next", path, "--json"))
    assert (run["run"], run["stage"], run["loss"]) == (1, "seed", None)
    assert "loss 3.1" in done(
        "progress", "append", path, "--loss", "3.1", "--params", "1e8", "--tokens", "2e9"
    )
    shown = strict_json(done("progress", "show", path, "--json"))
    assert shown["runs"][0]["flops"] == pytest.approx(6 * 1e8 * 2e9)
    assert shown["settings"]["seeds"] == 8
    assert "1 runs, 1 with their loss" in done("progress", "show", path)
    table = str(tmp_path / "runs.csv")
    assert "1 runs written" in done("progress", "export", path, table)
    assert "1 runs added" in done("progress", "import", path, table)
    assert "no run is open" in refused("progress", "append", path, "--loss", "3")
    assert "no such database" in refused("progress", "next", str(tmp_path / "absent.db"))
    assert "not JSON" in refused("progress", "init", str(tmp_path / "b.db"), *ranges, "--grid", table)
    assert "lower limit" in refused("progress", "init", str(tmp_path / "b.db"), "--flops-range", "2", "1")
