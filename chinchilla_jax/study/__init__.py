"""Robustness studies: what to run (spec, plan), running it, and the directory that holds the result."""

from chinchilla_jax.study.plan import Condition, plan_conditions
from chinchilla_jax.study.run import run_study
from chinchilla_jax.study.spec import StudySpec, Sweep, available_interpretations, paper_study
from chinchilla_jax.study.store import Study, open_study

__all__ = [
    "Condition",
    "Study",
    "StudySpec",
    "Sweep",
    "available_interpretations",
    "open_study",
    "paper_study",
    "plan_conditions",
    "run_study",
]
