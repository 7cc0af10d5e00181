"""Places where a loss is predicted: from a table, and how far they are from the runs.

| code     | symbol | shape | unit                                                  |
|----------|--------|-------|-------------------------------------------------------|
| params   | N      | (m,)  | parameters (count)                                    |
| tokens   | D      | (m,)  | training tokens (count)                               |
| cost     |        |       | what training costs, by active parameters; as `plan`  |
| flops    | C      | (m,)  | training FLOP: by the cost, or what the table gives   |
| distance |        | (m,)  | ln of the cost of each less that of the largest run   |
| inside   |        | (m,)  | whether (ln N, ln D) is in the convex hull of runs    |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax._util.text import list_text
from chinchilla_jax.datasets.columns import match_table
from chinchilla_jax.datasets.foreign import unpack
from chinchilla_jax.datasets.meaning import quantity_of
from chinchilla_jax.datasets.quantities import read_columns, read_quantities
from chinchilla_jax.datasets.reading import read_table
from chinchilla_jax.datasets.runs import Runs, bad_flops
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.validation import require_rows
from chinchilla_jax.datasets.variable_columns import variable_columns
from chinchilla_jax.laws.best_allocation import ACTIVE, SPARSITY
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, SIX_ND, Cost
from chinchilla_jax.laws.optimum import require_optimum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Law
    from chinchilla_jax.laws.design import Design

    Floats = NDArray[np.float64]

_COUNTS = ("params", "tokens", "flops")
_ROUNDING = 1e-9  # of ln N and ln D, within which a place is on the edge of the hull


@dataclasses.dataclass(frozen=True, kw_only=True)
class Places:
    """m places.

    Attributes:
        params: N, (m,); NaN for a law of compute alone, where only budgets were given.
        tokens: D, (m,); likewise.
        flops: C, (m,).
        variables: the law's further variables but training FLOP, by name, (m,) each.
    """

    params: Floats
    tokens: Floats
    flops: Floats
    variables: Mapping[str, Floats] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """Number of places."""
        return len(self.params)

    def take(self, index: slice | NDArray[np.intp]) -> Places:
        """The places at these positions."""
        variables = {name: values[index] for name, values in self.variables.items()}
        counts = (self.params[index], self.tokens[index], self.flops[index])
        return Places(params=counts[0], tokens=counts[1], flops=counts[2], variables=variables)

    def log_losses(self, laws: Any, law: Law) -> Floats:
        """Ln of the loss that laws of shape s predict, s + (m,)."""
        given = dict(self.variables)
        params, tokens = self.params, self.tokens
        if "flops" in law.variables:
            given["flops"] = self.flops
            half = np.sqrt(self.flops / FLOPS_PER_PARAM_TOKEN)  # of any size, for a law of compute alone
            params, tokens = (np.where(np.isnan(each), half, each) for each in (params, tokens))
        return np.log(laws.loss(params, tokens, **given))


def read_place_table(source: TableLike) -> Table:
    """A table of places, its columns still unread: what cannot be read is refused before laws are fitted.

    Raises:
        DataError: it cannot be read, or has no rows.
    """
    table = unpack(read_table(source, "predict"))
    require_rows(table, "add a row per place")
    return table


def read_places(
    source: Places | Runs | Table | TableLike, boot: BootstrapResult, cost: Cost = SIX_ND
) -> Places:
    """The places of a table, or of runs.

    Args:
        source: a table with two of the columns params, tokens and flops, and one for each further variable of
            the law that has no default; or with flops alone, for the compute-optimal places of the point fit.
            Anything that `load_runs` reads, what `read_place_table` made of it, or a mapping of numbers.
        boot: what predicts.
        cost: what training costs.

    Raises:
        DataError: the table cannot be read, or a cell is no positive number.
        UsageError: a variable of the law is missing.
        NoOptimumError: only budgets are given, and the law has no compute-optimal point.
    """
    law = boot.point.model
    if isinstance(source, Places):
        return source
    if isinstance(source, Runs):
        if not source.derived and (bad := bad_flops(source)):
            raise DataError(f"predict: {bad}; give a positive number, or leave flops out")
        missing = [name for name in needed_variables(law) if name not in source.variables]
        _require(law, missing)
        variables = {name: source.variables[name] for name in law.columns if name in source.variables}
        given = set(_COUNTS) - {source.derived}
        counts = priced_counts({name: getattr(source, name) for name in _COUNTS}, given, variables, cost)
        return Places(**counts, variables=variables)
    if isinstance(source, Mapping):
        source = {name: np.atleast_1d(values) for name, values in source.items()}
    table = source if isinstance(source, Table) else read_place_table(source)
    named = {name: place for place, each in enumerate(table.header) if (name := quantity_of(each)) in _COUNTS}
    has = [name for name in law.columns if table.find(name.replace("_", "")) is not None]
    _require(law, [name for name in needed_variables(law) if name not in has])
    variables = variable_columns(table, {name: name for name in has})
    if set(named) == {"flops"}:
        flops = read_columns(table, {"flops": named["flops"]}).arrays["flops"]
        return optimal_places(boot, flops, variables, cost)
    positions = match_table(table, quantities=_COUNTS, by_option=False)
    counts = priced_counts(read_quantities(table, positions), set(positions), variables, cost)
    return Places(**{name: counts[name] for name in _COUNTS}, variables=variables)


def priced_counts(
    counts: Mapping[str, Floats], given: Collection[str], variables: Mapping[str, Floats], cost: Cost
) -> dict[str, Floats]:
    """Params, tokens and flops, of which the one that is not given follows from the others by the cost.

    Args:
        counts: all three, (m,) each.
        given: which of them a table gives.
        variables: the further variables of the places.
        cost: what training costs.
    """
    found = {name: np.asarray(counts[name]) for name in _COUNTS}
    active = _active(found["params"], variables)
    if "flops" not in given:
        found["flops"] = cost.flops(active, found["tokens"])
    elif "tokens" not in given:
        found["tokens"] = cost.tokens(found["flops"], active)
    elif "params" not in given and ACTIVE not in variables:
        share = 1 - variables.get(SPARSITY, np.zeros(1))
        found["params"] = cost.params(found["flops"], found["tokens"]) / share
    return found


def _active(params: Floats, variables: Mapping[str, Floats]) -> Floats:
    """The parameters that a token passes through, (m,)."""
    return np.asarray(variables.get(ACTIVE, params * (1 - variables.get(SPARSITY, np.zeros(1)))))


def together(
    source: Places | Runs | Table | TableLike,
    lead: BootstrapResult,
    boots: Sequence[BootstrapResult],
    cost: Cost = SIX_ND,
) -> list[Places]:
    """The same places for several laws, each with the further variables of its own.

    Args:
        source: as for `read_places`.
        lead: which of them says where budgets alone are spent.
        boots: of the laws.
        cost: what training costs.

    Raises:
        UsageError: as `read_places`.
    """
    first, found = read_places(source, lead, cost), []
    for boot in boots:
        columns = boot.point.model.columns
        known = (
            first.variables
            if set(columns) <= set(first.variables)
            else read_places(source, boot, cost).variables
        )
        found.append(dataclasses.replace(first, variables={n: known[n] for n in columns if n in known}))
    return found


def optimal_places(
    boot: BootstrapResult, flops: Floats, variables: Mapping[str, Floats], cost: Cost = SIX_ND
) -> Places:
    """Where the point fit would spend these budgets (FLOP by the cost).

    Raises:
        NoOptimumError: it says nothing of how a budget is divided.
    """
    law, point = boot.point.model, boot.point.law
    if not law.has_optimum and "flops" in law.variables:
        nowhere = np.full(len(flops), np.nan)
        return Places(params=nowhere, tokens=nowhere, flops=flops, variables=variables)
    if not variables:
        require_optimum(point, "predict")
        params, tokens = point.optimal(flops, cost)
    else:
        each = [
            point.optimal(budget, cost, **{name: values[i] for name, values in variables.items()})
            for i, budget in enumerate(flops)
        ]
        params, tokens = np.array(each).T
    return Places(params=np.asarray(params), tokens=np.asarray(tokens), flops=flops, variables=variables)


def distance(places: Places, boot: BootstrapResult, cost: Cost = SIX_ND) -> Floats:
    """Ln of the compute of each place over that of the largest run, both counted alike; (m,)."""
    flops = places.flops
    if "flops" not in boot.point.model.variables:
        flops = cost.flops(_active(places.params, places.variables), places.tokens)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(flops / largest_flops(boot, cost)))


def largest_flops(boot: BootstrapResult, cost: Cost = SIX_ND) -> float:
    """Training FLOP of the largest run: as in the table for a law of compute, else by the cost."""
    design = boot.design
    further = dict(zip(boot.point.model.variables[2:], design.further, strict=True))
    if "flops" in further:
        return float(further["flops"].max())
    return float(cost.flops(_active(design.params, further), design.tokens).max())


def inside_hull(places: Places, design: Design) -> NDArray[np.bool_]:
    """Whether each place is in the convex hull of the runs' (ln N, ln D), its edge included; (m,)."""
    runs = np.log(np.stack([design.params, design.tokens], axis=1))
    corners = _hull(runs)
    at = np.log(np.stack([places.params, places.tokens], axis=1))
    if len(corners) < 3:  # runs on a line, whose hull is a segment
        first, last = corners[0], corners[-1]
        along = last - first
        length = float(along @ along)
        share = ((at - first) @ along / length if length else np.zeros(len(at))).clip(0, 1)
        return np.asarray(np.abs(at - first - share[:, None] * along).max(axis=1) <= _ROUNDING)
    edges = np.roll(corners, -1, axis=0) - corners
    cross = edges[:, 0] * (at[:, None, 1] - corners[:, 1]) - edges[:, 1] * (at[:, None, 0] - corners[:, 0])
    return np.asarray((cross >= -_ROUNDING * np.hypot(*edges.T)).all(axis=1))


def _hull(points: Floats) -> Floats:
    """Corners of the convex hull, anticlockwise (Andrew 1979, Information Processing Letters 9:216)."""
    ordered = np.unique(points, axis=0)
    chains = []
    for row in (ordered, ordered[::-1]):
        chain: list[Floats] = []
        for point in row:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains.append(chain[:-1])
    return np.array([*chains[0], *chains[1]]) if len(ordered) > 1 else ordered


def _turn(first: Floats, second: Floats, third: Floats) -> float:
    one, other = second - first, third - first
    return float(one[0] * other[1] - one[1] * other[0])


def needed_variables(law: Law) -> list[str]:
    """The further variables without which the law predicts nothing."""
    return [name for name in law.columns if name not in law.defaults]


def _require(law: Law, missing: list[str]) -> None:
    if missing:
        raise UsageError(
            f"predict: law {law.name} needs {list_text(missing)} of every place; give a table of places with "
            f"a column {missing[0]} (--at places.csv on the command line)"
        )
