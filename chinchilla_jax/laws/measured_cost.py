"""How training compute depends on parameters and tokens, fitted to compute that was counted.

| code      | symbol | shape | unit                                                 |
|-----------|--------|-------|------------------------------------------------------|
| params    | N      | (n,)  | parameters, count                                    |
| tokens    | D      | (n,)  | tokens, count                                        |
| flops     | C      | (n,)  | FLOP, as counted                                     |
| log_ratio | ln k   | (n,)  | ln(C / (6 N D))                                      |
| scatter   |        | ()    | root mean square of ln C less that of the fitted cost |

Embeddings, attention and experts make k differ from 1, and move with size. Three forms are tried, by least
squares in logarithms: k constant, a power of N, and a power of N and of D. Plans ask about larger runs than
those of the table, so the runs of most compute choose: each form is fitted to the lower two thirds and judged
by its error on the upper third. A form with one more power is taken where it is better there by a tenth.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataWarning, UsageError, unknown_name
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax.laws.compute import SIX_ND, Cost

Floats = NDArray[np.float64]

FORMS: Mapping[str, tuple[int, ...]] = {"c N D": (), "c N^a D": (0,), "c N^a D^b": (0, 1)}
"""The forms, and which of ln N and ln D each has a power for, simplest first."""

_SAME = 1e-3  # relative difference of C and 6 N D that rounding in a table can make; smaller errors are none
_BETTER = 0.9  # of the simpler form's error, that one more power must reach
_JUDGED = 1 / 3  # of the runs, those of most compute
_FEWEST = 6  # runs for a choice
_ERRORS = 2.0  # standard errors from 6 N D that a constant must be away to be told from it


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostEvidence:
    """What a `Cost` was fitted to, and how well it describes that.

    Attributes:
        of: what was counted, as in "the FLOP of 85 runs".
        n: how many.
        form: one of `FORMS`.
        held_out: error of each form on the runs of most compute, fitted to the others; empty for few runs.
        scatter: see the top of this file.
        errors: standard errors of ln c (at the mean of ln N and ln D), a and b; 0 for a power that is 1.
        lowest: least C / (6 N D).
        highest: largest C / (6 N D).
        per_token: the cost of the form before, where there is a power of D, which no served token has.
    """

    of: str
    n: int
    form: str
    held_out: Mapping[str, float]
    scatter: float
    errors: tuple[float, float, float]
    lowest: float
    highest: float
    per_token: Cost | None = None

    def as_dict(self) -> dict[str, Any]:
        """The evidence for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields |= {"held_out": dict(self.held_out), "errors": list(self.errors)}
        return {**fields, "per_token": self.per_token and self.per_token.formula}

    def text(self, cost: Cost) -> str:
        """In a sentence without a full stop: what was fitted, how it varies, how well it is known."""
        varies = f"{self.lowest:.3g} to {self.highest:.3g}"
        known = [f"c {100 * self.errors[0]:.2g}%"]
        known += [
            f"the power of {name} {error:.1g}"
            for name, error in zip("ND", self.errors[1:], strict=True)
            if error
        ]
        return (
            f"C = {cost.formula} FLOP, fitted to {self.of}, {varies} times 6 N D (scatter "
            f"{100 * self.scatter:.2g}%; standard errors: {', '.join(known)})"
        )


def fit_cost(params: Floats, tokens: Floats, flops: Floats, of: str) -> Cost:
    """The cost that describes counted compute best; `SIX_ND` where that cannot be told from 6 N D.

    So it is, with a `DataWarning`, where the compute does not grow with N or D.

    Args:
        params: N, (n,), positive and finite, as the others.
        tokens: D, (n,).
        flops: C, (n,).
        of: what was counted, as in "the FLOP of 85 runs".
    """
    log_n, log_d = np.log(params), np.log(tokens)
    log_ratio = np.log(flops) - SIX_ND.log_flops(log_n, log_d)
    if np.all(np.abs(log_ratio) < _SAME):
        return SIX_ND
    columns = np.stack([log_n, log_d])
    form, held_out = _chosen(columns, log_ratio, np.argsort(flops, kind="stable"))
    for name, power in zip("ND", 1.0 + _fitted(columns, log_ratio, FORMS[form])[0], strict=True):
        if power <= 0:
            warn_user(
                f"{of} do not grow with {name} (they go as {name}^{power:.2g}), as the cost of training "
                "does; 6 N D is taken for it; correct the column flops, or leave it out",
                DataWarning,
            )
            return SIX_ND
    return _of_form(form, held_out, columns, log_ratio, of)


def _of_form(form: str, held_out: Mapping[str, float], columns: Floats, log_ratio: Floats, of: str) -> Cost:
    powers, level, scatter, errors = _fitted(columns, log_ratio, FORMS[form])
    per_token = powers[1] and 1.0 + _fitted(columns, log_ratio, FORMS["c N^a D"])[0][0] > 0
    if not FORMS[form] and abs(level) <= max(_SAME, _ERRORS * errors[0]):
        return SIX_ND
    return Cost(
        coefficient=6.0 * math.exp(level - powers @ columns.mean(axis=1)),
        params_power=1.0 + powers[0],
        tokens_power=1.0 + powers[1],
        evidence=CostEvidence(
            of=of,
            n=len(log_ratio),
            form=form,
            held_out=held_out,
            scatter=scatter,
            errors=errors,
            lowest=float(np.exp(log_ratio.min())),
            highest=float(np.exp(log_ratio.max())),
            per_token=_of_form("c N^a D", held_out, columns, log_ratio, of) if per_token else None,
        ),
    )


def asked_cost(asked: Cost | str | None, measured: Cost, source: str) -> Cost:
    """The cost that a caller asks for.

    Args:
        asked: a cost, "6nd", "measured", or None for what was measured.
        measured: that of the runs' own FLOP; `SIX_ND` where they have none.
        source: the runs in a few words.

    Raises:
        UsageError: another name, or nothing was measured.
    """
    if asked is None:
        return measured
    if not isinstance(asked, str):
        return asked
    if asked == "6nd":
        return SIX_ND
    if asked != "measured":
        raise unknown_name("cost", asked, ("6nd", "measured"))
    if measured.is_6nd:
        raise UsageError(
            f"{source}: no FLOP other than 6 N D were measured; the table needs columns for params, tokens "
            "and flops"
        )
    return measured


def _chosen(columns: Floats, log_ratio: Floats, order: NDArray[np.intp]) -> tuple[str, dict[str, float]]:
    """The form that the runs of most compute choose, and the error of each there."""
    kept = len(order) - round(_JUDGED * len(order))
    below, above = order[:kept], order[kept:]
    simplest = next(iter(FORMS))
    if len(order) < _FEWEST:
        return simplest, {}
    errors: dict[str, float] = {}
    best = simplest
    for form, which in FORMS.items():
        if not _determined(columns[:, below], which):
            break
        powers, level, *_ = _fitted(columns[:, below], log_ratio[below], which)
        centre = columns[:, below].mean(axis=1)
        missed = log_ratio[above] - level - powers @ (columns[:, above] - centre[:, None])
        errors[form] = float(np.sqrt(np.mean(missed**2)))
        if errors[form] < _BETTER * errors[best] and errors[best] > _SAME:
            best = form
    return best, errors


def _determined(columns: Floats, which: tuple[int, ...]) -> bool:
    """Whether runs determine powers of these columns: three values of each, not on a line of each other."""
    chosen = columns[list(which)]
    if any(len(np.unique(np.round(each, 6))) < 3 for each in chosen):
        return False
    if len(which) < 2:
        return True
    return bool(abs(np.asarray(np.corrcoef(chosen))[0, 1]) < 0.999)


def _fitted(
    columns: Floats, log_ratio: Floats, which: tuple[int, ...]
) -> tuple[Floats, float, float, tuple[float, float, float]]:
    """Powers (2,) of k, ln k at the mean, the scatter, and the standard errors of ln k and both powers."""
    n, rows = len(log_ratio), list(which)
    centred = columns[rows] - columns[rows].mean(axis=1, keepdims=True)
    powers: Floats = np.zeros(2)
    errors: Floats = np.zeros(2)
    level = float(log_ratio.mean())
    missed = np.asarray(log_ratio - level)
    if rows:
        powers[rows] = np.linalg.lstsq(centred.T, missed, rcond=None)[0]
        missed = np.asarray(missed - powers[rows] @ centred)
    variance = float(missed @ missed) / max(n - 1 - len(rows), 1)
    if rows:
        errors[rows] = np.sqrt(variance * np.linalg.inv(centred @ centred.T).diagonal())
    scatter = float(np.sqrt(np.mean(missed**2)))
    return powers, level, scatter, (math.sqrt(variance / n), float(errors[0]), float(errors[1]))
