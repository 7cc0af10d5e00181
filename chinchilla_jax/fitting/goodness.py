"""How well a fitted law describes its runs: residual scale, R^2, the worst run, and a test for lack of fit.

| code      | symbol | shape | meaning                                                                  |
|-----------|--------|-------|--------------------------------------------------------------------------|
| residuals | r      | (n,)  | ln predicted minus ln observed loss                                      |
| members   |        | (n,)  | configuration of each run: runs with the same value of every variable    |
| within    | S_w    | ()    | sum of squares of r around the mean of its configuration, n - k degrees  |
| between   | S_b    | ()    | sum of squares of these means, a term for each run, k - p degrees        |

F = (S_b / (k - p)) / (S_w / (n - k)) compares how far k configurations are from the law of p parameters with
how far runs of one configuration are from each other (Draper & Smith 1998, Applied Regression Analysis, 2.1).
A large F says that the law is wrong, or that runs of one configuration share an error. Residuals are cut off
at three robust standard deviations, so that a failed run does not hide what the others show.

An F so small that chance hardly gives it (`_TOO_SMALL`) says that runs of one configuration do not repeat
each other, but are of several recipes, batch sizes or numbers of epochs. Their differences are no errors to
compare with, and nothing is tested.

F assumes errors around the law of mean 0 and of one variance. An objective that is not symmetric puts the law
beside that mean, and unequal weights say nothing certain of the variances: neither is tested.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.text import plain_number
from chinchilla_jax.datasets.groupings import members_of
from chinchilla_jax.fitting.automatic_delta import robust_scale
from chinchilla_jax.fitting.f_tail import f_tail
from chinchilla_jax.fitting.unlike_rows import cut_off
from chinchilla_jax.laws.objectives import AsymmetricError, OwnObjective

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Objective

    Floats = NDArray[np.float64]

_SPARE = 3  # degrees of freedom on either side, below which nothing is tested
_TOO_SMALL = 1e-3  # probability of a smaller F
_EQUAL = 1e-9  # difference of weights, or of penalties, that is rounding
_ARITHMETIC = 1e-11  # residuals of this size are rounding


@dataclasses.dataclass(frozen=True, kw_only=True)
class LackOfFit:
    """The F test of the head of this file.

    Attributes:
        F: ratio of the mean squares.
        degrees: (k - p, n - k).
        p: probability of a larger F where the law holds and runs err independently.
    """

    F: float
    degrees: tuple[int, int]
    p: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Goodness:
    """How well a law describes the runs that it was fitted to.

    Attributes:
        scale_percent: robust standard deviation of the residuals of the log loss, in per cent of the loss;
            NaN where there are no more runs than parameters.
        r_squared: share of the variance of ln L that the law explains, by the weights of the runs.
        largest_percent: observed loss over the law's, less 1, of the run with the largest residual, in per
            cent.
        largest_row: where that run is in its table: "row 61".
        lack_of_fit: None where too few configurations have several runs, or these differ by more than runs
            that repeat each other do, the objective is not symmetric, or the runs have unequal weights.
    """

    scale_percent: float
    r_squared: float
    largest_percent: float
    largest_row: str
    lack_of_fit: LackOfFit | None

    def __str__(self) -> str:
        """In a line: "residual scale 0.49%, R2 of ln L 0.9962; farthest is row 61, 3.1% above the law"."""
        side = "above" if self.largest_percent > 0 else "below"
        scale = "" if math.isnan(self.scale_percent) else f"residual scale {self.scale_percent:.3g}%, "
        parts = [
            f"{scale}R2 of ln L {self.r_squared:.5g}",
            f"farthest is {self.largest_row}, {plain_number(abs(self.largest_percent), 3)}% {side} the law",
        ]
        if self.lack_of_fit is not None:
            test = self.lack_of_fit
            degrees = ", ".join(map(str, test.degrees))
            parts.append(f"lack of fit F({degrees}) {plain_number(test.F, 3)}, p {test.p:.2g}")
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, as JSON has them."""
        return dataclasses.asdict(self)


def goodness_of(point: FitResult, runs: Runs) -> Goodness | None:
    """How well a fit describes the runs it is of; None where it is not certified.

    Args:
        point: the fit.
        runs: its n runs.
    """
    if not point.status.certified:
        return None
    weights = np.ones(len(runs)) if point.weights is None else point.weights
    kept = weights > 0
    residuals, logs = point.residuals, np.log(runs.loss)
    spread = float(weights @ (logs - weights @ logs / weights.sum()) ** 2)
    worst = int(np.argmax(np.where(kept, np.abs(residuals), -1.0)))
    testable = np.ptp(weights[kept]) <= _EQUAL * weights.max() and _is_symmetric(
        point.objective, residuals[kept]
    )
    return Goodness(
        scale_percent=100 * robust_scale(residuals, point.weights, point.model.size),
        r_squared=1 - float(weights @ residuals**2) / spread if spread > 0 else float("nan"),
        largest_percent=100 * float(np.expm1(-residuals[worst])),
        largest_row=runs.name_row(worst),
        lack_of_fit=_lack_of_fit(runs.take(kept), residuals[kept], point) if testable else None,
    )


def _is_symmetric(objective: Objective, residuals: Floats) -> bool:
    """Whether residuals of either sign cost the same."""
    if not isinstance(objective, (AsymmetricError, OwnObjective)):
        return True
    ones = np.ones_like(residuals)
    sizes = np.abs(residuals)
    over, under = (float(objective.value(sign * sizes, ones)) for sign in (1.0, -1.0))
    return abs(over - under) <= _EQUAL * max(over, under)


def _lack_of_fit(runs: Runs, residuals: Floats, point: FitResult) -> LackOfFit | None:
    members = _configurations(runs, point.model.variables[2:])
    counts = np.bincount(members)
    free, rest = len(counts) - point.model.size, len(runs) - len(counts)
    if min(free, rest) < _SPARE or not np.abs(residuals).max() > _ARITHMETIC:
        return None
    errors = cut_off(residuals)
    means = np.bincount(members, errors) / counts
    within = float(np.sum((errors - means[members]) ** 2))
    if not within > 0:  # the rows of a configuration are copies of one run
        return None
    ratio = float(counts @ means**2) / free / (within / rest)
    if not ratio > 0 or f_tail(1 / ratio, rest, free) < _TOO_SMALL:  # the lower tail of F(free, rest)
        return None
    return LackOfFit(F=ratio, degrees=(free, rest), p=f_tail(ratio, free, rest))


def _configurations(runs: Runs, variables: tuple[str, ...]) -> NDArray[np.int64]:
    columns = [members_of(runs, "replicates")]
    columns += [
        np.unique(runs.variables[name], return_inverse=True)[1] for name in variables if name != "flops"
    ]
    return np.unique(np.stack(columns), axis=1, return_inverse=True)[1].astype(np.int64).ravel()
