"""On which machine and by which commit something was measured."""

from __future__ import annotations

import datetime
import importlib.util
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.system import processor_facts

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("jax", "numpy", "scipy", "jaxopt", "optax", "optimistix")


def require(*modules: str) -> None:
    """End in one line where one of the modules, which only benchmarks need, is not installed."""
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        script = Path(sys.argv[0]).name
        raise SystemExit(f"{script}: needs {' and '.join(missing)}; install what benchmarks/README.md names")


def today() -> str:
    """As 2026-11-28."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def commit() -> str:
    """The commit that is checked out, with a plus where files differ from it; empty outside a repository."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty=+", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def processor() -> str:
    """The processor's name, and whether it has AVX-512, where Linux says so."""
    facts = dict(line.split(":", 1) for line in processor_facts() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    name = facts.get("model name", platform.processor() or platform.machine())
    return f"{name}, AVX-512" if "avx512f" in facts.get("flags", "").split() else name


def machine() -> dict[str, str]:
    """What it is and what it runs, in words."""
    return {
        "processor": processor(),
        "cores": str(available_cores()),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def clocked(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call returns, its elapsed seconds, and its CPU seconds in all threads."""
    begun, used = time.perf_counter(), time.process_time()
    found = call()
    return found, time.perf_counter() - begun, time.process_time() - used


def cpu_seconds() -> float:
    """CPU time so far of this process and of the children that have ended; elapsed time on Windows."""
    if sys.platform == "win32":  # which does not count children
        return time.perf_counter()
    import resource

    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
