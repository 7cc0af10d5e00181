"""What a study would take, before it runs: conditions, fits, time and size."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.text import count_text, duration_text, list_text, size_text
from chinchilla_jax._util.validation import worker_count
from chinchilla_jax.datasets import Runs, dataset_names
from chinchilla_jax.laws import Chinchilla
from chinchilla_jax.study.chunks import plan_chunks, plan_ranges, require_chunks
from chinchilla_jax.study.execution.jobs import Job, run_job
from chinchilla_jax.study.spec.conditions import Condition, plan_conditions
from chinchilla_jax.study.spec.data import load_study_data
from chinchilla_jax.study.spec.study_spec import StudySpec

# Of the published study with its 240 runs, point fits and summaries included, on one core of an AMD EPYC
# (benchmarks/RESULTS.md); the other objectives as they compare with huber on the unperturbed runs. The time
# of a fit is proportional to the runs, except that the compiled kernel gains nothing from fewer than these:
# resamples of few runs take more starts and steps.
_FITS_PER_SECOND_AND_CORE = {
    "huber": 60_000.0,
    "squared": 60_000.0,
    "huber_scale": 1000.0,
    "asymmetric": 150.0,
}
_RUNS = 240
_COMPILED = ("huber", "squared")  # objectives of the compiled kernel, under the five-parameter law
_OTHER_LAWS = 4000.0  # between gamma (2,400) and kaplan (5,700), beside huber above
_BYTES_PER_FIT = 58.0  # in Parquet, for the same study
_MOST_NAMES = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a study takes.

    Attributes:
        data: name of the table.
        n_runs: runs that are fitted.
        conditions: number of conditions by family.
        resamples: per condition.
        chunks: units of work.
        fits: bootstrap fits.
        workers: chunks computed at the same time.
        rate: fits per second and worker.
        measured: whether the rate was measured now, on this machine.
        size: bytes on disk, without figures.
        invalid: ids of the conditions under which a count or a loss is not positive: every fit is INVALID.
        read: what was read of a table of your own, one sentence each.
    """

    data: str
    n_runs: int
    conditions: dict[str, int]
    resamples: int
    chunks: int
    fits: int
    workers: int
    rate: float
    measured: bool
    size: float
    invalid: tuple[str, ...]
    read: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Estimated wall time of the fits."""
        return self.fits / (self.rate * self.workers)

    def lines(self) -> list[tuple[str, str]]:
        """Name and text of each line of the estimate."""
        families = ", ".join(f"{count:,} {family}" for family, count in self.conditions.items())
        source = "measured just now" if self.measured else "as on the machine of benchmarks/RESULTS.md"
        embedded = " (embedded)" if self.data in dataset_names() else ""
        lines = [
            ("data", f"{self.data}{embedded}, {self.n_runs:,} runs"),
            *(("", line) for line in self.read),
            ("conditions", f"{sum(self.conditions.values()):,}: {families}"),
            (
                "fits",
                f"{self.fits:,} ({self.resamples:,} resamples each), in {count_text(self.chunks, 'chunk')}",
            ),
            (
                "time",
                f"about {duration_text(self.seconds)} for {count_text(self.workers, 'worker')} at "
                f"{self.rate:,.0f} fits per second each ({source}); start, tables, figures "
                "and page take about 12 s more",
            ),
            ("size", f"about {size_text(self.size)}"),
        ]
        if self.invalid:
            names = list_text(self.invalid, _MOST_NAMES)
            lines.append(
                ("warning", f"every fit will be INVALID, because some counts are not positive, under {names}")
            )
        return lines


def estimate(spec: StudySpec, *, workers: int | None = None, measure: bool = False) -> Estimate:
    """Estimate what `spec` takes.

    Args:
        spec: the study.
        workers: chunks computed at the same time; None for one per core.
        measure: time one chunk on this machine instead of using a recorded rate.

    Raises:
        DataError: the data cannot be read or used.
    """
    workers = available_cores() if workers is None else worker_count(workers)
    data = {name: load_study_data(spec, name) for name in spec.interpretations}
    n_runs = len(data[spec.interpretations[0]].runs)
    ranges = plan_ranges(spec.resamples, n_runs)
    require_chunks(spec, ranges)
    conditions = plan_conditions(spec)
    fits = len(conditions) * spec.resamples
    rate = _rate(spec, n_runs)
    if measure:
        chunks = plan_chunks(spec, {name: found.hash for name, found in data.items()}, ranges)
        chunk = chunks[len(chunks) // 2]
        job = Job.of(spec, chunk, data[chunk.condition.params])
        # Another seed first: it compiles what this one needs, and shares no fit with it.
        run_job(dataclasses.replace(job, spec=dataclasses.replace(spec, seed=spec.seed ^ 1)))
        begun = time.perf_counter()
        run_job(job)
        rate = len(chunk.resamples) / (time.perf_counter() - begun)
    return Estimate(
        data=spec.data,
        read=data[spec.interpretations[0]].runs.read_lines,
        n_runs=n_runs,
        conditions=dict(Counter(condition.family for condition in conditions)),
        resamples=spec.resamples,
        chunks=len(conditions) * len(ranges),
        fits=fits,
        workers=workers,
        rate=rate,
        measured=measure,
        size=fits * _BYTES_PER_FIT + len(conditions) * 12_000,
        invalid=tuple(
            condition.id
            for condition in conditions
            if not _usable(condition, data[condition.params].runs, spec)
        ),
    )


def fit_seconds(spec: StudySpec, n_runs: int, workers: int) -> float:
    """About how long the fits of a study take, by recorded rates.

    Args:
        spec: the study.
        n_runs: runs that are fitted.
        workers: chunks computed at the same time.
    """
    return spec.n_conditions * spec.resamples / (_rate(spec, n_runs) * workers)


def _rate(spec: StudySpec, n_runs: int) -> float:
    """Fits per second and core of a table of so many runs."""
    by_runs = _RUNS / n_runs
    if spec.objective == "asymmetric" or isinstance(spec.model, Chinchilla):
        rate = _FITS_PER_SECOND_AND_CORE.get(spec.objective, _OTHER_LAWS)
        return rate * (min(by_runs, 1.0) if spec.objective in _COMPILED else by_runs)
    return _OTHER_LAWS * by_runs


def _usable(condition: Condition, runs: Runs, spec: StudySpec) -> bool:
    """Whether every number whose logarithm a fit takes is positive and finite."""
    fitted = condition.apply(runs, seed=spec.seed)
    columns = (fitted.params, fitted.tokens, fitted.loss)
    return all(bool(np.all(np.isfinite(column) & (column > 0))) for column in columns)
