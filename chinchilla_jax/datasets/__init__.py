"""Training runs: embedded tables with their provenance, and tables from users."""

from chinchilla_jax.datasets.architectures import ArchitectureTable, chinchilla_architectures
from chinchilla_jax.datasets.catalogue import DatasetInfo, dataset_info, dataset_names, figure_names
from chinchilla_jax.datasets.load import load_runs
from chinchilla_jax.datasets.runs import Runs

__all__ = [
    "ArchitectureTable",
    "DatasetInfo",
    "Runs",
    "chinchilla_architectures",
    "dataset_info",
    "dataset_names",
    "figure_names",
    "load_runs",
]
