"""What to train: prescriptions with their uncertainty, and what published laws prescribe.

A budget, a size, tokens or a loss is given; the others follow per law from `allocation.py`, and their
quantiles over the laws are the intervals.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from chinchilla_jax._util.cards import Card, ShownInNotebooks, frame_card
from chinchilla_jax._util.errors import NoOptimumError, UsageError
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.labels import percent_text, quantity_label, quantity_text
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.bootstrapping.asking import as_bootstrap
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws.best_allocation import SPARSITY, Found
from chinchilla_jax.laws.compute import GOPHER_FLOPS, RULE_OF_THUMB, Cost
from chinchilla_jax.laws.fitted import FittedLaw, FittedLaws
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.allocation import (
    UNIQUE,
    Array,
    frontier_of,
    require_reachable,
    require_room,
    sampled_allocation,
)
from chinchilla_jax.planning.law_sample import SUMMARY_COLUMNS, LawSample, boundary_table, summary
from chinchilla_jax.planning.plausibility import NEW_RUN_LOSS, plan_doubts
from chinchilla_jax.planning.references import REFERENCES, reference_flops

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.fitting.result import FitResult

_SHOWN = ("params", "tokens", "tokens_per_param", "loss", "flops")  # of a plan, on a line
TARGETS = ("flops", "params", "tokens", "loss")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Plan(ShownInNotebooks):
    """A prescription with its uncertainty.

    Attributes:
        target: what was given: "flops", "params", "tokens" or "loss".
        value: its value.
        level: mass of the intervals.
        ratio: tokens per parameter of the rule of thumb.
        table: rows `QUANTITIES`, params_active after params where only a share of the parameters is active,
            epochs after tokens where unique_tokens are given, and where the residuals of the runs are known
            `NEW_RUN_LOSS`, the loss of one run; columns quantity, estimate (of the point fit), low, high,
            median. The row of the target repeats its value. A loss that some laws cannot reach costs +inf
            under them; the rows tokens_per_param and rule_overhead are over the other laws.
        beside: the same budget otherwise, in the columns of `table` after one that says how: on tokens that
            are all new, and without seeing one of unique_tokens twice; with all parameters active. Empty
            where the laws have no such variable.
        references: one row per published prescription, by the cost of the plan: law, flops, params, tokens,
            tokens_per_param, loss.
        n_unreachable: laws that cannot reach the loss asked for.
        n_edges: laws whose optimum here is at an edge or nowhere, which are left out of what follows from it.
        boundary: intervals with and without the laws whose E is 0, see `boundary_table`; None where few are
            concerned.
        sample: the laws behind it, with the cost and the variables of the plan.
        left_out: how many laws have no such number and are left out of a row, by quantity.

    Of several values, each table begins with a column of the target's name, and the numbers are their sums.
    """

    target: str
    value: float | tuple[float, ...]
    level: float
    ratio: float
    table: pd.DataFrame
    beside: pd.DataFrame
    references: pd.DataFrame
    n_unreachable: int
    n_edges: int
    boundary: pd.DataFrame | None
    sample: LawSample
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @written_in("chinchilla_jax.plots", "plan")
    def plot(
        self, *, models: pd.DataFrame | None = None, axes: Sequence[Axes] | None = None
    ) -> tuple[Axes, Axes]:
        """Draw the plan on its curves, among the runs, as `chinchilla_jax.plots.plan` does."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """What to train at the first value; all of it is in `table`."""
        first, *others = self.values
        said = [f"{name.replace('_', ' ')} {text}" for name, text in self._texts(first).items()]
        given = f"{self.target} {quantity_text(self.target, first)}"
        more = f"; {len(others)} more in the table" if others else ""
        return f"<Plan for {given}: {', '.join(said)}; {percent_text(self.level)} intervals{more}>"

    def _card(self) -> Card:
        first, *others = self.values
        notes = [
            f"low and high: {percent_text(self.level)} interval",
            *self.doubts.values(),
            *self.sample.warnings,
        ]
        unit = self.sample.loss_unit
        target = quantity_label(self.target, unit)
        if not others:
            title = f"Plan for {target} {quantity_text(self.target, first)}"
            columns = {"quantity": "quantity", "estimate": "", "low": "", "high": ""}
            return frame_card(title, self._rows(first), columns, notes, unit)
        title = f"Plan for {len(self.values)} values of {target}"
        rows = [(quantity_text(self.target, each), *self._texts(each).values()) for each in self.values]
        header = [quantity_label(name, unit) for name in (self.target, *self._texts(first))]
        return Card(title, header, rows, ["estimate (low to high)", *notes])

    def _texts(self, value: float) -> dict[str, str]:
        """Estimate and interval of what a line has room for."""
        return {
            name: "{} ({} to {})".format(*(quantity_text(name, each) for each in numbers[:3]))
            for name, *numbers in self._rows(value).itertuples(index=False, name=None)
            if name in _SHOWN
        }

    @property
    def values(self) -> tuple[float, ...]:
        """What was given, one value or several."""
        return self.value if isinstance(self.value, tuple) else (self.value,)

    def _rows(self, value: float) -> pd.DataFrame:
        """What follows from one of the values, in the columns of the table of a plan of one."""
        table = self.table
        if isinstance(self.value, tuple):
            table = table[table[self.target] == value].drop(columns=self.target)
        return table[table["quantity"] != self.target]

    @property
    def doubts(self) -> dict[str, str]:
        """What makes a row of `table` hard to believe, by quantity; see `plausibility.py`.

        Of a plan of several values, about the first.
        """
        table = self.table
        if isinstance(self.value, tuple):
            table = table[table[self.target] == self.value[0]].drop(columns=self.target)
        sample = self.sample
        costs = None if sample.costs is None else (sample.costs, self.level)
        return plan_doubts(table, sample.largest_flops, sample.cost, self.left_out, len(sample), costs)


def plan(
    laws: LawSample | BootstrapResult | FitResult | ScalingLaw | Runs | TableLike,
    flops: ArrayLike | None = None,
    *,
    params: ArrayLike | None = None,
    tokens: ArrayLike | None = None,
    loss: ArrayLike | None = None,
    level: float = 0.8,
    ratio: float = RULE_OF_THUMB,
    cost: Cost | str | None = None,
    variables: Mapping[str, float] | None = None,
) -> Plan:
    """What to train, for a budget, a size, tokens or a loss: exactly one of them, one number or several.

    Args:
        laws: the laws to decide by: a bootstrap of any law, a `LawSample`, or one law. A fit is bootstrapped
            first, and so are runs, or anything else that `load_runs` takes.
        flops: budgets (FLOP).
        params: sizes (count).
        tokens: training tokens (count).
        loss: losses of the optimum (nats per token).
        level: mass of the central percentile intervals.
        ratio: tokens per parameter of the rule whose cost is shown.
        cost: what training costs: a `Cost`, "6nd", or "measured" for that of the runs' own FLOP. None takes
            what was measured where the runs have FLOP of their own, and 6 N D elsewhere.
        variables: what else the laws predict from, by name, such as {"unique_tokens": 3e11}.

    Raises:
        DataError: a table cannot be read.
        UsageError: not exactly one target, a number that is not positive, a loss that the point fit cannot
            reach, or a variable that the laws do not have or miss.
        NoOptimumError: the point fit has its optimum at an edge.

    Example:
        >>> cj.plan(boot, 1e24)
        <Plan for flops 1e24: params 97.18B (76.99B to 133.1B), tokens 1.715T (1.252T to 2.165T), tokens per
        param 17.65 (9.404 to 28.12), loss 1.959 (1.942 to 1.977); 80% intervals>
        >>> cj.plan(boot, [1e21, 1e22]).table.query("quantity == 'params'").shape
        (2, 6)
    """
    name, values, several = _one_target({"flops": flops, "params": params, "tokens": tokens, "loss": loss})
    ratio = positive_number("ratio", ratio, remedy="give tokens per parameter such as 20")
    central_tails(level)  # a wrong level fails before any work
    sample = _as_sample(laws).at(cost, variables)
    made = [_plan_one(sample, name, value, level, ratio) for value in values]
    return _joined(made) if several else made[0]


def _as_sample(laws: LawSample | BootstrapResult | FitResult | ScalingLaw | Runs | TableLike) -> LawSample:
    if isinstance(laws, LawSample):
        return laws
    if isinstance(laws, ScalingLaw):
        return LawSample.from_law(laws)
    return LawSample.from_bootstrap(as_bootstrap(laws, "plan"))


def _plan_one(sample: LawSample, name: str, value: float, level: float, ratio: float) -> Plan:
    import pandas as pd

    if name == "loss":
        require_reachable(sample, value)
    point = sampled_allocation(sample, sample.point, name, value, ratio)
    if not isinstance(sample.point, ScalingLaw):
        _require_inside(sample, f"{name} {value:g}", point)
    every = sampled_allocation(sample, sample.laws, name, value, ratio)
    require_room(f"{name} {value:g}", point)
    rows = [(quantity, *summary(point[quantity], every[quantity], level)) for quantity in point]
    if sample.errors is not None and name != "loss":
        drawn = every["loss"] * np.exp(sample.errors.draw(len(sample), 0))
        rows.insert(list(point).index("loss") + 1, (NEW_RUN_LOSS, *summary(point["loss"], drawn, level)))
    # Budgets of the closed forms may be beyond float64 without being out of reach.
    floor = sample.laws.E if isinstance(sample.laws, ScalingLaw) else None
    unreachable = np.isinf(every["flops"]) if floor is None else value <= np.asarray(floor)
    return Plan(
        target=name,
        value=value,
        level=float(level),
        ratio=ratio,
        table=pd.DataFrame(rows, columns=["quantity", *SUMMARY_COLUMNS]),
        beside=_beside(sample, float(point["flops"]), level),
        references=_reference_table(name, value, sample.cost),
        n_unreachable=int(unreachable.sum()) if name == "loss" else 0,
        n_edges=int((np.isnan(every["tokens_per_param"]) & ~np.isinf(every["flops"])).sum()),
        boundary=boundary_table(
            sample,
            level,
            {
                ("tokens_per_param", np.nan): lambda law: sampled_allocation(sample, law, name, value)[
                    "tokens_per_param"
                ]
            },
        ),
        sample=sample,
        left_out={quantity: int(np.isnan(values).sum()) for quantity, values in every.items()},
    )


def _beside(sample: LawSample, flops: float, level: float) -> pd.DataFrame:
    """See `Plan.beside`."""
    import pandas as pd

    rows: list[tuple[object, ...]] = []

    def add(how: str, point: dict[str, Array], every: dict[str, Array]) -> None:
        for name in point:
            rows.append((how, name, *summary(point[name], every[name], level)))

    def of(law: FittedLaws, other: LawSample) -> dict[str, Array]:
        frontier = frontier_of(other, law)
        active, tokens, _ = frontier.best(flops)
        ratio, loss = tokens / active, frontier.loss(active, tokens)
        found = {"params": active / other.share, "tokens": tokens, "tokens_per_param": ratio, "loss": loss}
        return found if law.shape else {name: values[0] for name, values in found.items()}

    def once(law: FittedLaws, unique: float) -> dict[str, Array]:
        """The best of what needs no token twice, which is all of them where more would be better."""
        free = of(law, dataclasses.replace(sample, variables={**given, UNIQUE: math.inf}))
        active = sample.cost_of(law).params(flops, unique)
        params = active / sample.share
        losses = frontier_of(sample, law).loss(active, unique)
        loss = losses if law.shape else losses[0]
        ratio = unique / active
        every: dict[str, ArrayLike] = {
            "params": params,
            "tokens": unique,
            "tokens_per_param": ratio,
            "loss": loss,
        }
        return {name: np.where(free["tokens"] < unique, free[name], each) for name, each in every.items()}

    given = sample.variables
    for name, plain, how in ((UNIQUE, math.inf, "all tokens new"), (SPARSITY, 0.0, "all parameters active")):
        if name in given and given[name] != plain:
            other = dataclasses.replace(sample, variables={**given, name: plain})
            add(how, of(sample.point, other), of(sample.laws, other))
    unique = given.get(UNIQUE, math.inf)
    if math.isfinite(unique) and sample.cost.params(flops, unique) >= 1:
        add("no token twice", once(sample.point, unique), once(sample.laws, unique))
    return pd.DataFrame(rows, columns=["how", "quantity", *SUMMARY_COLUMNS])


def _joined(made: list[Plan]) -> Plan:
    import pandas as pd

    def join(tables: list[pd.DataFrame]) -> pd.DataFrame:
        parts = []
        for each, part in zip(made, tables, strict=True):
            named = part if each.target not in part else part.drop(columns=each.target)
            parts.append(named.assign(**{each.target: each.value})[[each.target, *named.columns]])
        return pd.concat(parts, ignore_index=True)

    first = made[0]
    return dataclasses.replace(
        first,
        value=tuple(float(each.value) for each in made),  # type: ignore[arg-type]
        table=join([each.table for each in made]),
        beside=join([each.beside for each in made]),
        references=join([each.references for each in made]),
        n_unreachable=sum(each.n_unreachable for each in made),
        n_edges=sum(each.n_edges for each in made),
        boundary=None
        if first.boundary is None
        else join([each.boundary for each in made if each.boundary is not None]),
    )


def _require_inside(sample: LawSample, asked: str, point: dict[str, Array]) -> None:
    """Refuse a point fit whose optimum is at an edge, or whose loss no budget reaches."""
    if np.isinf(point["flops"]):
        if asked.startswith("loss"):
            raise UsageError(
                f"{asked} cannot be reached with any budget ({sample.source}); ask for a higher one"
            )
        raise UsageError(f"{asked} are the optimum of no budget ({sample.source}); ask for fewer")
    if np.isnan(point["tokens_per_param"]) and isinstance(sample.point, FittedLaw):
        # Where no budget is known to have it, a usual one shows why.
        budget = float(np.nan_to_num(point["flops"], nan=GOPHER_FLOPS))
        found = sample.point.allocate(budget, sample.cost, **sample.variables).found
        said = ", ".join(f"{name} {value:g}" for name, value in sample.variables.items())
        raise NoOptimumError(
            f"{sample.source}: law {sample.laws_name} has no best size for {asked}"
            f"{f' and {said}' if said else ''}: {Found(int(found[0, 0])).sentence}"
        )


def _one_target(target: dict[str, ArrayLike | None]) -> tuple[str, list[float], bool]:
    """Which target, its values, and whether there may be several."""
    given = {name: value for name, value in target.items() if value is not None}
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise UsageError(f"plan: give exactly one of {', '.join(TARGETS)}; found {found}")
    ((name, value),) = given.items()
    example = {"flops": "1e24", "params": "7e10", "tokens": "1.4e12", "loss": "2.1"}[name]
    remedy = f"give a number such as {example}"
    if np.ndim(value) == 0:
        return name, [positive_number(name, value, remedy=remedy)], False
    values = [positive_number(name, each, remedy=remedy) for each in np.ravel(value).tolist()]
    if not values:
        raise UsageError(f"plan: {name} is empty; {remedy}")
    return name, values, True


def _reference_table(target: str, value: float, cost: Cost) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for name, law in REFERENCES.items():
        flops = reference_flops(law, target, value, cost)
        if not np.isfinite(flops):
            rows.append((name, flops, *(np.nan,) * 4))
            continue
        params, tokens = law.optimal(flops, cost)
        loss = law.loss(params, tokens)
        rows.append((name, flops, float(params), float(tokens), float(tokens / params), float(loss)))
    return pd.DataFrame(rows, columns=["law", "flops", "params", "tokens", "tokens_per_param", "loss"])
