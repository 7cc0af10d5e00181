"""The directory of a coverage run: what it simulates, and the intervals of some data sets per file.

Files are written atomically, so every file is complete; an interrupted run resumes with the missing ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def claim(folder: Path, record: Mapping[str, Any]) -> Path:
    """The folder, if it is new or holds the same simulation (of any number of data sets).

    Args:
        folder: of the files.
        record: what is simulated; `law` and `correlation` are compared up to rounding, the rest exactly.

    Raises:
        UsageError: the folder holds something else.
    """
    path = folder / "coverage.json"
    if path.exists():
        differences = _differences(json.loads(path.read_text(encoding="utf-8")), record)
        if differences:
            raise UsageError(
                f"{folder} holds another coverage run ({'; '.join(differences)}); give another directory, or "
                "its settings"
            )
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no coverage run; give another directory")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return folder


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """How two simulations differ, such as "seed is 0 there and 1 here"."""
    told = []
    for name in dict.fromkeys((*here, *there)):
        old, new = there.get(name), here.get(name)
        # These come from a fit, which another machine may round differently.
        if name in ("law", "correlation") and _close(old, new):
            continue
        if old != new:
            told.append(f"{name.replace('_', ' ')} is {_brief(old)} there and {_brief(new)} here")
    # Another table has another law and correlation, which adds nothing.
    other_data = [text for text in told if text.startswith("data hash")]
    return [text for text in told if not (other_data and text.startswith(("law", "correlation")))]


def _close(old: Any, new: Any) -> bool:
    """Whether two lists of numbers are the same up to rounding."""
    lists = isinstance(old, list) and isinstance(new, list) and len(old) == len(new)
    return lists and np.allclose(old, new, rtol=1e-6, atol=1e-9)


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_brief, value)) + "]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value[:12] if isinstance(value, str) else str(value)


def read_part(path: Path, numbers: range) -> pd.DataFrame | None:
    """The rows of these data sets, if the file holds all of them."""
    import pandas as pd

    if not path.exists():
        return None
    rows = pd.read_parquet(path)
    wanted = rows[rows["dataset"].isin(numbers)]
    return wanted if wanted["dataset"].nunique() == len(numbers) else None


def write_part(path: Path, rows: pd.DataFrame) -> None:
    """Write the rows atomically."""
    with atomic_write(path) as stream:
        rows.to_parquet(stream, index=False)


def coverage_rows(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """The intervals of every data set in a directory of `coverage`.

    Raises:
        UsageError: there are none.
    """
    import pandas as pd

    parts: list[Path] = sorted(Path(folder).expanduser().glob("part-*.parquet"))
    if not parts:
        raise UsageError(f"{folder} holds no coverage run; give the directory that `coverage` wrote to")
    return pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
