"""Routed experts: the parameters of Clark et al. 2022 (arXiv:2202.01169), table 3, fitted again.

python experiments/clark2022/run.py routing.csv

The table has the last step of each run of github.com/google-deepmind/scaling_laws_for_routing: router,
params, params_active, tokens, n_experts, active_experts, routing_frequency, seed and loss.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pandas as pd

import chinchilla_jax as cj

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from _tables import table_options, write  # noqa: E402

NAMES = ("a", "b", "c", "d", "E_start", "E_max")
PUBLISHED = {
    "S-Base": (-0.082, -0.108, 0.009, 1.104, 1.847, 314.478),
    "RL-R": (-0.083, -0.126, 0.012, 1.111, 1.880, 469.982),
    "Hash": (-0.087, -0.136, 0.012, 1.157, 4.175, 477.741),
}


def main() -> None:
    args = table_options(__doc__, HERE)
    table = pd.read_csv(args.data).query("seed == 42 and active_experts == 1")
    dense = table[table["router"] == "Dense"]
    rows = []
    for router, published in PUBLISHED.items():
        routed = table[(table["router"] == router) & (table["routing_frequency"] == 0.5)]
        runs = cj.load_runs(
            pd.concat([dense, routed]),
            columns={"params": "params"},
            variables=["params_active", "n_experts"],
        )
        # Squared errors of the logarithm of the loss, as in the example of the repository.
        boot = cj.bootstrap(
            runs, "routed_experts", objective="squared", resamples=args.resamples, scheme="pairs"
        )
        sums = _squares(runs, dict(zip(NAMES, published, strict=True)))
        ours = 2 * boot.point.objective_value
        counts = ", ".join(f"{count} {name}" for name, count in boot.counts().items() if count)
        rows.append(
            (
                f"{router}: root mean square of ln L",
                f"{math.sqrt(sums / len(runs)):.5f}",
                f"{math.sqrt(ours / len(runs)):.5f}",
                f"{len(runs)} runs; {boot.point.status.name}; resamples: {counts}",
            )
        )
        laws = _as_printed(boot.laws.as_dict())
        point = _as_printed(boot.point.parameters)
        for name, value in zip(NAMES, published, strict=True):
            low, high = pd.Series(laws[name])[boot.counted].quantile([0.1, 0.9])
            rows.append((f"{router}: {name}", f"{value:g}", f"{point[name]:.4g} [{low:.4g}, {high:.4g}]", ""))
    write(rows, args.tables)


def _as_printed(p):  # type: ignore[no-untyped-def]
    """Parameters as the paper prints them, of logarithms to base 10."""
    return {
        "a": p["a"],
        "b": p["b"],
        "c": p["c"] * math.log(10),
        "d": p["d"] / math.log(10),
        "E_start": p["n_start"],
        "E_max": p["n_start"] * (1 + p["n_beyond"]),
    }


def _squares(runs: cj.Runs, p: dict[str, float]) -> float:
    """Sum of squared errors of ln L under the printed parameters."""
    law = cj.laws.LAWS["routed_experts"]()
    natural = {
        "a": p["a"],
        "b": p["b"],
        "c": p["c"] / math.log(10),
        "d": p["d"] * math.log(10),
        "n_start": p["E_start"],
        "n_beyond": p["E_max"] / p["E_start"] - 1,
    }
    design = law.design(runs)
    return float((law.residuals(law.internal(natural, design), design) ** 2).sum())


if __name__ == "__main__":
    main()
