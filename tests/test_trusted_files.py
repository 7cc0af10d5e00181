"""Code from the cache is run only if nobody but the user or root can have written it."""

import os
import stat
import subprocess
import sys
import warnings

import pytest

import chinchilla_jax as cj
from chinchilla_jax._util import cache_dir, kept_programs, system, trusted_files
from chinchilla_jax._util.trusted_files import (
    UntrustedError,
    read_trusted,
    require_trusted_content,
    require_trusted_folder,
)
from chinchilla_jax.solvers.lane_kernel import building, loading, object_code

pytestmark = pytest.mark.skipif(os.name == "nt", reason="owners and modes of POSIX")
MOST = 1000


@pytest.fixture
def kept(tmp_path):
    """A file in folders for the user alone."""
    folder = tmp_path / "cache" / "processor"
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        each.chmod(0o700)
    file = folder / "code.o"
    file.write_bytes(b"code")
    file.chmod(0o600)
    return file


def give_away(path, monkeypatch):
    """Make `path`, and what else has its owner, another user's: truly where this process may do that."""
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    else:
        monkeypatch.setattr(trusted_files.os, "geteuid", lambda: 54321)


def elsewhere(path, target):
    """A link at `path` to `target`, which `path` was before."""
    path.rename(target)
    path.symlink_to(target)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


WAYS = {
    "a pipe": lambda file, patch: pipe(file),
    "a link to a file of mine": lambda file, patch: elsewhere(file, file.parents[2] / "mine"),
    "a link to a device": lambda file, patch: (file.unlink(), file.symlink_to("/dev/zero")),
    "a folder": lambda file, patch: (file.unlink(), file.mkdir()),
    "a file that all may write": lambda file, patch: file.chmod(0o602),
    "a file that a group may write": lambda file, patch: file.chmod(0o620),
    "another's file": give_away,
    "a large file": lambda file, patch: file.write_bytes(bytes(MOST + 1)),
    "a folder that all may write": lambda file, patch: file.parent.chmod(0o777),
    "a folder that a group may write": lambda file, patch: file.parent.chmod(0o770),
    "a folder as /tmp": lambda file, patch: file.parent.chmod(0o1777),
    "another's folder": lambda file, patch: give_away(file.parent, patch),
    "above it, a folder that all may write": lambda file, patch: file.parents[1].chmod(0o777),
    "above it, another's folder": lambda file, patch: give_away(file.parents[1], patch),
    "above it, another's link": lambda file, patch: (
        elsewhere(file.parents[1], file.parents[2] / "mine"),
        give_away(file.parents[1], patch),
    ),
    "above it, a link into a folder that all may write": lambda file, patch: (
        (file.parents[2] / "open").mkdir(),
        (file.parents[2] / "open").chmod(0o777),
        elsewhere(file.parents[1], file.parents[2] / "open" / "mine"),
    ),
}


@pytest.fixture(params=WAYS)
def distrusted(request, kept, monkeypatch):
    """The file where somebody else may have written it."""
    with monkeypatch.context() as changed:
        WAYS[request.param](kept, changed)
        yield kept


def test_what_somebody_else_may_have_written_is_not_read(distrusted):
    with pytest.raises(UntrustedError) as error:
        read_trusted(distrusted, most=MOST)
    assert str(error.value).isprintable()
    if os.geteuid() == 0:  # others cannot give a single file away
        assert str(distrusted.parents[2]) in str(error.value)


def test_a_device_is_not_read(kept):
    if os.geteuid() != 0:
        pytest.skip("makes a device")
    kept.unlink()
    try:
        os.mknod(kept, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except OSError:
        pytest.skip("cannot make a device here")
    with pytest.raises(UntrustedError, match="is a device, not a file"):
        read_trusted(kept, most=MOST)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: None,
        lambda file: file.chmod(0o644),
        lambda file: file.parent.chmod(0o755),
        lambda file: file.parents[1].chmod(0o1777),  # as /tmp
        lambda file: elsewhere(file.parents[1], file.parents[2] / "mine"),
    ],
)
def test_what_only_the_user_can_have_written_is_read(kept, change):
    change(kept)
    assert read_trusted(kept, most=MOST) == b"code"
    require_trusted_content(kept.parent)


def test_a_file_that_is_missing_is_no_matter_of_trust(kept):
    kept.unlink()
    with pytest.raises(FileNotFoundError):
        read_trusted(kept, most=MOST)
    with pytest.raises(FileNotFoundError):
        require_trusted_folder(kept.parent / "none")


def test_links_in_a_circle_end(kept):
    kept.parent.rename(kept.parents[1] / "moved")
    kept.parent.symlink_to(kept.parent)
    with pytest.raises((UntrustedError, OSError)):
        read_trusted(kept, most=MOST)


def test_the_group_of_the_user_alone_may_write_what_leads_there(kept, monkeypatch):
    import grp
    import pwd

    kept.parents[1].chmod(0o770)
    group = kept.parents[1].stat().st_gid
    me = pwd.getpwuid(os.geteuid())
    own = pwd.struct_passwd((me.pw_name, "x", me.pw_uid, group, "", "/nonexistent", ""))
    monkeypatch.setattr(system.pwd, "getpwuid", lambda number: own)
    for name, members, trusted in (
        (me.pw_name, [], True),
        (me.pw_name, [me.pw_name], True),
        (me.pw_name, ["another"], False),
        ("all", [], False),
    ):
        found = grp.struct_group((name, "x", group, members))
        monkeypatch.setattr(system.grp, "getgrgid", lambda number, found=found: found)
        if trusted:
            assert read_trusted(kept, most=MOST) == b"code"
        else:
            with pytest.raises(UntrustedError, match=r"can be written by others \(mode 770; chmod go-w it\)"):
                read_trusted(kept, most=MOST)


def test_what_leads_to_the_home_is_the_affair_of_the_system(kept, monkeypatch):
    kept.parents[2].chmod(0o777)
    with pytest.raises(UntrustedError, match="can be written by others"):
        read_trusted(kept, most=MOST)
    monkeypatch.setattr(system.Users, "home", lambda users: kept.parents[1])
    assert read_trusted(kept, most=MOST) == b"code"
    kept.parents[1].chmod(0o777)
    with pytest.raises(UntrustedError, match="can be written by others"):
        read_trusted(kept, most=MOST)


# --- the cache ---------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with the kernel's code; without the code, compiling is counted."""
    loading.load_kernel()  # compiled once for all tests
    code = object_code.read(object_code.kept_file())
    assert code is not None
    monkeypatch.setenv(cache_dir.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(cache_dir, "_said", set())
    file = object_code.kept_file()
    object_code.write(file, code)
    built = []
    monkeypatch.setattr(building, "built", lambda: built.append(1) or code)
    return file, built


def loaded():
    """What a process that loads the kernel is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert not isinstance(loading._attempt.__wrapped__(), loading.KernelRefused)
    assert all(each.category is cj.EngineWarning for each in caught)
    return [str(each.message) for each in caught]


def test_the_cache_is_made_for_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(cache_dir.VARIABLE, str(tmp_path / "new" / "cache"))
    before = os.umask(0)
    try:
        folder = cache_dir.folder()
    finally:
        os.umask(before)
    assert folder is not None
    assert {stat.S_IMODE(each.stat().st_mode) for each in (folder, *folder.parents[:2])} == {0o700}


def test_code_of_the_users_own_is_loaded(cache):
    assert loaded() == [] and cache[1] == []


@pytest.mark.parametrize("way", [way for way in WAYS if way != "a large file"])
def test_other_code_is_compiled_in_memory_with_one_line(cache, way, monkeypatch):
    file, built = cache
    file.write_bytes(object_code.sealed([b"what a neighbour would have run"]))
    with monkeypatch.context() as changed:
        WAYS[way](file, changed)
        (said,) = loaded()
        assert built == [1]
        assert said.isprintable() and cache_dir.VARIABLE in said
        assert str(file.parents[2]) in said or os.geteuid() != 0


def test_a_file_of_another_in_a_folder_of_ones_own_is_replaced(cache):
    file, built = cache
    file.chmod(0o666)
    assert len(loaded()) == 1
    cache_dir._said.clear()
    assert loaded() == [] and built == [1]


@pytest.fixture
def jax_config():
    """JAX's settings without a cache: a command that an earlier test ran in this process may have set one."""
    import jax

    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield jax.config
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("a large file", "a folder")])
def test_jax_is_not_led_to_programs_of_another(cache, way, jax_config, monkeypatch):
    file, _ = cache
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    with monkeypatch.context() as changed, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        file.parent.chmod(0o755)
        WAYS[way](file, changed)
        kept_programs.keep_programs_of_process()
        assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
        with kept_programs.kept_programs():
            assert not jax_config.jax_compilation_cache_dir
    assert [each.category for each in caught] == [cj.EngineWarning]


def test_jax_is_led_to_a_cache_of_the_users_own(cache, jax_config, monkeypatch):
    file, _ = cache
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (file.parent / "of XLA").mkdir()
    (file.parent / "of XLA" / "tuned").write_bytes(b"")
    with kept_programs.kept_programs():
        assert jax_config.jax_compilation_cache_dir == str(file.parent)


@pytest.mark.slow
def test_the_command_line_says_it_in_one_line(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    command = [sys.executable, "-m", "chinchilla_jax", "fit", "chinchilla", "--starts", "2"]
    environment = {**os.environ, cache_dir.VARIABLE: str(folder)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert line == (
        "chinchilla-jax: warning: compiled code is not kept and everything is compiled again in every run: "
        f"{folder} can be written by others (mode 777; chmod go-w it); "
        f"{cache_dir.VARIABLE} names another folder"
    )
    assert list(folder.iterdir()) == []
