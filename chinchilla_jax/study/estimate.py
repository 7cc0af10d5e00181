"""What a study would do, before it does it: conditions, fits, time and size."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter

import numpy as np

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.text import count_text, duration_text, list_text, size_text
from chinchilla_jax.datasets import Runs, dataset_names
from chinchilla_jax.study.checks import whole
from chinchilla_jax.study.plan import Condition, plan_blocks, plan_conditions, plan_pieces
from chinchilla_jax.study.spec import StudySpec
from chinchilla_jax.study.store import load_spec_runs

# Of the published study with its 240 runs, point fits and summaries included, one core of an AMD EPYC
# (benchmarks/RESULTS.md); a fit takes time in proportion to the runs.
_FITS_PER_SECOND_AND_CORE = 12_000.0
_RUNS = 240
_BYTES_PER_FIT = 58.0  # in Parquet: of the same study
_MOST_NAMES = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a study comes to.

    Attributes:
        data: name of the table.
        n_runs: runs that are fitted.
        conditions: how many, by family.
        resamples: per condition.
        pieces: units of work.
        fits: bootstrap fits.
        workers: pieces in work at the same time.
        rate: fits per second and worker.
        measured: whether the rate was measured here and now.
        size: bytes on the disk, without figures.
        invalid: ids of the conditions under which a count or a loss is not positive: every fit is INVALID.
    """

    data: str
    n_runs: int
    conditions: dict[str, int]
    resamples: int
    pieces: int
    fits: int
    workers: int
    rate: float
    measured: bool
    size: float
    invalid: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Time of the fits."""
        return self.fits / (self.rate * self.workers)

    def lines(self) -> list[tuple[str, str]]:
        """As a table of two columns for reading."""
        families = ", ".join(f"{count:,} {family}" for family, count in self.conditions.items())
        source = "measured just now" if self.measured else "as on the machine of benchmarks/RESULTS.md"
        embedded = " (embedded)" if self.data in dataset_names() else ""
        lines = [
            ("data", f"{self.data}{embedded}, {self.n_runs:,} runs"),
            ("conditions", f"{sum(self.conditions.values()):,}: {families}"),
            (
                "fits",
                f"{self.fits:,} ({self.resamples:,} resamples each), in {count_text(self.pieces, 'piece')}",
            ),
            (
                "time",
                f"about {duration_text(self.seconds)} for {count_text(self.workers, 'worker')} at "
                f"{self.rate:,.0f} fits per second each ({source}); start, tables, figures "
                "and page take some 12 s more",
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
    """Estimate what `spec` comes to.

    Args:
        spec: the study.
        workers: pieces in work at the same time; None for one per core.
        measure: time the first piece on this machine; otherwise a recorded rate is taken.

    Raises:
        DataError: the data cannot be read or used.
    """
    workers = available_cores() if workers is None else whole("workers", workers, low=1)
    runs = {name: load_spec_runs(spec, name) for name in spec.interpretations}
    first = runs[spec.interpretations[0]]
    conditions = plan_conditions(spec)
    blocks = plan_blocks(spec.resamples, len(first))
    fits = len(conditions) * spec.resamples
    rate = _FITS_PER_SECOND_AND_CORE * _RUNS / len(first)
    if measure:
        from chinchilla_jax.study.work import Job, run_job

        pieces = plan_pieces(spec, {name: found.data_hash for name, found in runs.items()}, blocks)
        # The middle of the plan, after a first run that compiles.
        piece = pieces[len(pieces) // 2]
        job = Job(spec, piece, runs[piece.condition.params])
        run_job(job)
        begun = time.perf_counter()
        run_job(job)
        rate = len(piece.block) / (time.perf_counter() - begun)
    return Estimate(
        data=spec.data,
        n_runs=len(first),
        conditions=dict(Counter(condition.family for condition in conditions)),
        resamples=spec.resamples,
        pieces=len(conditions) * len(blocks),
        fits=fits,
        workers=workers,
        rate=rate,
        measured=measure,
        size=fits * _BYTES_PER_FIT + len(conditions) * 12_000,
        invalid=tuple(
            condition.id for condition in conditions if not _usable(condition, runs[condition.params], spec)
        ),
    )


def _usable(condition: Condition, runs: Runs, spec: StudySpec) -> bool:
    """Whether every number that a fit takes the logarithm of has one."""
    fitted = condition.apply(runs, seed=spec.seed)
    columns = (fitted.params, fitted.tokens, fitted.loss)
    return all(bool(np.all(np.isfinite(column) & (column > 0))) for column in columns)
