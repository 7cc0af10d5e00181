"""Ways to resample, as weights on the same runs: a fit of any scheme is one lane of the solver.

Notation
    n, p         runs, parameters of the law
    weights      w_ri, of run i in resample r; (R, n)
    factor       by what deviations from the point are multiplied to have the spread of the estimate itself

| scheme      | weights                                       | factor                  | source             |
|-------------|-----------------------------------------------|-------------------------|--------------------|
| `Pairs`     | counts of n draws with replacement            | 1                       | Efron 1979         |
| `Cluster`   | counts or Dirichlet weights of whole clusters | 1                       | DH 1997, 3.8       |
| `Bayesian`  | n times Dirichlet(c, ..., c)                  | 1                       | Rubin 1981         |
| `MOutOfN`   | counts of m draws with replacement            | sqrt((m - p) / (n - p)) | Bickel et al. 1997 |
| `Jackknife` | all runs but one                              | (n - 1) / sqrt(n)       | ET 1993, 11        |
| `DeleteD`   | all runs but d, drawn without replacement     | sqrt((n - d) / d)       | Shao & Wu 1989     |
| `Wild`      | (none: losses, see drawn_errors.py)           | 1                       | Liu 1988           |
| `Residual`  | (none: losses, see drawn_errors.py)           | 1                       | Efron 1979         |

DH: Davison & Hinkley, Bootstrap Methods and their Application. ET: Efron & Tibshirani, An Introduction to the
Bootstrap.

Small tables. The fit takes up p of n errors, so that residuals are smaller than errors, the more so where a
run has leverage. `Wild` and `Residual` therefore draw from residuals of the laws fitted without each run
(left_out.py), `Bayesian` has weights that vary more, and a resample of m runs is counted as having m - p.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.validation import positive_number, whole_number
from chinchilla_jax.bootstrapping import weights as resample
from chinchilla_jax.bootstrapping.drawn_errors import DrawnErrors
from chinchilla_jax.bootstrapping.drawn_errors import Residual as Residual
from chinchilla_jax.bootstrapping.drawn_errors import Wild as Wild
from chinchilla_jax.bootstrapping.scheme import Scheme as Scheme
from chinchilla_jax.datasets.groupings import BUILT_IN, labelled, members_of

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs

_LEAST_DRAWS = 25  # of `MOutOfN`: five for each parameter of the five-parameter law


@dataclasses.dataclass(frozen=True)
class Pairs(Scheme):
    """Runs drawn with replacement, loss and counts together."""

    name: ClassVar[str] = "pairs"

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        return resample.resample_weights(len(runs), resample_ids, seed)


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
    """

    name: ClassVar[str] = "cluster"
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

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.generic]:
        """Weights (R, n), see `Scheme.weights`."""
        members = self.members(runs)
        if self.concentration is None:
            return self.counts(runs, resample_ids, seed)[:, members]
        count = self._count(members)
        drawn = resample.dirichlet_weights(
            count, resample_ids, seed, self.concentration, stream=resample.CLUSTER
        )
        return drawn[:, members]

    def counts(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """How often each cluster is drawn, (R, m)."""
        count = self._count(self.members(runs))
        bits = resample.resample_bits(count, resample_ids, seed, stream=resample.CLUSTER)
        return resample.counts_of(resample.whole_below(bits, count), count).astype(np.uint8)

    def fixed(self, runs: Runs) -> Cluster:
        """The same clusters for the runs of another table in the same order, whatever their counts."""
        return Cluster(labels=self.members(runs), concentration=self.concentration)

    @staticmethod
    def _count(members: NDArray[np.int64]) -> int:
        count = int(members.max(initial=0)) + 1
        if count < 2:
            raise UsageError(
                f"Cluster: all {len(members)} runs are in one cluster; use a smaller gap, or labels"
            )
        return count

    def leave_one_out(self, runs: Runs) -> NDArray[np.uint8]:
        """Weights (m, n) without each cluster in turn."""
        members = self.members(runs)
        return (members[None, :] != np.unique(members)[:, None]).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Bayesian(Scheme):
    """Weights n Dirichlet(c, ..., c): every run stays in, more or less, so every resample determines a law.

    Rubin 1981 has c = 1. On few runs its intervals are too narrow: 80% ones cover 57 on 12 runs and 67 on 20.
    A smaller c makes the weights vary more.

    Attributes:
        concentration: c, positive; None for `weights.concentration` of n runs and p parameters.
    """

    name: ClassVar[str] = "bayesian"
    concentration: float | None = None

    def __post_init__(self) -> None:
        """Refuse a concentration that has no meaning."""
        if self.concentration is not None:
            remedy = "give a positive number such as 1"
            positive_number("Bayesian: concentration", self.concentration, remedy=remedy)

    def completed(self, n_runs: int, size: int) -> Bayesian:
        """With its concentration."""
        if self.concentration is not None:
            return self
        return Bayesian(concentration=resample.concentration(n_runs, size))

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
        """Weights (R, n), see `Scheme.weights`; c is 1 where it is None."""
        concentration = 1.0 if self.concentration is None else self.concentration
        return resample.dirichlet_weights(
            len(runs), resample_ids, seed, concentration, stream=resample.BAYESIAN
        )


@dataclasses.dataclass(frozen=True)
class MOutOfN(Scheme):
    """m draws with replacement, m below n: right also where the bootstrap of size n is not.

    Attributes:
        m: draws per resample, 6 or more; None for n^(3/4), rounded up, but at least 25 (or n). Laws of fewer
            runs are spread too widely for the factor: on 240 runs, 80% intervals of 39 cover 83 to 85%, of
            62 they cover 81 to 84%.
    """

    name: ClassVar[str] = "m_out_of_n"
    m: int | None = None

    def __post_init__(self) -> None:
        """Refuse a size that has no meaning."""
        if self.m is not None:
            whole_number("MOutOfN: m", self.m, low=6)

    def size(self, n_runs: int) -> int:
        """Draws per resample."""
        return max(math.ceil(n_runs ** (3 / 4)), min(n_runs, _LEAST_DRAWS)) if self.m is None else int(self.m)

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        if self.size(len(runs)) > len(runs):
            raise UsageError(
                f"MOutOfN: m = {self.size(len(runs))} of {len(runs)} runs; give at most as many as there are"
            )
        bits = resample.resample_bits(self.size(len(runs)), resample_ids, seed, stream=resample.M_OUT_OF_N)
        return resample.counts_of(resample.whole_below(bits, len(runs)), len(runs)).astype(np.uint8)

    def factor(self, n_runs: int, size: int = 5) -> float:
        """See the table of the module."""
        # A law of m runs has the variance of m - p. A table too small for this is resampled at its own size.
        drawn = max(self.size(n_runs) - size, 1)
        return math.sqrt(drawn / max(n_runs - size, drawn))


@dataclasses.dataclass(frozen=True)
class Jackknife(Scheme):
    """Every run left out once: n fits, whatever number of resamples is asked for."""

    name: ClassVar[str] = "jackknife"
    quantiles: ClassVar[bool] = False

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        return leave_one_out(len(runs))[resample_ids]

    def factor(self, n_runs: int, size: int = 5) -> float:
        """See the table of the module."""
        # The standard deviation of the fits has 1/(n - 1), the jackknife's (n - 1)/n of the sum of squares.
        return (n_runs - 1) / math.sqrt(n_runs)

    def count(self, runs: Runs, resamples: int) -> int:
        """One for each run."""
        return len(runs)


@dataclasses.dataclass(frozen=True)
class DeleteD(Scheme):
    """d runs left out, drawn independently each time.

    Attributes:
        d: how many; None for a fifth of the runs, rounded up.
    """

    name: ClassVar[str] = "delete_d"
    d: int | None = None

    def __post_init__(self) -> None:
        """Refuse a size that has no meaning."""
        if self.d is not None:
            whole_number("DeleteD: d", self.d, low=1)

    def size(self, n_runs: int) -> int:
        """How many runs are left out; at least six stay."""
        d = math.ceil(n_runs / 5) if self.d is None else int(self.d)
        if n_runs - d < 6:
            raise UsageError(f"DeleteD: d = {d} leaves {n_runs - d} of {n_runs} runs; leave 6 or more")
        return d

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        n, d = len(runs), self.size(len(runs))
        bits = resample.resample_bits(n, resample_ids, seed, stream=resample.DELETE)
        # Ties of 32-bit numbers are broken by position: one in 10^5 resamples of 240 runs has any.
        left_out = np.argsort(bits, axis=1, kind="stable")[:, :d]
        weights = np.ones((len(bits), n), np.uint8)
        np.put_along_axis(weights, left_out, np.uint8(0), axis=1)
        return weights

    def factor(self, n_runs: int, size: int = 5) -> float:
        """See the table of the module."""
        return math.sqrt((n_runs - self.size(n_runs)) / self.size(n_runs))


def read_scheme(scheme: Scheme | str) -> Scheme:
    """The scheme, or the one of that name.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(scheme, Scheme):
        return scheme
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise unknown_name("scheme", scheme, SCHEMES)
    kind: type[Scheme] = SCHEMES[scheme]
    return kind()


def require_weights(scheme: Scheme, n_runs: int, caller: str) -> None:
    """Refuse a scheme that is not weights on as many runs, with the spread of the estimate itself.

    Raises:
        UsageError: it is one.
    """
    if isinstance(scheme, DrawnErrors) or scheme.factor(n_runs) != 1 or not scheme.quantiles:
        raise UsageError(
            f"{caller}: scheme {scheme.name!r} does not weight as many runs; use 'pairs', 'cluster' or "
            "'bayesian'"
        )


SCHEMES = {
    kind.name: kind for kind in (Pairs, Cluster, Residual, Wild, Bayesian, MOutOfN, Jackknife, DeleteD)
}
"""The schemes by name; each is usable without arguments."""


def leave_one_out(n_runs: int) -> NDArray[np.uint8]:
    """Weights (n, n) without each run in turn."""
    return (1 - np.eye(n_runs, dtype=np.uint8)).astype(np.uint8)
