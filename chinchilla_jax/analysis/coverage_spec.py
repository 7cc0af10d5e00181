"""What a coverage run simulates, and how each simulated data set is judged."""

from __future__ import annotations

import dataclasses

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.limits import FITS, RESAMPLES
from chinchilla_jax._util.validation import share, whole_number
from chinchilla_jax.analysis.coverage_noise import NOISES
from chinchilla_jax.bootstrapping.auto_scheme import is_auto
from chinchilla_jax.bootstrapping.schemes import Pairs, Scheme, read_scheme
from chinchilla_jax.intervals.methods import BOOTSTRAP_METHODS, METHODS, read_method
from chinchilla_jax.intervals.quantities import PRESCRIPTIONS, Quantity, prescription_quantities
from chinchilla_jax.laws.fitted import FittedLaw, FittedLaws, parameter_names
from chinchilla_jax.laws.optimum import known_ratio
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.solvers.counted import read_boundary

COVERAGE_FLOPS = (1e20, 1e22, 1e24, 1e26)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoverageSpec:
    """What is simulated, and how each data set is judged.

    Attributes:
        datasets: how many data sets.
        resamples: of each.
        inner: resamples of each resample, for "studentised"; 0 leaves that method out.
        levels: of the intervals.
        methods: out of `intervals.BOOTSTRAP_METHODS`; None for all that the scheme and `inner` allow.
        flops: budgets (FLOP) of the tokens per parameter.
        scheme: how each data set is resampled: a scheme or its name, as for `bootstrap`; "auto" chooses for
            each by itself.
        boundary: "keep" counts resamples whose best E is 0, "drop" leaves them out.
        noise: "residuals" or "signed", see `coverage_noise`.
        groups: which runs share part of their errors: those of one model size ("params"), of one budget
            ("flops"), of one configuration ("replicates"), with one label in a column that the runs carry
            (its name), "none", or "auto": every grouping within which the residuals of the table are
            correlated, see `bootstrapping.dependence`.
        correlation: of two errors of one group; None to estimate it from the residuals of the table.
        seed: whole number; data set i and its resamples are functions of the seed and i alone.

    Raises:
        UsageError: an argument is out of range, or two of them exclude each other.
    """

    datasets: int = 2000
    resamples: int = 1000
    inner: int = 0
    levels: tuple[float, ...] = (0.8, 0.95)
    methods: tuple[str, ...] | None = None
    flops: tuple[float, ...] = COVERAGE_FLOPS
    scheme: Scheme | str = "auto"
    boundary: str = "keep"
    noise: str = "residuals"
    groups: str = "auto"
    correlation: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check and complete the fields."""
        for name, least in (("datasets", 1), ("resamples", 2), ("inner", 0), ("seed", 0)):
            whole_number(f"coverage: {name}", getattr(self, name), low=least)
        RESAMPLES.require("coverage", self.resamples)
        FITS.require(
            f"coverage: {self.datasets:,} data sets of {self.resamples:,} resamples",
            self.datasets * self.resamples * (1 + self.inner),
        )
        if self.seed + self.datasets >= 2**32:
            raise UsageError(f"coverage: seed + datasets = {self.seed + self.datasets}, must be below 2^32")
        if self.noise not in NOISES:
            raise unknown_name("noise", self.noise, NOISES)
        read_boundary(self.boundary)
        if self.correlation is not None:
            share("coverage: correlation", self.correlation)
            if self.groups in ("auto", "none"):
                raise UsageError(
                    f"coverage: correlation is of the errors of one group, and groups is {self.groups!r}; "
                    "give groups='params', 'flops', 'replicates' or a column"
                )
        possible = self._possible_methods()
        for method in self.methods or ():
            if method in METHODS and method not in possible:
                raise UsageError(self._why_not(method, possible))
            read_method(method, possible)
        object.__setattr__(self, "methods", tuple(self.methods or possible))

    def _why_not(self, method: str, possible: tuple[str, ...]) -> str:
        """Why a method that exists is not among the possible ones."""
        scheme = "auto" if is_auto(self.scheme) else read_scheme(self.scheme).name
        needs = METHODS[method].needs
        if needs == "inner" and not self.inner:
            return f"coverage: method {method!r} needs resamples of resamples; give inner=50"
        why = {
            "inner": "resamples of resamples",
            "jackknife": "fits without each run in turn",
        }.get(needs or "", "a scheme that estimates quantiles")
        return (
            f"coverage: method {method!r} needs {why}, which scheme {scheme!r} does not have; give a method "
            f"out of {', '.join(possible)}, or another scheme"
        )

    def _possible_methods(self) -> tuple[str, ...]:
        """Methods for which the scheme gives what they need."""
        # Whatever "auto" chooses allows every method; with inner resamples it keeps to counts.
        scheme = Pairs() if is_auto(self.scheme) else read_scheme(self.scheme)
        if self.inner and not scheme.has_nested:
            raise UsageError(
                f"coverage: inner is {self.inner}, and scheme {scheme.name!r} has no resamples of resamples; "
                "use scheme='pairs' or 'cluster', or inner=0"
            )
        lacking = set() if self.inner else {"inner"}
        if not scheme.has_jackknife:
            lacking.add("jackknife")
        return tuple(
            name
            for name in BOOTSTRAP_METHODS
            if METHODS[name].needs not in lacking and (scheme.quantiles or METHODS[name].normal)
        )

    def quantities(self, law: FittedLaws) -> list[Quantity]:
        """The quantities whose intervals are judged: parameters of the law, and what it prescribes."""
        names = ("alpha", "beta", "E") if isinstance(law, ScalingLaw) else parameter_names(law)
        named = [Quantity(name=name) for name in names]
        if law.log_ratio_line() is not None:
            named.append(Quantity(name="exponent_a"))
        if isinstance(law, FittedLaw) and not law.model.has_optimum:
            return named
        return named + prescription_quantities(self.flops, ["tokens_per_param"])

    def truths(self, law: FittedLaws) -> list[float]:
        """The quantities of a law; a prescription is NaN where the law has no optimum, and not 0 or +inf."""
        values = [(each, float(each.unscaled(each.scaled(law)))) for each in self.quantities(law)]
        return [known_ratio(value) if each.name in PRESCRIPTIONS else value for each, value in values]
