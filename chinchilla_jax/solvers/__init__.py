"""Batched solvers behind one contract, see `solvers.base`; `solve` chooses among them."""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
