"""Programs that XLA has compiled, kept between runs of the command line.

Only the command line does this, for its own process: a program that imports the library decides for itself,
through JAX's own settings. The folder is that of compiled_code.py; where JAX_COMPILATION_CACHE_DIR is set,
JAX's own setting stands.
"""

from __future__ import annotations

import os

from chinchilla_jax._util import cache_dir as compiled_code

_WORTH_KEEPING = "0.1"  # seconds of compilation


def keep_compiled_programs() -> None:
    """Point JAX, which must not be imported yet, to the cache; where none can be written, do without."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = compiled_code.folder()
    if folder is not None:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _WORTH_KEEPING)
