"""Decisions: what to train, how sure, inference included.

Every answer rests on a `LawSample`, the laws of a bootstrap (or of a study directory, or one law that is
given), and comes with a median and an interval over them.

    from chinchilla_jax import planning
    sample = planning.LawSample.from_bootstrap(cj.bootstrap(runs))
    planning.plan(sample, flops=1e24).table

Names are loaded when they are first used: the closed forms need numpy only, JAX comes with what is solved.
"""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
