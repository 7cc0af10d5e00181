"""The normal approximation of a bootstrap of five-parameter laws, and laws drawn from it.

| code        | symbol | shape  | unit                                                   |
|-------------|--------|--------|--------------------------------------------------------|
| coordinates |        | (m, 4) | (ln A, ln B, alpha, beta) of each resample             |
| shifts      |        | (d, 4) | the same of each draw, less the centre                 |
| covariance  | S      | (4, 4) | of the same, over the resamples                        |
| z           | z      | (d, 4) | standard normal                                        |

Besiroglu et al. 2024 (arXiv:2404.10102) take their bands from such draws. The compute optimum depends on
these four coordinates alone; `draw_with_floor` adds E for quantities that contain it.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.blocks import LONG, blocks
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import resample_count, whole_number
from chinchilla_jax.intervals.replicates import check_lanes
from chinchilla_jax.laws.fitted import FittedLaws
from chinchilla_jax.laws.scaling_law import ScalingLaw

Floats = NDArray[np.float64]
_FEW = 2**14  # draws that are kept: half a megabyte
_E_STREAM = 1  # of the draws of E, beside those of the coordinates


def five_parameter_law(law: FittedLaws, method: str) -> ScalingLaw:
    """`law` if laws can be drawn from a normal around it; otherwise `UsageError`."""
    if not isinstance(law, ScalingLaw):
        raise UsageError(
            f"method {method!r} draws five-parameter laws (E, A, B, alpha, beta), and this law has "
            f"{', '.join(law.as_dict())}; use 'percentile'"
        )
    return law


def normal_coordinates(laws: ScalingLaw) -> Floats:
    """(ln A, ln B, alpha, beta) of each law, shape s + (4,): what the compute optimum depends on."""
    with np.errstate(divide="ignore"):
        columns = (np.log(laws.A), np.log(laws.B), laws.alpha, laws.beta)
    return np.stack([np.asarray(column) for column in columns], axis=-1)


def counted_coordinates(laws: ScalingLaw, counted: ArrayLike | None) -> Floats:
    """The finite `normal_coordinates` among the lanes that count, shape (m, 4)."""
    mask = check_lanes(laws, counted)
    if len(laws) <= LONG:
        return _finite_coordinates(laws, mask)
    coordinates, filled = np.empty((len(laws), 4)), 0
    for lanes in blocks(len(laws)):
        found = _finite_coordinates(laws[lanes], mask[lanes])
        coordinates[filled : filled + len(found)] = found
        filled += len(found)
    return coordinates[:filled]


def _finite_coordinates(laws: ScalingLaw, mask: NDArray[np.bool_]) -> Floats:
    coordinates = normal_coordinates(laws)
    finite = np.isfinite(coordinates)
    kept = mask if finite.all() else mask & finite.all(axis=-1)
    return coordinates if kept.all() else coordinates.take(np.flatnonzero(kept), axis=0)


def law_covariance(laws: ScalingLaw, counted: ArrayLike) -> Floats:
    """Covariance of (ln A, ln B, alpha, beta) over the lanes that count, shape (4, 4), 1/(n-1).

    Lanes count where `counted` says so and all four coordinates are finite. All NaN where fewer than two do.

    Raises:
        UsageError: shapes disagree.
    """
    return _covariance(counted_coordinates(laws, counted))


def draw_laws(
    laws: ScalingLaw, counted: ArrayLike, point_law: ScalingLaw, draws: int, seed: int
) -> ScalingLaw:
    """Laws from a normal around `point_law`, with the covariance of the laws that count: shape (draws,).

    The normal is in (ln A, ln B, alpha, beta); E, which the optimum does not contain, stays at the point's
    value. The draws are z S^(1/2) with the symmetric root, which unlike a Cholesky factor exists for a
    singular S too.

    Raises:
        UsageError: an argument is out of range.
    """
    return shifted_laws(point_law, draw_shifts(counted_coordinates(laws, counted), draws, seed))


@beyond_float64()
def draw_with_floor(
    laws: ScalingLaw, counted: ArrayLike, point_law: ScalingLaw, factor: float, draws: int, seed: int
) -> ScalingLaw:
    """`draw_laws`, with E from its normal given the other four, and all deviations times `factor`."""
    kept = laws[check_lanes(laws, counted) & np.isfinite(normal_coordinates(laws)).all(axis=-1)]
    coordinates, E = normal_coordinates(kept), np.asarray(kept.E)
    shifts = factor * draw_shifts(coordinates, draws, seed)
    centred = coordinates - (coordinates.mean(axis=0) if len(E) else 0.0)
    if len(E) < 2 or not (np.isfinite(centred).all() and np.isfinite(E - E.mean()).all()):
        return shifted_laws(point_law, shifts, np.full(draws, np.nan))
    # E given the rest: its regression on them, and what that leaves.
    slopes = np.linalg.lstsq(centred, E - E.mean(), rcond=None)[0]
    rest = float(np.std(E - E.mean() - centred @ slopes, ddof=1))
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _E_STREAM])))
    floor = point_law.E + shifts @ slopes + factor * rest * generator.standard_normal(draws)
    # No fit has a negative E; near E = 0 the normal does.
    return shifted_laws(point_law, shifts, np.maximum(floor, 0.0))


@beyond_float64()
def draw_shifts(coordinates: Floats, draws: int, seed: int) -> Floats:
    """Offset of each draw from the centre: shape (draws, 4); NaN for fewer than two resamples.

    Raises:
        UsageError: an argument is out of range.
    """
    covariance = _covariance(coordinates)
    count, seed = resample_count("draws", draws, low=1), whole_number("seed", seed)
    # The conditions of a study are compared on the same draws.
    z = _few_draws(count, seed) if count <= _FEW else philox(seed).standard_normal((count, 4))
    if not np.isfinite(covariance).all():  # too few, or too far apart for float64
        return np.full(z.shape, np.nan)
    variances, axes = np.linalg.eigh(covariance)
    return z @ ((axes * np.sqrt(np.maximum(variances, 0.0))) @ axes.T)


@functools.lru_cache(4)
def _few_draws(count: int, seed: int) -> Floats:
    z = philox(seed).standard_normal((count, 4))
    z.setflags(write=False)
    return z


def shifted_laws(point_law: ScalingLaw, shifts: Floats, floor: Floats | None = None) -> ScalingLaw:
    """The laws at `shifts` from `point_law` in (ln A, ln B, alpha, beta): shape (draws,).

    E is `floor`, or that of the point.
    """
    # Each coordinate in one piece, and read-only, so that the laws need not copy it.
    points = [shift + centre for shift, centre in zip(shifts.T, normal_coordinates(point_law), strict=True)]
    with np.errstate(over="ignore"):
        A, B = np.exp(points[0]), np.exp(points[1])
    columns = {"A": A, "B": B, "alpha": points[2], "beta": points[3]}
    for values in columns.values():
        values.setflags(write=False)
    return ScalingLaw(E=point_law.E if floor is None else floor, **columns)


def philox(seed: int) -> np.random.Generator:
    """A counter-based generator keyed by the seed alone.

    Raises:
        UsageError: `seed` is not a whole number >= 0.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(whole_number("seed", seed))))


@beyond_float64()
def _covariance(coordinates: Floats) -> Floats:
    if len(coordinates) < 2:
        return np.full((4, 4), np.nan)
    if len(coordinates) <= LONG:
        return np.asarray(np.cov(coordinates, rowvar=False))
    mean, squares = coordinates.mean(axis=0), np.zeros((4, 4))
    for lanes in blocks(len(coordinates)):  # np.cov would copy all of them
        centred = coordinates[lanes] - mean
        squares += centred.T @ centred
    return squares / (len(coordinates) - 1)
