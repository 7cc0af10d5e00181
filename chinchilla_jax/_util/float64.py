"""float64 for this library's own calls only: importing or using it leaves JAX's configuration alone."""

from __future__ import annotations

from contextlib import AbstractContextManager


def float64_scope() -> AbstractContextManager[None]:
    """Context in which JAX keeps float64 arrays. Per thread, so worker threads enter it themselves."""
    import jax  # not at the head: modules that may call this are imported by commands that need no JAX

    return jax.enable_x64(True)
