"""What training costs under each resample of the runs: a `Cost` for each law.

| code      | symbol | shape  | unit                                                     |
|-----------|--------|--------|----------------------------------------------------------|
| weights   | w      | (R, n) | of the runs in each resample, as the laws are fitted with |
| log_ratio | ln k   | (n,)   | ln(C / (6 N D))                                          |

The form of the cost is that of all runs; its numbers are fitted anew with the weights of each resample.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.laws.compute import SIX_ND, Cost
from chinchilla_jax.laws.measured_cost import FORMS

Floats = NDArray[np.float64]
_CONDITION = 1e10  # of the normal equations, above which a resample does not determine the powers


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CostDraws(Cost):
    """A cost for each of R laws: as `Cost`, with arrays (R,) or, by `outer`, (R, 1, ...)."""

    coefficient: Any
    params_power: Any
    tokens_power: Any

    def __post_init__(self) -> None:
        """Nothing to check: `draw_costs` makes them."""

    def __len__(self) -> int:
        """How many."""
        return len(self.coefficient)

    def __getitem__(self, index: Any) -> CostDraws:
        """The costs at `index`."""
        return self._each(lambda values: values[index])

    @property
    def is_6nd(self) -> bool:
        """Never: what was measured is not."""
        return False

    def outer(self, axes: int) -> CostDraws:
        """The same with so many axes more, for values that every law is asked about."""
        return self._each(lambda values: values.reshape(values.shape + (1,) * axes))

    def _each(self, change: Any) -> CostDraws:
        numbers = {name: change(getattr(self, name)) for name in _NUMBERS}
        return dataclasses.replace(self, **numbers)


_NUMBERS = ("coefficient", "params_power", "tokens_power")


def draw_costs(
    cost: Cost, params: Floats, tokens: Floats, flops: Floats, weights: Iterable[NDArray[Any]]
) -> CostDraws | None:
    """The cost of each resample, in the form of the one that all runs gave; None where that was not fitted.

    A resample that does not determine the powers, or in which compute falls with a count, has the cost of all
    runs.

    Args:
        cost: of all runs, by `fit_cost`.
        params: N, (n,); active parameters.
        tokens: D, (n,).
        flops: C, (n,).
        weights: blocks of rows (r, n), R in all.
    """
    if cost.evidence is None or cost.evidence.form not in FORMS:
        return None
    which = list(FORMS[cost.evidence.form])
    logs = np.log(np.stack([params, tokens]))
    centre = logs.mean(axis=1)
    log_ratio = np.log(flops) - SIX_ND.log_flops(*logs)
    columns = np.vstack([np.ones(len(params)), (logs - centre[:, None])[which]])
    rows = []
    for block in weights:
        w = np.asarray(block, np.float64)
        normal = np.einsum("rn,in,jn->rij", w, columns, columns)
        wanted = np.einsum("rn,in,n->ri", w, columns, log_ratio)
        with np.errstate(all="ignore"):
            known = np.linalg.cond(normal) < _CONDITION
        fitted = np.full((len(w), len(columns)), np.nan)
        fitted[known] = np.linalg.solve(normal[known], wanted[known][..., None])[..., 0]
        powers = np.ones((len(w), 2))
        powers[:, which] += fitted[:, 1:]
        coefficient = 6.0 * np.exp(fitted[:, 0] - (powers - 1.0) @ centre)
        found = np.column_stack([coefficient, powers])
        lost = ~(np.isfinite(found) & (found > 0)).all(axis=1)
        found[lost] = [getattr(cost, name) for name in _NUMBERS]
        rows.append(found)
    return CostDraws(**dict(zip(_NUMBERS, np.concatenate(rows).T, strict=True)), evidence=cost.evidence)
