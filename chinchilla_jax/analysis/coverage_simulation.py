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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax.analysis.coverage_groups import sentence, shared_errors
from chinchilla_jax.analysis.coverage_noise import Noise, simulated_losses
from chinchilla_jax.analysis.coverage_spec import CoverageSpec
from chinchilla_jax.analysis.coverage_store import CoverageParts
from chinchilla_jax.analysis.coverage_tables import coverage_table
from chinchilla_jax.analysis.work_records import model_record
from chinchilla_jax.bootstrapping.auto_scheme import is_auto
from chinchilla_jax.bootstrapping.scheme import scheme_record
from chinchilla_jax.datasets import Runs
from chinchilla_jax.datasets.catalogue import is_embedded
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.intervals.methods import METHODS
from chinchilla_jax.intervals.table import Intervals
from chinchilla_jax.laws import CHINCHILLA, FittedLaw, FittedLaws, Law, ScalingLaw, read_law
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.laws.optimum import no_optimum
from chinchilla_jax.solvers import SolverOptions, Status
from chinchilla_jax.solvers.dispatch import has_kernel

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.intervals.replicates import Replicates
    from chinchilla_jax.laws.objectives import Delta, Objective

_POINT_STARTS, _AGREED = 64, 0.5  # of the point fit of a data set, and the share that must agree
_PART = 20  # data sets in a file: what an interruption can lose
_COLUMNS = ("quantity", "flops", "estimate", "low", "high", "level", "method", "n_failed")


@reporting
def coverage(
    runs: Runs | TableLike,
    spec: CoverageSpec | None = None,
    *,
    law: FittedLaws | Law | str = "chinchilla",
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    options: SolverOptions | None = None,
    progress: ProgressLike = "auto",
) -> pd.DataFrame:
    """Coverage and width of every interval on data sets simulated on the design of `runs`.

    Args:
        runs: give parameters, tokens and residuals; `Runs`, or anything that `load_runs` takes.
        spec: how much; by default 2,000 data sets x 1,000 resamples.
        law: which law is fitted, or its name: the truth is its fit to `runs`. Or the truth itself, a
            `ScalingLaw` or a `FittedLaw`, whose kind of law is then fitted.
        objective: of every fit, `Huber` or its name; by name it is what `bootstrap` uses for `runs`.
        delta: half-width of the zone, for an objective given by name; "auto" is decided by each data set.
        out: a directory (a path or URL) for the intervals of every data set, twenty data sets to a file. Data
            sets that it already holds are not computed again: an interrupted run resumes, and more can be
            added later. A damaged file is reported and its data sets are computed again.
        workers: data sets computed at the same time; None for one per core.
        options: how hard the solver tries, and by which engine; `out` does not record it.
        progress: as for `bootstrap`; a function is called with the number of data sets just finished.

    Returns:
        The table of `coverage_table`. `attrs` has delta, the name of the scheme, how many data sets
        were resampled by which (schemes), why the truth has no compute-optimal point, so that its
        prescriptions cannot be covered (no_optimum, "" where it has one), the warnings of the fit, and what
        runs of a group share: lists groups, correlation and p (of no correlation, by permutation;
        NaN where it was not tested), and sentence.

    Raises:
        UsageError: the fit of `runs` is not certified, the runs have no such groups, or `out` holds another
            simulation.
        ChinchillaError: `out` cannot be written.

    Warns:
        DataWarning: a file in `out` is damaged.
    """
    import pandas as pd

    spec = spec or CoverageSpec()
    model = _model(law)
    runs = as_runs(runs, "coverage", model.columns)
    if is_auto(spec.scheme) and is_embedded(runs):  # as `bootstrap` resamples the runs themselves
        spec = dataclasses.replace(spec, scheme="pairs")
    given = law if isinstance(law, FittedLaws) else None
    chosen = _objective(runs, model, objective, delta)
    point = _certified_fit(runs, model, chosen, options)
    truth = point.law if given is None else given
    advance = started(progress, "coverage", spec.datasets, "data sets")
    simulation = _Simulation(runs, point, truth, spec, chosen, options)
    kept = None if out is None else CoverageParts(out, simulation.record(), simulation.rows_each)
    workers = workers or available_cores()
    parts = [
        simulation.part(range(first, min(first + _PART, spec.datasets)), kept, workers, advance)
        for first in range(0, spec.datasets, _PART)
    ]
    table = coverage_table(pd.concat(parts, ignore_index=True))
    shared = simulation.shared
    table.attrs = {
        "groups": [each.by for each in shared],
        "correlation": [each.correlation for each in shared],
        "p": [each.p for each in shared],
        "delta": chosen.delta,
        "scheme": spec.scheme if isinstance(spec.scheme, str) else spec.scheme.name,
        "schemes": dict(Counter(each for _, each in sorted(simulation.schemes.items())).most_common()),
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
        law: FittedLaws,
        spec: CoverageSpec,
        objective: Huber,
        options: SolverOptions | None,
    ) -> None:
        self.runs, self.law, self.spec, self.objective = runs, law, spec, objective
        self.model = point.model
        self.options = dataclasses.replace(options or SolverOptions(), workers=1)
        self.shared = shared_errors(runs, point, spec.groups, spec.correlation)
        groups = tuple((each.members, each.correlation) for each in self.shared)
        self.noise = Noise.of_fit(point, kind=spec.noise, shared=groups)
        self.quantities, self.truth = spec.quantities(law), spec.truths(law)
        self.schemes: dict[int, str] = {}  # by the number of the data set, where it is known
        self.rows_each = len(self.truth) * len(spec.levels) * len(spec.methods or ())

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
            "scheme": scheme_record(self.spec.scheme),
            "groups": [each.by for each in self.shared],
            "correlation": [each.correlation for each in self.shared],
            "tolerance": self.options.tolerance,
            "max_steps": self.options.max_steps,
            "precision": self.options.precision,
            **model_record(self.model, self.runs),
        }

    def part(
        self, numbers: range, kept: CoverageParts | None, workers: int, progress: Callable[[int], None] | None
    ) -> pd.DataFrame:
        """The rows of these data sets: of those that are kept from there, of the others computed and kept."""
        import pandas as pd

        tables, missing = [], list(numbers)
        found = None if kept is None else kept.read(numbers)
        if found is not None:
            tables.append(found[0])
            there = set(found[0]["dataset"])
            self.schemes |= {number: scheme for number, scheme in found[1].items() if number in there}
            missing = [number for number in numbers if number not in there]
            if progress is not None:
                progress(len(there))
        if missing:
            tables.append(self.rows(missing, workers, progress))
        rows = pd.concat(tables, ignore_index=True)
        if missing and kept is not None:
            kept.write(numbers, rows, self.schemes)
        return rows

    def rows(
        self, numbers: Sequence[int], workers: int, progress: Callable[[int], None] | None
    ) -> pd.DataFrame:
        import pandas as pd

        def work(number: int) -> dict[str, list[Any]]:
            columns = self.one(number)
            if progress is not None:
                progress(1)
            return columns

        pool = ThreadPoolExecutor(workers, thread_name_prefix="data set")
        try:
            found = list(pool.map(work, numbers))
        finally:
            pool.shutdown(cancel_futures=True)  # an interruption does not wait for those that have not begun
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
        self.schemes[number] = boot.scheme.text
        replicates = judged_replicates(boot, self.spec.boundary)
        intervals = Intervals(replicates, self.quantities, seed=seed)
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
            self.model,
            resamples=self.spec.resamples,
            seed=seed,
            objective=self.objective,
            scheme=self.spec.scheme,
            jackknife="jackknife" in needs,
            inner=self.spec.inner if "inner" in needs else 0,
            progress=None,
            point=point_of(drawn, self.objective, self.options, self.model),
            options=self.options,
        )


def point_of(runs: Runs, objective: Huber, options: SolverOptions, law: Law = CHINCHILLA) -> FitResult | None:
    """The point fit from few starts where most agree; None for `bootstrap` to make it.

    `bootstrap` asks for more agreement, which takes ten times as long and on data sets like these, with one
    optimum that most starts reach, finds the same.
    """
    from chinchilla_jax.fitting.point_fit import fit, fit_among_many

    point = fit(runs, law, objective=objective, starts=_POINT_STARTS, options=options)
    if point.starts.n_at_best >= _AGREED * point.starts.n:
        return point
    kernel = has_kernel(law, objective)
    return fit_among_many(runs, law, objective=objective, options=options) if kernel else None


def judged_replicates(boot: BootstrapResult, boundary: str) -> Replicates:
    """What intervals are made from, with resamples whose best E is 0 ("keep") or without ("drop")."""
    return boot.with_boundary(boundary).replicates()


def has_estimate(boot: BootstrapResult, boundary: str) -> bool:
    """Whether the point fit is an optimum that counts."""
    status = boot.point.status
    return status.certified if boundary == "keep" else status is Status.CONVERGED


def _model(law: FittedLaws | Law | str) -> Law:
    """The law that is fitted."""
    if isinstance(law, FittedLaw):
        return law.model
    return CHINCHILLA if isinstance(law, ScalingLaw) else read_law(law)  # type: ignore[arg-type]


def _objective(runs: Runs, law: Law, objective: Objective | str, delta: Delta | None) -> Huber:
    """The objective that a fit of these runs minimises; "auto" is left to each data set."""
    from chinchilla_jax.fitting.problem import read_problem

    found = read_problem("coverage", runs, law, objective, delta).objective
    if type(found) is not Huber:
        raise UsageError(f"coverage: objective is {found.name}; give huber, whose errors it can simulate")
    return found


def _certified_fit(runs: Runs, law: Law, objective: Huber, options: SolverOptions | None) -> FitResult:
    from chinchilla_jax.fitting.point_fit import fit

    wide = None if options is None else dataclasses.replace(options, wide_start=True)
    point = fit(runs, law, objective=objective, starts=_POINT_STARTS, options=wide)
    if not point.status.certified:
        raise UsageError(
            f"coverage: the fit of {runs.name} ended as {point.status.name}, so its residuals mean nothing; "
            "give runs whose fit is certified"
        )
    return point
