"""Training runs: embedded tables with their provenance, and tables from users."""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
