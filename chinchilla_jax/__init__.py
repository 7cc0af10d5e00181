"""Bootstrap and robustness engine for neural scaling laws. The public names, and nothing else.

Importing this module is cheap: JAX and pandas are loaded when a name that needs them is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax.lazy import lazy_names

if TYPE_CHECKING:
    from chinchilla_jax.bootstrapping import BootstrapResult as BootstrapResult
    from chinchilla_jax.bootstrapping import bootstrap as bootstrap
    from chinchilla_jax.datasets import Runs as Runs
    from chinchilla_jax.datasets import load_runs as load_runs
    from chinchilla_jax.errors import ChinchillaError as ChinchillaError
    from chinchilla_jax.errors import DataError as DataError
    from chinchilla_jax.errors import DataWarning as DataWarning
    from chinchilla_jax.errors import UsageError as UsageError
    from chinchilla_jax.export import to_arviz as to_arviz
    from chinchilla_jax.fitting import FitResult as FitResult
    from chinchilla_jax.fitting import fit as fit
    from chinchilla_jax.law import ScalingLaw as ScalingLaw
    from chinchilla_jax.objective import Huber as Huber
    from chinchilla_jax.objective import HuberScale as HuberScale
    from chinchilla_jax.perturbations import Additive as Additive
    from chinchilla_jax.perturbations import LogNormalNoise as LogNormalNoise
    from chinchilla_jax.perturbations import LossLogNormalNoise as LossLogNormalNoise
    from chinchilla_jax.perturbations import LossMultiplicative as LossMultiplicative
    from chinchilla_jax.perturbations import LossOffset as LossOffset
    from chinchilla_jax.perturbations import Multiplicative as Multiplicative
    from chinchilla_jax.perturbations import SystematicBias as SystematicBias
    from chinchilla_jax.perturbations import TokensAdditive as TokensAdditive
    from chinchilla_jax.perturbations import TokensLogNormalNoise as TokensLogNormalNoise
    from chinchilla_jax.perturbations import TokensMultiplicative as TokensMultiplicative
    from chinchilla_jax.report import write_report as write_report
    from chinchilla_jax.schemes import Bayesian as Bayesian
    from chinchilla_jax.schemes import Cluster as Cluster
    from chinchilla_jax.schemes import DeleteD as DeleteD
    from chinchilla_jax.schemes import Jackknife as Jackknife
    from chinchilla_jax.schemes import MOutOfN as MOutOfN
    from chinchilla_jax.schemes import Pairs as Pairs
    from chinchilla_jax.schemes import Residual as Residual
    from chinchilla_jax.schemes import Wild as Wild
    from chinchilla_jax.solvers import SolverOptions as SolverOptions
    from chinchilla_jax.solvers import Status as Status
    from chinchilla_jax.study import Study as Study
    from chinchilla_jax.study import StudySpec as StudySpec
    from chinchilla_jax.study import open_study as open_study
    from chinchilla_jax.study import paper_study as paper_study
    from chinchilla_jax.study import run_study as run_study

__version__ = "0.1.0"

_HOME = {
    "Additive": "perturbations",
    "Bayesian": "schemes",
    "BootstrapResult": "bootstrapping",
    "ChinchillaError": "errors",
    "Cluster": "schemes",
    "DataError": "errors",
    "DataWarning": "errors",
    "DeleteD": "schemes",
    "FitResult": "fitting",
    "Huber": "objective",
    "HuberScale": "objective",
    "Jackknife": "schemes",
    "LogNormalNoise": "perturbations",
    "LossLogNormalNoise": "perturbations",
    "LossMultiplicative": "perturbations",
    "LossOffset": "perturbations",
    "MOutOfN": "schemes",
    "Multiplicative": "perturbations",
    "Pairs": "schemes",
    "Residual": "schemes",
    "Runs": "datasets",
    "ScalingLaw": "law",
    "SolverOptions": "solvers",
    "Status": "solvers",
    "Study": "study",
    "StudySpec": "study",
    "SystematicBias": "perturbations",
    "TokensAdditive": "perturbations",
    "TokensLogNormalNoise": "perturbations",
    "TokensMultiplicative": "perturbations",
    "UsageError": "errors",
    "Wild": "schemes",
    "bootstrap": "bootstrapping",
    "fit": "fitting",
    "load_runs": "datasets",
    "open_study": "study",
    "paper_study": "study",
    "run_study": "study",
    "to_arviz": "export",
    "write_report": "report",
}

__all__ = ["__version__", *sorted(_HOME)]

__getattr__, __dir__ = lazy_names(__name__, _HOME, __all__)
