"""The ways in which counts can be wrong, each a path from no error outwards, with the documented one marked.

| code       | symbol | shape | meaning                                                               |
|------------|--------|-------|-----------------------------------------------------------------------|
| distance   | x      | ()    | how far a perturbation is from none, >= 0: |ln c|, |c|, |ln s|, sigma |
| documented |        | ()    | the distance of the documented miscount                               |
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax.perturbations import FAMILIES, Perturbation, geometric_mean

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs

DOCUMENTED_ERROR = 0.152
"""Largest relative error of the standard formula on the Chinchilla models, see `counting`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Path:
    """One family in one direction: from no error to the largest that is searched.

    Attributes:
        family: name of the family.
        direction: "up" (counts or their spread grow) or "down".
        at: the perturbation at a distance.
        limit: the largest distance.
        documented: the distance of the documented miscount of 15.2%.
    """

    family: str
    direction: str
    at: Callable[[float], Perturbation]
    limit: float
    documented: float


def paths(runs: Runs, family: str, repeat: int = 0) -> list[Path]:
    """The paths of a family on these runs.

    The documented miscount of 15.2% is a factor of 1.152: for all models (multiplicative), the smallest one
    (additive), the one farthest from the geometric mean (bias), or for one standard deviation (noise). Tokens
    have none of their own; where they were derived from the compute, theirs is that of the parameters.

    Raises:
        UsageError: an unknown family, one of the losses, or counts that are not positive.
    """
    if family not in FAMILIES:
        raise unknown_name("family", family, FAMILIES)
    made = FAMILIES[family]
    if made.of == "loss":
        allowed = ", ".join(each.name for each in FAMILIES.values() if each.of != "loss")
        raise UsageError(
            f"breakdown: no miscount of losses is documented to measure {family} by; allowed: {allowed}"
        )
    counts = getattr(runs, made.of)
    mu, smallest = geometric_mean(counts), float(counts.min())
    if math.isnan(mu):
        raise UsageError(f"breakdown: {runs.name} has counts that are not positive")
    factor = math.log1p(DOCUMENTED_ERROR)

    def path(direction: str, at: Callable[[float], float], limit: float, documented: float) -> Path:
        return Path(
            family=family,
            direction=direction,
            at=lambda x: made(at(x), repeat),
            limit=limit,
            documented=documented,
        )

    if made.form == "multiplicative":
        limit = math.log(1e3)
        return [path("up", math.exp, limit, factor), path("down", lambda x: math.exp(-x), limit, factor)]
    if made.form == "additive":
        documented = DOCUMENTED_ERROR * smallest
        return [
            path("up", float, 10 * mu, documented),
            path("down", lambda x: -x, 0.999 * smallest, documented),
        ]
    if made.form == "systematic_bias":
        reach = factor / float(np.abs(np.log(counts / mu)).max())
        limit = math.log(10.0)
        return [
            path("up", math.exp, limit, math.log1p(reach)),
            path("down", lambda x: math.exp(-x), limit, -math.log1p(-reach)),
        ]
    return [path("up", float, 10**0.5, factor)]


def documented_sizes(runs: Runs, family: str) -> list[float]:
    """The sizes of the documented miscount, up and down; empty for a family of the losses.

    Raises:
        UsageError: an unknown family, or counts that are not positive.
    """
    if family in FAMILIES and FAMILIES[family].of == "loss":
        return []
    return [size_at(path, path.documented) for path in paths(runs, family)]


def size_at(path: Path, distance: float) -> float:
    """The size at a distance; beyond every size it is infinite, or for sizes that shrink, 0 or -inf."""
    if math.isinf(distance):
        additive_down = FAMILIES[path.family].form == "additive" and path.direction == "down"
        return -math.inf if additive_down else math.inf if path.direction == "up" else 0.0
    return path.at(distance).value
