"""What a multiverse comes to, in the sentences that a referee would ask for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.labels import choice_name, percent_text
from chinchilla_jax._util.text import count_text, plain_number, scaled_number

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.analysis.multiverse_summary import CurveFacts, PooledInterval, VarianceSplit

_DIGITS = 3
_IDLE = 0.005  # of the variance, below which no choice is said to move the answer


def multiverse_sentence(
    facts: CurveFacts,
    effects: pd.DataFrame,
    *,
    answer: str,
    pooled: PooledInterval | None = None,
    split: VarianceSplit | None = None,
    is_count: bool = False,
) -> str:
    """What the analyses say, which choice moves them, and what resampling adds.

    Args:
        facts: of `curve_facts`.
        effects: of `choice_effects`.
        answer: the quantity, with its budget, as the subject of a sentence in the singular: "the
            compute-optimal number of tokens per parameter at 1e22 FLOP".
        pooled: of `pooled_interval`; None to say nothing of resampling.
        split: of `split_variance`.
        is_count: whether it counts parameters or tokens, written "73B".
    """
    parts = [_range(facts, answer, is_count), _mover(effects)]
    if pooled is not None:
        parts.append(_resampling(pooled, split, is_count))
    if math.isfinite(facts.share_below):
        parts.append(_reference(facts, is_count))
    if facts.n_failed:
        parts.append(f"{count_text(facts.n_failed, 'analysis', 'analyses')} gave no answer.")
    return " ".join(part for part in parts if part)


def _percent(share: float) -> str:
    return "under 1%" if 0 < share < 0.01 else f"{share:.0%}"


def _number(value: float, is_count: bool) -> str:
    if is_count:
        return scaled_number(value, _DIGITS)
    rounded = float(f"{value:.{_DIGITS}g}")
    # In a sentence "1,270" reads better than "1.27e3".
    return plain_number(int(rounded) if 1e3 <= abs(rounded) < 1e6 else value, _DIGITS)


def _span(low: float, high: float, is_count: bool) -> str:
    return f"from {_number(low, is_count)} to {_number(high, is_count)}"


def _range(facts: CurveFacts, answer: str, is_count: bool) -> str:
    if facts.n == 1:
        return f"The one analysis with an answer gives {_number(facts.median, is_count)} for {answer}."
    return (
        f"Over {facts.n:,} defensible analyses {answer} runs "
        f"{_span(facts.lowest, facts.highest, is_count)} (median {_number(facts.median, is_count)}, central "
        f"{percent_text(facts.level)} {_span(facts.low, facts.high, is_count)})."
    )


def _mover(effects: pd.DataFrame) -> str:
    first = effects.iloc[0]
    if effects.attrs["n"] == 1 or first["share"] < _IDLE:
        return ""
    name = choice_name(str(first["choice"]))
    text = f"{name[0].upper()}{name[1:]} moves it most: {first['share']:.0%} of the variance between analyses"
    if first["lowest"] is not None and np.isfinite(first["move"]):
        text += f", {_move(first, effects.attrs['scale'])}"
    if len(effects) > 1 and effects["share"].iloc[1] >= 0.1:
        second = effects.iloc[1]
        text += f"; next is {choice_name(str(second['choice']))}, {second['share']:.0%}"
    return text + "."


def _move(row: Any, scale: str) -> str:
    size = f"{row['move']:.3g}"
    between = f"from {row['lowest']} to {row['highest']}"
    return f"a factor of {size} {between}" if scale == "log" else f"{size} {between}"


def _resampling(pooled: PooledInterval, split: VarianceSplit | None, is_count: bool) -> str:
    level = percent_text(pooled.level)
    text = f"Choices and resampling together span {_span(pooled.low, pooled.high, is_count)} ({level})"
    if math.isfinite(pooled.times_as_wide):
        own = _span(pooled.default_low, pooled.default_high, is_count)
        text += f", {pooled.times_as_wide:.2g} times the width of the default analysis by itself ({own})"
    if split is not None and split.total > 0:
        text += f"; the choices make {split.share_of_choices:.0%} of that variance"
    return text + "."


def _reference(facts: CurveFacts, is_count: bool) -> str:
    own = math.isfinite(facts.default) and facts.default == facts.reference
    what = "the default analysis's answer" if own else _number(facts.reference, is_count)
    if not facts.share_excluding:
        return f"No interval excludes {what}."
    sides = [
        f"{_percent(share)} lie {side}"
        for share, side in ((facts.share_below, "below"), (facts.share_above, "above"))
        if share > 0
    ]
    text = _percent(facts.share_excluding)
    return f"{text[0].upper()}{text[1:]} of the intervals exclude {what} ({', '.join(sides)})."
