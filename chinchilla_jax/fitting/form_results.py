"""What comes of fitting a form: the fit with its evidence, and the fits of its resamples.

Notation
    R, n, p    resamples, runs, parameters of the form
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax.laws.base import Floats, Form
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.form_objectives import FormObjective
from chinchilla_jax.laws.prediction import tokens_per_param
from chinchilla_jax.solvers.newton.solver import log_losses
from chinchilla_jax.solvers.status import Status, status_counts

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormFit:
    """A fitted form and the evidence for it.

    Attributes:
        form: the form.
        objective: what was minimised.
        natural: the parameters by name.
        theta: internal coordinates, (p,).
        objective_value: the minimum.
        status: `Status`; `status.sentence` says it in words.
        decrement: certificate, as in `Status.CONVERGED`.
        n_starts: starts tried.
        n_at_best: starts that ended within 1e-9 (relative) of the minimum.
        pool: distinct optima found, (K, p), best first.
        residuals: log predicted minus log observed loss, (n,).
        weights: of the runs, (n,).
        design: the runs.
    """

    form: Form
    objective: FormObjective
    natural: dict[str, float]
    theta: Floats
    objective_value: float
    status: Status
    decrement: float
    n_starts: int
    n_at_best: int
    pool: Floats
    residuals: Floats
    weights: Floats
    design: Design

    def __repr__(self) -> str:
        """What a reader at a prompt wants to know."""
        numbers = ", ".join(f"{name}={value:.6g}" for name, value in self.natural.items())
        value = f"{self.objective.name} {self.objective_value:.6g}"
        return f"<FormFit {self.form.name}({numbers}): {self.status.name}, {value}>"

    def loss(self, params: ArrayLike, tokens: ArrayLike) -> Floats:
        """Predicted loss (nats per token) at params and tokens (counts), both (m,)."""
        u = (np.log(np.atleast_1d(params)) - self.design.params_location) / self.design.params_scale
        v = (np.log(np.atleast_1d(tokens)) - self.design.tokens_location) / self.design.tokens_scale
        u, v = np.broadcast_arrays(u, v)
        return np.asarray(np.exp(log_losses(self.form, self.design, self.theta[None], u, v)[0]))

    def tokens_per_param(self, flops: ArrayLike) -> Floats:
        """Compute-optimal tokens per parameter at budgets (q,) in FLOP; NaN without a fit."""
        return tokens_per_param(self.form, self.design, self.theta[None], flops)[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormBootstrap:
    """Fits of R resamples and the point fit of the same form, objective and weights.

    Attributes:
        point: the point fit.
        theta: (R, p).
        objective_value: (R,).
        decrement: (R,).
        status_codes: (R,) int8.
    """

    point: FormFit
    theta: Floats
    objective_value: Floats
    decrement: Floats
    status_codes: NDArray[np.int8]

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Lanes with a certificate, (R,); only these enter an interval."""
        return self.status_codes == Status.CONVERGED

    def counts(self) -> dict[str, int]:
        """Number of lanes per status name."""
        return status_counts(self.status_codes)

    def table(self, flops: ArrayLike = (), level: float = 0.8) -> pd.DataFrame:
        """Percentile intervals of the natural parameters, and of tokens per parameter at budgets.

        Returns:
            Columns quantity (a parameter, or "tokens_per_param"), flops (NaN for parameters), estimate, low,
            high, level, n_converged, n_failed.
        """
        import pandas as pd

        from chinchilla_jax.intervals.quantiles import central_tails

        lower, upper = central_tails(level)
        point, kept = self.point, self.theta[self.converged]
        rows = [
            (name, float("nan"), point.natural[name], values)
            for name, values in point.form.natural(kept, point.design).items()
        ]
        budgets = np.atleast_1d(np.asarray(flops, dtype=np.float64))
        if budgets.size:
            ratios = tokens_per_param(point.form, point.design, kept, budgets)
            at_point = point.tokens_per_param(budgets)
            for j, budget in enumerate(budgets):
                rows.append(("tokens_per_param", float(budget), float(at_point[j]), ratios[:, j]))
        failed = int(len(self.theta) - len(kept))
        return pd.DataFrame(
            [
                {
                    "quantity": name,
                    "flops": budget,
                    "estimate": estimate,
                    "low": _quantile(values, lower),
                    "high": _quantile(values, upper),
                    "level": level,
                    "n_converged": len(kept),
                    "n_failed": failed,
                }
                for name, budget, estimate, values in rows
            ]
        )


def _quantile(values: Floats, share: float) -> float:
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan")
    # Between two equal infinities interpolation gives NaN; the infinity itself is meant.
    found = float(np.quantile(np.clip(known, -1e300, 1e300), share))
    return float(np.copysign(np.inf, found)) if abs(found) >= 1e299 else found
