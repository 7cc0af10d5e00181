"""The directory of a comparison of objectives: the rows of every objective, one file each.

See `WorkDirectory`. Objectives can be added later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.work_directory import WorkDirectory
from chinchilla_jax.analysis.work_records import ROUNDED, digest, file_stem, objective_record

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.laws import Objective

KIND = "objectives"
_STEMS = r"\w+-[0-9a-f]{12}"


class ObjectiveParts:
    """The rows that a directory keeps.

    Args:
        out: a path or URL; new, empty, or of the same comparison with any objectives.
        record: what every row depends on.

    Raises:
        UsageError: the directory holds something else.
        DataError: its record is damaged.
        ChinchillaError: it cannot be written.
    """

    def __init__(self, out: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
        """Claim the directory."""
        record = {"kind": KIND, **record}
        self._work = WorkDirectory(out, KIND, record, stems=_STEMS, rounded=ROUNDED)

    def read(self, objective: Objective) -> pd.DataFrame | None:
        """The rows of an objective; None if they are not kept.

        Warns:
            DataWarning: their file is damaged.
        """
        there = self._work.read(_stem(objective))
        return None if there is None else there[0].to_pandas()

    def write(self, objective: Objective, rows: pd.DataFrame) -> None:
        """Keep the rows of an objective."""
        columns = {str(name): rows[name].to_numpy() for name in rows}
        self._work.write(_stem(objective), columns, {})


def _stem(objective: Objective) -> str:
    return file_stem(objective.name, digest(objective_record(objective)))
