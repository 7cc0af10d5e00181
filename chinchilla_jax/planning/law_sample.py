"""The laws behind a decision: those of a bootstrap that count, and quantiles over them.

| code   | shape    | what                                                              |
|--------|----------|-------------------------------------------------------------------|
| laws   | (R,)     | laws that count, with an optimum inside the plane                 |
| point  | ()       | the point fit                                                     |
| values | (R, ...) | any quantity computed per law; may be +inf                        |
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import ChinchillaError, DataError, NoOptimumError, UsageError
from chinchilla_jax._util.labels import INTERVAL_COLUMNS, NATS
from chinchilla_jax.fitting.result import require_estimate
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.laws.best_allocation import ACTIVE, SPARSITY, active_share
from chinchilla_jax.laws.compute import SIX_ND, Cost
from chinchilla_jax.laws.drawn_cost import CostDraws
from chinchilla_jax.laws.fitted import FittedLaw, FittedLaws, parameter_names
from chinchilla_jax.laws.measured_cost import asked_cost
from chinchilla_jax.laws.optimum import has_optimum, no_optimum_anywhere, no_optimum_sentence, remedy_of
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.plausibility import Counts, is_countable
from chinchilla_jax.planning.run_errors import RunErrors
from chinchilla_jax.solvers.counted import counted_lanes, other_boundary, shows_other
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.goodness import Goodness
    from chinchilla_jax.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LawSample:
    """Laws to decide by; use one of the `from_` methods.

    Attributes:
        laws: the laws that count, (R,), R at least 1.
        point: the point fit, a single law.
        source: where they come from, in a few words.
        n_failed: resamples left out because their fit has no certificate.
        n_without_optimum: certified laws left out because more parameters or more tokens do not help
            (alpha, beta, A or B is not positive), so that no budget has a best allocation.
        warnings: what a reader must know before using the numbers, one sentence each.
        largest_run: active parameters and tokens of the run of most 6 N D; None where the runs are not known.
        resampling: what scheme="auto" chose and why; empty where the scheme was given.
        scheme: how the runs were resampled; None where the laws are not a bootstrap's.
        other: the same with the other choice about laws with E = 0, where enough of them are concerned that
            both intervals should be seen; otherwise None.
        boundary: what this sample does with them: "keep" or "drop".
        runs: the runs that were fitted, where they are known.
        errors: what the errors of new runs are drawn from, and
        goodness: how well the law describes the runs; both None where the laws are not a bootstrap's.
        cost: what training costs: that of the runs' own FLOP, where they have any.
        costs: the same by the runs of each resample, (R,); None where it is the same for all laws.
        variables: what else the laws predict from, the same in every plan.
    """

    laws: FittedLaws
    point: FittedLaws
    source: str
    n_failed: int = 0
    n_without_optimum: int = 0
    warnings: tuple[str, ...] = ()
    largest_run: tuple[float, float] | None = None
    resampling: str = ""
    scheme: Scheme | None = None
    other: LawSample | None = None
    boundary: str = "keep"
    runs: Runs | None = None
    errors: RunErrors | None = None
    goodness: Goodness | None = None
    cost: Cost = SIX_ND
    costs: CostDraws | None = None
    variables: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        """How many laws of which kind, and where they are from."""
        return f"<LawSample of {len(self):,} laws {self.laws_name}: {self.source}>"

    def __len__(self) -> int:
        """Number of laws that count."""
        return len(self.laws)

    @property
    def is_single(self) -> bool:
        """Whether it is a single law, for which intervals are meaningless."""
        return len(self) == 1

    @property
    def loss_unit(self) -> str:
        """The unit of the losses that the laws predict; that of the runs, where they are known."""
        return NATS if self.runs is None else self.runs.loss_unit

    @property
    def largest_flops(self) -> float | None:
        """What the largest run that was fitted cost (FLOP); None where the runs are not known."""
        return None if self.largest_run is None else float(self.cost.flops(*self.largest_run))

    def five_parameter(self, what: str) -> tuple[ScalingLaw, ScalingLaw]:
        """(point, laws), for answers that have closed forms of the five-parameter law only.

        Raises:
            UsageError: these are laws of another kind.
        """
        if not isinstance(self.point, ScalingLaw) or not isinstance(self.laws, ScalingLaw):
            raise UsageError(
                f"{what} needs the five-parameter law, and these laws are {self.laws_name}; fit that"
            )
        return self.point, self.laws

    @property
    def laws_name(self) -> str:
        """The law's name, as in `laws.LAWS`."""
        return self.point.model.name if isinstance(self.point, FittedLaw) else "chinchilla"

    def at(self, cost: Cost | str | None = None, variables: Mapping[str, float] | None = None) -> LawSample:
        """The same laws with this cost of training and these variables; None keeps what they have.

        Args:
            cost: a cost, "6nd" for 6 N D, or "measured" for that of the runs' own FLOP.
            variables: what else the laws predict from, by name, such as {"unique_tokens": 3e11}.

        Raises:
            UsageError: no FLOP were measured, or the laws have no such variable.
        """
        if variables and not isinstance(self.point, FittedLaw):
            name = next(iter(variables))
            raise UsageError(
                f"these laws predict from params and tokens alone, and {name} is given; fit a law that has "
                f"it, such as --law repeated_data (law='repeated_data' in Python)"
            )
        given = {name: float(value) for name, value in {**self.variables, **(variables or {})}.items()}
        asked = asked_cost(cost, self.cost, self.source)
        costs = self.costs if asked.is_as_measured(self.cost) else None
        made = dataclasses.replace(self, cost=asked, costs=costs, variables=given)
        other = None if self.other is None else self.other.at(made.cost, variables)
        return dataclasses.replace(made, other=other)

    @property
    def share(self) -> float:
        """Active parameters over all of them."""
        return active_share(self.variables)

    def cost_of(self, laws: FittedLaws) -> Cost:
        """What training costs under these laws: one for each, where they are the sample's resamples."""
        for sample in (self, self.other):
            if sample is not None and laws is sample.laws and sample.costs is not None:
                return sample.costs
        return self.cost

    def optimal(self, laws: FittedLaws, flops: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(params, tokens) of these laws at budgets (FLOP), by the sample's cost and at its variables."""
        given = self.variables if isinstance(laws, FittedLaw) else {}
        params, tokens = laws.optimal(flops, self.cost_of(laws), **given)
        return np.asarray(params), np.asarray(tokens)

    def loss(self, laws: FittedLaws, params: ArrayLike, tokens: ArrayLike) -> NDArray[np.float64]:
        """The loss of these laws (nats per token) at counts, at the variables of the sample."""
        if not isinstance(laws, FittedLaw):
            return np.asarray(laws.loss(params, tokens))
        own = {ACTIVE: params} if ACTIVE in laws.model.variables else {}
        return np.asarray(laws.loss(params, tokens, **self.variables, **own))

    @classmethod
    def from_bootstrap(cls, result: BootstrapResult, source: str = "bootstrap") -> LawSample:
        """The laws of `chinchilla_jax.bootstrap` that count.

        Raises:
            NoEstimateError: the point fit is not certified.
            NoOptimumError: none of them, or not the point fit, has an optimum.
        """
        require_estimate(result.point.status, source, result.point.reason)
        laws, cost = result.laws, result.point.cost
        made = cls._both_ways(
            laws, result.status_codes, result.point.law, source, result.boundary, cost, result.costs
        )
        return dataclasses.replace(
            made,
            warnings=result.warnings,
            largest_run=_largest_run(result.design, result.point.model.variables[2:]),
            resampling=result.dependence.sentence if result.dependence else "",
            scheme=result.scheme,
            runs=result.runs,
            errors=RunErrors.of(result),
            goodness=result.point.goodness,
        )

    @classmethod
    def from_study(cls, study: Study, condition: str | None = None) -> LawSample:
        """The laws of one condition of a study that count, by default of its first unperturbed one.

        Raises:
            NoEstimateError: the point fit of the condition is not certified.
            UsageError: the study has no such condition.
            NoOptimumError: none of them, or not the point fit, has an optimum.
        """
        if condition is None:
            conditions = study.conditions
            identity = conditions.loc[conditions["family"] == "identity", "condition"]
            condition = str((identity if len(identity) else conditions["condition"]).iloc[0])
        laws, codes = study.laws(condition)
        point = study.point
        rows = point[(point["condition"] == condition) & (point["objective"] == study.spec.objective)]
        source = f"{study.directory}, condition {condition}"
        require_estimate(Status[str(rows["status"].iloc[0])], source)
        law = study.point_law(condition)
        made = cls._both_ways(laws, codes, law, source, study.spec.boundary)
        try:
            runs = study.runs()
        except DataError:  # the table has gone, and the distance from it is unknown
            return made
        return dataclasses.replace(made, largest_run=_largest_run(runs), runs=runs)

    @classmethod
    def from_law(cls, law: ScalingLaw, source: str = "one law") -> LawSample:
        """A single law taken as exact, or an array of laws of which the first is the point.

        Raises:
            DataError: none has an optimum.
        """
        laws = law if law.shape else law.map(np.atleast_1d)  # a ScalingLaw: others know their runs
        point = law[0] if law.shape else law
        remedy = "give a law with A, B, alpha and beta above 0"
        # The law is the caller's own.
        return cls._filtered(laws, np.ones(laws.shape, np.bool_), point, source, remedy, DataError)

    @classmethod
    def _both_ways(
        cls,
        laws: FittedLaws,
        codes: NDArray[np.int8],
        point: FittedLaws,
        source: str,
        boundary: str,
        cost: Cost = SIX_ND,
        costs: CostDraws | None = None,
    ) -> LawSample:
        """The sample of one choice about E = 0, with that of the other one beside it where it matters."""

        def sample(choice: str) -> LawSample:
            counted = counted_lanes(codes, choice)
            made = cls._filtered(laws, counted, point, source)
            kept = None if costs is None else costs[counted & has_optimum(laws)]
            return dataclasses.replace(made, boundary=choice, cost=cost, costs=kept)

        made = sample(boundary)
        if not shows_other(codes, boundary):
            return made
        other = other_boundary(boundary)
        if not (counted_lanes(codes, other) & has_optimum(laws)).any():
            return made
        return dataclasses.replace(made, other=sample(other))

    @classmethod
    def _filtered(
        cls,
        laws: FittedLaws,
        counted: NDArray[np.bool_],
        point: FittedLaws,
        source: str,
        remedy: str | None = None,
        error: type[ChinchillaError] = NoOptimumError,
    ) -> LawSample:
        inside = has_optimum(laws)
        kept = counted & inside
        why, remedy = no_optimum_anywhere(point), remedy or remedy_of(point)
        if why:
            raise error(no_optimum_sentence(source, why, remedy))
        if not kept.any():
            raise error(
                f"{source}: {int(counted.sum()):,} of {len(laws):,} laws are certified, and none of them "
                f"has a compute-optimal size at any budget; {remedy}"
            )
        return cls(
            laws=laws[kept],
            point=point,
            source=source,
            n_failed=int((~counted).sum()),
            n_without_optimum=int((counted & ~inside).sum()),
        )


def _largest_run(runs: Counts, further: Sequence[str] = ()) -> tuple[float, float] | None:
    """Active parameters and tokens of the run of most 6 N D; None where a count is not positive and finite.

    Args:
        runs: the runs, or a `Design` of them.
        further: names of the further variables of the design.
    """
    params, tokens = np.asarray(runs.params), np.asarray(runs.tokens)
    known = dict(zip(further, getattr(runs, "further", ()), strict=True))
    active = known.get(ACTIVE, params * (1 - known.get(SPARSITY, 0.0)))
    if not is_countable(active, tokens):
        return None
    largest = int(np.argmax(active * tokens))
    return float(active[largest]), float(tokens[largest])


SUMMARY_COLUMNS = (*INTERVAL_COLUMNS, "median")
"""What `summary` gives of a quantity."""


def summary(point: ArrayLike, values: ArrayLike, level: float) -> tuple[float, float, float, float]:
    """(estimate, low, high, median) of one quantity: the headline, and the resamples beside it.

    Args:
        point: value of the point fit.
        values: values of the laws, (R,); laws with NaN are left out.
        level: mass of the interval.

    Returns:
        low, high and median are NaN if all values are.
    """
    every = np.atleast_1d(np.asarray(values, dtype=np.float64))
    known = every[~np.isnan(every)]
    low, median, high = low_median_high(known, level) if known.size else np.full(3, np.nan)
    return float(np.asarray(point)), float(low), float(high), float(median)


def boundary_table(
    sample: LawSample, level: float, asked: Mapping[tuple[str, float], Callable[[FittedLaws], ArrayLike]]
) -> pd.DataFrame | None:
    """Intervals with and without the laws whose E is 0; None where few are concerned.

    Args:
        sample: the laws, with those of the other choice.
        level: mass of the intervals.
        asked: for each (quantity, flops), the quantity as a function of laws; flops NaN where it has none.

    Returns:
        quantity ("alpha", "beta", then those asked for), flops, estimate, low, high, other_low, other_high.
    """
    import pandas as pd

    if sample.other is None:
        return None
    exponents: dict[tuple[str, float], Callable[[FittedLaws], ArrayLike]] = {
        (name, np.nan): lambda law, name=name: law.as_dict()[name]  # type: ignore[misc]
        for name in ("alpha", "beta")
        if name in parameter_names(sample.point)
    }
    rows = []
    for (name, flops), of in (exponents | dict(asked)).items():
        estimate, low, high, _ = summary(of(sample.point), of(sample.laws), level)
        _, other_low, other_high, _ = summary(np.nan, of(sample.other.laws), level)
        rows.append((name, flops, estimate, low, high, other_low, other_high))
    return pd.DataFrame(rows, columns=["quantity", "flops", *INTERVAL_COLUMNS, "other_low", "other_high"])
