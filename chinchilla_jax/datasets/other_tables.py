"""Tables that hold something other than runs, and the command that takes them."""

from __future__ import annotations

from collections.abc import Mapping

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax.datasets.cells import Problem, parse_cell
from chinchilla_jax.datasets.meaning import meaning_of, normalise, quantity_of
from chinchilla_jax.datasets.table import Table

# As `normalise` writes them.
_MODEL_NAMES = frozenset({"model", "modelname", "name"})
_DIMENSIONS = frozenset(
    {
        *("dmodel", "modeldim", "width", "hiddensize", "nembd", "dff", "ffwsize", "intermediatesize"),
        *("kvsize", "headdim", "nheads", "heads", "nhead", "numattentionheads", "nlayers", "layers", "depth"),
        *("nlayer", "numhiddenlayers", "vocabsize", "vocab"),
    }
)  # fmt: skip


def require_runs(table: Table, columns: Mapping[str, str]) -> None:
    """Refuse a table that certainly holds models or architectures in place of runs.

    Args:
        table: the table.
        columns: quantity to the column that holds it, where it was told; then there are runs.

    Raises:
        DataError: it holds something else; the line names the command that takes it.
    """
    found = {quantity_of(name) for name in table.header} - {None}
    if columns or "loss" in found:
        return
    names = [normalise(name) for name in table.header]
    known = len({"params", "tokens", "flops"} & found)
    if known >= 2 and _MODEL_NAMES & set(names) and not _has_other_numbers(table):
        raise DataError(
            f"{table.where}: a list of models, without a loss; chinchilla-jax plan --models {table.where} "
            "places them against a law, and a fit needs the loss of each run"
        )
    others = [meaning_of(name) for name in table.header if normalise(name) not in _DIMENSIONS]
    counts = all(meaning is not None and meaning.quantity == "params" for meaning in others)
    if counts and len(_DIMENSIONS & set(names)) >= 2:
        listed = ", ".join(short(name) for name in table.header[:4])
        raise DataError(
            f"{table.where}: architectures ({listed}), not runs; chinchilla-jax flops counts the parameters "
            "and FLOP of one, and a fit needs the params, tokens and loss of each run"
        )


def _has_other_numbers(table: Table) -> bool:
    """Whether a column without a known name holds numbers: it could be the loss."""
    for position, name in enumerate(table.header):
        if quantity_of(name) is None and normalise(name) not in _MODEL_NAMES:
            cells = [parse_cell(cell, "loss") for cell in table.column(position)]
            if any(not isinstance(cell, Problem) for cell in cells):
                return True
    return False
