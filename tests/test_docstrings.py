"""Every public name has a docstring with an example that runs and prints what it says."""

import dataclasses
import doctest
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.directories import LocalDirectory
from chinchilla_jax.study.atlas.store import write_record, write_tables
from chinchilla_jax.study.atlas.tables import KINDS

ATLAS = Path(__file__).parent.parent / "experiments" / "atlas"

PUBLIC = [name for name in dir(cj) if callable(getattr(cj, name))]
ROOMS = {"decide", "laws", "plots"}
_FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the examples find: a table, its fit and its bootstrap, and a small study in the directory."""
    folder = tmp_path_factory.mktemp("examples")
    runs = cj.load_runs("chinchilla")
    spec = cj.StudySpec(resamples=20, flops=(1e20, 1e22))
    cj.run_study(spec, folder / "study", figures=False, progress=None)
    finished_atlas(folder / "atlas")
    boot = cj.bootstrap(runs, resamples=200)
    found = {"cj": cj, "np": np, "dataclasses": dataclasses, "runs": runs, "boot": boot, "fit": cj.fit(runs)}
    return folder, found


def finished_atlas(path):
    """An atlas that opens: the tables of the experiment, without its studies."""
    tables = {kind: pd.read_csv(ATLAS / f"{kind}.csv") for kind in KINDS}
    directory = LocalDirectory(path)
    record = {"format": 1, "seed": 0, "resamples": 4000, "tables": list(tables["overview"]["table"])}
    checksums = write_tables(directory, tables)
    write_record(directory, record | {"state": "complete", "checksums": checksums, "wall_time": 1.0})


def test_dir_lists_public_names_only():
    assert set(dir(cj)) == {*PUBLIC, *ROOMS, "__version__"}
    assert all(isinstance(getattr(cj, name), types.ModuleType) for name in ROOMS)
    assert not any(name.startswith("_") for name in PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_its_example_prints_what_it_says(name, names, monkeypatch):
    folder, found = names
    monkeypatch.chdir(folder)
    value = getattr(cj, name)
    assert ">>>" in value.__doc__, f"{name} has no example"
    if name == "to_arviz":
        pytest.importorskip("xarray")
    runner = doctest.DocTestRunner(optionflags=_FLAGS)
    said = []
    for test in doctest.DocTestFinder().find(value, name, globs=found):
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
