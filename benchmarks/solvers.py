"""The solvers side by side on the same resamples: fits per second, quality and failures.

    python benchmarks/solvers.py                                   # identity of the paper study
    python benchmarks/solvers.py --condition "additive=1e7"        # any condition of a study
    python benchmarks/solvers.py --smoke                           # for the gate, under a minute

Every row fits the first resamples of the same list, from one start (the point fit, as the published pipeline
does), on all cores, without compile time; slow rows fit fewer. The baseline is that pipeline (Besiroglu et
al. 2024): SciPy's BFGS on (ln A, ln B, ln E, alpha, beta) with a gradient by automatic differentiation, in a
process pool. The second row is the best that SciPy can do: centred and scaled coordinates, a gradient by
hand. The other libraries are measured as this library uses them, see solvers/libraries/quasi_newton.py.

    excess     objective relative to the lowest that any row found for that resample, less one
    failures   lanes without a certificate (library rows); excess above 1e-6 (SciPy rows, which have none)
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _machine import clocked, require
from _scipy_fits import Table, minimise, start_pool
from scipy import optimize

import chinchilla_jax as cj
from chinchilla_jax._util.devices import available_cores
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.laws import CHINCHILLA, Objective
from chinchilla_jax.laws.design import Design
from chinchilla_jax.perturbations import parse_condition
from chinchilla_jax.solvers import SOLVER_NAMES, Problem, Solver, SolverOptions, solve
from chinchilla_jax.solvers.base import DEFAULT_OPTIONS
from chinchilla_jax.solvers.libraries.quasi_newton import LibrarySolver

BAD = 1e-6
HUBER = cj.Huber()


@dataclasses.dataclass(frozen=True)
class Row:
    """Result of one solver.

    Attributes:
        name: of the solver.
        theta: fitted laws (R, 5), in the coordinates of `CHINCHILLA`.
        objective_value: (R,).
        certified: lanes (R,), or None where the solver has no certificate.
        steps: mean of the lanes.
        seconds: of all lanes.
        processor: seconds of CPU time, of all threads or processes.
        compile_seconds: of the first call, beyond those of the second.
    """

    name: str
    theta: np.ndarray
    objective_value: np.ndarray
    certified: np.ndarray | None
    steps: float
    seconds: float
    processor: float
    compile_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Fits per second."""
        return len(self.objective_value) / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--condition", default="identity", help='id, such as "multiplicative=0.001"')
    parser.add_argument("--resamples", type=int, default=4000, help="lanes of newton")
    parser.add_argument("--fewer", type=int, default=500, help="lanes of the other library solvers")
    parser.add_argument("--scipy", type=int, default=200, help="lanes of SciPy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=available_cores())
    parser.add_argument("--smoke", action="store_true", help="a few lanes each")
    args = parser.parse_args()
    require("optimistix")
    if args.smoke:
        args.resamples, args.fewer, args.scipy = 128, 16, 8

    runs = parse_condition(args.condition).apply(cj.load_runs("chinchilla", params="standard"), args.seed)
    design = Design.from_runs(runs)
    weights = resample_weights(len(runs), np.arange(args.resamples), args.seed)
    law = cj.fit(runs, starts=64).law
    with start_pool(args.processes) as pool:
        fits = scipy_fits(design, runs, weights[: args.scipy], law, pool)
        rows = [warmed(measure) for measure in fits.values()]
    for engine in ("lanes", "xla"):
        options = SolverOptions(engine=engine)
        rows.append(library_row(f"newton, {engine}", solve, design, weights, law, options))
    for name in SOLVER_NAMES[1:]:
        named = functools.partial(solve, solver=name)
        rows.append(library_row(name, named, design, weights[: args.fewer], law))
    optimistix = LibrarySolver(name="optimistix-bfgs", minimise=optimistix_bfgs)
    rows.append(library_row("optimistix-bfgs", optimistix, design, weights[: args.fewer], law))
    print(f"{args.condition}, {len(runs)} runs, {args.processes} cores")
    print_table(rows)


def library_row(
    name: str,
    solver: Solver,
    design: Design,
    weights: np.ndarray,
    law: cj.ScalingLaw,
    options: SolverOptions = DEFAULT_OPTIONS,
) -> Row:
    """A solver of this library, or a library's solver as this one uses it, under `Huber()`."""
    return warmed(library_fits(name, solver, design, weights, law, options=options))


def library_fits(
    name: str,
    solver: Solver,
    design: Design,
    weights: np.ndarray,
    law: cj.ScalingLaw,
    objective: Objective = HUBER,
    options: SolverOptions = DEFAULT_OPTIONS,
) -> Callable[[], Row]:
    """A function that fits every lane from the law and measures it."""
    problem = Problem(law=CHINCHILLA, design=design, objective=objective)
    starts = np.tile(CHINCHILLA.theta(law, design), (len(weights), 1))

    def measure() -> Row:
        found, *spent = clocked(lambda: solver(problem, weights, starts, options=options))
        certified, steps = found.status == cj.Status.CONVERGED, float(found.steps.mean())
        return Row(name, found.theta, found.objective_value, certified, steps, *spent)

    return measure


def warmed(measure: Callable[[], Row]) -> Row:
    """The second of two measurements, with what the first took longer: imports and compilation."""
    begun = time.perf_counter()
    measure()
    first = time.perf_counter() - begun
    row = measure()
    return dataclasses.replace(row, compile_seconds=max(first - row.seconds, 0.0))


def optimistix_bfgs(function: Callable[[Any], Any], start: Any, steps: Any, tolerance: float) -> Any:
    """BFGS of optimistix as a minimiser for quasi_newton.py; its number of steps must be static."""
    import optimistix

    solver: Any = optimistix.BFGS(rtol=tolerance, atol=tolerance)
    found: Any = optimistix.minimise(lambda x, _: function(x), solver, start, max_steps=200, throw=False)
    return found.value, found.stats["num_steps"]


def scipy_fits(
    design: Design, runs: cj.Runs, weights: np.ndarray, law: cj.ScalingLaw, pool: Any
) -> dict[str, Callable[[], Row]]:
    """The two baselines: functions that fit every lane from the law and measure it."""
    theta = CHINCHILLA.theta(law, design)
    centred = np.concatenate([theta[:2], np.log(theta[2:3]), theta[3:]])
    natural = np.array([np.log(law.A), np.log(law.B), np.log(law.E), law.alpha, law.beta])
    logs = np.log(np.stack([runs.params, runs.tokens]))
    weights = weights.astype(np.float64)
    published = [(natural, Table(logs, design.log_loss, row)) for row in weights]
    columns = np.stack([design.log_params, design.log_tokens])
    by_hand = [(centred, Table.drawn(columns, design.log_loss, row)) for row in weights]
    return {
        name: functools.partial(pooled_row, name, fit, tasks, pool, of_x)
        for name, fit, tasks, of_x in (
            ("scipy bfgs, published", published_fit, published, lambda x: of_natural(x, design)),
            ("scipy bfgs, by hand", fit_by_hand, by_hand, of_centred),
        )
    }


def of_centred(x: np.ndarray) -> np.ndarray:
    """Laws (R, 5) of the coordinates of `_scipy_fits`, on standardised columns."""
    return np.column_stack([x[:, :2], np.exp(x[:, 2]), x[:, 3:]])


def of_natural(x: np.ndarray, design: Design) -> np.ndarray:
    """Laws (R, 5) of (ln A, ln B, ln E, alpha, beta)."""
    a, b, e, alpha, beta = x.T
    laws = cj.ScalingLaw(E=np.exp(e), A=np.exp(a), B=np.exp(b), alpha=alpha, beta=beta)
    return CHINCHILLA.theta(laws, design)


def pooled_row(
    name: str,
    fit: Callable[[Any], Any],
    tasks: list[Any],
    pool: Any,
    of_x: Callable[[np.ndarray], np.ndarray],
) -> Row:
    """Fits by SciPy in processes of one thread each; `of_x` turns what they return into laws."""
    begun = time.perf_counter()
    count = pool._processes
    results = pool.map(functools.partial(timed, fit), tasks, chunksize=max(len(tasks) // (4 * count), 1))
    seconds = time.perf_counter() - begun
    value, steps, x, processor = (np.array(each) for each in zip(*results, strict=True))
    return Row(name, of_x(x), value, None, float(steps.mean()), seconds, float(processor.sum()))


def timed(fit: Callable[[Any], Any], task: Any) -> tuple[float, int, np.ndarray, float]:
    """Objective, iterations, where it ended, and CPU seconds of one fit."""
    used = time.process_time()
    value, steps, x = fit(task)
    return value, steps, x, time.process_time() - used


def fit_by_hand(task: tuple[np.ndarray, Table]) -> tuple[float, int, np.ndarray]:
    """Objective, iterations and end of one fit."""
    start, table = task
    result = minimise(start, table)
    return result.fun * table.unit, result.nit, result.x


def published_fit(task: tuple[np.ndarray, Table]) -> tuple[float, int, np.ndarray]:
    """One fit of the published pipeline: sum of Huber losses, natural coordinates, automatic gradient."""
    import jax

    start, table = task
    arrays = (table.columns, table.log_loss, table.weights)
    value_and_gradient = automatic(table.delta)
    with jax.enable_x64(True):

        def both(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = value_and_gradient(x, *arrays)
            return float(value), np.asarray(gradient)

        with np.errstate(all="ignore"):
            result = optimize.minimize(both, start, jac=True, method="BFGS")
    return result.fun, result.nit, result.x


@functools.cache
def automatic(delta: float) -> Callable[..., Any]:
    """Objective and gradient by JAX, compiled once per process."""
    import jax
    import jax.numpy as jnp

    def objective(x: Any, columns: Any, log_loss: Any, weights: Any) -> Any:
        terms = jnp.stack([x[0] - x[3] * columns[0], x[1] - x[4] * columns[1], jnp.full_like(log_loss, x[2])])
        residual = jax.nn.logsumexp(terms, axis=0) - log_loss
        psi = jnp.clip(residual, -delta, delta)
        return jnp.sum(weights * psi * (residual - 0.5 * psi))

    return jax.jit(jax.value_and_grad(objective))


def print_table(rows: list[Row]) -> None:
    lowest = np.full(max(len(row.objective_value) for row in rows), np.inf)
    for row in rows:
        part = lowest[: len(row.objective_value)]
        np.minimum(part, row.objective_value, out=part)
    baseline = rows[0].rate
    head = (
        f"{'solver':22} {'lanes':>6} {'fits/s':>8} {'ratio':>7} {'median excess':>13} {'worst excess':>12} "
    )
    print(head + f"{'failures':>8} {'mean steps':>10} {'compile (s)':>11}")
    for row in rows:
        excess = row.objective_value / lowest[: len(row.objective_value)] - 1.0
        failures = np.sum(~row.certified) if row.certified is not None else np.sum(~(excess <= BAD))
        ratio, middle = row.rate / baseline, np.median(excess)
        print(
            f"{row.name:22} {len(excess):6d} {row.rate:8.0f} {ratio:7.1f} {middle:13.1e} "
            f"{excess.max():12.1e} {failures:8d} {row.steps:10.1f} {row.compile_seconds:11.1f}"
        )


if __name__ == "__main__":
    main()
