"""The page of a study: report.html, self-contained, for people who look before they read."""

from chinchilla_jax.report.page import add_report, render, write_report
from chinchilla_jax.report.run import finish_study, run_shard, run_study

__all__ = ["add_report", "finish_study", "render", "run_shard", "run_study", "write_report"]
