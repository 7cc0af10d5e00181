"""The job of a study: one chunk, from runs to fits. Pure.

| code      | symbol | shape  | unit                                            |
|-----------|--------|--------|-------------------------------------------------|
| runs      | N, D, L | (n,)  | counts, counts, nats per token                  |
| weights   | w      | (R, n) | weight of each run in each resample             |
| laws      |        | (R,)   | natural units                                   |

Chunks of one condition share its point fits and its scouting, chunks of one range its weights: a process that
does several chunks keeps them, as it keeps the compiled solver.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.bootstrapping.resample_fits import resample_fitter
from chinchilla_jax.fitting.point_fit import fit
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.solvers.status import status_counts
from chinchilla_jax.study.chunks import Chunk
from chinchilla_jax.study.environment import device, versions
from chinchilla_jax.study.execution.cache import SingleFlightCache
from chinchilla_jax.study.execution.stage_clocks import StageClocks
from chinchilla_jax.study.spec.data import StudyData
from chinchilla_jax.study.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult


# Starts of each point fit, spread over the published grid. On 27 conditions of the paper's study, among them
# the noisiest, 16 found every certified optimum that 128 found; 32 leave a margin at little cost.
_POINT_STARTS = 32
_POINT_STEPS = 60
# One thread per chunk, always: how lanes are divided into calls must not depend on the machine.
_THREADS = 1
_LEAST_LANES = 64  # smallest part into which a chunk is halved when a device has too little memory


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that a worker needs for one chunk: plain values, which can be sent to another machine.

    Attributes:
        spec: the study.
        chunk: what to compute.
        data: the unperturbed runs, counted as `chunk.condition.params` says, and their weights.
    """

    spec: StudySpec
    chunk: Chunk
    data: StudyData


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ChunkResult:
    """What a job returns.

    Attributes:
        n_runs: runs that were fitted.
        points: rows of the point table, one per objective.
        fits: columns of the table of fits (but `condition`), each of shape (R,); "status" as codes, int8.
        notes: sentences about what is wrong with the condition, for study.json.
        remarks: sentences about how this chunk was computed; they affect no number.
        versions: of Python and the libraries where it was computed.
        device: which one computed it, see `environment.device`.
        seconds: wall time by stage: "point", "bootstrap".
        cpu_seconds: CPU time of the computing thread, by stage.
    """

    n_runs: int
    points: tuple[Mapping[str, Any], ...]
    fits: Mapping[str, NDArray[Any]]
    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    versions: Mapping[str, str]
    device: Mapping[str, Any]
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]

    def status_counts(self) -> dict[str, int]:
        """Fits by status."""
        return status_counts(self.fits["status"])


@dataclasses.dataclass(frozen=True, eq=False)
class _Prepared:
    """What the chunks of one condition share."""

    n_runs: int
    points: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    fitter: Callable[[NDArray[Any], NDArray[np.int64]], BootstrapResult]


_conditions: SingleFlightCache[_Prepared] = SingleFlightCache(32)
_weights: SingleFlightCache[NDArray[Any]] = SingleFlightCache(16)


def run_job(job: Job, attempt: int = 0) -> ChunkResult:
    """Fit one chunk.

    Args:
        job: what to fit.
        attempt: how often it was submitted before. It changes nothing here, but executors that cache results
            (and failures) by their arguments, as Dask can, see another job.

    Returns:
        The result, which depends on the job alone. A condition whose perturbed counts or losses are not all
        positive has only INVALID fits, and a note that says so.
    """
    spec, condition, resamples = job.spec, job.chunk.condition, job.chunk.resamples
    clocks = StageClocks()
    # By its id: a condition with the value NaN equals itself only as long as it is the same object.
    key = (spec.seed, spec.estimator, spec.solver, spec.precision, spec.engine, condition.id, job.data.hash)
    prepared = _conditions.get(key, functools.partial(_prepare, job))
    clocks.end("point")
    ids = np.arange(resamples.first, resamples.stop)
    # Drawn for the unperturbed runs: a resample is the same one under every perturbation of them.
    weights = _weights.get(
        (spec.scheme, spec.cluster, resamples, spec.seed, job.data.hash),
        lambda: job.data.scheme.weights(job.data.runs, ids, spec.seed),
    )
    boot, least = fit_in_halves(prepared.fitter, weights, ids)
    clocks.end("bootstrap")
    remarks = (
        [f"too little device memory for {len(ids)} resamples at once; fitted {least} at a time"]
        if least < len(ids)
        else []
    )
    return ChunkResult(
        n_runs=prepared.n_runs,
        points=prepared.points,
        fits={name: np.concatenate([columns[name] for columns in boot]) for name in boot[0]},
        notes=prepared.notes,
        remarks=tuple(remarks),
        versions=versions(),
        device=device(),
        seconds=clocks.seconds,
        cpu_seconds=clocks.cpu_seconds,
    )


def fit_in_halves(
    fitter: Callable[[NDArray[Any], NDArray[np.int64]], BootstrapResult],
    weights: NDArray[Any],
    ids: NDArray[np.int64],
) -> tuple[list[dict[str, NDArray[Any]]], int]:
    """Fit resamples; if the device has too little memory, one half and then the other, recursively.

    Returns:
        Columns of the table of fits, one dict for each part, and the length of the shortest part.

    Raises:
        Exception: any other error of the fitter, or one for the smallest part.
    """
    try:
        return [_fit_columns(fitter(weights, ids))], len(ids)
    except Exception as error:
        if not _out_of_memory(error) or len(ids) < 2 * _LEAST_LANES:
            raise
    middle = len(ids) // 2
    first, least = fit_in_halves(fitter, weights[:middle], ids[:middle])
    second, other = fit_in_halves(fitter, weights[middle:], ids[middle:])
    return first + second, min(least, other)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _prepare(job: Job) -> _Prepared:
    """The point fits of a condition, and the function that fits its resamples."""
    spec, weights = job.spec, job.data.weights
    fitted = job.chunk.condition.apply(job.data.runs, seed=spec.seed)
    plain = SolverOptions(precision=spec.precision, engine=spec.engine, workers=_THREADS)
    wide = dataclasses.replace(plain, wide_start=True, max_steps=_POINT_STEPS)
    near = dataclasses.replace(plain, max_steps=_POINT_STEPS)
    first, *others = spec.point_estimators
    point = fit(
        fitted,
        spec.law,
        objective=first,
        weights=weights,
        solver=spec.solver,
        starts=_POINT_STARTS,
        options=wide,
    )
    points = {first.name: point}
    for other in others:
        # At the delta in use huber_scale differs little from huber: its vertex lies next to an optimum.
        points[other.name] = fit(
            fitted, spec.law, objective=other, weights=weights, starts=point, options=near
        )
    return _Prepared(
        n_runs=len(fitted),
        points=tuple(_point_row(point) for point in points.values()),
        notes=tuple(_notes(fitted, points)),
        fitter=resample_fitter(fitted, point=points[spec.objective], solver=spec.solver, options=plain),
    )


def _point_row(point: FitResult) -> dict[str, Any]:
    return {
        "objective": point.objective.name,
        **point.parameters,
        "objective_value": float(point.objective_value),
        "status": point.status.name,
        "steps": int(point.steps),
    }


def _fit_columns(boot: BootstrapResult) -> dict[str, NDArray[Any]]:
    return {
        "resample": boot.resample_ids,
        **boot.laws.as_dict(),
        "objective_value": boot.objective_value,
        "decrement": boot.decrement,
        "status": boot.status_codes,
        "steps": boot.steps,
    }


def _notes(runs: Runs, points: Mapping[str, FitResult]) -> list[str]:
    """Sentences about a condition whose fits are INVALID or whose point fit did not converge."""
    for name, values in (
        ("parameter counts", runs.params),
        ("token counts", runs.tokens),
        ("losses", runs.loss),
    ):
        bad = np.flatnonzero(~((values > 0) & np.isfinite(values)))
        if bad.size:
            return [
                f"{bad.size} of {len(runs)} {name} are not positive and finite (the first: "
                f"{float(values[bad[0]])!r}), so every fit is INVALID; use a smaller perturbation"
            ]
    return [
        f"the {name} point fit ended as {point.status.name}: {point.reason}"
        for name, point in points.items()
        if not point.status.certified
    ]
