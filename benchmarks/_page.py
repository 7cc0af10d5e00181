"""What run_all.py has measured, as a table in text and as the tables of docs/benchmarks.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).parent / "run_all.json"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_TABLES = re.compile(r"(<!-- tables: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = (
    "procedure",
    "fits",
    "fits/s",
    "fits per CPU s",
    "ratio",
    "worst excess",
    "certified",
)


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    middle, low, high = (_number(each) for each in row["ratio"])
    ratio = f"{middle} ({low} to {high})" if low != high else middle
    worst = "not finite" if row["worst_excess"] is None else f"{row['worst_excess']:.0e}"
    return [
        row["name"],
        f"{row['fits']:,}",
        _number(row["fits_per_second"]),
        _number(row["fits_per_cpu_second"]),
        ratio,
        worst.replace("e-0", "e-").replace("e+00", ""),
        f"{row['certified']:,}",
    ]


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def text(measured: dict[str, Any]) -> str:
    """All groups with aligned columns."""
    lines = []
    for group in measured["groups"]:
        rows = [list(_HEAD), *(cells(row) for row in group["rows"])]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
        lines += ["", group["title"]]
        for row in rows:
            first = row[0].ljust(widths[0])
            rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([first, *rest]))
    return "\n".join(lines[1:])


def markdown(measured: dict[str, Any]) -> str:
    """Where and when, and every group with its table, and what each procedure is."""
    machine = dict(measured["machine"])
    processor, cores = machine.pop("processor"), machine.pop("cores")
    libraries = ", ".join(f"{name} {number}" for name, number in machine.items())
    lines = [
        f"{measured['date']}, commit {measured['commit']}, {cores} cores of {processor}; {libraries}.",
        f"Medians of {measured['rounds']} rounds in turn; in brackets the lowest and the highest ratio.",
    ]
    for group in measured["groups"]:
        lines += ["", f"### {group['title']}", "", group["about"], ""]
        lines += [_line(_HEAD), "|" + "---|" * len(_HEAD)]
        lines += [_line(cells(row)) for row in group["rows"]]
        lines.append("")
        lines += [f"- **{row['name']}**: {row['what']}" for row in group["rows"]]
    return "\n".join(lines) + "\n"


def _line(row: Any) -> str:
    return "| " + " | ".join(row) + " |"


def filled(page: str, measured: dict[str, Any]) -> str:
    """The page with the tables of what was measured."""
    made, count = _TABLES.subn(lambda found: found[1] + markdown(measured) + found[2], page)
    if count != 1:
        raise ValueError(f"{PAGE.name}: no place for the tables")
    return made
