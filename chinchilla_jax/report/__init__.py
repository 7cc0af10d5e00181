"""Running a study with its figures and its page: report.html, made from the study's tables."""

from chinchilla_jax.report.atlas import finish_atlas, run_atlas, run_atlas_shard
from chinchilla_jax.report.page import render, render_multiverse, write_report
from chinchilla_jax.report.recipes import render_comparison, write_comparison
from chinchilla_jax.report.run import finish_study, run_shard, run_study
from chinchilla_jax.report.upkeep import remake

__all__ = [
    "finish_atlas",
    "finish_study",
    "remake",
    "render",
    "render_comparison",
    "render_multiverse",
    "run_atlas",
    "run_atlas_shard",
    "run_shard",
    "run_study",
    "write_comparison",
    "write_report",
]
