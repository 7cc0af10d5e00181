"""Programs that XLA has compiled, kept between processes.

Compiling the solver for a law takes seconds, and the same program serves every table with as many runs. The
folder is that of `cache_dir`; JAX_COMPILATION_CACHE_DIR, or JAX's own setting, takes precedence. JAX runs
what it finds there and does not ask who wrote it, so that all of the folder must be trusted.

The command line points JAX to the folder for its whole process. The library changes no setting of a process
that imports it: it points JAX there while it compiles a solver, and back.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from chinchilla_jax._util import cache_dir

_WORTH_KEEPING = "0.1"  # seconds of compilation
_SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
_lock = threading.Lock()


def keep_programs_of_process() -> None:
    """Point JAX, which must not be imported yet, to the cache; without a folder to trust, do nothing."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = cache_dir.folder(whole=True)
    if folder is not None:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _WORTH_KEEPING)


@contextlib.contextmanager
def kept_programs() -> Iterator[None]:
    """Have what is compiled inside looked for in the cache, and kept there.

    One thread at a time is inside. What other threads compile meanwhile may be kept too, and is harmless.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    with _lock:
        before = {name: getattr(jax.config, name) for name in _SETTINGS}
        folder = None if before[_SETTINGS[0]] else cache_dir.folder(whole=True)
        if folder is None:
            yield
            return
        try:
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", float(_WORTH_KEEPING))
            compilation_cache.reset_cache()
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()


class KeptProgram:
    """A function of arrays, compiled once for each shape of its arguments, and kept between processes."""

    def __init__(self, function: Callable[..., Any], compiler_options: dict[str, Any] | None = None) -> None:
        """The function and how it is compiled, both as `jax.jit` takes them."""
        self.function, self._options = function, compiler_options
        self._lock = threading.Lock()
        self._programs: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns, on the default device."""
        import jax

        key = tuple((x.shape, x.dtype) for x in jax.tree.leaves(arguments))
        with self._lock:
            if key not in self._programs:
                lowered = jax.jit(self.function, compiler_options=self._options).lower(*arguments)
                with kept_programs():
                    self._programs[key] = lowered.compile()
        return self._programs[key](*arguments)
