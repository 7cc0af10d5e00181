"""Two errors at once, as maps; and what changes when the tokens follow a miscount of the parameters.

    python experiments/joint_maps/run.py

Runs the studies of spec.toml (5,000 pairs of errors) and of coupled.toml (on the counts as plotted and by
the standard formula) into `--out`, unless they are there, and writes a table and a figure per pair of
families, coupled.csv and coupled_theory.csv beside this file, or into `--tables`.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pandas as pd

import chinchilla_jax as cj
from chinchilla_jax import plots
from chinchilla_jax.analysis.joint_maps import joint_map, prescription
from chinchilla_jax.analysis.theory_tables import theory_table
from chinchilla_jax.perturbations import FAMILIES

HERE = Path(__file__).parent
NUMBERS = ["low", "median", "high", "slope_low", "slope", "slope_high"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/joint_maps"), help="folder of the studies")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--tables", type=Path, default=HERE, help="where to write tables and figures")
    args = parser.parse_args()
    (args.tables / "figures").mkdir(parents=True, exist_ok=True)
    _maps(args.out / "maps", args.resamples, args.tables)
    _coupled(args.out, args.resamples, args.tables)


def _spec(name: str, resamples: int, **more: object) -> cj.StudySpec:
    spec = cj.StudySpec.from_toml(HERE / name)
    return dataclasses.replace(spec, resamples=resamples, **more)


def _maps(out: Path, resamples: int, tables: Path) -> None:
    study = cj.run_study(_spec("spec.toml", resamples), out, figures=False)
    table = joint_map(study)
    for (first, second), rows in table.groupby(["first_family", "second_family"], sort=False):
        name = f"{first}_{second}"
        plots.joint_map(rows, runs=study.runs()).savefig(tables / "figures" / f"{name}.png", dpi=120)
        shown = rows[["first", "second", *NUMBERS, "n_failed"]]
        shown.to_csv(tables / f"{name}.csv", index=False, float_format="%.5g")
        _say(name, rows)


def _say(name: str, rows: pd.DataFrame) -> None:
    sloped = (rows["slope_low"] > 0) | (rows["slope_high"] < 0)
    print(f"{name}: {len(rows)} pairs, {rows['n_converged'].sum():,} fits, {rows['n_failed'].sum():,} failed")
    print(f"  median {rows['median'].min():.3g} to {rows['median'].max():.3g} tokens per parameter")
    print(f"  slope {rows['slope'].min():.3g} to {rows['slope'].max():.3g}")
    print(f"  interval leaves 10 to 40: {rows['leaves_range'].mean():.0%} of the pairs")
    print(f"  interval outside 10 to 40: {rows['outside_range'].mean():.0%}")
    print(f"  interval of the slope without zero: {sloped.mean():.0%}")


def _coupled(out: Path, resamples: int, tables: Path) -> None:
    rows, theories = [], []
    for count in ("as_plotted", "standard"):
        spec = _spec("coupled.toml", resamples, interpretations=(count,))
        study = cj.run_study(spec, out / f"coupled_{count}", figures=False)
        theories.append(_theory(study).assign(params=count))
        for row in study.conditions.to_dict("records"):
            family = FAMILIES.get(row["family"])
            rows.append(
                {
                    "params": count,
                    "family": row["family"].removeprefix("coupled_"),
                    "tokens": "recomputed" if family and family.coupled else "kept",
                    "value": row["value"],
                    "repeat": row["repeat"],
                    **prescription(study.fits(row["condition"]), boundary=study.spec.boundary),
                }
            )
    # Repeats of noise become one row, the medians.
    keys = ["params", "family", "tokens", "value"]
    table = pd.DataFrame(rows)
    table["repeats"] = 1
    made = table.groupby(keys, sort=False).agg({name: "median" for name in NUMBERS} | {"repeats": "sum"})
    made.reset_index().to_csv(tables / "coupled.csv", index=False, float_format="%.5g")
    print(made.to_string(float_format="%.3g"))
    theory = pd.concat(theories)
    theory.to_csv(tables / "coupled_theory.csv", index=False, float_format="%.6g")
    print(theory.query("quantity == 'tokens_per_param' and flops == 5.76e23").to_string(float_format="%.3g"))


def _theory(study: cj.Study) -> pd.DataFrame:
    """Closed forms of the coupled families beside the fits."""
    plain = [table.assign(condition=_plain(table["condition"])) for table in (study.conditions, study.point)]
    table = theory_table(study.runs(), *plain)
    table = table[table["family"].str.startswith("coupled_")]
    return table[["family", "value", "quantity", "flops", "theory", "fitted", "relative_difference"]]


def _plain(conditions: pd.Series) -> pd.Series:
    """Ids without the "@" of the count, of which each study has one."""
    return conditions.str.partition("@")[0]


if __name__ == "__main__":
    main()
