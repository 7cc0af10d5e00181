"""A few ratios of CPU time that hardly depend on the machine, kept over commits: a loss of speed is seen.

    python benchmarks/ratios.py              # a minute
    python benchmarks/ratios.py --check      # and compares them with those that were recorded
    python benchmarks/ratios.py --append     # and adds them to benchmarks/ratios.csv
    python benchmarks/ratios.py --smoke      # for the gate: three rounds, compared

Both sides of a pair are measured in turn in this process, in as many rounds as --rounds says; CPU time counts
all threads and the processes that were started. A ratio is the median of the rounds; low and high leave out
a tenth of them at either end. --check prints a line that begins with "warning" where a ratio lies outside
what has been recorded: below the lowest low or above the highest high of the last five records, of this
processor if there are any. The exit code is 0 even so: a person decides whether that is the code or the
machine. A new version of Python, NumPy, SciPy or JAX moves ratios too.

    scipy       SciPy's BFGS with a gradient by hand over the CPU kernel, per fit: resamples of the 240 runs
    numpy       six passes of objective, gradient and Hessian over every run in NumPy over a fit by the kernel
    xla         the engine for any law over the kernel, per fit
    study       a study of 12 conditions, 400 resamples each, with its tables and page, over its fits alone
    start       `chinchilla-jax fit examples/runs.csv` over `python -c "import numpy"`, whole processes
"""

from __future__ import annotations

from chinchilla_jax._util.blas_threads import keep_blas_to_one_thread

keep_blas_to_one_thread()  # as the command line does, before NumPy is imported

import argparse  # noqa: E402
import dataclasses  # noqa: E402
import functools  # noqa: E402
import itertools  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from _machine import commit, cpu_seconds, processor, today  # noqa: E402
from _ratio_records import RECORDS, Record, append, compared_with, read, warning  # noqa: E402
from _scipy_fits import Table  # noqa: E402
from _study_chunks import study_chunks  # noqa: E402
from solvers import fit_by_hand  # noqa: E402

import chinchilla_jax as cj  # noqa: E402
from chinchilla_jax.bootstrapping.weights import resample_weights  # noqa: E402
from chinchilla_jax.laws import CHINCHILLA  # noqa: E402
from chinchilla_jax.laws.design import Design  # noqa: E402
from chinchilla_jax.solvers import Problem, SolverOptions, solve  # noqa: E402
from chinchilla_jax.study.execution.jobs import run_job  # noqa: E402
from chinchilla_jax.study.execution.planning import Workplace, plan_jobs  # noqa: E402

ROOT = Path(__file__).parent.parent
_LANES, _SCIPY, _NUMPY, _PASSES = 4000, 20, 200, 6


@dataclasses.dataclass(frozen=True)
class Pair:
    """What is measured, and what it is measured by; each returns how many times it did its work."""

    name: str
    above: Callable[[], int]
    below: Callable[[], int]
    slower_if: str  # the ratio is "higher" or "lower"

    def measure(self) -> float:
        """CPU time of a piece of work above over that of one below."""
        return _each(self.above) / _each(self.below)


def _each(work: Callable[[], int]) -> float:
    begun = cpu_seconds()
    count = work()
    return (cpu_seconds() - begun) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--check", action="store_true", help="compare them with the records")
    parser.add_argument("--append", action="store_true", help="record them; the tree must be committed")
    parser.add_argument("--smoke", action="store_true", help="three rounds, compared")
    args = parser.parse_args()
    head = (today(), commit(), processor())
    if args.append and (not head[1] or head[1].endswith("+")):
        parser.error("a record names its commit: commit first")
    pairs = all_pairs()
    for pair in pairs:
        pair.above(), pair.below()  # imports and compiles
    rounds = [[pair.measure() for pair in pairs] for _ in range(3 if args.smoke else args.rounds)]
    found = [
        Record(*head, pair.name, *(float(np.quantile(values, share)) for share in (0.5, 0.1, 0.9)))
        for pair, values in zip(pairs, zip(*rounds, strict=True), strict=True)
    ]
    before = read(RECORDS) if args.check or args.smoke else []
    print(f"{'pair':8} {'ratio':>8} {'low':>8} {'high':>8}  recorded")
    for pair, new in zip(pairs, found, strict=True):
        old = compared_with(new, before)
        recorded = " ".join(f"{each.ratio:.4g}" for each in old)
        print(f"{new.pair:8} {new.ratio:8.4g} {new.low:8.4g} {new.high:8.4g}  {recorded}")
        said = warning(new, old, pair.slower_if)
        if said:
            print(said)
    if args.append:
        append(RECORDS, found)


def all_pairs() -> list[Pair]:
    """The pairs, ready to be measured."""
    runs = cj.load_runs("chinchilla", params="standard")
    design = Design.from_runs(runs)
    weights = resample_weights(len(runs), np.arange(_LANES), 0)
    theta = CHINCHILLA.theta(cj.fit(runs, starts=64).law, design)
    problem = Problem(law=CHINCHILLA, design=design, objective=cj.Huber())
    starts = np.tile(theta, (_LANES, 1))

    def engine(name: str, times: int) -> int:
        for _ in range(times):
            solve(problem, weights, starts, options=SolverOptions(engine=name))
        return times * _LANES

    columns = np.stack([design.log_params, design.log_tokens])
    x = np.concatenate([theta[:2], np.log(theta[2:3]), theta[3:]])
    tables = [Table.drawn(columns, design.log_loss, row.astype(float)) for row in weights[:_SCIPY]]

    def scipy() -> int:
        for table in tables:
            fit_by_hand((x, table))
        return len(tables)

    def numpy() -> int:
        for _ in range(_PASSES):
            numpy_pass(theta, weights[:_NUMPY], design)
        return _NUMPY

    kernel, seeds = functools.partial(engine, "lanes", 4), itertools.count()
    return [
        Pair("scipy", scipy, kernel, "lower"),
        Pair("numpy", numpy, kernel, "lower"),
        Pair("xla", functools.partial(engine, "xla", 1), kernel, "higher"),
        Pair("study", lambda: run_study(next(seeds)), lambda: run_fits(next(seeds)), "higher"),
        Pair("start", start_command, start_numpy, "higher"),
    ]


def numpy_pass(theta: np.ndarray, weights: np.ndarray, design: Design, delta: float = 1e-3) -> np.ndarray:
    """Objective, gradient and Gauss-Newton part of the Hessian of every lane (R, 21), at one law."""
    a, b, floor, alpha, beta = theta
    u, v = design.log_params, design.log_tokens
    found = np.empty((len(weights), 21))
    for lane, row in enumerate(weights.astype(np.float64)):
        of_params, of_tokens = np.exp(a - alpha * u), np.exp(b - beta * v)
        loss = of_params + of_tokens + floor
        residual = np.log(loss) - design.log_loss
        psi = np.clip(residual, -delta, delta)
        slopes = np.stack([of_params, of_tokens, np.ones_like(u), -u * of_params, -v * of_tokens]) / loss
        inside = row * (np.abs(residual) <= delta)
        found[lane, 0] = row @ (psi * (residual - 0.5 * psi))
        found[lane, 1:6] = slopes @ (row * psi)
        found[lane, 6:] = ((slopes * inside) @ slopes.T)[np.triu_indices(5)]
    return found


def small_study(seed: int) -> cj.StudySpec:
    """A sweep of the paper study; another seed, as point fits and scouting of one seed are remembered."""
    spec = cj.paper_study(resamples=400)
    return dataclasses.replace(spec, sweeps=spec.sweeps[:1], interpretations=("standard",), seed=seed)


def run_study(seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        cj.run_study(small_study(seed), out=Path(folder) / "study", figures=False)
    return 1


def run_fits(seed: int) -> int:
    """The study's own jobs, one after the other, whose results are dropped."""
    spec = small_study(seed)
    chunks, data = study_chunks(spec)
    for job in plan_jobs(spec, chunks, data, Workplace(1, shared=True)):
        run_job(job)
    return 1


def start_command() -> int:
    return _started("-m", "chinchilla_jax", "fit", str(ROOT / "examples" / "runs.csv"))


def start_numpy() -> int:
    return _started("-c", "import numpy")


def _started(*arguments: str) -> int:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return 1


if __name__ == "__main__":
    main()
