"""Arguments of a compiled call as shapes: for compiling and lowering where there are no numbers yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from chinchilla_jax.solvers.base import MOST_RANKS
from chinchilla_jax.solvers.jax_newton.rounds import Limits, Requests, Tables

if TYPE_CHECKING:
    from chinchilla_jax.laws.law import Law


def arguments(
    law: type[Law], constants: int, n_runs: int, lanes: int, rows: int, conditions: int, sharding: Any = None
) -> tuple[Tables, Requests, Limits]:
    """What `judged.fitted` takes on one device.

    Args:
        law: what is fitted.
        constants: numbers that `Law.constants` has.
        n_runs: runs of every data set.
        lanes: of the call.
        rows: of weights.
        conditions: data sets.
        sharding: of a device to compile for; None for the default.
    """
    size = len(law.parameters)

    def shape(*of: int, kind: Any = np.float64) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(of, kind, sharding=sharding)

    whole = np.int32
    tables = Tables(
        places=tuple(shape(conditions, n_runs) for _ in law.variables),
        log_loss=shape(conditions, n_runs),
        constants=shape(conditions, constants),
        unit=shape(conditions),
        weights=shape(rows, n_runs, kind=np.uint8),
        first=shape(rows, kind=whole),
        total=shape(rows),
        n_runs=shape(),
        doubtful=shape(conditions, kind=whole),
    )
    requests = Requests(
        condition=shape(lanes, kind=whole),
        row=shape(lanes, kind=whole),
        starts=shape(MOST_RANKS, lanes, size + 1),
        down=shape(lanes),
        up=shape(lanes),
        n_lanes=shape(1, kind=whole),
    )
    return tables, requests, Limits(shape(), *(shape(kind=whole) for _ in range(3)))
