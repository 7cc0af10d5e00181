"""Coverage of an ensemble of laws beside each law alone, ten times beyond the runs, where the truth is known.

    python experiments/ensemble/run.py

Tables of 64 runs, eight budgets of eight sizes up to 1e21 FLOP, are drawn from a law among those fitted and
from laws that are none of them. Every law is fitted to every table, and the loss at 1e22 FLOP predicted.
Writes coverage.csv beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import chinchilla_jax as cj
from chinchilla_jax.analysis.held_out import ask_part, errors_of
from chinchilla_jax.analysis.splits import make_splits
from chinchilla_jax.analysis.stacking import METHODS, weigh_laws
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter
from chinchilla_jax.bootstrapping.schemes import Pairs
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.fitting.problem_fit import ask_problem_fit
from chinchilla_jax.solvers.requests import side_by_side

HERE = Path(__file__).parent
FITTED = ("chinchilla", "equal_exponents", "kaplan", "broken", "gamma")
FLOPS = np.repeat(np.geomspace(1e18, 1e21, 8), 8)
RATIOS = np.tile(np.geomspace(2, 300, 8), 8)
PLACES = {"params": np.sqrt(1e22 / (6 * np.array([20.0, 200.0])))}
PLACES["tokens"] = 1e22 / (6 * PLACES["params"])
NOISE = 0.005  # of the log loss
OBJECTIVE = cj.Huber(1.345 * NOISE)  # what delta="auto" comes to

Floats = Any


def five(n: Floats, d: Floats) -> Floats:
    return 1.82 + 480 * n**-0.348 + 2100 * d**-0.366


def kaplan(n: Floats, d: Floats) -> Floats:
    return ((6.4e13 / n) ** (0.076 / 0.103) + 1.8e13 / d) ** 0.103


def gamma(n: Floats, d: Floats) -> Floats:
    return 1.6 + (3000 * n**-0.5 + 16000 * d**-0.5) ** 0.6


def broken(n: Floats, d: Floats) -> Floats:
    bend = np.cosh(0.5 * np.log(n / 3e8)) ** -0.4
    return 1.82 + 480 * n**-0.348 * bend + 2100 * d**-0.366


def third_term(n: Floats, d: Floats) -> Floats:
    """A term of the batch, or of whatever else grows with compute, beside those of five parameters."""
    return 1.7 + 300 * n**-0.34 + 1500 * d**-0.37 + 90 * (6 * n * d) ** -0.12


def drifting(n: Floats, d: Floats) -> Floats:
    """Exponents that fall as the models grow."""
    slow = 0.012 * np.log(n / 1e8)
    return 1.7 + 480 * n ** -(0.36 - slow / 4) + 2100 * d ** -(0.37 - slow / 4)


TRUTHS: dict[str, tuple[str, Callable[[Floats, Floats], Floats]]] = {
    "chinchilla": ("fitted", five),
    "kaplan": ("fitted", kaplan),
    "gamma": ("fitted", gamma),
    "broken": ("fitted", broken),
    "third term": ("none", third_term),
    "drifting exponents": ("none", drifting),
}


def table_of(truth: Callable[[Floats, Floats], Floats], seed: int) -> cj.Runs:
    rng = np.random.default_rng(seed)
    n = np.sqrt(FLOPS / (6 * RATIOS))
    d = FLOPS / (6 * n)
    noise = np.exp(NOISE * rng.standard_normal(len(n)))
    return cj.Runs(n, d, loss=truth(n, d) * noise, name="planted")


class Case:
    """One table of a truth, and what is fitted to it."""

    def __init__(self, name: str, number: int, args: argparse.Namespace) -> None:
        """Draw the table and its resamples."""
        self.name, self.number, (self.kind, truth) = name, number, TRUTHS[name]
        self.runs = table_of(truth, seed=1000 * number + list(TRUTHS).index(name))
        self.wanted = truth(PLACES["params"], PLACES["tokens"])
        self.splits = {kind: make_splits(self.runs, kind, folds=5, seed=number) for kind in args.splits}
        ones = np.ones((1, len(self.runs)))
        drawn = Pairs().weights(self.runs, np.arange(args.resamples), number).astype(float)
        self.every, self.few = np.concatenate([ones, drawn]), np.concatenate([ones, drawn[:40]])
        self.boots: list[cj.BootstrapResult] = []
        self.errors: dict[str, list[list[Any]]] = {kind: [] for kind in args.splits}

    def ask(self, law: str) -> Any:
        """All fits of a law, as a procedure."""
        problem = read_problem("planted", self.runs, law, OBJECTIVE)
        point = yield from ask_problem_fit(problem, None)
        fitter = yield from ResampleFitter.ask_prepared(problem, point)
        drawn = self.every[1:]
        return problem, point, (yield from fitter.ask_fit(drawn, fitter.starts(drawn)))

    def parts(self, law: str) -> list[tuple[str, Any, Any]]:
        """Procedures of the fits without each part: split, all parts of it, and one of them."""
        problem = read_problem("planted", self.runs, law, OBJECTIVE)
        return [
            (kind, split.masks, ask_part(problem, mask, self.few, None))
            for kind, splits in self.splits.items()
            for split in splits
            for mask in split.masks
        ]

    def keep(self, found: Any, parts: list[tuple[str, Any, Any]], solutions: list[Any]) -> None:
        """The bootstrap of a law, and its errors on held-out runs, if it has both."""
        problem, point, solution = found
        boot = cj.BootstrapResult(
            solution=solution, design=problem.design, resample_ids=np.arange(len(solution)), point=point
        )
        by_split: dict[tuple[str, int], list[int]] = {}
        for place, (kind, masks, _) in enumerate(parts):
            by_split.setdefault((kind, id(masks)), []).append(place)
        errors: dict[str, list[Any]] = {kind: [] for kind in self.splits}
        whole = boot.estimated
        for (kind, _), places in by_split.items():
            masks = parts[places[0]][1]
            of_split = errors_of(problem, masks, [solutions[place] for place in places])
            whole = whole and bool(np.isfinite(of_split[0, masks.any(axis=0)]).all())
            errors[kind].append(of_split)
        if whole:
            self.boots.append(boot)
            for kind, each in errors.items():
                self.errors[kind].append(each)

    def rows(self, level: float) -> list[dict[str, object]]:
        """What each law and each ensemble predicts."""
        rows: list[dict[str, object]] = []

        def add(what: str, predictor: Any) -> None:
            found = cj.predict(predictor, PLACES, level=level).table
            for place in range(2):
                row, wanted = found.iloc[place], self.wanted[place]
                low, high = row["mean_low"], row["mean_high"]
                rows.append(
                    {
                        "truth": self.name, "kind": self.kind, "table": self.number, "predicted by": what,
                        "held": low <= wanted <= high, "width": np.log(high / low),
                        "error": abs(np.log(row["loss"] / wanted)),
                    }
                )  # fmt: skip

        for boot in self.boots:
            add(boot.point.model.name, boot)
        best = min(self.boots, key=lambda boot: boot.point.objective_value)
        add("the law that fits best", best)
        for kind, splits in self.splits.items():
            ones = np.ones(len(self.runs))
            ensemble = weigh_laws(
                self.runs, self.boots, self.errors[kind], splits, ones, self.number, "equal"
            )
            add(f"the best law, held out by {kind}", self.boots[int(np.argmax(ensemble.scores))])
            for method in METHODS[:2]:
                add(f"{method}, held out by {kind}", ensemble.reweighed(method))
        add("equal weights", ensemble)
        return rows


def rows_of(cases: list[Case], level: float) -> list[dict[str, object]]:
    for law in FITTED:
        fits = side_by_side([case.ask(law) for case in cases])
        parts = [case.parts(law) for case in cases]
        solutions = iter(side_by_side([part[2] for of_case in parts for part in of_case]))
        for case, found, of_case in zip(cases, fits, parts, strict=True):
            case.keep(found, of_case, [next(solutions) for _ in of_case])
        print(law, flush=True)
    return [row for case in cases for row in case.rows(level)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=int, default=10, help="of each truth")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--level", type=float, default=0.8)
    parser.add_argument("--at-once", type=int, default=10, help="tables of each truth in one call")
    parser.add_argument("--splits", nargs="+", default=["flops", "runs"])
    parser.add_argument("--rows", type=Path, help="every prediction; a run that has this file continues it")
    parser.add_argument("--out", type=Path, default=HERE / "coverage.csv")
    args = parser.parse_args()
    kept = args.rows is not None and args.rows.exists()
    rows = pd.read_csv(args.rows) if kept else pd.DataFrame()
    for first in range(int(rows["table"].max()) + 1 if kept else 0, args.tables, args.at_once):
        numbers = range(first, min(first + args.at_once, args.tables))
        new = rows_of([Case(name, number, args) for number in numbers for name in TRUTHS], args.level)
        rows = pd.concat([rows, pd.DataFrame(new)], ignore_index=True)
        if args.rows is not None:
            rows.to_csv(args.rows, index=False)
        summary(rows).to_csv(args.out, index=False, float_format="%.4g")
        print(f"{numbers[-1] + 1} of {args.tables} tables", flush=True)
    print(summary(rows).to_string(index=False))


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Coverage (%), its standard error, median width and median error (%), by kind of truth and by truth."""
    parts = []
    for by in (["kind"], ["kind", "truth"]):
        for key, group in rows.groupby([*by, "predicted by"], sort=False):
            count = group["table"].nunique() * group["truth"].nunique()
            share = group["held"].mean()
            parts.append(
                {
                    "truth is": key[0] if len(by) == 1 else key[1], "predicted by": key[-1], "tables": count,
                    "coverage (%)": 100 * share,
                    "standard error": 100 * np.sqrt(max(share * (1 - share), 0.25 / count) / count),
                    "width (%)": 100 * group["width"].median(), "error (%)": 100 * group["error"].median(),
                }
            )  # fmt: skip
    return pd.DataFrame(parts)


if __name__ == "__main__":
    main()
