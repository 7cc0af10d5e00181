"""Where compiled code is kept between processes.

Compiling the solver takes seconds, and the same code serves every table.

| CHINCHILLA_JAX_CACHE | effect                                                              |
|----------------------|---------------------------------------------------------------------|
| not set              | $XDG_CACHE_HOME/chinchilla_jax, or ~/.cache/chinchilla_jax          |
| a folder             | there                                                               |
| off                  | nothing is kept                                                     |
"""

from __future__ import annotations

import os
from pathlib import Path

from chinchilla_jax._util.devices import processor_digest

VARIABLE = "CHINCHILLA_JAX_CACHE"


def folder() -> Path | None:
    """The folder for code compiled on this kind of processor; None if there is none to write to."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted == "off":
        return None
    try:
        path = _root(wanted) / processor_digest()
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a home that is missing or cannot be written
        return None
    return path if os.access(path, os.W_OK) else None


def _root(wanted: str) -> Path:
    if wanted:
        return Path(wanted).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chinchilla_jax"
