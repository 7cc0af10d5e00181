"""How tables of known kinds are judged: which are certified, which carry a warning, which are refused.

    python experiments/identifiability/run.py [--count 40] [--healthy 200] [--seed S] [--starts N]

Prints one line for each kind. The tables are those of tests/tables_of_kinds.py, with new seeds in every run
unless --seed is given.
"""

from __future__ import annotations

import argparse
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np

import chinchilla_jax as cj

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import tables_of_kinds as kinds


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--healthy", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--starts", type=int, default=256)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int(np.random.default_rng().integers(2**31))
    print(f"seed {seed}, {options.starts} starts")
    print(f"{'tables':30} {'number':>6} {'refused':>8} {'warned':>7} {'certified without a warning':>28}")
    half = options.healthy // 2
    for name, make, count in (
        ("one ratio, exact", kinds.one_ratio, options.count),
        ("one ratio, jitter 1%", partial(kinds.one_ratio, jitter=0.01), options.count),
        ("one ratio, jitter 5%", partial(kinds.one_ratio, jitter=0.05), options.count),
        ("one ratio, jitter 15%", partial(kinds.one_ratio, jitter=0.15), options.count),
        ("power frontier, exact", kinds.power_frontier, options.count),
        ("power frontier, jitter 1%", partial(kinds.power_frontier, jitter=0.01), options.count),
        ("one budget", kinds.one_budget, options.count),
        ("one run off a line", kinds.one_run_apart, options.count),
        ("IsoFLOP, 3 budgets or more", kinds.isoflop, half),
        ("grids, 3 x 4 or more", kinds.grid, options.healthy - half),
    ):
        refused = warned = silent = 0
        for number in range(count):
            fit = cj.fit(make([seed, number]), starts=options.starts)
            refused += not fit.status.certified
            warned += fit.status.certified and bool(fit.warnings)
            silent += fit.status.certified and not fit.warnings
        print(f"{name:30} {count:6} {refused:8} {warned:7} {silent:28}", flush=True)
    remedies(seed, options.count, options.starts)


def remedies(seed: int, count: int, starts: int) -> None:
    """Train tables of one ratio again, with the spread that the fit asks for: is the optimum settled then?"""
    asked, settled = 0, 0
    for number in range(count):
        rng = np.random.default_rng([seed, 1, number])
        params = np.geomspace(1e7, 10 ** rng.uniform(9, 10), int(rng.integers(8, 41)))
        law, noise = kinds.law_and_noise(rng, params, 20 * params)
        factor = re.search(r"a factor of (\d+) away or more\.$", cj.fit(
            kinds.simulated(rng, params, 20 * params, law, noise), starts=starts
        ).reason)  # fmt: skip
        if factor is None:
            continue
        side = np.where(np.arange(len(params)) % 2 == 0, 0.5, -0.5)
        spread = kinds.simulated(rng, params, 20 * params * float(factor[1]) ** side, law, noise)
        budget = 10 * 6 * 20 * params.max() ** 2
        found = cj.fit(spread, starts=starts).law.tokens_per_param(budget)
        asked += 1
        settled += abs(np.log(found / law.tokens_per_param(budget))) <= np.log(2)
    print(f"one ratio, trained again with the spread asked for: {settled} of {asked} within a factor of 2")


if __name__ == "__main__":
    main()
