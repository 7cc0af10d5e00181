"""Laws drawn from the normal approximation of a bootstrap (Besiroglu et al. 2024, arXiv:2404.10102).

Only for the five-parameter law.

| code       | symbol | shape  | unit                                       |
|------------|--------|--------|--------------------------------------------|
| points     |        | (m, 4) | (ln A, ln B, alpha, beta) of each resample |
| shifts     |        | (d, 4) | the same of each draw, less the centre     |
| covariance | S      | (4, 4) | of the same, over the resamples            |
| z          | z      | (d, 4) | standard normal                            |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, whole_number
from chinchilla_jax.intervals.parameters import coordinate_covariance, counted_coordinates, normal_coordinates
from chinchilla_jax.laws.scaling_law import ScalingLaw


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
    return shifted_laws(point_law, draw_shifts(counted_coordinates(laws, converged), draws, seed))


def draw_shifts(points: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """Offset of each draw from the centre: shape (draws, 4); NaN for fewer than two points.

    Raises:
        UsageError: an argument is out of range.
    """
    covariance = coordinate_covariance(points)
    z = philox(seed).standard_normal((positive_whole("draws", draws), 4))
    if not np.isfinite(covariance).all():
        return np.full(z.shape, np.nan)
    variances, axes = np.linalg.eigh(covariance)
    return z @ ((axes * np.sqrt(np.maximum(variances, 0.0))) @ axes.T)


def shifted_laws(point_law: ScalingLaw, shifts: NDArray[np.float64]) -> ScalingLaw:
    """The laws at `shifts` from `point_law` in (ln A, ln B, alpha, beta), with its E: shape (draws,)."""
    points = normal_coordinates(point_law) + shifts
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
