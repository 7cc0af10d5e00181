"""How a result shows itself in a notebook: a line, a small table and a few sentences, as HTML.

No colours, scripts or fonts: it looks like the tables of the notebook, light or dark. All text is escaped,
since names of files, columns and rows are whatever their owner wrote, and its length is bounded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.labels import NATS, quantity_label, quantity_text
from chinchilla_jax._util.text import visible

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS, _MOST_NOTES = 12, 6
_MOST_CELL, _MOST_NOTE = 60, 400  # characters
_ALIGN = ("text-align: left", "text-align: right")


@dataclasses.dataclass(frozen=True)
class Card:
    """What is shown.

    Attributes:
        title: one line.
        header: of the table.
        rows: cells as texts, as many as the header has.
        notes: sentences below the table.
    """

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()


class ShownInNotebooks:
    """A result with a card, which Jupyter finds by the method `_repr_html_`."""

    def _card(self) -> Card:
        """What a reader in a notebook wants to know."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """The card as HTML."""
        return card_html(self._card())


def card_html(card: Card) -> str:
    """A card as HTML without styles of its own but for the alignment of cells."""
    parts = [f"<p><b>{_text(card.title, _MOST_NOTE)}</b></p>"]
    if card.rows:
        parts.append("<table><thead>" + _row(card.header, "th") + "</thead><tbody>")
        parts += [_row(row, "td") for row in card.rows[:_MOST_ROWS]]
        parts.append("</tbody></table>")
    left_out = len(card.rows) - _MOST_ROWS
    notes = [*([f"and {left_out:,} more rows"] if left_out > 0 else []), *card.notes[:_MOST_NOTES]]
    parts += [f"<p>{_text(note, _MOST_NOTE)}</p>" for note in notes]
    if len(card.notes) > _MOST_NOTES:
        parts.append(f"<p>and {len(card.notes) - _MOST_NOTES:,} more notes</p>")
    return "<div>" + "".join(parts) + "</div>"


def frame_card(
    title: str,
    frame: pd.DataFrame,
    columns: Mapping[str, str],
    notes: Sequence[str] = (),
    loss_unit: str = NATS,
) -> Card:
    """A card of some columns of a table.

    Args:
        title: one line.
        frame: the table.
        columns: for each column that is shown, the quantity whose format its numbers have, or "" for that in
            the column "quantity" of the same row.
        notes: sentences below.
        loss_unit: the unit of losses, `Runs.loss_unit`.
    """
    rows = [
        [_cell(record[name], kind or str(record["quantity"]), loss_unit) for name, kind in columns.items()]
        for record in frame.head(_MOST_ROWS).to_dict("records")
    ]
    rows += [[]] * (len(frame) - len(rows))  # not shown, but counted
    return Card(title, [quantity_label(name, loss_unit) for name in columns], rows, notes)


def parameters_text(parameters: Mapping[str, float]) -> str:
    """Parameters of a law on one line, four digits each: "E=1.817 A=477.8 alpha=0.3473"."""
    return " ".join(f"{name}={value:.4g}" for name, value in parameters.items())


def _cell(value: Any, kind: str, loss_unit: str) -> str:
    if isinstance(value, str):
        return quantity_label(value, loss_unit) if kind == "quantity" else value
    return quantity_text(kind, float(value))


def _row(cells: Sequence[str], tag: str) -> str:
    made = (
        f'<{tag} style="{_ALIGN[number > 0]}">{_text(cell, _MOST_CELL)}</{tag}>'
        for number, cell in enumerate(cells)
    )
    return f"<tr>{''.join(made)}</tr>"


def _text(text: str, most: int) -> str:
    from html import escape  # every result has a card, few are shown

    shown = visible(" ".join(str(text).split()))
    return escape(shown if len(shown) <= most else shown[: most - 3] + "...")
