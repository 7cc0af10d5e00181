from chinchilla_jax.planning.design.candidates import Limits as Limits
from chinchilla_jax.planning.design.diagnosis import TableDiagnosis as TableDiagnosis
from chinchilla_jax.planning.design.diagnosis import diagnose_design as diagnose_design
from chinchilla_jax.planning.design.diagnosis import diagnosis_of as diagnosis_of
from chinchilla_jax.planning.design.next_runs import NextRuns as NextRuns
from chinchilla_jax.planning.design.next_runs import fits_of as fits_of
from chinchilla_jax.planning.design.next_runs import next_runs as next_runs
from chinchilla_jax.planning.design.targets import Target as Target
