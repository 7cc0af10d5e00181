"""The table of all families of perturbations: what each changes, its form, symbol, unit and neutral size.

Ids, specs, trends, figures, theory and the page of a study use it, so a new family is one class and one line
of this table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.perturbations.base import Perturbation
from chinchilla_jax.perturbations.params import (
    COUPLED,
    Additive,
    LogNormalNoise,
    Multiplicative,
    SystematicBias,
)
from chinchilla_jax.perturbations.tokens_and_loss import (
    LossLogNormalNoise,
    LossMultiplicative,
    LossOffset,
    TokensAdditive,
    TokensLogNormalNoise,
    TokensMultiplicative,
)

_UNITS = {"params": "parameters", "tokens": "tokens", "loss": "nats per token"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One family; call it with a size (and for noise a repeat) to get the perturbation.

    Attributes:
        name: the beginning of its condition ids.
        of: the quantity that it changes: "params", "tokens" or "loss".
        form: what it does to it: "multiplicative" (c x), "additive" (x + c), "systematic_bias"
            (mu (x/mu)^s) or "log_normal_noise" (x exp(sigma z)).
        coupled: whether the tokens follow the parameters, D = C / (6 N).
        kind: the class of its perturbations.
    """

    name: str
    of: str
    form: str
    coupled: bool
    kind: type[Any]

    def __call__(self, value: float, repeat: int = 0) -> Perturbation:
        """The perturbation of this size.

        Args:
            value: the size: c, s or sigma.
            repeat: which draw; 0 for a family without randomness.

        Raises:
            UsageError: the size or the repeat is out of range.
        """
        more: dict[str, Any] = {"coupled": True} if self.coupled else {}
        if self.random:
            more["repeat"] = repeat
        elif repeat != 0:
            raise UsageError(
                f"{self.name}: repeat is {short(repeat)}; it draws no random numbers, leave it out"
            )
        perturbation: Perturbation = self.kind(value, **more)
        return perturbation

    @property
    def random(self) -> bool:
        """Whether it draws random numbers, so that repeats differ."""
        return self.form == "log_normal_noise"

    @property
    def symbol(self) -> str:
        """Symbol of the size, which is also the name of its field: "c", "s" or "sigma"."""
        return {"systematic_bias": "s", "log_normal_noise": "sigma"}.get(self.form, "c")

    @property
    def unit(self) -> str:
        """Unit of the size: "parameters", "tokens" or "nats per token" for an amount, "1" otherwise."""
        return _UNITS[self.of] if self.form == "additive" else "1"

    @property
    def neutral(self) -> float:
        """The size that changes nothing."""
        return 1.0 if self.form in ("multiplicative", "systematic_bias") else 0.0

    @property
    def logarithmic(self) -> bool:
        """Whether sizes are factors or exponents, compared by their ratio."""
        return self.neutral == 1.0


_KINDS: tuple[tuple[str, str, type[Any]], ...] = (
    ("params", "multiplicative", Multiplicative),
    ("params", "additive", Additive),
    ("params", "systematic_bias", SystematicBias),
    ("params", "log_normal_noise", LogNormalNoise),
    ("tokens", "multiplicative", TokensMultiplicative),
    ("tokens", "additive", TokensAdditive),
    ("tokens", "log_normal_noise", TokensLogNormalNoise),
    ("loss", "multiplicative", LossMultiplicative),
    ("loss", "additive", LossOffset),
    ("loss", "log_normal_noise", LossLogNormalNoise),
)


def _families() -> Mapping[str, Family]:
    plain = [
        Family(name=kind.family, of=of, form=form, coupled=False, kind=kind) for of, form, kind in _KINDS
    ]
    coupled = [
        dataclasses.replace(family, name=COUPLED + family.name, coupled=True)
        for family in plain
        if family.of == "params"
    ]
    # After the plain families of the parameters, in figures and lists.
    ordered = [*plain[: len(coupled)], *coupled, *plain[len(coupled) :]]
    return MappingProxyType({family.name: family for family in ordered})


FAMILIES: Mapping[str, Family] = _families()
"""The families by name; call them as `FAMILIES[name](value)`."""

PARAMS_FAMILIES = tuple(f.name for f in FAMILIES.values() if f.of == "params" and not f.coupled)
"""The four families of the published study: miscounted parameters, unchanged tokens."""
