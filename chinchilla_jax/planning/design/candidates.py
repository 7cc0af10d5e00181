"""Runs that could be trained: a grid that a table of runs suggests, or the user's own list.

| code     | symbol | shape | unit                                                       |
|----------|--------|-------|------------------------------------------------------------|
| params   | N      | (m,)  | parameters (count)                                         |
| tokens   | D      | (m,)  | training tokens (count)                                    |
| flops    | C      | (m,)  | training FLOP: by the cost, or what the list gives         |
| members  |        | (m,)  | group of the table's runs that each would err with, or -1  |

The grid is geometric and its numbers are round: sizes from the least of the table to twice its largest,
tokens likewise, compute and tokens per parameter no farther than a factor beyond the table's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.text import scaled_number
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.planning.prediction_places import Places, largest_flops, needed_variables, read_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Cost

    Floats = NDArray[np.float64]
    Range = tuple[float, float]

_STEPS = 28  # sizes, and token counts, of a grid at most
_PER_DECADE = 12
_BEYOND = 2.0  # times the table's largest size and most tokens
_BEYOND_FLOPS = 10.0  # times its largest run
_BEYOND_RATIO = 2.0  # times its tokens per parameter, either way
_SAYS = 100.0  # factor beyond the sizes and tokens of a table of which it says nothing
_SAME = {"params": 0.01, "flops": 0.1, "replicates": 0.01}  # of logarithms, within a group


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may be.

    Attributes:
        params: least and most parameters (count); None for no limit.
        tokens: least and most tokens (count).
        ratio: least and most tokens per parameter.
        largest: most FLOP of one run.
        off_frontier: most by which tokens per parameter may differ from the optimum of the run's compute, as
            a factor either way.
    """

    params: Range | None = None
    tokens: Range | None = None
    ratio: Range | None = None
    largest: float | None = None
    off_frontier: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that have no meaning."""
        for name in ("params", "tokens", "ratio"):
            given = getattr(self, name)
            if given is not None:
                ends = np.asarray(given, dtype=object)
                if ends.shape != (2,):
                    raise UsageError(f"limits: {name} is {short(given)}; give the least and the most")
                low, high = (positive_number(f"limits: {name}", each) for each in ends)
                if low > high:
                    raise UsageError(f"limits: {name} from {low:g} to {high:g}; give the smaller one first")
        for name in ("largest", "off_frontier"):
            if getattr(self, name) is not None:
                positive_number(f"limits: {name}", getattr(self, name))

    def allow(self, places: Places, off: Floats, paid: Floats) -> NDArray[np.bool_]:
        """Which places keep them; `off` is |ln| of their tokens per parameter over the optimum's."""
        kept = np.ones(len(places), bool)
        ratio = places.tokens / places.params
        for given, values in (
            (self.params, places.params),
            (self.tokens, places.tokens),
            (self.ratio, ratio),
        ):
            if given is not None:
                kept &= (values >= given[0] * (1 - 1e-9)) & (values <= given[1] * (1 + 1e-9))
        if self.largest is not None:
            kept &= paid <= self.largest * (1 + 1e-9)
        if self.off_frontier is not None:
            kept &= ~(off > abs(math.log(self.off_frontier)) + 1e-9)
        return kept


def read_limits(given: Limits | Mapping[str, object] | None) -> Limits:
    """Limits from themselves, from their fields by name, or none.

    Raises:
        UsageError: there is no such limit.
    """
    if isinstance(given, Limits):
        return given
    fields = [field.name for field in dataclasses.fields(Limits)]
    for name in given or {}:
        if name not in fields:
            raise unknown_name("limit", name, fields)
    return Limits(**(given or {}))  # type: ignore[arg-type]


def suggested_grid(boot: BootstrapResult, runs: Runs, cost: Cost, limits: Limits) -> Places:
    """The grid of the head of this file; limits that reach beyond the table widen it.

    Raises:
        UsageError: the law predicts from more than params and tokens.
    """
    law = boot.point.model
    if needed := needed_variables(law):
        raise UsageError(
            f"next_runs: law {law.name} predicts from {needed[0]} too; give candidates, a table with such a "
            "column"
        )
    ratio = runs.tokens / runs.params
    ranges = {}
    for name, values in (("params", runs.params), ("tokens", runs.tokens)):
        given = getattr(limits, name)
        ranges[name] = given or (float(values.min()), _BEYOND * float(values.max()))
    sizes, tokens = (_round_steps(*ranges[name]) for name in ("params", "tokens"))
    params, tokens = (each.ravel() for each in np.meshgrid(sizes, tokens, indexing="ij"))
    flops = np.asarray(cost.flops(params, tokens))
    kept = np.ones(len(params), bool)
    if limits.ratio is None:
        kept &= (tokens / params >= ratio.min() / _BEYOND_RATIO) & (
            tokens / params <= ratio.max() * _BEYOND_RATIO
        )
    if limits.largest is None:
        kept &= flops <= _BEYOND_FLOPS * largest_flops(boot, cost)
    return Places(params=params[kept], tokens=tokens[kept], flops=flops[kept])


def _round_steps(low: float, high: float) -> Floats:
    """From low to high in equal factors, to two digits."""
    steps = math.ceil(_PER_DECADE * math.log10(high / low)) + 1 if high > low else 1
    values = np.geomspace(low, high, min(max(steps, 2 if high > low else 1), _STEPS))
    scale = 10.0 ** (np.floor(np.log10(values)) - 1)
    return np.unique(np.round(values / scale) * scale)


def listed(source: Places | TableLike, boot: BootstrapResult, runs: Runs, cost: Cost) -> Places:
    """The candidates of a user's table.

    Raises:
        DataError: the table cannot be read.
        UsageError: the table of runs says nothing of one of them.
    """
    places = read_places(source, boot, cost)
    for name, what in (("params", "parameters"), ("tokens", "tokens")):
        values, known = getattr(places, name), getattr(runs, name)
        low, high = known.min() / _SAYS, known.max() * _SAYS
        outside = np.flatnonzero(~((values >= low) & (values <= high)))
        if len(outside):
            first = int(outside[0])
            raise UsageError(
                f"candidates: row {first + 1} has {scaled_number(values[first], 3)} {what}, over "
                f"{_SAYS:g} times beyond the runs ({scaled_number(known.min(), 3)} to "
                f"{scaled_number(known.max(), 3)}), which say nothing of it; leave it out"
            )
    return places


def place_members(places: Places, boot: BootstrapResult, runs: Runs) -> NDArray[np.int64]:
    """The group that a run at each candidate would belong to, (m,); new numbers where it is a new one.

    -1 where groups are those of a column, of which a new run has a label of its own.
    """
    members, by = boot.members, getattr(boot.scheme, "by", "")
    if members is None or by not in _SAME or getattr(boot.scheme, "labels", None) is not None:
        return np.full(len(places), -1, np.int64)
    keys = {"params": ("params",), "flops": ("flops",), "replicates": ("params", "tokens")}[by]
    count = int(members.max()) + 1
    at_runs = np.log(np.stack([getattr(runs, key) for key in keys], axis=1))
    at_places = np.log(np.stack([getattr(places, key) for key in keys], axis=1))
    gaps = np.abs(at_places[:, None] - at_runs[None]).max(axis=2)
    nearest = gaps.argmin(axis=1)
    new = np.unique(np.round(at_places / _SAME[by]), axis=0, return_inverse=True)[1].ravel() + count
    return np.where(gaps.min(axis=1) <= _SAME[by], members[nearest], new).astype(np.int64)
