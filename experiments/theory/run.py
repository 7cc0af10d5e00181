"""Closed forms of every family compared with the fits of the robustness study.

    python experiments/theory/run.py

Reads the study in `--study`, running it first if necessary, and writes theory.csv (every condition),
summary.csv (by family and quantity) and the figure beside this file, or into `--tables`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from plot_theory import plot_theory

import chinchilla_jax as cj
from chinchilla_jax.analysis.theory_tables import theory_summary, theory_table

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("results/paper"), help="directory of the study")
    parser.add_argument("--resamples", type=int, default=4000, help="of the study, if it has to be run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", type=Path, default=HERE, help="where to write tables and figure")
    args = parser.parse_args()
    study = cj.run_study(cj.paper_study(resamples=args.resamples, seed=args.seed), args.study, figures=False)
    table = theory_table(study.runs(), study.conditions, study.point)
    summary = theory_summary(table)
    (args.tables / "figures").mkdir(parents=True, exist_ok=True)
    table.to_csv(args.tables / "theory.csv", index=False, float_format="%.6g")
    summary.to_csv(args.tables / "summary.csv", index=False)
    plot_theory(table).savefig(args.tables / "figures" / "theory.png", dpi=110)
    print(summary.to_string(index=False))


if __name__ == "__main__":
    main()
