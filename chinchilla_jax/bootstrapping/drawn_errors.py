"""Schemes that keep the runs and draw errors of their losses: resamples are data sets, fitted by residual.py.

Notation
    n, p       runs, parameters of the law
    r_i        residual of run i from the fit, log predicted minus log observed loss; (n,)
    r_(i)      the same from the fit without the run, see left_out.py; (n,)
    e_i        size of the errors that are drawn, from which the fit has taken its part; (n,)
    nu         n - p, degrees of freedom

Errors are larger than residuals: with leverage h the variance of r_i is 1 - h of the error's, and that of
r_(i) is 1 / (1 - h) of it in least squares. Both schemes draw between the two, e_i = (1 - s) r_i + s r_(i).
How large errors are at all is known from nu numbers only. So all errors of a resample are multiplied by
sqrt(nu / chi2), with a chi-squared number of nu degrees of freedom: intervals of least squares then have the
quantiles of Student's t.

80% intervals for alpha, beta and tokens per parameter at ten times the largest budget cover, in 400 simulated
tables each with delta = "auto" (a standard error of 2 points):

| scheme     | e_i               | 12 runs    | 20 runs    | 40 runs    | 40 runs, unequal errors |
|------------|-------------------|------------|------------|------------|-------------------------|
| `Wild`     | r_i, no chi2      | 49, 55, 52 | 63, 59, 63 |            |                         |
| `Wild`     | r_(i), no chi2    | 90, 90, 87 | 86, 85, 86 | 85, 78, 84 | 78, 81, 85              |
| `Wild`     | s = 0.7           | 88, 87, 86 | 82, 82, 84 | 83, 74, 82 | 75, 79, 83              |
| `Residual` | r_i, no chi2      | 59, 61, 53 | 69, 69, 69 |            |                         |
| `Residual` | s = 0.5           | 84, 83, 85 | 78, 79, 79 | 81, 74, 80 | 68, 80, 85              |
| `Pairs`    |                   | 88, 85, 88 | 83, 80, 81 | 81, 74, 81 | 76, 78, 81              |

A column has the same tables for every scheme. In the last errors fall with size, from 1% to 0.3%.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.bootstrapping import weights as resample
from chinchilla_jax.bootstrapping.scheme import Scheme
from chinchilla_jax.laws.objectives import huber_location

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs

    Floats = NDArray[np.float64]


class DrawnErrors(Scheme):
    """Every run keeps its counts, and its loss is the fitted one and an error."""

    share: ClassVar[float]
    """s: how much of e_i is the residual without the run."""

    def weights(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> NDArray[np.uint8]:
        """None: always raises `UsageError`."""
        raise UsageError(f"scheme {self.name!r} gives losses, not weights; see log_errors")

    def log_errors(
        self,
        residuals: Floats,
        left_out: Floats,
        resample_ids: NDArray[np.integer],
        seed: int,
        *,
        delta: float = 1e-3,
        size: int = 5,
        weights: Floats | None = None,
    ) -> Floats:
        """Errors (R, n) of the log losses of these resamples, log observed minus log predicted.

        Args:
            residuals: r_i, (n,).
            left_out: r_(i), (n,).
            resample_ids: (R,).
            seed: whole number.
            delta: half-width of the objective's zone (log loss; may be infinite).
            size: parameters of the law, p.
            weights: of the runs, (n,); the errors of those without weight are not drawn, and they get none.
        """
        n_runs = len(residuals)
        used = np.ones(n_runs, bool) if weights is None else weights > 0
        errors = -((1 - self.share) * residuals + self.share * left_out)
        bits = resample.resample_bits(n_runs + 1, resample_ids, seed, stream=self._stream)
        drawn = np.zeros((len(bits), n_runs))
        drawn[:, used] = self._drawn(errors[used], bits[:, :-1][:, used], delta)
        return drawn * _scales(bits[:, -1:], int(used.sum()) - size)

    _stream: ClassVar[int]

    @abc.abstractmethod
    def _drawn(self, errors: Floats, bits: NDArray[np.uint32], delta: float) -> Floats:
        """Errors (R, n) of the resamples, from those of the runs (n,) and random bits (R, n)."""


@dataclasses.dataclass(frozen=True)
class Wild(DrawnErrors):
    """A run keeps the size of its error, whose sign is drawn: some runs may have larger errors than others.

    From residuals of the fit, which vanish for p runs where it is close to least absolute deviations, 80%
    intervals covered 50 on 20 runs.

    Example:
        >>> cj.bootstrap(runs, resamples=20, scheme="wild").counts()["CONVERGED"]
        20
    """

    name: ClassVar[str] = "wild"
    share: ClassVar[float] = 0.7
    _stream: ClassVar[int] = resample.WILD

    def _drawn(self, errors: Floats, bits: NDArray[np.uint32], delta: float) -> Floats:
        return np.where(bits >> np.uint32(31), -errors, errors)


@dataclasses.dataclass(frozen=True)
class Residual(DrawnErrors):
    """A run gets the error of a run drawn with replacement: errors of one law, whatever the run.

    Errors are centred where their influence under the objective adds up to zero, see `huber_location`.

    Example:
        >>> cj.bootstrap(runs, resamples=20, scheme="residual").counts()["CONVERGED"]
        20
    """

    name: ClassVar[str] = "residual"
    share: ClassVar[float] = 0.5
    _stream: ClassVar[int] = resample.RESIDUAL

    def _drawn(self, errors: Floats, bits: NDArray[np.uint32], delta: float) -> Floats:
        centred = errors - huber_location(errors, delta)
        return centred[resample.whole_below(bits, len(errors))]


def _scales(bits: NDArray[np.uint32], degrees: int) -> Floats:
    """sqrt(nu / chi2) of `degrees` nu, of at least 1, from random bits of the same shape."""
    from scipy.special import chdtri

    degrees = max(degrees, 1)
    return np.asarray(np.sqrt(degrees / chdtri(degrees, (bits + 0.5) / 2.0**32)))
