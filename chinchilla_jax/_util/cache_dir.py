"""Where compiled code is kept between processes.

Compiling the solver takes seconds, and the same code serves every table.

| CHINCHILLA_JAX_CACHE | effect                                                              |
|----------------------|---------------------------------------------------------------------|
| not set              | $XDG_CACHE_HOME/chinchilla_jax, or ~/.cache/chinchilla_jax          |
| a folder             | there                                                               |
| off                  | nothing is kept                                                     |

Code is run as it was found, so the folder is used only where nobody else can write it (`trusted_files`).
"""

from __future__ import annotations

import os
from pathlib import Path

from chinchilla_jax._util.devices import processor_digest
from chinchilla_jax._util.errors import EngineWarning
from chinchilla_jax._util.trusted_files import (
    UntrustedError,
    require_trusted_content,
    require_trusted_folder,
    require_trusted_way,
)
from chinchilla_jax._util.user_warning import warn_user

VARIABLE = "CHINCHILLA_JAX_CACHE"

_said: set[str] = set()


def folder(*, whole: bool = False) -> Path | None:
    """The folder for code compiled on this kind of processor; None if there is none to write to.

    Args:
        whole: whether every file in the folder must be trusted: what is in it is read by others' code, which
            does not ask whose it is.

    Warns:
        EngineWarning: somebody else may have written there; once in a process for each reason.
    """
    try:
        return trusted_folder(whole=whole)
    except UntrustedError as reason:
        say_untrusted(reason, "compiled code is not kept and everything is compiled again in every run")
        return None


def trusted_folder(*, whole: bool = False) -> Path | None:
    """The same.

    Raises:
        UntrustedError: in place of the warning.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted == "off":
        return None
    try:
        path = _root(wanted) / processor_digest()
        _make(path)
        (require_trusted_content if whole else require_trusted_folder)(path)
    except (OSError, RuntimeError):  # a home that is missing or cannot be written
        return None
    return path if os.access(path, os.W_OK) else None


def say_untrusted(reason: UntrustedError, effect: str) -> None:
    """Warn, once in a process for each reason, that what is kept is not used."""
    text = str(reason)
    if text not in _said:
        _said.add(text)
        warn_user(f"{effect}: {text}; {VARIABLE} names another folder", EngineWarning)


def has_warned() -> bool:
    """Whether `say_untrusted` has warned in this process."""
    return bool(_said)


def _make(path: Path) -> None:
    """Make the folder and what is missing above it, for the user alone."""
    missing = [path] if not path.exists() else []
    while missing and not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    if missing:
        require_trusted_way(missing[-1].parent)
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def _root(wanted: str) -> Path:
    if wanted:
        return Path(wanted).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chinchilla_jax"
