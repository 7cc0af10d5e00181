"""Controlled errors in the data about the runs, their composition, and their names in tables.

A perturbation is a frozen value that maps runs to runs. `.condition` names it ("multiplicative=0.001",
"log_normal_noise=0.31622776601683794#3"; a composition joins its parts by "|"), and `parse_condition` reads
it back. `FAMILIES` lists all families; `params` and `tokens_and_loss` define them.
"""

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
