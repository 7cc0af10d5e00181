"""What is known about an embedded table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What an embedded table holds and where its numbers come from.

    Attributes:
        name: the table's name.
        title: one line about the runs.
        n_rows: rows that the name stands for.
        source: where the numbers come from, in words.
        arxiv: identifiers of the papers on arXiv, measured first, transcribed last.
        columns: column name to meaning and unit.
        licence: of the data; "" for facts that were read off the figures of a paper.
        loss_unit: of its losses, where that cannot be converted; "" for nats per token.
        determines: which law the runs determine, in a few words.
        drop_highest_loss: runs of highest loss that `load_runs` leaves out unless told otherwise.
        notes: what to know before a fit.
        file: name of the file without ".csv"; that of the table, if empty.
        variables: columns that laws predict from beside params and tokens, which `load_runs` reads.
        where: condition on the rows of the file, as for `load_runs`; "" for all.
    """

    name: str
    title: str
    n_rows: int
    source: str
    arxiv: tuple[str, ...]
    columns: Mapping[str, str]
    licence: str = ""
    loss_unit: str = ""
    determines: str = ""
    drop_highest_loss: int = 0
    notes: str = ""
    file: str = ""
    where: str = ""
    variables: tuple[str, ...] = ()
