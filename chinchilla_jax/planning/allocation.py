"""What to train with a budget, how certain that is, and what published laws prescribe.

| code             | symbol      | shape | unit                                             |
|------------------|-------------|-------|--------------------------------------------------|
| flops            | C           | (R,)  | training FLOP                                    |
| params, tokens   | N, D        | (R,)  | counts                                           |
| tokens_per_param | D/N         | (R,)  | 1                                                |
| loss             | L           | (R,)  | nats per token                                   |
| rule_overhead    | C/C' - 1    | (R,)  | 1; C' reaches the loss of the rule of thumb at C |

Given a budget, a size, tokens or a loss, the others follow per law from the closed forms of `frontier.py`
(Hoffmann et al. 2022, arXiv:2203.15556, eq. 4); their quantiles over the laws are the intervals.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, RULE_OF_THUMB
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.frontier import log_budget, log_compute_overhead, log_optimal_excess
from chinchilla_jax.planning.law_sample import SUMMARY_COLUMNS, LawSample, boundary_table, summary
from chinchilla_jax.planning.plausibility import plan_doubts
from chinchilla_jax.planning.references import REFERENCES, reference_flops

if TYPE_CHECKING:
    import pandas as pd

TARGETS = ("flops", "params", "tokens", "loss")
QUANTITIES = ("flops", "params", "tokens", "tokens_per_param", "loss", "rule_overhead")
NEW_RUN_LOSS = "new_run_loss"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A prescription with its uncertainty.

    Attributes:
        target: what was given: "flops", "params", "tokens" or "loss".
        value: its value.
        level: mass of the intervals.
        ratio: tokens per parameter of the rule of thumb.
        table: rows `QUANTITIES`, and where the residuals of the runs are known `NEW_RUN_LOSS`, the loss of
            one run; columns quantity, estimate (of the point fit), low, high, median. The row of the target
            repeats its value. A loss that some laws cannot reach costs +inf under them; the
            rows tokens_per_param and rule_overhead are over the other laws.
        references: one row per published prescription: law, flops, params, tokens, tokens_per_param, loss.
        n_unreachable: laws whose E is at or above the loss asked for.
        boundary: intervals with and without the laws whose E is 0, see `boundary_table`; None where few are
            concerned.
        sample: the laws behind it.
    """

    target: str
    value: float
    level: float
    ratio: float
    table: pd.DataFrame
    references: pd.DataFrame
    n_unreachable: int
    boundary: pd.DataFrame | None
    sample: LawSample

    @property
    def doubts(self) -> dict[str, str]:
        """What makes a row of `table` hard to believe, by quantity; see `plausibility.py`."""
        return plan_doubts(self.table, self.sample.largest_flops)


def plan(
    sample: LawSample, *, level: float = 0.8, ratio: float = RULE_OF_THUMB, **target: float | None
) -> Plan:
    """What to train.

    Args:
        sample: the laws to decide by.
        level: mass of the central percentile intervals.
        ratio: tokens per parameter of the rule whose cost is shown.
        **target: exactly one of flops (FLOP), params, tokens (counts) and loss (nats per token).

    Raises:
        UsageError: not exactly one target, a number that is not positive, or a loss that the point fit
            cannot reach.
    """
    import pandas as pd

    name, value = _one_target(target)
    ratio = positive_number("ratio", ratio, remedy="give tokens per parameter such as 20")
    central_tails(level)  # a wrong level fails before any work
    if name == "loss":
        require_reachable(sample, value)
    point = allocation(sample.point, name, value, ratio)
    every = allocation(sample.laws, name, value, ratio)
    require_room(f"{name} {value:g}", point)
    rows = [(quantity, *summary(point[quantity], every[quantity], level)) for quantity in QUANTITIES]
    if sample.errors is not None and name != "loss":
        drawn = every["loss"] * np.exp(sample.errors.draw(len(sample), 0))
        after = QUANTITIES.index("loss") + 1
        rows.insert(after, (NEW_RUN_LOSS, *summary(point["loss"], drawn, level)))
    return Plan(
        target=name,
        value=value,
        level=float(level),
        ratio=ratio,
        table=pd.DataFrame(rows, columns=["quantity", *SUMMARY_COLUMNS]),
        references=_reference_table(name, value),
        n_unreachable=int((value <= np.asarray(sample.laws.E)).sum()) if name == "loss" else 0,
        boundary=boundary_table(
            sample,
            level,
            {("tokens_per_param", np.nan): lambda law: allocation(law, name, value)["tokens_per_param"]},
        ),
        sample=sample,
    )


def allocation(
    law: ScalingLaw, target: str, value: ArrayLike, ratio: float = RULE_OF_THUMB
) -> dict[str, NDArray[np.float64]]:
    """Each of `QUANTITIES` on the frontier, where `target` is `value`.

    Args:
        law: laws with an optimum, shape s.
        target: one of `TARGETS`.
        value: positive, shape t, broadcast against s (see `frontier.py`).
        ratio: tokens per parameter of the rule of thumb.

    Returns:
        Arrays of the broadcast shape. Where a loss is not above E, flops, params and tokens are +inf and the
        two ratios NaN. Counts beyond float64 are +inf too.
    """
    log_flops = log_budget(law, target, value)
    intercept, slope = law.log_ratio_line()
    reachable = np.isfinite(log_flops)
    log_nd = np.where(reachable, log_flops, 0.0) - math.log(FLOPS_PER_PARAM_TOKEN)
    log_ratio = intercept + slope * log_nd
    rule = math.log(ratio)
    with np.errstate(over="ignore", under="ignore"):
        found = {
            "flops": np.exp(log_flops),
            "params": np.exp((log_nd - log_ratio) / 2),
            "tokens": np.exp((log_nd + log_ratio) / 2),
            "tokens_per_param": np.exp(log_ratio),
            "loss": law.E + np.exp(log_optimal_excess(law, np.where(reachable, log_flops, 0.0))),
            "rule_overhead": log_compute_overhead(law, (log_nd - rule) / 2, (log_nd + rule) / 2),
        }
    shape = np.broadcast_shapes(*(each.shape for each in found.values()))
    lost = {"tokens_per_param": np.nan, "rule_overhead": np.nan}
    found = {name: np.where(reachable, each, lost.get(name, np.inf)) for name, each in found.items()}
    found[target] = np.asarray(value, dtype=np.float64)
    return {name: np.broadcast_to(each, shape) for name, each in found.items()}


def require_reachable(sample: LawSample, loss: float) -> None:
    """Refuse a loss that no amount of compute reaches under the point fit.

    Raises:
        UsageError: the loss is not above the point fit's E.
    """
    floor = float(sample.point.E)
    if loss <= floor:
        raise UsageError(
            f"loss {loss:g} cannot be reached: the irreducible loss E is {floor:.4f} ({sample.source}); "
            "ask for a loss above it"
        )


def require_room(asked: str, point: dict[str, NDArray[np.float64]]) -> None:
    """Refuse a target whose optimum has less than one parameter or token.

    Args:
        asked: the target in words.
        point: "params" and "tokens" of the point fit.

    Raises:
        UsageError: one of them is below 1.
    """
    for name in ("params", "tokens"):
        if point[name] < 1:
            raise UsageError(
                f"{asked} leaves no room: its optimum has {float(point[name]):.3g} {name}; ask for more"
            )


def _one_target(target: dict[str, float | None]) -> tuple[str, float]:
    unknown = [name for name in target if name not in TARGETS]
    given = {name: value for name, value in target.items() if value is not None}
    if unknown or len(given) != 1:
        found = ", ".join(given) or "none"
        raise UsageError(
            f"plan: give exactly one of {', '.join(TARGETS)}; found {short(unknown[0]) if unknown else found}"
        )
    ((name, value),) = given.items()
    example = {"flops": "1e24", "params": "7e10", "tokens": "1.4e12", "loss": "2.1"}[name]
    return name, positive_number(name, value, remedy=f"give a number such as {example}")


def _reference_table(target: str, value: float) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for name, law in REFERENCES.items():
        flops = reference_flops(law, target, value)
        if not np.isfinite(flops):
            rows.append((name, flops, *(np.nan,) * 4))
            continue
        params, tokens = law.optimal(flops)
        loss = law.loss(params, tokens)
        rows.append((name, flops, float(params), float(tokens), float(tokens / params), float(loss)))
    return pd.DataFrame(rows, columns=["law", "flops", "params", "tokens", "tokens_per_param", "loss"])
