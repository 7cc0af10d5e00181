"""Which miscount would turn one fit into another: the signature of each family, ranked by likelihood.

| code      | symbol | shape  | meaning                                                                   |
|-----------|--------|--------|---------------------------------------------------------------------------|
| reference |        | (R,)   | laws fitted to the resamples under one count of the parameters            |
| observed  |        | (R,)   | laws fitted to the same resamples under the other                         |
| features  | z      | (R, q) | what is compared, below                                                   |
| distance  | d^2    | (R,)   | (z_observed - z_predicted)' S^-1 (z_observed - z_predicted)               |
| S         |        | (q, q) | covariance of the reference's features over the resamples: sampling error |

"law" compares alpha, E, beta, both terms at the mean ln N and ln D (in logs), and the logarithm of the
objective, which noise raises and no exact miscount moves. "curve" compares what a published curve of tokens
per parameter shows: ln of it at one budget, and its slope in ln compute. In its mean effect on a curve, noise
of reliability lambda is a bias of s = 1/lambda (see `theory.py`); only its scatter can tell the two apart.

The likelihood is normal in z, with covariance S; under noise with k^2 S, since its draw scatters the fit as
residuals k times as large would, k from the attenuated noise that joins the residuals. Resamples are paired,
so that an exact signature leaves nothing; each resample also votes for the likeliest family, and gives the
size that is likeliest for it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax.analysis.theory import Theory, theory_of
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.perturbations import (
    FAMILIES,
    PARAMS_FAMILIES,
    Additive,
    LogNormalNoise,
    Multiplicative,
    Perturbation,
    SystematicBias,
)

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs

Floats = NDArray[np.float64]
USES = ("law", "curve")
_PIVOT_FLOPS = 1e21
_GRID, _ROUNDS = 161, 4  # sizes tried at a time, and how often, each time closer around the best
_NOTHING = 1e-9  # mean distance below which the two fits are one
_TIE = 0.02  # mean log likelihood within which two families account for a difference equally well

PLANTED: Mapping[str, Sequence[float]] = {
    Multiplicative.family: (0.5, 0.8, 0.95, 1.2, 2.0),
    Additive.family: (-2e7, -8e6, -3e6, 8e6, 2e7),
    SystematicBias.family: (0.8, 0.9, 0.97, 1.05, 1.2),
    LogNormalNoise.family: (0.1, 0.2, 0.4, 0.7, 1.0),
}
"""Sizes that `confusion` plants: from below the documented miscount of 15.2% to well above it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found.

    Attributes:
        table: one row per family, likeliest first: family, size, low, high (of the resamples' own sizes),
            level, log_likelihood (mean over the resamples, 0 for a perfect account), support (share of the
            resamples that the family comes nearest to), distance (root mean square, in sampling standard
            errors per feature).
        sentence: the same in words.
        use: "law" or "curve".
        n_resamples: resamples that converged in both.
    """

    table: pd.DataFrame
    sentence: str
    use: str
    n_resamples: int


def diagnose(
    runs: Runs,
    reference: BootstrapResult,
    observed: BootstrapResult,
    *,
    use: str = "law",
    level: float = 0.8,
) -> Diagnosis:
    """Rank the families by how well they turn `reference` into `observed`.

    Args:
        runs: with the counts of the reference.
        reference: bootstrap under one count.
        observed: bootstrap of the same runs on the same resamples under the other.
        use: "law", or "curve" for what a curve of tokens per parameter shows.
        level: of the interval of the size.

    Raises:
        UsageError: the two are not on the same resamples, too few converged in both, or an argument is
            unknown.
    """
    if use not in USES:
        raise unknown_name("use", use, USES)
    if len(reference.status) != len(observed.status) or not np.array_equal(
        reference.resample_ids, observed.resample_ids
    ):
        raise UsageError("diagnose: the two bootstraps have different resamples; use one seed and one number")
    sound = reference.converged & observed.converged
    if sound.sum() < 10:
        raise UsageError(f"diagnose: {sound.sum()} resamples converged in both; 10 are needed")
    theory = theory_of(runs, reference.point.law)
    signature = _Signature(runs, theory, reference, observed, sound, use)
    return signature.diagnosis(level)


def diagnose_counts(
    runs: Runs, other: Runs, *, resamples: int = 400, seed: int = 0, use: str = "law", level: float = 0.8
) -> Diagnosis:
    """`diagnose` for two counts of the same runs: which miscount leads from `runs` to `other`.

    Args:
        runs: with one count of the parameters.
        other: the same runs with another.
        resamples: of each.
        seed: of the resamples.
        use: as for `diagnose`.
        level: as for `diagnose`.

    Raises:
        UsageError: the runs differ in more than their counts, or as for `diagnose`.
    """
    from chinchilla_jax.bootstrapping.bootstrap import bootstrap

    if len(runs) != len(other) or not (
        np.array_equal(runs.tokens, other.tokens) and np.array_equal(runs.loss, other.loss)
    ):
        raise UsageError(
            "the two differ in more than the count of the parameters; give the same runs in the same order, "
            "with the same tokens and losses, under another count"
        )
    reference, observed = (bootstrap(each, resamples=resamples, seed=seed) for each in (runs, other))
    return diagnose(runs, reference, observed, use=use, level=level)


def confusion(
    runs: Runs,
    *,
    planted: Mapping[str, Sequence[float]] = PLANTED,
    resamples: int = 200,
    seed: int = 0,
    use: str = "law",
) -> pd.DataFrame:
    """Plant every error at every size, and see what is diagnosed.

    Args:
        runs: unperturbed.
        planted: sizes by family.
        resamples: of every bootstrap.
        seed: of resamples and noise.
        use: as for `diagnose`.

    Returns:
        One row per planted error: planted, size, diagnosed, diagnosed_size, support, margin (mean log
        likelihood by which it beats the next), tied (whether that is too little to tell the two apart), right
        (bool), n_resamples. `pandas.crosstab(table.planted, table.diagnosed)` is the
        confusion matrix.

    Raises:
        UsageError: as for `diagnose`.
    """
    import pandas as pd

    from chinchilla_jax.bootstrapping.bootstrap import bootstrap

    reference = bootstrap(runs, resamples=resamples, seed=seed)
    rows = []
    for family, sizes in planted.items():
        for size in sizes:
            perturbation: Perturbation = FAMILIES[family](size)
            observed = bootstrap(perturbation.apply(runs, seed=seed), resamples=resamples, seed=seed)
            found = diagnose(runs, reference, observed, use=use)
            best, second = found.table.iloc[0], found.table.iloc[1]
            rows.append(
                {
                    "planted": family,
                    "size": float(size),
                    "diagnosed": best["family"],
                    "diagnosed_size": best["size"],
                    "support": best["support"],
                    "margin": best["log_likelihood"] - second["log_likelihood"],
                    "tied": best["log_likelihood"] - second["log_likelihood"] < _TIE,
                    "right": best["family"] == family,
                    "n_resamples": found.n_resamples,
                }
            )
    return pd.DataFrame(rows)


class _Signature:
    """Features of both fits, and the best size of every family."""

    def __init__(
        self,
        runs: Runs,
        theory: Theory,
        reference: BootstrapResult,
        observed: BootstrapResult,
        sound: NDArray[np.bool_],
        use: str,
    ) -> None:
        self.theory, self.use = theory, use
        self.log_d = float(np.log(runs.tokens).mean())
        self.laws = reference.laws[sound]
        self.log_objective = np.log(reference.objective_value[sound])
        observed_objective = np.log(observed.objective_value[sound])
        self.noise_scale = _noise_scale(runs, reference)
        start = self.features(self.laws, self.log_objective)
        self.observed = self.features(observed.laws[sound], observed_objective)
        covariance = np.atleast_2d(np.cov(start, rowvar=False))
        values, axes = np.linalg.eigh(covariance)
        # Features that hardly vary apart would outweigh all others by an error of theory.
        self.whiten = axes / np.sqrt(np.maximum(values, 1e-6 * values.max()))
        self.nothing = float(np.mean(self.distance(start)))

    def features(self, laws: ScalingLaw, log_objective: Floats) -> Floats:
        """(R, q); see the head of this file."""
        if self.use == "curve":
            intercept, slope = laws.log_ratio_line()
            return np.stack([intercept + slope * math.log(_PIVOT_FLOPS / 6), slope], axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_params = np.log(laws.A) - laws.alpha * self.theory.mean
            of_tokens = np.log(laws.B) - laws.beta * self.log_d
            columns = (laws.alpha, laws.E, laws.beta, of_params, of_tokens, log_objective)
        return np.stack([np.asarray(column) for column in columns], axis=-1)

    def distance(self, features: Floats) -> Floats:
        """Squared distance of the observed features from these, (R,)."""
        with np.errstate(invalid="ignore", over="ignore"):
            white = (self.observed - features) @ self.whiten
            squared = np.sum(white**2, axis=-1)
        return np.where(np.isfinite(squared), squared, np.inf)

    def misfit(self, family: str, size: float) -> tuple[Floats, Floats]:
        """Minus twice the log likelihood of every resample, and its squared distance; both (R,)."""
        laws = self.theory.predict(family, size, self.laws)
        if family != LogNormalNoise.family:
            squared = self.distance(self.features(laws, self.log_objective))
            return squared, squared
        log_k = self.noise_scale(size, self.theory.reliability(size))
        squared = self.distance(self.features(laws, self.log_objective + log_k))
        return squared / math.exp(2 * log_k) + 2 * self.observed.shape[1] * log_k, squared

    def sizes(self, family: str) -> tuple[float, float]:
        """Ends of the search, on the family's axis: ln c, c, ln s, sigma."""
        if family == Additive.family:
            return -0.99 * min(self.theory.smallest, self.theory.pivot), 3 * self.theory.pivot
        return {
            Multiplicative.family: (-math.log(1e3), math.log(1e3)),
            SystematicBias.family: (-math.log(5), math.log(5)),
            LogNormalNoise.family: (0.0, 3.0),
        }[family]

    def size_at(self, family: str, x: float) -> float:
        return math.exp(x) if family in (Multiplicative.family, SystematicBias.family) else x

    def best(self, family: str) -> tuple[float, Floats, Floats, Floats]:
        """The likeliest size for all resamples; misfits and distances there, and each one's own size."""
        lowest, highest = low, high = self.sizes(family)
        own_x, own_misfit = np.zeros(len(self.observed)), np.full(len(self.observed), np.inf)
        centre = 0.0
        for round_ in range(_ROUNDS):
            grid = np.linspace(low, high, _GRID)
            misfits = np.stack([self.misfit(family, self.size_at(family, x))[0] for x in grid])
            nearest = misfits.argmin(axis=0)
            better = misfits.min(axis=0) < own_misfit
            own_x = np.where(better, grid[nearest], own_x)
            own_misfit = np.minimum(own_misfit, misfits.min(axis=0))
            centre = float(grid[int(np.argmin(misfits.mean(axis=1)))])
            # Closer, first around all the resamples' own sizes, at last around the common one.
            reach = 4 * (high - low) / (_GRID - 1)
            if round_ < _ROUNDS - 2:
                reach = max(reach, 1.5 * float(np.abs(own_x - centre).max()))
            low, high = max(centre - reach, lowest), min(centre + reach, highest)
        misfit, squared = self.misfit(family, self.size_at(family, centre))
        return centre, misfit, squared, own_x

    def diagnosis(self, level: float) -> Diagnosis:
        import pandas as pd

        tails = central_tails(level)
        found = {family: self.best(family) for family in PARAMS_FAMILIES}
        nearest = np.argmin(np.stack([misfit for _, misfit, _, _ in found.values()]), axis=0)
        rows = []
        for i, (family, (x, misfit, squared, own)) in enumerate(found.items()):
            low, high = (self.size_at(family, float(np.quantile(own, tail))) for tail in tails)
            rows.append(
                {
                    "family": family,
                    "size": self.size_at(family, x),
                    "low": low,
                    "high": high,
                    "level": level,
                    "log_likelihood": -0.5 * float(misfit.mean()),
                    "support": float(np.mean(nearest == i)),
                    "distance": math.sqrt(float(squared.mean()) / self.observed.shape[1]),
                }
            )
        table = pd.DataFrame(rows).sort_values("log_likelihood", ascending=False, kind="stable")
        table = table.reset_index(drop=True)
        return Diagnosis(
            table=table, sentence=self._sentence(table, level), use=self.use, n_resamples=len(self.observed)
        )

    def _sentence(self, table: pd.DataFrame, level: float) -> str:
        if self.nothing < _NOTHING:
            return "The two fits are the same: no miscount is needed."
        best, second = table.iloc[0], table.iloc[1]
        text = (
            f"The difference looks like {_in_words(best)} ({level:.0%} interval {best['low']:.4g} to "
            f"{best['high']:.4g}), the likeliest account of {best['support']:.0%} of the resamples"
        )
        if best["log_likelihood"] - second["log_likelihood"] < _TIE:
            return f"{text}; {_in_words(second)} accounts for it as well and cannot be told apart."
        margin = best["log_likelihood"] - second["log_likelihood"]
        return f"{text}; the next is {_in_words(second)}, behind by {margin:.2g} in log likelihood."


def _in_words(row: pd.Series) -> str:
    words = {
        Multiplicative.family: "a factor of {:.4g} on every count",
        Additive.family: "{:.4g} parameters added to every count",
        SystematicBias.family: "a bias with exponent {:.4g}",
        LogNormalNoise.family: "log-normal noise with standard deviation {:.4g}",
    }
    return words[str(row["family"])].format(row["size"])


def _noise_scale(runs: Runs, reference: BootstrapResult) -> Callable[[float, float], float]:
    """By how much noise raises the logarithm of the objective: its scatter adds to that of the residuals.

    The objective is nearly a sum of |r|, and the mean of |r| of two independent errors together is taken from
    their variances: exact where both are normal.
    """
    law = reference.point.law
    share = law.A * np.exp(-law.alpha * np.log(runs.params)) / law.loss(runs.params, runs.tokens)
    slope = np.asarray(law.alpha * share)
    typical = math.sqrt(math.pi / 2) * float(np.mean(np.abs(reference.point.residuals)))

    def raised(sigma: float, reliability: float) -> float:
        added = slope**2 * reliability * sigma**2
        return math.log(float(np.mean(np.sqrt(typical**2 + added))) / typical)

    return raised
