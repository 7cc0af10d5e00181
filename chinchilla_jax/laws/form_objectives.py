"""Objectives beside `Huber`: squared error, and absolute error that punishes overestimates more.

Notation
    residual   r_i       ln L(N_i, D_i) - ln L_i: positive where the law overestimates; (..., n)
    weights    w_i       user weights times resampling counts; (..., n)
    down, up             psi(r) = min(max(r, -down), up), the derivative of the loss of one residual
    loss       rho(r)    psi(r) (r - psi(r)/2): quadratic from -down to up, linear outside

All three are of this one kind, and one solver minimises them:

| objective          | down  | up            | value reported |
|--------------------|-------|---------------|----------------|
| `Huber`            | delta | delta         | rho            |
| `Squared`          | inf   | inf           | rho            |
| `AsymmetricError`  | width | penalty width | rho / width    |

The last is the Moreau envelope of penalty max(r, 0) + max(-r, 0): below it, by at most penalty^2 width / 2 a
run, so that the stated width bounds what the smoothing can change. Its minimum is a law that a share
1/(1 + penalty) of the runs lies below: the quantile regression of Koenker & Bassett 1978 (Econometrica 46).
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.laws.objectives import Huber


@dataclasses.dataclass(frozen=True)
class Squared:
    """sum_i w_i r_i^2 / 2 of the log loss: least squares, with no protection from outliers."""

    name: ClassVar[str] = "squared"


@dataclasses.dataclass(frozen=True)
class AsymmetricError:
    """sum_i w_i (penalty max(r_i, 0) + max(-r_i, 0)): the lower edge of the runs, not their middle.

    A run can always have gone wrong and seldom goes too well: with a penalty of 10 on overestimates, as the
    `chinchilla` toolkit offers (github.com/kyo-takano/chinchilla), a fit bounds the losses from below, but
    for one run in eleven.

    Args:
        penalty: of an overestimate, where an underestimate costs 1. Positive.
        width: over which the kink at zero is rounded, in log loss: from -width to penalty width. Positive.
    """

    name: ClassVar[str] = "asymmetric"
    penalty: float = 10.0
    width: float = 1e-5

    def __post_init__(self) -> None:
        """Check the fields."""
        for field in ("penalty", "width"):
            value = getattr(self, field)
            if isinstance(value, bool) or not (isinstance(value, (int, float)) and 0 < value < math.inf):
                raise UsageError(f"AsymmetricError: {field} = {short(value)}, give a positive finite number")


FormObjective = Huber | Squared | AsymmetricError


def check_objective(caller: str, objective: object) -> FormObjective:
    """The objective, or one line on what to give instead."""
    if not isinstance(objective, Huber | Squared | AsymmetricError):
        raise UsageError(
            f"{caller}: objective is {short(objective)}, expected Huber(), Squared() or AsymmetricError()"
        )
    return objective


def limits(objective: FormObjective) -> tuple[float, float, float]:
    """(down, up, unit): see the module's table; `unit` is what the value reported is divided by."""
    if isinstance(objective, Huber):
        return objective.delta, objective.delta, 1.0
    if isinstance(objective, Squared):
        return math.inf, math.inf, 1.0
    return objective.width, objective.penalty * objective.width, objective.width


def value(objective: FormObjective, residual: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
    """Sum of the weighted losses over the last axis; runs without a weight do not count."""
    down, up, unit = limits(objective)
    w = np.asarray(weights, dtype=np.float64)
    r = np.where(w > 0, np.asarray(residual, dtype=np.float64), 0.0)
    psi = np.clip(r, -down, up)
    return np.asarray(np.sum(w * psi * (r - 0.5 * psi), axis=-1) / unit)


def settings(objective: FormObjective) -> dict[str, float | str]:
    """What tables and JSON say about an objective."""
    return {"objective": objective.name, **dataclasses.asdict(objective)}
