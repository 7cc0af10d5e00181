"""Runs a command: in a fork of this process, which has imported everything, or in a new one."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _faults.failpoints import VARIABLE, Plan, arm

posix: Any = os  # typed for POSIX only
INJECTED = Path(__file__).with_name("injected")
_MODULES = (
    "numpy", "pandas", "pyarrow.parquet", "pyarrow.compute", "matplotlib.pyplot",
    "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf", "PIL.PngImagePlugin", "jinja2",
    "llvmlite.binding", "fsspec", "chinchilla_jax.cli.app", "chinchilla_jax.cli.study",
    "chinchilla_jax.cli.report", "chinchilla_jax.report", "chinchilla_jax.plots",
    "chinchilla_jax.cli.coverage", "chinchilla_jax.cli.breakdown", "chinchilla_jax.cli.plan",
)  # fmt: skip
LONGEST = 240.0  # seconds of a command; after that it hangs


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code, negative for a signal, None if it had to be stopped.
        said: what it wrote on stderr.
        fired: kind and path of the point where something was done; None if it never came there.
        points: kind and path of every point that it passed.
    """

    code: int | None
    said: str
    fired: tuple[str, str] | None
    points: list[tuple[str, str]]


def preload() -> None:
    """Import what commands need, so that forks need not."""
    for name in _MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def run(
    arguments: Sequence[str],
    folder: Path,
    plan: Plan | None = None,
    *,
    cold: bool = False,
    environment: Mapping[str, str] | None = None,
    source: Path | None = None,
) -> Ended:
    """Run `chinchilla-jax ARGUMENTS`.

    Args:
        arguments: of the command line.
        folder: for what it prints.
        plan: what to do to it.
        cold: in a new process.
        environment: beside this process's.
        source: the checkout to run, for a new process; None for this one.
    """
    out, err = folder / "stdout", folder / "stderr"
    log = None if plan is None else Path(plan.log)
    if log is not None:
        log.unlink(missing_ok=True)
    if cold or source is not None:
        pid = _start(arguments, out, err, plan, environment or {}, source or Path.cwd())
    else:
        pid = _fork(arguments, out, err, plan, environment or {})
    code = wait(pid)
    points, fired = [], None
    if log is not None and log.exists():
        for line in log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                _, kind, path, deed = json.loads(line)
                points.append((kind, path))
                fired = (kind, path) if deed else fired
    return Ended(code, err.read_text(errors="replace"), fired, points)


def _start(
    arguments: Sequence[str],
    out: Path,
    err: Path,
    plan: Plan | None,
    environment: Mapping[str, str],
    source: Path,
) -> int:
    path = os.pathsep.join([*([str(INJECTED)] if plan else []), str(source)])
    given = {**os.environ, **environment, "PYTHONPATH": path}
    if plan is not None:
        given[VARIABLE] = plan.to_json()
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        command = [sys.executable, "-m", "chinchilla_jax", *arguments]
        return subprocess.Popen(
            command, env=given, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=source
        ).pid


def _fork(
    arguments: Sequence[str], out: Path, err: Path, plan: Plan | None, environment: Mapping[str, str]
) -> int:
    pid = posix.fork()
    if pid:
        return pid
    try:
        for number, file in ((1, out), (2, err)):
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(handle, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, "rw"[number > 0], closefd=False) for number in range(3)
        )
        os.environ.update(environment)
        sys.argv = ["chinchilla-jax", *arguments]
        if plan is not None:
            path = [str(INJECTED), str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
            os.environ["PYTHONPATH"] = os.pathsep.join(path)
            os.environ[VARIABLE] = json.dumps(dataclasses.asdict(plan) | {"parent": os.getpid()})
            if not plan.children:
                arm(plan)
        from chinchilla_jax.cli.entry import main

        code = main()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        code = 99
    os._exit(code)


def wait(pid: int) -> int | None:
    """The exit code of a child; None if it had to be stopped."""
    end = time.monotonic() + LONGEST
    pause = 0.002
    while time.monotonic() < end:
        done, status = os.waitpid(pid, posix.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    os.kill(pid, signal.Signals["SIGKILL"])
    os.waitpid(pid, 0)
    return None
