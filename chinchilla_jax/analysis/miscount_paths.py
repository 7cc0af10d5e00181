"""The ways in which counts can be wrong: paths from no error outwards, with the documented miscount marked.

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

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.perturbations import FAMILIES, Perturbation, documented_sizes, geometric_mean

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Path:
    """One family in one direction: from no error to the largest that is searched.

    Attributes:
        family: name of the family.
        direction: "up" (counts or their spread grow) or "down".
        at: the perturbation at a distance.
        limit: the largest distance.
        documented: the distance of the documented miscount (`perturbations.documented_miscount`).
    """

    family: str
    direction: str
    at: Callable[[float], Perturbation]
    limit: float
    documented: float


def paths(runs: Runs, family: str, repeat: int = 0) -> list[Path]:
    """The paths of a family on these runs.

    Raises:
        UsageError: an unknown family, one of the losses, or counts that are not positive.
    """
    sizes = documented_sizes(runs, family)
    made = FAMILIES[family]
    if sizes is None:
        allowed = ", ".join(each.name for each in FAMILIES.values() if each.of != "loss")
        raise UsageError(
            f"breakdown: no miscount of losses is documented to measure {family} by; allowed: {allowed}"
        )
    counts = getattr(runs, made.of)
    mu, smallest = geometric_mean(counts), float(counts.min())
    lowest, highest = sizes

    def path(direction: str, at: Callable[[float], float], limit: float) -> Path:
        size = highest if direction == "up" else lowest
        return Path(
            family=family,
            direction=direction,
            at=lambda x: made(at(x), repeat),
            limit=limit,
            documented=abs(_log(size)) if made.logarithmic else abs(size),
        )

    if made.logarithmic:
        limit = math.log(1e3) if made.form == "multiplicative" else math.log(10.0)
        return [path("up", math.exp, limit), path("down", lambda x: math.exp(-x), limit)]
    if made.form == "additive":
        return [path("up", float, 10 * mu), path("down", lambda x: -x, 0.999 * smallest)]
    return [path("up", float, 10**0.5)]


def size_at(path: Path, distance: float) -> float:
    """The size at a distance; at an infinite distance inf, or for sizes that shrink 0 or -inf."""
    if math.isinf(distance):
        additive_down = FAMILIES[path.family].form == "additive" and path.direction == "down"
        return -math.inf if additive_down else math.inf if path.direction == "up" else 0.0
    return path.at(distance).value


def _log(size: float) -> float:
    return math.log(size) if size > 0 else -math.inf
