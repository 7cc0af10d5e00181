"""Progressive scaling on the published law with noise: the effect of seeds, ranges and factors.

python experiments/progressive_scaling/run.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from chinchilla_jax import planning
from chinchilla_jax.planning.ladder.simulation import Scenario
from chinchilla_jax.plots import save_figures, simulation_errors

HERE = Path(__file__).parent
AT = 1e20  # FLOP, where every scenario is judged


def scenarios() -> dict[str, Scenario]:
    """The documented default, and scenarios that change one setting."""
    return {
        "default: 401 seeds of 1e15 to 1e16, factor 10": Scenario(),
        "25 seeds": Scenario(seeds=25),
        "50 seeds": Scenario(seeds=50),
        "100 seeds": Scenario(seeds=100),
        "200 seeds": Scenario(seeds=200),
        "no scaling step": Scenario(steps=0),
        "4 steps of factor 10": Scenario(steps=4),
        "factor 2": Scenario(factor=2.0),
        "factor 100": Scenario(factor=100.0),
        "seeds of 1e15 to 1e17": Scenario(flops_range=(1e15, 1e17)),
        "seeds of 1e15 to 1e18": Scenario(flops_range=(1e15, 1e18)),
        "seeds at 3 to 300 tokens per parameter": Scenario(ratio_range=(3.0, 300.0)),
        "noise 0.03": Scenario(noise=planning.exponential_noise(0.03)),
        "noise 0.01": Scenario(noise=planning.exponential_noise(0.01)),
        "normal noise 0.1": Scenario(noise=planning.normal_noise(0.1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--tables", type=Path, default=HERE)
    args = parser.parse_args()
    args.tables.mkdir(parents=True, exist_ok=True)
    tables = []
    for name, scenario in scenarios().items():
        tables.append(planning.compare_scenarios({name: scenario}, replicas=args.replicas, flops=AT))
        print(
            tables[-1][["scenario", "spent", "quantity", "low", "median", "high", "n"]].to_string(index=False)
        )
        pd.concat(tables).to_csv(args.tables / "scenarios.csv", index=False)
    table = pd.concat(tables, ignore_index=True)
    save_figures([("errors", simulation_errors(table))], args.tables / "figures", dpi=120)


if __name__ == "__main__":
    main()
