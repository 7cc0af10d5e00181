"""Which runs of a table share part of their errors, and how much: what simulated data sets then share too."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis.coverage_noise import intraclass_correlation
from chinchilla_jax.bootstrapping.schemes import Cluster
from chinchilla_jax.laws.design import Design

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult

_PERMUTATIONS, _SIGNIFICANT = 999, 0.05


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SharedErrors:
    """Groups of runs and the correlation of errors within them.

    Attributes:
        name: "none", "params", "flops" or "configuration".
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
            return "errors of every run on its own"
        what = {"params": "of one size", "flops": "of one budget", "configuration": "of one configuration"}
        count = int(self.members.max()) + 1
        return f"errors of runs {what[self.name]} correlated by {self.correlation:.2f} ({count} groups)"


def shared_errors(runs: Runs, point: FitResult, groups: str, correlation: float | None) -> SharedErrors:
    """The groups of that name, with the correlation given or estimated from the residuals of the fit.

    Args:
        runs: n runs.
        point: their fit.
        groups: "none", "params", "flops", "configuration", or "auto" for the one of these three whose
            correlation has the smallest permutation p, if that is below 0.05.
        correlation: None to estimate it.

    Raises:
        UsageError: there are no groups of that name with more than one run, or only one group.
    """
    if groups == "none":
        return SharedErrors()
    if groups != "auto":
        members = _members(runs, groups)
        if not _informative(members):
            raise UsageError(
                f"coverage: groups {groups!r} of {runs.name} are all single runs, or one group of them all; "
                "give other groups, or groups='none'"
            )
        rho = _estimated(runs, point, members) if correlation is None else correlation
        return SharedErrors(name=groups, members=members, correlation=rho)
    found = []
    for name in ("configuration", "params", "flops"):
        members = _members(runs, name)
        if _informative(members):
            p = _permutation_p(point.residuals, members)
            rho = _estimated(runs, point, members)
            found.append(SharedErrors(name=name, members=members, correlation=rho, p=p))
    best = min(found, key=lambda each: each.p, default=SharedErrors())
    return best if best.p < _SIGNIFICANT and best.correlation > 0 else SharedErrors()


def _members(runs: Runs, groups: str) -> NDArray[np.int64]:
    """Group of each run, (n,)."""
    if groups != "configuration":
        return Cluster(groups).members(runs)
    sizes, budgets = Cluster("params").members(runs), Cluster("flops", gap=0.01).members(runs)
    return np.unique(sizes * len(runs) + budgets, return_inverse=True)[1].astype(np.int64)


def _informative(members: NDArray[np.int64]) -> bool:
    count = int(members.max()) + 1
    return 2 <= count < len(members)


def _estimated(runs: Runs, point: FitResult, members: NDArray[np.int64]) -> float:
    jacobian = point.model.jacobian(point.theta, Design.from_runs(runs))
    return intraclass_correlation(point.residuals, members, jacobian)


def _permutation_p(residuals: NDArray[np.float64], members: NDArray[np.int64]) -> float:
    """How often shuffled residuals vary as much between groups; always the same shuffles."""
    reach = 3 * 1.4826 * float(np.median(np.abs(residuals)))
    clipped = np.clip(residuals, -reach, reach)
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.tile(clipped, (_PERMUTATIONS, 1)), axis=1)
    groups = np.eye(int(members.max()) + 1)[members]
    sizes = groups.sum(axis=0)

    def between(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((((values @ groups) / sizes) ** 2 * sizes).sum(axis=-1))

    as_large = int(np.sum(between(shuffled) >= between(clipped) * (1 - 1e-12)))
    return (1 + as_large) / (1 + _PERMUTATIONS)
