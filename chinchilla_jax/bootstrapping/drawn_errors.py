"""Schemes that keep the runs and draw errors of their losses.

The wild bootstrap gives a run one of two losses, so that a table of 2n runs holds them all and a resample is
a choice between them, as weights. The residual bootstrap gives it losses of any size: residual.py.

Errors are larger than the residuals of the fit: both schemes draw them from what the fit and the fits without
each run leave (left_out.py). 80% intervals for alpha, beta and tokens per parameter at ten times the largest
budget covered, in 150 to 400 simulated tables each with errors of one law and delta at their scale:

| scheme     | errors drawn from                | 12 runs    | 20 runs    | 40 runs    |
|------------|----------------------------------|------------|------------|------------|
| `Wild`     | residuals of the fit             | 49, 55, 52 | 63, 59, 63 |            |
| `Wild`     | residuals without the run        | 90, 90, 87 | 86, 85, 86 | 85, 78, 84 |
| `Residual` | residuals of the fit             | 59, 61, 53 | 69, 69, 69 |            |
| `Residual` | both, and the size of all errors | 84, 83, 85 | 78, 79, 79 | 81, 74, 80 |

Only `Wild` allows for errors that are larger at some runs than at others, where `Residual` covers 56 to 72.
"""

from __future__ import annotations

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


@dataclasses.dataclass(frozen=True)
class Wild(Scheme):
    """Every run keeps its counts and the size of its error, whose sign is drawn.

    The size is that of the residual from the law fitted without the run. Residuals of the fit itself are
    smaller than errors, and vanish for p runs where the fit is close to least absolute deviations: from
    those, 80% intervals covered 54 to 63 on 20 runs.
    """

    name: ClassVar[str] = "wild"

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Weights (R, 2n) of the runs of `doubled`: the n runs with one sign of the error, then the other."""
        bits = resample.resample_bits(len(runs), resample_ids, seed, stream=resample.WILD)
        mirrored = (bits >> np.uint32(31)).astype(np.uint8)
        return np.concatenate([1 - mirrored, mirrored], axis=1)

    def doubled(self, runs: Runs, residuals: NDArray[np.float64], left_out: NDArray[np.float64]) -> Runs:
        """The runs with losses one error from the fitted law on one side, and after them on the other.

        Args:
            runs: n of them.
            residuals: log predicted minus log observed loss of the fit, (n,).
            left_out: the same of the fit without each run: the errors, (n,).
        """
        doubled = runs.take(np.tile(np.arange(len(runs)), 2))
        predicted = runs.loss * np.exp(residuals)
        losses = predicted * np.exp(np.stack([-left_out, left_out]))
        return dataclasses.replace(doubled, loss=losses.ravel())


@dataclasses.dataclass(frozen=True)
class Residual(Scheme):
    """Every run keeps its counts and gets the error of a run drawn with replacement: errors of one law.

    An error is the mean of a run's residuals from the fit and from the fit without it: with leverage h these
    are 1 - h and 1 / (1 - h) of the error in variance, and their product is that of the error. All errors of
    a resample are multiplied by sqrt(nu / chi2) with a chi-squared number of nu = n - p degrees of freedom:
    what is not known of the size of the errors. Least squares has the quantiles of Student's t then.
    """

    name: ClassVar[str] = "residual"

    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """None: always raises `UsageError`."""
        raise UsageError("Residual gives losses, not weights; see Residual.log_errors")

    def log_errors(
        self,
        residuals: NDArray[np.float64],
        left_out: NDArray[np.float64],
        resample_ids: NDArray[np.int64],
        seed: int,
        *,
        delta: float = 1e-3,
        size: int = 5,
    ) -> NDArray[np.float64]:
        """Errors (R, n) of the log losses of these resamples.

        Args:
            residuals: log predicted minus log observed loss of the fit, (n,).
            left_out: the same of the fit without each run, (n,).
            resample_ids: (R,).
            seed: whole number.
            delta: half-width of the objective's zone (log loss; may be infinite). Errors are centred where
                their influence under it adds up to zero, see `huber_location`.
            size: parameters of the law, p.
        """
        n_runs = len(residuals)
        bits = resample.resample_bits(n_runs + 1, resample_ids, seed, stream=resample.RESIDUAL)
        errors = -0.5 * (residuals + left_out)
        errors -= huber_location(errors, delta)
        return errors[resample.whole_below(bits[:, :-1], n_runs)] * _scales(bits[:, -1:], n_runs - size)


def _scales(bits: NDArray[np.uint32], degrees: int) -> NDArray[np.float64]:
    """sqrt(nu / chi2) of `degrees` nu, of at least 1, from random bits of the same shape."""
    from scipy.special import chdtri

    degrees = max(degrees, 1)
    return np.asarray(np.sqrt(degrees / chdtri(degrees, (bits + 0.5) / 2.0**32)))
