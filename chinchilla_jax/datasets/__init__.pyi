from chinchilla_jax.datasets.architectures import ArchitectureTable as ArchitectureTable
from chinchilla_jax.datasets.architectures import chinchilla_architectures as chinchilla_architectures
from chinchilla_jax.datasets.catalogue import DatasetInfo as DatasetInfo
from chinchilla_jax.datasets.catalogue import dataset_info as dataset_info
from chinchilla_jax.datasets.catalogue import dataset_names as dataset_names
from chinchilla_jax.datasets.catalogue import figure_names as figure_names
from chinchilla_jax.datasets.load import load_runs as load_runs
from chinchilla_jax.datasets.runs import Runs as Runs
