"""What the directory of a long analysis records: all that its numbers depend on, as JSON values."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.bootstrapping.scheme import scheme_record
from chinchilla_jax.laws.chinchilla import Chinchilla
from chinchilla_jax.laws.objectives import settings
from chinchilla_jax.solvers import SolverOptions

if TYPE_CHECKING:
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.laws.design import Design

ROUNDED = ("predicted", "rho")
"""Fields of these records that are compared up to rounding."""
_STARTS, _PLACES = 3, 8  # of the predictions by which a law is known
_RESIDUALS = np.array([-3.0, -1.0, -0.3, 0.2, 0.7, 2.0])  # at which an objective is known, in its own unit


def resampling_record(
    runs: Runs,
    scheme: Scheme | str,
    *,
    resamples: int,
    seed: int,
    weights: NDArray[np.float64] | None,
    options: SolverOptions | None,
) -> dict[str, Any]:
    """The runs with their weights (n,), how they are resampled, and how hard the solver tries."""
    solver = options or SolverOptions()
    return {
        "data_hash": runs.data_hash,
        "weights": None if weights is None else digest(weights.astype("<f8").tobytes()),
        "resamples": int(resamples),
        "seed": int(seed),
        "scheme": scheme_record(scheme),
        "decrement": solver.tolerance,
        "max_steps": solver.max_steps,
        "precision": solver.precision,
    }


def law_record(law: Law, design: Design) -> dict[str, Any]:
    """A law by its name and by losses that it predicts: laws of users may change under one name."""
    some = np.unique(np.linspace(0, len(design.log_loss) - 1, _PLACES).astype(int))
    places = [column[some] for column in design.places]
    with np.errstate(all="ignore"):
        predicted = law.log_losses(law.starts(design, _STARTS), places, design)
    return {"law": law.name, "predicted": np.nan_to_num(predicted).ravel().tolist()}


def model_record(law: Law, runs: Runs) -> dict[str, Any]:
    """`law_record` of what is fitted, beside the fit itself, as `model`.

    Empty for the five-parameter law, so that its directories stay what they were.
    """
    if isinstance(law, Chinchilla):
        return {}
    known = law_record(law, law.design(runs))
    return {"model": known.pop("law"), **known}


def objective_record(objective: Objective) -> dict[str, Any]:
    """An objective by its name and settings, and one of a user's by its values too."""
    found: dict[str, Any] = settings(objective)
    rho = getattr(objective, "rho", None)
    if rho is not None:
        with float64_scope():
            found["rho"] = np.asarray(rho(_RESIDUALS)).tolist()
    return found


def file_stem(*names: str) -> str:
    """These names as one of a file."""
    return "-".join(re.sub(r"\W", "_", name, flags=re.ASCII) for name in names)


def digest(content: bytes | object) -> str:
    """12 hex digits that tell contents apart: bytes, or JSON values."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:12]
