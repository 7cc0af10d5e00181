"""Robustness studies: the spec, computing one into a directory, and the directory as a result."""

from chinchilla_jax.study.chunks import Shard
from chinchilla_jax.study.result import Study, open_study
from chinchilla_jax.study.run import compute_shard, compute_study
from chinchilla_jax.study.spec.conditions import Condition, plan_conditions
from chinchilla_jax.study.spec.own_table import available_interpretations
from chinchilla_jax.study.spec.paper import paper_study
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.spec.sweeps import Product, Sweep
from chinchilla_jax.study.status import StudyStatus, study_status

__all__ = [
    "Condition",
    "Product",
    "Shard",
    "Study",
    "StudySpec",
    "StudyStatus",
    "Sweep",
    "available_interpretations",
    "compute_shard",
    "compute_study",
    "open_study",
    "paper_study",
    "plan_conditions",
    "study_status",
]
