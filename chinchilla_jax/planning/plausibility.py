"""Whether a prescription can be believed at all: doubts that are shown in the line in which it is shown.

| code             | symbol | shape | unit                                                     |
|------------------|--------|-------|----------------------------------------------------------|
| flops            | C      | ()    | training FLOP                                            |
| largest          |        | ()    | FLOP of the largest run that was fitted; None: unknown   |
| tokens_per_param | D/N    | ()    | 1                                                        |

A fitted law answers every question, however far from its runs. Two doubts are shown beside the answer: that
the compute is more than a decade beyond the largest run, and that the tokens per parameter, or an end of
their interval, are outside 0.1 to 10,000. Trained models have from 0.5 (MT-NLG) to a few thousand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chinchilla_jax._util.labels import HEADLINE, INTERVAL_COLUMNS
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.laws.compute import FLOP_FACTOR, SIX_ND, Cost, params_times_tokens, training_flops
from chinchilla_jax.laws.fitted import FittedLaws
from chinchilla_jax.laws.optimum import has_optimum as has_optimum
from chinchilla_jax.laws.optimum import known_ratio as known_ratio
from chinchilla_jax.laws.optimum import no_optimum as no_optimum

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax.laws.drawn_cost import CostDraws


class Counts(Protocol):
    """What is read of runs, each (n,)."""

    @property
    def params(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def tokens(self) -> NDArray[np.float64]: ...  # noqa: D102


NEW_RUN_LOSS = "new_run_loss"
"""The row of a plan with the loss of one run."""
PLAUSIBLE_RATIOS = (0.1, 1e4)
FARTHEST = 10.0
_FEW_LEFT_OUT = 0.05  # of the laws, that an interval may do without unsaid
_NOTHING: Mapping[str, int] = MappingProxyType({})
_NEAR_COST = (
    1.02  # how far beyond those of its runs a measured cost per parameter and token is taken on trust
)
_RANGE = "0.1 to 10,000 tokens per parameter"
_ROUNDING = 1 + 1e-9


def is_countable(params: NDArray[np.float64], tokens: NDArray[np.float64]) -> bool:
    """Whether there are runs, and all counts are positive and finite, as is their 6 N D."""
    with np.errstate(over="ignore", invalid="ignore"):
        flops = training_flops(params, tokens)
    return bool(len(flops) and np.all((flops > 0) & np.isfinite(flops)))


def largest_compute(runs: Counts, cost: Cost = SIX_ND) -> float | None:
    """Compute (FLOP) of the largest run by this cost; None where a count is not positive and finite."""
    spanned = compute_range(runs, cost)
    return None if spanned is None else spanned[1]


def compute_range(runs: Counts, cost: Cost = SIX_ND) -> tuple[float, float] | None:
    """Compute (FLOP) of the smallest and of the largest run; None where `largest_compute` is."""
    params, tokens = np.asarray(runs.params), np.asarray(runs.tokens)
    if not is_countable(params, tokens):
        return None
    flops = cost.flops(params, tokens)
    return float(flops.min()), float(flops.max())


def times_beyond(flops: float, largest: float | None) -> str:
    """How many times the compute of the largest run a budget (FLOP) is, if more than ten; "" otherwise."""
    if largest is None or not FARTHEST * _ROUNDING < flops / largest < math.inf:
        return ""
    times = flops / largest
    return f"{times:,.0f}x" if 100 <= times < 1e6 else f"{times:.3g}x"


def compute_doubt(flops: float, largest: float | None) -> str:
    """`times_beyond` in words."""
    times = times_beyond(flops, largest)
    return times and f"{times} the compute of the largest run"


def ratio_doubt(ratio: float, low: float = math.nan, high: float = math.nan) -> str:
    """That tokens per parameter, or an end of their interval, are implausible; "" where they are not."""
    least, most = PLAUSIBLE_RATIOS
    if ratio < least or ratio > most:
        return f"implausible: outside {_RANGE}"
    return f"interval beyond {_RANGE}" if low < least or high > most else ""


def prescription_doubt(
    flops: float, ratio: float, low: float = math.nan, high: float = math.nan, *, largest: float | None
) -> str:
    """Both doubts about tokens per parameter at a budget, with their interval if there is one."""
    return "; ".join(filter(None, (compute_doubt(flops, largest), ratio_doubt(ratio, low, high))))


def band_doubts(band: Mapping[str, Sequence[float]] | pd.DataFrame, largest: float | None) -> list[str]:
    """`prescription_doubt` of each row of a table with the columns flops, estimate, low and high.

    Args:
        band: tokens per parameter.
        largest: see the top of this file.
    """
    columns = (band[name] for name in ("flops", *INTERVAL_COLUMNS))
    return [prescription_doubt(*map(float, row), largest=largest) for row in zip(*columns, strict=True)]


def overhead_doubt(estimate: float, low: float, high: float) -> str:
    """That an interval of an excess over the optimum leaves its estimate out; "" where it does not.

    An excess is never negative, and 0 at the optimum of each law. Where the estimate is near the optimum, the
    optima of the resamples lie on both sides of it, and nearly all excesses are larger.
    """
    return f"never below 0: read as up to {100 * high:.3g}%" if estimate < low else ""


def interval_doubt(estimate: float, low: float, high: float, of: str = "") -> str:
    """That an interval leaves its estimate out; "" where it does not.

    New runs scatter about the middle of the losses. An objective that is not symmetric puts the law to one
    side of that, and a narrow interval then leaves it out.
    """
    return (
        "" if low / _ROUNDING <= estimate <= high * _ROUNDING else f"the interval {of}leaves out the estimate"
    )


def cost_doubt(cost: Cost, params: float, tokens: float, costs: tuple[CostDraws, float] | None = None) -> str:
    """That a measured cost is no likely one, or extrapolated; "" for neither, or nothing was measured.

    Args:
        cost: of all runs.
        params: N of the model.
        tokens: D.
        costs: of the resamples, and the level of the interval over them that bounds an extrapolated one.
    """
    if cost.evidence is None or not cost.evidence.n or not (0 < params < math.inf and 0 < tokens < math.inf):
        return ""
    times = float(cost.per_6nd(params, tokens))
    low, high = cost.evidence.lowest, cost.evidence.highest
    if low < 1 / FLOP_FACTOR or high > FLOP_FACTOR:
        first, last = f"{low:,.4g}", f"{high:,.4g}"
        found = first if first == last else f"{first} to {last}"
        return f"{cost.evidence.of} are {found} times 6 N D: check the units of the table"
    if low / _NEAR_COST <= times <= high * _NEAR_COST:
        return ""
    bounded = ""
    if costs is not None:
        first, _, last = low_median_high(costs[0].per_6nd(params, tokens), costs[1])
        bounded = f" ({100 * costs[1]:g}%: {float(first):.3g} to {float(last):.3g})"
    return f"costs {times:.3g} times 6 N D{bounded}, and the runs {low:.3g} to {high:.3g}"


def left_out_doubt(left_out: int, laws: int) -> str:
    """That a number is of some laws only; "" where nearly all have it."""
    if left_out <= _FEW_LEFT_OUT * laws or laws < 2:
        return ""
    return f"of {laws - left_out:,} of {laws:,} laws; the others have none and are left out"


def plan_doubts(
    table: pd.DataFrame,
    largest: float | None,
    cost: Cost = SIX_ND,
    left_out: Mapping[str, int] = _NOTHING,
    laws: int = 0,
    costs: tuple[CostDraws, float] | None = None,
) -> dict[str, str]:
    """Doubts about a plan, by quantity: its compute; its size, tokens and their ratio; its overhead.

    Also about each row that is over some of the laws only.

    Args:
        table: rows tokens_per_param and, where the plan names its compute, flops; columns quantity,
            estimate, low, high.
        largest: see the top of this file.
        cost: what training costs.
        left_out: how many laws are left out of a row, by quantity.
        laws: how many there are.
        costs: see `cost_doubt`.
    """
    rows: dict[str, Any] = table.set_index("quantity").to_dict("index")
    ratio = rows["tokens_per_param"]
    said = ratio_doubt(*(ratio[name] for name in INTERVAL_COLUMNS))
    found = dict.fromkeys(("params", "tokens", "tokens_per_param"), said)
    if "flops" in rows:
        active = "params_active" if "params_active" in rows else "params"
        params, tokens = rows[active][HEADLINE], rows["tokens"][HEADLINE]
        both = (
            compute_doubt(rows["flops"][HEADLINE], largest),
            cost_doubt(cost, params, tokens, costs),
        )
        found["flops"] = "; ".join(filter(None, both))
    if NEW_RUN_LOSS in rows:
        found[NEW_RUN_LOSS] = interval_doubt(*(rows[NEW_RUN_LOSS][name] for name in INTERVAL_COLUMNS))
    if "rule_overhead" in rows:
        found["rule_overhead"] = overhead_doubt(*(rows["rule_overhead"][name] for name in INTERVAL_COLUMNS))
    for quantity, count in left_out.items():
        both = found.get(quantity, ""), left_out_doubt(count, laws)
        found[quantity] = "; ".join(filter(None, both))
    return {quantity: doubt for quantity, doubt in found.items() if doubt}


def clear_edges(
    band: Mapping[str, Sequence[Any]], laws: FittedLaws, counted: NDArray[np.bool_]
) -> tuple[dict[str, list[Any]], str]:
    """A band of tokens per parameter without the limits that only laws without an optimum reach.

    Args:
        band: columns flops, and ratios over the laws (estimate, low, high, median), in which 0 and +inf stand
            for an optimum at an edge.
        laws: (R,).
        counted: which of them the band is over, (R,).

    Returns:
        The band with NaN in place of 0 and +inf, and a sentence about it; "" where there are none.
    """
    kept = {name: list(values) for name, values in band.items()}
    ratios = [name for name in (*INTERVAL_COLUMNS, "median") if name in kept]
    cleared = {name: list(map(known_ratio, kept[name])) for name in ratios}
    if not any(math.isnan(v) for values in cleared.values() for v in values) or not counted.any():
        return kept, ""
    with np.errstate(invalid="ignore", over="ignore"):
        line, flops = laws.log_ratio_line(), float(band["flops"][0])
        if line is None:
            found = np.asarray(laws.tokens_per_param(flops))
        else:
            found = np.exp(line[0] + line[1] * np.log(params_times_tokens(flops)))
        found = found[counted]
    lost = int(np.sum(~((found > 0) & np.isfinite(found))))
    return kept | cleared, (
        f"{lost:,} of {len(found):,} laws have no compute-optimal point, because an exponent is not "
        "positive; limits that only they reach are left out"
    )
