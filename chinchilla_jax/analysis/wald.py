"""Does a published law agree with these runs? A joint test of all five parameters.

Notation
    x            (ln A - alpha mean ln N, ln B - beta mean ln D, ln E, alpha, beta); (..., 5)
    x_fit        of the point fit; x_law of the law in question; x_r of resample r
    S            covariance of x_r over the resamples; (5, 5)
    distance     d_r^2 = (x_r - x_fit)' S^-1 (x_r - x_fit), Mahalanobis; (R,)
    statistic    W = (x_law - x_fit)' S^-1 (x_law - x_fit)

Logarithms make the resamples nearly normal; A and B themselves range over decades. Centring is linear: it
changes no statistic and keeps S well conditioned. There are two p-values: the tail of chi-squared with 5
degrees of freedom at W, exact for a normal x and a known S (Wald 1943, Trans. Amer. Math. Soc. 54); and the
share of resamples at least as far from the fit as the law is, (1 + #{d_r^2 >= W}) / (1 + R), which needs no
normality and cannot fall below 1 / (1 + R).

Besiroglu et al. 2024 (arXiv:2404.10102) test Hoffmann et al.'s law in this way, in (ln A, ln B, ln E, alpha,
beta), with S from the bootstrap of `Huber` and the point from `HuberScale`, which can be passed as
`estimate`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.validation import whole_number
from chinchilla_jax.analysis.coverage_noise import NOISES, simulated_losses
from chinchilla_jax.laws.objectives import huber_location
from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs

Floats = NDArray[np.float64]
COORDINATES = ("ln A at the mean ln N", "ln B at the mean ln D", "ln E", "alpha", "beta")
DEGREES = len(COORDINATES)
_LEAST = 50  # resamples: ten for each parameter, below which S is not worth inverting
_POINT_STARTS = 16
_LARGE_HALF = 1e18


@dataclasses.dataclass(frozen=True, kw_only=True)
class WaldTest:
    """Outcome of `wald_test`.

    Attributes:
        statistic: W.
        degrees: of freedom, 5.
        log10_p: log10 of the chi-squared p-value, which itself may be too small for a float.
        p_bootstrap: share of resamples at least as far from the fit as the law.
        n_resamples: resamples that count.
        n_failed: resamples left out, not certified or with E = 0.
        distances: d_r^2, (n_resamples,), in no order.
        table: per coordinate: coordinate, fit, law, standard_error, z (law minus fit in standard errors).
        sentence: the same in words.
    """

    statistic: float
    degrees: int
    log10_p: float
    p_bootstrap: float
    n_resamples: int
    n_failed: int
    distances: Floats
    table: pd.DataFrame

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
        return (
            f"The law {verdict} at 5%: chi-squared({self.degrees}) = {self.statistic:.4g}, p = {p}; "
            f"share of {self.n_resamples:,} resamples as far from the fit {at_most}{self.p_bootstrap:.2g}."
        )


def wald_test(
    boot: BootstrapResult, law: ScalingLaw, runs: Runs, *, estimate: ScalingLaw | None = None
) -> WaldTest:
    """Test whether `law` could be the truth behind the runs that `boot` resamples.

    Args:
        boot: a bootstrap of `runs`, with resamples as large as the data.
        law: a single law, with E, A and B positive.
        runs: the runs.
        estimate: a point other than that of `boot`, to mix estimators as Besiroglu et al. 2024 do.

    Raises:
        UsageError: a parameter that enters as a logarithm is not positive, the point fit failed, or too few
            resamples converged.
    """
    import pandas as pd

    if law.shape != () or not _usable(law):
        raise UsageError(
            "wald_test: the law must be a single one with E, A and B positive and all five finite"
        )
    if not isinstance(boot.laws, ScalingLaw):
        raise UsageError(f"wald_test: a bootstrap of {boot.point.model.name}; give one of 'chinchilla'")
    if boot.scheme.factor(len(runs)) != 1 or not boot.scheme.quantiles:
        raise UsageError(
            f"wald_test: the resamples of scheme {boot.scheme.name!r} spread differently from estimates; "
            "use 'pairs', 'cluster', 'bayesian', 'wild' or 'residual'"
        )
    point = boot.point.law if estimate is None else estimate
    if not (boot.point.status.name == "CONVERGED" and _usable(point)):
        raise UsageError(
            f"wald_test: the point fit is {boot.point.status.name}; a test needs all five parameters"
        )
    sound = boot.converged & (np.asarray(boot.laws.E) > 0)
    count = int(sound.sum())
    if count < _LEAST:
        raise UsageError(
            f"wald_test: {count} of {len(sound)} resamples converged; give at least {_LEAST}, better 1,000"
        )
    fitted = coordinates(boot.laws[np.flatnonzero(sound)], runs)
    x_fit, x_law = coordinates(point, runs), coordinates(law, runs)
    covariance = np.cov(fitted, rowvar=False)
    spread = np.sqrt(np.diag(covariance))
    eigenvalues = np.linalg.eigvalsh(covariance / np.outer(spread, spread)) if spread.all() else np.zeros(1)
    if not eigenvalues[0] > 1e-12:
        raise UsageError(
            "wald_test: the resamples have no spread in some direction; give more runs or another scheme"
        )

    def squared(x: Floats) -> Floats:
        scaled = (x - x_fit) / spread
        inverse = np.linalg.inv(covariance / np.outer(spread, spread))
        return np.asarray(np.einsum("...j,jk,...k->...", scaled, inverse, scaled))

    statistic, distances = float(squared(x_law)), squared(fitted)
    table = pd.DataFrame(
        {
            "coordinate": COORDINATES,
            "fit": x_fit,
            "law": x_law,
            "standard_error": spread,
            "z": (x_law - x_fit) / spread,
        }
    )
    return WaldTest(
        statistic=statistic,
        degrees=DEGREES,
        log10_p=log10_chi_squared_tail(statistic, DEGREES),
        p_bootstrap=float((1 + np.sum(distances >= statistic)) / (1 + count)),
        n_resamples=count,
        n_failed=len(sound) - count,
        distances=distances,
        table=table,
    )


@beyond_float64()
def coordinates(laws: ScalingLaw, runs: Runs) -> Floats:
    """The five coordinates x of laws, shape (..., 5); -inf for a parameter that is 0 and has a logarithm."""
    alpha, beta = np.asarray(laws.alpha), np.asarray(laws.beta)
    return np.stack(
        [
            np.log(laws.A) - alpha * np.mean(np.log(runs.params)),
            np.log(laws.B) - beta * np.mean(np.log(runs.tokens)),
            np.log(laws.E),
            alpha,
            beta,
        ],
        axis=-1,
    )


def log10_chi_squared_tail(statistic: float, degrees: int) -> float:
    """log10 of the probability that chi-squared exceeds `statistic`; odd degrees, also where it underflows.

    With h = statistic / 2 the tail is exp(-h) (erfcx(sqrt(h)) + sum_k h^(k - 1/2) / Gamma(k + 1/2)), k from 1
    to (degrees - 1)/2 (Abramowitz & Stegun 26.4.4).

    Raises:
        UsageError: an even or negative number of degrees, or a negative statistic.
    """
    from scipy.special import erfcx, gamma

    if degrees < 1 or degrees % 2 == 0:
        raise UsageError(f"chi-squared tail: degrees = {short(degrees)}, give an odd positive number")
    if not statistic >= 0:
        raise UsageError(
            f"chi-squared tail: statistic = {short(statistic)}, give a number that is not negative"
        )
    half = np.float64(statistic) / 2
    if half > _LARGE_HALF:  # where the logarithm of the other factor is lost in the rounding of h
        return float(-half / math.log(10))
    terms = [half ** (k - 0.5) / gamma(k + 0.5) for k in range(1, (degrees - 1) // 2 + 1)]
    return float((np.log(erfcx(np.sqrt(half)) + sum(terms)) - half) / math.log(10))


def null_p_values(
    runs: Runs,
    *,
    datasets: int = 200,
    resamples: int = 400,
    seed: int = 0,
    noise: str = "residuals",
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """P-values of tests of the truth, on data sets simulated from it: they should be uniform.

    Args:
        runs: the design; the law fitted to it is the truth, its residuals are the errors.
        datasets: how many are simulated.
        resamples: of each.
        seed: whole number.
        noise: "residuals" (any run's error for any run) or "signed" (each run its own, its sign drawn), see
            `coverage_noise.py`.
        progress: called with 1 after each data set.

    Returns:
        One row per data set: dataset, statistic, p_value, p_bootstrap; NaN where a test was not possible.

    Raises:
        UsageError: a bad number, or runs whose own fit is not certified.
    """
    import pandas as pd

    from chinchilla_jax.bootstrapping.bootstrap import bootstrap
    from chinchilla_jax.fitting.point_fit import fit
    from chinchilla_jax.solvers import SolverOptions

    if noise not in NOISES:
        raise unknown_name("noise", noise, NOISES)
    truth = fit(runs, starts=64)
    if not truth.status.certified:
        raise UsageError(f"null_p_values: the fit of the runs is {truth.status.name}; simulate from others")
    errors = -(truth.residuals - huber_location(truth.residuals, 1e-3))
    count = whole_number("datasets", datasets, low=1)
    rows = []
    for number in range(count):
        losses = simulated_losses(runs, truth.law, errors, np.array([number]), seed, noise)[0]
        simulated = dataclasses.replace(runs, loss=losses, name=f"simulated {number}")
        point = fit(simulated, starts=_POINT_STARTS, options=SolverOptions(wide_start=True, max_steps=150))
        row = {"dataset": number, "statistic": np.nan, "p_value": np.nan, "p_bootstrap": np.nan}
        try:
            boot = bootstrap(
                simulated, resamples=resamples, seed=seed + 1 + number, scheme="pairs", point=point
            )
            test = wald_test(boot, truth.law, simulated)
            row |= {
                "statistic": test.statistic,
                "p_value": test.p_value,
                "p_bootstrap": test.p_bootstrap,
            }
        except UsageError:
            # E = 0 in the point fit of a data set: its row stays NaN. Bad arguments are raised.
            if point.status.name == "CONVERGED":
                raise
        rows.append(row)
        if progress is not None:
            progress(1)
    return pd.DataFrame(rows)


def _usable(law: ScalingLaw) -> bool:
    values = [float(getattr(law, name)) for name in ("E", "A", "B", "alpha", "beta")]
    return all(map(math.isfinite, values)) and min(values[:3]) > 0
