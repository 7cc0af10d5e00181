"""The fields of a spec about its law: its name or itself, and the columns of its further variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.text import list_text
from chinchilla_jax.datasets import figure_names
from chinchilla_jax.datasets.columns import read_columns
from chinchilla_jax.laws import Law, OwnLaw, read_law

_OWN = {
    "law": "name your own beside it: study SPEC --law {}",
    "objective": "fit by your own with fit or bootstrap and --objective {}",
}


def read_study_law(given: object, data: str) -> Law:
    """The built-in law of that name, or the one that `from_function` made.

    Raises:
        UsageError: it is neither, it is the name of code, or the table cannot have its further variables.
    """
    refuse_code("law", given)
    if not isinstance(given, str | OwnLaw):
        made = "what cj.laws.from_function returns"
        raise UsageError(f"law is {short(given)}; give the name of a built-in law, or {made}")
    law = read_law(given)
    if law.columns and data in figure_names():
        raise UsageError(
            f"law {law.name!r} needs {list_text(law.columns)} of every run, which {data!r} does not have; "
            "give a table of your own, or another law"
        )
    return law


def stored_law(given: Law | str) -> str | dict[str, Any]:
    """The law as study.json holds it."""
    return given.to_dict() if isinstance(given, OwnLaw) else str(given)


def refuse_code(what: str, given: object) -> None:
    """Refuse a name such as "mine.py:law", which only the command line of its user may execute.

    Raises:
        UsageError: it is one.
    """
    if isinstance(given, str) and ":" in given:
        raise UsageError(
            f"{what} {short(given)} names code, and a spec may come from someone else: it can name built-in "
            f"ones only; {_OWN[what].format(given)}"
        )


def columns_for(law: Law) -> Callable[[dict[str, str]], object]:
    """The check of a spec's `columns` under this law, whose further variables may be among them."""
    return lambda columns: read_columns(
        {name: column for name, column in columns.items() if name not in law.columns}
    )
