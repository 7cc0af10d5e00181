"""What the reader calls each quantity: name, symbol and unit, for tables, figures and pages alike.

The keys are the column names and quantity names of the library's tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from chinchilla_jax._util.text import TIMES, plain_number, scaled_number

# Symbols are Unicode and not mathtext: setting mathtext takes as long as the rest of a figure and embeds two
# more fonts in every PDF. Written as escapes, because several look like Latin letters.
ALPHA, BETA, MU, SIGMA = "\u03b1", "\u03b2", "\u03bc", "\u03c3"
_GREEK = {
    "alpha": ALPHA, "beta": BETA, "gamma": "\u03b3", "delta": "\u03b4", "eta": "\u03b7", "lambda": "\u03bb",
    "mu": MU, "sigma": SIGMA,
}  # fmt: skip
_GREEK_WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(_GREEK)})(?![A-Za-z])")


NATS = "nats per token"
"""The unit of losses, into which all others are converted that can be."""


class Label(NamedTuple):
    """Name, symbol and unit of a quantity; "" for what it does not have."""

    name: str
    symbol: str = ""
    unit: str = ""

    def __str__(self) -> str:
        """As on an axis or before a row: "training compute C (FLOP)"."""
        unit = self.unit and f"({self.unit})"
        return " ".join(part for part in (self.name, self.symbol, unit) if part)

    @property
    def is_count(self) -> bool:
        """Whether it counts parameters or tokens, which are written as "73.2B"."""
        return self.symbol in ("N", "D")


QUANTITIES: Mapping[str, Label] = MappingProxyType(
    {
        # Parameters of the law, by their symbols alone.
        "E": Label("", "E", NATS),
        "A": Label("", "A", f"nats/token {TIMES} params\u1d45"),
        "B": Label("", "B", f"nats/token {TIMES} tokens\u1d5d"),
        "alpha": Label("", ALPHA),
        "beta": Label("", BETA),
        # Runs and prescriptions.
        "flops": Label("training compute", "C", "FLOP"),
        "params": Label("parameters", "N"),
        "params_active": Label("active parameters", "N"),
        "tokens": Label("training tokens", "D"),
        "epochs": Label("epochs"),
        "tokens_per_param": Label("tokens per parameter"),
        "optimal_tokens_per_param": Label("compute-optimal tokens per parameter"),
        "loss": Label("loss", "L", NATS),
        "optimal_loss": Label("compute-optimal loss", "L", NATS),
        "optimal_params": Label("compute-optimal parameters", "N"),
        "optimal_tokens": Label("compute-optimal tokens", "D"),
        "rule_overhead": Label("rule overhead", unit="%"),
        "new_run_loss": Label("loss of one new run"),
        # Serving.
        "training_cost": Label("training cost"),
        "inference_cost": Label("inference cost"),
        "total_cost": Label("total cost"),
        "baseline_params": Label("compute-optimal: parameters", "N"),
        "baseline_tokens": Label("compute-optimal: training tokens", "D"),
        "baseline_cost": Label("compute-optimal: total cost"),
        "saved": Label("saved"),
        "saving": Label("saving", unit="%"),
    }
)

RESIDUAL = Label("observed loss / law's, less 1", unit="%")
"""What columns named residual_percent hold, which are in % already."""

COUNTING_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "standard": "standard formula",
        "best_fit": "best-fit formula",
        "reported": "reported",
        "as_plotted": "as plotted",
        "as_given": "as in the table",
    }
)
"""Ways to count the parameters of a model, in the order in which they are shown."""

METHOD_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "besiroglu2024": "Gaussian, Besiroglu et al. 2024",
        "gaussian": "Gaussian",
        "bca": "BCa",
        "highest_density": "highest-density",
    }
)
"""Interval methods whose names are not already words."""


CHOICE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "law": "the law",
        "objective": "the objective",
        "delta": "the width of Huber's zone (delta)",
        "counting": "the counting of parameters",
        "cost": "the cost of training",
        "rows": "the choice of runs",
        "scheme": "the resampling scheme",
    }
)
"""What an analyst chooses, as in a sentence."""

HEADLINE = "estimate"
"""The column whose number heads every answer: the point estimate, see docs/concepts/point.md."""

INTERVAL_COLUMNS = (HEADLINE, "low", "high")
"""How every answer is shown: the headline, and the interval of the resamples beside it."""

BAND_COLUMNS = (*INTERVAL_COLUMNS, "median")
"""The same of a band over budgets, in the tables of a study's page."""


def label_of(quantity: str, loss_unit: str = NATS) -> Label:
    """The label of a quantity; that of an unknown one is its name.

    Args:
        quantity: its name.
        loss_unit: the unit of losses, `Runs.loss_unit`.
    """
    label = QUANTITIES.get(quantity, Label(quantity))
    if loss_unit == NATS:
        return label
    return label._replace(unit=label.unit.replace(NATS, loss_unit).replace("nats/token", loss_unit))


def quantity_label(quantity: str, loss_unit: str = NATS) -> str:
    """Name, symbol and unit of a quantity; an unknown one is its own name with spaces.

    Args:
        quantity: its name.
        loss_unit: the unit of losses, `Runs.loss_unit`.
    """
    return str(label_of(quantity, loss_unit)) if quantity in QUANTITIES else quantity.replace("_", " ")


def quantity_text(quantity: str, value: float, digits: int = 4) -> str:
    """A value of a quantity for a terminal: counts as "97.18B", shares of quantities in % times 100."""
    label = label_of(quantity)
    if label.unit == "%":
        return plain_number(100.0 * value, digits)
    return scaled_number(value, digits) if label.is_count else plain_number(value, digits)


def with_symbols(text: str) -> str:
    """A parameter or a formula for a page, with Greek letters for their names: "N^-\u03b1" for "N^-alpha"."""
    return _GREEK_WORD.sub(lambda found: _GREEK[found[0]], text)


def interval_text(level: float, method: str) -> str:
    """An interval in a legend or a caption: "80% interval"; with its method unless that is percentile."""
    named = "" if method == "percentile" else f" ({METHOD_NAMES.get(method, method)})"
    return f"{percent_text(level)} interval{named}"


def choice_name(choice: str) -> str:
    """A choice of the analyst in a sentence; an unknown one is its own name, quoted."""
    return CHOICE_NAMES.get(choice, f"'{choice}'")


def percent_text(share: float) -> str:
    """A level, or another share that is to keep its digits: "80%", "99.5%"."""
    return f"{100 * share:.4g}%"


def kind_text(level: float, method: str = "percentile") -> str:
    """What a terminal says before "interval" or "band": "80% percentile"."""
    return f"{percent_text(level)} {METHOD_NAMES.get(method, method)}"
