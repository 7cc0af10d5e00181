"""What a study's page calls its conditions and families, in the answer and in the cells of its tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.labels import BAND_COLUMNS, COUNTING_NAMES, METHOD_NAMES
from chinchilla_jax.perturbations import Composition
from chinchilla_jax.plots.sweeps import SWEEPS, family_words, in_words
from chinchilla_jax.report.numbers import answer_text

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.report.facts import Facts


def condition_words(conditions: pd.DataFrame) -> dict[str, str]:
    """What each condition changes, in words, and how its parameters are counted where that varies."""
    columns = [conditions[name].tolist() for name in ("condition", "family", "value", "repeat", "params")]
    several = len(set(columns[-1])) > 1
    named = {}
    for name, family, value, repeat, params in zip(*columns, strict=True):
        if family == "identity":
            words = "unperturbed"
        elif family == Composition.family:
            words = " and ".join(map(_part_words, name.partition("@")[0].split("|")))
        else:
            words = in_words(family, float(value))
            words += f", draw {repeat}" if repeat else ""
        count = COUNTING_NAMES.get(params, params)
        named[name] = f"{words} ({count})" if several else words
    return named


def _part_words(part: str) -> str:
    """One part of a composition; that of a user's own class keeps its id."""
    family, _, size = part.partition("=")
    return in_words(family, float(size.partition("#")[0])) if family in SWEEPS else part


def table_words(facts: Facts, frame: pd.DataFrame) -> dict[str, list[str]]:
    """What a table reads where it says otherwise in a file: names in words, ratios as in the answer."""
    named = facts.condition_words
    known: dict[str, Callable[[Any], str]] = {
        "condition": lambda name: named.get(name, name),
        "family": lambda name: "unperturbed" if name == "identity" else family_words(name),
        "method": lambda name: METHOD_NAMES.get(name, name),
    }
    if "parameter" not in frame:
        known |= dict.fromkeys(BAND_COLUMNS, lambda value: answer_text("tokens_per_param", value))
    texts = {name: [read(value) for value in frame[name]] for name, read in known.items() if name in frame}
    for axis in {"transform_x", "transform_y"} & set(frame):
        texts[axis] = ["plain" if name == "identity" else name for name in frame[axis]]
    if "params" in frame and "condition" in frame:
        texts["params"] = [COUNTING_NAMES.get(str(name), str(name)) for name in frame["params"]]
    return texts
