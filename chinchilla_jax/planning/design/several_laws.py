"""A choice that is robust over several laws: the mean of ln of the widths under each of them.

Every law is fitted to the same runs and bootstrapped on the same resamples, and each has its own truths in
the simulation. Widths under different laws are of different sizes; the mean of their logarithms asks for
equal relative gains, whatever their size (Dette 1997, see exchange.py).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import list_text
from chinchilla_jax.laws import read_law
from chinchilla_jax.planning.design.asking import ask

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax.laws import Law
    from chinchilla_jax.planning.design.exchange import Exchange
    from chinchilla_jax.planning.design.question import Question
    from chinchilla_jax.planning.design.simulation import Simulated

    Choice = tuple[int, ...]


def under_others(question: Question, laws: Sequence[Law | str], **asked: Any) -> list[Question]:
    """The same question under other laws, of the same candidates in the same order.

    Args:
        question: under the first law.
        laws: the others; one that is the first, or named twice, counts once.
        **asked: the other arguments of `ask`.

    Raises:
        UsageError: a law has no such target, or predicts from what the candidates do not have.
        NoEstimateError: the fit of a law is not certified, or most of its laws lack the target.
    """
    first = question.boot.point.model
    found = []
    for law in dict.fromkeys(read_law(each) for each in laws):
        if law.name == first.name:
            continue
        missing = [name for name in law.columns if name not in question.places.variables]
        if missing:
            raise UsageError(
                f"laws: {law.name} predicts from {list_text(missing)} too; give candidates with such a "
                "column, or leave it out"
            )
        found.append(ask(question.runs, law, candidates=question.places, level=question.level, **asked))
    return found


def together(questions: Sequence[Question], *, bend: bool) -> Exchange:
    """The choice by the mean over the laws; with `bend`, where each of them may bend."""
    each = [question.bent if bend else question.plain for question in questions]
    if len(each) == 1:
        return each[0]
    # Laws count alike, whatever number of views each has.
    least = min(len(exchange.views) for exchange in each)
    return dataclasses.replace(each[0], views=[view for exchange in each for view in exchange.views[:least]])


def mean_over(
    choice: Sequence[Simulated], other: Sequence[Simulated], shares: NDArray[np.float64]
) -> tuple[float, float]:
    """`Simulated.over` as a mean over the laws, and its Monte-Carlo error."""
    found = [one.over(two, shares) for one, two in zip(choice, other, strict=True)]
    count = len(found)
    return sum(mean for mean, _ in found) / count, math.hypot(*(error for _, error in found)) / count


def alone_name(question: Question) -> str:
    """What the choice of the first law is called where there are others."""
    return f"{question.boot.point.model.name} alone"


def law_table(
    questions: Sequence[Question],
    found: Mapping[Choice, Sequence[Simulated]],
    chosen: Choice,
    alone: Choice | None,
) -> pd.DataFrame:
    """One row per law, see `NextRuns.by_law`."""
    import pandas as pd

    rows = [
        (question.boot.point.model.name, question.widths(())[0], question.widths(chosen)[0],
         found[()][k].widths[0], found[chosen][k].widths[0], found[chosen][k].errors[0],
         found[chosen if alone is None else alone][k].widths[0])
        for k, question in enumerate(questions)
    ]  # fmt: skip
    names = ["law", "linear_before", "linear_after", "before", "after", "error", "alone"]
    return pd.DataFrame(rows, columns=names)
