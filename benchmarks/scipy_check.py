"""Check whether SciPy, from many starts, finds a lower objective than the study's fits.

    python benchmarks/scipy_check.py                     # 12 conditions x 100 resamples x 50 starts
    python benchmarks/scipy_check.py --study results/paper   # the stored fits of a finished study
    python benchmarks/scipy_check.py --time-limit 300        # as many resamples as fit into 300 seconds
    python benchmarks/scipy_check.py --smoke                 # seconds, for the gate

Conditions are drawn by seed from the families in turn, resamples at random. Every resample is refitted from
spread-out starts by L-BFGS-B, half from the published grid of Hoffmann et al. 2022, half drawn around
plausible laws; BFGS then refines the best three, twice, restarting each time. "SciPy lower" counts CONVERGED
lanes; UNIDENTIFIED lanes claim no optimum and are counted as "elsewhere". Exit code 1 if SciPy is lower by
more than 1e-6 (relative) in a CONVERGED lane.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from _scipy_fits import Table, search, start_pool

import chinchilla_jax as cj
from chinchilla_jax._util.devices import available_cores
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.published_grid import grid_starts
from chinchilla_jax.study.spec.conditions import Condition, plan_conditions

FAMILIES = ("log_normal_noise", "additive", "multiplicative", "systematic_bias")
# The first twelve: three with noise, three additive, three multiplicative, two of bias, one unperturbed.
TURNS = (*FAMILIES, "identity", *FAMILIES * 20)
ALLOWED = 1e-6


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conditions", type=int, default=12)
    parser.add_argument("--resamples", type=int, default=100, help="per condition, drawn from 4,000")
    parser.add_argument("--starts", type=int, default=50, help="per resample")
    parser.add_argument("--seed", type=int, default=0, help="draws conditions, resamples and starts")
    parser.add_argument("--study", help="directory of a finished study whose fits to check")
    parser.add_argument("--time-limit", type=float, default=np.inf, help="seconds for SciPy, shared evenly")
    parser.add_argument("--processes", type=int, default=available_cores())
    parser.add_argument("--smoke", action="store_true", help="two conditions, two resamples, six starts")
    args = parser.parse_args()
    if args.smoke:
        args.conditions, args.resamples, args.starts = 2, 2, 6

    study = cj.open_study(args.study) if args.study else None
    spec = study.spec if study else cj.paper_study()
    rng = np.random.default_rng(args.seed)
    conditions = draw_conditions(plan_conditions(spec), args.conditions, rng)
    print(f"{'condition':40} {'lanes':>5} {'certified':>9} {'SciPy lower':>11} {'worst excess':>12} ", end="")
    print(f"{'elsewhere':>9} {'SciPy higher':>12} {'starts at best':>14} {'seconds':>7}")
    lower = checked = certified = 0
    begun = time.perf_counter()
    with start_pool(args.processes) as pool:
        for number, condition in enumerate(conditions):
            ids = np.sort(rng.choice(spec.resamples, min(args.resamples, spec.resamples), replace=False))
            fits = fits_of(condition, ids, spec, study)
            left = args.time_limit - (time.perf_counter() - begun)
            row = check(fits, args.starts, rng, pool, left / (len(conditions) - number))
            print(f"{condition.id:40} {row.line()}", flush=True)
            lower, certified, checked = lower + row.lower, certified + row.certified, checked + row.lanes
    print(f"\n{checked} resamples of {len(conditions)} conditions, {args.starts} starts each: ", end="")
    print(f"SciPy lower by more than {ALLOWED:g} in {lower} of {certified} certified")
    return int(lower > 0)


def draw_conditions(plan: tuple[Condition, ...], count: int, rng: np.random.Generator) -> list[Condition]:
    """`count` different conditions, families in turn."""
    pools = {family: [c for c in plan if c.family == family] for family in dict.fromkeys(TURNS)}
    # Sigma 0 repeats the identity.
    pools["log_normal_noise"] = [c for c in pools["log_normal_noise"] if c.value > 0]
    drawn: list[Condition] = []
    for family in TURNS:
        if len(drawn) < count and pools[family]:
            drawn.append(pools[family].pop(int(rng.integers(len(pools[family])))))
    return drawn


@dataclasses.dataclass(frozen=True)
class Fits:
    """The library's fits of some resamples of one condition."""

    design: Design
    weights: np.ndarray
    objective_value: np.ndarray
    certified: np.ndarray
    delta: float


def fits_of(condition: Condition, ids: np.ndarray, spec: cj.StudySpec, study: Any) -> Fits:
    """Fits of the resamples `ids`: as stored in a study, or made now as a study makes them."""
    from chinchilla_jax.bootstrapping.resample_fits import fit_resamples
    from chinchilla_jax.study.spec.data import load_study_data

    runs = condition.apply(load_study_data(spec, condition.params).runs, seed=spec.seed)
    objective = spec.estimator
    if not isinstance(objective, cj.Huber):
        sys.exit(f"a study by huber is compared, not one by {objective.name}")
    weights = resample_weights(len(runs), ids, spec.seed)
    if study is not None:
        table = study.fits(condition.id).set_index("resample").loc[ids]
        value, status = table["objective_value"].to_numpy(), table["status"].astype(str).to_numpy()
    else:
        point = cj.fit(runs, objective=objective)
        boot = fit_resamples(runs, weights=weights, point=point)
        value, status = boot.objective_value, boot.status
    return Fits(Design.from_runs(runs), weights, value, status == "CONVERGED", objective.down)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    lanes: int
    certified: int
    lower: int
    worst: float
    elsewhere: int
    higher: int
    at_best: float
    seconds: float

    def line(self) -> str:
        """The columns after the condition."""
        return (
            f"{self.lanes:5d} {self.certified:9d} {self.lower:11d} {self.worst:12.1e} "
            f"{self.elsewhere:9d} {self.higher:12d} {self.at_best:13.0%} {self.seconds:8.1f}"
        )


def check(fits: Fits, count: int, rng: np.random.Generator, pool: Any, limit: float) -> Row:
    """Refit the lanes with SciPy until done, or `limit` seconds are over."""
    columns = np.stack([fits.design.log_params, fits.design.log_tokens])
    starts = spread_starts(fits.design, count, rng)
    begun = time.perf_counter()
    tasks = [
        (starts, Table(columns, fits.design.log_loss, row.astype(np.float64), fits.delta))
        for row in fits.weights
    ]
    excess, at_best = [], []
    for ours, (values, best) in zip(fits.objective_value, within(pool, tasks, begun + limit), strict=False):
        excess.append(ours / best - 1.0)
        at_best.append(np.mean(values <= min(ours, best) * (1 + ALLOWED)))
    excess_array = np.array(excess)
    certified = fits.certified[: len(excess)]
    beaten = ~(excess_array <= ALLOWED)
    return Row(
        lanes=len(excess),
        certified=int(certified.sum()),
        lower=int(np.sum(beaten & certified)),
        worst=float(excess_array[certified].max(initial=-np.inf)),
        elsewhere=int(np.sum(beaten & ~certified)),
        higher=int(np.sum(excess_array < -ALLOWED)),
        at_best=float(np.mean(at_best)) if at_best else float("nan"),
        seconds=time.perf_counter() - begun,
    )


def within(pool: Any, tasks: list[Any], deadline: float) -> Iterator[Any]:
    """Results in order, a few tasks in flight, none begun after `deadline`."""
    pending: list[Any] = []
    for task in tasks:
        if time.perf_counter() > deadline:
            break
        pending.append(pool.apply_async(search, (task,)))
        if len(pending) >= 2 * pool._processes:
            yield pending.pop(0).get()
    for result in pending:
        yield result.get()


def spread_starts(design: Design, count: int, rng: np.random.Generator) -> np.ndarray:
    """Starts (count, 5) in SciPy's coordinates: half of the published grid, half around plausible laws."""
    grid = CHINCHILLA.theta_from_logs(grid_starts(count // 2), design)
    rest = count - len(grid)
    typical = np.exp(np.median(design.log_loss))
    share = rng.dirichlet(np.ones(3), rest)  # of the typical loss: parameters, tokens, floor
    exponents = np.exp(rng.uniform(np.log(0.02), np.log(2.0), (rest, 2)))
    plausible = np.column_stack([np.log(typical * share[:, :2]), typical * share[:, 2], exponents])
    starts = np.concatenate([grid, plausible])
    starts[:, 2] = np.log(starts[:, 2])
    return starts


if __name__ == "__main__":
    sys.exit(main())
