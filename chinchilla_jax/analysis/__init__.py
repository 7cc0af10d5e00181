"""Questions about trust: identities, trends, joint maps, coverage, breakdown, diagnosis, Wald tests.

What simulates and fits (`coverage`, `breakdown`, `diagnosis`) is imported from its own module.
"""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
