"""The fits beside those of other libraries and procedures: how much faster, how exact, how many certified.

    python benchmarks/run_all.py                  # minutes; prints the tables of docs/benchmarks.md
    python benchmarks/run_all.py --json FILE      # and writes what was measured
    python benchmarks/run_all.py --page           # measures nothing: run_all.json into docs/benchmarks.md
    python benchmarks/run_all.py --smoke          # for the gate: a few fits of some rows; no ratios to quote

The 240 runs of `chinchilla`, parameters by the standard formula; resamples drawn by seed 0. Every row fits
the first resamples of one list; slow ones fit fewer. Rows are measured in turn, without compilation. The
ratio is that of CPU time per fit, all threads and processes counted, to the row of chinchilla_jax in the same
round: elapsed time depends on what else runs on the machine. SciPy runs in one process per core.

    excess      of the objective over the lowest that any row found for that resample, relative
    certified   fits at a minimum: a positive definite Hessian and a Newton decrement of at most 1e-12 of the
                objective, by derivatives that no engine has a part in; the same check for every row
"""

from __future__ import annotations

from chinchilla_jax._util.blas_threads import keep_blas_to_one_thread

keep_blas_to_one_thread()  # as the command line does, before NumPy is imported

import argparse  # noqa: E402
import dataclasses  # noqa: E402
import functools  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from _machine import clocked, commit, machine, require, today  # noqa: E402
from _page import MEASURED, PAGE, filled, text  # noqa: E402
from _procedures import (  # noqa: E402
    TOOLKIT_GRID,
    Losses,
    curve_fit,
    from_start,
    from_toolkit_start,
    variable_projection,
    variable_projection_grid,
)
from _scipy_fits import Table, start_pool  # noqa: E402
from any_law import certificates  # noqa: E402
from solvers import (  # noqa: E402
    HUBER,
    Row,
    library_fits,
    of_centred,
    optimistix_bfgs,
    pooled_row,
    scipy_fits,
)

import chinchilla_jax as cj  # noqa: E402
from chinchilla_jax._util.devices import available_cores  # noqa: E402
from chinchilla_jax.bootstrapping.weights import resample_weights  # noqa: E402
from chinchilla_jax.laws import CHINCHILLA, Objective  # noqa: E402
from chinchilla_jax.laws.design import Design  # noqa: E402
from chinchilla_jax.laws.objectives import RawSquared  # noqa: E402
from chinchilla_jax.laws.published_grid import grid_starts  # noqa: E402
from chinchilla_jax.solvers import SOLVER_NAMES, Solver, SolverOptions, solve  # noqa: E402
from chinchilla_jax.solvers.libraries.quasi_newton import LibrarySolver  # noqa: E402

OURS = "chinchilla_jax"  # the row that others are compared with


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Fits of each kind of row."""

    ours: int = 4000
    libraries: int = 500
    scipy: int = 200
    every: int = 1  # start of a grid, of which every k-th is taken
    few: bool = False  # one library only


@dataclasses.dataclass
class Contender:
    """A row of the table."""

    name: str
    what: str
    measure: Callable[[], Row]
    once: bool = False  # too slow for every round
    rows: list[Row] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Group:
    """Rows that minimise the same objective from the same knowledge; one of them is called `OURS`."""

    title: str
    about: str
    contenders: list[Contender]
    raw: bool = False

    def round(self) -> None:
        """Measure every row once more."""
        for each in self.contenders:
            if each.rows and each.once:
                each.rows.append(each.rows[-1])
            else:
                each.rows.append(each.measure())


@dataclasses.dataclass(frozen=True)
class Data:
    """What all rows fit: the runs, their design, weights (R, n) and the point fit."""

    runs: cj.Runs
    design: Design
    weights: np.ndarray
    law: cj.ScalingLaw
    raw_law: cj.ScalingLaw


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--page", action="store_true", help="only write docs/benchmarks.md again")
    parser.add_argument("--processes", type=int, default=available_cores(), help="of SciPy")
    parser.add_argument("--smoke", action="store_true", help="a few fits each")
    args = parser.parse_args()
    if args.page:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(filled(page, json.loads(MEASURED.read_text(encoding="utf-8"))), encoding="utf-8")
        return
    require("optimistix")
    sizes, rounds = (Sizes(64, 8, 8, 900, few=True), 1) if args.smoke else (Sizes(), args.rounds)

    runs = cj.load_runs("chinchilla", params="standard")
    weights = resample_weights(len(runs), np.arange(sizes.ours), 0)
    law, raw_law = cj.fit(runs).law, cj.fit(runs, objective=RawSquared()).law
    data = Data(runs, Design.from_runs(runs), weights, law, raw_law)
    begun = time.perf_counter()
    with start_pool(args.processes) as pool:
        groups = [make(data, sizes, pool) for make in (resampled, least_squares, from_nothing)]
        for group in groups:
            for each in group.contenders:
                if not each.once:
                    each.measure()  # imports and compiles
        for _ in range(rounds):
            for group in groups:
                group.round()
    measured = {
        "date": today(),
        "commit": commit(),
        "machine": machine(),
        "rounds": rounds,
        "groups": [summary(group, data) for group in groups],
    }
    print(f"{runs.name}, {len(runs)} runs; {args.processes} processes; {time.perf_counter() - begun:.0f} s")
    print(text(measured))
    if args.json:
        args.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def resampled(data: Data, sizes: Sizes, pool: Any) -> Group:
    """Resamples from the point fit, by the objective of Hoffmann et al. 2022."""
    design, law = data.design, data.law
    scipy = scipy_fits(design, data.runs, data.weights[: sizes.scipy], law, pool)
    published, by_hand = scipy.values()
    rows = [
        Contender(
            "published pipeline",
            "Besiroglu et al. 2024 (arXiv:2404.10102): SciPy's BFGS on the sum of Huber losses, gradient by "
            "automatic differentiation, here compiled by JAX.",
            published,
        ),
        Contender(
            "scipy bfgs, gradient by hand",
            "The best that SciPy can do: scaled coordinates and objective, a gradient in a few NumPy calls.",
            by_hand,
        ),
    ]
    libraries: dict[str, Solver] = {name: functools.partial(solve, solver=name) for name in SOLVER_NAMES[1:]}
    libraries["optimistix-bfgs"] = LibrarySolver(name="optimistix-bfgs", minimise=optimistix_bfgs)
    if sizes.few:  # each compiles for seconds, and solvers.py tries them all
        libraries = {"optimistix-bfgs": libraries["optimistix-bfgs"]}
    some = data.weights[: sizes.libraries]
    for name, solver in libraries.items():
        library = name.partition("-")[0]
        what = f"{library}'s compiled solver, fit by fit in threads; resumed where no certificate is reached."
        rows.append(Contender(name, what, library_fits(name, solver, design, some, law)))
    for name, engine, what in (
        (f"{OURS}, engine xla", "xla", "The engine for any law, compiled by JAX."),
        (
            OURS,
            "lanes",
            "The Newton solver of `cj.bootstrap` on CPUs, certificates included.",
        ),
    ):
        options = SolverOptions(engine=engine)
        measure = library_fits(name, solve, design, data.weights, law, options=options)
        rows.append(Contender(name, what, measure))
    rows.append(whole_bootstrap(data, sizes, HUBER))
    return Group(
        "Resamples of the log loss",
        "Every resample of the runs from the fit of all runs. Huber's sum of the residuals of the log loss, "
        "delta 0.001: the bootstrap of Besiroglu et al. 2024.",
        rows,
    )


def whole_bootstrap(data: Data, sizes: Sizes, objective: Objective) -> Contender:
    """`cj.bootstrap` with all that belongs to it."""
    point = cj.fit(data.runs, objective=objective)

    def measure() -> Row:
        found, *spent = clocked(
            lambda: cj.bootstrap(data.runs, resamples=sizes.ours, seed=0, point=point, objective=objective)
        )
        theta = CHINCHILLA.theta(found.laws, data.design)
        return Row("", theta, found.objective_value, None, np.nan, *spent)

    what = "The call as a user makes it: weights drawn, starts scouted, fits, certificates, the result built."
    return Contender("cj.bootstrap, all of it", what, measure)


def least_squares(data: Data, sizes: Sizes, pool: Any) -> Group:
    """Resamples by least squares of the loss, which variable projection needs."""
    runs, law = data.runs, data.raw_law
    a, b = law.A * 1e6**-law.alpha, law.B * 1e9**-law.beta
    start = np.array([law.E, a, b, law.alpha, law.beta])
    some = data.weights[: sizes.scipy].astype(np.float64)
    tables = [Losses.drawn(runs.params / 1e6, runs.tokens / 1e9, runs.loss, row) for row in some]

    def of_x(x: np.ndarray) -> np.ndarray:
        e, a, b, alpha, beta = x.T
        laws = cj.ScalingLaw(E=e, A=a * 1e6**alpha, B=b * 1e9**beta, alpha=alpha, beta=beta)
        return CHINCHILLA.theta(laws, data.design)

    rows = [
        Contender(name, what, functools.partial(pooled_row, name, fit, tasks, pool, of_x))
        for name, fit, tasks, what in (
            (
                "vpnls' grid",
                variable_projection_grid,
                tables,
                "E, A and B by linear least squares at each of 99 x 99 pairs of exponents, the best kept, as "
                "github.com/Open-Athena/vpnls documents it (arXiv:2603.22339); here as matrix products. "
                "It needs no start.",
            ),
            (
                "vpnls' refinement",
                variable_projection,
                tables,
                "The same, then L-BFGS-B over both exponents with the gradient of the projected objective.",
            ),
            (
                "scipy curve_fit",
                curve_fit,
                [(start, table) for table in tables],
                "Levenberg-Marquardt on the formula as printed, from the fit of all runs.",
            ),
        )
    ]
    what = "The same solver, and Newton steps on the loss itself."
    rows.append(
        Contender(OURS, what, library_fits(OURS, solve, data.design, data.weights, law, RawSquared()))
    )
    rows.append(whole_bootstrap(data, sizes, RawSquared()))
    about = "Squares of the residuals of the loss itself, what vpnls and `curve_fit` minimise by default."
    return Group("Resamples, least squares of the loss", about, rows, raw=True)


def from_nothing(data: Data, sizes: Sizes, pool: Any) -> Group:
    """One fit of the runs without knowing where to begin, by the objective of `resampled`."""
    design, ones = data.design, np.ones(len(data.runs))
    hoffmann = CHINCHILLA.theta_from_logs(grid_starts(4500)[:: sizes.every], design)
    hoffmann[:, 2] = np.log(hoffmann[:, 2])
    table = Table(np.stack([design.log_params, design.log_tokens]), design.log_loss, ones)
    plain = dataclasses.replace(table, columns=np.log(np.stack([data.runs.params, data.runs.tokens])))

    def of_toolkit(x: np.ndarray) -> np.ndarray:
        e, a, b, alpha, beta = x.T
        return CHINCHILLA.theta(cj.ScalingLaw(E=e, A=a, B=b, alpha=alpha, beta=beta), design)

    def best(name: str, fit: Callable[[Any], Any], tasks: list[Any], of_x: Any) -> Row:
        row = pooled_row(name, fit, tasks, pool, np.asarray)
        lowest = [int(np.nanargmin(row.objective_value))]
        theta, value = of_x(row.theta[lowest]), row.objective_value[lowest]
        return dataclasses.replace(row, theta=theta, objective_value=value)

    def ours() -> Row:
        found, *spent = clocked(lambda: cj.fit(data.runs, starts=4500))
        theta = CHINCHILLA.theta(found.law, design)[None]
        return Row(OURS, theta, np.array([found.objective_value]), None, np.nan, *spent)

    rows = [
        Contender(name, what, functools.partial(best, name, fit, tasks, of_x), once=True)
        for name, fit, tasks, of_x, what in (
            (
                "grid of Hoffmann et al.",
                from_start,
                [(start, table) for start in hoffmann],
                of_centred,
                "Their 4,500 starts (arXiv:2203.15556), each by SciPy's L-BFGS with a gradient by hand. "
                "Measured once.",
            ),
            (
                "the toolkit's grid",
                from_toolkit_start,
                [(start, plain) for start in TOOLKIT_GRID[:: sizes.every]],
                of_toolkit,
                "The 3,125 starts that the README of github.com/kyo-takano/chinchilla shows, each by SciPy's "
                "L-BFGS with a gradient by differences, as in its source, and its log-Huber loss. Measured "
                "once.",
            ),
        )
    ]
    rows.append(Contender(OURS, "`cj.fit(runs, starts=4500)`: the same 4,500 starts in one call.", ours))
    about = "All runs once, from a grid of starts: a fit from nothing, by the objective of the first table."
    return Group("A fit from nothing", about, rows)


def summary(group: Group, data: Data) -> dict[str, Any]:
    """What a group's rows come to, for the JSON document."""
    delta = np.inf if group.raw else HUBER.down
    found = []
    for each in group.contenders:
        theta = each.rows[-1].theta
        weights = data.weights[: len(theta)] if len(theta) > 1 else np.ones((1, len(data.runs)))
        found.append(certificates(CHINCHILLA, data.design, delta, weights, theta, group.raw))
    lowest = np.full(max(len(value) for value, _ in found), np.inf)
    for value, _ in found:
        np.fmin(lowest[: len(value)], value, out=lowest[: len(value)])
    ours = next(each for each in group.contenders if each.name == OURS)
    rows = []
    for each, (value, certified) in zip(group.contenders, found, strict=True):
        excess = float(np.max(value / lowest[: len(value)] - 1.0))  # NaN where a fit has failed
        ratios = [cost(theirs) / cost(of) for theirs, of in zip(each.rows, ours.rows, strict=True)]
        rows.append(
            {
                "name": each.name,
                "what": each.what,
                "fits": len(value),
                "fits_per_second": float(np.median([row.rate for row in each.rows])),
                "fits_per_cpu_second": float(np.median([1 / cost(row) for row in each.rows])),
                "ratio": [float(of) for of in (np.median(ratios), min(ratios), max(ratios))],
                "worst_excess": excess if np.isfinite(excess) else None,
                "certified": int(certified.sum()),
            }
        )
    return {"title": group.title, "about": group.about, "rows": rows}


def cost(row: Row) -> float:
    """CPU seconds per fit."""
    return row.processor / len(row.objective_value)


if __name__ == "__main__":
    main()
