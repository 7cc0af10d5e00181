"""What was read of a table: which column is which quantity, in which unit, how many rows, what was left out.

A `Table` collects the record while it is read and reduced; `Runs.source` is the finished record. Rows are
left out of a table by `Table.leave_out`, and what else a reader should know is said by `Table.note`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.errors import short
from chinchilla_jax._util.labels import NATS
from chinchilla_jax._util.text import count_text
from chinchilla_jax.datasets.units import OWN_LOSS_UNITS


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Rows of a table that are not among the runs.

    Attributes:
        n: how many.
        why: what they have in common, as in "did not finish (column 'State')".
        rows: their names, as in "rows 3, 5 and 12 more"; "" where they have none.
    """

    n: int
    why: str
    rows: str = ""

    @property
    def sentence(self) -> str:
        """As in "left out 8 rows: did not finish (column 'State'); rows 3, 5, 6, 7, 9 and 3 more"."""
        return f"left out {count_text(self.n, 'row')}: {self.why}{f'; {self.rows}' if self.rows else ''}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What was read of a table.

    Attributes:
        columns: quantity ("params", "tokens", "flops", "loss", and what else the law predicts from) to the
            column that holds it, as spelled there. A missing one of the first three was computed from
            C = 6 N D.
        units: quantity to the unit of its column, as in "billions", where it is not a plain count, FLOP or
            nats per token. The values of the runs are converted, but for losses per byte or character
            of unknown bytes per token.
        n_rows: rows of the table, those left out included.
        left_out: rows that are not among the runs, by reason, in the order of leaving them out.
        notes: what else a reader should know, one sentence each.
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    n_rows: int = 0
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()

    def without(self, n: int, why: str, rows: str = "") -> Source:
        """The record after `n` more rows were left out; arguments as for `LeftOut`."""
        return dataclasses.replace(self, left_out=(*self.left_out, LeftOut(n=n, why=why, rows=rows)))

    def noted(self, note: str) -> Source:
        """The record with another note, a sentence without a full stop."""
        return dataclasses.replace(self, notes=(*self.notes, note))

    @property
    def loss_unit(self) -> str:
        """The unit of the losses of the runs: nats per token, or one that could not be converted."""
        unit = self.units.get("loss", "")
        return unit if unit in OWN_LOSS_UNITS else NATS

    @property
    def sentence(self) -> str:
        """The columns and what was computed, as in "params from 'N', loss from 'ppl' in perplexity; ..."."""
        named = ", ".join(
            f"{quantity} from {short(column)}{f' in {unit}' if (unit := self.units.get(quantity)) else ''}"
            for quantity, column in self.columns.items()
        )
        computed = [text for quantity, text in _COMPUTED.items() if quantity not in self.columns]
        return "; ".join([named, *computed])

    @property
    def lines(self) -> tuple[str, ...]:
        """The whole record, one sentence each."""
        if not self.columns:
            return ()
        kept = self.n_rows - sum(each.n for each in self.left_out)
        rows = f"{kept:,} of {count_text(self.n_rows, 'row')}" if self.left_out else ""
        read = f"read {self.sentence}{f'; {rows}' if rows else ''}"
        return (read, *(each.sentence for each in self.left_out), *self.notes)

    def as_dict(self) -> dict[str, Any]:
        """The record for JSON."""
        return {
            "columns": dict(self.columns),
            "units": dict(self.units),
            "n_rows": self.n_rows,
            "left_out": [dataclasses.asdict(each) for each in self.left_out],
            "notes": list(self.notes),
        }


_COMPUTED = {
    "params": "params = flops / (6 tokens)",
    "tokens": "tokens = flops / (6 params)",
    "flops": "flops = 6 params tokens",
}
