"""Types of option values: names out of a list, and numbers within bounds.

The lists are repeated here because their homes in the library import NumPy or JAX, which `--help` and
completion do without; a test compares the two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import click

from chinchilla_jax._util.errors import closest, short
from chinchilla_jax._util.limits import Limit
from chinchilla_jax._util.text import SCALES, list_text
from chinchilla_jax.cli.own_code import names_code

FIGURES = ("chinchilla", "llama3")
DATASETS = (
    *FIGURES,
    *("gadre_c4", "gadre_redpajama", "gadre_refinedweb", "gemstones", "olmo_ladder"),
    *("datablations", "datablations_repeated", "routing_s_base", "routing_rl_r", "routing_hash"),
    *("quest_2bit", "quest_3bit", "quest_4bit"),
)
COUNTINGS = ("as_plotted", "reported", "standard", "best_fit")
COUNTING_RULES = ("standard", "best_fit", "untied", "gated", "gated_shared_kv", "without_embedding")
STANDARD = ("chinchilla", "equal_exponents", "fixed_floor", "kaplan", "broken")
LAWS = (
    *STANDARD, "gamma", "over_training", "farseer", "compute_only", "repeated_data", "sparse_experts",
    "routed_experts", "joint_experts",
)  # fmt: skip
WALD_COMPARED = ("exponents", "all")
FIXED_FLOOR = "fixed_floor"
OBJECTIVES = ("huber", "huber_scale", "squared", "asymmetric", "raw_huber", "raw_squared")
SOLVERS = ("newton", "optax-lbfgs", "jaxopt-lbfgs", "jaxopt-bfgs")
ENGINES = ("auto", "lanes", "xla")
METHODS = ("percentile", "basic", "bca", "studentised", "gaussian", "highest_density")
SCHEMES = ("pairs", "cluster", "residual", "wild", "bayesian", "m_out_of_n", "jackknife", "delete_d")
GROUPINGS = ("params", "flops", "replicates")
NOISES = ("residuals", "signed")
BOUNDARIES = ("keep", "drop")
SPLITS = ("runs", "params", "flops", "tokens")
SHARES = ("auto", "none", "exponents", "all")
EXECUTORS = ("threads", "processes", "dask", "jax")


class Name(click.Choice[str]):
    """One of several names; the message about any other suggests the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself."""
        if value in self.choices:
            return str(value)
        near = closest(str(value), self.choices)
        hint = f"; did you mean {near!r}?" if near else ""
        self.fail(f"{short(value)} is not one of {', '.join(self.choices)}{hint}", param, ctx)


class NameOrCode(Name):
    """One of several names, or PLACE:NAME, which is left for `own_code` to execute."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself."""
        return str(value) if names_code(str(value)) else super().convert(value, param, ctx)


class Number(click.ParamType[float]):
    """A finite number; click's `FloatRange` accepts NaN, and adds each range to the help.

    Args:
        kind: what is accepted, for the message about anything else.
        accepts: whether a number is accepted.
    """

    name = "number"

    def __init__(self, kind: str, accepts: Callable[[float], bool]) -> None:
        """Remember the arguments."""
        self._kind, self._accepts = kind, accepts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and self._accepts(number)):
            self.fail(f"{short(value)} is not {self._kind}{_written_out(str(value))}", param, ctx)
        return number


def _written_out(text: str) -> str:
    """The remedy for a count that is written as outputs show it, such as 8.8B; "" for anything else."""
    found = re.fullmatch(r"(\d+\.?\d*)([KMBT])", text, re.IGNORECASE)
    return f"; write {found[1]}e{_EXPONENTS[found[2].upper()]}" if found else ""


_EXPONENTS = {letter: round(math.log10(size)) for size, letter in SCALES}


class Width(Number):
    """A positive number, or "auto"."""

    name = "width"

    def __init__(self) -> None:
        """Take no argument."""
        super().__init__("a positive number or 'auto'", lambda x: x > 0)

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | Literal["auto"]:
        """The number, or "auto" itself."""
        return "auto" if value == "auto" else super().convert(value, param, ctx)


class WholeNumber(click.ParamType[int]):
    """A whole number.

    Args:
        least: the smallest accepted.
        limit: the most accepted.
    """

    name = "whole number"

    def __init__(self, least: int = 0, limit: Limit | None = None) -> None:
        """Remember the arguments."""
        self._least, self._limit = least, limit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        try:
            number = int(value)
        except ValueError:
            number = self._least - 1
        if number < self._least:
            self.fail(f"{short(value)} is not a whole number of at least {self._least}", param, ctx)
        if self._limit is not None:
            what = param.opts[0] if param is not None and param.opts else short(value)
            self._limit.require(what, number)
        return number


POSITIVE = Number("a positive number", lambda x: x > 0)
WIDTH = Width()
NON_NEGATIVE = Number("a number of zero or more", lambda x: x >= 0)
SHARE = Number("a number from 0 to 1", lambda x: 0 <= x <= 1)
FRACTION = Number("a fraction above 0 and up to 1", lambda x: 0 < x <= 1)
PROBABILITY = Number("a probability between 0 and 1", lambda x: 0 < x < 1)


def or_text(names: Sequence[str]) -> str:
    """Names in a sentence: "huber, squared or asymmetric"."""
    return list_text(names, conjunction="or")
