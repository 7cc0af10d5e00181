"""What the experiments share: command lines, published figures beside ours, and pieces that are kept."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def kept(folder: Path | None, name: str, make: Callable[..., pd.DataFrame], *of: Any) -> pd.DataFrame:
    """The table that `make` makes, from its piece in `folder` where there is one; None keeps nothing."""
    piece = None if folder is None else folder / f"{name}.parquet"
    if piece is not None and piece.exists():
        return pd.read_parquet(piece)
    started = time.perf_counter()
    found = make(*of)
    if piece is not None:
        piece.parent.mkdir(parents=True, exist_ok=True)
        found.to_parquet(piece)
    print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    return found
