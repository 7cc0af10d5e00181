"""Do the intervals of compute multipliers hold? Planted recipes, compared as `cj.compare` does.

    python experiments/compare/run.py               # 21 rows of 50 comparisons, 12 CPU minutes
    python experiments/compare/run.py --smoke       # seconds

Comparison i of a row is a function of the seed, the row and i alone (planted.py). Tables are IsoFLOP runs
between 1e18 and 1e21 FLOP. Multipliers are judged inside the runs (the geometric middle of their budgets), at
the largest run, and at 10 and 100 times its compute; bands over all budgets between 1e18 and 1e23; crossings
where the true multipliers cross 1 in that range.

Writes multiplier, band, crossing, adjusted (over all rows at once) and best (of more than two recipes) as
.csv beside this file, or into `--tables`. `--pieces` keeps the comparisons of each row in a folder, and
resumes.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from planted import BUDGETS, MIDDLE, ROWS, Row, recipes, tables

import chinchilla_jax as cj
from chinchilla_jax.planning.multipliers import Frontier, first_crossing, log_multiplier
from chinchilla_jax.planning.recipe_tables import interval, joint_interval

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from _tables import kept  # noqa: E402

PLACES = {"inside": MIDDLE, "largest run": 1e21, "10 times": 1e22, "100 times": 1e23}
CURVE = np.log(np.geomspace(BUDGETS[0], 1e23, 41))
LEVELS = (0.8, 0.95)

Lines = list[dict[str, Any]]


def judge(row: Row, number: int, seed: int, resamples: int) -> Lines:
    """A line for each interval: whether it holds the truth, its width, and what is claimed."""
    generator = np.random.default_rng([seed, ROWS.index(row), number])
    names = [chr(ord("A") + k) for k in range(len(row.multipliers) + 1)]
    budgets = np.array(list(PLACES.values()))
    law = "compute_only" if row.kind == "compute" else "chinchilla"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cj.compare(
            *tables(row, generator), names=names, flops=budgets, resamples=resamples, seed=number, law=law
        )
    truths = dict(zip(names, map(Frontier.of, recipes(row)), strict=True))
    sound = np.flatnonzero(found.laws.counted)
    laws = {name: Frontier.of(found.laws.laws[name][sound]) for name in names}
    kept = np.logical_and.reduce([np.isfinite(each.gamma) for each in laws.values()])
    about = {"paired": found.laws.pairing.startswith("runs are paired"), "lost": 1 - kept.sum() / resamples}
    lines: Lines = []
    every, all_true = [], []
    for name in names[1:]:
        each = (truths["A"], truths[name]), (laws["A"], laws[name])
        true = log_multiplier(*each[0], np.log(budgets))
        draws = log_multiplier(*each[1], np.log(budgets))[kept]
        every.append(draws)
        all_true.append(true)
        point = np.log(found.table.loc[found.table["recipe"] == name, "multiplier"].to_numpy())
        for k, place in enumerate(PLACES):
            line = {"what": "multiplier", "place": place, **about, "truth": true[k]}
            line |= {"error": point[k] - true[k], "better": np.mean(draws[:, k] > 0)}
            lines.append(line | _held(draws[:, k : k + 1], true[k]))
        curves = log_multiplier(*each[1], CURVE)[kept]
        lines.append({"what": "band"} | _band(curves, log_multiplier(*each[0], CURVE)))
        true_cross = first_crossing(log_multiplier(*each[0], CURVE)[None], CURVE)[0]
        if row.kind == "bent" and np.isfinite(true_cross):
            crossing = first_crossing(curves, CURVE)
            share = {"share": np.mean(np.isfinite(crossing)), "truth": true_cross}
            lines.append({"what": "crossing"} | share | _held(crossing[:, None], true_cross))
    lines.append({"what": "adjusted"} | _band(np.hstack(every), np.concatenate(all_true)))
    return lines + _best(found, names, truths, budgets)


def _held(draws: np.ndarray, truth: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for level in LEVELS:
        low, high = interval(draws, level)[:, 0]
        found |= {f"holds_{level}": low <= truth <= high, f"width_{level}": high - low}
        found |= {f"above_{level}": truth < low, f"below_{level}": truth > high}
    return found


def _band(draws: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    found = {}
    for level in LEVELS:
        low, high = joint_interval(draws, level)
        found[f"holds_{level}"] = bool(np.all((low <= truth) & (truth <= high)))
    return found


def _best(
    found: cj.planning.Comparison, names: list[str], truths: dict[str, Frontier], budgets: np.ndarray
) -> Lines:
    """Of more than two recipes: whether the set of those that may be best holds the best, and leads."""
    if found.ranking is None or found.leads is None:
        return []
    losses = {name: truths[name].loss(np.log(budgets)) for name in names}
    lines: Lines = []
    for k, place in enumerate(PLACES):
        lowest = min(losses[name][k] for name in names)
        best = {name for name in names if losses[name][k] <= lowest + 1e-12}
        at = found.ranking[found.ranking["flops"] == budgets[k]].set_index("recipe")
        lead = found.leads[found.leads["flops"] == budgets[k]].iloc[0]
        true = log_multiplier(truths[lead["second"]], truths[lead["best"]], np.log(budgets[k : k + 1]))[0]
        lines.append(
            {
                "what": "best", "place": place, "holds_0.8": bool(at.loc[sorted(best), "may_be_best"].all()),
                "claimed": at["p_best"].max(), "right": at["p_best"].idxmax() in best,
                "lead": np.log(lead["lead"]) - true, "corrected": np.log(lead["corrected"]) - true,
                "lead_holds": np.log(lead["low"]) <= true <= np.log(lead["high"]),
            }
        )  # fmt: skip
    return lines


def summaries(lines: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Shares in per cent by row and place, a table for each kind of interval."""
    keys = ["row", "runs", "multipliers", "kind", "shared", "place"]
    found: dict[str, pd.DataFrame] = {}
    for what, of in lines.fillna({"place": ""}).groupby("what", sort=False):
        rows = []
        for key, group in of.groupby(keys, sort=False):
            cells: dict[str, Any] = dict(zip(keys, key, strict=True)) | {"n": len(group)}
            if what == "multiplier":
                cells["true multiplier"] = np.exp(group["truth"].mean())
                cells["paired %"] = 100 * group["paired"].mean()
                cells["resamples lost %"] = 100 * group["lost"].mean()
            for level in LEVELS:
                if group.get(f"holds_{level}") is not None and group[f"holds_{level}"].notna().all():
                    cells[f"held at {level:.0%}"] = 100 * group[f"holds_{level}"].astype(float).mean()
            if what in ("multiplier", "crossing"):
                cells["median width 80%"] = np.exp(group["width_0.8"].median())
                cells["interval above at 80%"] = 100 * group["above_0.8"].astype(float).mean()
                cells["interval below at 80%"] = 100 * group["below_0.8"].astype(float).mean()
            if what == "multiplier":
                cells["called better %"] = 100 * (group["better"] >= 0.95).mean()
                cells["median error"] = group["error"].median()
            if what == "best":
                cells["P(best) of the first"] = group["claimed"].mean()
                cells["first is best"] = group["right"].astype(float).mean()
                cells["mean excess of lead"] = group["lead"].mean()
                cells["corrected"] = group["corrected"].mean()
                cells["lead held at 80%"] = 100 * group["lead_holds"].astype(float).mean()
            rows.append(cells)
        found[str(what)] = pd.DataFrame(rows)
    return found


def of_row(place: int, args: argparse.Namespace) -> pd.DataFrame:
    """The lines of one row."""
    row = ROWS[place]
    lines = [line for i in range(args.pairs) for line in judge(row, i, args.seed, args.resamples)]
    multipliers = " ".join(f"{m:g}" for m in row.multipliers)
    runs = f"{row.baseline_runs} and {row.runs}" if row.baseline_runs else f"{row.runs}"
    return pd.DataFrame(lines).assign(
        row=place, runs=runs, multipliers=multipliers, kind=row.kind, shared=row.shared
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=50, help="comparisons of each row")
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--rows", type=int, nargs="*", help="numbers of the rows to run, from 0")
    parser.add_argument("--pieces", type=Path, help="folder that keeps each row; finished rows are read")
    parser.add_argument("--smoke", action="store_true", help="three rows of two pairs, nothing is written")
    parser.add_argument("--tables", type=Path, default=HERE)
    args = parser.parse_args(arguments)
    if args.smoke:
        args.pairs, args.resamples, args.rows = 2, 50, [0, 14, 19]
    chosen = range(len(ROWS)) if args.rows is None else args.rows
    rows = [kept(args.pieces, f"row-{place:02d}-{args.pairs}", of_row, place, args) for place in chosen]
    found = summaries(pd.concat(rows, ignore_index=True))
    for what, table in found.items():
        print(f"\n{what}\n{table.to_string(index=False, float_format=lambda value: f'{value:.3g}')}")
        if not args.smoke:
            args.tables.mkdir(parents=True, exist_ok=True)
            table.to_csv(args.tables / f"{what}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
