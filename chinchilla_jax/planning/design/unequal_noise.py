"""Errors that are larger for some sizes or token counts than for others, where a table shows it.

| code    | symbol | shape | meaning                                                                        |
|---------|--------|-------|--------------------------------------------------------------------------------|
| errors  | e      | (n,)  | of the log losses of the runs, corrected for leverage (planning/run_errors.py) |
| slopes  | b      | (2,)  | of ln abs(e) in ln N and ln D                                                  |
| spread  | s      |       | exp(b' (ln N, ln D)) over its root mean square over the runs                   |
| p       |        | ()    | of the F test of b = 0                                                         |

The regression of ln abs(e) is that of Park 1966 (Econometrica 34:888) and Harvey 1976 (Econometrica 44:461).
Errors below a tenth of their median count as that, since the logarithm of an error that happens to be near
zero says nothing. No place has a smaller or larger spread than some run. Repeated runs (seeds) show their
spread in the same residuals.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.fitting.f_tail import f_tail
from chinchilla_jax.planning.run_errors import RunErrors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.planning.prediction_places import Places

    Floats = NDArray[np.float64]

_LEVEL = 0.01  # of p, below which noise is unequal
_LEAST = 0.1  # of the median error
_SPARE = 8  # degrees of freedom below which nothing is tested


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """How large errors are at a place, over their root mean square over the runs.

    Attributes:
        slopes: b; zero where noise is equal.
        level: ln of the root mean square of exp(b' (ln N, ln D)) over the runs.
        least: ln of the smallest spread of a run, and
        most: of the largest.
    """

    slopes: Floats
    level: float
    least: float
    most: float

    @classmethod
    def of(cls, errors: Floats, logs: Floats) -> Spread:
        """That of errors (n,) of runs at ln N and ln D, (n, 2)."""
        x = np.concatenate([np.ones((len(errors), 1)), logs - logs.mean(axis=0)], axis=1)
        within = len(errors) - 3
        sizes = np.abs(errors)
        floor = _LEAST * float(np.median(sizes))
        if within < _SPARE or not floor > 0:
            return EQUAL
        y = np.log(np.maximum(sizes, floor))
        found = np.linalg.lstsq(x, y, rcond=None)[0]
        rest, whole = float(np.sum((y - x @ found) ** 2)), float(np.sum((y - y.mean()) ** 2))
        if not f_tail((whole - rest) / 2 / (rest / within), 2, within) < _LEVEL:
            return EQUAL
        at_runs = logs @ found[1:]
        low, high = float(at_runs.min()), float(at_runs.max())
        level = high + 0.5 * float(np.log(np.mean(np.exp(2 * (at_runs - high)))))
        return cls(slopes=found[1:], level=level, least=low - level, most=high - level)

    def at(self, logs: Floats) -> Floats:
        """The spread at ln N and ln D (m, 2), (m,)."""
        if not self.slopes.any():
            return np.ones(len(logs))
        return np.asarray(np.exp(np.clip(logs @ self.slopes - self.level, self.least, self.most)))

    @property
    def sentence(self) -> str:
        """What is assumed of new runs, in words; "" where noise is equal."""
        if not self.slopes.any():
            return ""
        return (
            f"errors of these runs differ in size by up to {np.exp(self.most - self.least):.2g} times with "
            "parameters and tokens, and so are those of new runs"
        )


EQUAL = Spread(slopes=np.zeros(2), level=0.0, least=0.0, most=0.0)


def log_counts(places: Places | Design) -> Floats:
    """Ln N and ln D, (m, 2)."""
    return np.log(np.stack([places.params, places.tokens], axis=1))


def spread_of(boot: BootstrapResult) -> Spread:
    """That of the runs of a bootstrap."""
    return Spread.of(RunErrors.of(boot).errors, log_counts(boot.design)[counted_rows(boot)])


def counted_rows(boot: BootstrapResult) -> slice | NDArray[np.bool_]:
    """The runs with a weight, of which `RunErrors` has errors."""
    weights = boot.point.weights
    return slice(None) if weights is None else weights > 0
