"""`load`: a fit or a bootstrap from the file that its `save` wrote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import ChinchillaError, DataError
from chinchilla_jax._util.saved_file import damaged, read_saved
from chinchilla_jax._util.text import visible
from chinchilla_jax.bootstrapping.audit import Audit
from chinchilla_jax.bootstrapping.dependence import Dependence, Grouping
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.bootstrapping.schemes import SCHEMES
from chinchilla_jax.datasets import Runs
from chinchilla_jax.datasets.provenance import LeftOut, Source
from chinchilla_jax.fitting.goodness import Goodness, LackOfFit
from chinchilla_jax.fitting.result import Certificate, FitResult, StartsReport
from chinchilla_jax.fitting.run_off import RunOff
from chinchilla_jax.fitting.saved_values import Reader
from chinchilla_jax.laws import LAWS, OBJECTIVES, Cost, Design, FittedLaw, ScalingLaw
from chinchilla_jax.laws.drawn_cost import CostDraws
from chinchilla_jax.laws.measured_cost import CostEvidence
from chinchilla_jax.solvers import Solution, Status

if TYPE_CHECKING:
    from chinchilla_jax.laws import Law, OwnObjective

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *LAWS.values(),
        *OBJECTIVES.values(),
        *SCHEMES.values(),
        Audit, BootstrapResult, Certificate, Cost, CostDraws, CostEvidence, Dependence, Design, FitResult,
        FittedLaw, Goodness, Grouping, LackOfFit, LeftOut, RunOff, Runs, ScalingLaw, Solution, Source,
        StartsReport, Status,
    )
}  # fmt: skip


def load(
    path: str | os.PathLike[str], *, law: Law | None = None, objective: OwnObjective | None = None
) -> FitResult | BootstrapResult:
    """The fit or the bootstrap that `save` wrote; every number of it is the same.

    Args:
        path: the file. Nothing in it is executed.
        law: the law, if it is from a function of your own (`laws.from_function`), whose fingerprint must be
            that of the law that was saved.
        objective: the objective, likewise (`objective_from_function`).

    Raises:
        DataError: the file cannot be read, is another kind of file, is damaged, or is of a later version.
        UsageError: a law or an objective of your own is missing, is another, or is given for nothing.

    Example:
        >>> path = boot.save("boot.cj")
        >>> cj.load(path).interval().equals(boot.interval())
        True
    """
    plain, arrays = read_saved(path)
    reader = Reader(_KINDS, arrays, law, objective)
    try:
        found = reader.value(plain)
        reader.require_used()
    except DataError:
        raise
    except ChinchillaError as error:
        raise type(error)(f"{visible(str(path))}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, f"{type(error).__name__} {error}") from None
    if not isinstance(found, FitResult | BootstrapResult):
        raise damaged(path, f"it holds {type(found).__name__}")
    return found
