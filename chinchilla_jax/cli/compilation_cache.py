"""Programs that XLA has compiled, kept between runs of the command line.

Only the command line does this, for its own process: a program that imports the library decides for itself,
through JAX's own settings. The folder is that of `_util.cache_dir`; JAX_COMPILATION_CACHE_DIR, if set,
takes precedence.
"""

from __future__ import annotations

import os

from chinchilla_jax._util import cache_dir

_WORTH_KEEPING = "0.1"  # seconds of compilation


def keep_compiled_programs() -> None:
    """Point JAX, which must not be imported yet, to the cache; without a writable folder, do nothing."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = cache_dir.folder()
    if folder is not None:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _WORTH_KEEPING)
