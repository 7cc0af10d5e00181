"""What leaving out resamples at E = 0 does to an interval: coverage both ways, on the same data sets.

A grid of four sizes and six token counts under a law with E = 0.3, which these runs hardly show. The interval
is the 80% one (percentile, pairs) of the tokens per parameter at ten times the largest budget.
"""

from __future__ import annotations

import argparse

import numpy as np

import chinchilla_jax as cj

LAW = cj.ScalingLaw(E=0.3, A=12.0, B=400.0, alpha=0.12, beta=0.3)


def main() -> None:
    """Print how often the interval holds the truth, and on which side it misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=220)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.016, help="standard deviation of ln loss")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    grid = np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(3e8, 3e10, 6))
    params, tokens = (axis.ravel() for axis in grid)
    flops = 6 * params * tokens
    budget = 10 * flops.max()
    truth = float(LAW.tokens_per_param(budget))
    # Intervals that hold the truth, lie below it, lie above it.
    counts = {"keep": [0, 0, 0], "drop": [0, 0, 0]}
    shares = []
    for number in range(args.datasets):
        noise = np.random.default_rng(number).standard_normal(len(params))
        loss = LAW.loss(params, tokens) * np.exp(args.noise * noise)
        boot = cj.bootstrap(
            cj.Runs(params, tokens, flops, loss),
            objective=cj.Huber(1e-3),
            scheme="pairs",
            resamples=args.resamples,
            seed=number,
            options=cj.SolverOptions(workers=args.workers),
        )
        shares.append(float(boot.at_boundary.mean()))
        for boundary, count in counts.items():
            row = boot.with_boundary(boundary).tokens_per_param([budget]).iloc[0]
            low, high = row["low"], row["high"]
            count[0 if low <= truth <= high else 1 if high < truth else 2] += 1
    print(f"{args.datasets} data sets, {np.mean(shares):.0%} of their resamples at E = 0")
    for boundary, (inside, below, above) in counts.items():
        share = inside / args.datasets
        error = (share * (1 - share) / args.datasets) ** 0.5
        print(
            f"{boundary}: 80% covers {100 * share:.1f} +- {100 * error:.1f}; intervals below the truth "
            f"{below}, above {above}"
        )


if __name__ == "__main__":
    main()
