"""What can be done for the end of a study while its chunks are computed, in a thread of its own."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from chinchilla_jax.study.result import Study, hold_tables
from chinchilla_jax.study.storage.tables import to_table
from chinchilla_jax.study.summarise import ConditionSummary, summary_tables

if TYPE_CHECKING:
    from chinchilla_jax._util.directories import Directory
    from chinchilla_jax.study.spec.study_spec import StudySpec


def _nothing(*_: object) -> None:
    pass


@dataclasses.dataclass(frozen=True, kw_only=True)
class Meanwhile:
    """What the caller will need afterwards. Errors are lost: the caller meets them again at the end.

    Attributes:
        prepare: called once chunks come in.
        with_first: called afterwards with a study of the first condition alone, where that is a single chunk
            which this session computes; see `own_inputs` for what makes it that of the finished study.
    """

    prepare: Callable[[], object] = _nothing
    with_first: Callable[[Study], object] = _nothing

    def run(self, before: Callable[[], object], first: Future[Callable[[], Study]]) -> None:
        """Do all of it, after something else; `first` makes that study, or is cancelled."""
        for task in (before, self.prepare, lambda: self.with_first(first.result()())):
            with contextlib.suppress(Exception):  # also that `first` is cancelled
                task()


def first_study(
    spec: StudySpec,
    directory: Directory,
    record: Mapping[str, Any],
    summary: ConditionSummary,
    notes: Sequence[Mapping[str, str]],
) -> Study:
    """The study of its first condition alone, as if it were finished.

    Args:
        spec: of the whole study.
        directory: which holds the runs and the chunk.
        record: of study.json, with the checksum of the runs and the part of the condition.
        summary: of the condition.
        notes: what is said besides the summary's.
    """
    name = summary.condition.id
    of_condition = [{"condition": name, "note": note} for note in summary.records[0].notes]
    study = Study(directory, {**record, "notes": [*of_condition, *notes]})
    tables = summary_tables(spec, [summary]).items()
    hold_tables(study, {kind: to_table(kind, columns, spec.model.parameters) for kind, columns in tables})
    return study
