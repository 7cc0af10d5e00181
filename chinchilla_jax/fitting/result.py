"""What a point fit gives back: the fitted law and the evidence for it.

Notation: n runs, p parameters.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.cards import Card, ShownInNotebooks, parameters_text
from chinchilla_jax._util.errors import NoEstimateError
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.labels import NATS, quantity_label, quantity_text
from chinchilla_jax._util.text import count_text, warnings_text
from chinchilla_jax.laws.compute import SIX_ND, Cost
from chinchilla_jax.laws.objectives import ZonedObjective
from chinchilla_jax.solvers.status import Status

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.goodness import Goodness
    from chinchilla_jax.laws import Law, Objective


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """Why a fit is believed to be an optimum.

    Attributes:
        kind: "dual" (`HuberScale` where residuals vanish) or "newton_decrement" (everything else).
        value: relative decrease that a Newton step would still bring, or by how much the dual constraints and
            stationarity are missed.
        tolerance: bound that `value` had to meet.
        holds: whether it did, with a positive definite Hessian (Newton) or curvature in every direction that
            the vanishing residuals leave free (dual).
    """

    kind: str
    value: float
    tolerance: float
    holds: bool


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StartsReport:
    """What became of the starts.

    Attributes:
        n: how many there were.
        status: number of starts per status name.
        n_at_best: starts that ended within 1e-9 (relative) of the best objective.
        minima: (k, p) distinct optima in internal coordinates, best first.
    """

    n: int
    status: dict[str, int]
    n_at_best: int
    minima: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FitResult(ShownInNotebooks):
    """A fitted law and the evidence for it.

    Attributes:
        law: the law found, with its numbers in natural units: a single `ScalingLaw`, or a `FittedLaw` for
            another model. It is an estimate where the status is certified; elsewhere it is where the solver
            ended, kept for inspection (NaN when INVALID).
        model: which law was fitted.
        objective_value: value of the objective at the law.
        status: `Status` of the fit. UNIDENTIFIED also where the runs do not determine the law although its
            optimum is certified.
        reason: what happened and what to do, in words: `status.sentence`, or what these runs lack.
        certificate: see `Certificate`.
        steps: solver steps of the start that reached the best optimum.
        starts: see `StartsReport`.
        objective: what was minimised.
        theta: (p,) internal coordinates of the law.
        residuals: log predicted minus log observed loss, (n,).
        residual_scale: robust standard deviation of the residuals that the objective counts: of the log loss,
            or raw ones in nats per token; NaN where there are no more runs than parameters.
        weights: (n,) of the runs, mean 1 over those that have one; None where all count the same.
        n_runs: number of runs fitted.
        warnings: what a reader must know before using the numbers, one sentence each.
        read: what was read of the table that the runs come from, one sentence each (`Runs.read_lines`).
        goodness: how well the law describes the runs; None where the fit is not certified, and of the fits of
            a study.
        cost: what training costs by the runs' own FLOP (`Runs.cost`).
        runs: what was fitted, the very `Runs` and no copy; None of the fits of a study, which has the tables.

    Example:
        >>> fit
        <FitResult chinchilla E=1.817 A=477.8 B=2143 alpha=0.3473 beta=0.3672: CONVERGED, huber 0.001018, 240
        runs>
        >>> round(fit.parameters["alpha"], 3)
        0.347
        >>> fit.status.sentence
        'The fit is certified as an optimum: its certificate is within tolerance.'
    """

    law: Any
    model: Law
    objective_value: float
    status: Status
    certificate: Certificate
    steps: int
    starts: StartsReport
    objective: Objective
    theta: NDArray[np.float64]
    residuals: NDArray[np.float64]
    residual_scale: float
    weights: NDArray[np.float64] | None
    n_runs: int
    reason: str = ""
    warnings: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    goodness: Goodness | None = None
    cost: Cost = SIX_ND
    runs: Runs | None = dataclasses.field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """What a reader at a prompt wants to know; every field is an attribute."""
        value = f"{self.objective.name} {self.objective_value:.4g}"
        what = (
            f"{self.model.name} {parameters_text(self.parameters)}"
            if self.status.certified
            else "no estimate"
        )
        warned = warnings_text(self.warnings)
        read = "".join(f"; {line}" for line in self.read[:1])
        return f"<FitResult {what}: {self.status.name}, {value}, {self.n_runs} runs{warned}{read}>"

    @written_in("chinchilla_jax.plots", "fit")
    def plot(self, *, against: str = "flops", ax: Axes | None = None) -> Axes:
        """Draw the runs with the law's curves, as `chinchilla_jax.plots.fit` does."""
        raise NotImplementedError

    @written_in("chinchilla_jax.plots", "residuals")
    def plot_residuals(self, *, against: str = "params", worst: int = 3, ax: Axes | None = None) -> Axes:
        """Draw the residuals, as `chinchilla_jax.plots.residuals` does."""
        raise NotImplementedError

    @property
    def loss_unit(self) -> str:
        """The unit of the losses, `Runs.loss_unit`; nats per token where the runs are not known."""
        return NATS if self.runs is None else self.runs.loss_unit

    def _card(self) -> Card:
        certified = self.status.certified
        numbers = self.parameters.items() if certified else ()
        unit = self.loss_unit
        found = f"{self.status.name}: {self.reason or self.status.sentence}"
        fitted = f"{self.objective} = {self.objective_value:.4g} on {count_text(self.n_runs, 'run')}"
        return Card(
            f"Fit of law {self.model.name}" if certified else f"Fit of law {self.model.name}: no estimate",
            ("parameter", "estimate"),
            [(quantity_label(name, unit), quantity_text(name, value)) for name, value in numbers],
            [fitted, found, *([str(self.goodness)] if self.goodness else []), *self.warnings, *self.read],
        )

    @property
    def parameters(self) -> dict[str, float]:
        """The law's parameters by name, natural units."""
        return {name: float(value) for name, value in self.law.as_dict().items()}

    @property
    def scale_over_delta(self) -> float | None:
        """How wide the residuals are beside delta, of `Huber` and `RawHuber`; None for other objectives.

        Above 3 the fit is least absolute deviations in effect, below 1/3 least squares; with `delta="auto"`
        it is 0.74.
        """
        objective = self.objective
        if not isinstance(objective, ZonedObjective) or not hasattr(objective, "delta"):
            return None
        return self.residual_scale / objective.down

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fit with its runs to one file of Parquet and JSON, which `cj.load` reads.

        Returns:
            Where it is.

        Raises:
            UsageError: the file cannot be written, or the law is a class that is not built in.
        """
        from chinchilla_jax.fitting.saved_values import save

        return save(self, path)

    def to_frame(self) -> pd.DataFrame:
        """One row: law, objective, each parameter, objective_value, status, certificate, steps, starts."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "law": self.model.name,
                    "objective": self.objective.name,
                    **self.parameters,
                    "objective_value": self.objective_value,
                    "status": self.status.name,
                    "certificate": self.certificate.value,
                    "steps": self.steps,
                    "n_starts": self.starts.n,
                    "n_at_best": self.starts.n_at_best,
                    "n_runs": self.n_runs,
                }
            ]
        )


def require_estimate(status: Status, source: str, reason: str = "") -> None:
    """Refuse a point fit that is not certified: there is no estimate to put an interval around.

    Args:
        status: of the point fit.
        source: where it comes from.
        reason: what happened, if more is known than the status says.

    Raises:
        NoEstimateError: it is not.
    """
    if not status.certified:
        raise NoEstimateError(
            f"{source}: no estimate, because the point fit ended as {status.name}: "
            f"{reason or status.sentence}"
        )
