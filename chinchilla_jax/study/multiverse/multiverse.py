"""The multiverse of a table: the answer of every defensible analysis, each fitted and bootstrapped.

Steegen et al. 2016 (doi:10.1177/1745691616658637) name it; Simonsohn et al. 2020
(doi:10.1038/s41562-020-0912-z) draw it as a specification curve.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.text import flops_text, list_text
from chinchilla_jax._util.validation import resample_count, seed_number
from chinchilla_jax.bootstrapping.asked_groups import asked_scheme, require_groups
from chinchilla_jax.bootstrapping.auto_scheme import choose_scheme
from chinchilla_jax.bootstrapping.dependence import measure_dependence
from chinchilla_jax.bootstrapping.schemes import Cluster, Scheme
from chinchilla_jax.datasets.catalogue import is_embedded
from chinchilla_jax.fitting.point_fit import fit, fit_among_many
from chinchilla_jax.fitting.problem import usual_delta
from chinchilla_jax.fitting.result import FitResult
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.intervals.tokens_per_param import positive_budgets
from chinchilla_jax.laws import CHINCHILLA, Huber
from chinchilla_jax.laws.compute import usual_budget
from chinchilla_jax.planning.plausibility import compute_doubt, largest_compute
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.study.chunks import Shard
from chinchilla_jax.study.execution.executors import ExecutorChoice, run_jobs
from chinchilla_jax.study.multiverse.costs import MEASURED, SIX, read_costs
from chinchilla_jax.study.multiverse.counts import restated
from chinchilla_jax.study.multiverse.fits import JobResult, Work, run_job
from chinchilla_jax.study.multiverse.options import (
    delta_text,
    listed,
    read_laws,
    read_objectives,
    read_scheme_option,
    scheme_name,
)
from chinchilla_jax.study.multiverse.result import MultiverseResult
from chinchilla_jax.study.multiverse.rows import default_rows, read_rows
from chinchilla_jax.study.multiverse.specifications import Choices, Job
from chinchilla_jax.study.multiverse.store import Store
from chinchilla_jax.study.multiverse.tables import Table, read_table

if TYPE_CHECKING:
    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.laws.objectives import Delta


@reporting
def multiverse(
    data: Runs | TableLike,
    *,
    flops: ArrayLike | None = None,
    laws: Sequence[Law | str] | None = None,
    objectives: Sequence[Objective | str] | None = None,
    deltas: Sequence[Delta] | None = None,
    countings: Any = None,
    costs: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    schemes: Sequence[Scheme | str] | None = None,
    resamples: int = 400,
    seed: int = 0,
    level: float = 0.8,
    options: SolverOptions | None = None,
    out: str | os.PathLike[str] | None = None,
    shard: Shard | str | None = None,
    workers: int | None = None,
    progress: ProgressLike = "auto",
    **reading: Any,
) -> MultiverseResult | None:
    """Fit and bootstrap a table under every combination of an analyst's choices.

    Every answer is the compute-optimal point of a budget: tokens per parameter, parameters, tokens and loss.
    N is stated in the first counting in all of them, see `counts.py`. A choice that the table does not offer
    has one option.

    Args:
        data: n runs, or anything that `load_runs` takes.
        flops: budgets (FLOP) to answer for; None for that of the largest run (Chinchilla's, for chinchilla).
        laws: laws of parameters and tokens, or names; None for those of `options.LAWS`.
        objectives: names out of `laws.OBJECTIVES`, or objectives; None for `options.OBJECTIVE_NAMES`.
        deltas: half-widths for "huber" and "raw_huber", "auto" among them; None for `options.DELTAS`.
        countings: of chinchilla, names; of other tables, columns by name, such as {"total": "params",
            "non_embedding": "params_non_embedding"}; None for all that an embedded table has.
        costs: out of "6nd", "measured" and "attention"; None for all that the table has.
        rows: which runs count, see `rows.py`: "all", "unflagged", "drop_loss:5", "drop_residual:2%",
            "min_params:1e8", ...; None for `rows.default_rows`.
        schemes: how to resample: "pairs", "bayesian", "cluster:COLUMN", "wild" or "residual"; None for
            "pairs", "bayesian" and, where residuals within some group are correlated, that group.
        resamples: of each specification.
        seed: whole number. Specifications with the same rows and scheme have the same resamples.
        level: mass of the percentile intervals.
        options: how hard the solver tries.
        out: a directory (a path or URL) for the answers. What it already holds is not computed again: an
            interrupted run resumes, and laws and rows can be added later.
        shard: part of the work, as in "3/40": computes that part into `out`.
        workers: threads; None for one per core.
        progress: as for `bootstrap`; a function is called with the number of fits just finished.
        **reading: how a table is read: keywords of `load_runs`.

    Returns:
        The answers. No number depends on workers, shards, order or interruptions. None of a shard, as long as
        others are missing.

    Raises:
        DataError: the table cannot be read.
        UsageError: an argument is out of range or an option does not fit the table; more specifications or
            fits than `_util.limits` allows; or `out` holds something else.
        ChinchillaError: `out` cannot be written.

    Warns:
        DataWarning: a file in `out` is damaged.

    Example:
        >>> found = cj.multiverse(runs, flops=1e24, laws=["chinchilla"], objectives=["huber", "squared"],
        ...     deltas=[1e-3], schemes=["pairs"], resamples=20)
        >>> len(found), found.choices["rows"]
        (16, ('all', 'drop_loss:5', 'drop_residual:5', 'min_params:2.5e+08'))
    """
    central_tails(level)
    count, number = resample_count("resamples", resamples), seed_number(seed)
    part = Shard.parse(shard) if isinstance(shard, str) else shard
    if part is not None and out is None:
        raise UsageError(f"multiverse: shard {part} needs a directory that all shards share; give out=DIR")
    plan = plan_multiverse(
        data,
        flops=flops,
        laws=laws,
        objectives=objectives,
        deltas=deltas,
        countings=countings,
        costs=costs,
        rows=rows,
        schemes=schemes,
        resamples=count,
        seed=number,
        options=options,
        **reading,
    )
    return plan.run(level=level, out=out, shard=part, workers=workers, progress=progress)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A multiverse that is known and not yet computed.

    Attributes:
        table: what it is about.
        choices: the options.
        work: what its jobs share.
        default: see `MultiverseResult`.
        notes: see `MultiverseResult`.
    """

    table: Table
    choices: Choices
    work: Work
    default: int | None
    notes: tuple[str, ...]

    @property
    def n_fits(self) -> int:
        """Bootstrap fits of all jobs."""
        return self.choices.n_fitted * self.work.resamples

    def run(
        self,
        *,
        level: float,
        out: str | os.PathLike[str] | None,
        shard: Shard | None,
        workers: int | None,
        progress: ProgressLike,
    ) -> MultiverseResult | None:
        """Compute what is missing; arguments and result as for `multiverse`."""
        choice = ExecutorChoice(workers=workers)
        store, jobs = Store(self.work, out), self.choices.jobs()
        mine = jobs if shard is None else jobs[shard.number - 1 :: shard.count]
        # A part is read before it counts as there: one that is damaged is computed again.
        missing = [job for job in mine if not store.has(job) or store.read(job) is None]
        if missing:
            lanes = self.work.resamples * sum(job.n_fitted for job in missing)
            advance = _one_by_one(started(progress, "multiverse", lanes))
            compute = functools.partial(_run, self.work, advance)
            with choice.open() as (pool, in_flight, _):
                run_jobs(pool, missing, in_flight=in_flight, receive=store.write, function=compute)
        if shard is not None and not all(store.has(job) for job in jobs):
            return None

        def answers(job: Job) -> JobResult:
            found = store.read(job)
            if found is None:  # damaged since
                found = run_job(self.work, job)
                store.write(job, found)
            return found

        return MultiverseResult(
            data=self.table.plain.name,
            n_runs=len(self.table.plain),
            flops=self.work.flops,
            resamples=self.work.resamples,
            seed=self.work.seed,
            level=float(level),
            counting=self.choices.countings[0],
            notes=self.notes,
            default=self.default,
            options=self.choices,
            answers=answers,
            loss_unit=self.table.plain.loss_unit,
        )


def plan_multiverse(
    data: Runs | TableLike,
    *,
    flops: ArrayLike | None,
    laws: Any,
    objectives: Any,
    deltas: Any,
    countings: Any,
    costs: Any,
    rows: Any,
    schemes: Any,
    resamples: int,
    seed: int,
    options: SolverOptions | None,
    **reading: Any,
) -> Plan:
    """Read the table and every option; arguments and errors as for `multiverse`."""
    of_laws, of_objectives = read_laws(laws), read_objectives(objectives, deltas)
    budgets = None if flops is None else positive_budgets(flops)
    table = read_table(data, countings, reading)
    plain = table.plain
    usual = functools.cache(lambda: fit_among_many(table.usual, objective=Huber("auto"), options=options))
    names = default_rows(plain, table.flagged, table.dropped) if rows is None else listed("rows", rows)
    every = functools.cache(
        lambda: fit_among_many(plain.take(~table.flagged), objective=Huber("auto"), options=options)
    )
    masks = {name: read_rows(name, plain, table.flagged, lambda: every().residuals) for name in names}
    masks, notes = _distinct(masks)
    kinds = _schemes(schemes, table.usual, usual)
    choices = Choices(
        laws=of_laws,
        objectives=of_objectives,
        countings=tuple(table.by_counting),
        costs=read_costs(costs, plain),
        rows=tuple(masks),
        schemes=tuple(kinds),
    )
    choices.require(resamples)
    stated = {name: restated(runs.params, plain.params) for name, runs in table.by_counting.items()}
    notes += [
        f"N by {name} is stated by {next(iter(stated))}, within {100 * each.miss:.2g}% on the table's models."
        for name, each in stated.items()
        if not each.is_same
    ]
    work = Work(
        by_counting=table.by_counting,
        masks=masks,
        schemes=_of_rows(kinds, masks, plain),
        restated=stated,
        flops=np.array([usual_budget(plain.name, plain.flops)]) if budgets is None else budgets,
        resamples=resamples,
        seed=seed,
        options=dataclasses.replace(options or SolverOptions(), workers=1),
    )
    notes += _far_budgets(work.flops, plain)
    default = _default(table, choices, masks, usual)
    return Plan(table=table, choices=choices, work=work, default=default, notes=tuple(notes))


def _distinct(masks: dict[str, NDArray[np.bool_]]) -> tuple[dict[str, NDArray[np.bool_]], list[str]]:
    """The options of rows that are different runs, and what is said of the others."""
    found: dict[str, NDArray[np.bool_]] = {}
    alike = []
    for name, mask in masks.items():
        if any(np.array_equal(known, mask) for known in found.values()):
            alike.append(name)
        else:
            found[name] = mask
    verb = "is the runs of another option" if len(alike) == 1 else "are the runs of other options"
    notes = [f"Rows: {list_text(alike, 6)} {verb}, and counted once."] if alike else []
    return found, notes


def _schemes(given: Any, runs: Runs, usual: Callable[[], FitResult]) -> dict[str, Scheme]:
    """The schemes by name."""
    if given is not None:
        read = [read_scheme_option(each) for each in listed("schemes", given)]
        found = dict(read)
        if len(found) < len(read):
            raise UsageError("multiverse: schemes has one scheme twice; list each once")
        return found
    names: list[Any] = ["pairs", "bayesian"]
    point = usual()
    if point.status.certified:
        slopes = CHINCHILLA.jacobian(point.theta, CHINCHILLA.design(runs))
        measured = measure_dependence(runs, point.residuals, derivatives=slopes).scheme
        names += [measured] if isinstance(measured, Cluster) else []
    return dict(read_scheme_option(each) for each in names)


def _of_rows(
    kinds: dict[str, Scheme], masks: dict[str, NDArray[np.bool_]], plain: Runs
) -> dict[tuple[str, str], Scheme]:
    """How the runs of each option of rows are resampled, a function of these runs and the scheme alone."""
    found: dict[tuple[str, str], Scheme] = {}
    for rows, mask in masks.items():
        runs = plain.take(mask)
        for name, scheme in kinds.items():
            asked = scheme
            if isinstance(scheme, Cluster):
                # Sizes and budgets are those of the plain counting, whatever an analysis counts by.
                require_groups(scheme, runs)
                asked = asked_scheme(scheme, runs, fit(runs, objective=Huber("auto"), starts=64))
                asked = dataclasses.replace(
                    Cluster(labels=scheme.members(runs)),
                    concentration=asked.concentration if isinstance(asked, Cluster) else None,
                )
            found[rows, name] = asked.completed(len(runs), CHINCHILLA.size)
    return found


def _far_budgets(flops: NDArray[np.float64], runs: Runs) -> list[str]:
    """That answers are far beyond the runs, for each budget where they are."""
    largest = largest_compute(runs)
    doubts = [(float(each), compute_doubt(float(each), largest)) for each in flops]
    return [
        f"{flops_text(budget)} FLOP is {doubt}: answers there are extrapolated."
        for budget, doubt in doubts
        if doubt
    ]


def _default(
    table: Table, choices: Choices, masks: dict[str, NDArray[np.bool_]], usual: Callable[[], FitResult]
) -> int | None:
    """The number of the specification that `cj.bootstrap` makes of the table; None for none."""
    runs = table.plain
    delta = delta_text(usual_delta(runs))
    # What an embedded table is read by where nothing is said; of your own, the first count.
    read_by = ("as_plotted", "params") if is_embedded(runs) else ()
    counting = next((name for name in read_by if name in choices.countings), choices.countings[0])
    try:
        scheme = scheme_name(choose_scheme(table.usual, usual()).scheme)
        place = (
            [law.name for law in choices.laws].index(CHINCHILLA.name),
            [(each.name, each.delta) for each in choices.objectives].index((Huber.name, delta)),
            choices.countings.index(counting),
            choices.costs.index(SIX if runs.cost.is_6nd else MEASURED),
            next(i for i, name in enumerate(choices.rows) if np.array_equal(masks[name], table.is_usual)),
            choices.schemes.index(scheme),
        )
    except (ValueError, StopIteration):
        return None
    return int(np.ravel_multi_index(place, choices.shape))


def _run(work: Work, advance: Callable[[int], None] | None, job: Job, attempt: int = 0) -> JobResult:
    return run_job(work, job, advance)


def _one_by_one(advance: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """The same function for several threads: one calls it at a time."""
    if advance is None:
        return None
    lock, known = threading.Lock(), advance

    def locked(done: int) -> None:
        with lock:
            known(done)

    return locked
