"""The directory of a breakdown: what every search found, one file each; see `WorkDirectory`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from chinchilla_jax._util.work_directory import WorkDirectory
from chinchilla_jax.analysis.breakdown_search import Found
from chinchilla_jax.analysis.miscount_paths import Path
from chinchilla_jax.analysis.work_records import ROUNDED

KIND = "breakdown"
_STEMS = r"[a-z_]+-[a-z]+-\d{4,}"


class SearchParts:
    """The searches that a directory keeps.

    Args:
        out: a path or URL; new, empty, or of the same breakdown with any families and draws.
        record: what is searched; `law` is compared up to rounding, the rest exactly.

    Raises:
        UsageError: the directory holds something else.
        DataError: its record is damaged.
        ChinchillaError: it cannot be written.
    """

    def __init__(self, out: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
        """Claim the directory."""
        self._work = WorkDirectory(
            out, KIND, {"kind": KIND, **record}, stems=_STEMS, rounded=("law", *ROUNDED)
        )

    def read(self, path: Path, repeat: int) -> Found | None:
        """What the search of this path and draw found; None if it is not kept.

        Warns:
            DataWarning: its file is damaged.
        """
        there = self._work.read(_stem(path, repeat))
        if there is None:
            return None
        table, fields = there
        criteria, own = np.array(table["criterion"].to_pylist()), table["own"].to_numpy()
        return Found(
            distances={name: float(distance) for name, distance in fields["distances"].items()},
            own={name: own[criteria == name] for name in fields["distances"]},
            searched_to=float(fields["searched_to"]),
            n_sizes=int(fields["n_sizes"]),
        )

    def write(self, path: Path, repeat: int, found: Found) -> None:
        """Keep what a search found."""
        counts = [len(own) for own in found.own.values()]
        columns = {
            "criterion": np.repeat(list(found.own), counts).tolist(),
            "own": np.concatenate(list(found.own.values())),
        }
        fields = {
            # JSON has no NaN, and the repr of a float is read back to the same bits.
            "distances": {name: repr(float(distance)) for name, distance in found.distances.items()},
            "searched_to": repr(float(found.searched_to)),
            "n_sizes": found.n_sizes,
        }
        self._work.write(_stem(path, repeat), columns, fields)


def _stem(path: Path, repeat: int) -> str:
    return f"{path.family}-{path.direction}-{repeat:04d}"
