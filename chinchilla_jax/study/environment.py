"""What a study ran on: versions and devices, for study.json."""

from __future__ import annotations

import functools
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chinchilla_jax._util.devices import accelerated, available_cores, instruction_set
from chinchilla_jax._util.system import c_library

PACKAGE = "chinchilla_jax"
_LIBRARIES = ("jax", "jaxlib", "llvmlite", "optax", "numpy", "pandas", "pyarrow")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result can depend on; "unknown" if not installed."""
    return dict(_versions())


@functools.cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    found |= {name: _version(name) for name in (PACKAGE, *_LIBRARIES)}
    return found


@functools.cache
def _version(name: str) -> str:
    if name == PACKAGE:  # of the code that runs: an editable installation keeps the version it was made with
        return str(sys.modules[PACKAGE].__version__)
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def drawn_by() -> dict[str, str]:
    """Versions of what draws the figures and writes the page of a study."""
    return {name: _version(name) for name in (PACKAGE, "matplotlib")}


def made_on() -> str:
    """What the last digits of a chunk depend on beside `versions`: accelerator, instruction set, C library.

    The library is not among the versions, of which earlier versions of this package know all names.
    """
    kind = device()["kind"]
    parts = ("" if kind == "cpu" else kind, instruction_set(), c_library())
    return ", ".join(filter(None, parts))


def device() -> dict[str, Any]:
    """The devices that compute, and the cores of the host that this process may use."""
    found: dict[str, Any] = {"platform": "cpu", "kind": "cpu", "count": 1}
    if accelerated():
        import jax

        devices = jax.local_devices()
        first = devices[0]
        found = {"platform": first.platform, "kind": first.device_kind, "count": len(devices)}
    return found | {"machine": platform.machine(), "cores": available_cores()}
