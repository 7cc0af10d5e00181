"""Coverage of every interval on data sets simulated from the fit of the Chinchilla runs.

    python experiments/coverage/run.py                                             # the full run, hours
    python experiments/coverage/run.py --datasets 100 --resamples 200 --inner 10   # minutes

Resumes from the contents of `--out`, so it can be stopped at any time. Writes coverage.csv, methods.csv and
the figure beside this file, or into `--tables`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from plot_coverage import plot_coverage

import chinchilla_jax as cj
from chinchilla_jax._util.progress_bar import resolve
from chinchilla_jax.analysis import CoverageSpec, coverage, rank_methods

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="chinchilla", help="embedded name or path of a table")
    parser.add_argument("--counting", default="standard", help="how the parameters are counted")
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--inner", type=int, default=50)
    parser.add_argument("--noise", default="residuals", help="residuals or signed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="intervals of every data set")
    parser.add_argument("--tables", type=Path, default=HERE, help="where to write tables and figure")
    args = parser.parse_args()
    # Independent errors and pairs; experiments/coverage_designs has the others.
    spec = CoverageSpec(
        datasets=args.datasets,
        resamples=args.resamples,
        inner=args.inner,
        noise=args.noise,
        groups="none",
        scheme="pairs",
        boundary="drop",
        seed=args.seed,
    )
    runs = cj.load_runs(args.data, params=args.counting)
    settings = f"{Path(args.data).stem}-{args.noise}-{args.resamples}-{args.inner}-{args.seed}"
    out = args.out or Path("results") / f"coverage-{settings}"
    with resolve("auto") as reporter:
        reporter.begin("coverage", spec.datasets, "data sets")
        table = coverage(runs, spec, out=out, progress=reporter.advance)
    args.tables.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.tables / "coverage.csv", index=False)
    ranked = rank_methods(table, runs)
    ranked.to_csv(args.tables / "methods.csv", index=False)
    figures = args.tables / "figures"
    figures.mkdir(exist_ok=True)
    plot_coverage(table).savefig(figures / "coverage.png", dpi=120)
    plot_coverage(table, narrow=True).savefig(figures / "coverage_narrow.png", dpi=180)
    print(ranked.to_string(index=False))


if __name__ == "__main__":
    main()
