"""Plant every kind of miscount and diagnose it; then diagnose the published counts.

    python experiments/diagnosis/run.py

Writes confusion.csv (every planted error, from the whole law and from the curve), matrix.csv and
published.csv (reported and best-fit counts against the standard ones) beside this file, or into `--tables`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from plot_confusion import plot_confusion

import chinchilla_jax as cj
from chinchilla_jax.analysis.diagnosis import USES, confusion, diagnose_counts

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", type=Path, default=HERE, help="where to write the tables")
    args = parser.parse_args()
    args.tables.mkdir(parents=True, exist_ok=True)
    runs = cj.load_runs("chinchilla", params="standard")
    found = pd.concat(
        [confusion(runs, resamples=args.resamples, seed=args.seed, use=use).assign(use=use) for use in USES],
        ignore_index=True,
    )
    found.to_csv(args.tables / "confusion.csv", index=False)
    matrix = pd.crosstab([found["use"], found["planted"]], found["diagnosed"])
    matrix.reset_index().to_csv(args.tables / "matrix.csv", index=False)
    print(matrix.to_string())
    (args.tables / "figures").mkdir(exist_ok=True)
    for use in USES:
        figure = plot_confusion(found[found["use"] == use])
        figure.savefig(args.tables / "figures" / f"confusion_{use}.png", dpi=120)
    rows = []
    for name in ("reported", "best_fit"):
        other = cj.load_runs("chinchilla", params=name)
        for use in USES:
            answer = diagnose_counts(runs, other, resamples=args.resamples, seed=args.seed, use=use)
            rows.append(answer.table.assign(counts=name, use=use))
            print(f"{name} against standard, by the {use}: {answer.sentence}")
    pd.concat(rows).to_csv(args.tables / "published.csv", index=False)


if __name__ == "__main__":
    main()
