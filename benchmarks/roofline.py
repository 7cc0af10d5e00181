"""How close a certified fit comes to the limit of the machine, and where the time of a bootstrap goes.

    python benchmarks/roofline.py                                  # the unperturbed runs and one noisy set
    python benchmarks/roofline.py --smoke                          # for the gate

The floor of a fit is the time of the arithmetic that its passes over the runs need, each operation at the
rate that this machine sustains for it in a plain loop, compiled by the same library, over numbers in the
first-level cache: one core, one thread. A pass is counted as

    evaluate   2 exponentials, 1 logarithm, 1 division and 10 multiply-adds per run
    advance    1 division and 30 multiply-adds per run, in place of evaluate: from the second float64 pass of
               a fit on, whose steps are tiny
    moments    44 multiply-adds per run: 21 sums and what goes into them
    slopes     26 multiply-adds per run: 15 for two probes and what goes into them, 13 for three more, which
               86 searches in 100 need

over the distinct runs of the resample, about 63 in 100. Everything else (packing the runs, the 5 x 5 systems,
the choice of starts, NumPy around the kernel) is not part of the floor and lowers the ratio.

    achieved   CPU time of one thread per fit
    ratio      floor over achieved; 1 would be nothing but arithmetic

This is the CPU kernel; `benchmarks/gpu.py` measures what a device sustains.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _machine import require

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.resample_fits import fit_resamples
from chinchilla_jax.bootstrapping.scouting import scout
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.perturbations import parse_condition
from chinchilla_jax.solvers import Problem, SolverOptions, solve
from chinchilla_jax.solvers.batch import Batch
from chinchilla_jax.solvers.lane_kernel.engine import LaneEngine
from chinchilla_jax.solvers.lane_kernel.loading import load_kernel

EVALUATE = {"exp": 2, "log": 1, "divide": 1, "multiply-add": 10}
ADVANCE = {"divide": 1, "multiply-add": 30}
MOMENTS = {"multiply-add": 44}
SLOPES = {"multiply-add": 26}
TRIALS = 7


class FirstStage(SolverOptions):
    """No steps in float64."""

    float64_steps = 0


@dataclasses.dataclass
class Passes:
    """How many passes over the runs a fit takes, on average, in each precision."""

    single: float
    double: float
    searches: float
    runs: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conditions", nargs="*", default=["identity", "log_normal_noise=2.4#2"])
    parser.add_argument("--resamples", type=int, default=4000)
    parser.add_argument("--smoke", action="store_true", help="a few resamples")
    args = parser.parse_args()
    require("numba")
    if args.smoke:
        args.resamples = 200

    costs = {kind: operation_costs(np.dtype(kind)) for kind in ("float32", "float64")}
    print("nanoseconds per operation, sustained:")
    for kind, cost in costs.items():
        print(f"  {kind}  " + "  ".join(f"{name} {1e9 * value:.3f}" for name, value in cost.items()))
    for name in args.conditions:
        report(name, args.resamples, costs)


def report(name: str, resamples: int, costs: dict[str, dict[str, float]]) -> None:
    runs = parse_condition(name).apply(cj.load_runs("chinchilla", params="standard"), 0)
    design, options, objective = Design.from_runs(runs), SolverOptions(workers=1, engine="lanes"), cj.Huber()
    point = cj.fit(runs, starts=32, options=dataclasses.replace(options, wide_start=True, max_steps=60))
    problem = Problem(law=CHINCHILLA, design=design, objective=objective)
    stages: dict[str, float] = {}
    ids = np.arange(resamples)
    weights = timed(stages, "weights", lambda: resample_weights(len(runs), ids, 0))
    recipe = timed(
        stages,
        "scouting",
        lambda: scout(problem, point.starts.minima, options=options, raced=True),
    )
    starts = timed(stages, "choice of starts", lambda: recipe.candidates(problem, weights))
    engine = LaneEngine(load_kernel(), len(design), options)
    batch = Batch.of(problem, weights, resamples)
    stacked, widths = np.array(starts), np.full(resamples, objective.delta)

    size = engine.lanes_per_call(resamples)
    parts = [slice(first, first + size) for first in range(0, resamples, size)]

    def steps_of_all() -> Any:
        return [engine(batch[i], stacked[:, i], widths[i], widths[i]) for i in parts]

    ends = timed(stages, "Newton steps", steps_of_all)
    whole: dict[str, float] = {}
    solution = timed(whole, "solve", lambda: solve(problem, weights, starts, options=options))
    stages["certificates again, names"] = max(whole["solve"] - stages["Newton steps"], 0.0)
    boot = fit_resamples(runs, weights=weights, point=point, options=options)
    flops = np.logspace(18, 26, 161)
    timed(stages, "summary", lambda: (boot.interval(), boot.tokens_per_param(flops)))
    timed(stages, "table for writing", boot.to_frame)

    first_stage = LaneEngine(engine.kernel, len(design), FirstStage(workers=1))
    passes = counted(first_stage, batch, stacked, widths, ends)
    floor = floor_of(passes, costs)
    certified = int((solution.status == cj.Status.CONVERGED).sum())
    print(f"\n{name}: {resamples} resamples, {certified} certified, {recipe.ranks} start(s) each")
    print(
        f"  passes per fit: {passes.single:.1f} float32, {passes.double:.1f} float64, "
        f"{passes.searches:.1f} line searches, {passes.runs:.0f} runs each"
    )
    for stage, seconds in stages.items():
        print(f"  {stage:28} {1e6 * seconds / resamples:8.2f} us per fit")
    achieved = stages["Newton steps"] / resamples
    print(f"  floor of the Newton steps    {1e6 * floor:8.2f} us per fit; achieved / floor: ", end="")
    print(f"{achieved / floor:.2f}, that is {100 * floor / achieved:.0f}% of the machine")


def counted(
    first_stage: Any, batch: Batch, starts: np.ndarray, widths: np.ndarray, ends: list[Any]
) -> Passes:
    """Passes of the fits with results `ends`; `first_stage`, which has no float64, separates the stages."""
    both = np.concatenate([end.steps for end in ends])
    whole, runs = float(both.mean()), float(np.count_nonzero(batch.rows, axis=1).mean())
    single = float(first_stage(batch, starts, widths, widths).steps.mean())
    # The last float32 step of a start is certified without a line search.
    return Passes(single=single, double=whole - single, searches=max(single - len(starts), 0.0), runs=runs)


def floor_of(passes: Passes, costs: dict[str, dict[str, float]]) -> float:
    """Seconds per fit of the arithmetic alone."""

    def seconds(work: dict[str, int], kind: str) -> float:
        return sum(count * costs[kind][name] for name, count in work.items())

    per_run = passes.single * (seconds(EVALUATE, "float32") + seconds(MOMENTS, "float32"))
    per_run += seconds(EVALUATE, "float64") + (passes.double - 1) * seconds(ADVANCE, "float64")
    per_run += passes.double * seconds(MOMENTS, "float64") + passes.searches * seconds(SLOPES, "float32")
    return passes.runs * per_run


def timed(stages: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """Result of `work`; its least CPU time goes into `stages`."""
    best = np.inf
    for _ in range(3):
        begun = time.process_time()
        result = work()
        best = min(best, time.process_time() - begun)
    stages[name] = best
    return result


def operation_costs(kind: np.dtype[Any]) -> dict[str, float]:
    """Seconds per exponential, logarithm, division and multiply-add, with the kernel's own exp and log."""
    from numba import njit

    from chinchilla_jax.solvers.lane_kernel import elementary

    exp2: Any = elementary.exp2
    log: Any = elementary.log
    compiled: Any = njit(fastmath={"reassoc", "contract", "arcp", "nsz"}, error_model="numpy")

    def exponentials(x: Any, y: Any, turns: Any) -> None:
        for _ in range(turns):
            for i in range(len(x)):
                y[i] = exp2(x[i])

    def logarithms(x: Any, y: Any, turns: Any) -> None:
        for _ in range(turns):
            for i in range(len(x)):
                y[i] = log(x[i])

    def divisions(x: Any, y: Any, turns: Any) -> None:
        for _ in range(turns):
            for i in range(len(x)):
                y[i] = x[0] / x[i]

    def multiply_adds(x: Any, y: Any, turns: Any) -> None:
        # Sixteen chains hide the latency; storing the sum keeps the compiler from removing the loop.
        for _ in range(turns):
            for i in range(len(x)):
                u = x[i]
                a = u
                for _ in range(16):
                    a = a * u + u
                y[i] = a

    x, y = np.linspace(0.5, 1.5, 1024).astype(kind), np.empty(1024, kind)
    found = {}
    for name, plain, per_turn in (
        ("exp", exponentials, 1),
        ("log", logarithms, 1),
        ("divide", divisions, 1),
        ("multiply-add", multiply_adds, 16),
    ):
        loop = compiled(plain)
        loop(x, y, 1)
        found[name] = least(functools.partial(loop, x, y, 500)) / (500 * 1024 * per_turn)
    return found


def least(work: Callable[[], Any]) -> float:
    """Least CPU time of several."""
    times = []
    for _ in range(TRIALS):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


if __name__ == "__main__":
    main()
