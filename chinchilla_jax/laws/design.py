"""The runs as a solver sees them: standardised logarithms, and the map between them and natural units.

Notation
    log_params      u_i      (ln N_i - mean) / sd over the runs; (n,)
    log_tokens      v_i      (ln D_i - mean) / sd; (n,)
    log_loss        y_i      ln L_i, nats; (n,)
    theta           (a', b', E, alpha', beta'); (..., 5)
        a' = ln A - alpha mean(ln N)      alpha' = alpha sd(ln N)
        b' = ln B - beta mean(ln D)       beta'  = beta sd(ln D)
    so that L(N, D) = exp(a' - alpha' u) + exp(b' - beta' v) + E.

Centring takes the condition number of the Hessian from about 1e11 to something float32 can live with;
dividing by the standard deviation makes every threshold and start free of units. E stays in natural
units, because the best E can be zero, and that bound is finite here and infinite in ln E.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs


FLOOR = 2  # position of E in theta
LARGEST_EXPONENT = 12.0  # standardised; beyond it a term touches the smallest runs only


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """Standardised runs. `valid` is False when a count is not positive: nothing can be fitted then."""

    log_params: NDArray[np.float64]
    log_tokens: NDArray[np.float64]
    log_loss: NDArray[np.float64]
    params_location: float
    params_scale: float
    tokens_location: float
    tokens_scale: float
    valid: bool = True

    @classmethod
    def from_runs(cls, runs: Runs) -> Design:
        """Standardise `runs`."""
        counts = np.stack([runs.params, runs.tokens, runs.loss])
        if not (np.all(np.isfinite(counts)) and np.all(counts > 0)):
            blank = np.zeros(len(runs))
            return cls(
                log_params=blank, log_tokens=blank, log_loss=blank, params_location=0.0, params_scale=1.0,
                tokens_location=0.0, tokens_scale=1.0, valid=False,
            )  # fmt: skip
        logs = np.log(counts)
        location = logs.mean(axis=1)
        scale = logs.std(axis=1)
        # All runs of one size: any scale serves, the fit ends as UNIDENTIFIED by its singular Hessian.
        scale = np.where(scale > 1e-12, scale, 1.0)
        return cls(
            log_params=(logs[0] - location[0]) / scale[0],
            log_tokens=(logs[1] - location[1]) / scale[1],
            log_loss=logs[2],
            params_location=float(location[0]),
            params_scale=float(scale[0]),
            tokens_location=float(location[1]),
            tokens_scale=float(scale[1]),
        )

    def __len__(self) -> int:
        """Number of runs."""
        return len(self.log_loss)

    @functools.cached_property
    def columns(self) -> NDArray[np.float64]:
        """Standardised log params, log tokens, and log loss as one array (3, n)."""
        return np.stack([self.log_params, self.log_tokens, self.log_loss])

    @functools.cached_property
    def groups(self) -> tuple[tuple[NDArray[np.intp], int], ...]:
        """By size, then by token count: number of the group of each run (n,), and runs in the largest two."""
        found = []
        for column in (self.log_params, self.log_tokens):
            _, group, sizes = np.unique(column, return_inverse=True, return_counts=True)
            found.append((group, int(np.sort(sizes)[-2:].sum())))
        return tuple(found)

    @functools.cached_property
    def points(self) -> tuple[NDArray[np.intp], int]:
        """Runs of one size and one token count: number of each run's point (n,), runs on the largest five."""
        sizes, tokens = (group for group, _ in self.groups)
        _, point, repeats = np.unique(sizes * len(self) + tokens, return_inverse=True, return_counts=True)
        return point, int(np.sort(repeats)[-5:].sum())

    def law(self, theta: NDArray[np.float64]) -> ScalingLaw:
        """Law(s) in natural units of `theta` (..., 5)."""
        a, b, e, alpha, beta = np.moveaxis(np.asarray(theta, dtype=np.float64), -1, 0)
        alpha, beta = alpha / self.params_scale, beta / self.tokens_scale
        with np.errstate(over="ignore"):
            return ScalingLaw(
                E=e,
                A=np.exp(a + alpha * self.params_location),
                B=np.exp(b + beta * self.tokens_location),
                alpha=alpha,
                beta=beta,
            )

    def theta_from_logs(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Internal coordinates of (ln A, ln B, ln E, alpha, beta); (..., 5) to (..., 5)."""
        a, b, e, alpha, beta = np.moveaxis(np.asarray(logs, dtype=np.float64), -1, 0)
        return np.stack(
            [
                a - alpha * self.params_location,
                b - beta * self.tokens_location,
                np.exp(e),
                alpha * self.params_scale,
                beta * self.tokens_scale,
            ],
            axis=-1,
        )

    def theta(self, law: ScalingLaw) -> NDArray[np.float64]:
        """Internal coordinates of `law`."""
        fields = np.broadcast_arrays(
            np.log(law.A), np.log(law.B), np.log(law.E), np.asarray(law.alpha), np.asarray(law.beta)
        )
        return self.theta_from_logs(np.stack(fields, axis=-1))

    def residuals(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log predicted minus log observed loss; theta (..., 5) to (..., n)."""
        a, b, e, alpha, beta = np.moveaxis(np.asarray(theta, dtype=np.float64), -1, 0)[..., None]
        with np.errstate(over="ignore"):
            loss = np.exp(a - alpha * self.log_params) + np.exp(b - beta * self.log_tokens) + e
            return np.log(loss) - self.log_loss

    def jacobian(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivative of `residuals` with respect to theta; theta (..., 5) to (..., n, 5)."""
        a, b, e, alpha, beta = np.moveaxis(np.asarray(theta, dtype=np.float64), -1, 0)[..., None]
        of_params = np.exp(a - alpha * self.log_params)
        of_tokens = np.exp(b - beta * self.log_tokens)
        loss = of_params + of_tokens + e
        s, t = of_params / loss, of_tokens / loss
        return np.stack([s, t, 1.0 / loss, -self.log_params * s, -self.log_tokens * t], axis=-1)
