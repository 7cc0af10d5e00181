"""The fields of a spec about its law: its name, and the columns of its further variables."""

from __future__ import annotations

from collections.abc import Callable

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.text import list_text
from chinchilla_jax.datasets import dataset_names
from chinchilla_jax.datasets.columns import read_columns
from chinchilla_jax.laws import Law, read_law


def read_study_law(given: object, data: str) -> Law:
    """The built-in law of that name.

    Raises:
        UsageError: it is none, it is code, or the table cannot have its further variables.
    """
    refuse_code("law", given)
    if not isinstance(given, str):
        raise UsageError(f"law is {short(given)}; give the name of a built-in law, as a study stores names")
    law = read_law(given)
    if law.columns and data in dataset_names():
        raise UsageError(
            f"law {given!r} needs {list_text(law.columns)} of every run, which {data!r} does not have; give "
            "a table of your own, or another law"
        )
    return law


def refuse_code(what: str, given: object) -> None:
    """Refuse a name such as "mine.py:law", which only the command line of its user may execute.

    Raises:
        UsageError: it is one.
    """
    if isinstance(given, str) and ":" in given:
        raise UsageError(
            f"{what} {short(given)} names code, and a spec may come from someone else: it can name built-in "
            f"ones only; fit your own with fit or bootstrap and --{what} {given}"
        )


def columns_for(law: Law) -> Callable[[dict[str, str]], object]:
    """The check of a spec's `columns` under this law, whose further variables may be among them."""
    return lambda columns: read_columns(
        {name: column for name, column in columns.items() if name not in law.columns}
    )
