"""Do intervals reach their nominal coverage? Data sets from a known law, and the whole machinery on each.

| code     | symbol | shape | meaning                                                                  |
|----------|--------|-------|--------------------------------------------------------------------------|
| law      |        | ()    | the truth: by default the law fitted to the runs                         |
| errors   | e_i    | (n,)  | log observed minus log predicted loss at that fit, centred (see below)   |
| losses   | L*     | (n,)  | L(N_i, D_i) exp(e*_i): a simulated data set at the real (N, D)           |
| coverage |        | ()    | share of the data sets whose interval contains the truth                 |

Errors are centred at their Huber location, so that the truth is what the estimator estimates. Added to errors
whose median is not zero, a law is not what an estimator close to a median finds. `coverage_noise` says how
they are drawn, `coverage_groups` which runs share part of them.

Every data set takes the path of a user's table: `bootstrap` fits it, chooses what is left to it, resamples.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis.coverage_groups import sentence, shared_errors
from chinchilla_jax.analysis.coverage_noise import Noise, simulated_losses
from chinchilla_jax.analysis.coverage_spec import CoverageSpec
from chinchilla_jax.analysis.coverage_store import claim, read_part, write_part
from chinchilla_jax.analysis.coverage_tables import coverage_table
from chinchilla_jax.bootstrapping.auto_scheme import is_auto
from chinchilla_jax.datasets import Runs
from chinchilla_jax.datasets.catalogue import is_embedded
from chinchilla_jax.intervals.methods import METHODS
from chinchilla_jax.intervals.table import Intervals
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.laws.optimum import no_optimum
from chinchilla_jax.solvers import SolverOptions, Status

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.intervals.replicates import Replicates
    from chinchilla_jax.laws.objectives import Delta, Objective
    from chinchilla_jax.laws.scaling_law import ScalingLaw

_POINT_STARTS, _AGREED = 64, 0.5  # of the point fit of a data set, and the share that must agree
_PART = 20  # data sets in a file: what an interruption can lose
_COLUMNS = ("quantity", "flops", "estimate", "low", "high", "level", "method", "n_failed")


def coverage(
    runs: Runs,
    spec: CoverageSpec | None = None,
    *,
    law: ScalingLaw | None = None,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    options: SolverOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Coverage and width of every interval on data sets simulated on the design of `runs`.

    Args:
        runs: give parameters, tokens and residuals.
        spec: how much; by default 2,000 data sets x 1,000 resamples.
        law: the truth; None for the law fitted to `runs`.
        objective: of every fit, `Huber` or its name; by name it is what `bootstrap` uses for `runs`.
        delta: half-width of the zone, for an objective given by name; "auto" is decided by each data set.
        out: a directory for the intervals of every data set, twenty data sets to a file. Data sets that it
            already holds are not computed again: an interrupted run resumes, and more can be added later.
        workers: data sets computed at the same time; None for one per core.
        options: how hard the solver tries, and by which engine; `out` does not record it.
        progress: called with the number of data sets just finished.

    Returns:
        The table of `coverage_table`. `attrs` has delta, the name of the scheme, how many data sets of this
        call were resampled by which (schemes), why the truth has no compute-optimal point, so that its
        prescriptions cannot be covered (no_optimum, "" where it has one), the warnings of the fit, and what
        runs of a group share: lists groups, correlation and p (of no correlation, by permutation;
        NaN where it was not tested), and sentence.

    Raises:
        UsageError: the fit of `runs` is not certified, the runs have no such groups, or `out` holds another
            simulation.
    """
    import pandas as pd

    spec = spec or CoverageSpec()
    if is_auto(spec.scheme) and is_embedded(runs):  # as `bootstrap` resamples the runs themselves
        spec = dataclasses.replace(spec, scheme="pairs")
    chosen = _objective(runs, objective, delta)
    point = _certified_fit(runs, chosen, options)
    simulation = _Simulation(runs, point, point.law if law is None else law, spec, chosen, options)
    folder = None if out is None else claim(Path(out).expanduser(), simulation.record())
    workers = workers or available_cores()
    parts = []
    for first in range(0, spec.datasets, _PART):
        numbers = range(first, min(first + _PART, spec.datasets))
        path = None if folder is None else folder / f"part-{first:06d}.parquet"
        rows = None if path is None else read_part(path, numbers)
        if rows is None:
            rows = simulation.rows(numbers, workers, progress)
            if path is not None:
                write_part(path, rows)
        elif progress is not None:
            progress(len(numbers))
        parts.append(rows)
    table = coverage_table(pd.concat(parts, ignore_index=True))
    shared = simulation.shared
    table.attrs = {
        "groups": [each.by for each in shared],
        "correlation": [each.correlation for each in shared],
        "p": [each.p for each in shared],
        "delta": chosen.delta,
        "scheme": spec.scheme if isinstance(spec.scheme, str) else spec.scheme.name,
        "schemes": dict(Counter(simulation.schemes).most_common()),
        "no_optimum": no_optimum(simulation.law),
        "warnings": point.warnings,
        "sentence": sentence(shared),
    }
    return table


class _Simulation:
    """What all data sets share: the truth, the design and the errors."""

    def __init__(
        self,
        runs: Runs,
        point: FitResult,
        law: ScalingLaw,
        spec: CoverageSpec,
        objective: Huber,
        options: SolverOptions | None,
    ) -> None:
        self.runs, self.law, self.spec, self.objective = runs, law, spec, objective
        self.options = dataclasses.replace(options or SolverOptions(), workers=1)
        self.shared = shared_errors(runs, point, spec.groups, spec.correlation)
        groups = tuple((each.members, each.correlation) for each in self.shared)
        self.noise = Noise.of_fit(point, kind=spec.noise, shared=groups)
        self.truth = spec.truths(law)
        self.schemes: list[str] = []  # of the data sets simulated so far

    def record(self) -> dict[str, Any]:
        """All that the intervals of a data set depend on; the number of data sets is not part of it."""
        own = {field.name: getattr(self.spec, field.name) for field in dataclasses.fields(self.spec)}
        del own["datasets"]
        return {
            "kind": "coverage",
            "data_hash": self.runs.data_hash,
            "objective": self.objective.name,
            "delta": self.objective.delta,
            "law": [float(value) for value in self.law.as_dict().values()],
            **{name: list(value) if isinstance(value, tuple) else value for name, value in own.items()},
            "scheme": _scheme_record(self.spec.scheme),
            "groups": [each.by for each in self.shared],
            "correlation": [each.correlation for each in self.shared],
            "tolerance": self.options.tolerance,
            "max_steps": self.options.max_steps,
            "precision": self.options.precision,
        }

    def rows(self, numbers: range, workers: int, progress: Callable[[int], None] | None) -> pd.DataFrame:
        import pandas as pd

        def work(number: int) -> dict[str, list[Any]]:
            columns = self.one(number)
            if progress is not None:
                progress(1)
            return columns

        with ThreadPoolExecutor(workers, thread_name_prefix="data set") as pool:
            found = list(pool.map(work, numbers))
        return pd.DataFrame({name: [value for each in found for value in each[name]] for name in found[0]})

    def one(self, number: int) -> dict[str, list[Any]]:
        """The intervals of one data set: simulate, fit, resample, compute limits."""
        losses = simulated_losses(self.runs, self.law, self.noise, np.array([number]), self.spec.seed)
        # A table as a user would bring it, whatever the design was taken from.
        drawn = dataclasses.replace(
            self.runs, loss=losses[0], name=f"simulated {number}", counting="as_given"
        )
        seed = self.spec.seed + 1 + number
        boot = self._bootstrap(drawn, seed)
        self.schemes.append(boot.scheme.text)
        replicates = judged_replicates(boot, self.spec.boundary)
        intervals = Intervals(replicates, self.spec.quantities, seed=seed)
        columns: dict[str, list[Any]] = {name: [] for name in ("dataset", *_COLUMNS, "truth")}
        for level in self.spec.levels:
            for method in self.spec.methods or ():
                found = intervals.columns(level, method)
                for name in _COLUMNS:
                    columns[name] += found[name]
                columns["truth"] += self.truth
        count = len(columns["truth"])
        columns["dataset"] = [number] * count
        if not has_estimate(boot, self.spec.boundary):
            for name in ("estimate", "low", "high"):
                columns[name] = [np.nan] * count
        return columns

    def _bootstrap(self, drawn: Runs, seed: int) -> BootstrapResult:
        """As a user would call it."""
        from chinchilla_jax.bootstrapping.bootstrap import bootstrap

        needs = {METHODS[name].needs for name in self.spec.methods or ()}
        return bootstrap(
            drawn,
            resamples=self.spec.resamples,
            seed=seed,
            objective=self.objective,
            scheme=self.spec.scheme,
            jackknife="jackknife" in needs,
            inner=self.spec.inner if "inner" in needs else 0,
            point=point_of(drawn, self.objective, self.options),
            options=self.options,
        )


def point_of(runs: Runs, objective: Huber, options: SolverOptions) -> FitResult | None:
    """The point fit from few starts where most agree; None for `bootstrap` to try them all.

    `bootstrap` asks for more agreement, which takes ten times as long and on data sets like these, with one
    optimum that most starts reach, finds the same.
    """
    from chinchilla_jax.fitting.point_fit import fit

    point = fit(runs, objective=objective, starts=_POINT_STARTS, options=options)
    return point if point.starts.n_at_best >= _AGREED * point.starts.n else None


def judged_replicates(boot: BootstrapResult, boundary: str) -> Replicates:
    """What intervals are made from, with resamples whose best E is 0 ("keep") or without ("drop")."""
    return boot.with_boundary(boundary).replicates()


def has_estimate(boot: BootstrapResult, boundary: str) -> bool:
    """Whether the point fit is an optimum that counts."""
    status = boot.point.status
    return status.certified if boundary == "keep" else status is Status.CONVERGED


def _objective(runs: Runs, objective: Objective | str, delta: Delta | None) -> Huber:
    """The objective that a fit of these runs minimises; "auto" is left to each data set."""
    from chinchilla_jax.fitting.problem import read_problem

    found = read_problem("coverage", runs, "chinchilla", objective, delta).objective
    if type(found) is not Huber:
        raise UsageError(f"coverage: objective is {found.name}; give huber, whose errors it can simulate")
    return found


def _scheme_record(scheme: Scheme | str) -> str | dict[str, Any]:
    """A scheme by its name or, where it was given settings, with them: plain values, as JSON has them."""
    if isinstance(scheme, str):
        return scheme
    fields: dict[str, Any] = dataclasses.asdict(scheme) if dataclasses.is_dataclass(scheme) else {}
    plain = {name: np.asarray(value).tolist() for name, value in fields.items() if value is not None}
    return {"scheme": scheme.name, **plain}


def _certified_fit(runs: Runs, objective: Huber, options: SolverOptions | None) -> FitResult:
    from chinchilla_jax.fitting.point_fit import fit

    wide = None if options is None else dataclasses.replace(options, wide_start=True)
    point = fit(runs, objective=objective, starts=_POINT_STARTS, options=wide)
    if not point.status.certified:
        raise UsageError(
            f"coverage: the fit of {runs.name} ended as {point.status.name}, so its residuals mean nothing; "
            "give runs whose fit is certified"
        )
    return point
