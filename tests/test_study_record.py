"""study.json: what it holds is checked, one changed bit is noticed, and no name in it leads elsewhere."""

import json
import os
import random
import shutil

import pytest

from chinchilla_jax._util.errors import ChinchillaError, DataError
from chinchilla_jax.cli import main
from chinchilla_jax.report import run_study
from chinchilla_jax.report.page import render
from chinchilla_jax.study import StudySpec, Sweep, open_study, study_status
from chinchilla_jax.study.storage.record import record_bytes

SPEC = StudySpec(sweeps=(Sweep(family="multiplicative", values=(0.5, 2.0)),), resamples=6, flops=(1e20, 1e24))
QUIET = {"progress": None, "figures": False}
WAYS = ("older", "forged")


def fields_of(path):
    fields = json.loads((path / "study.json").read_text())
    fields.pop("checksum", None)
    return fields


def put(path, fields, way="forged"):
    """Write `fields` as version 0.1.0 did, or with a checksum."""
    older = json.dumps(fields | {"format": 1}).encode()
    (path / "study.json").write_bytes(older if way == "older" else record_bytes(fields))


def refused(action, *arguments):
    with pytest.raises(ChinchillaError) as caught:
        action(*arguments)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 700
    return str(caught.value)


def test_a_directory_of_version_0_1_0_is_read_and_resumed(study, copy):
    fields = fields_of(copy)
    for name in ("read", "resampling", "goodness", "made_on"):  # which came later
        del fields[name]
    put(copy, fields, "older")
    assert open_study(copy).params.equals(study.params)
    assert "bootstrap fits" in render(open_study(copy))
    assert study_status(copy).chunks_done == 3
    more = StudySpec.from_dict(SPEC.to_dict() | {"resamples": 8})
    assert len(run_study(more, copy, **QUIET).fits()) == 24
    assert json.loads((copy / "study.json").read_text())["format"] == 2


def test_every_flipped_bit_is_noticed(study, copy):
    content = (copy / "study.json").read_bytes()
    draw = random.Random(0)
    places = [(draw.randrange(len(content)), draw.randrange(8)) for _ in range(300)]
    for name in (b'"format"', b'"format": ', b'"checksum"', b'"checksum": '):  # what says that it is checked
        first = content.index(name)
        places += [(first + at, bit) for at in range(len(name) + 2) for bit in range(8)]
    for place, bit in places:
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        (copy / "study.json").write_bytes(changed)
        assert "study.json" in refused(open_study, copy)
    (copy / "study.json").write_bytes(content + b"\n")
    assert "wrong checksum" in refused(study_status, copy)


CHANGES = [
    ("state", "done", "state is 'done', not one of running"),
    ("n_fits", "18", "n_fits is '18', not a count"),
    ("n_fits", 17, "parts has 18 fits, and n_fits is 17"),
    ("n_conditions", 2, "parts has 3 conditions"),
    ("spec", [], "spec is [], not an object"),
    ("spec", {"resamples": "many"}, "its spec cannot be used"),
    ("blocks", [[0, 5], [6, 6]], "blocks[1] is [6, 6], not a range of resamples that begins at 5"),
    ("blocks", [[0, 10**12]], "blocks ends at 1000000000000"),
    ("blocks", [], "blocks is [], not a list of ranges"),
    ("data_hashes", {}, "data_hashes has none for 'standard'"),
    ("versions", None, "versions is None, not an object"),
    ("started", "yesterday", "started is 'yesterday', not a date"),
    ("wall_time", 1e300, "wall_time is 1e+300, not a number of seconds"),
    ("wall_time", True, "wall_time is True"),
    ("status_counts", {"CONVERGED": -1}, "status_counts.CONVERGED is -1, not a count"),
    ("notes", ["x"], "notes[0] is 'x', not an object"),
    ("notes", [{"condition": "identity"}], "notes[0].note is missing"),
    ("timing", {"tables": "long"}, "timing.tables is 'long'"),
    ("timing", {"tables": 10**400}, "timing.tables is"),
    ("device", {"platform": "cpu", "kind": "cpu"}, "device.count is missing"),
    ("versions", {"python": "3.12"}, "versions.chinchilla_jax is missing"),
    ("made_on", -1, "made_on is -1, not an object"),
    ("tables", {"../point.parquet": 1}, "tables has ['../point.parquet'], not conditions.parquet"),
    ("parts", "none", "parts is 'none', not a list"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "value", "said"), CHANGES)
def test_what_is_wrong_is_named_in_one_line(study, copy, way, name, value, said):
    put(copy, fields_of(copy) | {name: value}, way)
    assert said in refused(study_status, copy)
    assert said in refused(run_study, SPEC, copy)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name", ["state", "spec", "parts", "checksums", "device", "point_status_counts", "n_fits"]
)
def test_what_is_missing_is_named(study, copy, way, name):
    fields = fields_of(copy)
    del fields[name]
    put(copy, fields, way)
    assert f"{name} is missing" in refused(open_study, copy)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name",
    ["../outside.parquet", "/etc/passwd", "fits/../../outside.parquet", "fits/part-0/../x.parquet", "\x00"],
)
def test_a_name_that_leads_out_of_the_directory_is_refused(study, copy, tmp_path, way, name):
    shutil.copy(next((copy / "fits").iterdir()), tmp_path / "outside.parquet")
    fields = fields_of(copy)
    fields["parts"][0]["file"] = name
    put(copy, fields, way)
    assert "parts[0].file is" in refused(lambda: open_study(copy).fits())


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["study.json", "point.parquet", "derived.json"])
def test_a_pipe_is_not_waited_for(study, copy, name, capsys):
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    assert main(["report", str(copy), "--out", str(copy / "page.html")]) in (0, 1, 2)
    assert capsys.readouterr().err.count("\n") <= 1


def test_a_study_whose_record_is_lost_keeps_its_chunks(study, copy):
    before = {file.name: file.stat().st_mtime_ns for file in (copy / "fits").iterdir()}
    (copy / "study.json").write_text("")
    said = refused(run_study, SPEC, copy)
    assert "remove this file and run the study again into the same directory, which keeps its chunks" in said
    (copy / "study.json").unlink()
    assert run_study(SPEC, copy, **QUIET).fits().equals(study.fits())
    assert {file.name: file.stat().st_mtime_ns for file in (copy / "fits").iterdir()} == before


def test_so_does_one_that_was_extended(study, copy):
    more = StudySpec.from_dict(SPEC.to_dict() | {"resamples": 8})
    whole = run_study(more, copy, **QUIET).fits()
    before = {file.name: file.stat().st_mtime_ns for file in (copy / "fits").iterdir()}
    (copy / "study.json").unlink()
    assert run_study(more, copy, **QUIET).fits().equals(whole)
    assert {file.name: file.stat().st_mtime_ns for file in (copy / "fits").iterdir()} == before


def test_a_directory_without_a_record_and_with_chunks_of_another_study_is_left_alone(study, copy):
    (copy / "study.json").unlink()
    before = {file.name for file in (copy / "fits").iterdir()}
    other = StudySpec.from_dict(SPEC.to_dict() | {"seed": 1})
    assert "holds fits but no study.json" in refused(run_study, other, copy)
    assert {file.name for file in (copy / "fits").iterdir()} == before


def test_a_chunk_that_is_no_chunk_is_damaged_and_not_a_traceback(study, copy):
    """Its checksum is right: somebody made it so."""
    from chinchilla_jax._util.part_files import checksum

    first = sorted((copy / "fits").iterdir())[0]
    for content in (b"no Parquet", (copy / "point.parquet").read_bytes()):
        for file in (copy / "fits").glob(f"{first.name.rpartition('-')[0]}-*"):
            file.unlink()
        (first.with_name(f"{first.name.rpartition('-')[0]}-{checksum(content)}.parquet")).write_bytes(content)
        assert len(study_status(copy).damaged) == 1
        with pytest.raises(DataError):
            open_study(copy)
