"""The tables of an answer of `next_runs`: the runs, the widths of the targets and the price list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.planning.prediction_places import inside_hull

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.planning.design.exchange import Exchange
    from chinchilla_jax.planning.design.question import Question
    from chinchilla_jax.planning.design.simulation import Simulated


def _in_order(question: Question, chosen: Sequence[int]) -> list[int]:
    """The runs in the order in which they bring most."""
    left = list(chosen)
    order: list[int] = []
    while left:
        best = min(left, key=lambda place: question.plain.criterion([*order, place]))
        left.remove(best)
        order.append(best)
    return order


def run_table(question: Question, chosen: Sequence[int]) -> pd.DataFrame:
    """`NextRuns.table`."""
    import pandas as pd

    order = _in_order(question, chosen)
    places = question.places.take(np.array(order, np.intp))
    columns = {
        "params": places.params, "tokens": places.tokens, **places.variables, "flops": places.flops,
        "paid": question.paid[order],
        "tokens_per_param": places.tokens / places.params,
        "width": [question.widths(order[: i + 1])[0] for i in range(len(order))],
        "without": [question.widths(order[:i] + order[i + 1 :])[0] for i in range(len(order))],
        "inside": inside_hull(places, question.problem.design),
        "off_frontier": np.exp(question.off[order]),
    }  # fmt: skip
    return pd.DataFrame(columns)


def width_table(question: Question, chosen: Sequence[int], now: Simulated, after: Simulated) -> pd.DataFrame:
    """`NextRuns.widths`."""
    import pandas as pd

    before, linear = question.widths(()), question.widths(chosen)
    point = question.boot.point
    rows = []
    for t, target in enumerate(question.targets):
        low, _, high = question.interval(target)
        at_point = question.problem.law.fitted(point.theta[None], question.problem.design)
        estimate = float(question.reading.values(target, at_point)[0])
        rows.append(
            (target.text, target.natural(estimate), target.natural(low), target.natural(high), high - low,
             before[t], linear[t], now.widths[t], after.widths[t], after.errors[t],
             target.natural(after.low[t]), target.natural(after.high[t]), "ln" if target.log else "plain")
        )  # fmt: skip
    names = [
        "target", "estimate", "low", "high", "width", "linear_before", "linear_after", "before", "after",
        "error", "low_after", "high_after", "scale",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def price_table(
    question: Question, exchange: Exchange, allowance: float, most: int, robust: bool
) -> pd.DataFrame:
    """`NextRuns.prices`."""
    import pandas as pd

    rows = []
    for places in exchange.prices(allowance, most):
        at = question.places.take(np.array(places, np.intp))
        rows.append(
            (float(question.paid[list(places)].sum()), len(places), question.widths(places, bend=robust)[0],
             exchange.criterion(places) - exchange.criterion(()), at.params.tolist(), at.tokens.tolist())
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["flops", "runs", "linear", "weighted", "params", "tokens"])
