"""Groups that were asked for, `Cluster` by name or by column: refused where too few, and what they are worth.

A column of seeds crosses the configurations: each of its groups holds the same ones. Such groups repeat each
other, and resampling them shows the noise of the losses alone, not what the choice of configurations does to
the law. On a table of 15 configurations of 3 seeds, correlated by 0.98 within a configuration, the 80%
interval of tokens per parameter by seed is 58 times narrower than that by configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.bootstrapping.few_groups import LEAST_GROUPS, few_groups_warning, scheme_for_few
from chinchilla_jax.bootstrapping.schemes import Cluster, Scheme
from chinchilla_jax.datasets.catalogue import is_embedded
from chinchilla_jax.datasets.groupings import members_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult

    Weights = NDArray[np.float64] | None

_CROSSED = 0.5  # of all pairs of a group and a configuration that occur, above which the groups cross them
_NAMES = {"params": "sizes", "flops": "budgets", "replicates": "configurations"}


def require_groups(scheme: Scheme, runs: Runs, weights: Weights = None) -> None:
    """Refuse clusters that are fewer than any simulation supports.

    Raises:
        UsageError: fewer than four clusters have a run that counts.
    """
    if not isinstance(scheme, Cluster):
        return
    members = _members(scheme, runs, weights)
    count = int(members.max(initial=-1)) + 1
    if 2 <= count < LEAST_GROUPS:  # a single one is refused where its weights are drawn
        why = (
            "each holds the same configurations, so they repeat each other; resample 'replicates', or leave "
            "the choice to scheme 'auto'"
            if _crosses(members, runs, weights)
            else "80% intervals from so few covered 5 to 77% in simulations; resample a finer grouping, or "
            "leave the choice to scheme 'auto'"
        )
        raise UsageError(f"scheme 'cluster': only {count} {_name(scheme)} can be resampled, and {why}")


def asked_warnings(scheme: Scheme, runs: Runs, weights: Weights = None) -> tuple[str, ...]:
    """What limits the intervals of clusters that were asked for, one sentence each; () for other schemes."""
    if not isinstance(scheme, Cluster):
        return ()
    members = _members(scheme, runs, weights)
    count, what = int(members.max(initial=-1)) + 1, _name(scheme)
    few = few_groups_warning(count, what)
    found = [] if few is None else [few]
    if _crosses(members, runs, weights):
        found.append(
            f"most of the {count} {what} hold the same configurations: if they repeat each other, as seeds "
            "do, resampling them shows only the noise of the losses, and the intervals are far too narrow; "
            "resample 'replicates' instead"
        )
    return tuple(found)


def asked_scheme(scheme: Scheme, runs: Runs, point: FitResult, *, counts: bool = False) -> Scheme:
    """The scheme, with real weights in place of counts of few clusters, as scheme "auto" has them.

    Args:
        scheme: any but `Cluster` is returned as it is, and so are clusters of an embedded table, whose counts
            are as published.
        runs: n runs.
        point: their fit, of any law.
        counts: keep counts, as resamples of resamples need them.
    """
    design = point.model.design(runs)
    if counts or not isinstance(scheme, Cluster) or is_embedded(runs) or not design.valid:
        return scheme
    return scheme_for_few(scheme, runs, point.model.jacobian(point.theta, design), point.weights)


def _name(scheme: Cluster) -> str:
    if scheme.labels is not None:
        return "groups"
    return _NAMES.get(scheme.by, f"groups by {scheme.by}")


def _members(scheme: Cluster, runs: Runs, weights: Weights) -> NDArray[np.int64]:
    members = scheme.members(runs)
    kept = members if weights is None else members[weights > 0]
    return np.unique(kept, return_inverse=True)[1].astype(np.int64)


def _crosses(members: NDArray[np.int64], runs: Runs, weights: Weights) -> bool:
    """Whether groups share most configurations: each is in more than half of the groups."""
    own = members_of(runs, "replicates")
    own = np.unique(own if weights is None else own[weights > 0], return_inverse=True)[1]
    groups, configurations = int(members.max()) + 1, int(own.max()) + 1
    pairs = np.unique(np.stack([members, own]), axis=1).shape[1]
    return configurations > 1 and pairs > max(_CROSSED * groups * configurations, configurations)
