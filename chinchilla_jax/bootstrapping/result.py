"""The fits of a bootstrap, and the tables that they are asked for.

Notation
    R            number of resamples
    K            resamples of each resample, for studentised intervals
    m            runs, or clusters of them
    laws         fitted laws, shape (R,)
    counted      (R,) lanes with a certificate; only these enter a standard error or an interval
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.blocks import LONG
from chinchilla_jax._util.cards import Card, ShownInNotebooks, frame_card, parameters_text
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.labels import interval_text
from chinchilla_jax._util.text import counts_text, warnings_text
from chinchilla_jax._util.validation import whole_number
from chinchilla_jax.bootstrapping.boundary import interval_warnings
from chinchilla_jax.bootstrapping.schemes import Pairs, Scheme
from chinchilla_jax.fitting.run_off import run_off_warnings
from chinchilla_jax.laws.drawn_cost import CostDraws
from chinchilla_jax.laws.measured_cost import asked_cost
from chinchilla_jax.solvers.counted import counted_lanes, read_boundary
from chinchilla_jax.solvers.status import STATUS_NAMES, Status, status_counts

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax.bootstrapping.audit import Audit
    from chinchilla_jax.bootstrapping.dependence import Dependence
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.fitting.run_off import RunOff
    from chinchilla_jax.intervals.replicates import Replicates
    from chinchilla_jax.laws import Cost, Design
    from chinchilla_jax.solvers import Solution

_PAIRS = Pairs()


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class BootstrapResult(ShownInNotebooks):
    """Fits of R resamples and the point fit of the same estimator.

    Attributes:
        solution: where the lanes ended: coordinates, objective values, certificates, statuses, steps.
        design: the runs whose standardised units the solution is in.
        resample_ids: (R,) 0, 1, 2, ...; with `seed` they say what was drawn, see `weights`.
        point: point fit on all runs.
        scheme: how the runs were resampled.
        left_out: where the fits without each run (or cluster) in turn ended, (m,); or None.
        nested: where the fits of K resamples of each resample ended, (R * K,); or None.
        dependence: what was measured where "auto" chose the scheme; None where the scheme was given.
        cautions: what limits the intervals of a scheme that was given, one sentence each.
        audit: how many of a sample of resamples had a lower minimum than the one they were certified at.
        ran_off: the UNIDENTIFIED lanes whose parameters run off, by position, and which do and where to.
        boundary: "keep" to count certified optima with E = 0, "drop" to leave them out of every summary.
        members: group of each run where whole groups were resampled, (n,); None elsewhere.
        costs: what training costs by the runs of each resample; None where they have no FLOP of their own.
        seed: what the resamples were drawn by, with `resample_ids`; None where `bootstrap` did not draw them.

    Example:
        >>> boot
        <BootstrapResult of 200 resamples: 200 CONVERGED; point chinchilla E=1.817 A=477.8 B=2143 alpha=0.3473
        beta=0.3672>
        >>> boot.interval()[["low", "high"]].loc["alpha"].round(2).to_dict()
        {'low': 0.33, 'high': 0.37}
        >>> boot.tokens_per_param(1e24)[["flops", "estimate", "low", "high"]].round(1)
                  flops  estimate  low  high
        0  1.000000e+24      17.6  9.4  28.1
    """

    solution: Solution
    design: Design
    resample_ids: NDArray[np.integer]
    point: FitResult
    scheme: Scheme = _PAIRS
    left_out: Solution | None = None
    nested: Solution | None = None
    dependence: Dependence | None = None
    cautions: tuple[str, ...] = ()
    audit: Audit | None = None
    ran_off: Mapping[int, RunOff] = dataclasses.field(default_factory=dict)
    boundary: str = "keep"
    members: NDArray[np.int64] | None = None
    costs: CostDraws | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check the choice."""
        read_boundary(self.boundary)

    def __repr__(self) -> str:
        """What a reader at a prompt wants to know; every field is an attribute."""
        point = f"no estimate ({self.point.status.name})"
        if self.estimated:
            point = f"point {self.point.model.name} {parameters_text(self.point.parameters)}"
        warned = warnings_text(self.warnings)
        read = "".join(f"; {line}" for line in self.point.read[:1])
        counts = counts_text(self.counts())
        return f"<BootstrapResult of {len(self.steps):,} resamples: {counts}; {point}{warned}{read}>"

    @written_in("chinchilla_jax.plots", "bootstrap")
    def plot(
        self,
        quantity: str = "tokens_per_param",
        *,
        flops: ArrayLike = (),
        level: float = 0.8,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw the best run of each budget with its band, as `chinchilla_jax.plots.bootstrap` does."""
        raise NotImplementedError

    def _card(self) -> Card:
        title = (
            f"Bootstrap of law {self.point.model.name}: {len(self.steps):,} resamples by {self.scheme.text}"
        )
        said = [counts_text(self.counts()), *self.warnings, *self.point.read]
        if not self.estimated:
            return Card(f"{title}: no estimate", notes=[self.point.reason, *said])
        level, method = self._usual()
        table = _by_parameter(self._parameter_columns(level, method))
        numbers = ["estimate", "standard_error"]
        if self.scheme.quantiles:
            numbers += ["low", "high"]
            said.insert(0, f"low and high: {interval_text(level, method)}")
        columns = {"quantity": "quantity", **dict.fromkeys(numbers, "")}
        named = table.rename(columns={"parameter": "quantity"})
        return frame_card(title, named, columns, said, self.point.loss_unit)

    def with_boundary(self, boundary: str) -> BootstrapResult:
        """The same fits with the other choice about E = 0: "keep" or "drop".

        Raises:
            UsageError: it is neither.
        """
        return dataclasses.replace(self, boundary=boundary)

    @functools.cached_property
    def laws(self) -> Any:
        """Fitted laws, shape (R,): a `ScalingLaw` or, for another model, a `FittedLaw`.

        NaN where INVALID. E is 0 where the best law has no irreducible loss (BOUNDARY).
        """
        return self.point.model.fitted(self.solution.theta, self.design)

    @property
    def runs(self) -> Runs | None:
        """The runs that were resampled, `point.runs`; None of the fits of a study."""
        return self.point.runs

    @property
    def objective_value(self) -> NDArray[np.float64]:
        """Objective of each lane, (R,)."""
        return self.solution.objective_value

    @property
    def decrement(self) -> NDArray[np.float64]:
        """Certificate of each lane, (R,)."""
        return self.solution.decrement

    @property
    def status_codes(self) -> NDArray[np.int8]:
        """`Status` values, (R,) int8; `status` has their names."""
        return self.solution.status

    @property
    def steps(self) -> NDArray[np.int32]:
        """Solver steps of each lane, (R,)."""
        return self.solution.steps

    @property
    def status(self) -> NDArray[np.str_]:
        """Status names, (R,); see `Status` for the sentences."""
        return np.array(STATUS_NAMES)[self.status_codes]

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Lanes certified as an optimum with E > 0, (R,)."""
        return self.status_codes == Status.CONVERGED

    @property
    def at_boundary(self) -> NDArray[np.bool_]:
        """Lanes certified as an optimum with E = 0, (R,)."""
        return self.status_codes == Status.BOUNDARY

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Lanes that count in a standard error or an interval, (R,); see `boundary`."""
        return counted_lanes(self.status_codes, self.boundary)

    @property
    def estimated(self) -> bool:
        """Whether the point fit is certified; where it is not, every number about an estimate is NaN."""
        return self.point.status.certified

    @functools.cached_property
    def jackknife(self) -> Any:
        """Laws without each run (or cluster) in turn, NaN where a fit does not count, (m,); or None."""
        return None if self.left_out is None else self._laws_of(self.left_out, (len(self.left_out),))

    @functools.cached_property
    def inner(self) -> Any:
        """Laws of K resamples of each resample, NaN where a fit does not count, (R, K); or None."""
        return None if self.nested is None else self._laws_of(self.nested, (len(self.steps), -1))

    def _laws_of(self, found: Solution, shape: tuple[int, ...]) -> Any:
        fitted = self.point.model.fitted(found.theta, self.design)
        counted = counted_lanes(found.status, self.boundary)
        return fitted.where(counted)[np.arange(len(found)).reshape(shape)]

    def counts(self) -> dict[str, int]:
        """Number of lanes per status name."""
        return status_counts(self.status_codes)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before using the intervals, one sentence each; the point fit's first."""
        if not self.estimated:  # there is no interval to say anything about
            return (*self.point.warnings, *interval_warnings(self))
        parts = [part.warnings for part in (self.dependence, self.audit) if part is not None]
        others = (warning for part in parts for warning in part)
        off = run_off_warnings(self.ran_off, len(self.steps))
        return (*self.point.warnings, *self.cautions, *others, *off, *interval_warnings(self))

    @property
    def miss_rate(self) -> float:
        """Estimated share of certified resamples that miss their lowest minimum.

        NaN where it was not estimated; `audit` has the counts, see audit.py.
        """
        return float("nan") if self.audit is None else self.audit.rate

    def weights(self, i: int) -> NDArray[np.float64]:
        """How much each run counts in resample i, (n,): how often it was drawn, times its own weight.

        They follow from `seed` and `resample_ids[i]` alone, whatever else was drawn: resample 7 of seed 0 is
        the same among 100 and among 10,000, for every law and objective.

        Args:
            i: position of the resample, 0 to R - 1.

        Raises:
            UsageError: there is no such resample, or the resamples are not weights: "wild" and "residual"
                draw losses; those of a study are in its directory.
        """
        i = whole_number("i", i, high=len(self.steps) - 1)
        if self.runs is None or self.seed is None:
            raise UsageError(
                "these resamples were not drawn by cj.bootstrap, and no seed tells their weights"
            )
        drawn = self.scheme.weights(self.runs, self.resample_ids[i : i + 1], self.seed)[0]
        own = self.point.weights
        return np.asarray(drawn * (1.0 if own is None else own), np.float64)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the bootstrap with its runs to one file of Parquet and JSON, which `cj.load` reads.

        Returns:
            Where it is.

        Raises:
            UsageError: the file cannot be written, or the law is a class that is not built in.
        """
        from chinchilla_jax.fitting.saved_values import save

        return save(self, path)

    def to_frame(self) -> pd.DataFrame:
        """One row per resample: resample, the parameters, objective_value, decrement, status, steps."""
        import pandas as pd

        return pd.DataFrame(
            {
                "resample": self.resample_ids.astype(np.int64),
                **self.laws.as_dict(),
                "objective_value": self.objective_value,
                "decrement": self.decrement,
                "status": self.status,
                "steps": self.steps,
            }
        )

    def replicates(self) -> Replicates:
        """What `intervals.interval_table` makes intervals from."""
        return self._replicates(self.laws)

    def lean_replicates(self, method: str) -> Replicates:
        """`replicates` for a method that needs one quantity of the laws at a time, without their fields.

        Ten million laws in natural units are 400 MB beside their coordinates. The numbers are the same.
        """
        if method != "percentile" or len(self.steps) <= LONG or "laws" in self.__dict__:
            return self.replicates()
        from chinchilla_jax.laws.fitted import FittedLaw

        return self._replicates(
            FittedLaw(model=self.point.model, design=self.design, theta=self.solution.theta)
        )

    def _replicates(self, laws: Any) -> Replicates:
        from chinchilla_jax.intervals.replicates import Replicates

        return Replicates(
            laws=laws,
            counted=self.counted,
            point=self.point.law,
            estimated=self.estimated,
            factor=self.scheme.factor(self.point.n_runs, self.point.model.size),
            quantiles=self.scheme.quantiles,
            jackknife=self.jackknife,
            inner=self.inner,
        )

    def intervals(
        self,
        *,
        flops: ArrayLike = (),
        places: Iterable[tuple[float, float]] = (),
        levels: Sequence[float] = (0.8,),
        methods: Sequence[str] = ("percentile",),
        simultaneous: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Intervals of the parameters and of everything derived from them, in one table.

        Args:
            flops: budgets (6 N D) at which to give the optimal params and tokens and tokens per parameter.
            places: (params, tokens) at which to give the predicted loss.
            levels: mass of each interval.
            methods: out of `intervals.BOOTSTRAP_METHODS`; "bca" needs `bootstrap(..., jackknife=True)`,
                "studentised" `bootstrap(..., inner=50)`.
            simultaneous: bands that hold whole curves over `flops`, and not each point by itself.
            seed: of the laws that the normal methods draw.

        Returns:
            The table of `intervals.interval_table`: the parameters of the law, the exponents a and b and the
            slope of ln tokens per parameter where its optimum is a power of compute, then what `flops` and
            `places` ask for.
        """
        from chinchilla_jax.intervals import quantities as q
        from chinchilla_jax.intervals.table import interval_table

        asked = q.parameter_quantities(self.laws.as_dict())
        if self.laws.log_ratio_line() is not None:
            asked += q.exponent_quantities()
        if np.size(flops):
            asked += q.prescription_quantities(flops)
        asked += q.loss_quantities(places)
        return interval_table(
            self.replicates(), asked, levels=levels, methods=methods, simultaneous=simultaneous, seed=seed
        )

    def standard_errors(self) -> pd.DataFrame:
        """Standard error of each parameter: the spread of the resamples, natural units.

        Returns:
            Rows: the parameters of the law, by name, as in `table.loc["alpha", "standard_error"]`. Columns:
            parameter, estimate, standard_error, n_converged, n_failed.
        """
        table = _by_parameter(self._parameter_columns(*self._usual()))
        return table[["parameter", "estimate", "standard_error", "n_converged", "n_failed"]]

    def interval(self, level: float = 0.8, method: str = "percentile") -> pd.DataFrame:
        """Interval of each parameter.

        Args:
            level: probability inside, in (0, 1).
            method: out of `intervals.BOOTSTRAP_METHODS`; "bca" needs `bootstrap(..., jackknife=True)`,
                "studentised" `bootstrap(..., inner=50)`.

        Returns:
            Rows: the parameters of the law, by name, as in `table.loc["alpha", "low"]`. Columns: parameter,
            estimate, low, high, level, method, n_converged, n_failed.

        Raises:
            UsageError: `level` is not a probability, or `method` is unknown or lacks what it needs.
        """
        return _by_parameter(self._parameter_columns(level, method)).drop(columns="standard_error")

    def tokens_per_param(
        self,
        flops: ArrayLike,
        level: float = 0.8,
        method: str = "percentile",
        *,
        seed: int = 0,
        cost: Cost | str | None = None,
    ) -> pd.DataFrame:
        """Compute-optimal tokens per parameter at each budget, with its interval.

        Args:
            flops: budgets (FLOP), positive, (k,) or a single one.
            level: probability inside, in (0, 1).
            method: as for `interval`.
            seed: of the laws that the normal methods draw.
            cost: what training costs: a `Cost`, "6nd", or "measured" for that of the runs' own FLOP. None
                takes what was measured where the runs have FLOP of their own, and 6 N D elsewhere.

        Returns:
            Rows: the budgets. Columns: flops, estimate (of the point fit), low, high, median (of the
            resamples), level, method; NaN where only laws without an optimum lie. `attrs` has
            the counts of lanes, as for `intervals.tokens_per_param_band`.

        Raises:
            UsageError: as for `interval`, or a budget is not positive and finite.
        """
        import pandas as pd

        columns, counts = self.tokens_per_param_columns(flops, level, method, seed=seed, cost=cost)
        frame = pd.DataFrame(columns)
        frame.attrs = counts
        return frame

    def parameter_columns(self, level: float = 0.8, method: str = "percentile") -> dict[str, list[Any]]:
        """The columns of `interval`, with the standard_error of `standard_errors`, as lists.

        Without pandas, whose import takes longer than to fit 4,000 resamples.
        """
        usual = self._parameter_columns(*self._usual())
        return self._parameter_columns(level, method) | {"standard_error": usual["standard_error"]}

    def tokens_per_param_columns(
        self,
        flops: ArrayLike,
        level: float = 0.8,
        method: str = "percentile",
        *,
        seed: int = 0,
        cost: Cost | str | None = None,
    ) -> tuple[dict[str, list[Any]], dict[str, int]]:
        """The columns of `tokens_per_param` as lists, without pandas; and its counts of lanes."""
        from chinchilla_jax.intervals import summaries

        asked = asked_cost(cost, self.point.cost, "this bootstrap")
        return summaries.tokens_per_param_columns(
            self.lean_replicates(method).priced(asked, self.costs_for(asked)), flops, level, method, seed=seed
        )

    def costs_for(self, cost: Cost) -> CostDraws | None:
        """The costs of the resamples, where this one is what all runs gave."""
        return self.costs if cost.is_as_measured(self.point.cost) else None

    def _usual(self) -> tuple[float, str]:
        """Level and method of an interval that every scheme has."""
        return 0.8, "percentile" if self.scheme.quantiles else "gaussian"

    def _parameter_columns(self, level: float, method: str) -> dict[str, list[Any]]:
        from chinchilla_jax.intervals import summaries

        return summaries.parameter_columns(self.lean_replicates(method), level, method)


def _by_parameter(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """The table with a row for each parameter, which its name finds; the name is a column too."""
    import pandas as pd

    return pd.DataFrame(columns, index=list(columns["parameter"]))
