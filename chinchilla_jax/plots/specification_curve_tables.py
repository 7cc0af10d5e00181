"""The tables of a specification curve: sorted answers, the options below them, and the effect of each choice.

After Simonsohn, Simmons & Nelson 2020 (doi:10.1038/s41562-020-0912-z). Up to `MOST_MARKS` analyses are drawn
one by one; of more, the running medians of the intervals and the density of each option along the ranks.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.text import plain_number, visible
from chinchilla_jax._util.validation import whole_number
from chinchilla_jax.analysis import choice_effects, curve_facts

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.analysis import CurveFacts, MultiverseAnswer, PooledInterval

Floats = NDArray[np.float64]

MOST_MARKS = 500
"""Analyses that are drawn one by one."""
_MOST_BINS, _LEAST_PER_BIN = 150, 8
_MOST_OPTIONS = 12  # of one choice; the ones between the extremes share a row
_LONGEST = 26  # characters of an option


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecificationCurve:
    """What is drawn; n analyses with an answer, k options.

    Attributes:
        curve: rank (from 1), estimate, low, high, side (of the interval from the reference: "below", "above",
            "within"; "" for none), default; one row per analysis, sorted by the answer.
        options: choice, option (text), n, median (answer of the analyses that took it), share (of the
            variance, of its choice), default (whether the default analysis took it); one row per option, in
            the order in which they are drawn. Choices with one option are not among them.
        used: (k, n), whether an analysis took an option, by rank.
        bins: low, high (limits of the ranks), median_low, median_high (running medians of the limits).
        density: (k, bins), how often an option is taken in a bin, over how often it is taken overall.
        effects: `choice_effects` of the choices with more than one option.
        fixed: the option of each choice that has only one.
        facts: `curve_facts`.
        pooled: the interval over choices and resampling together; None for none.
        level: mass of the intervals.
        label: the answer, with its unit, for the axis.
        is_count: whether it counts parameters or tokens.
    """

    curve: pd.DataFrame
    options: pd.DataFrame
    used: NDArray[np.bool_]
    bins: pd.DataFrame
    density: Floats
    effects: pd.DataFrame
    fixed: Mapping[str, str]
    facts: CurveFacts
    pooled: PooledInterval | None
    level: float
    label: str
    is_count: bool


def specification_curve_table(
    choices: pd.DataFrame,
    estimates: ArrayLike,
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    default: int | None = None,
    reference: float | None = None,
    pooled: PooledInterval | None = None,
    level: float = 0.8,
    label: str = "answer",
    is_count: bool = False,
    scale: str = "auto",
    nested: Mapping[str, str] | None = None,
) -> SpecificationCurve:
    """The tables that `specification_curve` draws.

    Args:
        choices: one row per analysis, one column per choice; a missing cell where a choice does not apply.
        estimates: the answers, (n,); NaN where an analysis has none.
        low: lower limits of their intervals, (n,); None for none.
        high: upper limits.
        default: position of the default analysis; None for none.
        reference: a value that the intervals may exclude; None for the answer of the default analysis.
        pooled: of `analysis.pooled_interval`; None not to draw it.
        level: mass of the intervals.
        label: the answer, with its unit.
        is_count: whether it counts parameters or tokens, written "73B".
        scale: as for `analysis.choice_effects`.
        nested: as for `analysis.choice_effects`.

    Raises:
        DataError: the arrays do not fit together, or no answer is finite.
        UsageError: an argument has no meaning.
    """
    import pandas as pd

    effects = choice_effects(choices, estimates, scale=scale, nested=nested)
    facts = curve_facts(estimates, low=low, high=high, reference=reference, default=default, level=level)
    answers = np.asarray(estimates, dtype=np.float64).reshape(-1)
    nothing = np.full(len(answers), np.nan)
    ends = [nothing if each is None else np.asarray(each, dtype=np.float64) for each in (low, high)]
    order = np.argsort(answers, kind="stable")
    order = order[np.isfinite(answers[order])]
    place = -1 if default is None else whole_number("default", default, high=len(answers) - 1)
    curve = pd.DataFrame(
        {
            "rank": np.arange(1, len(order) + 1),
            "estimate": answers[order],
            "low": ends[0][order],
            "high": ends[1][order],
        }
    )
    curve["side"] = _sides(curve, facts.reference)
    curve["default"] = order == place
    sorted_choices = choices.iloc[order].reset_index(drop=True)
    options, used = _options(sorted_choices, curve, effects)
    edges = _edges(len(order))
    return SpecificationCurve(
        curve=curve, options=options, used=used, bins=_running_medians(curve, edges),
        density=_density(used, edges), effects=effects[effects["n_options"] > 1].reset_index(drop=True),
        fixed=_fixed(sorted_choices, effects), facts=facts, pooled=pooled, level=float(level), label=label,
        is_count=is_count,
    )  # fmt: skip


def curve_of_answer(found: MultiverseAnswer) -> SpecificationCurve:
    """The tables of an answer of a multiverse."""
    low, high = found.limits
    return specification_curve_table(
        found.choices, found.estimates, low=low, high=high, default=found.default, reference=found.reference,
        pooled=found.interval if found.is_resampled else None, level=found.level, label=found.label,
        is_count=found.is_count, nested=found.nested,
    )  # fmt: skip


def option_text(option: Any) -> str:
    """An option as its row is named."""
    if isinstance(option, numbers.Real) and not isinstance(option, bool | np.bool_):
        return plain_number(float(option))
    text = visible(str(option))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _sides(curve: pd.DataFrame, reference: float) -> list[str]:
    if not math.isfinite(reference):
        return [""] * len(curve)
    low, high = curve["low"].to_numpy(), curve["high"].to_numpy()
    names = np.where(high < reference, "below", np.where(low > reference, "above", "within"))
    return np.where(np.isnan(low) | np.isnan(high), "", names).tolist()


def _options(
    choices: pd.DataFrame, curve: pd.DataFrame, effects: pd.DataFrame
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The rows below the curve: choices by their share, options by number or by median answer."""
    import pandas as pd

    estimates, default = curve["estimate"].to_numpy(), curve["default"].to_numpy()
    rows: list[dict[str, Any]] = []
    used: list[NDArray[np.bool_]] = []
    for _, effect in effects[effects["n_options"] > 1].iterrows():
        cells = choices[effect["choice"]]
        groups = [(option, (cells == option).to_numpy(bool)) for option in cells.dropna().unique()]
        for option, taken in _joined(_ordered(groups, estimates)):
            used.append(taken)
            rows.append(
                {
                    "choice": effect["choice"], "option": option, "n": int(taken.sum()),
                    "median": float(np.median(estimates[taken])), "share": effect["share"],
                    "default": bool((taken & default).any()),
                }
            )  # fmt: skip
    columns = ["choice", "option", "n", "median", "share", "default"]
    return pd.DataFrame(rows, columns=columns), np.array(used, dtype=bool).reshape(len(rows), len(curve))


def _ordered(
    groups: list[tuple[Any, NDArray[np.bool_]]], estimates: Floats
) -> list[tuple[Any, NDArray[np.bool_]]]:
    """By number where all options but one, such as "auto", are numbers; otherwise by median answer."""
    values = [_as_number(option) for option, _ in groups]
    if sum(map(math.isnan, values)) > min(1, len(groups) - 2):
        values = [float(np.median(estimates[taken])) for _, taken in groups]
    return [groups[i] for i in np.argsort(values, kind="stable")]  # NaN last


def _as_number(option: Any) -> float:
    try:
        return float(str(option))
    except ValueError:
        return math.nan


def _joined(groups: list[tuple[Any, NDArray[np.bool_]]]) -> list[tuple[str, NDArray[np.bool_]]]:
    """The options as texts; of too many, those between the extremes in one."""
    named = [(option_text(option), taken) for option, taken in groups]
    if len(named) <= _MOST_OPTIONS:
        return named
    first, last = named[: _MOST_OPTIONS // 2], named[-(_MOST_OPTIONS // 2 - 1) :]
    between = named[len(first) : -len(last)]
    return [*first, (f"{len(between)} between", np.any([taken for _, taken in between], axis=0)), *last]


def _fixed(choices: pd.DataFrame, effects: pd.DataFrame) -> dict[str, str]:
    single = effects[effects["n_options"] == 1]["choice"]
    return {name: option_text(choices[name].dropna().iloc[0]) for name in single}


def _edges(n: int) -> NDArray[np.intp]:
    """Limits of the bins of ranks, as positions."""
    bins = int(np.clip(n // _LEAST_PER_BIN, 1, _MOST_BINS))
    return np.unique(np.linspace(0, n, bins + 1).round().astype(np.intp))


def _running_medians(curve: pd.DataFrame, edges: NDArray[np.intp]) -> pd.DataFrame:
    import pandas as pd

    bin_of = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    medians = curve[["low", "high"]].groupby(bin_of).median()  # without those that have no interval
    return pd.DataFrame(
        {
            "low": edges[:-1] + 0.5, "high": edges[1:] + 0.5,
            "median_low": medians["low"].to_numpy(), "median_high": medians["high"].to_numpy(),
        }
    )  # fmt: skip


def _density(used: NDArray[np.bool_], edges: NDArray[np.intp]) -> Floats:
    if not len(used):
        return np.empty((0, len(edges) - 1))
    in_bin = np.add.reduceat(used, edges[:-1], axis=1, dtype=np.float64) / np.diff(edges)
    return np.asarray(in_bin / used.mean(axis=1, keepdims=True))
