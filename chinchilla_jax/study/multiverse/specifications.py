"""Every combination of the options, numbered; and the jobs that compute them.

A specification is one option of each dimension. They are numbered in the order of `options.DIMENSIONS`, the
last changing fastest; objective and delta count as one there, since most objectives have no delta. Jobs are
the specifications of one law on one choice of rows: these share the runs and the weights of the resamples,
and their fits of one objective are a few calls of a solver.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.limits import FITS, SPECIFICATIONS
from chinchilla_jax.laws import Law
from chinchilla_jax.study.multiverse.options import DIMENSIONS, ObjectiveOption

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """The options of each dimension.

    Attributes:
        laws: what is fitted.
        objectives: what fits minimise, one for each width.
        countings: names.
        costs: names.
        rows: names.
        schemes: names.
    """

    laws: tuple[Law, ...]
    objectives: tuple[ObjectiveOption, ...]
    countings: tuple[str, ...]
    costs: tuple[str, ...]
    rows: tuple[str, ...]
    schemes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many options: law, objective with delta, counting, cost, rows, scheme."""
        return tuple(len(getattr(self, field.name)) for field in dataclasses.fields(self))

    def __len__(self) -> int:
        """How many specifications."""
        return math.prod(self.shape)

    @property
    def n_fitted(self) -> int:
        """How many of them differ in what is fitted: all that differ in more than the cost."""
        return len(self) // len(self.costs)

    def require(self, resamples: int) -> None:
        """Refuse more specifications or fits than the limits allow.

        Raises:
            UsageError: there are more.
        """
        remedy = "name fewer laws, objectives, countings, costs, rows or schemes"
        SPECIFICATIONS.require("multiverse", len(self), remedy=remedy)
        FITS.require(f"multiverse: {len(self):,} specifications", self.n_fitted * resamples)

    def names(self) -> dict[str, tuple[str, ...]]:
        """The names of the options by dimension."""
        deltas = tuple(dict.fromkeys(each.delta for each in self.objectives if each.delta is not None))
        values = (
            tuple(law.name for law in self.laws),
            tuple(dict.fromkeys(each.name for each in self.objectives)),
            deltas,
            self.countings,
            self.costs,
            self.rows,
            self.schemes,
        )
        return dict(zip(DIMENSIONS, values, strict=True))

    def frame(self) -> pd.DataFrame:
        """One row per specification: its number and its option in each dimension; delta None for none."""
        import pandas as pd

        law, objective, counting, cost, rows, scheme = np.unravel_index(np.arange(len(self)), self.shape)
        names = self.names()
        return pd.DataFrame(
            {
                "specification": np.arange(len(self)),
                "law": np.array(names["law"], object)[law],
                "objective": np.array([each.name for each in self.objectives], object)[objective],
                "delta": np.array([each.delta for each in self.objectives], object)[objective],
                "counting": np.array(self.countings, object)[counting],
                "cost": np.array(self.costs, object)[cost],
                "rows": np.array(self.rows, object)[rows],
                "scheme": np.array(self.schemes, object)[scheme],
            }
        )

    def jobs(self) -> list[Job]:
        """The jobs, in order."""
        pairs = np.ndindex(len(self.laws), len(self.rows))
        return [Job(self, number, *pair) for number, pair in enumerate(pairs)]


@dataclasses.dataclass(frozen=True)
class Job:
    """The specifications of one law on one choice of rows.

    Attributes:
        choices: of the multiverse.
        number: of the job.
        law: position of its law.
        rows: position of its rows.
    """

    choices: Choices
    number: int
    law: int
    rows: int

    @property
    def shape(self) -> tuple[int, ...]:
        """How many options: objective with delta, counting, cost, scheme."""
        _, objectives, countings, costs, _, schemes = self.choices.shape
        return objectives, countings, costs, schemes

    @functools.cached_property
    def specifications(self) -> NDArray[np.intp]:
        """The numbers of its specifications, of `shape`."""
        every = np.arange(len(self.choices)).reshape(self.choices.shape)
        return every[self.law, :, :, :, self.rows, :]

    @property
    def n_fitted(self) -> int:
        """How many of them differ in what is fitted."""
        return math.prod(self.shape) // len(self.choices.costs)

    def fitted(self) -> Iterator[tuple[int, int]]:
        """The positions of each objective and counting."""
        yield from np.ndindex(*self.shape[:2])
