"""What a Wald test compares: the coordinates of a law, and their errors. The notation is that of wald.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.validation import non_negative_number
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs

Floats = NDArray[np.float64]
COORDINATES = ("ln A at the mean ln N", "ln B at the mean ln D", "ln E", "alpha", "beta")
COMPARED = {"exponents": (3, 4), "all": (0, 1, 2, 3, 4)}
"""What can be compared, as positions in `COORDINATES`."""
LN_E = 2


def read_compared(compare: str) -> tuple[int, ...]:
    """Positions in `COORDINATES` of what is compared.

    Raises:
        UsageError: `compare` is not out of `COMPARED`.
    """
    if compare not in COMPARED:
        raise unknown_name("comparison", compare, COMPARED)
    return COMPARED[compare]


@beyond_float64()
def coordinates(laws: ScalingLaw, runs: Runs) -> Floats:
    """The five coordinates x of laws, shape (..., 5); -inf for a parameter that is 0 and has a logarithm."""
    alpha, beta = np.asarray(laws.alpha), np.asarray(laws.beta)
    return np.stack(
        [
            np.log(laws.A) - alpha * np.mean(np.log(runs.params)),
            np.log(laws.B) - beta * np.mean(np.log(runs.tokens)),
            np.log(laws.E),
            alpha,
            beta,
        ],
        axis=-1,
    )


def has_coordinates(law: ScalingLaw, chosen: tuple[int, ...]) -> bool:
    """Whether a law has the coordinates that are compared."""
    names = PARAMETERS if LN_E in chosen else PARAMETERS[3:]
    values = [float(getattr(law, name)) for name in names]
    return all(map(math.isfinite, values)) and (LN_E not in chosen or min(values[:3]) > 0)


def law_covariance(law: ScalingLaw, errors: Sequence[float], runs: Runs, chosen: tuple[int, ...]) -> Floats:
    """Covariance (k, k) of the coordinates of a law with these standard errors, by the delta method.

    Raises:
        UsageError: not one error for each parameter compared, or one that is negative.
    """
    names = PARAMETERS if LN_E in chosen else PARAMETERS[3:]
    given = np.array([non_negative_number("wald_test: errors", each) for each in errors])
    if len(given) != len(names):
        raise UsageError(
            f"wald_test: {len(given)} errors; give one for each of {', '.join(names)}, in this order"
        )
    if LN_E not in chosen:
        return np.diag(given**2)
    jacobian = np.zeros((5, 5))  # of the coordinates in (E, A, B, alpha, beta)
    jacobian[0, [1, 3]] = 1 / float(law.A), -np.mean(np.log(runs.params))
    jacobian[1, [2, 4]] = 1 / float(law.B), -np.mean(np.log(runs.tokens))
    jacobian[2, 0] = 1 / float(law.E)
    jacobian[3, 3] = jacobian[4, 4] = 1.0
    return np.asarray(jacobian @ np.diag(given**2) @ jacobian.T)
