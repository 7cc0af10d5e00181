"""Lanes, each with its data set and its weights: what every solver is given, for one data set or for many.

Notation
    R          lanes
    C, W       data sets (conditions); rows of weights, which the data sets share
    n, p       runs of every data set; parameters of the law
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.laws.design import Design
from chinchilla_jax.solvers.drawn import Drawn, Weights, concatenated, sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Law
    from chinchilla_jax.laws.objectives import Objective
    from chinchilla_jax.solvers.base import Problem

    Floats = NDArray[np.float64]

T = TypeVar("T")
_BLOCK = 512  # lanes whose arrays (lanes, n, p) are in memory at a time
_MANY = 8  # lanes of a data set from which its own arrays serve better than a copy for each lane


class _Tables:
    """The runs of several data sets, one after the other, made once for all parts of a batch."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._designs = [problem.design for problem in problems]

    @functools.cached_property
    def stacked(self) -> Design:
        """The tables as one: columns (C, n), locations and scales (C,)."""
        return Design.stacked(self._designs, np.arange(len(self._designs)))

    def of_lanes(self, condition: NDArray[np.intp]) -> Design:
        """For every lane (R,) its own runs, see `Design.stacked`."""
        names = [field.name for field in dataclasses.fields(Design) if field.name != "further"]
        fields: dict[str, Any] = {name: getattr(self.stacked, name)[condition] for name in names}
        return Design(**fields, further=tuple(values[condition] for values in self.stacked.further))

    @functools.cached_property
    def ranges(self) -> Floats:
        """The least and the most log params and log tokens, (4, C)."""
        u, v = self.stacked.log_params, self.stacked.log_tokens
        return np.stack([u.min(axis=1), u.max(axis=1), v.min(axis=1), v.max(axis=1)])

    @functools.cached_property
    def shifts(self) -> Floats:
        """Mean over sd of log params and of log tokens, (2, C)."""
        units = np.array([design.units for design in self._designs]).T
        return np.stack([units[0] / units[1], units[2] / units[3]])

    @functools.cached_property
    def columns(self) -> Floats:
        """`Design.columns` of each, (C, 3, n)."""
        if len(self._designs) == 1:
            return self._designs[0].columns[None]
        return np.stack([design.columns for design in self._designs])


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """R lanes on C data sets of one law under one objective, or under `Huber` of any widths and `Squared`.

    Attributes:
        problems: (C,) what is fitted to what; n runs each.
        weights: (W, n), not negative; or what a device draws.
        condition: (R,) the data set of each lane.
        row: (R,) its row of weights.
        _tables: the runs of all data sets; those of the batch that this is a part of.
    """

    problems: tuple[Problem, ...]
    weights: Weights
    condition: NDArray[np.intp]
    row: NDArray[np.intp]
    _tables: _Tables | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def of(cls, problem: Problem, weights: Weights, lanes: int) -> Batch:
        """Lanes of one data set, with weights of their own (R, n) or in common (1, n).

        Raises:
            UsageError: the shapes do not fit together.
        """
        n_runs = len(problem.design)
        if np.shape(weights) not in ((1, n_runs), (lanes, n_runs)):
            raise UsageError(
                f"weights {np.shape(weights)} do not fit {n_runs} runs and {lanes} lanes; give weights "
                "(lanes, runs) or (1, runs)"
            )
        row = np.zeros(lanes, np.intp) if len(weights) == 1 else np.arange(lanes)
        return cls((problem,), weights, np.zeros(lanes, np.intp), row)

    @classmethod
    def joined(cls, parts: Sequence[Batch]) -> Batch:
        """The lanes of several batches, one after the other; what they have in common is kept once."""
        problems = {id(problem): problem for part in parts for problem in part.problems}
        number = {key: place for place, key in enumerate(problems)}
        weights = {id(part.weights): part.weights for part in parts}
        first = dict(zip(weights, np.cumsum([0, *(len(each) for each in weights.values())]), strict=False))
        condition = [
            np.array([number[id(problem)] for problem in part.problems])[part.condition] for part in parts
        ]
        return cls(
            tuple(problems.values()),
            concatenated(list(weights.values())),
            np.concatenate(condition),
            np.concatenate([part.row + first[id(part.weights)] for part in parts]),
        )

    def __len__(self) -> int:
        """Number of lanes R."""
        return len(self.row)

    def __getitem__(self, lanes: Any) -> Batch:
        """Those lanes."""
        return Batch(self.problems, self.weights, self.condition[lanes], self.row[lanes], self.tables)

    @functools.cached_property
    def tables(self) -> _Tables:
        """The runs of all data sets."""
        return self._tables or _Tables(self.problems)

    @property
    def law(self) -> Law:
        """The law of all data sets."""
        return self.problems[0].law

    @property
    def objective(self) -> Objective:
        """The objective of all lanes; where their zones differ, see `zones`, that of the first data set."""
        return self.problems[0].objective

    def zones(self) -> tuple[Floats, Floats]:
        """How far the quadratic zone of each lane reaches below and above zero, (R,) each."""
        of_sets = np.array([(p.objective.down, p.objective.up) for p in self.problems], np.float64)  # type: ignore[union-attr]
        down, up = of_sets[self.condition].T
        return down, up

    @property
    def n_runs(self) -> int:
        """Runs n of every data set."""
        return len(self.problems[0].design)

    @functools.cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Whether there is anything to fit, (R,)."""
        return np.array([problem.design.valid for problem in self.problems], bool)[self.condition]

    @functools.cached_property
    def rows(self) -> NDArray[Any]:
        """The weights of every lane, (R, n); not to be written to."""
        if len(self.weights) == 1:
            return np.broadcast_to(self.weights, (len(self), self.n_runs))
        if len(self.row) and np.all(np.diff(self.row) == 1):
            return np.asarray(self.weights[self.row[0] : self.row[0] + len(self.row)])
        return np.asarray(self.weights[self.row])

    @property
    def own(self) -> NDArray[Any]:
        """The weights as (1, n) where all lanes have the same, else `rows`."""
        same = len(self) and (self.row == self.row[0]).all()
        return np.asarray(self.weights[self.row[:1]]) if same else self.rows

    @functools.cached_property
    def used(self) -> NDArray[np.intp]:
        """How many runs of every lane have a weight, (R,)."""
        rows, row = self._rows_used
        return np.count_nonzero(np.asarray(self.weights[rows]), axis=1)[row]

    @functools.cached_property
    def totals(self) -> Floats:
        """The sum of the weights of every lane, (R,)."""
        if isinstance(self.weights, Drawn):
            return self.weights.facts(self.row)[0]
        rows, row = self._rows_used
        return sums(self.weights[rows])[row]

    @property
    def _rows_used(self) -> tuple[NDArray[np.intp] | slice, NDArray[np.intp]]:
        """Rows of weights with those of all lanes among them, and which of these is whose, (R,)."""
        if len(self.weights) <= len(self.row):
            return slice(None), self.row
        return np.unique(self.row, return_inverse=True)

    def data_sets(self) -> Iterator[tuple[Problem, NDArray[np.intp] | slice]]:
        """Every data set that has lanes, and these."""
        if len(self.problems) == 1:
            yield self.problems[0], slice(None)
            return
        order = np.argsort(self.condition, kind="stable")
        ends = np.flatnonzero(np.diff(self.condition[order])) + 1
        for lanes in np.split(order, ends) if len(order) else ():
            # In a row, as they are in a study: views, and no copies.
            together = lanes[-1] - lanes[0] + 1 == len(lanes)
            yield (
                self.problems[self.condition[lanes[0]]],
                slice(int(lanes[0]), int(lanes[-1]) + 1) if together else lanes,
            )

    def residuals(self, theta: Floats) -> Floats:
        """Log predicted minus log observed loss of every run; theta (R, p) to (R, n)."""
        return self._of_designs(lambda design, theta: self.law.residuals(theta, design), theta)

    def jacobian(self, theta: Floats) -> Floats:
        """Derivative of `residuals`; theta (R, p) to (R, n, p)."""
        return self._of_designs(lambda design, theta: self.law.jacobian(theta, design), theta)

    def curvature(self, theta: Floats, factors: Floats) -> Floats:
        """Second derivative of sum_i factors_i r_i; theta (R, p), factors (R, n) to (R, p, p)."""
        return self._of_designs(
            lambda design, theta, factors: self.law.curvature(theta, design, factors), theta, factors
        )

    def _of_designs(self, function: Callable[..., Floats], *of_lanes: Floats) -> Floats:
        """`function` of a design and arrays with an axis of lanes, for every lane's own design."""
        if len(self.problems) == 1:
            return function(self.problems[0].design, *of_lanes)
        if self.law.stacks and len(self) < _MANY * len(self.problems):
            return function(self._stacked, *of_lanes)
        found: Floats | None = None
        for problem, lanes in self.data_sets():
            part = function(problem.design, *(each[lanes] for each in of_lanes))
            found = np.empty((len(self), *part.shape[1:])) if found is None else found
            found[lanes] = part
        return function(self.problems[0].design, *of_lanes) if found is None else found

    @functools.cached_property
    def _stacked(self) -> Design:
        return self.tables.of_lanes(self.condition)


def in_blocks(
    function: Callable[..., T], batch: Batch, *of_lanes: NDArray[Any], workers: int | None = 1
) -> list[T]:
    """`function` of blocks of the lanes and of what belongs to them (R, ...), on several threads."""
    blocks = [slice(first, first + _BLOCK) for first in range(0, max(len(batch), 1), _BLOCK)]

    def of_block(lanes: slice) -> T:
        return function(batch[lanes], *(each[lanes] for each in of_lanes))

    workers = min(workers or available_cores(), len(blocks))
    if workers == 1:
        return [of_block(lanes) for lanes in blocks]
    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(of_block, blocks))
