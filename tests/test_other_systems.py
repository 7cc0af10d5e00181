"""Systems other than Linux: nothing is needed that only Linux or only Unix has.

All of that is taken away from Python before the package is imported. The gate also
type-checks the package for macOS and Windows, which finds every other use of such names.
"""

import subprocess
import sys

import pytest

SPEC = """
data = "chinchilla"
resamples = 20
flops = [1e20, 1e21]
[[sweeps]]
family = "multiplicative"
values = [0.5, 2.0]
"""
PROGRAM = """
import os, pathlib, signal, sys
# Other packages have their own ways on each system: they are loaded before this one looks like another.
import click, jinja2, llvmlite.binding, pandas, pyarrow.parquet
import matplotlib.backends.backend_agg, matplotlib.pyplot

LACKS = {
    os: "sched_getaffinity sched_setaffinity fork forkpty getuid geteuid getgid uname chown fchown getpgid "
        "killpg setsid mkfifo statvfs register_at_fork getloadavg nice sync pread pwrite posix_fadvise "
        "O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC",
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
sys.platform = "win32"

from chinchilla_jax import cli
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_system_without_what_only_unix_has_runs_a_study(tmp_path):
    (tmp_path / "spec.toml").write_text(SPEC)
    command = [sys.executable, "-c", PROGRAM, "study", "spec.toml", "--out", "out", "--no-figures"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").exists()
    assert (tmp_path / "out" / "summary" / "params.parquet").exists()
