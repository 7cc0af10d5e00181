"""How often scheme="auto" finds what runs share, how often it finds what is not there, and what either costs.

    python experiments/dependence/run.py

Simulates tables whose runs share part of their errors within known groups, and writes dependence.csv (one row
per design and correlation) beside this file, or into `--tables`. Takes about ten minutes of one core.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.auto_scheme import choose_scheme
from chinchilla_jax.datasets.groupings import members_of
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH
from chinchilla_jax.solvers import SolverOptions

HERE = Path(__file__).parent
Floats = NDArray[np.float64]
QUANTITIES = ("alpha", "beta", "tokens_per_param")
NOISE = 0.006  # standard deviation of the log loss
# Design, groups that share errors, correlation within them, ln of the spread's growth per deviation of ln N.
CASES = (
    ("20 configurations x 3 seeds", "replicates", 0.6, 0.0),
    ("20 configurations x 3 seeds", "replicates", 0.0, 0.0),
    ("Chinchilla's 240 runs", "params", 0.0, 0.0),
    ("Chinchilla's 240 runs", "params", 0.0, 0.7),
    ("Chinchilla's 240 runs", "params", 0.15, 0.0),
    ("Chinchilla's 240 runs", "params", 0.3, 0.0),
    *((f"{k} sizes x 6 runs", "params", rho, 0.0) for k in (6, 7, 8, 10) for rho in (0.0, 0.5)),
    ("5 sizes x 6 runs", "params", 0.5, 0.0),
    ("5 budgets x 8 runs", "flops", 0.0, 0.0),
    ("10 budgets x 10 runs", "flops", 0.3, 0.0),
)  # fmt: skip


def design(name: str) -> tuple[Floats, Floats]:
    """Parameters and tokens of the runs."""
    if name.startswith("Chinchilla"):
        runs = cj.load_runs("chinchilla", params="standard")
        return runs.params, runs.tokens
    first, second = (int(word) for word in name.split() if word.isdigit())
    if "budgets" in name:
        flops = np.repeat(np.geomspace(6e18, 3e21, first), second)
        optimal = np.asarray(TRUTH.optimal(flops)[0])
        params = optimal * np.tile(np.geomspace(0.25, 4, second), first)
        return params, flops / (6 * params)
    sizes, counts, seeds = (5, 4, 3) if "seeds" in name else (first, second, 1)
    params, tokens = np.geomspace(1e8, 1e10, sizes), np.geomspace(2e9, 2e11, counts)
    return np.repeat(params, counts * seeds), np.repeat(np.tile(tokens, sizes), seeds)


def judge(case: tuple[str, str, float, float], datasets: int, resamples: int) -> dict[str, object]:
    """One row of the table: what was found and chosen, and the coverage (%) of 80% intervals."""
    name, by, correlation, growth = case
    params, tokens = design(name)
    loss = np.asarray(TRUTH.loss(params, tokens))
    members = members_of(cj.Runs(params, tokens, 6 * params * tokens, loss), by)
    deviations = (np.log(params) - np.log(params).mean()) / np.log(params).std()
    spread = NOISE * np.exp(growth * deviations)
    budget = 10 * float(6 * np.max(params * tokens))
    truth = [TRUTH.alpha, TRUTH.beta, float(TRUTH.tokens_per_param(budget))]
    rng = np.random.default_rng(1)
    chosen: list[str] = []
    icc: list[float] = []
    found: list[bool] = []
    covered: dict[str, list[list[bool]]] = {"pairs": [], "groups": [], "auto": []}
    for number in range(datasets):
        common, own = rng.standard_normal(members.max() + 1)[members], rng.standard_normal(len(params))
        errors = spread * (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)
        runs = cj.Runs(params, tokens, 6 * params * tokens, loss * np.exp(errors), name="simulated")
        point = cj.fit(runs, starts=16, options=SolverOptions(workers=1))
        auto = choose_scheme(runs, point)
        chosen.append(getattr(auto.scheme, "by", "pairs"))
        measured = [each for each in auto.groupings if each.by == by]
        icc += [each.icc for each in measured]
        found.append(any(each.is_correlated for each in measured))
        inside: dict[str, list[bool]] = {}
        for key, scheme in (("pairs", cj.Pairs()), ("groups", cj.Cluster(by)), ("auto", auto.scheme)):
            label = getattr(scheme, "by", "pairs")
            if label not in inside:
                inside[label] = _inside(runs, scheme, point, resamples, number, budget, truth)
            covered[key].append(inside[label])
    row: dict[str, object] = {
        "design": name, "groups": by, "n_groups": int(members.max()) + 1, "correlation": correlation,
        "spread_growth": growth, "icc": np.mean(icc), "found": 100 * np.mean(found),
        "chosen": ", ".join(f"{key} {count}" for key, count in Counter(chosen).most_common()),
    }  # fmt: skip
    for key, values in covered.items():
        shares = 100 * np.mean(values, axis=0)
        row |= {f"{key}_{name}": share for name, share in zip(QUANTITIES, shares, strict=True)}
    return row


def _inside(
    runs: cj.Runs,
    scheme: object,
    point: cj.FitResult,
    resamples: int,
    number: int,
    budget: float,
    truth: list[float],
) -> list[bool]:
    """Whether the intervals of alpha, beta and tokens per parameter hold the truth."""
    boot = cj.bootstrap(
        runs, resamples=resamples, seed=1000 + number, scheme=scheme, point=point,  # type: ignore[arg-type]
        options=SolverOptions(workers=1),
    )  # fmt: skip
    table = boot.parameter_columns()
    limits = [(table["low"][i], table["high"][i]) for i in (3, 4)]
    band, _ = boot.tokens_per_param_columns([budget])
    limits.append((band["low"][0], band["high"][0]))
    return [bool(low <= value <= high) for (low, high), value in zip(limits, truth, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--datasets", type=int, default=300, help="tables of each case")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--tables", type=Path, default=HERE, help="where to write the table")
    args = parser.parse_args()
    rows = []
    for case in CASES:
        rows.append(judge(case, args.datasets, args.resamples))
        table = pd.DataFrame(rows)
        print(table.tail(1).to_string(index=False, header=len(rows) == 1, float_format="%.3g"), flush=True)
        table.to_csv(args.tables / "dependence.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
