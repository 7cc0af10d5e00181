"""Errors for simulated data sets: as unequal, and as shared between runs, as those of a fitted table.

| code        | symbol    | shape  | meaning                                                             |
|-------------|-----------|--------|---------------------------------------------------------------------|
| errors      | e_i       | (n,)   | log observed minus log predicted loss at a fit, centred             |
| members     | g(i)      | (n,)   | number of the group that run i belongs to, 0, 1, ...                |
| correlation | rho       | ()     | of the errors of two runs of one group                              |
| drawn       | e*_i      | (R, n) | simulated errors                                                    |
|             | M         | (n, n) | takes errors to the residuals of a least-squares fit: I - J J^+     |
| groups      | Z         | (n, G) | 1 where a run belongs to a group                                    |

A simulated error is sqrt(rho) u_g(i) + sqrt(1 - rho) v_i: a part that all runs of a group share, and one of
the run's own. Two runs of a group then have a correlation of rho, whatever u and v are drawn from. `kind`
says what that is: "residuals", the errors of any run; "signed", plus or minus the size of the run's own
error, in both parts. The sum is centred at its Huber location, so that the truth is what the estimator
estimates.

`variance_shares` finds rho from residuals. A fit with p parameters takes up part of what a group shares, the
more the fewer groups there are, and residuals alone show too little of it. The expected sums of squares of
M (Z u + v), in total and within groups, are known multiples of the two variances. They are equated to those
of the residuals and solved (Henderson's method 3: Searle, Casella & McCulloch 1992, Variance Components).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.bootstrapping import weights as resampling
from chinchilla_jax.laws.objectives import huber_location

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws.scaling_law import ScalingLaw

NOISES = ("residuals", "signed")
_REACH = 3 * 1.4826  # of the median size, up to which a residual counts
_MOST_SUMS = 500  # errors whose pairwise sums are formed to find their location


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Noise:
    """Errors of simulated data sets, functions of the seed and the number of the data set.

    Attributes:
        errors: of the fit, centred, (n,).
        kind: "residuals" or "signed".
        members: group of each run, (n,); None where every run errs on its own.
        correlation: of two errors of one group, from 0 to 1.
        delta: half-width of the objective's zone, in which the errors are centred; may be infinite.
    """

    errors: NDArray[np.float64]
    kind: str = "residuals"
    members: NDArray[np.int64] | None = None
    correlation: float = 0.0
    delta: float = 1e-3

    def drawn(self, numbers: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
        """Errors (R, n) of the data sets with these numbers (R,)."""
        bits = resampling.resample_bits(len(self.errors), numbers, seed, stream=resampling.SIMULATED)
        own = self._part(bits, self.errors)
        if self.members is None or not self.correlation:
            return own
        count = int(self.members.max()) + 1
        bits = resampling.resample_bits(count, numbers, seed, stream=resampling.SHARED)
        # A group has one sign: runs whose own errors differ in sign share it all the same.
        errors = np.abs(self.errors) if self.kind == "signed" else self.errors
        shared = self._part(bits[:, self.members], errors)
        total = math.sqrt(self.correlation) * shared + math.sqrt(1 - self.correlation) * own
        return np.asarray(total - self._shift)

    def _part(self, bits: NDArray[np.uint32], errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """One part of the errors from bits (R, n)."""
        if self.kind == "signed":
            return np.where(bits >> np.uint32(31), errors, -errors)
        return np.asarray(errors[resampling.whole_below(bits, len(errors))])

    @property
    def _shift(self) -> float:
        """Huber location of the sum of two parts; each part by itself has its location at 0."""
        if self.kind == "signed":  # symmetric
            return 0.0
        values = np.sort(self.errors)
        if len(values) > _MOST_SUMS:  # quantiles stand for them all
            values = values[np.linspace(0, len(values) - 1, _MOST_SUMS).round().astype(int)]
        sums = math.sqrt(self.correlation) * values[:, None] + math.sqrt(1 - self.correlation) * values
        return huber_location(sums.ravel(), self.delta)


def variance_shares(
    residuals: NDArray[np.float64], members: NDArray[np.int64], jacobian: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Variance of what groups share and of what each run has alone, from the residuals of a fit.

    Args:
        residuals: (n,).
        members: group of each run, (n,).
        jacobian: of the residuals in the parameters, (n, p); None for residuals about a known mean.

    Returns:
        (between, within), neither negative. Residuals count up to three robust standard deviations (1.4826
        times the median size): a few outliers would hide what the others share.
    """
    n = len(residuals)
    reach = _REACH * float(np.median(np.abs(residuals)))
    residuals = np.clip(residuals, -reach, reach)
    groups = (np.unique(members, return_inverse=True)[1][:, None] == np.arange(len(np.unique(members)))) * 1.0
    basis = np.empty((n, 0))
    if jacobian is not None:
        scale = np.linalg.norm(jacobian, axis=0)
        left, size, _ = np.linalg.svd(jacobian / np.where(scale > 0, scale, 1.0), full_matrices=False)
        basis = left[:, size > 1e-10 * size[0]]

    def without_fit(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values - basis @ (basis.T @ values))

    def without_groups(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values - groups @ ((groups.T @ values) / groups.sum(axis=0)[:, None]))

    fitted, apart = without_fit(groups), without_fit(np.eye(n))
    # Rows: total, within groups. Columns: expected sum of squares per unit of variance between, within.
    expected = np.array(
        [
            [np.sum(fitted**2), np.sum(apart**2)],
            [np.sum(without_groups(fitted) ** 2), np.sum(without_groups(apart) ** 2)],
        ]
    )
    found = np.array([np.sum(residuals**2), np.sum(without_groups(residuals[:, None]) ** 2)])
    if np.linalg.cond(expected) > 1e10:
        return 0.0, float(found[0] / max(expected[0, 1], 1.0))
    between, within = np.linalg.solve(expected, found)
    if between <= 0:
        return 0.0, float(found[0] / expected[0, 1])
    if within <= 0:
        return float(found[0] / expected[0, 0]), 0.0
    return float(between), float(within)


def intraclass_correlation(
    residuals: NDArray[np.float64], members: NDArray[np.int64], jacobian: NDArray[np.float64] | None = None
) -> float:
    """Correlation of the errors of two runs of one group, from 0 to 1; see `variance_shares`."""
    between, within = variance_shares(residuals, members, jacobian)
    return between / (between + within) if between + within > 0 else 0.0


def simulated_losses(
    runs: Runs,
    law: ScalingLaw,
    errors: NDArray[np.float64] | Noise,
    numbers: NDArray[np.int64],
    seed: int,
    noise: str = "residuals",
) -> NDArray[np.float64]:
    """Losses (R, n) of the data sets with these numbers (R,): L(N_i, D_i) exp(e*_i).

    Args:
        runs: the design, n runs.
        law: the truth.
        errors: log observed minus log predicted loss, centred, (n,), for errors of each run on its own;
            or any `Noise`.
        numbers: which data sets.
        seed: whole number.
        noise: "residuals" or "signed", for errors given as an array.
    """
    source = errors if isinstance(errors, Noise) else Noise(errors=errors, kind=noise)
    return np.asarray(law.loss(runs.params, runs.tokens) * np.exp(source.drawn(numbers, seed)))
