"""The functional forms: the five-parameter law, two restrictions of it, one extension, and Kaplan's.

| name            | p | log loss                                                  | source               |
|-----------------|---|-----------------------------------------------------------|----------------------|
| chinchilla      | 5 | ln(E + A N^-alpha + B D^-beta)                            | Hoffmann 2022, eq. 2 |
| equal_exponents | 4 | the same with alpha = beta                                | restriction          |
| fixed_floor     | 4 | the same with E given                                     | restriction          |
| kaplan          | 4 | alpha_D ln((N_c/N)^(alpha_N/alpha_D) + D_c/D)             | Kaplan 2020, eq. 1.5 |
| broken          | 7 | both terms bend once: A N^-alpha cosh(ln(N/N_b)/2f)^-cf   | Caballero 2022, eq.1 |

Hoffmann et al. 2022, arXiv:2203.15556. Kaplan et al. 2020, arXiv:2001.08361. Caballero et al. 2022, "Broken
Neural Scaling Laws", arXiv:2210.14891: b x^-c0 (1 + (x/d)^(1/f))^(-c f) passes, around x = d and over some
ln x = 4 f, from exponent c0 to c0 + c. Written with alpha = c0 + c/2, the exponent at the break, this is
b' x^-alpha cosh(ln(x/d) / 2f)^(-c f), since 1 + y = 2 sqrt(y) cosh(ln(y)/2): the same curve, with the bend c
apart from the slope alpha. Break and sharpness are given and not fitted: at c = 0, where the five-parameter
law lies, they would have no meaning, and no test of c = 0 its usual distribution.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax.laws.base import Floats, Form
from chinchilla_jax.laws.design import FLOOR
from chinchilla_jax.laws.published_grid import grid_starts
from chinchilla_jax.laws.scaling_law import ScalingLaw

if TYPE_CHECKING:
    from jax import Array

    from chinchilla_jax.laws.design import Design

_BENDS = (0.0, 0.3, -0.3)  # standardised; starts


@dataclasses.dataclass(frozen=True)
class FiveParameter(Form):
    """L = E + A N^-alpha + B D^-beta, in the coordinates of solvers/design.py."""

    name: ClassVar[str] = "chinchilla"
    parameters: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta")
    formula: ClassVar[str] = "E + A N^-alpha + B D^-beta"
    source: ClassVar[str] = "Hoffmann et al. 2022, eq. 2"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (3, 4)
    bounded: ClassVar[tuple[int, ...]] = (FLOOR,)
    least: ClassVar[tuple[int, int, int]] = (3, 3, 6)

    @staticmethod
    def log_loss(theta: Array, u: Array, v: Array, constants: Array) -> Array:
        """See `Form.log_loss`."""
        import jax.numpy as jnp

        a, b, floor, alpha, beta = theta
        return jnp.log(floor + jnp.exp(a - alpha * u) + jnp.exp(b - beta * v))

    def constants(self, design: Design) -> Floats:
        """None."""
        return np.zeros(0)

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """E, A, B, alpha, beta."""
        law = design.law(theta)
        return {name: np.asarray(getattr(law, name)) for name in self.parameters}

    def internal(self, natural: dict[str, float], design: Design) -> Floats:
        """See `Form.internal`."""
        return _five(design, **natural)

    def starts(self, design: Design, count: int) -> Floats:
        """Spread over the published grid."""
        return design.theta_from_logs(grid_starts(count))

    def embed(self, theta: Floats) -> Floats | None:
        """Itself."""
        return theta

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw | None:
        """The law."""
        return design.law(theta)


@dataclasses.dataclass(frozen=True)
class EqualExponents(Form):
    """L = E + A N^-alpha + B D^-alpha: tokens per parameter are the same at every budget.

    theta is (a', b', E, alpha'), alpha' = alpha sd(ln N); constants: sd(ln D) / sd(ln N).
    """

    name: ClassVar[str] = "equal_exponents"
    parameters: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha")
    formula: ClassVar[str] = "E + A N^-alpha + B D^-alpha"
    source: ClassVar[str] = "Hoffmann et al. 2022, eq. 2, with alpha = beta"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (3,)
    bounded: ClassVar[tuple[int, ...]] = (FLOOR,)

    @staticmethod
    def log_loss(theta: Array, u: Array, v: Array, constants: Array) -> Array:
        """See `Form.log_loss`."""
        import jax.numpy as jnp

        a, b, floor, alpha = theta
        return jnp.log(floor + jnp.exp(a - alpha * u) + jnp.exp(b - alpha * constants[0] * v))

    def constants(self, design: Design) -> Floats:
        """By how much ln D varies more than ln N."""
        return np.array([design.tokens_scale / design.params_scale])

    def full(self, theta: Floats, design: Design) -> Floats:
        """The same law as a five-parameter one, (..., 5)."""
        return np.concatenate([theta, theta[..., 3:] * self.constants(design)[0]], axis=-1)

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """E, A, B, alpha."""
        law = design.law(self.full(theta, design))
        return {name: np.asarray(getattr(law, name)) for name in self.parameters}

    def internal(self, natural: dict[str, float], design: Design) -> Floats:
        """See `Form.internal`."""
        return _five(design, **natural, beta=natural["alpha"])[:4]

    def starts(self, design: Design, count: int) -> Floats:
        """Spread over the published grid."""
        return design.theta_from_logs(grid_starts(count))[:, :4]

    def embed(self, theta: Floats) -> Floats | None:
        """The law with the exponent of the parameters in both places."""
        return theta[:4]

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw | None:
        """The law."""
        return design.law(self.full(theta, design))


@dataclasses.dataclass(frozen=True)
class FixedFloor(Form):
    """L = E + A N^-alpha + B D^-beta with the irreducible loss E given.

    theta is (a', b', alpha', beta'); constants: E.

    Attributes:
        floor: E (nats per token), zero or more; the published 1.69 of Hoffmann et al. 2022 by default.
    """

    name: ClassVar[str] = "fixed_floor"
    parameters: ClassVar[tuple[str, ...]] = ("A", "B", "alpha", "beta")
    formula: ClassVar[str] = "E given: E + A N^-alpha + B D^-beta"
    source: ClassVar[str] = "Hoffmann et al. 2022, eq. 2, with E given"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (2, 3)
    floor: float = 1.69

    def __post_init__(self) -> None:
        """Check the field."""
        if isinstance(self.floor, bool) or not isinstance(self.floor, (int, float)):
            raise UsageError(f"FixedFloor: floor = {short(self.floor)}, give a number of nats per token")
        if not (math.isfinite(self.floor) and self.floor >= 0):
            raise UsageError(f"FixedFloor: floor = {self.floor}, give zero or more nats per token")

    @staticmethod
    def log_loss(theta: Array, u: Array, v: Array, constants: Array) -> Array:
        """See `Form.log_loss`."""
        import jax.numpy as jnp

        a, b, alpha, beta = theta
        # In logarithms: without a floor a lane may well pass through tiny losses.
        largest = jnp.maximum(a - alpha * u, b - beta * v)
        rest = jnp.exp(a - alpha * u - largest) + jnp.exp(b - beta * v - largest)
        return largest + jnp.log(rest + constants[0] * jnp.exp(-largest))

    def constants(self, design: Design) -> Floats:
        """The floor."""
        return np.array([self.floor])

    def full(self, theta: Floats) -> Floats:
        """The same law as a five-parameter one, (..., 5)."""
        floor = np.full((*np.shape(theta)[:-1], 1), self.floor)
        return np.concatenate([theta[..., :2], floor, theta[..., 2:]], axis=-1)

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """A, B, alpha, beta."""
        law = design.law(self.full(theta))
        return {name: np.asarray(getattr(law, name)) for name in self.parameters}

    def internal(self, natural: dict[str, float], design: Design) -> Floats:
        """See `Form.internal`."""
        return np.delete(_five(design, E=self.floor, **natural), FLOOR)

    def starts(self, design: Design, count: int) -> Floats:
        """Spread over the published grid."""
        return np.delete(design.theta_from_logs(grid_starts(count)), FLOOR, axis=1)

    def embed(self, theta: Floats) -> Floats | None:
        """The law without its floor."""
        return np.delete(theta, FLOOR)

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw | None:
        """The law."""
        return design.law(self.full(theta))


@dataclasses.dataclass(frozen=True)
class Kaplan(Form):
    """L = ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D: no irreducible loss.

    theta is (x', y', p', ln alpha_D) of alpha_D ln(exp(x' - p' u) + exp(y' - sd v)), p' = sd(ln N)
    alpha_N / alpha_D; constants: sd(ln D).
    """

    name: ClassVar[str] = "kaplan"
    parameters: ClassVar[tuple[str, ...]] = ("N_c", "D_c", "alpha_N", "alpha_D")
    formula: ClassVar[str] = "((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D"
    source: ClassVar[str] = "Kaplan et al. 2020, eq. 1.5"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (2, 3)

    @staticmethod
    def log_loss(theta: Array, u: Array, v: Array, constants: Array) -> Array:
        """See `Form.log_loss`."""
        import jax.numpy as jnp

        x, y, ratio, log_alpha = theta
        return jnp.exp(log_alpha) * jnp.logaddexp(x - ratio * u, y - constants[0] * v)

    def constants(self, design: Design) -> Floats:
        """The exponent of D inside the power is one: sd(ln D) in the units of v."""
        return np.array([design.tokens_scale])

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """N_c and D_c (counts), alpha_N, alpha_D."""
        x, y, ratio, log_alpha = np.moveaxis(theta, -1, 0)
        power = ratio / design.params_scale
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            alpha = np.exp(log_alpha)
            return {
                "N_c": np.exp(x / power + design.params_location),
                "D_c": np.exp(y + design.tokens_location),
                "alpha_N": power * alpha,
                "alpha_D": alpha,
            }

    def internal(self, natural: dict[str, float], design: Design) -> Floats:
        """See `Form.internal`."""
        power = natural["alpha_N"] / natural["alpha_D"]
        return np.array(
            [
                power * (math.log(natural["N_c"]) - design.params_location),
                math.log(natural["D_c"]) - design.tokens_location,
                power * design.params_scale,
                math.log(natural["alpha_D"]),
            ]
        )

    def starts(self, design: Design, count: int) -> Floats:
        """Exponents from 0.03 to 0.8, and how the loss of the middle run divides between the terms."""
        exponents = np.geomspace(0.03, 0.8, 5)
        kinds = [(n, d, s) for s in (0.5, 0.15, 0.85) for n in exponents for d in exponents]
        level = float(np.mean(design.log_loss))
        points = []
        for i in range(count):
            alpha_n, alpha_d, share = kinds[(i * 29) % len(kinds)]
            inside = level / alpha_d
            points.append(
                (
                    inside + math.log(share),
                    inside + math.log1p(-share),
                    alpha_n / alpha_d * design.params_scale,
                    math.log(alpha_d),
                )
            )
        return np.array(points)

    def allocation_law(self, theta: Floats, design: Design) -> ScalingLaw | None:
        """The inside of the power, which has its minimum where the power has: a law with E = 0, beta = 1."""
        x, y, ratio, _ = np.moveaxis(theta, -1, 0)
        return design.law(np.stack([x, y, 0 * x, ratio, 0 * x + design.tokens_scale], axis=-1))


@dataclasses.dataclass(frozen=True)
class Broken(Form):
    """The five-parameter law with one smooth bend in either term.

    theta is (a', b', E, alpha', beta', c', k'), exponents and bends in units of 1/sd; constants: 1/2f and f
    in units of sd, and the breaks in standardised logarithms.

    Attributes:
        sharpness: f; the exponent passes from alpha - c/2 to alpha + c/2 over some 4 f in ln N. Positive.
        params_break: N_b, where the parameter term bends; None for the geometric mean of the runs.
        tokens_break: D_b, where the token term bends; None for the geometric mean.
    """

    name: ClassVar[str] = "broken"
    parameters: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta", "bend_N", "bend_D")
    formula: ClassVar[str] = "E + A N^-alpha cosh(ln(N/N_b)/2f)^-cf + B D^-beta cosh(ln(D/D_b)/2f)^-kf"
    source: ClassVar[str] = "Caballero et al. 2022, eq. 1, one break in each term"
    amplitudes: ClassVar[tuple[int, ...]] = (0, 1)
    exponents: ClassVar[tuple[int, ...]] = (3, 4, 5, 6)
    bounded: ClassVar[tuple[int, ...]] = (FLOOR,)
    least: ClassVar[tuple[int, int, int]] = (4, 4, 8)
    sharpness: float = 1.0
    params_break: float | None = None
    tokens_break: float | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not (isinstance(value, (int, float)) and 0 < value < math.inf):
                raise UsageError(f"Broken: {field.name} = {short(value)}, give a positive number")

    @staticmethod
    def log_loss(theta: Array, u: Array, v: Array, constants: Array) -> Array:
        """See `Form.log_loss`."""
        import jax.numpy as jnp

        a, b, floor, alpha, beta, bend_n, bend_d = theta
        at_n, steep_n, soft_n, at_d, steep_d, soft_d = constants

        def log_cosh(z: Array) -> Array:
            return jnp.logaddexp(z, -z) - math.log(2.0)

        of_params = a - alpha * u - bend_n * soft_n * log_cosh(steep_n * (u - at_n))
        of_tokens = b - beta * v - bend_d * soft_d * log_cosh(steep_d * (v - at_d))
        return jnp.log(floor + jnp.exp(of_params) + jnp.exp(of_tokens))

    def constants(self, design: Design) -> Floats:
        """Per term: where it bends, how sharply, and how far."""
        parts = []
        for where, location, scale in (
            (self.params_break, design.params_location, design.params_scale),
            (self.tokens_break, design.tokens_location, design.tokens_scale),
        ):
            at = 0.0 if where is None else (math.log(where) - location) / scale
            parts += [at, scale / (2 * self.sharpness), self.sharpness / scale]
        return np.array(parts)

    def natural(self, theta: Floats, design: Design) -> dict[str, Floats]:
        """E, A, B, alpha and beta at the breaks, and the bends."""
        law = design.law(theta[..., :5])
        named = {name: np.asarray(getattr(law, name)) for name in self.parameters[:5]}
        return {
            **named,
            "bend_N": theta[..., 5] / design.params_scale,
            "bend_D": theta[..., 6] / design.tokens_scale,
        }

    def internal(self, natural: dict[str, float], design: Design) -> Floats:
        """See `Form.internal`."""
        five = _five(design, **{name: natural[name] for name in self.parameters[:5]})
        bends = [natural["bend_N"] * design.params_scale, natural["bend_D"] * design.tokens_scale]
        return np.concatenate([five, bends])

    def starts(self, design: Design, count: int) -> Floats:
        """The published grid, with and without bends."""
        bends = [[_BENDS[i % 3], _BENDS[i // 3 % 3]] for i in range(count)]
        return np.concatenate([design.theta_from_logs(grid_starts(count)), bends], axis=1)

    def embed(self, theta: Floats) -> Floats | None:
        """The law without bends."""
        return np.concatenate([theta, np.zeros(2)])


def _five(design: Design, E: float, A: float, B: float, alpha: float, beta: float) -> Floats:
    """Theta (5,) of a law, E = 0 included."""
    return np.array(
        [
            math.log(A) - alpha * design.params_location,
            math.log(B) - beta * design.tokens_location,
            E,
            alpha * design.params_scale,
            beta * design.tokens_scale,
        ]
    )


FORMS: dict[str, type[Form]] = {
    kind.name: kind for kind in (FiveParameter, EqualExponents, FixedFloor, Kaplan, Broken)
}
"""The forms by name; each is usable without arguments."""


def read_form(form: Form | str) -> Form:
    """The form, or the one of that name.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(form, Form):
        return form
    if not isinstance(form, str) or form not in FORMS:
        raise unknown_name("form", form, FORMS)
    return FORMS[form]()
