"""Compiled programs kept between runs of the command line.

Compiling the solver takes seconds, and the same program serves every table with the same number of runs.
Only the command line does this, for its own process: a program that imports the library decides for itself,
through JAX's own settings.

| CHINCHILLA_JAX_CACHE | effect                                                              |
|----------------------|---------------------------------------------------------------------|
| not set              | $XDG_CACHE_HOME/chinchilla_jax, or ~/.cache/chinchilla_jax          |
| a folder             | there                                                               |
| off                  | nothing is kept                                                     |

Where JAX_COMPILATION_CACHE_DIR is set, JAX's own setting stands.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

VARIABLE = "CHINCHILLA_JAX_CACHE"
_WORTH_KEEPING = "0.1"  # seconds of compilation


def keep_compiled_programs() -> None:
    """Point JAX, which must not be imported yet, to the cache; where none can be written, do without."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted == "off" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = _folder(wanted)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a home that is missing or cannot be written
        return
    if os.access(folder, os.W_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _WORTH_KEEPING)


def _folder(wanted: str) -> Path:
    if wanted:
        root = Path(wanted).expanduser()
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        root = (Path(base) if base else Path.home() / ".cache") / "chinchilla_jax"
    # A home can be shared by machines whose processors differ, and code for one may not run on another.
    return root / hashlib.sha256(_processor().encode()).hexdigest()[:12]


def _processor() -> str:
    name = f"{platform.machine()} {platform.processor()}"
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return name
    wanted = ("model name", "flags", "Features", "CPU part")
    lines = {line for line in text.splitlines() if line.startswith(wanted)}
    return "\n".join([name, *sorted(lines)])
