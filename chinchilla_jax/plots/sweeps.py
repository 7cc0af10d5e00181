"""How each family of perturbation is shown: axis, names, and the label of its documented sizes.

| code     | symbol | unit                                    |
|----------|--------|-----------------------------------------|
| value    | c, s   | size of a perturbation (an amount in    |
|          | sigma  | the unit of what it is added to, else   |
|          |        | a pure number)                          |
| neutral  |        | the size that changes nothing           |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.labels import MU, QUANTITIES, SIGMA
from chinchilla_jax._util.text import number_text
from chinchilla_jax.perturbations import DOCUMENTED_MISCOUNT, FAMILIES, Family
from chinchilla_jax.plots.styles import ORANGE

DOCUMENTED_STYLE: Mapping[str, Any] = MappingProxyType(
    {"color": ORANGE, "alpha": 0.3, "linewidth": 0, "zorder": 0}
)
_WITHIN = f"within {DOCUMENTED_MISCOUNT:.1%}"
_MARKED = {
    ("params", "multiplicative"): f"documented miscount:\nall counts {_WITHIN}",
    ("params", "additive"): f"documented miscount:\nsmallest model {_WITHIN}",
    ("params", "systematic_bias"): f"documented miscount:\nall models {_WITHIN}",
    ("params", "log_normal_noise"): f"documented miscount:\ntypical count {_WITHIN}",
    ("tokens", "multiplicative"): f"tokens\n{_WITHIN}",
    ("tokens", "additive"): f"fewest tokens\n{_WITHIN}",
    ("tokens", "log_normal_noise"): f"typical tokens\n{_WITHIN}",
}
DOCUMENTED_LABELS: Mapping[str, str] = MappingProxyType(
    {
        name: _MARKED[family.of, family.form]
        for name, family in FAMILIES.items()
        if (family.of, family.form) in _MARKED
    }
)
"""What `perturbations.documented_sizes` marks, by family; nothing is marked for the losses."""


def documented_label(family: str, data: str) -> str:
    """The label of the documented sizes of a family; "" where none are marked.

    Args:
        family: its name.
        data: name of the runs: what is documented is about Chinchilla's, and other tables say so.
    """
    whose = "documented" if data == "chinchilla" else "Chinchilla's documented"
    return DOCUMENTED_LABELS.get(family, "").replace("documented", whose)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepAxis:
    """How one family is shown on an axis.

    Attributes:
        family: name in the tables.
        of: the quantity that it changes: "params", "tokens" or "loss".
        title: name in words, and the formula (z is standard normal, mu the geometric mean of the counts).
        symbol: of the size, as text.
        label: axis label, with its unit.
        scale: "log" or "linear".
        unit: one step of the axis: 1e6 for counts shown in millions.
        suffix: follows a size in running text: " million".
        neutral: the size that changes nothing.
    """

    family: str
    of: str
    title: str
    symbol: str
    label: str
    scale: str
    unit: float
    suffix: str
    neutral: float

    @property
    def words(self) -> str:
        """The name in words, without the formula."""
        return self.title.partition(":")[0]

    def shown(self, values: ArrayLike) -> NDArray[np.float64]:
        """Sizes in the unit of the axis, any shape."""
        return np.asarray(values, dtype=np.float64) / self.unit

    @property
    def symbol_with_unit(self) -> str:
        """Title of a legend that lists sizes."""
        return f"{self.symbol} ({self.suffix.strip()}s)" if self.unit > 1 else self.symbol

    def coordinate(self, values: ArrayLike) -> NDArray[np.float64]:
        """Positions of sizes along the axis, any shape: their logarithm if it is logarithmic.

        NaN for a size that the axis cannot show.
        """
        shown = self.shown(values)
        if self.scale == "linear":
            return shown
        return np.log(np.where(shown > 0, shown, np.nan))

    def text(self, value: float) -> str:
        """One size with two digits, for a legend."""
        shown = float(self.shown(value))
        return number_text(shown, 2)


CHANGED = MappingProxyType({"params": "parameters", "tokens": "tokens", "loss": "losses"})
"""What a family changes, in the words of a sentence."""

# Units of amounts: one step of the axis, suffix of a number, axis label.
_AMOUNTS = {
    "params": (1e6, " million", "c (million parameters)"),
    "tokens": (1e9, " billion", "c (billion tokens)"),
    "loss": (1.0, " nats", "c (nats per token)"),
}


def _sweep(family: Family) -> SweepAxis:
    x = QUANTITIES[family.of].symbol
    formula = {
        "multiplicative": f"c {x}",
        "additive": f"{x} + c",
        "systematic_bias": f"{MU} ({x}/{MU})\u02e2",
        "log_normal_noise": f"{x} exp({SIGMA} z)",
    }[family.form]
    changed = CHANGED[family.of]
    words = {
        "multiplicative": f"{changed} times a factor",
        "additive": f"{changed} plus an amount",
        "systematic_bias": f"{changed} biased by size",
        "log_normal_noise": f"noise in the {changed}",
    }[family.form] + (", tokens recomputed" if family.coupled else "")
    unit, suffix, amount = _AMOUNTS[family.of] if family.form == "additive" else (1.0, "", "")
    symbol = SIGMA if family.random else family.symbol
    label = {
        "multiplicative": "factor c",
        "additive": amount,
        "systematic_bias": "exponent s",
        "log_normal_noise": f"noise {SIGMA} in ln {x}",
    }[family.form]
    return SweepAxis(
        family=family.name,
        of=family.of,
        title=f"{words}: {x} \u2192 {formula}" + (", D = C/(6 N)" if family.coupled else ""),
        symbol=symbol,
        label=label,
        scale="log" if family.logarithmic else "linear",
        unit=unit,
        suffix=suffix,
        neutral=family.neutral,
    )


SWEEPS: Mapping[str, SweepAxis] = MappingProxyType({name: _sweep(each) for name, each in FAMILIES.items()})


def sweep_of(family: str) -> SweepAxis:
    """The axis of a family.

    Raises:
        UsageError: there is no such family.
    """
    if family not in SWEEPS:
        raise unknown_name("family", family, SWEEPS)
    return SWEEPS[family]


def family_words(family: str) -> str:
    """What a family of perturbation does, in words; one that is not known keeps its name."""
    return SWEEPS[family].words if family in SWEEPS else family


def title_of(family: str) -> str:
    """The title of a family of perturbation, known or not, with a capital letter."""
    title = SWEEPS[family].title if family in SWEEPS else family
    return title[:1].upper() + title[1:]


def in_words(family: str, value: float) -> str:
    """A perturbation in words: "parameters 10% too high", "tokens 2 billion too low", "noise of 10% in ...".

    Args:
        family: its name; one that is not known keeps it.
        value: its size, in the unit of the family.
    """
    if family not in SWEEPS:
        return f"{family} {number_text(value, 3)}"
    sweep, made = SWEEPS[family], FAMILIES[family]
    changed = CHANGED[made.of]
    if value == sweep.neutral:
        words = f"{changed} unchanged"
    elif made.form == "multiplicative":
        words = f"{changed} {_times_text(value)}"
    elif made.form == "additive":
        words = f"{changed} {sweep.text(abs(value))}{sweep.suffix} too {'high' if value > 0 else 'low'}"
    elif made.form == "systematic_bias":
        words = f"{changed} biased by size (exponent {sweep.text(value)})"
    else:
        words = f"noise of {number_text(100 * value, 2)}% in the {changed}"
    return words + (" (tokens recomputed)" if made.coupled else "")


def _times_text(factor: float) -> str:
    """A factor as what is wrong with a count: "10% too high", "4 times too high", "75% too low"."""
    if factor >= 2:
        return f"{number_text(factor, 2)} times too high"
    share = number_text(100 * abs(factor - 1), 2)
    return f"{share}% too {'high' if factor > 1 else 'low'}"


def spread(sweep: SweepAxis, values: ArrayLike, n: int) -> list[float]:
    """Up to n of the sizes, ascending: the ends, the neutral one, and others evenly by rank."""
    distinct = np.unique(np.asarray(values, dtype=np.float64))
    if len(distinct) <= n:
        return [float(value) for value in distinct]
    ranks = np.rint(np.linspace(0, len(distinct) - 1, n)).astype(int)
    neutral = np.flatnonzero(distinct == sweep.neutral)
    if neutral.size and neutral[0] not in ranks:
        ranks[np.argmin(np.abs(ranks[1:-1] - neutral[0])) + 1] = neutral[0]
    return [float(distinct[rank]) for rank in np.unique(ranks)]
