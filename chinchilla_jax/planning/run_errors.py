"""Errors of new runs, from the residuals of a fit.

| code      | symbol | shape  | meaning                                                                   |
|-----------|--------|--------|---------------------------------------------------------------------------|
| residuals | r      | (n,)   | ln predicted minus ln observed loss                                       |
| jacobian  | J      | (n, p) | derivatives of r by the parameters                                        |
| hat       | H      | (n, n) | projection onto the columns of J                                          |
| members   | g      | (n,)   | group of each run, where runs of a group err together                     |
| errors    | e      | (n,)   | -(I - H_gg)^(-1/2) r_g of each group; for single runs -r / sqrt(1 - H_ii) |
| degrees   | nu     | ()     | n - p; of G groups G - q, q parameters estimated between them             |

Residuals are smaller than the errors of new runs, because the fit has taken up part of the latter: in least
squares the residuals of a group have covariance sigma^2 (I - H_gg). The correction gives them that of the
errors (Bell & McCaffrey 2002, Survey Methodology 28:169). How large errors are at all is known from nu
numbers only, so that every drawn error is multiplied by sqrt(nu / chi2), chi2 of nu degrees of freedom: with
many laws the interval of a new run is then that of Student's t.

Where runs of a group err together, a new run belongs to a new group: a group is drawn, then a run of it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.bootstrapping.column_space import orthonormal_basis
from chinchilla_jax.bootstrapping.few_groups import estimated_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult

    Floats = NDArray[np.float64]

_LEAST_LEFT = 0.1  # eigenvalue of I - H_gg below which a group determines part of the law by itself
_STREAM = 7  # separates these draws from others of one seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunErrors:
    """What errors of new runs are drawn from.

    Attributes:
        errors: of the log loss, observed minus predicted, corrected as above; (m,), of the runs with weight.
        probability: with which each is drawn, (m,).
        degrees: nu.
        n_groups: groups that are drawn, or 0 where runs are.
    """

    errors: Floats
    probability: Floats
    degrees: float
    n_groups: int = 0

    @classmethod
    def of(cls, boot: BootstrapResult) -> RunErrors:
        """The errors of the runs that a bootstrap is of, by the groups that it resampled."""
        point = boot.point
        weights = np.ones(point.n_runs) if point.weights is None else point.weights
        kept = np.flatnonzero(weights > 0)
        slopes = point.model.jacobian(point.theta, boot.design)[kept] * np.sqrt(weights[kept])[:, None]
        residuals, weights = point.residuals[kept], weights[kept]
        basis = orthonormal_basis(slopes)
        if boot.members is None:
            leverage = np.sum(basis**2, axis=1)
            errors = -residuals / np.sqrt(np.maximum(1 - leverage, _LEAST_LEFT))
            degrees = float(len(kept) - basis.shape[1])
            return cls(errors=errors, probability=weights / weights.sum(), degrees=max(degrees, 1.0))
        members = np.unique(boot.members[kept], return_inverse=True)[1]
        count = int(members.max()) + 1
        errors, probability = np.empty(len(kept)), np.empty(len(kept))
        for group in range(count):
            of = np.flatnonzero(members == group)
            errors[of] = -_corrected(residuals[of], basis[of])
            probability[of] = weights[of] / weights[of].sum() / count
        degrees = max(count - estimated_between(slopes, members), 1.0)
        return cls(errors=errors, probability=probability, degrees=degrees, n_groups=count)

    def draw(self, count: int, seed: int) -> Floats:
        """Errors (count,) of new runs, each run's as often as its probability says."""
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _STREAM])))
        # In strata, so that few draws already have the distribution of the errors.
        places = (generator.permutation(count) + generator.random(count)) / count
        chosen = np.searchsorted(np.cumsum(self.probability), places).clip(max=len(self.errors) - 1)
        return self.errors[chosen] * np.sqrt(self.degrees / generator.chisquare(self.degrees, count))

    @property
    def sentence(self) -> str:
        """What is drawn, in words."""
        drawn = f"of {len(self.errors)} runs" if not self.n_groups else f"of {self.n_groups} groups of runs"
        return f"its error is drawn from the residuals {drawn}, corrected for what the fit took from them"


def _corrected(residuals: Floats, basis: Floats) -> Floats:
    """(I - H_gg)^(-1/2) r_g of one group, from its rows of the orthonormal basis."""
    left, vectors = np.linalg.eigh(np.eye(len(residuals)) - basis @ basis.T)
    scaled = vectors.T @ residuals / np.sqrt(np.maximum(left, _LEAST_LEFT))
    return np.asarray(vectors @ scaled)
