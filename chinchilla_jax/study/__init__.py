"""Robustness studies: what to run (spec, plan), running it, and the directory that holds the result."""

from chinchilla_jax.study.plan import Condition, Shard, plan_conditions
from chinchilla_jax.study.run import compute_shard, compute_study
from chinchilla_jax.study.spec import Product, StudySpec, Sweep, available_interpretations, paper_study
from chinchilla_jax.study.status import StudyStatus, study_status
from chinchilla_jax.study.store import Study, open_study

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
