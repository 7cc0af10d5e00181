"""Certified fits per second of every built-in law: the JAX engine beside the solvers it is compared with.

    python benchmarks/any_law.py                     # 4,000 resamples from the point fit
    python benchmarks/any_law.py --data DIR          # with the tables of DIR for laws that need them
    python benchmarks/any_law.py --laws kaplan broken --rounds 5
    python benchmarks/any_law.py --smoke             # a few lanes each

The table is that of 240 runs wherever a law needs no more than params and tokens and is determined by them.
Others have a table of their own: datablations.csv and routing.csv of --data where it is given, else 240
planted runs of the law at its first guesses, with half a percent of noise.

Every row fits the first resamples of the same list, each from the point fit, on all cores, without compile
time; the libraries fit fewer. A row is measured several times, in turn with the others; its best time counts.

    jax_newton          solvers/jax_newton, one engine for every law
    jaxopt-lbfgs,       their L-BFGS (memory 10) on the objective divided by delta and by the sum of the
    optax-lbfgs         weights, in coordinates with ln E, lane by lane in threads; rounds of 200 iterations
                        for what is not certified, three at most
    lanes               the CPU kernel that knows the five-parameter law only, beside it

A lane of the libraries is certified as the others are: a Newton decrement of at most 1e-12 in float64, with a
positive definite Hessian. `excess` is the objective relative to the lowest of any row for that resample.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _machine import clocked

import chinchilla_jax as cj
from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.laws import CHINCHILLA, LAWS, Huber, Law, NaturalLaw, Objective
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.objectives import residual_loss
from chinchilla_jax.solvers import Problem, SolverOptions, solve
from chinchilla_jax.solvers.dispatch import solve_generally
from chinchilla_jax.solvers.libraries.jaxopt_minimisers import jaxopt_lbfgs
from chinchilla_jax.solvers.libraries.optax_minimisers import optax_lbfgs
from chinchilla_jax.solvers.status import is_certified

# Of laws that the 240 runs do not determine: file, how to read it.
OWN_TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "farseer": ("datablations.csv", {"where": "corpus == 'c4'"}),
    "repeated_data": ("datablations.csv", {"where": "corpus == 'c4'"}),
    "routed_experts": (
        "routing.csv",
        {"where": "router == 'S-Base'", "columns": {"params": "params", "flops": ""}},
    ),
}
_SMOKE = ("chinchilla", "kaplan", "gamma")
UNDETERMINED = ("farseer",)  # by the 240 runs
_ROUNDS, _ITERATIONS, _BLOCK = 3, 200, 8


@dataclasses.dataclass
class Row:
    """One solver on the first `lanes` resamples."""

    name: str
    lanes: int
    call: Callable[[int], tuple[np.ndarray, np.ndarray, float]]  # lanes -> objective, certified, mean steps
    seconds: float = np.inf
    processor: float = np.inf
    value: Any = None
    certified: Any = None
    steps: float = 0.0

    def measure(self) -> None:
        """Fit all lanes once more."""
        (value, certified, steps), seconds, used = clocked(lambda: self.call(self.lanes))
        self.seconds, self.processor = min(self.seconds, seconds), min(self.processor, used)
        self.value, self.certified, self.steps = value, certified, steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--laws", nargs="+", choices=list(LAWS), help="default: all")
    parser.add_argument("--data", type=Path, help="folder of datablations.csv and routing.csv")
    parser.add_argument("--resamples", type=int, default=4000, help="lanes of the compiled engines")
    parser.add_argument(
        "--libraries", type=int, default=64, help="lanes of jaxopt and optax; 0 leaves them out"
    )
    parser.add_argument("--rounds", type=int, default=3, help="times each row is measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a few lanes each")
    args = parser.parse_args()
    if args.smoke:
        args.resamples, args.libraries, args.rounds = 64, 8, 1
    names = args.laws or (_SMOKE if args.smoke else list(LAWS))

    print(f"{available_cores()} cores, {args.rounds} rounds; jax {jax.__version__}")
    head = f"{'law':16} {'runs':>14} {'solver':13} {'lanes':>5} {'certified':>9} {'per s':>8} {'CPU us':>8} "
    print(head + f"{'ratio':>7} {'steps':>6} {'median excess':>13} {'worst':>8} {'compile (s)':>11}")
    for name in names:
        law = LAWS[name]()
        runs = table_of(law, args.data)
        point = cj.fit(runs, law)
        if not point.status.certified:
            print(
                f"{name:16} {len(runs)} {runs.name}: no certified fit to resample from ({point.status.name})"
            )
            continue
        rows = rows_of(law, runs, point, args)
        compiling = []
        for row in rows:
            begun = time.perf_counter()
            row.call(row.lanes if row.lanes > 1000 else min(row.lanes, 2 * _BLOCK))
            compiling.append(time.perf_counter() - begun)
        for _ in range(args.rounds):
            for row in rows:
                row.measure()
        print_rows(name, f"{len(runs)} {runs.name}", rows, compiling)


def table_of(law: Law, data: Path | None) -> cj.Runs:
    """The runs that a law is fitted to."""
    if not law.columns and law.name not in UNDETERMINED:
        return cj.load_runs("chinchilla", params="standard")
    if data is not None and law.name in OWN_TABLES:
        file, reading = OWN_TABLES[law.name]
        return cj.load_runs(data / file, variables=law.columns, **reading)
    assert isinstance(law, NaturalLaw)
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(17, 23, 240)), np.exp(rng.uniform(20, 27, 240))
    drawn = {
        "sparsity": rng.choice([0.0, 0.5, 0.75, 0.9, 0.95, 0.98], 240),
        "params_active": n * np.exp(-rng.uniform(0, 2, 240)),
        "n_experts": rng.choice([1.0, 2.0, 8.0, 32.0, 128.0, 512.0], 240),
        "unique_tokens": d / np.exp(rng.uniform(0, 5, 240)),
    }
    x = {"params": n, "tokens": d, **{name: drawn[name] for name in law.columns}}
    with float64_scope():
        p = {name: kind.guess for name, kind in law.kinds.items()}
        loss = np.asarray(law.predict(p, {name: jnp.asarray(values) for name, values in x.items()}))
    noise = np.exp(0.005 * rng.standard_normal(240))
    return cj.Runs(n, d, loss=loss * noise, name="planted", variables={c: drawn[c] for c in law.columns})


def rows_of(law: Law, runs: cj.Runs, point: cj.FitResult, args: Any) -> list[Row]:
    design, objective = law.design(runs), point.objective
    problem = Problem(law=law, design=design, objective=objective)
    weights = resample_weights(len(runs), np.arange(args.resamples), args.seed)
    start = np.asarray(point.starts.minima[0])

    def of_solution(solver: Callable[..., Any]) -> Callable[[int], tuple[np.ndarray, np.ndarray, float]]:
        def call(lanes: int) -> tuple[np.ndarray, np.ndarray, float]:
            found = solver(problem, weights[:lanes], np.tile(start, (lanes, 1)))
            return found.objective_value, is_certified(found.status), float(found.steps.mean())

        return call

    found = [Row("jax_newton", args.resamples, of_solution(solve_generally))]
    if args.libraries:
        for name, minimiser in (("jaxopt-lbfgs", jaxopt_lbfgs), ("optax-lbfgs", optax_lbfgs)):
            found.append(
                Row(name, args.libraries, library(law, design, objective, weights, start, minimiser))
            )
    if law == CHINCHILLA:
        solver = functools.partial(solve, options=SolverOptions(engine="lanes"))
        found.append(Row("lanes", args.resamples, of_solution(solver)))
    return found


def library(
    law: Law, design: Design, objective: Objective, weights: np.ndarray, start: np.ndarray, minimiser: Any
) -> Callable[[int], tuple[np.ndarray, np.ndarray, float]]:
    """A library's minimiser on this law, one lane after the other in each of the threads."""
    bounded, delta = list(law.bounded), width(objective)
    with float64_scope():
        constants = jnp.asarray(law.constants(design))
        places = [jnp.asarray(column) for column in design.places]
        y = jnp.asarray(design.log_loss)

    def theta_of(x: Any) -> Any:
        return x.at[jnp.array(bounded)].set(jnp.exp(x[jnp.array(bounded)])) if bounded else x

    def block(starts: Any, rows: Any) -> Any:
        def lane(inputs: Any) -> Any:
            begun, row = inputs

            def scaled(x: Any) -> Any:
                of_runs = jax.vmap(type(law).log_loss, in_axes=(None, 0, None))
                r = of_runs(theta_of(x), places, constants) - y
                return jnp.sum(row * residual_loss(r, delta, delta)) / (delta * jnp.sum(row))

            x, taken = minimiser(scaled, begun, jnp.int32(_ITERATIONS), 1e-11)
            return theta_of(x), taken

        return jax.lax.map(lane, (starts, rows))

    compiled = jax.jit(block)

    def work(inputs: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        with float64_scope():
            theta, taken = compiled(*inputs)
            return np.asarray(theta), np.asarray(taken)

    def call(lanes: int) -> tuple[np.ndarray, np.ndarray, float]:
        rows = weights[:lanes].astype(np.float64)
        theta, steps = np.tile(start, (lanes, 1)), np.zeros(lanes)
        value, certified = certificates(law, design, delta, rows, theta)
        for _ in range(_ROUNDS):
            left = np.flatnonzero(~certified)
            if not len(left):
                break
            x = theta[left].copy()
            x[:, bounded] = np.log(np.maximum(x[:, bounded], 1e-12))
            blocks = [np.resize(np.arange(first, min(first + _BLOCK, len(left))), _BLOCK)
                      for first in range(0, len(left), _BLOCK)]  # fmt: skip
            with ThreadPoolExecutor(available_cores()) as pool:
                ends = list(pool.map(work, [(x[some], rows[left[some]]) for some in blocks]))
            for some, (reached, taken) in zip(blocks, ends, strict=True):
                theta[left[some]], steps[left[some]] = reached, steps[left[some]] + taken
            value, certified = certificates(law, design, delta, rows, theta)
        return value, certified, float(steps.mean())

    return call


def width(objective: Objective) -> float:
    """Half-width of Huber's zone."""
    assert isinstance(objective, Huber)
    return float(objective.down)


def certificates(
    law: Law, design: Design, delta: float, weights: np.ndarray, theta: np.ndarray, raw: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Objective and whether it is certified, with derivatives that no engine has a part in.

    Huber's sum of the residuals of the log loss or, if `raw`, of the loss; an infinite delta squares them.
    """
    r, jacobian = law.residuals(theta, design), law.jacobian(theta, design)
    slope = np.exp(design.log_loss + r) if raw else np.ones_like(r)  # of the residual by the log loss
    if raw:
        r = slope - np.exp(design.log_loss)
    psi = np.clip(r, -delta, delta)
    value = np.sum(weights * psi * (r - 0.5 * psi), axis=1)
    pull = weights * psi * slope
    gradient = np.einsum("rn,rnj->rj", pull, jacobian)
    squares = weights * (np.abs(r) <= delta) * slope**2 + (pull if raw else 0.0)
    hessian = np.einsum("rn,rnj,rnk->rjk", squares, jacobian, jacobian, optimize=True)
    hessian += law.curvature(theta, design, pull)
    size = np.sqrt(np.abs(np.einsum("rjj->rj", hessian)))
    values, vectors = np.linalg.eigh(hessian / (size[:, :, None] * size[:, None]))
    along = np.einsum("rjk,rj->rk", vectors, gradient / size)
    definite = values[:, 0] > 1e-11
    decrement = 0.5 * np.sum(along**2 / np.where(definite[:, None], values, 1.0), axis=1) / value
    return value, definite & (decrement <= 1e-12)


def print_rows(name: str, table: str, rows: list[Row], compiling: list[float]) -> None:
    lowest = np.full(max(row.lanes for row in rows), np.inf)
    for row in rows:
        part = lowest[: row.lanes]
        np.minimum(part, row.value, out=part)
    compared = next((row for row in rows if row.name == "jaxopt-lbfgs"), rows[0])
    baseline = compared.certified.sum() / compared.seconds or np.nan  # of nothing certified there is no ratio
    for row, seconds in zip(rows, compiling, strict=True):
        excess = row.value / lowest[: row.lanes] - 1.0
        certified = int(row.certified.sum())
        rate, each = certified / row.seconds, 1e6 * row.processor / max(certified, 1)
        print(
            f"{name:16} {table:>14} {row.name:13} {row.lanes:5d} {certified:9d} {rate:8.0f} {each:8.1f} "
            f"{rate / baseline:7.2f} {row.steps:6.1f} {np.median(excess):13.1e} {excess.max():8.1e} "
            f"{max(seconds - row.seconds, 0.0):11.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
