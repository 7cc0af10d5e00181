"""The facts behind the page: one study at one level, by one method, at one budget.

| code   | symbol | shape | unit                                                              |
|--------|--------|-------|-------------------------------------------------------------------|
| budget | C      | ()    | training FLOP at which conditions are compared                    |
| level  |        | ()    | share of the resamples that an interval covers                    |
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import ChinchillaError, DataError, UsageError
from chinchilla_jax._util.labels import BAND_COLUMNS, HEADLINE, interval_text
from chinchilla_jax.datasets.reading import name_of_source
from chinchilla_jax.intervals.tokens_per_param import tokens_per_param_band
from chinchilla_jax.laws import Chinchilla
from chinchilla_jax.laws.compute import GOPHER_FLOPS
from chinchilla_jax.perturbations import documented_sizes
from chinchilla_jax.planning.plausibility import compute_range
from chinchilla_jax.plots.sweeps import SWEEPS
from chinchilla_jax.plots.tables import BANDS, as_array, countings, families, select
from chinchilla_jax.plots.tokens_per_param_by_family_figure import documented_span, family_curves
from chinchilla_jax.report.subject import Subject
from chinchilla_jax.report.words import condition_words
from chinchilla_jax.solvers.counted import counted_lanes, many_at_boundary, other_boundary
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.study.derived import Derived, look

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.study import Study

METHOD = "percentile"


@dataclasses.dataclass(frozen=True)
class View:
    """One kind of interval of a study: its method, and the share of the resamples that it covers."""

    method: str
    level: float

    @property
    def name(self) -> str:
        """In words: "80% interval"."""
        return interval_text(self.level, self.method)


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """A study with the choices of its page.

    Attributes:
        study: a finished study.
        known: its figures and its page as they are; None to look when that is asked for.
    """

    study: Study
    known: Derived | None = None

    @functools.cached_property
    def derived(self) -> Derived:
        """The study's figures and its page as they are, beside what they should be."""
        return self.known or look(self.study.directory, self.study.info)

    @property
    def law(self) -> str:
        """The law that was fitted, in words; "" for the five-parameter law, which needs none."""
        model = self.study.spec.model
        said = "; ".join(part for part in (model.formula, model.source) if part)
        return "" if isinstance(model, Chinchilla) else f"{model.name}: {said or 'a function of its user'}"

    @functools.cached_property
    def runs(self) -> Runs | None:
        """The runs that were fitted; None if the table is gone or has changed since."""
        try:
            return self.study.runs()
        except DataError:
            return None

    @property
    def data_name(self) -> str:
        """The table for readers: the name of a file without its folders, as on the page of a table."""
        return name_of_source(self.study.spec.data)

    @functools.cached_property
    def subject(self) -> Subject | ChinchillaError:
        """The study's own runs and their fits, for the sections that a table's page has too; or why not."""
        try:
            boot = self.study.bootstrap()
        except (DataError, UsageError) as error:
            return error
        return Subject(
            boot=boot,
            name=self.data_name,
            flops=(self.budget,),
            level=self.level,
            pictures=self.derived.illustrated,
            resampling=self.study.info.get("resampling") or "",
            refits=False,
        )

    @functools.cached_property
    def conditions(self) -> pd.DataFrame:
        """`study.conditions`."""
        return self.study.conditions

    @functools.cached_property
    def condition_words(self) -> dict[str, str]:
        """What each condition changes, in words."""
        return condition_words(self.conditions)

    @functools.cached_property
    def params(self) -> pd.DataFrame:
        """`study.params` of the page's method and level."""
        return select(self.study.params, method=METHOD)

    @functools.cached_property
    def level(self) -> float:
        """Share of the resamples inside the page's intervals."""
        return float(self.params["level"].iloc[0])

    @property
    def interval(self) -> str:
        """The page's intervals in words: "80% interval"."""
        return self.views[0].name

    @functools.cached_property
    def views(self) -> list[View]:
        """Every kind of interval in the study; the page's own first."""
        pairs = self.study.params[["method", "level"]].drop_duplicates()
        found = [View(str(row.method), float(row.level)) for row in pairs.itertuples()]
        return sorted(found, key=lambda view: (view.level != self.level, view.method != METHOD))

    @functools.cached_property
    def params_by_view(self) -> NDArray[np.float64]:
        """estimate, low and high of the parameters of the law, shape (conditions, views, p, 3)."""
        names = self.study.spec.model.parameters
        return self._by_view(self.study.params, {"parameter": names}, ["estimate", "low", "high"])

    @functools.cached_property
    def bands_by_view(self) -> NDArray[np.float64]:
        """`BAND_COLUMNS` of the tokens per parameter, shape (conditions, views, budgets, 4)."""
        return self._by_view(self.study.tokens_per_param, {"flops": self.budgets}, BAND_COLUMNS)

    def _by_view(
        self, table: pd.DataFrame, axis: Mapping[str, ArrayLike], columns: Sequence[str]
    ) -> NDArray[np.float64]:
        methods, method = np.unique([view.method for view in self.views], return_inverse=True)
        levels, level = np.unique([view.level for view in self.views], return_inverse=True)
        axes = {"condition": self.conditions["condition"], "method": methods, "level": levels, **axis}
        return as_array(table, axes, columns)[:, method, level]

    @functools.cached_property
    def budgets(self) -> np.ndarray:
        """Training FLOP at which the study has prescriptions, ascending."""
        # Of some hundred thousand rows, which `np.unique` would sort.
        return np.sort(self.study.tokens_per_param["flops"].unique())

    @functools.cached_property
    def wanted_budget(self) -> tuple[float, str]:
        """The budget to compare conditions at, and what it is: Chinchilla's, or that of the largest run."""
        if self.study.spec.data == "chinchilla":
            return GOPHER_FLOPS, "the budget of Gopher and Chinchilla"
        if self.runs is not None:
            return float(self.runs.flops.max()), "the largest budget among the runs"
        middle = float(np.exp(np.log(self.budgets).mean()))
        return middle, "the middle of the study's budgets"

    @functools.cached_property
    def budget(self) -> float:
        """The study's own budget nearest to `wanted_budget`."""
        distance = np.abs(np.log(self.budgets / self.wanted_budget[0]))
        return float(self.budgets[np.argmin(distance)])

    @functools.cached_property
    def range(self) -> tuple[float, float] | None:
        """6 N D of the smallest and of the largest run (FLOP); None where the runs are not known."""
        return None if self.runs is None else compute_range(self.runs)

    @property
    def largest(self) -> float | None:
        """6 N D of the largest run (FLOP); None where the runs are not known."""
        return None if self.range is None else self.range[1]

    @functools.cached_property
    def families(self) -> list[str]:
        """Families of perturbation, in the study's order."""
        return families(self.study)

    @functools.cached_property
    def countings(self) -> pd.DataFrame:
        """The unperturbed conditions: condition, counting, in the order of the figures."""
        return countings(self.study)

    @functools.cached_property
    def reference(self) -> str | None:
        """The unperturbed condition to compare the perturbed ones with; None if there is none."""
        unperturbed = self.conditions.loc[self.conditions["family"] == "identity", "condition"]
        return str(unperturbed.iloc[0]) if len(unperturbed) else None

    @functools.cached_property
    def at_budget(self) -> pd.DataFrame:
        """Every condition at `budget`, in the study's order.

        Columns condition, family, value, repeat, params, estimate, low, high, median (tokens per parameter),
        contains_unperturbed (whether the interval contains the estimate of `reference`; False without one),
        n_converged, n_failed.
        """
        at = self.bands_by_view[:, 0, self.budgets.searchsorted(self.budget)]
        table = self.conditions.drop(columns="n_runs").assign(**dict(zip(BAND_COLUMNS, at.T, strict=True)))
        estimate = self.estimate(self.reference, table)
        table["contains_unperturbed"] = (table["low"] <= estimate) & (estimate <= table["high"])
        counts = self.params.drop_duplicates("condition")[["condition", "n_converged", "n_failed"]]
        return table.merge(counts, how="left", on="condition")

    def estimate(self, condition: str | None, table: pd.DataFrame) -> float:
        """The headline of one condition in `at_budget`; NaN if there is none."""
        found = table.loc[table["condition"] == condition, HEADLINE]
        return float(found.iloc[0]) if len(found) else float("nan")

    @functools.cached_property
    def other_interval(self) -> tuple[int, float, float] | None:
        """What the other choice about E = 0 would change; None where at most 5% of the fits have it.

        How many fits of `reference` have E = 0, and low and high of the tokens per parameter at `budget` with
        the other choice.
        """
        if self.reference is None:
            return None
        laws, codes = self.study.laws(self.reference)
        edge = codes == Status.BOUNDARY
        if not many_at_boundary(edge) or not getattr(self.study.spec.model, "predicts", True):
            return None
        other = other_boundary(self.study.spec.boundary)
        kept = counted_lanes(codes, other)
        band = tokens_per_param_band(laws, [self.budget], self.level, METHOD, counted=kept)
        return int(edge.sum()), float(band["low"].iloc[0]), float(band["high"].iloc[0])

    def curves(self, family: str) -> pd.DataFrame:
        """Bands of one family over all budgets, see `family_curves`, and the estimate of each size."""
        return self._curves[family]

    @functools.cached_property
    def _curves(self) -> dict[str, pd.DataFrame]:
        members = {family: (self.conditions["family"] == family).to_numpy() for family in self.families}
        made = {}
        for family, of in members.items():
            sizes, bands = self.conditions["value"][of], self.bands_by_view[of, 0]
            curves, estimates = (
                family_curves(sizes, self.budgets, bands[..., [BAND_COLUMNS.index(name) for name in names]])
                for names in (BANDS, ("low", HEADLINE, "high"))
            )
            made[family] = curves.assign(**{HEADLINE: estimates["median"]})
        return made

    def documented_estimates(self, family: str) -> tuple[float, float] | None:
        """Lowest and highest estimate at `budget` over a family's documented sizes; None where unknown."""
        return self._documented_estimates[family]

    @functools.cached_property
    def _documented_estimates(self) -> dict[str, tuple[float, float] | None]:
        return {family: self._over_documented(family) for family in self.families}

    def _over_documented(self, family: str) -> tuple[float, float] | None:
        if self.runs is None or family not in SWEEPS:
            return None
        curves, sizes = self.curves(family), documented_sizes(self.runs, family)
        span = documented_span(curves, family, sizes, column=HEADLINE, budget=self.budget)
        ends = span[["low", "high"]].to_numpy(np.float64)
        return (float(ends[0, 0]), float(ends[0, 1])) if len(ends) and np.isfinite(ends).all() else None

    def n_fits(self, conditions: pd.Series | None = None) -> int:
        """Bootstrap fits of these conditions, or of all; certified or not."""
        rows = (
            self.at_budget
            if conditions is None
            else self.at_budget[self.at_budget["condition"].isin(conditions)]
        )
        return int(rows[["n_converged", "n_failed"]].to_numpy(dtype=np.float64).sum())
