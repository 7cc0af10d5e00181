"""What each family of miscounts does to a fit, in features that two fits are compared by.

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

The likelihood is normal in z, with covariance S. Under noise the covariance is k^2 S, since the draw of the
noise scatters the fit as residuals k times as large would; k comes from the attenuated noise that joins the
residuals. Resamples are paired, so that an exact signature leaves no difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.analysis.theory import Theory
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.perturbations import Additive, LogNormalNoise, Multiplicative, SystematicBias

if TYPE_CHECKING:
    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs

Floats = NDArray[np.float64]
_PIVOT_FLOPS = 1e21
_GRID, _ROUNDS = 161, 4  # sizes tried at a time, and how often, each time closer around the best


class Signatures:
    """Features of both fits, and the best size of every family.

    Args:
        runs: with the counts of the reference.
        theory: the closed forms around its point fit.
        reference: bootstrap under one count.
        observed: bootstrap of the same runs on the same resamples under the other.
        sound: resamples that converged in both, (R,).
        use: "law" or "curve".
    """

    def __init__(
        self,
        runs: Runs,
        theory: Theory,
        reference: BootstrapResult,
        observed: BootstrapResult,
        sound: NDArray[np.bool_],
        use: str,
    ) -> None:
        """Compute the features of both fits, and the covariance of the reference's."""
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
            return np.stack(
                [intercept + slope * math.log(_PIVOT_FLOPS / FLOPS_PER_PARAM_TOKEN), slope], axis=-1
            )
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
        """The size at a place on the family's axis."""
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


def _noise_scale(runs: Runs, reference: BootstrapResult) -> Callable[[float, float], float]:
    """By how much noise raises the logarithm of the objective: its scatter adds to that of the residuals.

    The objective is nearly a sum of |r|, and the mean of |r| of two independent errors together is taken from
    their variances: exact where both are normal.
    """
    law = reference.point.law
    of_params, _ = law.terms(runs.params, runs.tokens)
    slope = np.asarray(law.alpha * of_params / law.loss(runs.params, runs.tokens))
    typical = math.sqrt(math.pi / 2) * float(np.mean(np.abs(reference.point.residuals)))

    def raised(sigma: float, reliability: float) -> float:
        added = slope**2 * reliability * sigma**2
        return math.log(float(np.mean(np.sqrt(typical**2 + added))) / typical)

    return raised
