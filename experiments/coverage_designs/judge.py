"""One data set under every setting: the point, the resamples' median, and the intervals, without tables."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from designs import Row
from numpy.typing import NDArray

import chinchilla_jax as cj
from chinchilla_jax.analysis.coverage_simulation import has_estimate, judged_replicates, point_of
from chinchilla_jax.bootstrapping.schemes import Cluster
from chinchilla_jax.intervals.quantities import Quantity, scaled_matrix
from chinchilla_jax.intervals.table import Intervals
from chinchilla_jax.solvers import SolverOptions, Status

QUANTITIES = ("tokens_per_param", "alpha", "beta")
LEVELS = (0.8, 0.95)
BOUNDARIES = ("keep", "drop")
OPTIONS = SolverOptions(workers=1)

JUDGED = np.dtype(
    [
        ("point", "f8"),  # on the quantity's scale: ln of the tokens per parameter; NaN without an estimate
        ("median", "f8"),
        ("low", "f8", len(LEVELS)),
        ("high", "f8", len(LEVELS)),
        ("counted", "f8"),  # shares of the resamples
        ("at_boundary", "f8"),
        ("scheme", "U16"),  # that was used
    ]
)
"""One entry for each data set, setting, way of counting the boundary, and quantity."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a data set is judged.

    Attributes:
        scheme: a name, or "known": the groups that really share errors are resampled.
        delta: half-width of Huber's zone, or "auto".
    """

    scheme: str
    delta: float | str

    @classmethod
    def read(cls, text: str) -> Setting:
        """From "scheme:delta"."""
        scheme, _, delta = text.partition(":")
        return cls(scheme, delta if delta == "auto" else float(delta))

    def __str__(self) -> str:
        """As it is read."""
        return f"{self.scheme}:{self.delta}"


def quantities(row: Row) -> list[Quantity]:
    """What is judged."""
    return [
        Quantity(name=name, flops=row.flops if name == "tokens_per_param" else math.nan)
        for name in QUANTITIES
    ]


def judged(row: Row, number: int, settings: list[Setting], resamples: int, seed: int) -> NDArray[np.void]:
    """The data set of that number under every setting; shape (settings, boundaries, quantities)."""
    runs = row.data_set(number, seed)
    found = np.empty((len(settings), len(BOUNDARIES), len(QUANTITIES)), JUDGED)
    points: dict[float | str, cj.FitResult | None] = {}
    for setting, place in zip(settings, found, strict=True):
        objective = cj.Huber(delta=setting.delta)  # type: ignore[arg-type]
        if setting.delta not in points:
            points[setting.delta] = point_of(runs, objective, OPTIONS)
        scheme: str | Cluster = setting.scheme
        if scheme == "known":
            scheme = "pairs" if row.members is None else Cluster(labels=row.members)
        boot = cj.bootstrap(
            runs,
            resamples=resamples,
            seed=seed + 1 + number,
            objective=objective,
            scheme=scheme,
            point=points[setting.delta],
            options=OPTIONS,
        )
        points[setting.delta] = boot.point
        for boundary, entries in zip(BOUNDARIES, place, strict=True):
            entries[:] = _entries(row, boot, boundary)
    return found


def _entries(row: Row, boot: cj.BootstrapResult, boundary: str) -> NDArray[np.void]:
    asked = quantities(row)
    replicates = judged_replicates(boot, boundary)
    entries = np.empty(len(asked), JUDGED)
    entries["counted"] = replicates.counted.mean()
    entries["at_boundary"] = np.mean(boot.status_codes == Status.BOUNDARY)
    entries["scheme"] = boot.scheme.name
    for name in ("point", "median", "low", "high"):
        entries[name] = np.nan
    if not has_estimate(boot, boundary) or not replicates.counted.any():
        return entries
    point = scaled_matrix(asked, replicates.point)
    values = scaled_matrix(asked, replicates.laws[replicates.counted])
    entries["point"] = point
    entries["median"] = np.nanmedian(point + replicates.factor * (values - point), axis=0)
    intervals = Intervals(replicates, asked)
    for place, level in enumerate(LEVELS):
        columns = intervals.columns(level, "percentile")
        for end in ("low", "high"):
            for i, (quantity, value) in enumerate(zip(asked, columns[end], strict=True)):
                entries[end][i, place] = math.log(value) if quantity.in_logs else value
    return entries


def truths(row: Row) -> NDArray[np.float64]:
    """The quantities of the truth, on their scales."""
    return scaled_matrix(quantities(row), row.law)
