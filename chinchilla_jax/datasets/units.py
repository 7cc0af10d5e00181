"""Units of the four quantities: what they are called, and what they make of a column's numbers.

| quantity       | plain | other units                                                                |
|----------------|-------|----------------------------------------------------------------------------|
| params, tokens | count | thousands, millions, billions, trillions (K, M, B, T), factors such as 1e6 |
| counts in laws | count | the same: unique_tokens, params_active                                     |
| flops          | FLOP  | GFLOP, ..., ZFLOP, PF-days (1e15 FLOP per second for a day), factors       |
| loss           | nats  | bits: ln 2 nats; perplexity: its logarithm; bpb, bpc: per byte, character  |

A loss in bits per byte becomes one in nats per token where the bytes per token are known:
L = ln 2 * bytes per token * bpb. Otherwise it stays as it is, and E, A and B of a law come out in its unit.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, closest, short

PLAIN: Mapping[str, str] = MappingProxyType(
    {"params": "count", "tokens": "count", "flops": "FLOP", "loss": "nats"}
)
"""The unit of each quantity in `Runs`."""

COUNT_VARIABLES: Mapping[str, str] = MappingProxyType({"unique_tokens": "tokens", "params_active": "params"})
"""Further variables of laws that count, and the quantity whose units their columns may be in."""

_COUNTS = {"thousands": 1e3, "millions": 1e6, "billions": 1e9, "trillions": 1e12}
_FLOPS = {
    "kFLOP": 1e3, "MFLOP": 1e6, "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15, "EFLOP": 1e18, "ZFLOP": 1e21,
    "YFLOP": 1e24, "TF-days": 8.64e16, "PF-days": 8.64e19, "EF-days": 8.64e22, "ZF-days": 8.64e25,
}  # fmt: skip
FACTORS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"params": _COUNTS, "tokens": _COUNTS, "flops": _FLOPS}
)
"""Units of the counts and of FLOP, with how many plain ones each is."""
_LOSSES = ("nats", "bits", "bpb", "bpc", "perplexity")
_WORDS = {
    **dict.fromkeys(("count", "counts", "plain", "one", "ones"), "count"),
    **dict.fromkeys(("k", "thousand"), "thousands"),
    **dict.fromkeys(("m", "mm", "million"), "millions"),
    **dict.fromkeys(("b", "bn", "g", "billion"), "billions"),
    **dict.fromkeys(("t", "tn", "trillion"), "trillions"),
}
_LOSS_WORDS = {
    "nat": "nats", "bit": "bits", "bitspertoken": "bits", "natspertoken": "nats", "bitsperbyte": "bpb",
    "bitsperchar": "bpc", "bitspercharacter": "bpc", "ppl": "perplexity",
}  # fmt: skip
_SI = {
    "kilo": "k",
    "mega": "m",
    "giga": "g",
    "tera": "t",
    "peta": "p",
    "exa": "e",
    "zetta": "z",
    "yotta": "y",
}
_NAMES = {"bpb": "bits per byte", "bpc": "bits per character"}
FIGURE_UNIT = "units of the figure"
"""Of losses that were read off a figure without a unit."""
OWN_LOSS_UNITS = (*_NAMES.values(), FIGURE_UNIT)
"""Units of losses that stay as they are, in the words of `Unit.words`."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit of one quantity.

    Attributes:
        quantity: "params", "tokens", "flops" or "loss".
        name: the unit, as in "billions", "PF-days" or "perplexity"; a factor as a number.
    """

    quantity: str
    name: str

    @property
    def is_plain(self) -> bool:
        """Whether it is the unit of `Runs`."""
        return self.name == PLAIN[self.quantity]

    @property
    def factor(self) -> float:
        """How many plain units it is; 1 for perplexity and bits per byte."""
        if self.quantity == "loss":
            return math.log(2) if self.name == "bits" else 1.0
        known = FACTORS[self.quantity].get(self.name)
        return 1.0 if self.is_plain else float(self.name) if known is None else known

    @property
    def per_byte(self) -> bool:
        """Whether it is a loss per byte or character, which needs the bytes per token for one in nats."""
        return self.name in _NAMES

    def words(self, bytes_per_token: float | None) -> str:
        """What a reader is told; "" for the plain unit."""
        if self.is_plain:
            return ""
        name = _NAMES.get(self.name, self.name)
        if bytes_per_token is None or not self.per_byte:
            return name
        return f"{name}, {bytes_per_token:g} {'bytes' if self.name == 'bpb' else 'characters'} per token"

    def to_plain(
        self, values: NDArray[np.float64], bytes_per_token: float | None = None
    ) -> NDArray[np.float64]:
        """The numbers of a column, (n,), in the unit of `Runs`; not finite or not positive where none.

        Args:
            values: positive numbers in this unit.
            bytes_per_token: for bits per byte, or characters per token for bits per character; None leaves
                these as they are.
        """
        if self.name == "perplexity":
            with np.errstate(all="ignore"):
                logs: NDArray[np.float64] = np.log(values)
            return logs
        if self.name in _NAMES:
            with np.errstate(over="ignore"):
                return values if bytes_per_token is None else values * (math.log(2) * bytes_per_token)
        with np.errstate(over="ignore"):  # what is infinite is refused where all numbers are checked
            return values if self.factor == 1 else values * self.factor


def read_unit(quantity: str, text: str) -> Unit:
    """The unit that a person or a column's name calls `text`.

    Raises:
        UsageError: the quantity has no such unit.
    """
    if not isinstance(text, str):
        raise UsageError(f"units: {quantity} is {short(text)}; give the name of a unit, such as 'millions'")
    word = re.sub(r"[\s_/.-]+", "", text.strip().casefold())
    if quantity == "loss":
        name = _LOSS_WORDS.get(word, word)
        known: tuple[str, ...] = _LOSSES
    elif quantity in ("params", "tokens"):
        name = _WORDS.get(word, word)
        known = ("count", *_COUNTS)
    else:
        name = _flop_name(word)
        known = ("FLOP", *_FLOPS)
    if name in known:
        return Unit(quantity, name)
    if quantity != "loss" and (factor := _number(text)) is not None:
        return Unit(quantity, PLAIN[quantity] if factor == 1 else repr(factor))
    near = closest(text, known)
    hint = f"did you mean {near!r}? " if near else ""
    raise UsageError(
        f"{quantity} has no unit {short(text)}; {hint}give {', '.join(known)}"
        f"{'' if quantity == 'loss' else ', or a factor such as 1e6'}"
    )


def _flop_name(word: str) -> str:
    """The name in `_FLOPS` of a unit written as "eflops", "exaflop", "EF" or "petaflop/s-days"."""
    match = re.fullmatch(
        r"(kilo|mega|giga|tera|peta|exa|zetta|yotta|[kmgtpezy]?)(?:f|fl|flops?|flos?)s?(days?)?", word
    )
    if match is None:
        return "FLOP" if word in ("count", "plain") else word
    prefix = _SI.get(match[1], match[1])
    prefix = prefix if prefix == "k" else prefix.upper()
    return f"{prefix}F-days" if match[2] else f"{prefix}FLOP"


def _number(text: str) -> float | None:
    try:
        factor = float(text)
    except ValueError:
        return None
    return factor if 0 < factor < math.inf else None


def read_units(units: Mapping[str, str] | None) -> dict[str, Unit]:
    """Units by quantity, as `load_runs(units=...)` takes them.

    Raises:
        UsageError: an unknown quantity or unit.
    """
    if units is not None and not isinstance(units, Mapping):
        raise UsageError(
            f"units is {short(units)}; give a unit for some quantities, as in {{'params': 'millions'}}"
        )
    found, known = {}, (*PLAIN, *COUNT_VARIABLES)
    for quantity, text in (units or {}).items():
        if quantity not in known:
            raise UsageError(f"units: unknown quantity {short(quantity)}; give {', '.join(known)}")
        found[quantity] = read_unit(COUNT_VARIABLES.get(quantity, quantity), text)
    return found
