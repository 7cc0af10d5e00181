"""Mixtures of experts in a table that is about to be fitted as if all its runs were dense.

| column            | points to mixtures where | law                                               |
|-------------------|--------------------------|---------------------------------------------------|
| number of experts | above 1                  | joint_experts; routed_experts at one token count  |
| sparsity          | above 0                  | sparse_experts                                    |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import short
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.number_styles import read_numbers
from chinchilla_jax.datasets.table import Table
from chinchilla_jax.datasets.units import Unit
from chinchilla_jax.datasets.variable_columns import law_option

_EXPERTS = ("nexperts", "numexperts", "numberofexperts", "experts", "expertcount", "nroutedexperts")
_SPARSITY = ("sparsity", "moesparsity", "expertsparsity")
_ACTIVE = ("paramsactive", "activeparams", "nactive", "activeparameters", "numactiveparams")


def note_experts(table: Table, tokens: NDArray[np.float64]) -> Table:
    """The table with a note of its mixtures of experts, if a column names them.

    Args:
        table: the table.
        tokens: seen by each run, (n,).
    """
    experts = _above(table, _EXPERTS, 1.0)
    position, mixtures, variable = *experts, "n_experts"
    if not mixtures:
        position, mixtures, variable = *_above(table, _SPARSITY, 0.0), "sparsity"
    if position is None or not mixtures:
        return table
    positions, lacking = {variable: position}, ""
    law = "sparse_experts"
    if variable == "n_experts":
        law = "routed_experts" if np.ptp(tokens) == 0 else "joint_experts"
        active = table.find_count(*_ACTIVE)
        if active is None:
            lacking = "add a column params_active and use "
        else:
            positions["params_active"] = active
    name = short(table.header[position].strip())
    return table.note(
        f"{count_text(mixtures, 'row')} {'is a mixture' if mixtures == 1 else 'are mixtures'} of experts "
        f"(column {name}), and a law in parameters and tokens takes all rows for dense; to count the "
        f"experts, {lacking}{law_option(table, law, positions)}"
    )


def _above(table: Table, names: tuple[str, ...], least: float) -> tuple[int | None, int]:
    """The position of the first column of these names, and in how many rows it is above `least`."""
    position = table.find(*names)
    if position is None:
        return None, 0
    with np.errstate(invalid="ignore"):
        numbers = read_numbers(table.column(position), Unit("tokens", "count")).values
        return position, int(np.sum(numbers > least))
