"""One answer over all analyses of a multiverse: its curve, the choices that move it, and its interval."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import DataError
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.validation import real_array
from chinchilla_jax.analysis.multiverse_effects import choice_effects, choice_interactions
from chinchilla_jax.analysis.multiverse_sentences import multiverse_sentence
from chinchilla_jax.analysis.multiverse_summary import (
    CurveFacts,
    PooledInterval,
    VarianceSplit,
    curve_facts,
    pooled_interval,
    split_variance,
)
from chinchilla_jax.intervals.quantiles import low_median_high

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MultiverseAnswer:
    """One answer of n analyses, such as the tokens per parameter at a budget; what follows from it when read.

    Attributes:
        choices: one row per analysis, one column per choice; a missing cell where a choice does not apply.
        estimates: the answers, (n,); NaN where an analysis has none.
        draws: those of the resamples, (n, R); NaN where a resample failed, or the analysis has no answer.
        default: position of the default analysis; None for none.
        reference: a value that intervals may exclude; None for the answer of the default analysis.
        level: mass of the intervals.
        subject: the answer as the subject of a sentence.
        label: the answer with its unit, for an axis.
        is_count: whether it counts parameters or tokens.
        nested: from a choice to the one within which it lies; None to find them by the missing cells.
    """

    choices: pd.DataFrame
    estimates: Floats
    draws: Floats
    default: int | None = None
    reference: float | None = None
    level: float = 0.8
    subject: str = "the answer"
    label: str = "answer"
    is_count: bool = False
    nested: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        """The sentences; the numbers are in the attributes."""
        return f"<MultiverseAnswer of {len(self.estimates):,} analyses: {self.sentence}>"

    @functools.cached_property
    def effects(self) -> pd.DataFrame:
        """`choice_effects`: which choice moves the answer."""
        return choice_effects(self.choices, self.estimates, nested=self.nested)

    @functools.cached_property
    def width_effects(self) -> pd.DataFrame:
        """`choice_effects` of the width of the intervals: which choice makes the answer look more certain.

        Of the ratio of the limits where all are positive, else of their difference. The resampling scheme
        moves this alone.

        Raises:
            DataError: no analysis with an answer has an interval.
        """
        low, high = self.limits
        known = np.isfinite(low) & np.isfinite(high)
        with np.errstate(all="ignore"):
            widths = np.log(high / low) if (low[known] > 0).all() else high - low
        return choice_effects(self.choices, np.where(known, widths, np.nan), nested=self.nested)

    @functools.cached_property
    def interactions(self) -> pd.DataFrame:
        """`choice_interactions`: pairs of choices that do more together."""
        return choice_interactions(self.choices, self.estimates, nested=self.nested)

    @functools.cached_property
    def limits(self) -> tuple[Floats, Floats]:
        """Lower and upper percentile limits of each analysis by its own resamples, (n,) each; NaN: none."""
        low, _, high = low_median_high(self.draws.T, self.level)
        return low, high

    @functools.cached_property
    def facts(self) -> CurveFacts:
        """`curve_facts`: range, median, and how many intervals exclude the reference."""
        low, high = self.limits
        return curve_facts(
            self.estimates, low=low, high=high, reference=self.reference, default=self.default,
            level=self.level,
        )  # fmt: skip

    @functools.cached_property
    def interval(self) -> PooledInterval:
        """`pooled_interval`: over choices and resampling together."""
        return pooled_interval(self.draws, self.level, default=self.default)

    @functools.cached_property
    def variance(self) -> VarianceSplit:
        """`split_variance`: how much of the variance is resampling, and how much the choices."""
        return split_variance(self.estimates, self.draws)

    @functools.cached_property
    def is_resampled(self) -> bool:
        """Whether any analysis has two resamples with an answer, so that `interval` and `variance` exist."""
        return bool(np.isfinite(self.draws).sum(axis=1).max(initial=0) > 1)

    @functools.cached_property
    def sentence(self) -> str:
        """What it comes to, in a few sentences."""
        several = self.is_resampled
        return multiverse_sentence(
            self.facts,
            self.effects,
            answer=self.subject,
            pooled=self.interval if several else None,
            split=self.variance if several else None,
            is_count=self.is_count,
        )

    @written_in("chinchilla_jax.plots", "specification_curve")
    def plot(self, *, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes, Axes]:
        """Draw the specification curve, as `chinchilla_jax.plots.specification_curve` does."""
        raise NotImplementedError


def multiverse_answer(
    choices: pd.DataFrame,
    estimates: ArrayLike,
    draws: ArrayLike,
    *,
    default: int | None = None,
    reference: float | None = None,
    level: float = 0.8,
    subject: str = "the answer",
    label: str = "answer",
    is_count: bool = False,
    nested: Mapping[str, str] | None = None,
) -> MultiverseAnswer:
    """Gather an answer of n analyses and of their R resamples.

    Args:
        choices: one row per analysis, one column per choice; a missing cell where a choice does not apply.
        estimates: the answers, (n,); NaN or infinite where an analysis has none.
        draws: those of the resamples, (n, R); NaN where a resample failed. Those of an analysis without an
            answer do not count.
        default: position of the default analysis.
        reference: a value that intervals may exclude, such as 20 tokens per parameter.
        level: mass of the intervals.
        subject: the answer as the subject of a sentence.
        label: the answer with its unit, for an axis.
        is_count: whether it counts parameters or tokens.
        nested: from a choice to the one within which it lies; None to find them by the missing cells.

    Raises:
        DataError: the arrays do not fit together.
    """
    answers, rows = real_array("estimates", estimates).reshape(-1), real_array("draws", draws)
    if rows.ndim != 2 or len(rows) != len(answers):
        raise DataError(
            f"draws has shape {rows.shape}; give ({len(answers)}, resamples), a row for each estimate"
        )
    missing = ~np.isfinite(answers)
    if missing.any():
        rows = np.where(missing[:, None], np.nan, rows)
    return MultiverseAnswer(
        choices=choices, estimates=np.where(missing, np.nan, answers), draws=rows, default=default,
        reference=reference, level=level, subject=subject, label=label, is_count=is_count, nested=nested,
    )  # fmt: skip
