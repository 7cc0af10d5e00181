"""The atlas: the published robustness study on every embedded table, with the multiverse of each.

    python experiments/atlas/run.py

Runs the atlas into results/atlas and the multiverses into results/atlas_multiverse, or resumes what is there,
and writes tables, figures and README.md beside this file. Takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
from page import write_page

import chinchilla_jax as cj
from chinchilla_jax.plots import save_figures
from chinchilla_jax.plots.panels import unshown
from chinchilla_jax.report.atlas_page import atlas_figures
from chinchilla_jax.study.atlas.spec import TABLES, largest_compute, plain_runs
from chinchilla_jax.study.atlas.tables import KINDS

HERE = Path(__file__).parent
LEFT_OUT_RESAMPLES = 400
# What every analyst of such a table has to choose; one cost, 6 N D, as in the studies.
CHOICES = {"laws": ["chinchilla"], "objectives": ["huber", "squared"], "costs": ["6nd"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/atlas"), help="directory of the atlas")
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--multiverse-resamples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", action="store_true", help="draw the figures of every study too")
    args = parser.parse_args()
    begun = time.perf_counter()
    spec = cj.atlas_study(resamples=args.resamples, seed=args.seed)
    atlas = cj.run_atlas(spec, args.out, figures=args.figures)
    print(f"{atlas}: {time.perf_counter() - begun:.0f} s in this run, {atlas.info['wall_time']:.0f} s in all")
    for kind in KINDS:
        getattr(atlas, kind).to_csv(HERE / f"{kind}.csv", index=False, float_format="%.6g")
    failures(atlas).to_csv(HERE / "failures.csv", index=False)
    left_out(args.seed).to_csv(HERE / "left_out.csv", index=False)
    with unshown():
        save_figures(atlas_figures(atlas), HERE / "figures", dpi=110)
    multiverses(args, args.out.with_name(f"{args.out.name}_multiverse"))
    write_page(HERE)


def failures(atlas: cj.Atlas) -> pd.DataFrame:
    """Fits by status, table and family."""
    rows = []
    for table in atlas.info["tables"]:
        study = atlas.study(table)
        params = study.params.drop_duplicates("condition")[["condition", "n_failed", "n_converged"]]
        joined = params.merge(study.conditions, on="condition")
        for family, own in joined.groupby("family", sort=False):
            failed, counted = int(own["n_failed"].sum()), int(own["n_converged"].sum())
            rows.append({"table": table, "family": family, "fits": failed + counted, "failed": failed})
    return pd.DataFrame(rows)


def left_out(seed: int) -> pd.DataFrame:
    """How many resamples of tables that hardly determine the law have no certified fit."""
    rows = []
    for bits in (2, 3, 4):
        boot = cj.bootstrap(f"quest_{bits}bit", resamples=LEFT_OUT_RESAMPLES, seed=seed)
        uncertified = int((~boot.counted).sum())
        rows.append(
            {"table": f"quest_{bits}bit", "resamples": LEFT_OUT_RESAMPLES, "uncertified": uncertified}
        )
    return pd.DataFrame(rows)


def multiverses(args: argparse.Namespace, out: Path) -> None:
    """The multiverse of every table at the compute of its largest run: answers, effects, curve."""
    answers, effects = [], []
    for name, table in TABLES.items():
        study = cj.AtlasSpec(tables=(name,)).studies()[name]
        begun = time.perf_counter()
        found = cj.multiverse(
            table.data,
            flops=largest_compute(plain_runs(study)),
            resamples=args.multiverse_resamples,
            seed=args.seed,
            out=out / name,
            **CHOICES,
        )
        assert found is not None
        print(f"{found}: {time.perf_counter() - begun:.0f} s")
        answer = found.answer()
        effects.append(answer.effects.assign(table=name))
        answers.append(
            {
                "table": name,
                "specifications": len(found),
                "without_estimate": found.n_failed,
                "flops": float(found.flops[0]),
                **{
                    each: getattr(answer.facts, each)
                    for each in ("lowest", "low", "median", "high", "highest")
                },
                "both_low": answer.interval.low,
                "both_high": answer.interval.high,
                "sentence": answer.sentence,
            }
        )
        with unshown():
            save_figures([(f"multiverse_{name}", found.plot())], HERE / "figures", dpi=110)
    pd.DataFrame(answers).to_csv(HERE / "multiverse.csv", index=False, float_format="%.6g")
    pd.concat(effects).to_csv(HERE / "multiverse_effects.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
