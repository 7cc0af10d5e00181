"""The directory of a long command: whatever happens to its files, the next run ends with the same numbers."""

import collections
import errno
import json
import os

import numpy as np
import pytest

from chinchilla_jax._util import directories, system
from chinchilla_jax._util.errors import ChinchillaError, DataError, DataWarning, UsageError
from chinchilla_jax._util.part_files import DamagedPartError
from chinchilla_jax._util.sealed_json import opened_json, sealed_json
from chinchilla_jax._util.work_directory import WorkDirectory, parts_in, read_part
from chinchilla_jax.study.storage.record import read_record

RECORD = {"kind": "sums", "seed": 3, "law": [0.1, 1e-300, 5e300]}
COLUMNS = {"name": ["a", "b", "a"], "value": np.array([0.1, np.nan, -np.inf]), "n": np.array([1, 2, 2**62])}
STEMS = r"part-\d+"


def work_in(place, record=RECORD):
    return WorkDirectory(place, "sums", record, stems=STEMS)


def same(table):
    found = table.to_pydict()
    return list(found) == list(COLUMNS) and all(
        np.array_equal(np.array(found[name]), np.array(COLUMNS[name]), equal_nan=name == "value")
        for name in found
    )


@pytest.fixture
def place(tmp_path):
    work = work_in(tmp_path / "work")
    work.write("part-0", COLUMNS, {"more": 1.5})
    work.write("part-1", COLUMNS, {})
    return tmp_path / "work"


def part_path(place, stem):
    (path,) = place.glob(f"{stem}-*")
    return path


def test_a_part_comes_back_as_it_was_written(place):
    work = work_in(place)
    assert sorted(work.stems()) == ["part-0", "part-1"]
    table, fields = work.read("part-0")
    assert same(table) and fields == {"more": 1.5}
    assert work.read("part-2") is None
    work.remove("part-0")
    assert work.read("part-0") is None and work_in(place).stems() == ["part-1"]


def test_no_bit_of_a_part_can_flip_unseen(place):
    """All of them: 8 bits of each of about 2,500 bytes."""
    parts, path = parts_in(directories.open_directory(place), STEMS), part_path(place, "part-0")
    content = path.read_bytes()
    damaged = bytearray(content)
    for bit in range(8 * len(content)):
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedPartError), pytest.MonkeyPatch.context() as patch:
            patch.setattr(parts.directory, "read", lambda name: bytes(damaged))
            parts.read(path.name)
        damaged[bit // 8] ^= 1 << bit % 8
    assert same(read_part(parts, path.name)[0])


def test_no_bit_of_a_record_can_flip_and_change_it():
    content = sealed_json(RECORD)
    assert opened_json(content) == (RECORD, True)
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            fields, sealed = opened_json(bytes(damaged))
        except ValueError:
            continue
        assert fields == RECORD or not sealed, bytes(damaged)


def connection(monkeypatch, directory, damaged):
    """Damages the first readings of every file, each at another place."""
    read, seen = type(directory).read, collections.Counter()

    def faulty(self, name):
        content = bytearray(read(self, name))
        seen[name] += 1
        if seen[name] <= damaged:
            content[50 + seen[name]] ^= 1
        return bytes(content)

    monkeypatch.setattr(type(directory), "read", faulty)
    return seen


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_a_connection_that_damages_several_readings_is_not_a_damaged_file(place, monkeypatch, damaged):
    seen = connection(monkeypatch, directories.open_directory(place), damaged)
    work = work_in(place)
    assert same(work.read("part-0")[0])
    assert set(seen.values()) == {damaged + 1}


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_nor_is_the_record_of_a_study(tmp_path, monkeypatch, damaged):
    directory = directories.open_directory(tmp_path)
    directory.write("study.json", sealed_json({"format": 2}))
    connection(monkeypatch, directory, damaged)
    with pytest.raises(DataError, match="state is missing"):  # it was read, and is no whole record
        read_record(directory)


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_torn_part_is_named_removed_and_missing(place, length):
    path = part_path(place, "part-0")
    path.write_bytes(path.read_bytes()[:length])
    work = work_in(place)
    with pytest.warns(DataWarning, match=rf"{path.name}: damaged, will be recomputed"):
        assert work.read("part-0") is None
    assert not path.exists() and same(work.read("part-1")[0])


@pytest.mark.parametrize(
    "content", [None, b"", b"\0" * 4096, b'{"kind": "su', b'{"kind": "sums", "checksum": "0"}']
)
def test_a_lost_record_is_restored_from_the_parts(place, content):
    record = place / "sums.json"
    whole = record.read_bytes()
    record.unlink() if content is None else record.write_bytes(content)
    if content is None:
        work_in(place)
    else:
        with pytest.warns(DataWarning, match=r"sums.json: damaged .*and written again"):
            work_in(place)
    assert record.read_bytes() == whole
    record.write_bytes(content or b"")
    with pytest.raises(UsageError, match="seed is 3 there"):
        work_in(place, RECORD | {"seed": 4})


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b'{"kind": "su'])
def test_a_torn_record_alone_is_written_again(tmp_path, content):
    """What a full disk or a killed process of version 0.1 leaves."""
    (tmp_path / "sums.json").write_bytes(content)
    with pytest.warns(DataWarning, match="written again"):
        work_in(tmp_path)
    assert opened_json((tmp_path / "sums.json").read_bytes()) == (RECORD, True)


def test_another_directory_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not empty and holds no sums run"):
        work_in(tmp_path)
    (tmp_path / "sums.json").write_text("my own sums")
    with pytest.raises(DataError, match="no part beside it says what was"):
        work_in(tmp_path)
    (tmp_path / "thesis.txt").unlink()
    with pytest.raises(DataError, match="no part beside it"):
        work_in(tmp_path)
    (tmp_path / "sums.json").write_text(json.dumps(RECORD | {"seed": 9}))
    with pytest.raises(UsageError, match=r"another sums run \(seed is 9 there and 3 here\)"):
        work_in(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sums.json"]
    with pytest.raises(UsageError, match="this is a file"):
        work_in(tmp_path / "sums.json")


def test_a_part_of_another_computation_is_never_used(place, tmp_path):
    other = work_in(tmp_path / "other", RECORD | {"seed": 4})
    other.write("part-7", COLUMNS, {})
    path = part_path(tmp_path / "other", "part-7")
    (place / path.name).write_bytes(path.read_bytes())
    work = work_in(place)
    with pytest.warns(DataWarning, match="of another computation"):
        assert work.read("part-7") is None


@pytest.mark.parametrize("failing", range(8))
def test_a_full_disk_at_any_write_leaves_what_the_next_run_completes(tmp_path, monkeypatch, failing):
    """The system refuses from the n-th call on that writes, syncs or names a file."""
    calls = 0

    def refusing(function):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls > failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*arguments, **options)

        return call

    def run():
        work = work_in(tmp_path / "work")
        for stem in ("part-0", "part-1"):
            if work.read(stem) is None:
                work.write(stem, COLUMNS, {})
        return work

    with monkeypatch.context() as patch:
        for name in ("fsync", "replace", "link"):
            patch.setattr(directories.os, name, refusing(getattr(os, name)))
        with pytest.raises(ChinchillaError, match=r"No space left on device.*rerun the same command"):
            run()
    work = run()
    assert all(same(work.read(stem)[0]) for stem in ("part-0", "part-1"))
    assert not [path for path in (tmp_path / "work").iterdir() if path.name.endswith(".tmp")]


def test_what_a_killed_writer_leaves_is_cleaned_up(place):
    dead = place / f".0123456789abcdef.{system.host_name()}.999999999.tmp"
    dead.write_bytes(b"half a part")
    work_in(place)
    assert not dead.exists()
