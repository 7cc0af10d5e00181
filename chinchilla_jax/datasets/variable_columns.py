"""Columns that hold what a law predicts the loss from beside params and tokens: its further variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError, UsageError, closest, short
from chinchilla_jax._util.validation import require_type
from chinchilla_jax.datasets.meaning import QUANTITY_OF, count_unit, normalise, without_count_unit
from chinchilla_jax.datasets.number_styles import Numbers, read_numbers
from chinchilla_jax.datasets.possible import nearest_unit
from chinchilla_jax.datasets.ranges import is_possible, middle_of
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.units import COUNT_VARIABLES, Unit, read_unit

Variables = Sequence[str] | Mapping[str, str]


_COUNTS = ("unique_tokens", "params_active", "n_experts")
"""Variables that are positive; others, such as the share of idle experts, may be zero or negative."""


def read_variables(variables: object) -> dict[str, str]:
    """The variables that a caller asks for, and the column of each: names, or columns by name.

    Raises:
        UsageError: it is neither.
    """
    remedy = "give a list of names, such as ['unique_tokens'], or columns by name"
    if isinstance(variables, Mapping):
        return {str(name): str(column) for name, column in variables.items()}
    if isinstance(variables, str):
        raise UsageError(f"variables is {short(variables)}; {remedy}")
    require_type("variables", variables, Sequence, remedy)
    return {str(name): str(name) for name in variables}  # type: ignore[attr-defined]


def variable_columns(table: Table, variables: Mapping[str, str]) -> dict[str, NDArray[np.float64]]:
    """The numbers of these columns by variable, (n,) each, in plain units.

    A column is that of the same name, or else of the same letters and digits ("Unique Tokens"), with a unit
    where the variable counts ("unique tokens (B)").

    Raises:
        DataError: a cell is no finite number, or no run can have the counts in their unit.
        UsageError: the table has no such column, or several.
    """
    found = {}
    for name, position in variable_positions(table, variables).items():
        column = table.header[position].strip()
        numbers = count_column(table, name, position)
        values = numbers.values.copy()
        for row, problem in numbers.problems:
            if name not in _COUNTS and problem.kind in ("zero", "negative"):
                values[row] = float(str(table.column(position)[row]))
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            cell = table.column(position)[int(bad[0])]
            shown = "an empty cell" if cell is None or str(cell).strip() == "" else short(cell)
            raise DataError(
                f"{table.where}: {table.name_rows(bad.tolist())}, column {short(column)}: {shown} is no "
                f"number, and the law needs {name} of every run; fill it in, or leave such rows out (--where)"
            )
        if question := unit_question(table, name, position, numbers):
            raise DataError(f"{table.where}: {question}")
        found[name] = values
    return found


def variable_unit(table: Table, name: str, position: int) -> Unit:
    """The unit of a variable's column: that which its owner or its name states, or the plain one."""
    if name not in COUNT_VARIABLES:
        return Unit("tokens", "count")
    quantity = COUNT_VARIABLES[name]
    return table.units.get(name) or read_unit(quantity, count_unit(table.header[position]) or "count")


def count_column(table: Table, name: str, position: int) -> Numbers:
    """The numbers of a variable's column in plain units; where cells state their own, it holds."""
    unit = variable_unit(table, name, position)
    numbers = read_numbers(table.column(position), unit)
    if numbers.own_units or unit.is_plain:
        return numbers
    return dataclasses.replace(numbers, values=unit.to_plain(numbers.values))


def unit_question(table: Table, name: str, position: int, numbers: Numbers) -> str:
    """What to ask about the unit of a variable that counts; "" where its numbers are possible, or stated."""
    finite = numbers.values[np.isfinite(numbers.values)]
    if name not in COUNT_VARIABLES or name in table.units or numbers.own_units or not finite.size:
        return ""
    quantity, middle = COUNT_VARIABLES[name], middle_of(finite)
    if is_possible(quantity, middle):
        return ""
    likely = nearest_unit(quantity, middle)
    looks = "no run has" if likely is None else f"looks like {likely}"
    told = "" if likely is None else f"--unit {name}={likely} if so, or "
    column = short(table.header[position].strip())
    return (
        f"{name} (column {column}) has a median of {middle:.4g}, which {looks}; pass {told}"
        f"--unit {name}=count if it is right as it is (units={{...}} in load_runs and specs)"
    )


def known_variable_names() -> tuple[str, ...]:
    """The further variables of the built-in laws."""
    from chinchilla_jax.laws import LAWS

    return tuple(dict.fromkeys(name for kind in LAWS.values() for name in kind().columns))


def known_variables(table: Table) -> dict[str, str]:
    """Those of `known_variable_names` for which a column has a number in every row, with its name."""
    found = {}
    for name in known_variable_names():
        try:
            variable_columns(table, {name: name})
        except (DataError, UsageError):
            continue
        found[name] = name
    return found


def law_option(table: Table, law: str, positions: Mapping[str, int]) -> str:
    """The options that fit this law, whose variables are in the columns at these positions."""
    options = [f"--law {law}"]
    for name, position in positions.items():
        column = table.header[position].strip()
        if without_count_unit(column) != normalise(name):
            options.append(f'--column {name}="{column}"' if " " in column else f"--column {name}={column}")
    return " ".join(options)


def variable_positions(table: Table, variables: Mapping[str, str]) -> dict[str, int]:
    """The position of the column of each variable.

    Raises:
        UsageError: the table has no such column, or several.
    """
    return {name: _position(table, name, column) for name, column in variables.items()}


def _position(table: Table, name: str, column: str) -> int:
    names = [each.strip() for each in table.header]
    places = [place for place, each in enumerate(names) if each == column]
    if not places:
        places = [place for place, each in enumerate(names) if normalise(each) == normalise(column)]
    if not places and name in COUNT_VARIABLES:
        places = [place for place, each in enumerate(names) if without_count_unit(each) == normalise(column)]
    if len(places) == 1:
        return places[0]
    if places:
        raise UsageError(f"{table.where}: {len(places)} columns are named {short(column)}; rename one")
    # A column of params or tokens is read as such: it is no misspelling of another variable.
    near = closest(column, [each for each in names if normalise(each) not in QUANTITY_OF])
    has = f"did you mean {near!r}?" if near else f"the table has {', '.join(map(short, names[:8]))}"
    raise UsageError(
        f"{table.where}: the law needs {name} of every run, and no column is named {short(column)}; {has} "
        f"(variables={{{name!r}: COLUMN}} names one, --column {name}=COLUMN on the command line)"
    )
