"""The laws behind a decision: those of a bootstrap that count, and quantiles over them.

| code   | shape    | what                                                              |
|--------|----------|-------------------------------------------------------------------|
| laws   | (R,)     | laws with a certificate and an optimum inside the plane           |
| point  | ()       | the point fit                                                     |
| values | (R, ...) | any quantity computed per law; may be +inf                        |
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.planning.plausibility import has_optimum, largest_compute, no_optimum

if TYPE_CHECKING:
    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawSample:
    """Laws to decide by; use one of the `from_` methods.

    Attributes:
        laws: the laws that count, fields (R,), R at least 1.
        point: the point fit, a single law.
        source: where they come from, in a few words.
        n_failed: resamples left out because their fit has no certificate.
        n_without_optimum: certified laws left out because more parameters or more tokens do not help
            (alpha, beta, A or B is not positive), so that no budget has a best allocation.
        warnings: what a reader must know before using the numbers, one sentence each.
        largest_flops: 6 N D of the largest run that was fitted (FLOP); None where the runs are not known.
        resampling: what scheme="auto" chose and why; empty where the scheme was given.
    """

    laws: ScalingLaw
    point: ScalingLaw
    source: str
    n_failed: int = 0
    n_without_optimum: int = 0
    warnings: tuple[str, ...] = ()
    largest_flops: float | None = None
    resampling: str = ""

    def __len__(self) -> int:
        """Number of laws that count."""
        return len(self.laws)

    @property
    def is_single(self) -> bool:
        """Whether it is a single law, for which intervals are meaningless."""
        return len(self) == 1

    @classmethod
    def from_bootstrap(cls, result: BootstrapResult, source: str = "bootstrap") -> LawSample:
        """The certified laws of `chinchilla_jax.bootstrap`.

        Raises:
            DataError: none of them, or not the point fit, has an optimum.
            UsageError: the bootstrap is of another law.
        """
        if not isinstance(result.laws, ScalingLaw):
            raise UsageError(
                f"this bootstrap is of {result.point.model.name}; plans are made from the five-parameter law"
            )
        made = cls._filtered(result.laws, result.converged, result.point.law, source)
        largest = largest_compute(result.design)
        return dataclasses.replace(
            made,
            warnings=result.warnings,
            largest_flops=largest,
            resampling=result.dependence.sentence if result.dependence else "",
        )

    @classmethod
    def from_study(cls, study: Study, condition: str | None = None) -> LawSample:
        """The certified laws of one condition of a study, by default its first unperturbed one.

        Raises:
            UsageError: the study has no such condition.
            DataError: none of them, or not the point fit, has an optimum.
        """
        if condition is None:
            conditions = study.conditions
            identity = conditions.loc[conditions["family"] == "identity", "condition"]
            condition = str((identity if len(identity) else conditions["condition"]).iloc[0])
        fits = study.fits(condition)
        point = study.point
        rows = point[(point["condition"] == condition) & (point["objective"] == study.spec.objective)]
        law = ScalingLaw(**{name: float(rows[name].iloc[0]) for name in PARAMETERS})
        laws = ScalingLaw(**{name: fits[name].to_numpy(dtype=np.float64) for name in PARAMETERS})
        converged = (fits["status"] == "CONVERGED").to_numpy()
        made = cls._filtered(laws, converged, law, f"{study.path}, condition {condition}")
        try:
            largest = largest_compute(study.runs())
        except DataError:  # the table has gone: nothing can be said about distances from it
            largest = None
        return dataclasses.replace(made, largest_flops=largest)

    @classmethod
    def from_law(cls, law: ScalingLaw, source: str = "one law") -> LawSample:
        """A single law taken as exact, or an array of laws of which the first is the point.

        Raises:
            DataError: none has an optimum.
        """
        laws = law if law.shape else law.map(np.atleast_1d)
        point = law[0] if law.shape else law
        remedy = "give a law with A, B, alpha and beta above 0"
        return cls._filtered(laws, np.ones(laws.shape, np.bool_), point, source, remedy)

    @classmethod
    def _filtered(
        cls,
        laws: ScalingLaw,
        converged: NDArray[np.bool_],
        point: ScalingLaw,
        source: str,
        remedy: str = "check the table, or add runs that vary params and tokens apart",
    ) -> LawSample:
        inside = has_optimum(laws)
        kept = converged & inside
        why = no_optimum(point)
        if why:
            raise DataError(f"{source}: no budget has a compute-optimal size, because {why}; {remedy}")
        if not kept.any():
            raise DataError(
                f"{source}: {int(converged.sum()):,} of {len(laws):,} laws are certified, and none of them "
                f"has a compute-optimal size at any budget; {remedy}"
            )
        return cls(
            laws=laws[kept],
            point=point,
            source=source,
            n_failed=int((~converged).sum()),
            n_without_optimum=int((converged & ~inside).sum()),
        )


def summary(point: ArrayLike, values: ArrayLike, level: float) -> tuple[float, float, float, float]:
    """(point, low, median, high) of one quantity.

    Args:
        point: value of the point fit.
        values: values of the laws, (R,); laws with NaN are left out.
        level: mass of the interval.

    Returns:
        low, median and high are NaN if all values are.
    """
    every = np.atleast_1d(np.asarray(values, dtype=np.float64))
    known = every[~np.isnan(every)]
    limits = low_median_high(known, level) if known.size else np.full(3, np.nan)
    return float(np.asarray(point)), float(limits[0]), float(limits[1]), float(limits[2])
