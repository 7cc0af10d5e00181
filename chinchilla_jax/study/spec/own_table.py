"""The fields of a spec about its table: data, names of columns, and the ways to count its parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from chinchilla_jax._util.errors import UsageError, closest, short, unknown_name
from chinchilla_jax._util.urls import is_url
from chinchilla_jax.datasets import dataset_names, figure_names
from chinchilla_jax.datasets.catalogue import COUNTINGS
from chinchilla_jax.datasets.groupings import BUILT_IN
from chinchilla_jax.datasets.interpretations import Interpretations
from chinchilla_jax.datasets.readers.places import STANDARD_INPUT
from chinchilla_jax.study.spec.fields import FieldError, field


def available_interpretations(data: str, several: Interpretations | None = None) -> tuple[str, ...]:
    """The parameter counts that `data` has, the plain one (without @ in a condition's id) first.

    Args:
        data: as in a spec.
        several: the countings and losses that a spec names.
    """
    if several:
        return several.names
    if data not in figure_names():
        return ("as_given",)
    if data == "chinchilla":
        return ("standard", *(name for name in COUNTINGS if name != "standard"))
    return ("as_plotted",)


def read_data(given: Any) -> str:
    """The embedded name or the path of a spec's table, as text."""
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise UsageError(f"data is {short(given)}; give an embedded name or the path of a table")
    data = os.fsdecode(given)
    if data == STANDARD_INPUT:
        raise UsageError(
            "data is standard input, which a study cannot read again when it resumes; give a file"
        )
    # Path("chinchilla") is a file to load_runs, and has to stay one when only its text is stored.
    if not isinstance(given, str) and data in dataset_names():
        return os.path.join(os.curdir, data)
    return data


def column_names(name: str, given: Any) -> tuple[str, ...]:
    """The field `name`, one name of a column or several, as a tuple."""
    texts = (given,) if isinstance(given, str) else given
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) and text for text in texts):
        raise UsageError(f"{name} is {short(given)}; give names of columns")
    return tuple(texts)


def by_quantity(
    field_name: str, given: Any, check: Callable[[dict[str, str]], object], what: str
) -> tuple[tuple[str, str], ...]:
    """Texts by quantity, as sorted pairs, checked by `check`."""
    try:
        texts = {} if given is None else dict(given)
    except (TypeError, ValueError):
        texts = {None: None}
    for quantity, text in texts.items():
        if not isinstance(quantity, str) or not isinstance(text, str):
            raise UsageError(f"{field_name} is {short(given)}; give {what} for each quantity")
    check(texts)
    return tuple(sorted(texts.items()))


def require_own(name: str, value: object, data: str) -> None:
    """Refuse a field that only a table of your own can have."""
    if value and data in figure_names():
        raise UsageError(f"{name} is for tables of your own; leave it out, as {data!r} is an embedded table")


def read_interpretations(data: str, given: Sequence[str], several: Interpretations) -> tuple[str, ...]:
    """The interpretations that a spec lists, or those that it means by none."""
    allowed = available_interpretations(data, several)
    with field("interpretations"):
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise UsageError(f"interpretations is {short(given)}; give a list out of: {', '.join(allowed)}")
        if any(given.count(name) > 1 for name in given):
            raise UsageError(f"interpretations is {short(list(given), 80)}; list each name once")
    unknown = [name for name in given if name not in allowed]
    if (
        unknown
        and unknown[0] in COUNTINGS
        and data not in dataset_names()
        and not os.path.exists(data)
        and not is_url(data)
    ):
        # The name would be right for the embedded table that was probably meant.
        near = closest(data, dataset_names())
        hint = f"; did you mean {near!r}?" if near else ";"
        raise FieldError(
            f"data {short(data)} is neither an embedded table nor a file{hint} give one of "
            f"{', '.join(dataset_names())}, or a path that exists",
            ("data",),
        )
    if unknown:
        with field("interpretations"):
            raise unknown_name("interpretation", unknown[0], allowed)
    return tuple(given) or (allowed if several else allowed[:1])


def require_name(name: str, value: object, scheme: object, data: str) -> None:
    """Check one of `experiment`, `weights` and `cluster`: None, or the name of something in the table."""
    if value is None:
        return
    if not isinstance(value, str) or not value:
        raise UsageError(f"{name} is {short(value)}; give a name as text")
    if name == "cluster" and scheme != "cluster":
        raise UsageError(f"cluster is for scheme 'cluster', not {short(scheme)}; leave it out")
    if value not in BUILT_IN:
        require_own(name, value, data)
