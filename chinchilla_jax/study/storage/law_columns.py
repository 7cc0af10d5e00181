"""The fits of one condition as arrays: 41 bytes each, where a DataFrame takes 100."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.laws import Design
from chinchilla_jax.laws.natural_fits import laws_at
from chinchilla_jax.solvers.status import STATUS_NAMES

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from chinchilla_jax.laws import FittedLaws, Law

_OF_NONE = Design.of_units((0.0, 1.0, 0.0, 1.0))


def law_columns(
    tables: Iterable[pa.Table], count: int, law: Law
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int8]]:
    """The natural parameters and the status codes, (count,) each, in these tables of fits.

    Args:
        tables: of `count` fits together; each is read before the next is asked for.
        count: how many.
        law: what was fitted.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {name: np.empty(count) for name in law.parameters}
    codes, names, filled = np.empty(count, np.int8), pa.array(STATUS_NAMES), 0
    for table in tables:
        lanes = slice(filled, filled + table.num_rows)
        for name, values in columns.items():
            values[lanes] = table[name].to_numpy()
        codes[lanes] = pc.index_in(table["status"], value_set=names).to_numpy()
        filled = lanes.stop
    for values in columns.values():
        values.setflags(write=False)  # so that the laws need not copy them
    return columns, codes


def stored_laws(
    law: Law, natural: dict[str, NDArray[np.float64]] | dict[str, float], units: Sequence[float] | None
) -> FittedLaws:
    """The laws of these parameters that were fitted to runs in these units; None for any."""
    return laws_at(law, natural, _OF_NONE if units is None else Design.of_units(units))
