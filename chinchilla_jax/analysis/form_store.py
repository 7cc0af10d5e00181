"""The directory of a comparison of forms: the scores of every form in every split, one file each.

See `WorkDirectory`. Splits and forms can be added later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataWarning
from chinchilla_jax._util.record_differences import record_differences
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax._util.work_directory import WorkDirectory
from chinchilla_jax.analysis.splits import Split
from chinchilla_jax.analysis.work_records import ROUNDED, digest, file_stem, law_record
from chinchilla_jax.bootstrapping.scheme import scheme_record
from chinchilla_jax.solvers import Problem

if TYPE_CHECKING:
    from chinchilla_jax.bootstrapping.schemes import Scheme

Floats = NDArray[np.float64]

KIND = "forms"
_STEMS = r"\w+-\w+-[0-9a-f]{12}"


class FormParts:
    """The scores that a directory keeps.

    Args:
        out: a path or URL; new, empty, or of the same comparison with any splits and forms.
        record: what every score depends on.

    Raises:
        UsageError: the directory holds something else.
        DataError: its record is damaged.
        ChinchillaError: it cannot be written.
    """

    def __init__(self, out: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
        """Claim the directory."""
        self._work = WorkDirectory(out, KIND, {"kind": KIND, **record}, stems=_STEMS, rounded=ROUNDED)

    def take(self, split: Split, scheme: Scheme, problem: Problem, compute: Callable[[], Floats]) -> Floats:
        """The scores (1 + R,) of a form in a split: those that are kept, or computed now and kept.

        Warns:
            DataWarning: their file is damaged, or of another law of this name.
        """
        law = law_record(problem.law, problem.design)
        stem = _stem(split, scheme, problem.law.name)
        there = self._work.read(stem)
        if there is not None:
            table, fields = there
            if not record_differences(fields, law, ROUNDED):
                return np.asarray(table["score"].to_numpy(), dtype=np.float64)
            warn_user(f"law {problem.law.name} has changed since; it is compared again", DataWarning)
            self._work.remove(stem)
        found = compute()
        self._work.write(stem, {"score": found}, law)
        return found


def _stem(split: Split, scheme: Scheme, law: str) -> str:
    held = [list(split.masks.shape), np.packbits(split.masks).tobytes().hex()]
    return file_stem(split.kind, law, digest([law, scheme_record(scheme), *held]))
