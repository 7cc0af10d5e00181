"""Laws of the loss, the objectives they are fitted by, and the coordinates they are fitted in.

A `Law` is the contract; `LAWS` has the built-in ones by name. `ScalingLaw` is the five-parameter law with
its numbers filled in, `FittedLaw` any other.
"""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
