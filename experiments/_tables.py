"""Published figures beside ours: one small table, written as CSV and Markdown."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd


def options(description: str | None, default_study: str) -> argparse.Namespace:
    """Command line that the experiments share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path(default_study), help="directory of the study")
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--tables", type=Path, default=None, help="where to write (default: beside the script)"
    )
    return parser.parse_args()


def table_options(description: str | None, folder: Path) -> argparse.Namespace:
    """Command line of the experiments on a table of runs, which write to `folder`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("data", type=Path, help="the table of runs")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--tables", type=Path, default=folder)
    return parser.parse_args()


def write(rows: list[tuple[str, str, str, str]], folder: Path, name: str = "published") -> None:
    """Write (quantity, published, ours, difference explained) rows to `folder`."""
    table = pd.DataFrame(rows, columns=["quantity", "published", "ours", "note"])
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
    lines = ["| quantity | published | ours | note |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n")
    print(table.to_string(index=False))
