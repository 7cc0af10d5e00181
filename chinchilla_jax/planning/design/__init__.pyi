from chinchilla_jax.planning.design.candidates import Limits as Limits
from chinchilla_jax.planning.design.next_runs import NextRuns as NextRuns
from chinchilla_jax.planning.design.next_runs import fits_of as fits_of
from chinchilla_jax.planning.design.next_runs import next_runs as next_runs
from chinchilla_jax.planning.design.targets import Target as Target
