"""What the commands print: lines, aligned tables, progress, and JSON without NaN.

Names come out of files: characters that do not print are escaped on the way to the terminal.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.progress_bar import announce, resolve, silenced
from chinchilla_jax._util.text import counts_text, visible
from chinchilla_jax.cli.cells import cell_texts, interval_columns
from chinchilla_jax.cli.forecast import forecast_line

if TYPE_CHECKING:
    from chinchilla_jax import Runs
    from chinchilla_jax.laws import Law, Objective

_NUMBER = re.compile(r"-|-?(nan|inf)|-?[\d.,]+(e[+-]?\d+)?[KMBT]?")
_PAGE_WIDTH = 100  # of tables where stdout is no terminal
_quiet = False
_collected: list[Mapping[str, Any]] | None = None
_figures: list[str] | None = None


@contextlib.contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """Inside a `with` block print no text and show no progress, if `quiet`; JSON is still printed."""
    global _quiet
    before, _quiet = _quiet, quiet
    try:
        with silenced(quiet):
            yield
    finally:
        _quiet = before


@contextlib.contextmanager
def progress(
    label: str, total: int, unit: str = "fits", *, laws: Sequence[Law], n_runs: int
) -> Iterator[Callable[[int], None]]:
    """On a terminal, say what long work will be and show its progress inside a `with` block.

    Args:
        label: what the work is, as in `forecast`.
        total: units of work.
        unit: what they are.
        laws: that are fitted.
        n_runs: of the table.

    Yields:
        A function to call with the number of units just finished.
    """
    line = forecast_line(label, total, unit, laws, n_runs)
    if line:
        announce(line)
    with resolve("auto") as bar:
        bar.begin(label, total, unit)
        yield bar.advance


@contextlib.contextmanager
def refusing(as_json: bool, answer: str) -> Iterator[None]:
    """Where a fit gives no estimate inside a `with` block, say so in JSON too: the answer is null.

    Args:
        as_json: whether JSON is wanted.
        answer: the field of the command's answer.
    """
    from chinchilla_jax._util.errors import NoEstimateError

    try:
        yield
    except NoEstimateError as error:
        if as_json:
            print_json({answer: None, "warnings": [str(error)]})
        raise


def echo(text: str = "") -> None:
    """A line on stdout."""
    if not _quiet:
        print(visible(text, "\n"))


def print_field(name: str, text: str, indent: int = 15) -> None:
    """A name and its text beside it, wrapped to the width of the terminal."""
    first, others = f"{visible(name):<{indent}}", " " * indent
    echo(textwrap.fill(text, width=_text_width(), initial_indent=first, subsequent_indent=others))


def print_paragraph(text: str) -> None:
    """Text wrapped to the width of the terminal; to 80 columns if stdout is none."""
    for line in textwrap.wrap(text, width=_text_width()):
        echo(line)


def print_sentence(clause: str) -> None:
    """A clause as a sentence of its own: with a capital and a full stop, wrapped."""
    print_paragraph(f"{clause[:1].upper()}{clause[1:]}.")


def print_warnings(warnings: Iterable[str]) -> None:
    """Each warning of a result as a paragraph of its own, after the numbers that it concerns."""
    for warning in warnings:
        echo()
        print_paragraph(f"warning: {warning}")


def print_boundary(both: Any, boundary: str) -> None:
    """Intervals with and without the resamples whose best E is 0, after an empty line.

    Args:
        both: quantity, flops, estimate, low, high, other_low, other_high; a DataFrame or columns. None prints
            nothing.
        boundary: the choice of low and high; the others are of the other one.
    """
    if both is None:
        return
    echo()
    other = "without" if boundary == "keep" else "with"
    echo(f"intervals as above, and {other} the resamples whose best E is 0")
    header = ("quantity", "flops", "estimate", "low", "high", f"low {other}", f"high {other}")
    names = ("quantity", "flops", "estimate", "low", "high", "other_low", "other_high")
    # An exponent has no budget.
    cells = [
        ("-" if isinstance(cell, float) and math.isnan(cell) else cell for cell in row)
        for row in rows(both, names)
    ]
    print_table(header, [list(row) for row in cells], keys=2)


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    keys: int = 1,
    digits: int = 6,
    doubts: Sequence[str] = (),
    quantities: Sequence[str] | None = None,
    intervals: Sequence[Sequence[int]] | None = None,
) -> None:
    """An aligned table on stdout; its cells are written by `cell_texts`.

    A table wider than the screen, or than a hundred columns where stdout is none, is cut into blocks of
    columns, each beginning with the columns that identify the row. On a terminal the header is bold.

    Args:
        header: names of the columns.
        rows: cells; columns of numbers are aligned to the right.
        keys: how many of the first columns identify a row.
        digits: significant digits of numbers without an interval.
        doubts: about each row ("" for none), as from `planning.plausibility`; a last column if there is one.
            Those about several rows, and all where the table is too wide, are numbered there and said once
            under the table.
        quantities: what the intervals of each row are of; None goes by the names of the columns, and by the
            column "quantity" where there is one.
        intervals: the columns of each estimate and its interval; None goes by their names.
    """
    cells = [list(row) for row in rows]
    groups = interval_columns(header, keys) if intervals is None else intervals
    texts = cell_texts(header, cells, groups, digits=digits, quantities=quantities)
    right = [all(map(_is_number, column)) for column in zip(*texts, strict=True)] or [False] * len(header)
    header = [visible(name) for name in header]
    screen, numbered = _screen_width() or _PAGE_WIDTH, _repeated(doubts)
    if any(doubts):
        header, right = [*header, "doubt"], [*right, False]
        alone = [[*row, doubt] for row, doubt in zip(texts, _numbers(doubts, numbered), strict=True)]
        if sum(_widths(header, alone)) + 2 * (len(header) - 1) > screen:
            numbered = list(filter(None, dict.fromkeys(doubts)))
        texts = [[*row, doubt] for row, doubt in zip(texts, _numbers(doubts, numbered), strict=True)]
    widths = _widths(header, texts)
    if _quiet:
        return
    blocks = _blocks(widths, screen, keys, groups)
    if not _screen_width() and any(sum(widths[c] + 2 for c in block) - 2 > screen for block in blocks):
        blocks = [list(range(len(header)))]  # what does not fit anyway is easier to read whole
    for i, block in enumerate(blocks):
        if i:
            print()
        for row in ([*header], *texts):
            aligned = (row[c].rjust(widths[c]) if right[c] else row[c].ljust(widths[c]) for c in block)
            line = "  ".join(aligned).rstrip()
            # click.echo removes the style if stdout is not a terminal.
            click.echo(click.style(line, bold=True) if row == [*header] else line)
    for number, doubt in enumerate(numbered, 1):
        print_paragraph(f"[{number}] {doubt}")


def _repeated(doubts: Sequence[str]) -> list[str]:
    """Doubts about several rows, which are said once, under the table."""
    return [doubt for doubt in dict.fromkeys(doubts) if doubt and doubts.count(doubt) > 1]


def _numbers(doubts: Sequence[str], numbered: Sequence[str]) -> list[str]:
    """What the column of doubts shows: those that are said under the table by their number."""
    return [f"[{numbered.index(each) + 1}]" if each in numbered else visible(each) for each in doubts]


def _widths(header: Sequence[str], texts: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(header, *texts, strict=True)]


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _screen_width() -> int | None:
    """Columns of the terminal; None if stdout is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout and sys.stdout.isatty() else None


def _text_width() -> int:
    return max(_screen_width() or 80, 40)


def _blocks(
    widths: Sequence[int], screen: int, keys: int, groups: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Positions of columns, cut so that each block fits on the screen if its columns do.

    Every block begins with the first `keys` columns; an estimate and its interval stay together if they fit.
    """
    repeated = list(range(min(keys, len(widths))))
    blocks: list[list[int]] = [repeated.copy()] if widths else []

    def width(columns: Sequence[int]) -> int:
        return sum(widths[column] + 2 for column in columns) - 2

    of_group = {column: group for group in groups for column in group}
    for column in range(len(repeated), len(widths)):
        group = of_group.get(column, [column])
        whole = group if column == group[0] and width([*repeated, *group]) <= screen else [column]
        if width([*blocks[-1], *whole]) > screen and len(blocks[-1]) > len(repeated):
            blocks.append(repeated.copy())
        blocks[-1].append(column)
    return blocks


@contextlib.contextmanager
def collecting() -> Iterator[list[Mapping[str, Any]]]:
    """Inside a `with` block keep what `print_json` is given, for an object that holds it."""
    global _collected
    before, _collected = _collected, []
    try:
        yield _collected
    finally:
        _collected = before


@contextlib.contextmanager
def files_in_json(files: list[str] | None) -> Iterator[None]:
    """Inside a `with` block `print_json` adds these files as "figures", unless they are None."""
    global _figures
    before, _figures = _figures, files
    try:
        yield
    finally:
        _figures = before


def print_json(fields: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    if _figures is not None:
        fields = {**fields, "figures": list(_figures)}
    if _collected is not None:
        _collected.append(fields)
        return
    print(json_text(fields))


def json_text(fields: Mapping[str, Any]) -> str:
    """Fields as a JSON object; NaN and infinities, which JSON lacks, become null."""
    # In ASCII, so that control characters are escapes; JSON leaves DEL as it is.
    return json.dumps(_plain(fields), indent=2, allow_nan=False).replace("\x7f", "\\u007f")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rows(table: Any, names: Sequence[str] | None = None) -> list[tuple[Any, ...]]:
    """Rows of a table: a DataFrame, or a dictionary of columns.

    Args:
        table: the table.
        names: the columns wanted, in order; None for all.
    """
    return list(zip(*(table[name] for name in names or list(table)), strict=True))


def records(table: Any, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a table as one dictionary each, for JSON; arguments as for `rows`."""
    names = list(names or table)
    return [dict(zip(names, row, strict=True)) for row in rows(table, names)]


def optional_records(table: Any) -> list[dict[str, Any]] | None:
    """`records` of a table that may be None."""
    return None if table is None else records(table)


def doubtful_records(
    table: Any, doubts: Sequence[str], names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """`records` with the doubt about each row, null for none."""
    return [row | {"doubt": doubt or None} for row, doubt in zip(records(table, names), doubts, strict=True)]


def objective_fields(objective: Objective) -> dict[str, Any]:
    """An objective for JSON."""
    from chinchilla_jax.laws.objectives import settings

    return settings(objective)


def objective_text(objective: Objective, weights: str | None = None) -> str:
    """An objective in a line: "huber, delta 0.001, weights from trust"; "delta 0.0105 (automatic)"."""
    from chinchilla_jax.laws.objectives import is_unresolved

    fields = objective_fields(objective)
    name = str(fields.pop("objective"))
    automatic = fields.pop("delta_automatic", False) or fields.pop("scale_automatic", False)
    numbers = [
        f"{field} {value if isinstance(value, str) else f'{value:g}'}" for field, value in fields.items()
    ]
    if automatic and not is_unresolved(objective):
        numbers[0] += " (automatic)"
    return ", ".join([name, *numbers, *([f"weights from {weights}"] if weights else [])])


def runs_fields(runs: Runs) -> dict[str, Any]:
    """The data of a fit for JSON."""
    return {
        "name": runs.name,
        "params": runs.counting,
        "n_runs": len(runs),
        "hash": runs.data_hash,
        "read": runs.source.as_dict(),
    }


def runs_line(runs: Runs) -> str:
    """The data of a fit in a line: "chinchilla, params as_plotted: 240 runs"."""
    from chinchilla_jax._util.labels import COUNTING_NAMES

    # A name of the user's own may be that of a loss.
    how = f"params {runs.counting}" if runs.counting in COUNTING_NAMES else f"read as {runs.counting}"
    return f"{runs.name}, {how}: {len(runs)} runs"


def print_runs(runs: Runs, *, before: str = "", after: str = "") -> None:
    """The data of a fit in a line, and for a user's own table what was read of it.

    Args:
        runs: the runs.
        before: what to put before the first line.
        after: what to add to it.
    """
    echo(f"{before}{runs_line(runs)}{after}")
    for line in runs.read_lines:
        print_paragraph(line)


def status_line(counts: Mapping[str, int]) -> str:
    """Counts of the statuses that occur, as `counts_text`; "none" where none does."""
    return counts_text(counts) or "none"
