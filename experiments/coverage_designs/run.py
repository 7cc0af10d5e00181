"""Coverage of the intervals on many designs, errors and settings; and the error of the point and the median.

    python experiments/coverage_designs/run.py                  # the full run: 15 rows of 1,000 data sets
    python experiments/coverage_designs/run.py --datasets 100   # a quick one
    python experiments/coverage_designs/run.py --smoke          # seconds: two data sets of three rows

Data set i of a row is a function of the seed, the row and i alone, whatever the workers. If interrupted, the
same command resumes from `--out`; a larger `--datasets` adds data sets, other `--settings` add settings.
Writes coverage.csv, the same as coverage.md, estimates.csv and the figure beside this file, or into
`--tables`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process per worker, a thread per process

import numpy as np
import pandas as pd
from designs import Row, rows
from judge import Setting, judged, truths
from plot_designs import plot_designs
from summary import coverage_rows, estimate_rows, markdown

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax._util.part_files import DamagedPartError, PartFiles
from chinchilla_jax._util.work_directory import WorkDirectory

HERE = Path(__file__).parent
CHUNK = 25  # data sets in a file
# As of 0.1.0 (with the boundary dropped); delta alone mended; the defaults.
SETTINGS = ("pairs:0.001", "pairs:auto", "auto:auto")
# On fewer data sets: the scheme alone mended, and on some rows schemes that take several times as long.
FEWER = 200
SCHEME_ALONE = "auto:0.001"
OTHER_SCHEMES = ("bayesian:auto", "wild:auto", "residual:auto", "m_out_of_n:auto")
ROWS_OF_OTHER_SCHEMES = (
    "isoflop, 12 runs",
    "isoflop, 20 runs",
    "isoflop, 40 runs",
    "grid, 20 runs",
    "chinchilla, correlation 0",
)
SMOKE_ROWS = ("isoflop, 12 runs", "effect of a size", "E at the boundary")


def main(arguments: list[str] | None = None) -> None:
    args = _parsed(arguments)
    if args.smoke:
        with tempfile.TemporaryDirectory() as folder:
            args.out, args.tables, args.datasets, args.resamples = Path(folder) / "run", Path(folder), 2, 20
            args.rows = args.rows or list(SMOKE_ROWS)
            _run(args)
        return
    _run(args)


def _run(args: argparse.Namespace) -> None:
    known = rows()
    for name in args.rows or ():
        if name not in known:
            raise unknown_name("row", name, tuple(known))
    out = args.out or Path("results") / f"coverage-designs-{args.resamples}-{args.seed}"
    _kept(out, args.resamples, args.seed)  # before hours of work: another run's directory is refused
    chosen = [known[name] for name in args.rows or known]
    tables: list[tuple[pd.DataFrame, ...]] = []
    context = multiprocessing.get_context("spawn")  # a fork would share the threads of JAX
    with ProcessPoolExecutor(args.workers, mp_context=context) as pool:
        for row in chosen:
            begun, truth = time.perf_counter(), truths(row)
            for settings, count in _settings(row, args):
                found = _row(pool, row, settings, args, out, count)
                tables.append(
                    tuple(make(row.name, settings, found, truth) for make in (coverage_rows, estimate_rows))
                )
            print(f"{row.name}: {args.datasets:,} data sets, {time.perf_counter() - begun:.1f} s", flush=True)
    args.tables.mkdir(parents=True, exist_ok=True)
    coverage, estimates = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    coverage.to_csv(args.tables / "coverage.csv", index=False, float_format="%.4g")
    estimates.to_csv(args.tables / "estimates.csv", index=False, float_format="%.4g")
    (args.tables / "coverage.md").write_text(markdown(coverage), encoding="utf-8")
    (args.tables / "figures").mkdir(exist_ok=True)
    plot_designs(coverage).savefig(args.tables / "figures" / "coverage_designs.png", dpi=110)
    print(_shown(coverage))


def _settings(row: Row, args: argparse.Namespace) -> list[tuple[list[Setting], int]]:
    """The settings of a row and the number of data sets for each: those asked for, or the usual ones."""
    if args.settings:
        return [([Setting.read(text) for text in args.settings], args.datasets)]
    others = (SCHEME_ALONE, *(OTHER_SCHEMES if row.name in ROWS_OF_OTHER_SCHEMES else ()))
    numbers = (args.datasets, min(args.datasets, FEWER))
    return [
        ([Setting.read(text) for text in texts], number)
        for texts, number in zip((SETTINGS, others), numbers, strict=True)
    ]


def _row(
    pool: ProcessPoolExecutor,
    row: Row,
    settings: list[Setting],
    args: argparse.Namespace,
    out: Path,
    datasets: int,
) -> np.ndarray:
    """What was found on every data set of a row; computed where a file does not have it."""
    tasks = []
    for first in range(0, datasets, CHUNK):
        numbers = range(first, min(first + CHUNK, datasets))
        tasks.append(pool.submit(part, row.name, numbers, settings, args.resamples, args.seed, out))
    return np.concatenate([task.result() for task in tasks])


def part(
    name: str, numbers: range, settings: list[Setting], resamples: int, seed: int, out: Path
) -> np.ndarray:
    """What was found on some data sets of a row, from its file or computed and written there."""
    parts = _kept(out, resamples, seed)
    stem = f"{name.replace(' ', '_').replace(',', '')}-{numbers.start:06d}"
    file, _ = parts.files().get(stem, ("", None))
    kept: dict[str, np.ndarray] = {}
    try:
        with np.load(io.BytesIO(parts.read(file))) if file else contextlib.nullcontext({}) as there:
            kept = {each: there[each] for each in there if len(there[each]) >= len(numbers)}
    except DamagedPartError:
        print(f"{parts.directory.at(file)}: damaged, will be recomputed", flush=True)
    missing = [setting for setting in settings if str(setting) not in kept]
    if missing:
        row = _rows()[name]
        found = np.stack([judged(row, number, missing, resamples, seed) for number in numbers])
        kept |= {str(setting): found[:, i] for i, setting in enumerate(missing)}
        content = io.BytesIO()
        np.savez(content, **kept)
        written = parts.write(stem, content.getvalue())
        if file not in ("", written):
            parts.directory.remove(file)
    return np.stack([kept[str(setting)][: len(numbers)] for setting in settings], axis=1)


def _kept(out: Path, resamples: int, seed: int) -> PartFiles:
    """The files with what was found on every data set."""
    record = {"kind": "coverage designs", "resamples": resamples, "seed": seed}
    work = WorkDirectory(out, "coverage_designs", record, stems=r"[^/]+-\d{6}")
    return PartFiles(
        work.directory, "", r"[^/]+-\d{6}", ".npz", what="part", remedy="run the same command again"
    )


_known: dict[str, Row] = {}


def _rows() -> dict[str, Row]:
    """The rows, made once in each process."""
    if not _known:
        _known.update(rows())
    return _known


def _shown(coverage: pd.DataFrame) -> str:
    """Percentages at both levels, a line per row and setting, boundary kept."""
    kept = coverage[coverage["boundary"] == "keep"].copy()
    kept["percent"] = (100 * kept["coverage"]).round(1)
    kept["setting"] = kept["scheme"] + ":" + kept["delta"]
    wide = kept.pivot_table(
        index=["row", "setting"], columns=["quantity", "level"], values="percent", sort=False
    )
    return str(wide.to_string())


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--datasets", type=int, default=1000, help="data sets of each row")
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--settings", nargs="+", default=None, metavar="SCHEME:DELTA")
    parser.add_argument("--rows", nargs="+", default=None, metavar="ROW", help="all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None, help="what was found on every data set")
    parser.add_argument("--tables", type=Path, default=HERE, help="where to write tables and figure")
    parser.add_argument("--smoke", action="store_true", help="two data sets of three rows, nothing kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
