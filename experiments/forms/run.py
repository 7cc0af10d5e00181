"""Other objectives, other functional forms, and a test of a published law.

    python experiments/forms/run.py

Writes comparison.csv, sentences.txt, forms.csv, objectives.csv, wald.csv, null_p_values.csv and the figures
beside this file, or into `--tables`. `--only` runs some of the four parts. Takes a few minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from plot_forms import (
    plot_form_comparison,
    plot_form_ratios,
    plot_objective_sensitivity,
    plot_wald,
)

import chinchilla_jax as cj
from chinchilla_jax.analysis import compare_forms, objective_sensitivity
from chinchilla_jax.analysis.wald import wald_test
from chinchilla_jax.analysis.wald_calibration import null_p_values
from chinchilla_jax.laws import STANDARD, AsymmetricError, FixedFloor, Squared
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022

HERE = Path(__file__).parent
COLUMNS = ["quantity", "flops", "estimate", "low", "high", "level", "n_converged", "n_failed"]
PARTS = ("objectives", "wald", "forms", "comparison")
FLOPS = np.geomspace(1e18, 1e26, 33)
HOFFMANN_ROUNDED = cj.ScalingLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)


def objectives(runs: cj.Runs, args: argparse.Namespace) -> None:
    others = (Squared(), AsymmetricError())
    table = objective_sensitivity(runs, others=others, resamples=args.resamples, seed=args.seed)
    table.to_csv(args.tables / "objectives.csv", index=False, float_format="%.6g")
    save(plot_objective_sensitivity(table), args, "objectives")
    print(table[table["quantity"] == "tokens_per_param"].to_string(index=False))


def wald(runs: cj.Runs, args: argparse.Namespace) -> None:
    boot = cj.bootstrap(runs, resamples=4000, seed=args.seed)
    mixed = cj.fit(runs, objective=cj.HuberScale(), starts=64).law
    cases = [
        ("hoffmann2022, unrounded", HOFFMANN_2022, None),
        ("hoffmann2022, as printed", HOFFMANN_ROUNDED, None),
        ("hoffmann2022, unrounded; point of HuberScale", HOFFMANN_2022, mixed),
        ("besiroglu2024, as printed", BESIROGLU_2024, None),
    ]
    rows = []
    for name, law, estimate in cases:
        test = wald_test(boot, law, runs, compare="all", estimate=estimate)
        rows.append(
            {
                "law": name,
                "statistic": test.statistic,
                "degrees": test.degrees,
                "log10_p": test.log10_p,
                "p_bootstrap": test.p_bootstrap,
                "n_resamples": test.n_resamples,
                **{f"z {row.coordinate}": row.z for row in test.table.itertuples()},
            }
        )
        print(name, test.sentence)
        if law is HOFFMANN_2022 and estimate is None:
            save(plot_wald(test, "Hoffmann et al. 2022"), args, "wald")
    pd.DataFrame(rows).to_csv(args.tables / "wald.csv", index=False, float_format="%.5g")
    found = []
    for noise in ("residuals", "signed"):
        table = null_p_values(
            runs, datasets=args.datasets, resamples=1000, seed=args.seed, noise=noise, compare="all"
        )
        for level in (0.01, 0.05, 0.2, 0.5):
            found.append(
                {
                    "noise": noise,
                    "level": level,
                    "rejected by chi-squared": np.mean(table["p_value"] < level),
                    "rejected by resamples": np.mean(table["p_bootstrap"] < level),
                    "standard error": np.sqrt(level * (1 - level) / len(table)),
                    "data sets": int(table["p_value"].notna().sum()),
                }
            )
    calibration = pd.DataFrame(found)
    calibration.to_csv(args.tables / "null_p_values.csv", index=False, float_format="%.4g")
    print(calibration.to_string(index=False))


def fitted_forms(runs: cj.Runs) -> list[str]:
    """All laws, but fixed_floor only where its E of 1.69 is below every loss."""
    return [name for name in STANDARD if name != "fixed_floor" or FixedFloor().floor < runs.loss.min()]


def forms(runs: cj.Runs, args: argparse.Namespace) -> None:
    tables = []
    for name in fitted_forms(runs):
        boot = cj.bootstrap(runs, name, resamples=args.resamples, seed=args.seed)
        every = boot.intervals(flops=FLOPS)
        wanted = every["quantity"].isin([*boot.point.parameters, "tokens_per_param"])
        table = every.loc[wanted, COLUMNS].copy()
        table.insert(0, "form", name)
        table.insert(1, "objective_value", boot.point.objective_value)
        tables.append(table)
        print(boot.point, boot.counts())
    table = pd.concat(tables, ignore_index=True)
    table.to_csv(args.tables / "forms.csv", index=False, float_format="%.6g")
    ratios = table[table["quantity"] == "tokens_per_param"]
    save(plot_form_ratios(ratios, float(runs.flops.max())), args, "tokens_per_param")


def comparison(runs: cj.Runs, args: argparse.Namespace) -> None:
    found = compare_forms(
        runs,
        fitted_forms(runs),
        folds=args.folds,
        resamples=args.comparison_resamples,
        seed=args.seed,
    )
    found.table.to_csv(args.tables / "comparison.csv", index=False, float_format="%.6g")
    (args.tables / "sentences.txt").write_text("\n".join(found.sentences) + "\n")
    save(plot_form_comparison(found), args, "comparison")
    print(found.table.to_string(index=False))
    print("\n".join(found.sentences))


def save(figure: object, args: argparse.Namespace, name: str) -> None:
    figure.savefig(args.tables / "figures" / f"{name}.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="chinchilla", help="embedded name or path of a table")
    parser.add_argument("--counting", default="as_plotted", help="how the parameters are counted")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--resamples", type=int, default=1000, help="of the objectives and the forms")
    parser.add_argument("--comparison-resamples", type=int, default=100)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--datasets", type=int, default=500, help="simulated to check the test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", type=Path, default=HERE, help="where to write tables and figures")
    args = parser.parse_args()
    (args.tables / "figures").mkdir(parents=True, exist_ok=True)
    runs = cj.load_runs(args.data, params=args.counting)
    for part in args.only:
        globals()[part](runs, args)


if __name__ == "__main__":
    main()
