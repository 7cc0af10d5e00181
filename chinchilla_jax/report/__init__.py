"""Running a study with its figures and its page: report.html, made from the study's tables."""

from chinchilla_jax.report.page import render, write_report
from chinchilla_jax.report.run import add_report, finish_study, run_shard, run_study

__all__ = ["add_report", "finish_study", "render", "run_shard", "run_study", "write_report"]
