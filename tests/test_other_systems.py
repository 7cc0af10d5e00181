"""Systems other than Linux: `_util/system.py` alone asks for what not all have, and each lack has a way out.

The gate also type-checks the package for macOS and Windows, which finds names that these do not have.
"""

import ast
import errno
import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import chinchilla_jax
from chinchilla_jax._util import devices, directories, system, trusted_files
from chinchilla_jax._util.address_space import require_address_space
from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax.study.execution.dask_worker import COUNT, dask_setup
from chinchilla_jax.study.storage.heartbeat import heartbeat, is_running

# --- one place -------------------------------------------------------------------------------------------

PACKAGE = Path(chinchilla_jax.__file__).parent


def words(text):
    return frozenset(text.split())


# Modules and names that some system lacks, or that say which system this is.
MODULES = words("""fcntl resource pwd grp termios tty pty posix nt msvcrt winreg syslog curses readline""")
NAMES = {
    "os": words(
        """name uname fork forkpty link sched_getaffinity sched_setaffinity sched_yield getuid geteuid getgid
getegid chown fchown lchown fchmod getpgid setpgid killpg setsid mkfifo mknod statvfs fstatvfs
getloadavg nice sync pread pwrite posix_fadvise posix_fallocate confstr sysconf wait wait4 kill
replace register_at_fork O_NOFOLLOW O_NONBLOCK O_DIRECTORY O_CLOEXEC O_SYNC O_BINARY O_NOINHERIT"""
    ),
    "sys": {"platform", "getwindowsversion"},
    "platform": {"system", "uname", "libc_ver", "freedesktop_os_release"},
    "signal": None,  # all but these
}
PORTABLE_SIGNALS = words(
    """SIGINT SIGTERM Signals signal getsignal default_int_handler set_wakeup_fd SIG_DFL SIG_IGN"""
)
SYSTEM_PATHS = re.compile(r"/(proc|dev|sys|tmp|var|etc)(/|$)")


def foreign(path):
    """What a module uses of one system, by its source."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in {*MODULES, *NAMES}:
            yield f"from {node.module}" * (node.module in MODULES)
            yield from (alias.name for alias in node.names if lacks(node.module, alias.name))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in NAMES:
            yield f"{node.value.id}.{node.attr}" * lacks(node.value.id, node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
            yield node.value * bool(SYSTEM_PATHS.match(node.value))


def lacks(module, name):
    return name not in PORTABLE_SIGNALS if module == "signal" else name in NAMES[module]


def test_one_module_asks_for_what_not_every_system_has():
    found = {
        str(path.relative_to(PACKAGE)): uses
        for path in PACKAGE.rglob("*.py")
        if (uses := sorted(set(filter(None, foreign(path)))))
    }
    assert {"fcntl", "resource", "pwd", "os.sched_getaffinity", "/proc/cpuinfo"} <= {
        *found.pop("_util/system.py")
    }
    assert found == {}


# --- each lack -------------------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch):
    """This process without what only some systems have."""
    for name in (
        "sched_getaffinity",
        "sched_setaffinity",
        "confstr",
        "geteuid",
        "getloadavg",
        "link",
        "O_NOFOLLOW",
        "O_NONBLOCK",
    ):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.delattr(system.signal, "pthread_sigmask", raising=False)
    for name in ("fcntl", "resource", "pwd", "grp"):
        monkeypatch.setattr(system, name, None)
    monkeypatch.setattr(system, "_lines", lambda path: [])
    monkeypatch.setattr(sys, "platform", "win32")


def test_what_is_not_known_is_not_made_up(bare):
    assert system.open_flags("O_NOFOLLOW", "O_NONBLOCK", "O_NO_SUCH_FLAG") == 0
    assert system.cores() is None
    assert system.load() is None
    assert system.processor_facts() == []
    assert system.peak_memory() is None
    assert system.address_space_limit() is None
    assert system.c_library() == ""
    assert system.users() is None
    assert not system.is_x86_linux_with_glibc()
    assert not system.has_locks()
    assert system.is_locked(0) is None
    system.lock(io.BytesIO())
    require_address_space()
    assert devices.available_cores() == os.cpu_count()
    assert len(devices.processor_digest()) == 12
    with system.without_ctrl_c():
        pass


def test_a_process_is_not_ended_by_asking_for_it(bare, monkeypatch):
    monkeypatch.setattr(os, "kill", lambda *arguments: pytest.fail("this ends a process of Windows"))
    assert system.is_alive(os.getpid())


def test_files_appear_without_links_locks_and_flags(bare, tmp_path):
    directory = directories.LocalDirectory(tmp_path / "new")
    directory.write("a", b"1")
    directory.write("a", b"2")
    assert directory.read("a") == b"2"
    assert directory.create("b", b"3")
    assert not directory.create("b", b"4")
    assert directory.read("b") == b"3"
    with heartbeat(directory):
        assert is_running(directory) is None
    assert directory.entries() == {"a", "b"}


def test_a_worker_without_cores_of_its_own_starts(bare, monkeypatch):
    monkeypatch.setenv(COUNT, "2")
    dask_setup(type("Worker", (), {"name": "1"}))


def test_a_folder_that_cannot_be_opened_is_not_synced(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "a folder")  # as on Windows

    monkeypatch.setattr(os, "open", refuse)
    system.sync_folder(tmp_path)


def test_without_owners_files_are_trusted_in_the_users_profile_only(bare, tmp_path, monkeypatch):
    file = tmp_path / "code"
    file.write_bytes(b"code")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert trusted_files.read_trusted(file, most=10) == b"code"
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "elsewhere")
    with pytest.raises(trusted_files.UntrustedError, match="is outside"):
        trusted_files.read_trusted(file, most=10)


def test_a_file_that_a_reader_has_open_is_replaced_once_it_is_closed(tmp_path, monkeypatch):
    path, replace, tries = tmp_path / "a", os.replace, []

    def as_on_windows(source, target):
        tries.append(target)
        if len(tries) < 3:
            raise PermissionError(errno.EACCES, "used by another process")
        replace(source, target)

    monkeypatch.setattr(os, "replace", as_on_windows)
    with pytest.raises(PermissionError), atomic_write(path) as stream:  # not on this system
        stream.write(b"1")
    monkeypatch.setattr(sys, "platform", "win32")
    with atomic_write(path) as stream:
        stream.write(b"2")
    assert (path.read_bytes(), len(tries)) == (b"2", 3)
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_stays_open_is_an_error_in_the_end(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EACCES, "used by another process")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(system, "_REPLACE_SECONDS", 0.05)
    with pytest.raises(PermissionError), atomic_write(tmp_path / "a") as stream:
        stream.write(b"1")
    assert os.listdir(tmp_path) == []


def test_memory_is_asked_of_what_there_is(monkeypatch):
    pytest.importorskip("resource")
    monkeypatch.setattr(system, "_lines", lambda path: [])
    kibibytes = system.peak_memory()
    assert 1e7 < kibibytes < 1e11
    monkeypatch.setattr(sys, "platform", "darwin")  # which counts bytes
    assert abs(1024 * system.peak_memory() / kibibytes - 1.0) < 0.5


@pytest.mark.skipif(not system.has_locks(), reason="needs locks")
def test_a_lock_is_seen_until_it_is_released(tmp_path):
    with open(tmp_path / "a", "wb") as stream, open(tmp_path / "a", "rb") as other:
        assert system.is_locked(other.fileno()) is False
    with open(tmp_path / "a", "wb") as stream, open(tmp_path / "a", "rb") as other:
        system.lock(stream)
        assert system.is_locked(other.fileno()) is True


@pytest.mark.skipif(not hasattr(system.signal, "pthread_sigmask"), reason="needs masks of signals")
def test_a_thread_started_without_ctrl_c_does_not_take_it():
    masks = []
    with system.without_ctrl_c():
        thread = threading.Thread(target=lambda: masks.append(system.signal.pthread_sigmask(0, set())))
        thread.start()
    thread.join()
    assert system.signal.SIGINT in masks[0]
    assert system.signal.SIGINT not in system.signal.pthread_sigmask(0, set())


# --- all of them at once ---------------------------------------------------------------------------------

SPEC = """
data = "chinchilla"
resamples = 20
flops = [1e20, 1e21]
[[sweeps]]
family = "multiplicative"
values = [0.5, 2.0]
"""
BARE = """
import os, pathlib, signal, sys
# Other packages have their own ways on each system: they are loaded before this one looks like another.
import click, jinja2, pandas, pyarrow.parquet, jax, jaxlib, optax, multiprocessing
import matplotlib.backends.backend_agg, matplotlib.pyplot
if "KERNEL" == "yes":
    import llvmlite.binding
else:
    sys.modules["llvmlite"] = None

LACKS = {
    os: "sched_getaffinity sched_setaffinity fork forkpty getuid geteuid getgid uname chown fchown getpgid "
        "killpg setsid mkfifo statvfs register_at_fork getloadavg nice sync pread pwrite posix_fadvise "
        "confstr link O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC O_CLOEXEC",
    signal: "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGPIPE SIGCHLD SIGTSTP alarm pthread_sigmask "
            "pthread_kill sigwait setitimer pause siginterrupt",
}
for module, names in LACKS.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"):
    sys.modules[name] = None
read_text = pathlib.Path.read_text
def no_proc(self, *arguments, **options):
    if str(self).startswith("/proc"):
        raise FileNotFoundError(2, "no such file", str(self))
    return read_text(self, *arguments, **options)
pathlib.Path.read_text = no_proc
sys.platform = "SYSTEM"
"""
COMMAND = """
from chinchilla_jax import cli
sys.exit(cli.main(sys.argv[1:]))
"""
LIBRARY = """
import chinchilla_jax as cj
from chinchilla_jax.solvers.engine_choice import auto_engine
runs = cj.load_runs("chinchilla", params="standard")
fit = cj.fit(runs, starts=16)
boot = cj.bootstrap(runs, resamples=8)
assert fit.status.name == "CONVERGED" and (boot.status == "CONVERGED").all()
drawn = sys.argv[2] == "figures"
study = cj.run_study(cj.StudySpec(resamples=8, flops=(1e20, 1e22)), sys.argv[1], figures=drawn)
assert cj.open_study(sys.argv[1]).params.equals(study.params) and (len(study.figures) > 0) == drawn
boot.save(sys.argv[1] + "/kept")
assert cj.load(sys.argv[1] + "/kept").seed == boot.seed
print(auto_engine()[0], repr(float(fit.law.alpha)), repr(float(boot.laws.alpha[7])))
"""


def on(name, kernel, program, *arguments, **options):
    code = BARE.replace("SYSTEM", name).replace("KERNEL", "yes" if kernel else "no") + program
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["win32", "darwin"])
def test_a_system_without_what_only_unix_has_runs_a_study(tmp_path, name):
    (tmp_path / "spec.toml").write_text(SPEC)
    done = on(name, True, COMMAND, "study", "spec.toml", "--out", "out", "--no-figures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").exists()
    assert (tmp_path / "out" / "summary" / "params.parquet").exists()


@pytest.mark.slow
def test_the_library_works_there_by_either_engine(tmp_path):
    asked = ((True, "figures"), (False, "no figures"))
    done = [on("win32", kernel, LIBRARY, tmp_path / str(kernel), drawn) for kernel, drawn in asked]
    assert [each.returncode for each in done] == [0, 0], done[0].stderr + done[1].stderr
    (one, *lanes), (other, *xla) = (each.stdout.split() for each in done)
    assert (one, other) == ("lanes", "xla")  # both were XLA while nothing could end the kernel's compiler
    assert [float(word) for word in lanes] == pytest.approx([float(word) for word in xla], rel=1e-6)
