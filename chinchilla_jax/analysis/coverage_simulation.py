"""Do intervals reach their nominal coverage? Data sets from a known law, and the whole machinery on each.

| code     | symbol | shape | meaning                                                                  |
|----------|--------|-------|--------------------------------------------------------------------------|
| law      |        | ()    | the truth: by default the law fitted to the runs                         |
| errors   | e_i    | (n,)  | log observed minus log predicted loss at that fit, centred (see below)   |
| losses   | L*     | (n,)  | L(N_i, D_i) exp(e*_i): a simulated data set at the real (N, D)           |
| coverage |        | ()    | share of the data sets whose interval contains the truth                 |

Errors are centred at their Huber location, so that the truth is what the estimator estimates. Added to errors
whose median is not zero, a law is not what an estimator close to a median finds. `noise` says how errors are
drawn: "residuals", any run's error for any run (errors of one law); "signed", each run keeps the size of its
own error and the sign is drawn (errors as unequal as those of the fit).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.validation import whole_number
from chinchilla_jax.analysis.coverage_store import claim, read_part, write_part
from chinchilla_jax.analysis.coverage_tables import coverage_table
from chinchilla_jax.bootstrapping import weights as resampling
from chinchilla_jax.intervals.methods import BOOTSTRAP_METHODS, METHODS, read_method
from chinchilla_jax.intervals.quantities import Quantity, prescription_quantities
from chinchilla_jax.intervals.table import interval_table
from chinchilla_jax.laws.objectives import Huber, huber_location
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.solvers import SolverOptions

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult

COVERAGE_FLOPS = (1e20, 1e22, 1e24, 1e26)
NOISES = ("residuals", "signed")
_PART = 20  # data sets in a file: what an interruption can lose
# Of the point fit of a simulated data set; studies find every optimum from as many.
_POINT_STARTS, _POINT_STEPS = 16, 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoverageSpec:
    """What is simulated.

    Attributes:
        datasets: how many data sets.
        resamples: of each.
        inner: resamples of each resample, for "studentised"; 0 leaves that method out.
        levels: of the intervals.
        methods: out of `intervals.BOOTSTRAP_METHODS`; None for all that `inner` allows.
        flops: budgets (FLOP) of the tokens per parameter.
        noise: "residuals" or "signed", see above.
        seed: whole number; data set i and its resamples are functions of the seed and i alone.

    Raises:
        UsageError: an argument is out of range.
    """

    datasets: int = 2000
    resamples: int = 1000
    inner: int = 50
    levels: tuple[float, ...] = (0.8, 0.95)
    methods: tuple[str, ...] | None = None
    flops: tuple[float, ...] = COVERAGE_FLOPS
    noise: str = "residuals"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check and complete the fields."""
        for name, least in (("datasets", 1), ("resamples", 2), ("inner", 0), ("seed", 0)):
            whole_number(f"coverage: {name}", getattr(self, name), low=least)
        if self.seed + self.datasets >= 2**32:
            raise UsageError(f"coverage: seed + datasets = {self.seed + self.datasets}, must be below 2^32")
        if self.noise not in NOISES:
            raise unknown_name("noise", self.noise, NOISES)
        possible = tuple(name for name in BOOTSTRAP_METHODS if METHODS[name].needs != "inner" or self.inner)
        for method in self.methods or ():
            read_method(method, possible)
        object.__setattr__(self, "methods", tuple(self.methods or possible))

    @property
    def quantities(self) -> list[Quantity]:
        """The quantities whose intervals are judged."""
        named = [Quantity(name=name) for name in ("alpha", "beta", "E", "exponent_a")]
        return named + prescription_quantities(self.flops, ["tokens_per_param"])


def coverage(
    runs: Runs,
    spec: CoverageSpec | None = None,
    *,
    law: ScalingLaw | None = None,
    objective: Huber = Huber(),  # noqa: B008 - frozen, shared on purpose
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    options: SolverOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Coverage and width of every interval on data sets simulated on the design of `runs`.

    Args:
        runs: give parameters, tokens and residuals.
        spec: how much; by default 2,000 data sets x 1,000 resamples x 50 inner ones: a hundred million fits.
        law: the truth; None for the law fitted to `runs`.
        objective: of every fit.
        out: a directory for the intervals of every data set, twenty data sets to a file. Data sets that it
            already holds are not computed again: an interrupted run resumes, and more can be added later.
        workers: data sets computed at the same time; None for one per core.
        options: how hard the solver tries, and by which engine; `out` does not record it.
        progress: called with the number of data sets just finished.

    Returns:
        The table of `coverage_table`.

    Raises:
        UsageError: the fit of `runs` is not certified, or `out` holds another simulation.
    """
    import pandas as pd

    spec = spec or CoverageSpec()
    point = _certified_fit(runs, objective, options)
    simulation = _Simulation(runs, point, point.law if law is None else law, spec, objective, options)
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
    return coverage_table(pd.concat(parts, ignore_index=True))


def simulated_losses(
    runs: Runs,
    law: ScalingLaw,
    errors: NDArray[np.float64],
    numbers: NDArray[np.int64],
    seed: int,
    noise: str = "residuals",
) -> NDArray[np.float64]:
    """Losses (R, n) of the data sets with these numbers (R,), see the head of this file.

    Args:
        runs: the design, n runs.
        law: the truth.
        errors: log observed minus log predicted loss, centred, (n,).
        numbers: which data sets.
        seed: whole number.
        noise: "residuals" or "signed".
    """
    bits = resampling.resample_bits(len(runs), numbers, seed, stream=resampling.SIMULATED)
    if noise == "signed":
        drawn = np.where(bits >> np.uint32(31), errors, -errors)
    else:
        drawn = errors[resampling.whole_below(bits, len(errors))]
    return np.asarray(law.loss(runs.params, runs.tokens) * np.exp(drawn))


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
        assert isinstance(point.objective, Huber)
        self.errors = -(point.residuals - huber_location(point.residuals, point.objective.down))
        self.truth = np.array([float(q.unscaled(q.scaled(law))) for q in spec.quantities])

    def record(self) -> dict[str, Any]:
        """All that the intervals of a data set depend on; the number of data sets is not part of it."""
        settings = dataclasses.asdict(self.spec)
        settings.pop("datasets")
        return {
            "kind": "coverage",
            "data_hash": self.runs.data_hash,
            "delta": self.objective.delta,
            "law": [float(value) for value in self.law.to_frame().iloc[0]],
            **{name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()},
        }

    def rows(self, numbers: range, workers: int, progress: Callable[[int], None] | None) -> pd.DataFrame:
        import pandas as pd

        def work(number: int) -> pd.DataFrame:
            frame = self.one(number)
            if progress is not None:
                progress(1)
            return frame

        with ThreadPoolExecutor(workers, thread_name_prefix="data set") as pool:
            return pd.concat(list(pool.map(work, numbers)), ignore_index=True)

    def one(self, number: int) -> pd.DataFrame:
        """The intervals of one data set: simulate, fit, resample, compute limits."""
        from chinchilla_jax.bootstrapping.bootstrap import bootstrap
        from chinchilla_jax.fitting.point_fit import fit

        spec = self.spec
        losses = simulated_losses(self.runs, self.law, self.errors, np.array([number]), spec.seed, spec.noise)
        simulated = dataclasses.replace(self.runs, loss=losses[0], name=f"simulated {number}")
        wide = dataclasses.replace(self.options, wide_start=True, max_steps=_POINT_STEPS)
        needs = {METHODS[name].needs for name in spec.methods or ()}
        point = fit(simulated, objective=self.objective, starts=_POINT_STARTS, options=wide)
        boot = bootstrap(
            simulated,
            resamples=spec.resamples,
            seed=spec.seed + 1 + number,
            objective=self.objective,
            jackknife="jackknife" in needs,
            inner=spec.inner if "inner" in needs else 0,
            point=point,
            options=self.options,
        )
        table = interval_table(
            boot.replicates(),
            spec.quantities,
            levels=spec.levels,
            methods=spec.methods or (),
            seed=spec.seed + 1 + number,
        )
        kept = table[["quantity", "flops", "estimate", "low", "high", "level", "method", "n_failed"]].copy()
        if point.status.name != "CONVERGED":
            kept[["estimate", "low", "high"]] = np.nan
        kept.insert(0, "dataset", number)
        kept.insert(3, "truth", np.tile(self.truth, len(kept) // len(self.truth)))
        return kept


def _certified_fit(runs: Runs, objective: Huber, options: SolverOptions | None) -> FitResult:
    from chinchilla_jax.fitting.point_fit import fit

    wide = None if options is None else dataclasses.replace(options, wide_start=True)
    point = fit(runs, objective=objective, starts=64, options=wide)
    if point.status.name != "CONVERGED":
        raise UsageError(
            f"coverage: the fit of {runs.name} ended as {point.status.name}, so its residuals mean nothing; "
            "give runs whose fit is certified"
        )
    return point
