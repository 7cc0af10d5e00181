"""Which fits count in a standard error or an interval.

A fit counts if it is certified as an optimum. The best irreducible loss E may be 0, at the edge of what it
can be (`BOUNDARY`): that is an optimum as well, and a resample that ends there says something about the law.
To leave such resamples out selects those with a larger E; where they are many, the intervals then cover too
little, with every miss on one side. Earlier versions and the published studies left them out ("drop").
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax.solvers.status import Status

BOUNDARIES = ("keep", "drop")
"""What to do with certified optima at E = 0: they count, or they are left out."""
MANY_AT_BOUNDARY = 0.05
"""Share of the resamples at E = 0 above which the interval of the other choice is shown as well."""

LEAST_FOR_INTERVAL, LEAST_SHARE = 10, 0.1
"""Resamples, and their share of all, below which there is no interval of the other choice to show."""


def read_boundary(boundary: Any) -> str:
    """`boundary`, one of `BOUNDARIES`.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(boundary, str) or boundary not in BOUNDARIES:
        raise unknown_name("boundary", boundary, BOUNDARIES)
    return boundary


def other_boundary(boundary: str) -> str:
    """The other one of `BOUNDARIES`."""
    return "drop" if read_boundary(boundary) == "keep" else "keep"


def many_at_boundary(at_boundary: NDArray[np.bool_]) -> bool:
    """Whether so many resamples (R,) end at E = 0 that the intervals of both choices should be seen."""
    return bool(np.mean(at_boundary) > MANY_AT_BOUNDARY)


def shows_other(codes: NDArray[np.integer], boundary: str) -> bool:
    """Whether the intervals of the other choice should be shown beside those of `boundary`.

    Args:
        codes: status codes of the resamples, (R,).
        boundary: the choice that was made.

    Returns:
        Whether many end at E = 0, and the other choice counts enough resamples to have an interval.
    """
    if not many_at_boundary(codes == Status.BOUNDARY):
        return False
    other = int(np.sum(counted_lanes(codes, other_boundary(boundary))))
    return other >= max(LEAST_FOR_INTERVAL, LEAST_SHARE * len(codes))


def counted_statuses(boundary: str = "keep") -> tuple[Status, ...]:
    """The statuses of fits that count."""
    if read_boundary(boundary) == "drop":
        return (Status.CONVERGED,)
    return tuple(status for status in Status if status.certified)


def counted_lanes(codes: NDArray[np.integer], boundary: str = "keep") -> NDArray[np.bool_]:
    """Which fits count, from their status codes; of the same shape."""
    counted = np.zeros(np.shape(codes), np.bool_)
    for status in counted_statuses(boundary):
        counted |= codes == status
    return counted


def counted_rows(names: ArrayLike, boundary: str = "keep") -> NDArray[np.bool_]:
    """Which fits count, from their status names, as a table of fits has them."""
    return np.isin(np.asarray(names, dtype=str), [status.name for status in counted_statuses(boundary)])
