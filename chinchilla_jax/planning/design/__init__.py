"""Which runs to train next: experimental design for scaling laws."""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
