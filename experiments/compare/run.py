"""Do the intervals of compute multipliers hold? Planted pairs of recipes, compared as `cj.compare` does.

    python experiments/compare/run.py               # 12 rows of 60 pairs, 7 CPU minutes
    python experiments/compare/run.py --pairs 20    # a quick one
    python experiments/compare/run.py --smoke       # seconds

Pair i of a row is a function of the seed, the row and i alone. Each pair of tables has IsoFLOP runs of the
planted laws with normal errors of the log loss, part of which runs of equal params and tokens share in the
rows named so. Recipe B saves a factor m of compute over A: its exponents are those of A ("scaled"), or its
alpha is 0.03 smaller and the factor is m at the middle of the runs ("bent"). Multipliers are judged inside
the runs (the geometric middle of their budgets), at the largest run, and at 10 and 100 times its compute.

Writes coverage.csv and the same as coverage.md beside this file, or into `--tables`.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import chinchilla_jax as cj
from chinchilla_jax.planning.multipliers import Frontier, log_multiplier

HERE = Path(__file__).parent
TRUTH = cj.ScalingLaw(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
BUDGETS = (1e18, 1e21)
PLACES = {"inside": 10**19.5, "largest run": 1e21, "10 times": 1e22, "100 times": 1e23}
LEVELS = (0.8, 0.95)
NOISE, BENT = 0.005, -0.03


class Row(NamedTuple):
    """One kind of pair of tables."""

    runs: int
    multiplier: float
    kind: str
    shared: float  # correlation of the errors of runs of equal params and tokens


ROWS = [
    *(Row(runs, 1.0, "scaled", 0.0) for runs in (12, 24, 60)),
    *(Row(24, m, "scaled", 0.0) for m in (0.5, 2.0, 4.0)),
    *(Row(runs, 1.0, "bent", 0.0) for runs in (12, 24, 60)),
    *(Row(runs, m, "scaled", 0.7) for runs, m in ((24, 1.0), (60, 1.0), (24, 2.0))),
]


def recipe(m: float, kind: str) -> cj.ScalingLaw:
    """B: TRUTH with its compute cut m times, or bent and with the factor at the middle of the runs."""
    alpha = TRUTH.alpha + (BENT if kind == "bent" else 0.0)
    gamma = 1 / (1 / alpha + 1 / TRUTH.beta)
    if kind == "bent":  # the same loss as TRUTH's at its optimum in the middle, at the same size
        params, tokens = TRUTH.optimal(PLACES["inside"])
        of_params, of_tokens = TRUTH.terms(params, tokens)
        at = cj.ScalingLaw(
            E=TRUTH.E,
            A=of_params * params**alpha,
            B=of_tokens * tokens**TRUTH.beta,
            alpha=alpha,
            beta=TRUTH.beta,
        )
        excess = Frontier.of(TRUTH).loss(np.log([PLACES["inside"]]))[0] - TRUTH.E
        found = Frontier.of(at).loss(np.log([PLACES["inside"]]))[0] - TRUTH.E
        factor = excess / found * m**-gamma
    else:
        at, factor = TRUTH, m**-gamma
    return cj.ScalingLaw(E=at.E, A=at.A * factor, B=at.B * factor, alpha=at.alpha, beta=at.beta)


def tables(row: Row, generator: np.random.Generator) -> list[cj.Runs]:
    """Runs of A and of B on one IsoFLOP design."""
    budgets = max(3, min(6, row.runs // 4))
    ratios = row.runs // budgets
    flops, ratio = np.meshgrid(np.geomspace(*BUDGETS, budgets), np.geomspace(3, 150, ratios))
    params = np.sqrt(flops / 6 / ratio).ravel()
    tokens = params * ratio.ravel()
    common = generator.standard_normal(len(params))
    made = []
    for law in (TRUTH, recipe(row.multiplier, row.kind)):
        own = generator.standard_normal(len(params))
        errors = NOISE * (np.sqrt(row.shared) * common + np.sqrt(1 - row.shared) * own)
        made.append(
            cj.Runs(params=params, tokens=tokens, loss=np.asarray(law.loss(params, tokens)) * np.exp(errors))
        )
    return made


def judge(row: Row, number: int, seed: int, resamples: int) -> list[dict[str, object]]:
    """A line for each place: whether intervals hold the truth, their width, and what is claimed."""
    generator = np.random.default_rng([seed, ROWS.index(row), number])
    budgets = np.array(list(PLACES.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cj.compare(
            *tables(row, generator), names=["A", "B"], flops=budgets, resamples=resamples, seed=number
        )
    truth = log_multiplier(Frontier.of(TRUTH), Frontier.of(recipe(row.multiplier, row.kind)), np.log(budgets))
    kept = found.laws.counted
    draws = log_multiplier(*(Frontier.of(found.laws.laws[name][kept]) for name in "AB"), np.log(budgets))
    lines = []
    for k, place in enumerate(PLACES):
        known = draws[~np.isnan(draws[:, k]), k]
        line: dict[str, object] = {"place": place, "better": float(np.mean(known > 0)), "truth": truth[k]}
        line["error"] = float(np.log(found.table["multiplier"][k]) - truth[k])
        for level in LEVELS:
            low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
            line |= {f"holds_{level}": low <= truth[k] <= high, f"width_{level}": high - low}
            line |= {f"below_{level}": truth[k] < low, f"above_{level}": truth[k] > high}
        line["paired"] = found.laws.pairing.startswith("runs are paired")
        lines.append(line)
    return lines


def summary(row: Row, lines: list[dict[str, object]]) -> list[dict[str, object]]:
    """Shares of the pairs, for each place."""
    rows = []
    for place, of in pd.DataFrame(lines).groupby("place", sort=False):
        found: dict[str, object] = {
            "runs": row.runs, "multiplier": row.multiplier, "kind": row.kind, "shared": row.shared, "place":
            place, "pairs": len(of), "paired": of["paired"].mean(), "true multiplier":
            np.exp(of["truth"].iloc[0]),
        }  # fmt: skip
        for level in LEVELS:
            found[f"covered {level:.0%}"] = 100 * of[f"holds_{level}"].mean()
        found["too high 80%"] = 100 * of["below_0.8"].mean()
        found["too low 80%"] = 100 * of["above_0.8"].mean()
        found["median width 80%"] = np.exp(of["width_0.8"].median())
        found["claimed better"] = 100 * (of["better"] >= 0.95).mean()
        found["median error"] = of["error"].median()
        rows.append(found)
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--rows", type=int, nargs="*", help="numbers of the rows to run, from 0")
    parser.add_argument("--smoke", action="store_true", help="two rows of two pairs, nothing is written")
    parser.add_argument("--tables", type=Path, default=HERE)
    args = parser.parse_args(arguments)
    if args.smoke:
        args.pairs, args.resamples, args.rows = 2, 50, [0, 9]
    chosen = [ROWS[k] for k in args.rows] if args.rows else ROWS
    started, found = time.perf_counter(), []
    for row in chosen:
        lines = [judge(row, i, args.seed, args.resamples) for i in range(args.pairs)]
        found += summary(row, list(itertools.chain(*lines)))
        print(f"{row}: {time.perf_counter() - started:.0f} s", flush=True)
    table = pd.DataFrame(found)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    if args.smoke:
        return
    args.tables.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.tables / "coverage.csv", index=False, float_format="%.6g")
    cells = [
        [f"{value:.3g}" if isinstance(value, float) else str(value) for value in row] for row in table.values
    ]
    lines = [
        "| " + " | ".join(row) + " |" for row in ([*table.columns], ["---"] * len(table.columns), *cells)
    ]
    (args.tables / "coverage.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
