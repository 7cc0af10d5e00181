"""Directories of other versions: studies in tests/studies are read, and nothing is mixed with new fits."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.directories import LocalDirectory
from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax.cli import main
from chinchilla_jax.laws import LAWS
from chinchilla_jax.planning.ladder.run_store import RunStore
from chinchilla_jax.planning.ladder.tables import import_runs
from chinchilla_jax.report import run_study
from chinchilla_jax.report.page import render
from chinchilla_jax.study import chunks, environment, open_study, study_status
from chinchilla_jax.study.atlas.store import write_record
from chinchilla_jax.study.environment import PACKAGE
from chinchilla_jax.study.multiverse import store
from chinchilla_jax.study.numerics import MULTIVERSES, STUDIES, Numerics
from chinchilla_jax.study.spec.data import load_study_data
from chinchilla_jax.study.storage import ownership
from chinchilla_jax.study.storage.chunk_files import decode
from chinchilla_jax.study.storage.ownership import claim
from chinchilla_jax.study.storage.record import FORMAT

KEPT = Path(__file__).parent / "studies"
VERSIONS = sorted(path.name for path in KEPT.iterdir() if path.is_dir())
READ_FORMATS = range(1, FORMAT + 1)


def record_of(path):
    return json.loads((path / "study.json").read_text())


@pytest.fixture(params=VERSIONS)
def older(request, tmp_path):
    """A copy of a study written by an earlier version."""
    return Path(shutil.copytree(KEPT / request.param, tmp_path / "older"))


def contents(path):
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.rglob("*")
        if file.is_file()
    }


def test_each_format_before_this_one_has_a_directory():
    formats = {record_of(KEPT / name)["format"] for name in VERSIONS}
    assert {*READ_FORMATS} - {FORMAT} <= formats


def test_it_is_opened_with_every_number(older):
    record, study = record_of(older), open_study(older)
    assert study_status(older).status_counts == {
        name: count for name, count in record["status_counts"].items() if count
    }
    fits = study.fits()
    assert len(fits) == record["n_fits"]
    assert set(fits["condition"]) == set(study.conditions["condition"])
    assert study.params["estimate"].notna().all() and study.tokens_per_param["low"].notna().all()
    # The summary that its version wrote follows from the fits that it wrote.
    rows = study.params.query("method == 'gaussian'").set_index(["condition", "parameter"])
    for condition, group in fits.groupby("condition"):
        for name in ("E", "alpha", "beta"):
            assert rows.loc[(condition, name), "standard_error"] == pytest.approx(group[name].std(ddof=1))


@pytest.mark.slow
def test_its_laws_are_those_that_this_version_fits(older, tmp_path):
    """The last digits differ, which is why nothing is added to it; the answers do not."""
    study = open_study(older)
    again = run_study(study.spec, tmp_path / "again", progress=None, figures=False)
    assert again.conditions["condition"].tolist() == study.conditions["condition"].tolist()
    for table in ("params", "tokens_per_param"):
        old, new = (
            getattr(each, table).select_dtypes("number").to_numpy(np.float64) for each in (study, again)
        )
        np.testing.assert_allclose(old, new, rtol=1e-6)


@pytest.mark.slow
def test_it_is_reported(older, capsys):
    assert "bootstrap fits" in render(open_study(older))
    assert main(["report", str(older)]) == 0
    assert (older / "report.html").exists() and list((older / "figures").iterdir())
    assert study_status(older).state == "complete"
    assert not capsys.readouterr().err


def test_it_is_extended_by_none_but_its_own_version_and_left_as_it_was(older, capsys):
    record, spec = record_of(older), open_study(older).spec
    assert record["numerics"] < STUDIES.every_law, "extending it would work: test that instead"
    before = contents(older)
    more = cj.StudySpec.from_dict(spec.to_dict() | {"resamples": spec.resamples + 20, "boundary": "keep"})
    with pytest.raises(
        UsageError, match=r"not extended: run the whole study in a new directory, or "
    ) as said:
        run_study(more, older, progress=None)
    assert f"written by chinchilla_jax {older_version(record)}" in str(said.value)
    other = cj.StudySpec.from_dict(spec.to_dict() | {"seed": 1})
    with pytest.raises(UsageError, match="holds another study"):
        run_study(other, older, progress=None)
    assert contents(older) == before


def older_version(record):
    return record["versions"]["chinchilla_jax"]


def test_one_that_is_not_complete_says_which_version_resumes_it(older, capsys):
    record = record_of(older)
    (older / record["parts"][-1]["file"]).unlink()
    kept = {name: record[name] for name in record if name not in ("parts", "tables", "checksums", "checksum")}
    (older / "study.json").write_text(json.dumps(kept | {"state": "interrupted"}))
    assert main(["study", "status", str(older)]) == 0
    assert f"with chinchilla_jax {older_version(record)} only, which wrote it" in capsys.readouterr().out
    with pytest.raises(UsageError, match="or resume this one with that version"):
        run_study(open_study(KEPT / older_version(record)).spec, older, progress=None)


def test_a_version_with_the_same_digits_extends_a_study_without_a_word(older, tmp_path, monkeypatch):
    """Whatever its number, the numerics decide: no doubt is cast on the digits; chunks name both versions."""
    spec = open_study(older).spec
    quiet = {"progress": None, "figures": False}
    monkeypatch.setattr(environment, "_versions", lambda: {"python": "3.11.7", PACKAGE: "1.0.0"})
    run_study(dataclasses.replace(spec, resamples=20), tmp_path / "out", **quiet)
    monkeypatch.setattr(environment, "_versions", lambda: {"python": "3.11.7", PACKAGE: "1.9.0"})
    assert study_status(tmp_path / "out").other_version is None
    study = run_study(spec, tmp_path / "out", **quiet)
    found = [decode(pq.read_table(file)) for file in study.path.glob("fits/*.parquet")]
    assert {record.versions[PACKAGE] for record in found} == {"1.0.0", "1.9.0"}
    assert not any("versions" in note["note"] for note in study.info["notes"])


def by_version(monkeypatch, numerics):
    """Compute as a version of other numerics does, until `monkeypatch.undo()`."""
    for module in (chunks, ownership):
        monkeypatch.setattr(module, "STUDIES", numerics)


ANOTHER = Numerics(STUDIES.newest, {"gamma": STUDIES.newest + 1})


@pytest.mark.parametrize("number", ANOTHER.accepted("chinchilla"))
def test_a_change_under_another_law_leaves_a_study_extendable(number, tmp_path, monkeypatch):
    """Begun before gamma's digits changed or since; with its record lost too."""
    spec = cj.StudySpec(sweeps=(), resamples=10, flops=(1e20, 1e24))
    quiet = {"progress": None, "figures": False}
    by_version(monkeypatch, Numerics(number, {}))
    begun = contents(run_study(spec, tmp_path / "out", **quiet).path / "fits")
    by_version(monkeypatch, ANOTHER)
    assert study_status(tmp_path / "out").other_version is None
    (tmp_path / "out" / "study.json").unlink()
    assert run_study(spec, tmp_path / "out", **quiet).info["numerics"] == number
    assert contents(tmp_path / "out" / "fits") == begun
    more = dataclasses.replace(spec, resamples=20)
    study = run_study(more, tmp_path / "out", **quiet)
    assert study.info["numerics"] == number
    assert begun.items() < contents(study.path / "fits").items(), "what was there stays"
    fresh = run_study(more, tmp_path / "fresh", **quiet)
    assert study.fits().equals(fresh.fits())
    assert fresh.info["numerics"] == ANOTHER.every_law, "which earlier versions extend too"


def test_a_study_under_the_law_that_changed_is_not_extended(tmp_path, monkeypatch):
    spec = cj.StudySpec(law="gamma", sweeps=(), resamples=10, flops=(1e20, 1e24))
    data = load_study_data(spec, "standard")
    claim(LocalDirectory(tmp_path), spec, {"standard": data.hash}, len(data.runs))
    by_version(monkeypatch, ANOTHER)
    before = contents(tmp_path)
    with pytest.raises(
        UsageError, match=r"whose fits have other last digits: run the whole study in"
    ) as said:
        run_study(spec, tmp_path, progress=None)
    assert str(said.value).isprintable() and contents(tmp_path) == before


def test_a_law_of_ones_own_is_not_the_built_in_one_of_its_name():
    own = cj.laws.from_function(
        lambda p, x: p["E"] + 0 * x["params"], parameters={"E": cj.positive(1.7)}, name="gamma"
    )
    laws = ("gamma", LAWS["gamma"](), own, "chinchilla")
    assert [Numerics(5, {"gamma": 6, "chinchilla": 7}).since(law) for law in laws] == [6, 6, 5, 7]


@pytest.mark.parametrize("written", [0, FORMAT + 1, "2", True, None])
def test_a_format_of_the_future_is_one_line_that_says_how_to_go_on(older, written, capsys):
    (older / "study.json").write_text(json.dumps(record_of(older) | {"format": written}))
    for command in (["report", str(older)], ["study", "status", str(older)]):
        assert main(command) in (1, 2)
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "open it with the version that wrote it" in said


def test_an_atlas_of_another_format_is_one_line(tmp_path, capsys):
    write_record(LocalDirectory(tmp_path), {"format": 2, "state": "complete"})
    assert main(["study", "status", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "atlas.json: written by another version of chinchilla_jax" in said


def test_a_multiverse_of_other_numerics_is_another_one(tmp_path, monkeypatch):
    asked = {"flops": 1e22, "laws": ["chinchilla"], "objectives": ["huber"], "deltas": [1e-3]}
    asked |= {"countings": ["as_plotted"], "costs": ["6nd"], "rows": ["all"], "schemes": ["pairs"]}
    asked |= {"resamples": 20, "progress": None, "out": tmp_path / "out"}
    cj.multiverse("chinchilla", **asked)
    before = contents(tmp_path)
    monkeypatch.setattr(store, "MULTIVERSES", Numerics(MULTIVERSES.newest + 1, {}))
    said = f"numerics is {MULTIVERSES.newest} there and {MULTIVERSES.newest + 1} here"
    with pytest.raises(UsageError, match=said):
        cj.multiverse("chinchilla", **asked)
    assert contents(tmp_path) == before
    # Of another law, whose parts alone are computed again: what is there stays as it was.
    later = MULTIVERSES.newest + 1
    monkeypatch.setattr(store, "MULTIVERSES", Numerics(MULTIVERSES.every_law, {"kaplan": later}))
    cj.multiverse("chinchilla", **asked)
    assert contents(tmp_path) == before
    monkeypatch.setattr(store, "MULTIVERSES", Numerics(MULTIVERSES.every_law, {"chinchilla": later}))
    cj.multiverse("chinchilla", **asked)
    after = contents(tmp_path)
    assert before.items() < after.items() and len(after) == len(before) + 1
    cj.multiverse("chinchilla", **asked)
    assert contents(tmp_path) == after


def test_a_database_of_progress_written_by_0_1_0_says_how_to_go_on(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as database:
        database.execute("CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        rows = [("format", "1"), ("flops_range", "[1e+17, 1e+18]"), ("seeds", "50")]
        database.executemany("INSERT INTO settings VALUES (?, ?)", rows)
        database.commit()
    with pytest.raises(DataError, match=r"with the one that wrote it, export its runs .*import them"):
        RunStore(tmp_path / "runs.db")


def test_runs_exported_by_0_1_0_are_imported(tmp_path):
    table = tmp_path / "exported.csv"
    table.write_text(
        "run,stage,params,tokens,flops,loss,config\n"
        "1,seed,39883331.773477875,431642653.8591474,1.0329208302869307e+17,3.1,\n"
        "4,seed,128570154.50957167,1151190977.8780699,8.8805281137485e+17,,\n"
    )
    store = RunStore.create(tmp_path / "runs.db", {})
    assert import_runs(store, table) == 2
    assert [(run.stage, run.loss) for run in store.runs()] == [("seed", 3.1), ("seed", None)]


def test_the_documentation_says_which_digits_are_those_of_now():
    text = (Path(__file__).parents[1] / "docs" / "stability.md").read_text(encoding="utf-8")
    assert f"| its fits | `numerics`: {STUDIES.newest} |" in text
    assert f"from {STUDIES.every_law} on |" in text
    assert f"`numerics`: {MULTIVERSES.newest} | {MULTIVERSES.newest} |" in text
