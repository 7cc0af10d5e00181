"""What questions cost beside the engine itself: fits per second of CPU time, and the share of a bootstrap's.

    python benchmarks/questions.py             # more than two minutes of CPU time
    python benchmarks/questions.py --only next backtest
    python benchmarks/questions.py --smoke     # seconds, for the gate

Each question is asked twice; the second time counts, so that nothing compiles. Then a bootstrap of the same
table by the same law makes as many fits, also for the second time. CPU time is that of all threads.

    fits          resamples that the answer is made of
    lanes         all fits of the engine: resamples, starts of point fits, pilots, and starts that are tried
                  where minima are searched. A bootstrap of a large table has hardly more lanes than fits
    share         fits per CPU second, over those of the bootstrap
    lane share    lanes per CPU second, over those of the bootstrap: what the question does besides fitting
"""

from __future__ import annotations

from chinchilla_jax.cli.blas_threads import keep_blas_to_one_thread

keep_blas_to_one_thread()  # as the command line does, before NumPy is imported

import argparse  # noqa: E402
import dataclasses  # noqa: E402
import functools  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import chinchilla_jax as cj  # noqa: E402
from chinchilla_jax.analysis import CoverageSpec, coverage  # noqa: E402
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments" / "coverage_designs"))
import designs  # type: ignore[import-not-found]  # noqa: E402
import judge  # type: ignore[import-not-found]  # noqa: E402

NAMES = ("designs", "coverage", "next", "multiverse", "laws", "backtest", "larger")
SAME = ("laws", "larger")  # as one before them, with more to fit
DESIGNS = ("isoflop, 12 runs", "isoflop, 20 runs", "isoflop, 40 runs", "grid, 20 runs")


@dataclasses.dataclass(frozen=True)
class Question:
    """One line of the table.

    Attributes:
        name: of the question, and what is asked.
        runs: the table that the bootstrap beside it resamples.
        ask: asks it; returns of how many fits the answer is made, by law.
    """

    name: str
    runs: cj.Runs
    ask: Callable[[], dict[str, int]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--smoke", action="store_true", help="a few fits each")
    args = parser.parse_args()
    head = f"{'question':58} {'fits':>8} {'lanes':>8} {'CPU s':>6} {'fits per CPU s':>14} "
    print(head + f"{'bootstrap':>9} {'share':>6} {'lane share':>10}")
    for name, question in questions(args.smoke).items():
        if (args.only and name not in args.only) or (args.smoke and name in SAME):
            continue
        by_law, seconds, lanes = second(question.ask)
        fits = sum(by_law.values())
        beside = [second(functools.partial(bootstrap, question.runs, *each)) for each in by_law.items()]
        own = sum(each[1] for each in beside)
        own_lanes = sum(each[2] for each in beside)
        rate, lane_share = fits / seconds, lanes / seconds / (own_lanes / own)
        print(
            f"{question.name:58} {fits:8,} {lanes:8,} {seconds:6.2f} {rate:14,.0f} {fits / own:9,.0f} "
            f"{own / seconds:6.2f} {lane_share:10.2f}",
            flush=True,
        )


def second(call: Callable[[], Any]) -> tuple[Any, float, int]:
    """What a call returns the second time, its CPU seconds and its lanes."""
    call()
    begun, lanes = time.process_time(), ENGINE_CALLS.lanes
    found = call()
    return found, time.process_time() - begun, ENGINE_CALLS.lanes - lanes


def bootstrap(runs: cj.Runs, law: str, fits: int) -> None:
    cj.bootstrap(runs, law, resamples=fits, progress=None)


def questions(smoke: bool) -> dict[str, Question]:
    """The questions by name; ten to a hundred thousand fits each, or a few."""
    runs = cj.load_runs("chinchilla", params="standard")
    design = {name: designs.rows()[name] for name in DESIGNS}
    middle = design["isoflop, 20 runs"].data_set(0, 0)
    tables, resamples, windows, simulations = (1, 40, 2, 2) if smoke else (10, 1000, 12, 64)

    def of_designs() -> dict[str, int]:
        settings = [judge.Setting.read(text) for text in ("pairs:0.001", "pairs:auto", "auto:auto")]
        for row in design.values():
            for number in range(tables):
                judge.judged(row, number, settings, resamples, 0)
        return {"chinchilla": len(design) * tables * len(settings) * resamples}

    def of_coverage() -> dict[str, int]:
        coverage(runs, CoverageSpec(datasets=4 * tables, resamples=resamples), progress=None)
        return {"chinchilla": 4 * tables * resamples}

    def of_next() -> dict[str, int]:
        simulated: Any = {"tables": simulations, "refits": 10 if smoke else 200}
        cj.next_runs(runs, flops=1e22, allowance=1e20, resamples=resamples, progress=None, **simulated)
        return {"chinchilla": 8 * simulations * simulated["refits"] + resamples}

    def of_multiverse(laws: tuple[str, ...] | None) -> dict[str, int]:
        few: Any = {"rows": ["all"], "schemes": ["pairs"], "deltas": [0.001]} if smoke else {}
        each = 20 if smoke else 200
        found = cj.multiverse(runs, laws=laws, resamples=each, progress=None, **few)
        assert found is not None
        return {str(law): each * int(count) for law, count in found.table["law"].value_counts().items()}

    def of_backtest(resamples: int) -> dict[str, int]:
        found = cj.backtest(runs, windows=windows, resamples=resamples, progress=None)
        return {"chinchilla": resamples * int(found.table["window"].nunique())}

    five = functools.partial(of_multiverse, ("chinchilla",))
    several = functools.partial(of_multiverse, None)
    few, many = 20 if smoke else 400, 4000
    return {
        "designs": Question(f"coverage designs: 4 designs, 3 settings, {tables} tables", middle, of_designs),
        "coverage": Question(f"coverage: {4 * tables} tables like the runs", runs, of_coverage),
        "next": Question(f"next runs: 8 choices, {simulations} simulated tables", runs, of_next),
        "multiverse": Question("multiverse: every choice, the five-parameter law", runs, five),
        "laws": Question("multiverse: every choice and law", runs, several),
        "backtest": Question(f"backtest: {windows} windows, {few} resamples", runs, lambda: of_backtest(few)),
        "larger": Question(f"backtest: {windows} windows, {many} resamples", runs, lambda: of_backtest(many)),
    }


if __name__ == "__main__":
    main()
