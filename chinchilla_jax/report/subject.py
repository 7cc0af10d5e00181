"""What the sections of a table's page are about, and those of a study's page that are about its own runs."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax._util.labels import interval_text
from chinchilla_jax._util.validation import positive_array
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.planning.design import diagnose_bootstrap
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.planning.plausibility import compute_range
from chinchilla_jax.plots.single_law import median_variables, runs_of
from chinchilla_jax.solvers.dispatch import has_kernel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.planning.design import TableDiagnosis

_QUICK_RUNS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """One bootstrap, with the choices of its page.

    Attributes:
        boot: the fits, which carry their runs.
        name: of the table, for people.
        flops: budgets (FLOP) that the reader asked about; the first is that of the answer.
        level: share of the resamples inside an interval.
        pictures: whether figures are drawn for the page.
        resampling: how runs were resampled and why, in a sentence; "" for what the bootstrap says itself.
        refits: whether the page may fit the runs again to say more; that of a study shows what was fitted.
    """

    boot: BootstrapResult
    name: str
    flops: tuple[float, ...]
    level: float = 0.8
    pictures: bool = True
    resampling: str = ""
    refits: bool = True

    @property
    def fit(self) -> FitResult:
        """The fit of all runs."""
        return self.boot.point

    @property
    def runs(self) -> Runs:
        """What was fitted."""
        return runs_of(self.boot)

    @functools.cached_property
    def range(self) -> tuple[float, float] | None:
        """FLOP of the smallest and of the largest run; None where a count is not positive."""
        return compute_range(self.runs, self.fit.cost)

    @property
    def interval(self) -> str:
        """The intervals in words: "80% interval"."""
        return interval_text(self.level, "percentile")

    @functools.cached_property
    def sample(self) -> LawSample | ChinchillaError:
        """The laws to decide by, at the medians of what else they predict from; or why there are none."""
        return sample_of(self.boot, self.name)

    @property
    def quick(self) -> bool:
        """Whether questions that fit the runs again are answered in a few seconds."""
        fast = has_kernel(self.fit.model, self.fit.objective)
        return self.refits and fast and len(self.runs) <= _QUICK_RUNS and not self.runs.variables

    @functools.cached_property
    def diagnosis(self) -> TableDiagnosis | None:
        """How well the sizes and tokens of the runs determine the answer; None where that is not known."""
        if self.fit.model.columns:  # a map of sizes and tokens does not say what else a new run would have
            return None
        try:
            return diagnose_bootstrap(self.boot, flops=self.flops[0], level=self.level)
        except ChinchillaError:  # the laws have no such optimum, or the objective no such theory
            return None

    @property
    def dependence(self) -> str:
        """How runs were resampled and why, in a sentence; "" where nothing was measured."""
        found = self.boot.dependence
        return self.resampling or (found.sentence if found is not None else "")


def sample_of(boot: BootstrapResult, name: str) -> LawSample | ChinchillaError:
    """The laws of a bootstrap to decide by, see `Subject.sample`."""
    try:
        made = LawSample.from_bootstrap(boot, source=name)
    except ChinchillaError as error:
        return error
    return dataclasses.replace(made, runs=runs_of(boot)).at(variables=median_variables(boot.point))


def subject_of(
    boot: BootstrapResult, *, flops: ArrayLike = (), level: float = 0.8, name: str = ""
) -> Subject:
    """A bootstrap as the subject of a page.

    Args:
        boot: with its runs.
        flops: budgets (FLOP), the first that of the answer; none for the compute of the largest run.
        level: share of the resamples inside an interval.
        name: of the table; "" for that of the runs.

    Raises:
        UsageError: the bootstrap carries no runs, or a budget or the level has no meaning.
    """
    central_tails(level)
    asked = tuple(positive_array("flops", np.atleast_1d(flops)).tolist()) if np.size(flops) else ()
    own = Subject(boot, name or runs_of(boot).name or "the table", asked, level)
    if asked or own.range is None:
        return own
    return dataclasses.replace(own, flops=(float(f"{own.range[1]:.3g}"),))
