"""The directory of a coverage run: what it simulates, and the intervals of some data sets per file.

It is a `WorkDirectory`: a file is whole or not there, and an interrupted run resumes with the missing ones.
Part <first>-<count> holds the data sets from <first> on; version 0.1 wrote part-<first>.parquet, without a
checksum.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.directories import Directory, open_directory
from chinchilla_jax._util.errors import DataError, DataWarning, UsageError
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax._util.work_directory import WorkDirectory, parts_in, read_part
from chinchilla_jax.analysis.work_records import ROUNDED

if TYPE_CHECKING:
    import pandas as pd

KIND = "coverage"
_STEMS = r"part-\d{6,}-\d+"
_UNSEALED = re.compile(r"part-(\d{6})\.parquet")


class CoverageParts:
    """The data sets that a directory keeps.

    Args:
        out: a path or URL; new, empty, or of the same simulation with any number of data sets.
        record: what is simulated; `law`, `correlation` and what the law predicts are compared up to rounding,
            the rest exactly.
        rows: of one data set.

    Raises:
        UsageError: the directory holds something else.
        DataError: its record is damaged.
        ChinchillaError: it cannot be written.
    """

    def __init__(self, out: str | os.PathLike[str], record: Mapping[str, Any], rows: int) -> None:
        """Claim the directory."""
        self._work = WorkDirectory(out, KIND, record, stems=_STEMS, rounded=("law", "correlation", *ROUNDED))
        self._rows = rows

    def read(self, numbers: range) -> tuple[pd.DataFrame, dict[int, str]] | None:
        """The rows of those of these data sets that are kept, and their schemes; None if there are none.

        Warns:
            DataWarning: a part is damaged; its data sets are not among them.
        """
        for stem in _longest_first(self._work.stems()).get(numbers.start, ()):
            found = self._work.read(stem)
            if found is not None:
                table, fields = found
                schemes = {int(number): scheme for number, scheme in fields["schemes"].items()}
                return self._of(table.to_pandas(), numbers), schemes
        return None if self._work.sealed else self._read_unsealed(numbers)

    def write(self, numbers: range, rows: pd.DataFrame, schemes: Mapping[int, str]) -> None:
        """Keep the rows of these data sets, in place of those of the first of them alone."""
        columns = {str(name): rows[name].to_numpy() for name in rows}
        kept = {str(number): schemes[number] for number in numbers if number in schemes}
        stem = f"part-{numbers.start:06d}-{len(numbers)}"
        self._work.write(stem, columns, {"schemes": kept})
        for other in _longest_first(self._work.stems()).get(numbers.start, ()):
            if other != stem:
                self._work.remove(other)
        with self._work.one_line_errors():
            self._work.directory.remove(_unsealed_name(numbers.start))

    def _of(self, rows: pd.DataFrame, numbers: range) -> pd.DataFrame:
        return rows[rows["dataset"].isin(numbers)]

    def _read_unsealed(self, numbers: range) -> tuple[pd.DataFrame, dict[int, str]] | None:
        directory = self._work.directory
        name = _unsealed_name(numbers.start)
        if not directory.exists(name):
            return None
        rows = _unsealed(directory, name)
        if rows is not None and (rows["dataset"].value_counts() == self._rows).all():
            return self._of(rows, numbers), {}
        warn_user(f"{directory.at(name)}: damaged, will be recomputed", DataWarning)
        return None


def coverage_rows(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """The intervals of every data set in a directory of `coverage`.

    Raises:
        UsageError: there are none.
        DataError: a file is damaged.
    """
    import pandas as pd

    directory = open_directory(folder)
    parts = parts_in(directory, _STEMS)
    found = {stem: name for stem, (name, _) in parts.files().items()}
    tables = {}
    for name in sorted(directory.entries()):
        match = _UNSEALED.fullmatch(name)
        if match:
            rows = _unsealed(directory, name)
            if rows is None:
                raise DataError(f"{directory.at(name)}: damaged; run the same command again to recompute it")
            tables[int(match[1])] = rows
    for first, stems in _longest_first(found).items():
        tables[first] = read_part(parts, found[stems[0]])[0].to_pandas()
    if not tables:
        raise UsageError(f"{folder} holds no coverage run; give the directory that `coverage` wrote to")
    return pd.concat([tables[first] for first in sorted(tables)], ignore_index=True)


def _unsealed_name(first: int) -> str:
    """The file of version 0.1."""
    return f"part-{first:06d}.parquet"


def _unsealed(directory: Directory, name: str) -> pd.DataFrame | None:
    """The rows of a file without a checksum; None if it cannot be read."""
    import pandas as pd

    try:
        rows = pd.read_parquet(io.BytesIO(directory.read(name)))
        return rows if rows["dataset"].dtype.kind == "i" else None
    except Exception:  # whatever a reader says about bytes that are no table
        return None


def _longest_first(stems: Any) -> dict[int, list[str]]:
    """Stems by the first data set of the part, those of most data sets first."""
    found: dict[int, list[tuple[int, str]]] = {}
    for stem in stems:
        _, first, count = stem.split("-")
        found.setdefault(int(first), []).append((int(count), stem))
    return {first: [stem for _, stem in sorted(each, reverse=True)] for first, each in found.items()}
