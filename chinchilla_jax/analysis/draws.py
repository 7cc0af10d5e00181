"""Laws drawn from the normal approximation of a bootstrap (Besiroglu et al. 2024, arXiv:2404.10102).

| code       | symbol | shape  | unit                                       |
|------------|--------|--------|--------------------------------------------|
| points     |        | (d, 4) | (ln A, ln B, alpha, beta) of each draw     |
| covariance | S      | (4, 4) | of the same, over the resamples            |
| z          | z      | (d, 4) | standard normal                            |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from chinchilla_jax.analysis.intervals import law_covariance, normal_coordinates
from chinchilla_jax.errors import UsageError, whole_number
from chinchilla_jax.law import ScalingLaw


def draw_laws(
    laws: ScalingLaw, converged: ArrayLike, point_law: ScalingLaw, draws: int, seed: int
) -> ScalingLaw:
    """Laws from a normal around `point_law`, with the covariance of the laws that count: shape (draws,).

    The normal is in (ln A, ln B, alpha, beta); E, which the optimum does not contain, stays at the point's
    value. The draws are z S^(1/2) with the symmetric root, which unlike a Cholesky factor exists for a
    singular S too.

    Raises:
        UsageError: an argument is out of range.
    """
    covariance = law_covariance(laws, converged)
    z = philox(seed).standard_normal((positive_whole("draws", draws), 4))
    if not np.isfinite(covariance).all():
        points = np.full(z.shape, np.nan)
    else:
        variances, axes = np.linalg.eigh(covariance)
        root = (axes * np.sqrt(np.maximum(variances, 0.0))) @ axes.T
        points = normal_coordinates(point_law) + z @ root
    with np.errstate(over="ignore"):
        A, B = np.exp(points[:, 0]), np.exp(points[:, 1])
    return ScalingLaw(E=point_law.E, A=A, B=B, alpha=points[:, 2], beta=points[:, 3])


def philox(seed: int) -> np.random.Generator:
    """A counter-based generator keyed by the seed alone.

    Raises:
        UsageError: `seed` is not a whole number >= 0.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(whole_number("seed", seed))))


def positive_whole(what: str, value: int) -> int:
    """`value` as an int, or `UsageError` where it is not a whole number of 1 or more."""
    number = whole_number(what, value)
    if number < 1:
        raise UsageError(f"{what} = 0: give 1 or more")
    return number
