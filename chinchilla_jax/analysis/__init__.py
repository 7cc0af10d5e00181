"""Questions about trust: coverage, influence, breakdown, diagnosis, theory, identities, trends, tests.

Each name is imported when first used.
"""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
