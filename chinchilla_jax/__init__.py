"""Bootstrap and robustness engine for neural scaling laws. The public names, and nothing else.

Examples in docstrings begin with

    import chinchilla_jax as cj
    runs = cj.load_runs("chinchilla")
    fit, boot = cj.fit(runs), cj.bootstrap(runs, resamples=200)

Importing this module is cheap: JAX and pandas are loaded when a name that needs them is first used.
"""

from __future__ import annotations

from chinchilla_jax._util.lazy import lazy_names

__version__ = "1.0.0"

__getattr__, __dir__, __all__ = lazy_names(__name__, "__version__")
