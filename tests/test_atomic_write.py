"""A file appears complete or not at all, and never through a name that somebody else has prepared."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from chinchilla_jax._util import atomic_write as module
from chinchilla_jax._util.atomic_write import atomic_write, exclusive_file
from chinchilla_jax._util.directories import open_directory, open_file
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import main
from chinchilla_jax.study.storage.heartbeat import heartbeat, is_running

posix = pytest.mark.skipif(os.name == "nt", reason="links and modes of POSIX")


def test_the_file_appears_at_the_end_and_an_error_leaves_the_old_one(tmp_path):
    path = tmp_path / "table"
    with atomic_write(path) as stream:
        stream.write(b"old")
        assert not path.exists()
    with pytest.raises(OSError, match="full"), atomic_write(path) as stream:
        stream.write(b"ne")
        raise OSError("full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_all_of_them(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: real(handle, content[:3]))
    directory = open_directory(tmp_path / "new")
    for content in (b"0123456789", b""):
        directory.write("folder/file", content)
        assert directory.read("folder/file") == content
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["file"]


def test_a_name_of_any_length_can_be_written(tmp_path):
    path = tmp_path / ("n" * 250)
    with atomic_write(path) as stream:
        stream.write(b"content")
    assert path.read_bytes() == b"content"


@posix
def test_the_permissions_are_those_of_any_new_file(tmp_path):
    with atomic_write(tmp_path / "written") as stream:
        stream.write(b"")
    (tmp_path / "usual").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("written", "usual")}
    assert len(modes) == 1


@posix
def test_a_link_of_that_name_is_replaced_and_what_it_names_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "page").symlink_to(tmp_path / "mine")
    with atomic_write(tmp_path / "page") as stream:
        stream.write(b"new")
    assert (tmp_path / "mine").read_text() == "precious"
    assert (tmp_path / "page").read_text() == "new" and not (tmp_path / "page").is_symlink()


@posix
@pytest.mark.parametrize("kind", ["file", "link", "link to nothing", "fifo", "folder"])
def test_whatever_has_the_temporary_name_is_never_opened(tmp_path, monkeypatch, kind):
    """Every write of the project: both helpers, and the lock file of a running study."""
    tokens = iter(["taken", "free"] * 9)
    monkeypatch.setattr(module.secrets, "token_hex", lambda size: next(tokens))
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "out").mkdir()
    path, stream = exclusive_file(tmp_path / "out")
    stream.close()
    path.unlink()
    target = tmp_path / ("nothing" if kind == "link to nothing" else "mine")
    {
        "file": lambda: path.write_text("a neighbour's"),
        "link": lambda: path.symlink_to(target),
        "link to nothing": lambda: path.symlink_to(target),
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }[kind]()
    next(tokens)
    other, stream = exclusive_file(tmp_path / "out")
    with stream:
        stream.write(b"content")
    assert "free" in other.name and other.read_bytes() == b"content"
    assert (tmp_path / "mine").read_text() == "precious" and not (tmp_path / "nothing").exists()


@posix
def test_what_is_written_goes_to_the_file_that_was_made(tmp_path):
    """A neighbour who may write in the folder can give the name to a link at any moment."""
    (tmp_path / "mine").write_text("precious")
    with atomic_write(tmp_path / "page") as stream:
        (temporary,) = tmp_path.glob(".*.tmp")
        temporary.unlink()
        temporary.symlink_to(tmp_path / "mine")
        stream.write(b"new")
    assert (tmp_path / "mine").read_text() == "precious"


@posix
def test_prepared_links_do_not_lead_a_study_out_of_its_directory(tmp_path, monkeypatch):
    """The names that a process would have used are known to a neighbour: its host, its number, a count."""
    from chinchilla_jax._util.system import host_name

    out = tmp_path / "out"
    out.mkdir()
    for count in range(50):
        for name in (
            f".{count}.{host_name()}.{os.getpid()}.tmp",
            f".at-work.{host_name()}.{os.getpid()}.{count}.tmp",
        ):
            (out / name).symlink_to(tmp_path / "mine")
    (tmp_path / "mine").write_text("precious")
    directory = open_directory(out)
    directory.write("study.json", b"{}")
    assert directory.create("new", b"content")
    with heartbeat(directory):
        assert is_running(directory)
    assert (tmp_path / "mine").read_text() == "precious"
    assert directory.read("study.json") == b"{}" and not (out / "study.json").is_symlink()


@posix
def test_a_lock_file_that_is_none_is_not_waited_for(tmp_path):
    from chinchilla_jax._util.system import host_name

    os.mkfifo(tmp_path / f".at-work.{host_name()}.1.0")
    (tmp_path / f".at-work.{host_name()}.1.1").symlink_to(tmp_path / "nothing")
    assert is_running(open_directory(tmp_path)) is False


@posix
def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    code = f"""
import errno
import os
from pathlib import Path
from chinchilla_jax._util.atomic_write import atomic_write
with atomic_write(Path({str(tmp_path)!r}) / "page") as stream:
    stream.write(b"half")
    stream.flush()
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_write(tmp_path / "page") as stream:
        (mine,) = tmp_path.glob(".*.tmp")
        stream.write(b"whole")
    assert [each.name for each in tmp_path.iterdir()] == ["page"]
    assert str(os.getpid()) in mine.name, "a living process's stays"


WRITERS = {
    "atomic_write": lambda path: open_and_write(path),
    "replace_by": lambda path: module.replace_by(path, b"content"),
}


def open_and_write(path):
    with atomic_write(path) as stream:
        stream.write(b"content")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("call", ["open", "fsync"])
def test_errors_name_the_file_that_was_asked_for(tmp_path, monkeypatch, writer, call):
    """Not the temporary one, and not nothing, which reads as if stdout could not be written."""

    def fail(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *(given[:1] if call == "open" else ()))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space") as caught:
        WRITERS[writer](tmp_path / "page.html")
    assert caught.value.filename == str(tmp_path / "page.html")


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "page.html"):
        (tmp_path / "figure.png").read_bytes()
    assert caught.value.filename == str(tmp_path / "figure.png")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room there, or give another path"), (errno.EROFS, "give another path")],
)
def test_a_command_says_what_cannot_be_written_and_what_to_do(tmp_path, monkeypatch, capsys, number, remedy):
    real = os.open

    def fail(path, *rest, **more):
        if str(path).endswith(".tmp"):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", fail)
    assert main(["study", "init", str(tmp_path / "mine.toml")]) == 1
    said = f"{tmp_path / 'mine.toml'}: cannot be written ({os.strerror(number)}); {remedy}"
    assert capsys.readouterr().err == f"chinchilla-jax: error: {said}\n"


def test_a_folder_is_no_file_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (".", "..", str(tmp_path)):
        with pytest.raises(UsageError, match="this is a directory; give the name of a file"):
            open_file(place)
