"""runs.parquet: the unperturbed runs of a study, so that its directory is enough to look at what was fitted.

| column            | contents                                                    |
|-------------------|-------------------------------------------------------------|
| row               | name of the run in its table; absent where it has none       |
| params ... loss   | plain counts, FLOP, nats per token                          |
| weight            | as in the table; absent where all runs count the same       |
| variables.NAME    | what else a law may predict from                            |
| groups.NAME       | columns that say which runs belong together                 |
| labels.NAME       | further columns with few different cells                    |

What a `Runs` holds beside its columns is in the file's metadata, as JSON.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax.datasets import Runs
from chinchilla_jax.datasets.provenance import LeftOut, Source
from chinchilla_jax.datasets.runs import QUANTITIES
from chinchilla_jax.study.storage.tables import parse_table, table_bytes, torn

if TYPE_CHECKING:
    from numpy.typing import NDArray

_METADATA = b"chinchilla_jax"
_PLAIN = ("name", "counting", "row_word", "centre", "derived")
_FURTHER = ("variables", "groups", "labels")


def runs_bytes(runs: Runs, weights: NDArray[np.float64] | None = None) -> bytes:
    """The file of these runs and their weights; the same runs give the same bytes."""
    import pyarrow as pa

    columns: dict[str, Any] = {} if runs.rows is None else {"row": runs.rows}
    columns |= {name: getattr(runs, name) for name in QUANTITIES}
    columns |= {} if weights is None else {"weight": weights}
    columns |= {f"{kind}.{name}": each for kind in _FURTHER for name, each in getattr(runs, kind).items()}
    arrays = [pa.array(each.tolist() if each.dtype.kind == "U" else each) for each in columns.values()]
    about = {name: getattr(runs, name) for name in _PLAIN} | {"source": dataclasses.asdict(runs.source)}
    table = pa.Table.from_arrays(arrays, names=list(columns))
    return table_bytes(table.replace_schema_metadata({_METADATA: json.dumps(about)}))


def parse_runs(where: str, content: bytes) -> tuple[Runs, NDArray[np.float64] | None]:
    """The runs in a file of `runs_bytes`, and their weights.

    Raises:
        DataError: torn, or not such a file; the message names it as `where`.
    """
    table = parse_table(where, content)
    try:
        about = json.loads((table.schema.metadata or {})[_METADATA])
        source = about.pop("source")
        left_out = tuple(LeftOut(**each) for each in source.pop("left_out"))
        notes = tuple(source.pop("notes"))
        columns: dict[str, Any] = {name: np.array(table[name].to_pylist()) for name in table.column_names}
        further: dict[str, Any] = {
            kind: {
                name.removeprefix(f"{kind}."): each
                for name, each in columns.items()
                if name.startswith(f"{kind}.")
            }
            for kind in _FURTHER
        }
        runs = Runs(
            **{name: columns[name] for name in QUANTITIES},
            **further,
            **about,
            rows=columns.get("row"),
            source=Source(**source, left_out=left_out, notes=notes),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ChinchillaError) as error:
        raise torn(where, ValueError(f"not runs: {error}")) from None
    return runs, columns.get("weight")
