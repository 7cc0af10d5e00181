"""What the sections of a table's page are about, and those of a study's page that are about its own runs."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from chinchilla_jax._util.labels import interval_text
from chinchilla_jax.planning.plausibility import compute_range

if TYPE_CHECKING:
    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """One bootstrap, with the choices of its page.

    Attributes:
        boot: the fits; `boot.point` is the fit of all runs.
        runs: what was fitted.
        name: of the table, for people.
        flops: budgets (FLOP) that the reader asked about, ascending.
        level: share of the resamples inside an interval.
        method: of the intervals.
    """

    boot: BootstrapResult
    runs: Runs
    name: str
    flops: tuple[float, ...]
    level: float = 0.8
    method: str = "percentile"

    @functools.cached_property
    def range(self) -> tuple[float, float] | None:
        """6 N D of the smallest and of the largest run (FLOP); None where a count is not positive."""
        return compute_range(self.runs)

    @property
    def interval(self) -> str:
        """The intervals in words: "80% interval (percentile)"."""
        return interval_text(self.level, self.method)
