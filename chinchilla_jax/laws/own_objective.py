"""Objectives from a function of the residual.

Notation
    r       residual, ln L(N_i, D_i) - ln L_i: positive where the law overestimates; dimensionless
    s       scale of the residuals
    z       r / s
    rho     the loss of one residual, as a function of z

What is minimised is sum_i w_i rho(r_i / s). Solvers see s^2 rho(r / s), which near zero is of the size of
r^2 / 2 whatever s is, as the objectives of zoned.py are.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.laws.zoned import AUTO, Delta, ZonedObjective, check_width, decided

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rho = Callable[[Any], Any]

_SIZES = np.concatenate([[0.0], np.geomspace(1e-6, 1e3, 91)])  # of z at which a function is tried


@dataclasses.dataclass(frozen=True)
class OwnObjective(ZonedObjective):
    """sum_i w_i rho(r_i / scale), made by `objective_from_function`.

    Attributes:
        scale: of the residuals, in log loss; `down` and `up` are the same.
        automatic: whether the data decided the scale; set by `fit` and `bootstrap`.
    """

    scale: Delta = AUTO
    automatic: bool = dataclasses.field(default=False, kw_only=True, compare=False, repr=False)
    recipe: ClassVar[tuple[Rho, str]]

    def __post_init__(self) -> None:
        """Refuse a scale that has no meaning."""
        check_width(self, f"objective {self.name}: scale", self.scale)

    def __repr__(self) -> str:
        """Its name and scale."""
        return f"<objective {self.name}, scale {self.scale}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """As what makes it: the class is one of this process."""
        return _remade, (*self.recipe, self.scale, self.automatic)

    @property
    def down(self) -> float:
        """The scale.

        Raises:
            UsageError: it is "auto", and no data have decided it yet.
        """
        return decided(f"objective {self.name}: scale", self.scale)

    @property
    def unit(self) -> float:
        """The square of the scale."""
        return self.down**2

    def losses(self, residual: Any, down: Any, up: Any) -> NDArray[np.float64]:
        """See `ZonedObjective.losses`."""
        from chinchilla_jax._util.float64 import float64_scope

        rho = type(self).rho
        assert rho is not None
        with float64_scope(), np.errstate(all="ignore"):
            return np.asarray(up * up * np.asarray(rho(np.asarray(residual / up))))


def objective_from_function(rho: Rho, *, scale: Delta = AUTO, name: str | None = None) -> OwnObjective:
    """An objective from a function of your own: `fit`, `bootstrap` and comparisons take it as any other.

    Minimises sum_i w_i rho(r_i / scale) of the residuals r of the log loss. Newton's method takes the two
    derivatives of rho from JAX; minima are certified as those of any other objective. A rho that is not
    convex everywhere, such as one that gives up on outliers, can leave several minima: starts are spread as
    for a law, and one of them is the fit by `Huber`.

    Args:
        rho: rho(z), the loss of one residual in units of `scale`, a number for a number; written with
            `jax.numpy`, twice differentiable, lowest at 0, and curved upwards somewhere.
        scale: of the residuals, in log loss; "auto" for their robust scale in the fit by `Huber("auto")`,
            which is decided once, before anything else is fitted, as in an MM-estimator (Yohai 1987, Annals
            of Statistics 15).
        name: in tables; None for that of the function.

    Returns:
        The objective. The same function with the same arguments gives the same one, compiled once.

    Raises:
        UsageError: a scale that has no meaning, or a function that JAX cannot trace, that is not lowest at 0,
            or whose second derivative is not finite or nowhere positive.

    Example:
        >>> import jax.numpy as jnp
        >>> cauchy = cj.objective_from_function(lambda z: jnp.log1p(z**2 / 2), scale=0.005, name="cauchy")
        >>> cauchy
        <objective cauchy, scale 0.005>
    """
    if not callable(rho):
        raise UsageError(f"objective_from_function: rho is {short(rho)}; give a function rho(z)")
    kind = _kind(rho, name or getattr(rho, "__name__", "own"))
    return kind(scale)


@functools.cache
def _kind(rho: Rho, name: str) -> type[OwnObjective]:
    # Engines compile a function, and so each is one, less its value at 0.
    settings = {"name": name, "rho": staticmethod(_from_zero(rho, name)), "recipe": (rho, name)}
    return type("OwnObjective", (OwnObjective,), settings)


def _remade(rho: Rho, name: str, scale: Delta, automatic: bool) -> OwnObjective:
    return _kind(rho, name)(scale, automatic=automatic)


def _from_zero(rho: Rho, name: str) -> Rho:
    """The function for arrays, 0 at 0; tried here, so that what is wrong with it is one line."""
    import jax
    import jax.numpy as jnp

    from chinchilla_jax._util.float64 import float64_scope

    remedy = "give rho(z) written with jax.numpy, a number for a number"
    z = np.concatenate([-_SIZES[:0:-1], _SIZES])
    try:
        with float64_scope():
            of_one = jax.eval_shape(lambda z: jnp.asarray(rho(z)), jax.ShapeDtypeStruct((), np.float64))
            of_each = jnp.vectorize(rho)  # one who writes jnp.sum means the sum of one number
            value, _, curvature = (np.asarray(each) for each in jax.jit(loss_derivatives(of_each))(z))
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"objective {name}: the function raised {short(said, 120)}; {remedy}") from None
    if of_one.shape != () or not np.issubdtype(of_one.dtype, np.floating):
        shape = f"{of_one.dtype} of shape {of_one.shape}"
        raise UsageError(f"objective {name}: the function returned {shape}, not one number; {remedy}")
    zero = float(value[len(_SIZES) - 1])
    rise = np.where(np.isfinite(value), value, 0.0) - zero
    smooth = "round a kink, as sqrt(1 + z^2) - 1 does that of |z|"
    nowhere = np.full(len(z), not (curvature > 0).any())
    for what, found, wrong, remedy in (
        ("is", value, ~np.isfinite(value), "give one that is finite"),
        ("less its value at 0 is", rise, rise < -1e-12 * max(abs(zero), 1.0), "a loss is lowest at 0"),
        ("has the second derivative", curvature, ~np.isfinite(curvature), smooth),
        ("has the second derivative", curvature, nowhere, f"none is above 0; {smooth}"),
    ):
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            raise UsageError(
                f"objective {name}: the function {what} {found[place]:g} at z = {z[place]:.3g}; {remedy}"
            )
    return lambda z: of_each(z) - zero


def loss_derivatives(rho: Rho) -> Callable[[Any], tuple[Any, Any, Any]]:
    """Value, first and second derivative of a function of each number, at every number of an array."""
    import jax
    import jax.numpy as jnp

    def along(z: Any) -> tuple[Any, Any]:
        return jax.jvp(rho, (z,), (jnp.ones_like(z),))

    def derivatives(z: Any) -> tuple[Any, Any, Any]:
        (value, first), (_, second) = jax.jvp(along, (z,), (jnp.ones_like(z),))
        return value, first, second

    return derivatives
