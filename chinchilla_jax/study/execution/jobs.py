"""The job of a study: some of its chunks, from runs to fits. Pure.

| code      | symbol | shape  | unit                                            |
|-----------|--------|--------|-------------------------------------------------|
| runs      | N, D, L | (n,)  | counts, counts, nats per token                  |
| weights   | w      | (R, n) | weight of each run in each resample             |
| laws      |        | (R,)   | natural units                                   |

A job has three rounds: the point fits of its conditions, their scouting, and the resamples of its chunks. In
each the conditions are side by side, in a few large calls of a solver. Chunks of one condition share its
point fits and its scouting, which are done for a group of conditions at a time; chunks of one range share its
weights. A process that does several jobs keeps both, as it keeps the compiled solver.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util import reproducible
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.fitting.problem import read_problem, read_weights
from chinchilla_jax.fitting.problem_fit import ask_problem_fit
from chinchilla_jax.fitting.width import ask_with_width
from chinchilla_jax.laws import Chinchilla
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.solvers.requests import Asking, side_by_side
from chinchilla_jax.solvers.status import status_counts
from chinchilla_jax.study.chunks import Chunk
from chinchilla_jax.study.environment import device, made_on, versions
from chinchilla_jax.study.execution.cache import SingleFlightCache
from chinchilla_jax.study.execution.stage_clocks import StageClocks
from chinchilla_jax.study.spec.conditions import Condition
from chinchilla_jax.study.spec.data import StudyData
from chinchilla_jax.study.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.solvers import Problem
    from chinchilla_jax.solvers.drawn import Weights


# Starts of each point fit, spread over the published grid. On 27 conditions of the paper's study, among them
# the noisiest, 16 found every certified optimum that 128 found; 32 leave a margin at little cost.
_POINT_STARTS = 32
_POINT_STEPS = 60
# One thread per job: jobs are what runs in parallel.
_THREADS = 1


def conditions_of(chunks: Iterable[Chunk]) -> tuple[Condition, ...]:
    """The conditions of these chunks, each once."""
    return tuple({chunk.index: chunk.condition for chunk in chunks}.values())


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that a worker needs for some chunks: plain values, which can be sent to another machine.

    Attributes:
        spec: the study.
        chunks: what to compute.
        group: the conditions whose point fits and scouting are done together, those of the chunks among them.
            Jobs of one process that share a group share its work. No number depends on it.
        data: the unperturbed runs by interpretation, and their weights.
    """

    spec: StudySpec
    chunks: tuple[Chunk, ...]
    group: tuple[Condition, ...]
    data: Mapping[str, StudyData]

    @classmethod
    def of(cls, spec: StudySpec, chunk: Chunk, data: StudyData) -> Job:
        """A job of one chunk."""
        return cls(spec, (chunk,), (chunk.condition,), {chunk.condition.params: data})

    def by_itself(self) -> Job:
        """The same job for a process that does no other of its group."""
        return dataclasses.replace(self, group=conditions_of(self.chunks))

    def __hash__(self) -> int:
        """By the chunks."""
        return hash(self.chunks)


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
        made_on: the instruction set there, see `environment.made_on`.
        device: which one computed it, see `environment.device`.
        seconds: wall time by stage: "point", "bootstrap".
        cpu_seconds: CPU time of the computing thread, by stage.
        units: `Design.units` of the runs; None under the five-parameter law, which does without.
    """

    n_runs: int
    points: tuple[Mapping[str, Any], ...]
    fits: Mapping[str, NDArray[Any]]
    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    versions: Mapping[str, str]
    made_on: str
    device: Mapping[str, Any]
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    units: tuple[float, ...] | None = None

    def status_counts(self) -> dict[str, int]:
        """Fits by status."""
        return status_counts(self.fits["status"])


@dataclasses.dataclass(frozen=True, eq=False)
class _Prepared:
    """What the chunks of one condition share."""

    n_runs: int
    points: Mapping[str, FitResult]
    notes: tuple[str, ...]
    fitter: ResampleFitter


_groups: SingleFlightCache[Mapping[str, _Prepared]] = SingleFlightCache(32)
_weights: SingleFlightCache[Weights] = SingleFlightCache(16)


def run_job(job: Job, attempt: int = 0) -> tuple[ChunkResult, ...]:
    """Fit some chunks.

    Args:
        job: what to fit.
        attempt: how often it was submitted before. It changes nothing here, but executors that cache results
            (and failures) by their arguments, as Dask can, see another job.

    Returns:
        A result for each chunk, which depends on the chunk alone. A condition whose perturbed counts or
        losses are not all positive has only INVALID fits, and a note that says so.
    """
    spec = job.spec
    if spec.reproducible:  # a worker of a foreign cluster may not be
        reproducible.require("a worker of a reproducible study")
    clocks = StageClocks()
    # By its id: a condition with the value NaN equals itself only as long as it is the same object.
    key = (
        (spec.seed, spec.law, spec.estimator, spec.solver, spec.precision, spec.fitting_engine),
        tuple(condition.id for condition in job.group),
        tuple((name, data.hash) for name, data in job.data.items()),
    )
    prepared = _groups.get(key, functools.partial(_prepare, job))
    clocks.end("point")
    halved: list[int] = []
    fits = side_by_side(
        [_ask_chunk(job, chunk, prepared[chunk.condition.id]) for chunk in job.chunks], halved.append
    )
    clocks.end("bootstrap")
    remarks = (
        (f"too little device memory for the fits of a job at once; fitted {min(halved)} at a time",)
        if halved
        else ()
    )
    share = 1.0 / len(job.chunks)
    return tuple(
        ChunkResult(
            n_runs=of_condition.n_runs,
            points=tuple(_point_row(point) for point in of_condition.points.values()),
            fits=_fit_columns(boot),
            notes=of_condition.notes,
            remarks=remarks,
            versions=versions(),
            made_on=made_on(),
            device=device(),
            seconds={stage: share * seconds for stage, seconds in clocks.seconds.items()},
            cpu_seconds={stage: share * seconds for stage, seconds in clocks.cpu_seconds.items()},
            units=None if isinstance(spec.model, Chinchilla) else of_condition.fitter.problem.design.units,
        )
        for of_condition, boot in zip((prepared[each.condition.id] for each in job.chunks), fits, strict=True)
    )


def _ask_chunk(job: Job, chunk: Chunk, prepared: _Prepared) -> Asking[BootstrapResult]:
    """The fits of one chunk; a procedure, see solvers/requests.py."""
    spec, data, fitter = job.spec, job.data[chunk.condition.params], prepared.fitter
    ids = np.arange(chunk.resamples.first, chunk.resamples.stop)
    # Drawn for the unperturbed runs: a resample is the same one under every perturbation of them.
    weights = _weights.get(
        (spec.scheme, spec.cluster, chunk.resamples, spec.seed, data.hash, fitter.device_draws),
        lambda: fitter.weighted(fitter.resampled(data.scheme, data.runs, ids, spec.seed)),
    )
    solution = yield from fitter.ask_fit(weights, fitter.starts(weights))
    return BootstrapResult(
        solution=solution,
        design=fitter.problem.design,
        resample_ids=ids,
        point=prepared.points[spec.objective],
    )


def _prepare(job: Job) -> dict[str, _Prepared]:
    """What the chunks of each condition of a group share, by the id of the condition."""
    found = side_by_side([_ask_prepared(job, condition) for condition in job.group])
    return {condition.id: each for condition, each in zip(job.group, found, strict=True)}


def _ask_prepared(job: Job, condition: Condition) -> Asking[_Prepared]:
    """The point fits of a condition, and how its resamples are started; a procedure."""
    spec, data = job.spec, job.data[condition.params]
    fitted, own = condition.apply(data.runs, seed=spec.seed), read_weights(data.weights, len(data.runs))
    plain = SolverOptions(precision=spec.precision, engine=spec.fitting_engine, workers=_THREADS)
    near = dataclasses.replace(plain, max_steps=_POINT_STEPS)
    first, *others = spec.point_estimators
    problem = read_problem("run_study", fitted, spec.law, first)
    problems, points = {}, {}
    problems[first.name] = yield from ask_with_width(problem, own, near)
    points[first.name] = point = yield from _ask_point(
        problems[first.name], own, spec, _POINT_STARTS, dataclasses.replace(near, wide_start=True)
    )
    for other in others:
        # The runs are standardised once. At the delta in use huber_scale differs little from huber: its
        # vertex lies next to an optimum.
        problems[other.name] = dataclasses.replace(problem, objective=other)
        points[other.name] = yield from _ask_point(problems[other.name], own, spec, point, near)
    fitter = yield from ResampleFitter.ask_prepared(
        problems[spec.objective],
        points[spec.objective],
        own=own,
        solver=spec.solver,
        options=plain,
        # Hundreds of conditions: the starts of a resample race.
        raced=True,
    )
    return _Prepared(n_runs=len(fitted), points=points, notes=tuple(_notes(fitted, points)), fitter=fitter)


def _ask_point(
    problem: Problem,
    own: NDArray[np.float64] | None,
    spec: StudySpec,
    starts: int | FitResult,
    options: SolverOptions,
) -> Asking[FitResult]:
    """A point fit, without the warnings that a study does not show; a procedure."""
    return ask_problem_fit(problem, own, solver=spec.solver, starts=starts, options=options, warned=False)


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
