"""Objectives whose losses are quadratic in a zone of fixed width and linear outside.

The notation is that of objectives.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import positive_number

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


AUTO: Literal["auto"] = "auto"
Delta: TypeAlias = float | Literal["auto"]
"""Half-width of a quadratic zone: a number, or "auto" for one that the residuals of the data decide."""


def influence(residual: Any, down: Any, up: Any) -> Any:
    """psi(r), the derivative of the loss of each residual; NumPy and JAX arrays alike."""
    return residual.clip(-down, up)


def residual_loss(residual: Any, down: Any, up: Any) -> Any:
    """rho(r), the loss of each residual; NumPy and JAX arrays alike."""
    psi = influence(residual, down, up)
    return psi * (residual - 0.5 * psi)


def check_width(objective: ZonedObjective, what: str, width: Delta) -> None:
    """Refuse a half-width or scale that has no meaning; mark an objective whose width is left to the data."""
    if width == AUTO:
        object.__setattr__(objective, "automatic", True)
    else:
        positive_number(what, width, remedy="give a positive finite number, or 'auto'")


def decided(what: str, width: Delta) -> float:
    """A half-width or scale as a number.

    Raises:
        UsageError: it is "auto", and no data have decided it yet.
    """
    if isinstance(width, str):
        raise UsageError(
            f"{what} is 'auto', which only a fit of data turns into a number; use the objective of its result"
        )
    return width


class ZonedObjective:
    """A weighted sum of losses that are quadratic in a fixed zone around zero and linear outside.

    Attributes:
        name: as in tables and on the command line.
        raw: whether residuals are of the loss (nats per token), not of its logarithm.
        rho: the loss of a residual in units of `up`, where it is another function; see own_objective.py.
        down: how far the zone reaches below zero.
        up: how far it reaches above.
        unit: what the reported value is divided by.
    """

    name: ClassVar[str]
    raw: ClassVar[bool] = False
    rho: ClassVar[Callable[[Any], Any] | None] = None

    @property
    def down(self) -> float:
        """How far the quadratic zone reaches below zero."""
        raise NotImplementedError

    @property
    def up(self) -> float:
        """How far it reaches above."""
        return self.down

    @property
    def unit(self) -> float:
        """What the reported value is divided by."""
        return 1.0

    def losses(self, residual: Any, down: Any, up: Any) -> NDArray[np.float64]:
        """Loss of each residual, times `unit`, with a zone from -`down` to `up`."""
        return np.asarray(residual_loss(residual, down, up))

    def value(self, residual: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
        """Sum of the weighted losses over the last axis; runs without a weight do not count.

        The residuals are those of the objective, see `own_residuals`.
        """
        w = np.asarray(weights, dtype=np.float64)
        r = np.where(w > 0, np.asarray(residual, dtype=np.float64), 0.0)
        return np.asarray(np.sum(w * self.losses(r, self.down, self.up), axis=-1) / self.unit)


@dataclasses.dataclass(frozen=True)
class _Huber(ZonedObjective):
    """A zone of half-width `delta`, which may be left to the data."""

    delta: Delta = 1e-3
    automatic: bool = dataclasses.field(default=False, kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a width that has no meaning."""
        check_width(self, f"{type(self).__name__}: delta", self.delta)

    @property
    def down(self) -> float:
        """The half-width.

        Raises:
            UsageError: it is "auto", and no data have decided it yet.
        """
        return decided(f"{type(self).__name__}: delta", self.delta)


@dataclasses.dataclass(frozen=True)
class Huber(_Huber):
    """sum_i w_i Huber_delta(r_i): quadratic within `delta` of zero, linear outside.

    Source: Hoffmann et al. 2022 (arXiv:2203.15556), eq. 3, with delta = 1e-3 on the log residual.

    With `delta="auto"`, `fit` and `bootstrap` set delta to 1.345 times a robust scale of the residuals of all
    runs, see fitting/automatic_delta.py: 95% efficient on normal errors (Huber & Ronchetti 2009, Robust
    Statistics, 2nd ed.). They do so once, before they fit anything, and every resample is fitted with the
    same delta. The objective of a result holds the number.

    Args:
        delta: half-width of the quadratic zone, in units of log loss. Positive, or "auto".
        automatic: whether the data decided delta; set by `fit` and `bootstrap`.

    Example:
        >>> cj.fit(runs, objective=cj.Huber(delta=1e-3)).objective
        Huber(delta=0.001)
        >>> cj.fit(runs, objective="huber", delta=1e-3).objective  # the same
        Huber(delta=0.001)
    """

    name: ClassVar[str] = "huber"


@dataclasses.dataclass(frozen=True)
class RawHuber(_Huber):
    """sum_i w_i Huber_delta(e_i) of e_i = L(N_i, D_i) - L_i: the loss itself, not its logarithm.

    Runs of high loss, the small and short ones, weigh more than under `Huber`. Where errors are proportional
    to the loss, that is less precise; where they are of one size, more.

    Args:
        delta: half-width of the quadratic zone, in nats per token. Positive, or "auto", see `Huber`.
        automatic: whether the data decided delta; set by `fit` and `bootstrap`.
    """

    name: ClassVar[str] = "raw_huber"
    raw: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class Squared(ZonedObjective):
    """sum_i w_i r_i^2 / 2 of the log loss: least squares, with no protection from outliers."""

    name: ClassVar[str] = "squared"

    @property
    def down(self) -> float:
        """Infinite: every residual counts by its square."""
        return math.inf


@dataclasses.dataclass(frozen=True)
class RawSquared(Squared):
    """sum_i w_i e_i^2 / 2 of e_i = L(N_i, D_i) - L_i: least squares of the loss, not of its logarithm.

    What `scipy.optimize.curve_fit` and vpnls (github.com/Open-Athena/vpnls) minimise; see `RawHuber`.
    """

    name: ClassVar[str] = "raw_squared"
    raw: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class AsymmetricError(ZonedObjective):
    """sum_i w_i (penalty max(r_i, 0) + max(-r_i, 0)): the lower edge of the runs, not their middle.

    A run can always go wrong and rarely goes too well. With a penalty of 10 on overestimates, as the
    `chinchilla` toolkit offers (github.com/kyo-takano/chinchilla), the fit bounds the losses from below,
    except for one run in eleven: at the minimum a share 1/(1 + penalty) of the runs lies below the law. This
    is the quantile regression of Koenker & Bassett 1978 (Econometrica 46).

    What is minimised is the Moreau envelope, which lies below the sum by at most penalty^2 width / 2 a run:
    `width` bounds what smoothing the kink can change.

    Args:
        penalty: of an overestimate, where an underestimate costs 1. Positive.
        width: over which the kink at zero is rounded, in log loss: from -width to penalty width. Positive.
    """

    name: ClassVar[str] = "asymmetric"
    penalty: float = 10.0
    width: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse fields that have no meaning."""
        for name in ("penalty", "width"):
            positive_number(f"AsymmetricError: {name}", getattr(self, name))

    @property
    def down(self) -> float:
        """The width."""
        return self.width

    @property
    def up(self) -> float:
        """The width times the penalty."""
        return self.penalty * self.width

    @property
    def unit(self) -> float:
        """The width: the slope below zero is then 1."""
        return self.width
