"""Does a published law, or another table, agree with these runs? A joint test of exponents or all parameters.

Notation
    x            (ln A - alpha mean ln N, ln B - beta mean ln D, ln E, alpha, beta), or the last two; (..., k)
    x_fit        of the point fit; x_other of what it is compared with; x_r of resample r
    S            covariance of x_r over the resamples, plus that of x_other; (k, k)
    e_r          error of x_other: 0 for a law taken as exact, a normal draw for one with standard errors, the
                 deviation of its resample r for another table; (R, k)
    distance     d_r^2 = (x_r - x_fit - e_r)' S^-1 (x_r - x_fit - e_r), Mahalanobis; (R,)
    statistic    W = (x_other - x_fit)' S^-1 (x_other - x_fit)

E, A and B depend on the text and the tokenizer of the losses: only the exponents can be compared between data
sets. All five are meaningful on one text, as in Besiroglu et al. 2024.

Logarithms make the resamples nearly normal; A and B themselves range over decades. Centring is linear: it
changes no statistic and keeps S well conditioned. There are two p-values: the tail of chi-squared with k
degrees of freedom at W, exact for a normal x and a known S (Wald 1943, Trans. Amer. Math. Soc. 54); and the
share of resamples at least as far from the fit, (1 + #{d_r^2 >= W}) / (1 + R), which needs no normality and
cannot fall below 1 / (1 + R).

Besiroglu et al. 2024 (arXiv:2404.10102) test Hoffmann et al.'s law in this way, in (ln A, ln B, ln E, alpha,
beta), with S from the bootstrap of `Huber` and the point from `HuberScale`, which can be passed as
`estimate`. `wald_calibration.py` tests the test.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis.chi_squared import log10_chi_squared_tail
from chinchilla_jax.analysis.wald_coordinates import (
    COMPARED,
    COORDINATES,
    LN_E,
    coordinates,
    has_coordinates,
    law_covariance,
    read_compared,
)
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.solvers.status import is_certified

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike

Floats = NDArray[np.float64]
_LEAST = 50  # resamples: ten for each parameter, below which S is not worth inverting
_SEED = 0  # of the draws of a published law with standard errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class WaldTest:
    """Outcome of `wald_test` and `wald_test_of_tables`.

    Attributes:
        statistic: W.
        degrees: of freedom: how many coordinates are compared.
        log10_p: log10 of the chi-squared p-value, which itself may be too small for a float.
        p_bootstrap: share of resamples at least as far from the fit.
        n_resamples: resamples that count.
        n_failed: resamples left out: not certified or, where ln E is compared, with E = 0.
        distances: d_r^2, (n_resamples,), in no order.
        table: per coordinate: coordinate, fit, law (or "other", of the other table), standard_error (of the
            difference), z (the difference in standard errors).
        notes: what was compared, and what was taken as exact, one sentence each.
    """

    statistic: float
    degrees: int
    log10_p: float
    p_bootstrap: float
    n_resamples: int
    n_failed: int
    distances: Floats
    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def p_value(self) -> float:
        """Chi-squared p-value; 0 where it is below 1e-308."""
        return float(10.0**self.log10_p)

    @property
    def sentence(self) -> str:
        """What the two p-values say at 5%, and whether they agree."""
        p = f"10^{self.log10_p:.1f}" if self.log10_p < -4 else f"{self.p_value:.2g}"
        floor = 1 / (1 + self.n_resamples)
        at_most = "at most " if self.p_bootstrap <= floor * (1 + 1e-12) else ""
        rejected, by_resamples = self.log10_p < math.log10(0.05), self.p_bootstrap < 0.05
        verdict = "is rejected" if rejected and by_resamples else "is not rejected"
        if rejected != by_resamples:
            verdict = "is rejected by one of the two tests and not by the other"
        exponents = self.degrees == len(COMPARED["exponents"])
        if "law" in self.table:
            claim = "That these runs have the exponents of the law" if exponents else "The law"
        else:
            claim = f"That both tables have the same {'exponents' if exponents else 'parameters'}"
        return (
            f"{claim} {verdict} at 5%: chi-squared({self.degrees}) = {self.statistic:.4g}, p = {p}; "
            f"share of {self.n_resamples:,} resamples as far from the fit {at_most}{self.p_bootstrap:.2g}."
        )


def wald_test(
    boot: BootstrapResult,
    law: ScalingLaw,
    runs: Runs | TableLike,
    *,
    compare: str = "exponents",
    errors: Sequence[float] | None = None,
    estimate: ScalingLaw | None = None,
) -> WaldTest:
    """Test whether `law` could be the truth behind the runs that `boot` resamples.

    Args:
        boot: a bootstrap of `runs`, with resamples as large as the data.
        law: a single law; where all five parameters are compared, with E, A and B positive.
        runs: the runs.
        compare: "exponents" (alpha and beta) or "all", which is meaningful on one text and tokenizer only.
        errors: standard errors of the law in natural units, taken as independent: (alpha, beta), or (E, A,
            B, alpha, beta). None takes the law as exact.
        estimate: a point other than that of `boot`, to mix estimators as Besiroglu et al. 2024 do.

    Raises:
        UsageError: a parameter that enters as a logarithm is not positive, the point fit failed, too few
            resamples converged, or the errors do not fit what is compared.
    """
    runs, chosen = as_runs(runs, "wald_test"), read_compared(compare)
    if law.shape != () or not has_coordinates(law, chosen):
        wanted = "finite exponents" if compare == "exponents" else "E, A and B positive and all five finite"
        raise UsageError(f"wald_test: the law must be a single one with {wanted}")
    side = _side(boot, runs, runs, chosen, "wald_test", estimate)
    added = np.zeros((len(chosen), len(chosen)))
    draws = np.zeros_like(side.deviations)
    note = "The law is taken as exact: give its standard errors, which make the test reject less."
    if errors is not None:
        note = "The standard errors of the law are added to those of the fit."
        added = law_covariance(law, errors, runs, chosen)
        generator = np.random.Generator(np.random.Philox(_SEED))
        draws = generator.multivariate_normal(np.zeros(len(chosen)), added, size=len(draws), method="eigh")
    return _outcome(
        side.point,
        coordinates(law, runs)[list(chosen)],
        "law",
        np.cov(side.deviations, rowvar=False) + added,
        side.deviations - draws,
        side.n_failed,
        chosen,
        (_text_note(compare), note),
    )


def wald_test_of_tables(
    boot: BootstrapResult,
    runs: Runs | TableLike,
    other: BootstrapResult,
    other_runs: Runs | TableLike,
    *,
    compare: str = "exponents",
) -> WaldTest:
    """Test whether two tables could have the same exponents, or all five parameters, behind them.

    Args:
        boot: a bootstrap of `runs`.
        runs: one table.
        other: a bootstrap of `other_runs`; the tables are taken as independent.
        other_runs: the other table.
        compare: as for `wald_test`; "all" where both have one text and tokenizer.

    Raises:
        UsageError: as for `wald_test`, of either table.
    """
    runs, chosen = as_runs(runs, "wald_test_of_tables"), read_compared(compare)
    other_runs = as_runs(other_runs, "wald_test_of_tables")
    first = _side(boot, runs, runs, chosen, "wald_test_of_tables")
    # One centre for both, so that a coordinate is one function of the law on either side.
    second = _side(other, other_runs, runs, chosen, "wald_test_of_tables")
    count = min(len(first.deviations), len(second.deviations))
    return _outcome(
        first.point,
        second.point,
        "other",
        np.cov(first.deviations, rowvar=False) + np.cov(second.deviations, rowvar=False),
        first.deviations[:count] - second.deviations[:count],
        first.n_failed + second.n_failed,
        chosen,
        (_text_note(compare), "Both tables are bootstrapped, and their covariances are added."),
    )


@dataclasses.dataclass(frozen=True)
class _Side:
    """One table: its point, (k,), deviations of its resamples, (R, k), and how many were left out."""

    point: Floats
    deviations: Floats
    n_failed: int


def _side(
    boot: BootstrapResult,
    runs: Runs,
    centre: Runs,
    chosen: tuple[int, ...],
    caller: str,
    estimate: ScalingLaw | None = None,
) -> _Side:
    if not isinstance(boot.laws, ScalingLaw):
        raise UsageError(f"{caller}: a bootstrap of law {boot.point.model.name}; give one of law chinchilla")
    if not boot.scheme.keeps_spread(len(runs)):
        raise UsageError(
            f"{caller}: the resamples of scheme {boot.scheme.name!r} spread differently from estimates; "
            "use 'pairs', 'cluster', 'bayesian', 'wild' or 'residual'"
        )
    point = boot.point.law if estimate is None else estimate
    if not (boot.point.status.certified and has_coordinates(point, chosen)):
        needed = "all five parameters, E above 0" if LN_E in chosen else "its exponents"
        raise UsageError(f"{caller}: the point fit is {boot.point.status.name}; a test needs {needed}")
    sound = is_certified(boot.status_codes)
    if LN_E in chosen:
        sound = sound & (np.asarray(boot.laws.E) > 0)
    count = int(sound.sum())
    if count < _LEAST:
        raise UsageError(
            f"{caller}: {count} of {len(sound)} resamples converged; give at least {_LEAST}, better 1,000"
        )
    fitted = coordinates(boot.laws[np.flatnonzero(sound)], centre)[:, list(chosen)]
    at = coordinates(point, centre)[list(chosen)]
    return _Side(at, fitted - at, len(sound) - count)


def _outcome(
    x_fit: Floats,
    x_other: Floats,
    label: str,
    covariance: Floats,
    deviations: Floats,
    n_failed: int,
    chosen: tuple[int, ...],
    notes: tuple[str, ...],
) -> WaldTest:
    import pandas as pd

    spread = np.sqrt(np.diag(covariance))
    eigenvalues = np.linalg.eigvalsh(covariance / np.outer(spread, spread)) if spread.all() else np.zeros(1)
    if not eigenvalues[0] > 1e-12:
        raise UsageError(
            "wald_test: the resamples have no spread in some direction; give more runs or another scheme"
        )
    inverse = np.linalg.inv(covariance / np.outer(spread, spread))

    def squared(difference: Floats) -> Floats:
        scaled = difference / spread
        return np.asarray(np.einsum("...j,jk,...k->...", scaled, inverse, scaled))

    statistic, distances = float(squared(x_other - x_fit)), squared(deviations)
    table = pd.DataFrame(
        {
            "coordinate": [COORDINATES[i] for i in chosen],
            "fit": x_fit,
            label: x_other,
            "standard_error": spread,
            "z": (x_other - x_fit) / spread,
        }
    )
    return WaldTest(
        statistic=statistic,
        degrees=len(chosen),
        log10_p=log10_chi_squared_tail(statistic, len(chosen)),
        p_bootstrap=float((1 + np.sum(distances >= statistic)) / (1 + len(distances))),
        n_resamples=len(distances),
        n_failed=n_failed,
        distances=distances,
        table=table,
        notes=notes,
    )


def _text_note(compare: str) -> str:
    if compare == "exponents":
        return "Only the exponents are compared: E, A and B depend on the text and tokenizer of the losses."
    return (
        "All five parameters are compared: E, A and B can agree only where the losses are of one text and "
        "tokenizer."
    )
