"""Which engine was faster on this machine: a measurement, kept in the cache folder between processes.

`chinchilla-jax doctor --measure` makes it. It holds for the devices and the version of JAX that it was made
with; on others it is as if there were none.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

from chinchilla_jax._util import cache_dir
from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.trusted_files import UntrustedError, read_trusted

_FILE = "engines.json"
_MOST_BYTES = 2**20


def keep(rates: dict[str, float]) -> bool:
    """Keep certified fits per second by engine for the devices of this process; False without a cache."""
    folder = cache_dir.folder()
    if folder is None:
        return False
    path = folder / _FILE
    found = _read(path)
    found[_devices()] = rates
    try:
        with atomic_write(path) as stream:
            stream.write(json.dumps(found, indent=1).encode())
    except OSError:
        return False
    measured.cache_clear()
    return True


@functools.cache
def measured() -> dict[str, float]:
    """What was kept for these devices: certified fits per second by engine; empty where nothing was."""
    folder = cache_dir.folder()
    rates = _read(folder / _FILE).get(_devices(), {}) if folder else {}
    sound = isinstance(rates, dict) and all(
        isinstance(rate, float | int) and math.isfinite(rate) for rate in rates.values()
    )
    return {str(engine): float(rate) for engine, rate in rates.items()} if sound else {}


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        found = json.loads(read_trusted(path, most=_MOST_BYTES))
    except (OSError, ValueError, RecursionError, UntrustedError):
        return {}
    return found if isinstance(found, dict) else {}


def _devices() -> str:
    """The devices and the version of JAX, as a key."""
    from importlib.metadata import PackageNotFoundError, version

    import jax

    devices = jax.local_devices()
    try:
        jaxlib = version("jaxlib")
    except PackageNotFoundError:
        jaxlib = "unknown"
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), jaxlib {jaxlib}"
