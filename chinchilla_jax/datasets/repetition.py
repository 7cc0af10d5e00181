"""Runs that went through their data several times, whose tokens are not all new.

Up to four epochs a repeated token is worth almost a new one (Muennighoff et al. 2023, arXiv:2305.16264);
after many it is worth nothing, and a law in tokens does not hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import short
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.columns import match_table
from chinchilla_jax.datasets.number_styles import read_numbers
from chinchilla_jax.datasets.quantities import Columns, complete, read_columns
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.units import Unit
from chinchilla_jax.datasets.variable_columns import count_column, law_option, unit_question, variable_unit
from chinchilla_jax.datasets.where import written

MOST_EPOCHS = 4.0
_EPOCHS = ("epochs", "epoch", "nepochs", "numepochs", "trainepochs", "numtrainepochs")
_UNIQUE = ("uniquetokens", "nuniquetokens", "numuniquetokens", "tokensunique")


def epochs_column(table: Table, variables: Mapping[str, str], known: bool) -> int | None:
    """Position of the epochs that say the unique tokens, where these are wanted and have no column; or None.

    Args:
        table: the table.
        variables: those that are wanted, with the name of the column of each.
        known: whether whatever variable the table has is wanted.
    """
    wanted = variables.get("unique_tokens") == "unique_tokens" or (known and "unique_tokens" not in variables)
    return table.find(*_EPOCHS) if wanted and table.find_count(*_UNIQUE) is None else None


def with_unique_tokens(table: Table, epochs: int, columns: Mapping[str, str]) -> tuple[Table, str]:
    """The table with a column of tokens / epochs, and its name; tokens of a first epoch are all new.

    Args:
        table: n rows that will be read.
        epochs: position of their number of epochs.
        columns: those that were named, by quantity.

    Raises:
        DataError: a cell of tokens, or of what they follow from, is no number.
    """
    tokens = complete(table, read_columns(table, match_table(table, columns)))["tokens"]
    numbers = read_numbers(table.column(epochs), Unit("tokens", "count")).values
    with np.errstate(all="ignore"):
        unique = tokens / np.maximum(numbers, 1.0)
    cells = [float(each) if np.isfinite(each) else None for each in unique]
    name, column, place = f"tokens / {table.header[epochs].strip()}", table.column, len(table.header)
    added = dataclasses.replace(
        table,
        header=(*table.header, name),
        column=lambda i: cells if i == place else column(i),
        reserved=table.reserved | {place},
    )
    return added, name


def note_repetition(table: Table, tokens: NDArray[np.float64], read: Columns) -> Table:
    """The table with a note of the rows that repeat their data more than four times, if it says so.

    Args:
        table: the table.
        tokens: seen by each run, (n,).
        read: the columns that were read.
    """
    by_epochs, unique = table.find(*_EPOCHS), table.find_count(*_UNIQUE)
    position = unique if by_epochs is None else by_epochs
    if position is None:
        return table
    if by_epochs is None:
        counts = count_column(table, "unique_tokens", position)
        if question := unit_question(table, "unique_tokens", position, counts):
            return table.note(question)
        numbers = counts.values
    else:
        numbers = read_numbers(table.column(position), Unit("tokens", "count")).values
    with np.errstate(all="ignore"):
        epochs = numbers if by_epochs is not None else tokens / numbers
    often = int(np.sum(epochs > MOST_EPOCHS))
    if not often:
        return table
    law = "repeated_data"
    taken = law_option(table, law, {} if unique is None else {"unique_tokens": unique})
    taken = f"use {taken}" + (" (unique_tokens is then tokens / epochs)" if unique is None else "")
    return table.note(
        f"{count_text(often, 'row')} repeat{'s' * (often == 1)} the data more than {MOST_EPOCHS:g} times "
        f"(column {short(table.header[position].strip())}), and a law in tokens takes them for new; to count "
        f"what they are worth, {taken}{_leaving_out(table, position, by_epochs, read)}"
    )


def _leaving_out(table: Table, position: int, by_epochs: int | None, read: Columns) -> str:
    """The option that leaves out the rows of more epochs; "" where no columns say these.

    A condition reads cells as they are, so that its limit is in the units of the two columns.
    """
    shown, most = written(table.header[position].strip()), MOST_EPOCHS
    if position != by_epochs:
        tokens = read.positions.get("tokens")
        if tokens is None:
            return ""
        shown = f"{written(table.header[tokens].strip())} / {shown}"
        most *= _factor(table, position) / (1.0 if _own_units(table, tokens) else read.units["tokens"].factor)
    quote = "'" if "`" in shown else '"'
    return f"; --where {quote}{shown} <= {most:g}{quote} leaves such rows out"


def _factor(table: Table, unique: int) -> float:
    own = count_column(table, "unique_tokens", unique).own_units
    return 1.0 if own else variable_unit(table, "unique_tokens", unique).factor


def _own_units(table: Table, position: int) -> bool:
    return read_numbers(table.column(position), Unit("tokens", "count")).own_units
