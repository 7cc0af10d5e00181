"""Intervals from arrays of fitted laws: arithmetic alone, whatever fitted them. No JAX here."""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
