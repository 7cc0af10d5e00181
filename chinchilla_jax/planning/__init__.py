"""Decisions: what to train for a budget, a size, a loss or a demand, and how certain that is.

Every answer comes from a `LawSample` (the laws of a bootstrap, of a study directory, or one given law) and
has a median and an interval over these laws.

    from chinchilla_jax import planning
    sample = planning.LawSample.from_bootstrap(cj.bootstrap(runs))
    planning.plan(sample, flops=1e24).table

Names are imported when first used: the closed forms need only NumPy, the solved ones JAX.
"""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
