"""Resampling whole clusters of runs. The notation is that of schemes.py; m clusters."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.bootstrapping import weights as resample
from chinchilla_jax.bootstrapping.random_bits import counts_row, random_counts
from chinchilla_jax.bootstrapping.scheme import Nested, Scheme
from chinchilla_jax.datasets.groupings import BUILT_IN, labelled, members_of
from chinchilla_jax.solvers.drawn import Row

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs


@dataclasses.dataclass(frozen=True, eq=False)
class Cluster(Scheme):
    """Whole clusters of runs drawn with replacement: runs of one model, or of one budget, err together.

    Attributes:
        by: "params" (runs of one model size), "flops" (runs of one IsoFLOP budget), "replicates" (runs of one
            configuration: the same params and tokens within rounding), or a column that the runs carry, see
            `load_runs(groups=...)`.
        gap: for params and flops, see `datasets.groupings.members_of`.
        labels: the clusters instead, any values, one for each run, shape (n,).
        concentration: None for counts of clusters drawn with replacement; a positive number c for m times
            Dirichlet(c, ..., c) weights of the m clusters, for which few are enough, see few_groups.py.

    Raises:
        UsageError: a gap or concentration that is not positive, runs without such a column, or labels of
            another length.

    Example:
        >>> cj.bootstrap(runs, resamples=20, scheme=cj.Cluster(by="flops")).scheme.text
        'cluster by flops'
    """

    name: ClassVar[str] = "cluster"
    has_jackknife: ClassVar[bool] = True
    by: str = "params"
    gap: float | None = None
    labels: ArrayLike | None = None
    concentration: float | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.concentration is not None:
            positive_number("Cluster: concentration", self.concentration, remedy="give a number such as 0.5")
        if not isinstance(self.by, str):
            raise UsageError(
                f"Cluster: by is {short(self.by)}; give {', '.join(BUILT_IN)}, or a column's name"
            )
        if self.gap is not None:
            remedy = "give a positive step in logarithms such as 0.01"
            positive_number("Cluster: gap", self.gap, remedy=remedy)
        if self.labels is not None and (self.gap is not None or self.by != "params"):
            raise UsageError("Cluster: labels say which runs belong together; leave out by and gap")

    @property
    def text(self) -> str:
        """See `Scheme.text`."""
        return f"{self.name} by {self.by}"

    def members(self, runs: Runs) -> NDArray[np.int64]:
        """Number of each run's cluster, 0, 1, ...; (n,)."""
        if self.labels is not None:
            labels = np.asarray(self.labels)
            if labels.shape != (len(runs),):
                raise UsageError(
                    f"Cluster: labels have shape {labels.shape}, give one for each of {len(runs)} runs"
                )
            return labelled(labels)
        return members_of(runs, self.by, self.gap)

    def weights(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> NDArray[np.generic]:
        """Weights (R, n), see `Scheme.weights`."""
        members = self.members(runs)
        if self.concentration is None:
            return self.counts(runs, resample_ids, seed)[:, members]
        drawn = resample.dirichlet_weights(
            self._count(members), resample_ids, seed, self.concentration, stream=resample.CLUSTER
        )
        return drawn[:, members]

    def row_of(self, runs: Runs) -> Row | None:
        """See `Scheme.row_of`; real weights are not drawn there."""
        if self.concentration is not None:
            return None
        members = self.members(runs)
        return Row(_members_row, _members_rows, (self._count(members), tuple(members.tolist())), len(runs))

    def counts(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> NDArray[np.uint8]:
        """How often each cluster is drawn, (R, m)."""
        count = self._count(self.members(runs))
        return resample.resample_weights(count, resample_ids, seed, stream=resample.CLUSTER)

    @property
    def has_nested(self) -> bool:
        """See `Scheme.has_nested`; counts have them, real weights have none."""
        return self.concentration is None

    def nested(self, runs: Runs) -> Nested:
        """See `Scheme.nested`; clusters of clusters that were drawn."""
        return Nested(lambda ids, seed: self.counts(runs, ids, seed), self.members(runs))

    def fixed(self, runs: Runs) -> Cluster:
        """See `Scheme.fixed`."""
        return Cluster(labels=self.members(runs), concentration=self.concentration)

    @staticmethod
    def _count(members: NDArray[np.int64]) -> int:
        count = int(members.max(initial=0)) + 1
        if count < 2:
            raise UsageError(
                f"Cluster: all {len(members)} runs are in one cluster; use a smaller gap, or labels"
            )
        return count

    def without_each(self, runs: Runs) -> NDArray[np.uint8]:
        """See `Scheme.without_each`."""
        members = self.members(runs)
        return (members[None, :] != np.unique(members)[:, None]).astype(np.uint8)


def _members_rows(
    count: int, members: tuple[int, ...], ids: NDArray[np.uint32], seed: int
) -> NDArray[np.uint8]:
    """Weights (R, n) of resamples."""
    return random_counts(count, ids, seed, resample.CLUSTER)[:, np.array(members)]


def _members_row(count: int, members: tuple[int, ...], seed: Any, identity: Any) -> Any:
    """Weights (n,) of one resample, in JAX."""
    return counts_row(count, count, resample.CLUSTER, seed, identity)[np.array(members)]
