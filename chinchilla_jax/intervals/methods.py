"""The interval methods: what each one needs of a bootstrap, and which formula gives its limits.

A new method is an entry of `METHODS` and a formula in `limits.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax.intervals import limits
from chinchilla_jax.intervals.limits import Floats, Limits


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Replicates of q quantities, and what else a method may need of them; symbols as in `limits.py`.

    Attributes:
        replicates: (R, q).
        estimate: (q,).
        jackknife: (m, q) for a method that needs it, else None.
        inner_se: (R, q) for a method that needs it, else None.
    """

    replicates: Floats
    estimate: Floats
    jackknife: Floats | None = None
    inner_se: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way of taking an interval from a bootstrap.

    Attributes:
        name: in tables and on the command line.
        limits: from a sample and the tail probability to the two limits, on the quantity's scale.
        needs: the field of `Replicates` that it needs besides the resamples; or None.
        remedy: one line for a bootstrap without that field.
        normal: whether it takes a normal around a point, from the resamples' covariance alone. Quantities
            derived from the five-parameter law then come from laws drawn from that normal.
        adds: whether it adds and subtracts, and so can leave the range of the quantity.
        in_studies: whether the summary tables of a study hold it.
        of_quantiles: whether its limits are quantiles of each column and arithmetic on these alone.
    """

    name: str
    limits: Callable[[Sample, float], Limits]
    needs: str | None = None
    remedy: str = ""
    normal: bool = False
    adds: bool = False
    in_studies: bool = False
    of_quantiles: bool = False


def _present(values: Floats | None) -> Floats:
    assert values is not None  # `Replicates.require` has looked
    return values


def _gaussian(sample: Sample, tail: float) -> Limits:
    return limits.gaussian(sample.replicates, sample.estimate, tail)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="percentile",
            limits=lambda sample, tail: limits.percentile(sample.replicates, tail),
            in_studies=True,
            of_quantiles=True,
        ),
        Method(
            name="basic",
            limits=lambda sample, tail: limits.basic(sample.replicates, sample.estimate, tail),
            adds=True,
            of_quantiles=True,
        ),
        Method(
            name="bca",
            limits=lambda sample, tail: limits.bca(
                sample.replicates, sample.estimate, _present(sample.jackknife), tail
            ),
            needs="jackknife",
            remedy="needs the fits without each run: bootstrap(..., jackknife=True)",
        ),
        Method(
            name="studentised",
            limits=lambda sample, tail: limits.studentised(
                sample.replicates, sample.estimate, _present(sample.inner_se), tail
            ),
            needs="inner",
            remedy="needs resamples of the resamples: bootstrap(..., inner=50)",
            adds=True,
        ),
        Method(name="gaussian", limits=_gaussian, normal=True, adds=True, in_studies=True),
        Method(
            name="highest_density",
            limits=lambda sample, tail: limits.highest_density(sample.replicates, tail),
        ),
        Method(
            name="besiroglu2024",
            limits=_gaussian,
            needs="huber_scale_point",
            remedy="mixes two estimators (a HuberScale point with a Huber bootstrap); a bootstrap has one: "
            "use 'percentile' or 'gaussian', or run_study, which fits both",
            normal=True,
            adds=True,
            in_studies=True,
        ),
    )
}
"""Every method by name."""

BOOTSTRAP_METHODS = tuple(name for name, method in METHODS.items() if method.needs != "huber_scale_point")
"""Methods for which the bootstrap of one estimator is enough."""

STUDY_METHODS = tuple(name for name, method in METHODS.items() if method.in_studies)
"""Methods of a study's summary tables."""


def read_method(name: Any, allowed: tuple[str, ...] = tuple(METHODS)) -> Method:
    """The method of that name.

    Raises:
        UsageError: `name` is not one of `allowed`.
    """
    if not isinstance(name, str) or name not in allowed:
        raise unknown_name("interval method", name, allowed)
    return METHODS[name]
