"""Errors for simulated data sets: as unequal, and as shared between runs, as those of a fitted table.

| code     | symbol    | shape    | meaning                                                               |
|----------|-----------|----------|-----------------------------------------------------------------------|
| errors   | e_i       | (n,)     | log observed minus log predicted loss at a fit, centred               |
| members  | g_k(i)    | (n,)     | number of the group that run i belongs to in grouping k, 0, 1, ...    |
| shares   | rho_k     | (K + 1,) | of the variance: what groups share, a number for each grouping; last, |
|          |           |          | what each run has alone                                               |
| drawn    | e*_i      | (R, n)   | simulated errors                                                      |
|          | M         | (n, n)   | takes errors to the residuals of a least-squares fit: I - J J^+       |
| groups   | Z_k       | (n, G_k) | 1 where a run belongs to a group                                      |

A simulated error is the sum of sqrt(rho_k) u_k,g(i) and sqrt(rho_K) v_i: a part that all runs of a group
share, for each grouping, and one of the run's own. Two runs of one group have a correlation of rho_k,
whatever the parts are drawn from. `kind` says what that is: "residuals", the errors of any run; "signed",
plus or minus the size of the run's own error. The sum is centred at its Huber location, so that the truth is
what the estimator estimates.

`variance_shares` finds the shares from residuals. A fit with p parameters takes up part of what a group
shares, the more the fewer groups there are, and residuals alone show too little of it. The sums of squares of
M (sum Z_k u_k + v), in total and between the groups of each grouping, are expected to be known multiples of
the variances. They are equated to those of the residuals and solved (Henderson's method 3: Searle, Casella &
McCulloch 1992, Variance Components).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.bootstrapping import weights as resampling
from chinchilla_jax.bootstrapping.column_space import orthonormal_basis
from chinchilla_jax.laws.fitted import FittedLaw
from chinchilla_jax.laws.objectives import Huber, huber_location

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws.fitted import FittedLaws

NOISES = ("residuals", "signed")
_REACH = 3 * 1.4826  # of the median size, up to which a residual counts
_MOST_SUMS = 250_000  # of errors, formed to find their location


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Noise:
    """Errors of simulated data sets, functions of the seed and the number of the data set.

    Attributes:
        errors: of the fit, centred, (n,).
        kind: "residuals" or "signed".
        shared: groupings whose groups share part of their errors: group of each run (n,), and the share of
            the variance. The shares add up to at most 1.
        delta: half-width of the objective's zone, in which the errors are centred; may be infinite.
    """

    errors: NDArray[np.float64]
    kind: str = "residuals"
    shared: tuple[tuple[NDArray[np.int64], float], ...] = ()
    delta: float = 1e-3

    @classmethod
    def of_fit(
        cls,
        point: FitResult,
        *,
        kind: str = "residuals",
        shared: tuple[tuple[NDArray[np.int64], float], ...] = (),
    ) -> Noise:
        """The residuals of a fit by `Huber`, centred, as errors."""
        assert isinstance(point.objective, Huber)
        delta = point.objective.down
        errors = -(point.residuals - huber_location(point.residuals, delta))
        return cls(errors=errors, kind=kind, shared=shared, delta=delta)

    def drawn(self, numbers: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
        """Errors (R, n) of the data sets with these numbers (R,)."""
        bits = resampling.resample_bits(len(self.errors), numbers, seed, stream=resampling.SIMULATED)
        own = self._part(bits, self.errors)
        shared = [(members, share) for members, share in self.shared if share > 0]
        if not shared:
            return own
        total = math.sqrt(self._own_share) * own
        counts = [int(members.max()) + 1 for members, _ in shared]
        bits = resampling.resample_bits(sum(counts), numbers, seed, stream=resampling.SHARED)
        # A group has one sign: runs whose own errors differ in sign share it all the same.
        errors = np.abs(self.errors) if self.kind == "signed" else self.errors
        for (members, share), first in zip(shared, np.cumsum([0, *counts[:-1]]), strict=True):
            total += math.sqrt(share) * self._part(bits[:, first + members], errors)
        return np.asarray(total - self._shift)

    @property
    def _own_share(self) -> float:
        return max(1 - math.fsum(share for _, share in self.shared), 0.0)

    def _part(self, bits: NDArray[np.uint32], errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """One part of the errors from bits (R, n)."""
        if self.kind == "signed":
            return np.where(bits >> np.uint32(31), errors, -errors)
        return np.asarray(errors[resampling.whole_below(bits, len(errors))])

    @functools.cached_property
    def _shift(self) -> float:
        """Huber location of the sum of all parts; each part by itself has its location at 0."""
        if self.kind == "signed":  # symmetric
            return 0.0
        weights = [math.sqrt(share) for _, share in self.shared if share > 0] + [math.sqrt(self._own_share)]
        values = np.sort(self.errors)
        most = int(_MOST_SUMS ** (1 / len(weights)))
        if len(values) > most:  # quantiles stand for them all
            values = np.quantile(values, (np.arange(most) + 0.5) / most)
        sums = np.zeros(1)
        for weight in weights:
            sums = (sums[:, None] + weight * values).ravel()
        return huber_location(sums, self.delta)


def variance_shares(
    residuals: NDArray[np.float64],
    groupings: Sequence[NDArray[np.int64]],
    jacobian: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Shares of the variance: of what groups share, for each grouping, and last of what each run has alone.

    Args:
        residuals: (n,), of a fit. They count up to three robust standard deviations (1.4826 times the median
            size): a few outliers would hide what the others share.
        groupings: group of each run, K arrays (n,).
        jacobian: of the residuals in the parameters, (n, p); None for residuals about a known mean.

    Returns:
        (K + 1,), none negative; they add up to 1. A grouping whose variance would be negative has none.
    """
    n = len(residuals)
    reach = _REACH * float(np.median(np.abs(residuals)))
    values = np.clip(residuals, -reach, reach)[:, None] if reach else residuals[:, None]
    basis = np.empty((n, 0)) if jacobian is None else orthonormal_basis(jacobian)
    designs = [(members[:, None] == np.unique(members)) * 1.0 for members in groupings]
    # What is summed: the values themselves, and their projections on the groups of each grouping.
    projections = [np.eye(n), *(design @ (design / design.sum(axis=0)).T for design in designs)]
    apart = [design - basis @ (basis.T @ design) for design in (*designs, np.eye(n))]
    expected = np.array([[np.sum((p @ each) ** 2) for each in apart] for p in projections])
    found = np.array([np.sum((p @ values) ** 2) for p in projections])
    kept = list(range(len(apart)))
    variances = np.zeros(len(apart))
    while kept:
        # Without a variance its grouping's sum of squares goes too; the total is always used.
        sums = [0, *(1 + k for k in kept if k < len(designs))]
        solved = np.linalg.lstsq(expected[np.ix_(sums, kept)], found[sums], rcond=None)[0]
        variances[:] = 0.0
        variances[kept] = solved
        if solved.min() >= 0:
            break
        kept.remove(kept[int(solved.argmin())])
    total = variances.sum()
    own = np.zeros(len(apart))
    own[-1] = 1.0
    return np.asarray(variances / total if total > 0 else own)


def simulated_losses(
    runs: Runs, law: FittedLaws, noise: Noise, numbers: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Losses (R, n) of the data sets with these numbers (R,): L(N_i, D_i) exp(e*_i).

    Args:
        runs: the design, n runs.
        law: the truth.
        noise: the errors of the log loss.
        numbers: which data sets.
        seed: whole number.
    """
    return np.asarray(predicted(law, runs) * np.exp(noise.drawn(numbers, seed)))


def predicted(law: FittedLaws, runs: Runs) -> NDArray[np.float64]:
    """The loss (nats per token) that a single law predicts for every run, (n,)."""
    if not isinstance(law, FittedLaw):
        return np.asarray(law.loss(runs.params, runs.tokens))
    known = {**runs.variables, "flops": runs.flops}
    further = {name: known[name] for name in law.model.variables[2:]}
    return np.asarray(law.loss(runs.params, runs.tokens, **further))
