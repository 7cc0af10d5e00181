"""Which runs of a table share part of their errors, and how much: what simulated data sets then share too."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import list_text
from chinchilla_jax.analysis.coverage_noise import variance_shares
from chinchilla_jax.bootstrapping.dependence import measure_dependence
from chinchilla_jax.datasets.groupings import members_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult

_GROUPS = {"params": "of one size", "flops": "of one budget", "replicates": "of one configuration"}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Shared:
    """A grouping of the runs, and what runs of one group share of their errors.

    Attributes:
        by: as for `Cluster(by=...)`.
        members: group of each run, (n,).
        correlation: of the errors of two runs of one group that share no other, 0 to 1.
        p: of a permutation test of no correlation; NaN where it was not tested.
    """

    by: str
    members: NDArray[np.int64]
    correlation: float
    p: float = math.nan


def shared_errors(runs: Runs, point: FitResult, groups: str, correlation: float | None) -> tuple[Shared, ...]:
    """The groups of that name, with the correlation given or estimated from the residuals of the fit.

    Args:
        runs: n runs.
        point: their fit.
        groups: "none"; "params", "flops", "replicates" or a column that the runs carry; or "auto" for every
            grouping that `measure_dependence` finds correlated.
        correlation: None to estimate it.

    Returns:
        None for "none", one for a name, any number for "auto", from the finest to the coarsest.

    Raises:
        UsageError: there are no such groups, they are all single runs, or there is only one.
    """
    if groups == "none":
        return ()
    slopes = point.model.jacobian(point.theta, point.model.design(runs))
    tested = {groups: math.nan}
    if groups == "auto":
        measured = measure_dependence(runs, point.residuals, derivatives=slopes, weights=point.weights)
        tested = {each.by: each.p for each in measured.groupings if each.is_correlated}
    members = {by: members_of(runs, by) for by in tested}
    for by, numbers in members.items():
        if not 2 <= int(numbers.max()) + 1 < len(numbers):
            raise UsageError(
                f"coverage: the groups {by!r} of {runs.name} are all single runs, or one group of them all; "
                "give other groups, or groups='none'"
            )
    shares = variance_shares(point.residuals, list(members.values()), slopes).tolist()
    return tuple(
        Shared(by=by, members=members[by], correlation=share if correlation is None else correlation, p=p)
        for (by, p), share in zip(tested.items(), shares, strict=False)
    )


def sentence(shared: tuple[Shared, ...]) -> str:
    """What is simulated, in a few words."""
    if not shared:
        return "every run errs on its own"
    texts = [
        f"{_GROUPS.get(each.by, f'with the same {each.by!r}')} are correlated by {each.correlation:.2f} "
        f"({int(each.members.max()) + 1} groups)"
        for each in shared
    ]
    return f"errors of runs {list_text(texts)}"
