"""Do sizes and tokens vary apart? On a line ln D = ln k + s ln N the two terms of a law cannot be told apart.

Notation (R lanes, n runs)
    u, v       standardised ln N and ln D, see laws/design.py
    used       runs with a weight; (R, n)
    spread     sd of ln D about its line on ln N, or of ln N about its line on ln D, whichever is smaller:
               how far the runs used lie off any line, as a logarithm of a ratio of counts; (R,)

On a line, A N^-alpha + B D^-beta and its twin with A' = B k^-beta, alpha' = s beta, B' = A k^(alpha/s),
beta' = alpha/s predict the same losses and prescribe differently, however many runs there are. On one budget
(s = -1) the twin has exponents of the wrong sign, but what a law says about every other budget is its form.

A run is left out for the measure that matters: where all others lie on a line, an error of that one run
passes into the law undiminished, and no residual shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design

ON_LINE = 2e-3  # spread below which runs are on a line: a ratio that varies by 0.2% is a rounded constant
NEAR_LINE = 0.25  # spread below which the terms are hard to tell apart: a ratio that varies by 28%


def line_spreads(design: Design, used: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The spread of the runs used (R, n), and the least of those without one of them, each (R,)."""
    whole, without = spreads_without_each(design, used)
    return whole, without.min(axis=1)


def spreads_without_each(
    design: Design, used: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The spread of the runs used (R, n), (R,); and without each of them, (R, n), inf for runs not used."""
    mask = used.astype(np.float64)
    u, v = design.log_params, design.log_tokens
    count = mask.sum(axis=1)
    safe = np.maximum(count, 1.0)
    du = (u - (mask @ u / safe)[:, None]) * mask
    dv = (v - (mask @ v / safe)[:, None]) * mask
    uu, vv, uv = (np.sum(x * y, axis=1) for x, y in ((du, du), (dv, dv), (du, dv)))
    # Sums of squares without each run, by what its leaving takes away.
    factor = (safe / np.maximum(safe - 1.0, 1.0))[:, None]
    without = (uu[:, None] - factor * du * du, vv[:, None] - factor * dv * dv, uv[:, None] - factor * du * dv)
    whole = _spread(design, uu, vv, uv, safe)
    each = _spread(design, *without, np.maximum(safe - 1.0, 1.0)[:, None])
    return whole, np.where(used, each, np.inf)


def _spread(design: Design, uu: Any, vv: Any, uv: Any, count: Any) -> NDArray[np.float64]:
    """Spread from sums of squares and products about the means."""
    gap = np.maximum(uu * vv - uv * uv, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_tokens = np.where(uu > 0, np.sqrt(gap / (uu * count)), np.sqrt(np.maximum(vv, 0.0) / count))
        of_params = np.where(vv > 0, np.sqrt(gap / (vv * count)), np.sqrt(np.maximum(uu, 0.0) / count))
    return np.minimum(of_tokens * design.tokens_scale, of_params * design.params_scale)


def most_near_line(design: Design) -> int:
    """The most runs with a weight that may lie near a line: all of a table near one, else few."""
    if min(design.line_spreads) < NEAR_LINE:
        return len(design)
    # Off a line as a table is, half of its runs lie on one at most, and one more without which they would.
    return len(design) // 2 + 1


def spread_without_one(design: Design, weights: NDArray[Any]) -> NDArray[np.float64]:
    """The least spread without one run of the lanes of `weights` (R, n); inf where it is not small; (R,)."""
    if len(weights) == 1 and np.all(weights):  # of a point fit, whose table has been asked already
        return np.array([min(design.line_spreads)])
    found = np.full(len(weights), np.inf)
    count = np.count_nonzero(weights, axis=1)
    asked = np.flatnonzero((count <= most_near_line(design)) | (len(weights) == 1))
    if len(asked):
        whole, without = line_spreads(design, np.asarray(weights)[asked] > 0)
        found[asked] = np.minimum(whole, without)
    return found
