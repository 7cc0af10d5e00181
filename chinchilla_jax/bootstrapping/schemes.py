"""Ways to resample, as weights on the same runs: a fit of any scheme is one lane of the solver.

Notation
    n            runs
    weights      w_ri, of run i in resample r; (R, n)
    factor       by what deviations from the point are multiplied to have the spread of the estimate itself

| scheme      | weights                                         | factor            | source              |
|-------------|-------------------------------------------------|-------------------|---------------------|
| `Pairs`     | counts of n draws with replacement              | 1                 | Efron 1979          |
| `Cluster`   | counts of whole clusters drawn with replacement | 1                 | DH 1997, 3.8        |
| `Bayesian`  | n times Dirichlet(1, ..., 1)                    | 1                 | Rubin 1981          |
| `MOutOfN`   | counts of m draws with replacement              | sqrt(m / n)       | Bickel et al. 1997  |
| `Jackknife` | all runs but one                                | (n - 1) / sqrt(n) | ET 1993, 11         |
| `DeleteD`   | all runs but d, drawn without replacement       | sqrt((n - d) / d) | Shao & Wu 1989      |
| `Wild`      | 1 on one of two copies of each run, see below   | 1                 | Liu 1988            |
| `Residual`  | (none: a resample has losses of its own)        | 1                 | Efron 1979          |

DH: Davison & Hinkley, Bootstrap Methods and their Application. ET: Efron & Tibshirani, An Introduction to the
Bootstrap.

The wild bootstrap changes losses and not weights. With signs for multipliers there are only two losses a run
can have, so that a table of 2n runs holds them all and a resample is a choice between them. The residual
bootstrap gives a run any of n losses and fits into no such table: each of its resamples is solved as a data
set of its own, at tens of fits a second, where the others have tens of thousands.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.validation import positive_number, whole_number
from chinchilla_jax.bootstrapping import weights as resample
from chinchilla_jax.datasets.groupings import BUILT_IN, labelled, members_of
from chinchilla_jax.laws.objectives import huber_location

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs


class Scheme(abc.ABC):
    """A way to resample; frozen values with a name."""

    name: ClassVar[str]
    quantiles: ClassVar[bool] = True
    """Whether quantiles of the resamples mean anything; of a jackknife only the spread does."""

    @abc.abstractmethod
    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.generic]:
        """Weights (R, n) of these resamples, each row a function of its id and the seed alone.

        `Wild` gives (R, 2n), for the runs that it doubles; `Residual` has none and raises `UsageError`.
        """

    def factor(self, n_runs: int) -> float:
        """By what deviations from the point are multiplied: see the table of the module."""
        return 1.0

    def count(self, runs: Runs, resamples: int) -> int:
        """How many resamples there are when `resamples` are asked for."""
        return resamples


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

    Raises:
        UsageError: a gap that is not positive, runs without such a column, or labels of another length.
    """

    name: ClassVar[str] = "cluster"
    by: str = "params"
    gap: float | None = None
    labels: ArrayLike | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
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

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        return self.counts(runs, resample_ids, seed)[:, self.members(runs)]

    def counts(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """How often each cluster is drawn, (R, m)."""
        count = int(self.members(runs).max(initial=0)) + 1
        if count < 2:
            raise UsageError(
                f"Cluster: all {len(runs)} runs are in one cluster; use a smaller gap, or labels"
            )
        bits = resample.resample_bits(count, resample_ids, seed, stream=resample.CLUSTER)
        return resample.counts_of(resample.whole_below(bits, count), count).astype(np.uint8)

    def fixed(self, runs: Runs) -> Cluster:
        """The same clusters for the runs of another table in the same order, whatever their counts."""
        return Cluster(labels=self.members(runs))

    def leave_one_out(self, runs: Runs) -> NDArray[np.uint8]:
        """Weights (m, n) without each cluster in turn."""
        members = self.members(runs)
        return (members[None, :] != np.unique(members)[:, None]).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Bayesian(Scheme):
    """Weights n Dirichlet(1, ..., 1): every run stays in, more or less."""

    name: ClassVar[str] = "bayesian"

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
        """Weights (R, n), see `Scheme.weights`."""
        bits = resample.resample_bits(len(runs), resample_ids, seed, stream=resample.BAYESIAN)
        spacings = -np.log((bits + 0.5) / 2.0**32)
        return len(runs) * spacings / spacings.sum(axis=1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class MOutOfN(Scheme):
    """m draws with replacement, m below n: right also where the bootstrap of size n is not.

    Attributes:
        m: draws per resample, 6 or more; None for n^(2/3), rounded up.
    """

    name: ClassVar[str] = "m_out_of_n"
    m: int | None = None

    def __post_init__(self) -> None:
        """Refuse a size that has no meaning."""
        if self.m is not None:
            whole_number("MOutOfN: m", self.m, low=6)

    def size(self, n_runs: int) -> int:
        """Draws per resample."""
        return max(math.ceil(n_runs ** (2 / 3)), 6) if self.m is None else int(self.m)

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        if self.size(len(runs)) > len(runs):
            raise UsageError(
                f"MOutOfN: m = {self.size(len(runs))} of {len(runs)} runs; give at most as many as there are"
            )
        bits = resample.resample_bits(self.size(len(runs)), resample_ids, seed, stream=resample.M_OUT_OF_N)
        return resample.counts_of(resample.whole_below(bits, len(runs)), len(runs)).astype(np.uint8)

    def factor(self, n_runs: int) -> float:
        """See the table of the module."""
        return math.sqrt(self.size(n_runs) / n_runs)


@dataclasses.dataclass(frozen=True)
class Jackknife(Scheme):
    """Every run left out once: n fits, whatever number of resamples is asked for."""

    name: ClassVar[str] = "jackknife"
    quantiles: ClassVar[bool] = False

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        return leave_one_out(len(runs))[resample_ids]

    def factor(self, n_runs: int) -> float:
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

    def factor(self, n_runs: int) -> float:
        """See the table of the module."""
        return math.sqrt((n_runs - self.size(n_runs)) / self.size(n_runs))


@dataclasses.dataclass(frozen=True)
class Wild(Scheme):
    """Every run keeps its counts and the size of its residual, whose sign is drawn."""

    name: ClassVar[str] = "wild"

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Weights (R, 2n) of the runs of `doubled`: first the n runs as they are, then those mirrored."""
        bits = resample.resample_bits(len(runs), resample_ids, seed, stream=resample.WILD)
        mirrored = (bits >> np.uint32(31)).astype(np.uint8)
        return np.concatenate([1 - mirrored, mirrored], axis=1)

    def doubled(self, runs: Runs, residuals: NDArray[np.float64]) -> Runs:
        """The runs, and after them the same with losses mirrored at the fitted law.

        Args:
            runs: n of them.
            residuals: log predicted minus log observed loss, (n,).
        """
        mirrored = runs.loss * np.exp(2 * residuals)
        doubled = runs.take(np.tile(np.arange(len(runs)), 2))
        return dataclasses.replace(doubled, loss=np.concatenate([runs.loss, mirrored]))


@dataclasses.dataclass(frozen=True)
class Residual(Scheme):
    """Every run keeps its counts and gets the residual of a run drawn with replacement: errors of one law."""

    name: ClassVar[str] = "residual"

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """None: always raises `UsageError`."""
        raise UsageError("Residual gives losses, not weights; see Residual.losses")

    def losses(
        self,
        runs: Runs,
        residuals: NDArray[np.float64],
        resample_ids: NDArray[np.int64],
        seed: int,
        *,
        delta: float = 1e-3,
    ) -> NDArray[np.float64]:
        """Losses (R, n) of these resamples.

        Args:
            runs: n of them.
            residuals: log predicted minus log observed loss, (n,).
            resample_ids: (R,).
            seed: whole number.
            delta: half-width of the objective's zone (log loss; may be infinite). Residuals are centred where
                their influence under it adds up to zero, see `huber_location`.
        """
        bits = resample.resample_bits(len(runs), resample_ids, seed, stream=resample.RESIDUAL)
        errors = -(residuals - huber_location(residuals, delta))
        drawn = errors[resample.whole_below(bits, len(runs))]
        return np.asarray(np.exp(np.log(runs.loss) + residuals + drawn))


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
    if isinstance(scheme, Residual | Wild) or scheme.factor(n_runs) != 1 or not scheme.quantiles:
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
