"""What the commands print: aligned tables, and JSON without NaN."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from chinchilla_jax._util.text import plain_number

if TYPE_CHECKING:
    from chinchilla_jax import Runs, ScalingLaw
    from chinchilla_jax.laws.objectives import Objective

PARAMETERS = ("E", "A", "B", "alpha", "beta")


_quiet = False


@contextlib.contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """Print no text inside a `with` block, if `quiet`; JSON, which somebody asked for, is printed still."""
    global _quiet
    before, _quiet = _quiet, quiet
    try:
        yield
    finally:
        _quiet = before


def say(text: str = "") -> None:
    """A line on stdout."""
    if not _quiet:
        print(text)


def say_wrapped(name: str, text: str, indent: int = 15) -> None:
    """A name and what belongs to it, set below each other within the width of the screen."""
    width = max(_screen_width() or 80, 40)
    first, others = f"{name:<{indent}}", " " * indent
    say(textwrap.fill(text, width=width, initial_indent=first, subsequent_indent=others))


def say_sentence(text: str) -> None:
    """A sentence, in lines that fit the screen; in 80 columns where there is none."""
    for line in textwrap.wrap(text, width=max(_screen_width() or 80, 40)):
        say(line)


def say_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, keys: int = 1, digits: int = 6
) -> None:
    """An aligned table on stdout; plain in a pipe.

    On a terminal its header is bold, and a table wider than the screen is cut into blocks of columns, each
    beginning with the columns that say what the row is about.

    Args:
        header: names of the columns.
        rows: cells; numbers are set to the right, and written by `plain_number`.
        keys: how many columns, from the first, say what a row is about.
        digits: significant digits of numbers.
    """
    cells = [list(row) for row in rows]
    right = [all(isinstance(row[i], int | float) for row in cells) for i in range(len(header))]
    texts = [[cell if isinstance(cell, str) else plain_number(cell, digits) for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
    if _quiet:
        return
    for i, block in enumerate(_blocks(widths, _screen_width(), keys)):
        if i:
            print()
        for row in ([*header], *texts):
            aligned = (row[c].rjust(widths[c]) if right[c] else row[c].ljust(widths[c]) for c in block)
            line = "  ".join(aligned).rstrip()
            # typer.echo takes the style out again where stdout is not a terminal.
            typer.echo(typer.style(line, bold=True) if row == [*header] else line)


def _screen_width() -> int | None:
    """Columns of the terminal; None where stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout and sys.stdout.isatty() else None


def _blocks(widths: Sequence[int], screen: int | None, keys: int = 1) -> list[list[int]]:
    """Positions of columns, cut so that each block fits on the screen if its columns do; None is endless.

    Every block begins with the first `keys` columns.
    """
    repeated = list(range(min(keys, len(widths))))
    blocks: list[list[int]] = [repeated.copy()] if widths else []
    for column in range(len(repeated), len(widths)):
        taken = sum(widths[c] + 2 for c in blocks[-1])
        if screen is not None and taken + widths[column] > screen and len(blocks[-1]) > len(repeated):
            blocks.append(repeated.copy())
        blocks[-1].append(column)
    return blocks


def say_json(fields: Mapping[str, Any]) -> None:
    """One JSON object on stdout; NaN and infinities, which JSON has not, become null."""
    print(json.dumps(_plain(fields), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rows(columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """The columns of these names, row by row."""
    return list(zip(*(columns[name] for name in names), strict=True))


def records(columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The columns of these names as one JSON object per row."""
    return [dict(zip(names, row, strict=True)) for row in rows(columns, names)]


def law_fields(law: ScalingLaw) -> dict[str, float]:
    """The five parameters of a single law by name."""
    return {name: float(getattr(law, name)) for name in PARAMETERS}


def objective_fields(objective: Objective) -> dict[str, Any]:
    """What JSON says about what was minimised."""
    return {"objective": objective.name, "delta": objective.delta}


def runs_fields(runs: Runs) -> dict[str, Any]:
    """What JSON says about the data of a fit."""
    return {
        "name": runs.name,
        "params": runs.counting,
        "n_runs": len(runs),
        "hash": runs.data_hash,
    }


def runs_line(runs: Runs) -> str:
    """What a reader of the text is told about the data of a fit."""
    return f"{runs.name}, params {runs.counting}: {len(runs)} runs"


def status_line(counts: Mapping[str, int]) -> str:
    """Counts of the statuses that occur: "3,998 CONVERGED, 2 UNIDENTIFIED"."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none"
