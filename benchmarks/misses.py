"""Count the lanes of a bootstrap that are certified at a minimum which is not the lowest.

    python benchmarks/misses.py                        # ten small tables, chinchilla and llama3
    python benchmarks/misses.py --table mine.csv       # your own, in their place
    python benchmarks/misses.py --points --lanes 20    # point fits of few starts instead, two minutes
    python benchmarks/misses.py --smoke                # seconds, for the gate

Every lane is fitted again by `fit`, from all 4,500 starts, and some of them by SciPy: L-BFGS-B on the same
objective from 64 starts, half from the published grid of Hoffmann et al. 2022 and half drawn around plausible
laws, the best three refined by BFGS. A lane is missed where one of them ends lower by more than 1e-6
(relative). "ratio" is the largest factor by which a missed lane's tokens per parameter change, at ten times
the largest budget. "estimated" is the miss rate that the bootstrap states of itself.

`--points` counts instead the point fits that stop at fewer starts where these agree, by
`fit_until_agreed(among_many=True)`, and lie above the fit from all 4,500: of each table and of its resamples,
and of the windows of a backtest of each embedded table.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from typing import Any

import numpy as np
from _scipy_fits import Table, search, start_pool

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.fitting.problem import read_problem, read_weights
from chinchilla_jax.fitting.problem_fit import fit_problem, fit_until_agreed
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.published_grid import grid_starts
from chinchilla_jax.planning.backtesting import AXES, WINDOWS, held_out
from chinchilla_jax.solvers import Problem
from chinchilla_jax.solvers.status import is_certified

MISSED = 1e-6
HUBER = cj.Huber(delta=1e-3)  # narrow beside the noise of small tables: the hard case
EXACT = 1e-18  # objective of runs that are met exactly
EMBEDDED = (
    "chinchilla",
    "llama3",
    "gadre_c4",
    "gadre_redpajama",
    "gadre_refinedweb",
    "gemstones",
    "olmo_ladder",
    "datablations",
)
TRUTH = cj.ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="append", default=[], help="a table that load_runs reads")
    parser.add_argument("--only", help="tables whose names contain this")
    parser.add_argument("--lanes", type=int, default=400, help="resamples fitted again by fit, per table")
    parser.add_argument("--scipy", type=int, default=20, help="of these, how many by SciPy too")
    parser.add_argument("--starts", type=int, default=64, help="of SciPy, per resample")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--points", action="store_true", help="count point fits from few starts")
    parser.add_argument("--smoke", action="store_true", help="two tables, few lanes")
    args = parser.parse_args()
    tables = {path: cj.load_runs(path) for path in args.table} or own_tables()
    if args.only:
        tables = {name: runs for name, runs in tables.items() if args.only in name}
    if args.smoke:
        tables = dict(list(tables.items())[:2])
        args.lanes, args.scipy, args.starts = 10, 1, 8
    if args.points:
        return point_fits(tables, args.lanes, windows=not (args.table or args.only or args.smoke))
    print(f"{'table':24} {'runs':>4} {'lanes':>5} {'counted':>7} {'missed':>6} {'SciPy lanes':>11} ", end="")
    print(f"{'SciPy lower':>11} {'worst excess':>12} {'ratio':>8} {'estimated':>9} {'seconds':>7}")
    rows = []
    with start_pool(args.processes) as pool:
        for name, runs in tables.items():
            begun = time.perf_counter()
            row = check(runs, args.lanes, args.scipy, args.starts, pool)
            print(f"{name[-24:]:24} {row.line()} {time.perf_counter() - begun:7.1f}", flush=True)
            rows.append(row)
    lanes, missed = sum(row.counted for row in rows), sum(row.missed for row in rows)
    by_scipy, lower = sum(row.scipy for row in rows), sum(row.lower for row in rows)
    print(f"\nmissed {missed} of {lanes} counted lanes ({missed / max(lanes, 1):.2%}) against fit, ", end="")
    print(f"{lower} of {by_scipy} against SciPy")
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one table."""

    runs: int
    lanes: int
    counted: int
    missed: int
    scipy: int
    lower: int
    excess: float
    ratio: float
    estimated: float

    def line(self) -> str:
        """The row as text, below the header that `main` prints."""
        return (
            f"{self.runs:4} {self.lanes:5} {self.counted:7} {self.missed:6} {self.scipy:11} {self.lower:11} "
            f"{self.excess:12.2g} {self.ratio:8.3g} {self.estimated:9.2%}"
        )


def own_tables() -> dict[str, cj.Runs]:
    """Ten small tables by name, then the embedded ones."""
    chinchilla, llama3 = cj.load_runs("chinchilla"), cj.load_runs("llama3")
    return {
        "isoflop 12, 1%": simulated(isoflop(3, 4), 0.01, 1),
        "isoflop 16, 2%": simulated(isoflop(4, 4), 0.02, 2),
        "isoflop 20, 0.3%": simulated(isoflop(4, 5), 0.003, 3),
        "isoflop 40, 1%": simulated(isoflop(5, 8), 0.01, 4),
        "grid 16, 1%": simulated(grid(4, 4), 0.01, 5),
        "grid 20, 2%": simulated(grid(5, 4), 0.02, 6),
        "grid 36, 0.3%": simulated(grid(6, 6), 0.003, 7),
        "16 of chinchilla": some_of(chinchilla, 16, 8),
        "36 of chinchilla": some_of(chinchilla, 36, 9),
        "24 of llama3": some_of(llama3, 24, 10),
        "chinchilla": chinchilla,
        "llama3": llama3,
    }


def point_fits(tables: dict[str, cj.Runs], resamples: int, windows: bool) -> int:
    """Print how many point fits from few starts lie above that from all 4,500, table by table."""
    print(f"{'table':24} {'fits':>5} {'missed':>6} {'other status':>12} {'from all starts':>15}")
    found = np.zeros(4, int)
    for name, runs in tables.items():
        problem = read_problem("misses", runs, CHINCHILLA, HUBER)
        drawn = resample_weights(len(runs), np.arange(resamples), 0).astype(float)
        fits = [(problem, None), *((problem, read_weights(each, len(runs))) for each in drawn)]
        found += point_line(name, fits)
    for name in EMBEDDED if windows else ():
        runs = cj.load_runs(name)
        for over in AXES:
            parts = [runs.take(np.flatnonzero(~out)) for _, out in held_out(runs, over, WINDOWS)]
            fits = [(read_problem("misses", part, CHINCHILLA, HUBER), None) for part in parts]
            found += point_line(f"{name}, by {over}", fits)
    print(f"\nmissed {found[1]} of {found[0]}, another status {found[2]}; {found[3]} from all starts")
    return 0


def point_line(name: str, fits: list[tuple[Problem, np.ndarray | None]]) -> np.ndarray:
    """Counts of one line, which is printed: fits, missed, of another status, made from all starts."""
    counts = np.zeros(4, int)
    for problem, weights in fits:
        few = fit_until_agreed(problem, weights, among_many=True)
        every = few if few.starts.n == 4500 else fit_problem(problem, weights)
        missed = excess_of(few.objective_value, every.objective_value) > MISSED
        counts += (1, missed, few.status is not every.status, few is every)
    print(f"{name[-24:]:24} {counts[0]:5} {counts[1]:6} {counts[2]:12} {counts[3]:15}", flush=True)
    return counts


def isoflop(budgets: int, sizes: int) -> tuple[np.ndarray, np.ndarray]:
    """Params and tokens: `sizes` models around the optimum of each budget."""
    flops = np.repeat(np.geomspace(1e18, 1e21, budgets), sizes)
    spread = np.tile(np.geomspace(1 / 4, 4, sizes), budgets)
    params = np.sqrt(flops / 6 / 20) * spread
    return params, flops / (6 * params)


def grid(sizes: int, lengths: int) -> tuple[np.ndarray, np.ndarray]:
    """Params and tokens: every size with every token count."""
    params, tokens = np.meshgrid(np.geomspace(5e7, 2e9, sizes), np.geomspace(1e9, 5e10, lengths))
    return params.ravel(), tokens.ravel()


def simulated(places: tuple[np.ndarray, np.ndarray], noise: float, seed: int) -> cj.Runs:
    """Runs at these places, with losses of one law and relative noise."""
    params, tokens = places
    errors = noise * np.random.default_rng(seed).standard_normal(len(params))
    loss = TRUTH.loss(params, tokens) * np.exp(errors)
    return cj.Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)


def some_of(runs: cj.Runs, count: int, seed: int) -> cj.Runs:
    """`count` of the runs, by lot."""
    rows = np.sort(np.random.default_rng(seed).choice(len(runs), count, replace=False))
    columns = {name: getattr(runs, name)[rows] for name in ("params", "tokens", "flops", "loss")}
    return cj.Runs(**columns)


def check(runs: cj.Runs, lanes: int, n_scipy: int, n_starts: int, pool: Any) -> Row:
    """Compare the first resamples of a bootstrap with fits of each from many starts."""
    boot = cj.bootstrap(runs, resamples=lanes, objective=HUBER, scheme="pairs")
    weights = resample_weights(len(runs), np.arange(lanes), 0)
    counted = np.flatnonzero(is_certified(boot.status_codes))
    flops = 10 * runs.flops.max()
    missed, excess, ratio = 0, 0.0, 1.0
    for lane in counted:
        again = cj.fit(runs, objective=HUBER, weights=weights[lane])
        # `fit` weights runs with a mean of one over those drawn; the bootstrap by counts.
        value = objective(boot.solution.theta[lane], boot.design, weights[lane])
        best = objective(again.theta, boot.design, weights[lane])
        over = excess_of(value, best)
        if over > MISSED:
            missed += 1
            excess = max(excess, over)
            change = float(boot.laws[lane].tokens_per_param(flops) / again.law.tokens_per_param(flops))
            ratio = max(ratio, change, 1 / change) if change > 0 else np.inf
    sample = counted[:n_scipy]
    lower = 0
    for lane, (_, best) in zip(
        sample,
        pool.imap(search, [task(boot.design, weights[i], n_starts, int(i)) for i in sample]),
        strict=True,
    ):
        value = objective(boot.solution.theta[lane], boot.design, weights[lane])
        over = excess_of(value, best)
        if over > MISSED:
            lower, excess = lower + 1, max(excess, over)
    return Row(
        runs=len(runs),
        lanes=lanes,
        counted=len(counted),
        missed=missed,
        scipy=len(sample),
        lower=lower,
        excess=excess,
        ratio=ratio,
        estimated=boot.miss_rate,
    )


def excess_of(value: float, best: float) -> float:
    """How far `value` lies above `best`, relative."""
    return 0.0 if value <= EXACT else value / max(best, EXACT) - 1


def objective(theta: np.ndarray, design: Design, weights: np.ndarray) -> float:
    """Huber's objective at theta, by itself."""
    return float(HUBER.value(CHINCHILLA.residuals(theta, design), weights.astype(float)))


def task(design: Design, weights: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, Table]:
    """Starts and data of one resample for SciPy, whose coordinates have ln E."""
    rng = np.random.default_rng(seed)
    published = grid_starts(count - count // 2)
    around = np.column_stack(
        [
            rng.uniform(0, 20, count // 2),
            rng.uniform(0, 20, count // 2),
            rng.uniform(-3, 1, count // 2),
            rng.uniform(0.05, 1.0, (count // 2, 2)),
        ]
    )
    theta = CHINCHILLA.theta_from_logs(np.concatenate([published, around]), design)
    starts = theta.copy()
    starts[:, 2] = np.log(theta[:, 2])
    table = Table(
        columns=np.stack([design.log_params, design.log_tokens]),
        log_loss=design.log_loss,
        weights=weights.astype(float),
    )
    return starts, table


if __name__ == "__main__":
    sys.exit(main())
