"""The fits of one condition as arrays: 41 bytes each, where a DataFrame takes 100."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.solvers.status import STATUS_NAMES

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def law_columns(tables: Iterable[pa.Table], count: int) -> tuple[ScalingLaw, NDArray[np.int8]]:
    """The laws and the status codes, (count,) each, in these tables of fits.

    Args:
        tables: of `count` fits together; each is read before the next is asked for.
        count: how many.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {name: np.empty(count) for name in PARAMETERS}
    codes, names, filled = np.empty(count, np.int8), pa.array(STATUS_NAMES), 0
    for table in tables:
        lanes = slice(filled, filled + table.num_rows)
        for name, values in columns.items():
            values[lanes] = table[name].to_numpy()
        codes[lanes] = pc.index_in(table["status"], value_set=names).to_numpy()
        filled = lanes.stop
    for values in columns.values():
        values.setflags(write=False)  # so that the laws need not copy them
    return ScalingLaw(**columns), codes
