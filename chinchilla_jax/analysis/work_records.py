"""What the directory of a long analysis records: all that its numbers depend on, as JSON values."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.bootstrapping.scheme import scheme_record
from chinchilla_jax.solvers import SolverOptions

if TYPE_CHECKING:
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws import Law
    from chinchilla_jax.laws.design import Design

PREDICTED = "predicted"
"""The field of `law_record` that is compared up to rounding."""
_STARTS, _PLACES = 3, 8  # of the predictions by which a law is known


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
    return {"law": law.name, PREDICTED: np.nan_to_num(predicted).ravel().tolist()}


def digest(content: bytes | object) -> str:
    """12 hex digits that tell contents apart: bytes, or JSON values."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:12]
