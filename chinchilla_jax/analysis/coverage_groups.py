"""Which runs of a table share part of their errors, and how much: what simulated data sets then share too."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis.coverage_noise import intraclass_correlation
from chinchilla_jax.bootstrapping.dependence import measure_dependence
from chinchilla_jax.datasets.groupings import members_of
from chinchilla_jax.laws.design import Design

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult

_UNITS = {"params": "size", "flops": "budget", "replicates": "configuration"}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SharedErrors:
    """Groups of runs and the correlation of errors within them.

    Attributes:
        name: as for `Cluster(by=...)`; "none" where every run errs on its own.
        members: group of each run, (n,); None for "none".
        correlation: of the errors of two runs of one group, 0 to 1.
        p: of a permutation test of no correlation; NaN where it was not tested.
    """

    name: str = "none"
    members: NDArray[np.int64] | None = None
    correlation: float = 0.0
    p: float = np.nan

    @property
    def sentence(self) -> str:
        """What is simulated, in a few words."""
        if self.members is None:
            return "every run errs on its own"
        unit, count = _UNITS.get(self.name, self.name), int(self.members.max()) + 1
        return f"errors of runs of one {unit} are correlated by {self.correlation:.2f} ({count} groups)"


def shared_errors(runs: Runs, point: FitResult, groups: str, correlation: float | None) -> SharedErrors:
    """The groups of that name, with the correlation given or estimated from the residuals of the fit.

    Args:
        runs: n runs.
        point: their fit.
        groups: "none"; "params", "flops", "replicates" or a column that the runs carry; or "auto" for the
            grouping that `measure_dependence` finds correlated with the smallest p, if it finds any.
        correlation: None to estimate it.

    Raises:
        UsageError: there are no such groups, they are all single runs, or there is only one.
    """
    if groups == "none":
        return SharedErrors()
    slopes = point.model.jacobian(point.theta, Design.from_runs(runs))
    p = np.nan
    if groups == "auto":
        measured = measure_dependence(runs, point.residuals, derivatives=slopes, weights=point.weights)
        related = [each for each in measured.groupings if each.is_correlated]
        if not related:
            return SharedErrors()
        best = min(related, key=lambda each: each.p)
        groups, p = best.by, best.p
    members = members_of(runs, groups)
    if not 2 <= int(members.max()) + 1 < len(members):
        raise UsageError(
            f"coverage: the groups {groups!r} of {runs.name} are all single runs, or one group of them all; "
            "give other groups, or groups='none'"
        )
    if correlation is None:
        correlation = intraclass_correlation(point.residuals, members, slopes)
    return SharedErrors(name=groups, members=members, correlation=correlation, p=p)
