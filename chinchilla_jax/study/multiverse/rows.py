"""Which runs of the table an analysis counts: the options of the dimension "rows".

| option          | runs                                                                              |
|-----------------|-----------------------------------------------------------------------------------|
| all             | every run of the table                                                            |
| unflagged       | without those that the table's own columns (outlier, exclude, ...) rule out        |
| drop_loss:K     | without the K of highest loss, as Besiroglu et al. 2024 leave out 5 of 245         |
| drop_residual:K | without the K whose log loss is farthest from the usual fit of all of them         |
| min_params:X    | of at least X parameters, by the plain counting                                   |
| min_tokens:X    | of at least X training tokens                                                     |
| min_flops:X     | of at least X training FLOP                                                       |

K is a whole number or a share such as 2%. All options but "all" begin from the runs that the table's own
flags leave. The usual fit is that of the five-parameter law by Huber's objective with delta "auto".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets import Runs
from chinchilla_jax.laws import CHINCHILLA

Mask = NDArray[np.bool_]

ALL, UNFLAGGED = "all", "unflagged"
_DROPS = ("drop_loss", "drop_residual")
_LEASTS = ("min_params", "min_tokens", "min_flops")
_FEWEST = 5  # runs of an option
_SHARE = 0.02  # of the runs, that are left out as the worst by default
_SMALL = 0.2  # of the sizes, that are left out as the smallest by default


def default_rows(runs: Runs, flagged: Mask, dropped: int) -> list[str]:
    """The options for a table: all runs, and what the smallest or the worst of them do to the answer.

    Options that leave as many runs as a law has parameters, or fewer, are none: no residual shows its error.

    Args:
        runs: n runs, all of the table.
        flagged: which of them the table's own flags rule out, (n,).
        dropped: how many of highest loss are left out where nothing is said.
    """
    usual = int(np.sum(~flagged))
    worst = dropped or max(round(_SHARE * len(runs)), 1)
    sizes = np.unique(runs.params)
    found = [ALL]
    if flagged.any() and usual > CHINCHILLA.size:
        found.append(UNFLAGGED)
    if usual - worst > CHINCHILLA.size:
        found += [f"drop_loss:{worst}", f"drop_residual:{worst}"]
    if len(sizes) >= 5:
        least = _rounded_down(float(sizes[math.ceil(_SMALL * len(sizes))]))
        option = f"min_params:{least:g}"
        if np.sum(~flagged & (runs.params >= float(f"{least:g}"))) > CHINCHILLA.size:
            found.append(option)
    return found


def read_rows(
    option: object, runs: Runs, flagged: Mask, residuals: Callable[[], NDArray[np.float64]]
) -> Mask:
    """The runs of an option, (n,).

    Args:
        option: its name.
        runs: n runs, all of the table.
        flagged: which of them the table's own flags rule out, (n,).
        residuals: gives those of the usual fit to the runs that are not flagged, in their order.

    Raises:
        UsageError: there is no such option, or it leaves too few runs.
    """
    kept = ~flagged
    if not isinstance(option, str):
        raise _unknown(option)
    kind, _, text = option.partition(":")
    if option == ALL:
        found = np.ones(len(runs), bool)
    elif option == UNFLAGGED:
        found = kept
    elif kind in _DROPS:
        badness = runs.loss[kept] if kind == "drop_loss" else np.abs(residuals())
        count = _count(option, text, int(kept.sum()))
        found = without_worst(kept, badness, count)
    elif kind in _LEASTS:
        found = kept & (getattr(runs, kind.removeprefix("min_")) >= _number(option, text))
    else:
        raise _unknown(option)
    if found.sum() < _FEWEST:
        raise UsageError(
            f"multiverse: rows {short(option)} leaves {count_text(int(found.sum()), 'run')} of {len(runs)}; "
            f"give one that leaves {_FEWEST} or more"
        )
    return found


def without_worst(kept: Mask, badness: NDArray[np.float64], count: int) -> Mask:
    """Which runs are left, (n,), of those that are kept without the `count` worst.

    Args:
        kept: which of n runs, (n,).
        badness: how bad each of them is, in their order.
        count: how many go. Among equals later ones go first, as in `Runs.drop_highest_loss`.
    """
    best = np.argsort(badness, kind="stable")[: len(badness) - count]
    found = np.zeros(len(kept), bool)
    found[np.flatnonzero(kept)[best]] = True
    return found


def _unknown(option: object) -> UsageError:
    return UsageError(
        f"multiverse: rows {short(option)} is no choice of runs; give all, unflagged, drop_loss:K, "
        "drop_residual:K, min_params:X, min_tokens:X or min_flops:X"
    )


def _count(option: str, text: str, n_runs: int) -> int:
    """How many are left out, from "5" or "2%"."""
    value = _number(option, text.removesuffix("%"))
    count = round(value / 100 * n_runs) if text.endswith("%") else value
    if count != int(count) or not 1 <= count < n_runs:
        raise UsageError(
            f"multiverse: rows {short(option)}: give a whole number from 1 to {n_runs - 1}, or a share such "
            "as 2%"
        )
    return int(count)


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(
            f"multiverse: rows {short(option)}: {short(text)} is no positive number; give one, as in "
            f"{option.partition(':')[0]}:{'1e8' if option.startswith('min_') else '5'}"
        )
    return value


def _rounded_down(value: float) -> float:
    """To two significant digits, so that the run of this size stays."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.floor(value / unit * (1 + 1e-12)) * unit
