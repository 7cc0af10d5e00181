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
    same tables   CPU time of plain bootstraps of the tables that the question fits, as a user would call
                  them, with as many resamples of each, over the question's: what it does besides these.
                  None of next runs, whose refits begin at what is known
"""

from __future__ import annotations

from chinchilla_jax._util.blas_threads import keep_blas_to_one_thread

keep_blas_to_one_thread()  # as the command line does, before NumPy is imported

import argparse  # noqa: E402
import contextlib  # noqa: E402
import dataclasses  # noqa: E402
import functools  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402
from unittest import mock  # noqa: E402

import chinchilla_jax as cj  # noqa: E402
from chinchilla_jax.analysis import CoverageSpec, coverage  # noqa: E402
from chinchilla_jax.planning import backtesting  # noqa: E402
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS  # noqa: E402
from chinchilla_jax.study.multiverse.multiverse import plan_multiverse  # noqa: E402

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
        same: keywords of the bootstraps of all tables that it fits; None where they are its own calls.
    """

    name: str
    runs: cj.Runs
    ask: Callable[[], dict[str, int]]
    same: Callable[[], list[dict[str, Any]]] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--smoke", action="store_true", help="a few fits each")
    args = parser.parse_args()
    head = f"{'question':58} {'fits':>8} {'lanes':>8} {'CPU s':>6} {'fits per CPU s':>14} "
    print(head + f"{'bootstrap':>9} {'share':>6} {'lane share':>10} {'same tables':>11}")
    for name, question in questions(args.smoke).items():
        if (args.only and name not in args.only) or (args.smoke and name in SAME):
            continue
        by_law, seconds, lanes = second(question.ask)
        fits = sum(by_law.values())
        beside = [second(functools.partial(bootstrap, question.runs, *each)) for each in by_law.items()]
        own = sum(each[1] for each in beside)
        own_lanes = sum(each[2] for each in beside)
        rate, lane_share = fits / seconds, lanes / seconds / (own_lanes / own)
        tables = called(question.ask) if question.same is None else question.same()
        plain = f"{seconds_of(tables) / seconds:.2f}" if tables else "-"
        print(
            f"{question.name:58} {fits:8,} {lanes:8,} {seconds:6.2f} {rate:14,.0f} {fits / own:9,.0f} "
            f"{own / seconds:6.2f} {lane_share:10.2f} {plain:>11}",
            flush=True,
        )


def second(call: Callable[[], Any]) -> tuple[Any, float, int]:
    """What a call returns the second time, its CPU seconds and its lanes."""
    call()
    begun, lanes = time.process_time(), ENGINE_CALLS.lanes
    found = call()
    return found, time.process_time() - begun, ENGINE_CALLS.lanes - lanes


def called(ask: Callable[[], Any]) -> list[dict[str, Any]]:
    """The bootstraps that a question calls, as keywords; without what spares them work or adds to it."""
    found, real = [], cj.bootstrap

    def noted(runs: cj.Runs, law: Any = "chinchilla", **given: Any) -> cj.BootstrapResult:
        kept = ("resamples", "seed", "objective", "scheme")
        found.append({"data": runs, "law": law, **{name: given[name] for name in kept if name in given}})
        return real(runs, law, **given)

    places = (sys.modules["chinchilla_jax.bootstrapping.bootstrap"], backtesting, judge.cj)
    with contextlib.ExitStack() as patches:
        for place in places:
            patches.enter_context(mock.patch.object(place, "bootstrap", noted))
        ask()
    return found


def seconds_of(tables: list[dict[str, Any]]) -> float:
    """CPU seconds of these bootstraps."""
    begun = time.process_time()
    for given in tables:
        cj.bootstrap(**given, progress=None)
    return time.process_time() - begun


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

    few_choices: Any = {"rows": ["all"], "schemes": ["pairs"], "deltas": [0.001]} if smoke else {}
    asked: Any = {**few_choices, "resamples": 20 if smoke else 200}

    def of_multiverse(laws: tuple[str, ...] | None) -> dict[str, int]:
        found = cj.multiverse(runs, laws=laws, progress=None, **asked)
        assert found is not None
        counts = found.table["law"].value_counts()
        return {str(law): asked["resamples"] * int(count) for law, count in counts.items()}

    def of_specifications(laws: tuple[str, ...] | None) -> list[dict[str, Any]]:
        names = ("flops", "objectives", "deltas", "countings", "costs", "rows", "schemes", "options")
        plan = plan_multiverse(runs, laws=laws, seed=0, **{**dict.fromkeys(names), **asked})
        choices = plan.choices
        return [
            {
                "data": plan.work.runs(job, counting),
                "law": choices.laws[job.law],
                "objective": choices.objectives[objective].objective,
                "scheme": plan.work.schemes[choices.rows[job.rows], scheme],
                "resamples": asked["resamples"],
            }
            for job in choices.jobs()
            for objective, counting in job.fitted()
            for scheme in choices.schemes
        ]

    def of_backtest(resamples: int) -> dict[str, int]:
        found = cj.backtest(runs, windows=windows, resamples=resamples, progress=None)
        return {"chinchilla": resamples * int(found.table["window"].nunique())}

    def multiverse(what: str, laws: tuple[str, ...] | None) -> Question:
        name = f"multiverse: every choice{what}"
        return Question(name, runs, lambda: of_multiverse(laws), lambda: of_specifications(laws))

    few, many = 20 if smoke else 400, 4000
    return {
        "designs": Question(f"coverage designs: 4 designs, 3 settings, {tables} tables", middle, of_designs),
        "coverage": Question(f"coverage: {4 * tables} tables like the runs", runs, of_coverage),
        "next": Question(f"next runs: 8 choices, {simulations} simulated tables", runs, of_next),
        "multiverse": multiverse(", the five-parameter law", ("chinchilla",)),
        "laws": multiverse(" and law", None),
        "backtest": Question(f"backtest: {windows} windows, {few} resamples", runs, lambda: of_backtest(few)),
        "larger": Question(f"backtest: {windows} windows, {many} resamples", runs, lambda: of_backtest(many)),
    }


if __name__ == "__main__":
    main()
