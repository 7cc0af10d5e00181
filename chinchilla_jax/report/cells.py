"""A table as the page shows it: the text and the value of every cell, and the meanings of the columns."""

from __future__ import annotations

import dataclasses
import math
import operator
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.labels import with_symbols
from chinchilla_jax._util.text import flops_text, scaled_number, visible
from chinchilla_jax.report.numbers import exact, plain, shown, shown_column

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

# A longer table is folded until the reader opens it.
_FOLDED_ABOVE = 24
_STANDARD_ERROR_DIGITS = 2
_MARKUP = re.compile("[&<>'\"]")
_COUNTS = ("params", "tokens")  # read as "1.78B"

MEANINGS: Mapping[str, str] = {
    "condition": "what is changed, and by how much; files name it by its code",
    "family": "what is changed",
    "value": "size of the perturbation, in the unit of its family",
    "repeat": "number of the draw of a random perturbation",
    "params": "how the parameters of the models are counted",
    "parameter": with_symbols("parameter of the law L(N, D) = E + A N^-alpha + B D^-beta"),
    "estimate": "point fit on all runs",
    "standard_error": "standard deviation over the resamples that count",
    "low": "lower end of the interval",
    "high": "upper end of the interval",
    "median": "median over the resamples that count",
    "level": "share of the resamples inside the interval",
    "method": "how the interval was made",
    "n_converged": "resamples that count",
    "n_failed": "resamples that do not count, left out of every number",
    "n_repeats": "draws that the median is taken over",
    "n_missing": "draws without a resample that counts",
    "flops": "training compute C in FLOP",
    "doubt": "what makes the row hard to believe",
    "contains_unperturbed": "whether the interval contains the estimate of the unperturbed runs",
    "slope": "change of the transformed parameter per unit of the transformed size",
    "r_squared": "share of the variance that the line explains",
    "n_flops": "budgets",
    "n_not_finite": "budgets whose median is not finite",
    "slope_per_decade": "change of the median tokens per parameter per factor of ten in compute",
    "law": "loss that the fitted law predicts",
    "residual %": "observed loss over the law's, less 1",
    "leverage": "share of its own loss in the law's prediction of it, from 0 to 1",
    "icc": "intraclass correlation of the residuals",
    "status": "how the fits ended",
    "objective": "estimator",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column, with its cells.

    Attributes:
        name: its heading.
        numeric: whether it has numbers.
        meaning: what it shows; "" if the name says it.
        texts: its cells to read.
        values: its cells in the CSV.
    """

    name: str
    numeric: bool
    meaning: str
    texts: Sequence[str]
    values: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageTable:
    """One table of the page.

    Attributes:
        id: its anchor on the page, and the name of its CSV file.
        title: the heading.
        caption: what it shows.
        source: file in the study directory that its numbers come from; "" if none.
        columns: all of the same length.
        anchors: of each row, "" for none.
        links: where the first cell of each row leads, "" for nowhere.
        fold: whether it is folded however short it is.
    """

    id: str
    title: str
    caption: str
    source: str
    columns: tuple[Column, ...]
    anchors: Sequence[str]
    links: Sequence[str]
    fold: bool = False

    def __len__(self) -> int:
        """How many rows it has."""
        return len(self.anchors)

    @property
    def folded(self) -> bool:
        """Whether the reader opens it, as one that is too long."""
        return self.fold or len(self) > _FOLDED_ABOVE

    @property
    def body(self) -> Markup:
        """Its rows as HTML."""
        from markupsafe import Markup

        cells = [_html_cells(column) for column in self.columns]
        if any(self.links):
            cells[0] = _html_cells(self.columns[0], self.links)
        starts = [f'<tr id="{anchor}">' if anchor else "<tr>" for anchor in _escaped(self.anchors)]
        rows = zip(starts, *cells, strict=True)
        return Markup("".join([f"{''.join(row)}</tr>\n" for row in rows]))


def page_table(
    frame: pd.DataFrame,
    *,
    id: str,
    title: str,
    caption: str,
    source: str = "",
    anchors: Sequence[str] = (),
    links: Sequence[str] = (),
    texts: Mapping[str, Sequence[str]] = MappingProxyType({}),
    law: str = "",
    fold: bool = False,
) -> PageTable:
    """A DataFrame as a table of the page, without its index.

    Args:
        frame: columns of numbers, booleans or strings.
        id: see `PageTable`.
        title: see `PageTable`.
        caption: see `PageTable`.
        source: see `PageTable`.
        anchors: one per row; empty for none.
        texts: of the cells of a column, where they are not the numbers in four digits.
        links: where the first cell of each row leads; empty for nowhere.
        law: whose parameters these are, see `Facts.law`.
        fold: see `PageTable`.
    """
    meanings = {**MEANINGS, "parameter": f"parameter of the law {with_symbols(law)}"} if law else MEANINGS
    columns = []
    for name in frame.columns:
        values = [plain(value) for value in frame[name].tolist()]
        numeric = any(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        digits = _STANDARD_ERROR_DIGITS if name == "standard_error" else 4
        columns.append(
            Column(
                name=str(name),
                numeric=numeric,
                meaning=meanings.get(str(name), ""),
                texts=texts[name] if name in texts else _texts(str(name), values, digits),
                values=[exact(value) for value in values],
            )
        )
    nothing = [""] * len(frame)
    return PageTable(
        id=id,
        title=title,
        caption=caption,
        source=source,
        columns=tuple(columns),
        anchors=anchors or nothing,
        links=links or nothing,
        fold=fold,
    )


def _html_cells(column: Column, links: Sequence[str] = ()) -> list[str]:
    """The cells of a column as HTML, where they have links with these."""
    texts, values = _escaped(column.texts), _escaped(column.values)
    if links:
        pairs = zip(texts, _escaped(links), strict=True)
        texts = [f'<a href="#{to}">{text}</a>' if to else text for text, to in pairs]
    start = '<td class="n"' if column.numeric else "<td"
    same = map(operator.eq, column.texts, column.values)
    return [
        f"{start}>{text}</td>" if alike else f'{start} data-v="{value}">{text}</td>'
        for text, value, alike in zip(texts, values, same, strict=True)
    ]


def _escaped(texts: Sequence[str]) -> Sequence[str]:
    """Texts as HTML; most columns have nothing to escape, which one look at all of their cells tells."""
    every = "".join(texts)
    if every.isprintable() and not _MARKUP.search(every):
        return texts
    from markupsafe import escape

    return [str(escape(visible(text, "\n\t"))) for text in texts]


def _texts(name: str, values: Sequence[Any], digits: int) -> list[str]:
    """The cells of a column to read."""
    if name in _COUNTS and all(isinstance(value, float) for value in values):
        return [scaled_number(value) if math.isfinite(value) else shown(value) for value in values]
    if name == "flops" and all(isinstance(value, float) for value in values):
        return [flops_text(value) if math.isfinite(value) else shown(value) for value in values]
    if name == "parameter":
        return [with_symbols(str(value)) for value in values]
    return shown_column(values, digits)
