"""Robustness studies: the spec, computing one into a directory, and the directory as a result."""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
