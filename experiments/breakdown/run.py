"""The size at which every kind of miscount changes each conclusion about the Chinchilla runs.

    python experiments/breakdown/run.py

Writes breakdown.csv and the figure beside this file, or into `--tables`. Takes a few minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import chinchilla_jax as cj
from chinchilla_jax import plots
from chinchilla_jax.analysis import breakdown
from chinchilla_jax.laws.compute import GOPHER_FLOPS

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="chinchilla", help="embedded name or path of a table")
    parser.add_argument("--counting", default="standard", help="how the parameters are counted")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", type=Path, default=HERE, help="where to write table and figure")
    args = parser.parse_args()
    runs = cj.load_runs(args.data, params=args.counting)
    table = breakdown(
        runs, resamples=args.resamples, repeats=args.repeats, flops=GOPHER_FLOPS, seed=args.seed
    )
    (args.tables / "figures").mkdir(parents=True, exist_ok=True)
    table.to_csv(args.tables / "breakdown.csv", index=False)
    plots.save_figures([("breakdown", plots.breakdown(table))], args.tables / "figures", dpi=120)
    columns = ["family", "direction", "criterion", "size", "low", "high", "times_documented"]
    print(table[columns].to_string(index=False))


if __name__ == "__main__":
    main()
