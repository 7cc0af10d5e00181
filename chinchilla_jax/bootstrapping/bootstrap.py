"""Many resamples of one data set, each really fitted and each with a status.

Notation
    R            number of resamples
    laws         fitted laws, shape (R,)
    counted      (R,) lanes with a certificate; only these enter a standard error or an interval
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.validation import require_type, resample_count, seed_number, whole_number
from chinchilla_jax.bootstrapping.asked_groups import asked_scheme, asked_warnings, require_groups
from chinchilla_jax.bootstrapping.audit import audit
from chinchilla_jax.bootstrapping.auto_scheme import choose_scheme, is_auto
from chinchilla_jax.bootstrapping.drawn_errors import DrawnErrors
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter, fit_all
from chinchilla_jax.bootstrapping.residual import residual_bootstrap
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.bootstrapping.schemes import Cluster, Pairs, Scheme, read_scheme
from chinchilla_jax.bootstrapping.weights import MOST_INNER, inner_weights
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.fitting.goodness import goodness_of
from chinchilla_jax.fitting.problem import read_problem, read_weights, require_fit_of
from chinchilla_jax.fitting.problem_fit import fit_until_agreed
from chinchilla_jax.fitting.result import FitResult
from chinchilla_jax.fitting.run_off import RunOff, can_be_followed, run_offs
from chinchilla_jax.fitting.unlike_rows import with_unlike_rows
from chinchilla_jax.fitting.width import with_width
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.drawn_cost import CostDraws, draw_costs
from chinchilla_jax.laws.objectives import AsymmetricError, OwnObjective, is_automatic, is_unresolved
from chinchilla_jax.solvers import Problem, Solution, SolverOptions, Status, check_solver
from chinchilla_jax.solvers.counted import read_boundary
from chinchilla_jax.solvers.drawn import concatenated

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.load import Reading
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Cost, Law, Objective
    from chinchilla_jax.laws.objectives import Delta
    from chinchilla_jax.solvers.drawn import Weights

_COST_WEIGHTS = 2**22  # of the runs in a block of resamples, where what training costs is fitted


@reporting
def bootstrap(
    data: Runs | TableLike,
    law: Law | str = "chinchilla",
    *,
    resamples: int = 4000,
    seed: int = 0,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    weights: ArrayLike | None = None,
    solver: str = "newton",
    scheme: Scheme | str = "auto",
    jackknife: bool = False,
    inner: int = 0,
    point: FitResult | None = None,
    boundary: str = "keep",
    options: SolverOptions | None = None,
    progress: ProgressLike = "auto",
    **reading: Unpack[Reading],
) -> BootstrapResult:
    """Fit `resamples` bootstrap resamples of runs, warm-started from known optima.

    Args:
        data: n runs, or a table of them: anything that `load_runs` takes.
        law: a law or its name, see `laws.LAWS`.
        resamples: number of resamples R, at least 2; a jackknife has as many as there are runs.
        seed: whole number; the same seed gives every law and objective the same resamples, whatever R.
        objective: an objective or its name, see `laws.OBJECTIVES`; the point fit is of the same one.
        delta: half-width of the zone, for an objective given by name; "auto" lets the residuals of the runs
            decide once: every resample is fitted with the same delta. None as for `fit`, or that of `point`.
        weights: how much each run counts, (n,), zero or more; a resample's counts are multiplied by them.
        solver: as for `fit`.
        scheme: how to resample, see `schemes.py`: a scheme or its name, "pairs" (Efron 1979), "cluster",
            "residual", "wild", "bayesian", "m_out_of_n", "jackknife" or "delete_d". "auto" measures on the
            point fit whether runs err together, and resamples what does (`BootstrapResult.dependence`, see
            `auto_scheme.py`); runs of an embedded table are resampled by "pairs", as published.
        jackknife: also fit the runs without each one (or without each cluster), for BCa intervals.
        inner: also fit this many resamples of each resample, for studentised intervals; 50 are usual. For
            "pairs" and "cluster".
        point: a point fit to reuse; if absent, fitted from starts spread over what is plausible.
        boundary: "keep" to count resamples whose best E is 0 (`Status.BOUNDARY`) in every summary; "drop" to
            leave them out, as the published studies do. `BootstrapResult.with_boundary` changes it later.
        options: how hard the solver tries, in the point fit too.
        progress: "auto" for a bar in a notebook or on a terminal after a second, None for none, or a function
            that is called with the number of fits just finished.
        **reading: how a table is read: keywords of `load_runs`, such as columns={"loss": "val/loss"}.

    Returns:
        The fits. Lanes that failed are in it, named by `status`, and left out of every summary.

    Raises:
        DataError: the table cannot be read.
        UsageError: an argument that has no meaning, a pair that has none, or a point fit of something else.

    Example:
        >>> boot = cj.bootstrap("chinchilla", resamples=200)
        >>> boot.counts()["CONVERGED"]
        200
        >>> boot.interval(level=0.8)[["estimate", "low", "high"]].round(2)
               estimate      low     high
        E          1.82     1.78     1.85
        A        477.83   333.55   651.98
        B       2143.42  1443.27  3852.80
        alpha      0.35     0.33     0.37
        beta       0.37     0.35     0.40
    """
    runs = as_runs(data, "bootstrap", read_law(law).columns, reading)
    require_type("options", options, (SolverOptions, type(None)), "give SolverOptions(...)")
    require_type("point", point, (FitResult, type(None)), "give what fit returns")
    if point is not None and delta is None and objective == point.objective.name:
        objective = point.objective  # which knows how wide its zone is
    problem = read_problem("bootstrap", runs, law, objective, delta)
    check_solver(solver, problem.law, problem.objective)
    own = read_weights(weights, len(runs))
    count = resample_count("resamples", resamples)
    seed = seed_number(seed)
    chosen = None if is_auto(scheme) else read_scheme(scheme)
    read_boundary(boundary)
    inner = _read_inner(inner)
    if chosen is not None:
        _check_scheme(chosen, jackknife, inner, problem.objective)
        require_groups(chosen, runs, own)
    problem, point = _with_point(problem, point, own, solver, options)
    point = dataclasses.replace(
        with_unlike_rows(point, runs),
        read=runs.read_lines,
        goodness=goodness_of(point, runs),
        cost=runs.cost,
        runs=runs,
    )
    dependence = None
    cautions: tuple[str, ...] = ()
    if chosen is None:
        dependence = choose_scheme(runs, point, counts=inner > 0)
        chosen = dependence.scheme
        _check_scheme(chosen, jackknife, inner, problem.objective)
    else:
        chosen = asked_scheme(chosen, runs, point, counts=inner > 0)
        cautions = asked_warnings(chosen, runs, own)
    chosen = chosen.completed(len(runs), problem.law.size, own)
    ids = np.arange(chosen.count(runs, count), dtype=np.int32)
    advance = started(progress, "bootstrap", len(ids) * (1 + inner))
    fitter = ResampleFitter.prepared(problem, point, own=own, solver=solver, options=options)
    if isinstance(chosen, DrawnErrors):
        result = residual_bootstrap(
            fitter, chosen, ids, seed, point=point, boundary=boundary, on_progress=advance
        )
        # Errors are drawn of losses; what runs cost is resampled with the runs.
        costs = _drawn_costs(runs, point.cost, Pairs(), ids, seed)
        return dataclasses.replace(result, dependence=dependence, costs=costs, seed=seed)
    without = chosen.without_each(runs) if jackknife else np.empty((0, len(runs)), np.uint8)
    weights_of = _WeightsOf(fitter, runs, chosen, ids, without, inner, seed)
    every = fit_all(fitter, weights_of, weights_of.count, drawn=weights_of.drawn, on_progress=advance)
    result = _split(every, problem, ids, len(without), inner, chosen, point, boundary)
    searched = audit(fitter, result.solution, weights_of)
    members = chosen.members(runs) if isinstance(chosen, Cluster) else None
    return dataclasses.replace(
        result,
        dependence=dependence,
        cautions=cautions,
        audit=searched,
        members=members,
        ran_off=_ran_off(fitter, result.solution, weights_of),
        costs=_drawn_costs(runs, point.cost, chosen, ids, seed),
        seed=seed,
    )


def _drawn_costs(
    runs: Runs, cost: Cost, scheme: Scheme, ids: NDArray[np.int32], seed: int
) -> CostDraws | None:
    """What training costs by the runs of each resample, where they have FLOP of their own."""
    if cost.is_6nd:
        return None
    rows = max(_COST_WEIGHTS // len(runs), 1)
    blocks = (scheme.weights(runs, ids[at : at + rows], seed) for at in range(0, len(ids), rows))
    return draw_costs(cost, runs.active, runs.tokens, runs.flops, blocks)


def _ran_off(fitter: ResampleFitter, solution: Solution, weights_of: _WeightsOf) -> dict[int, RunOff]:
    """What ran off in the resamples that are UNIDENTIFIED."""
    lanes = np.flatnonzero(solution.status == Status.UNIDENTIFIED)
    if not len(lanes) or not can_be_followed(fitter.problem):
        return {}
    weights = fitter.weighted(concatenated([weights_of(slice(lane, lane + 1)) for lane in lanes]))
    off = run_offs(fitter.problem, np.asarray(weights), solution.theta[lanes])
    return {int(lane): each for lane, each in zip(lanes, off, strict=True) if each is not None}


def _read_inner(inner: object) -> int:
    remedy = f"give 0, or 2 to {MOST_INNER} resamples of each resample"
    count = whole_number("inner", inner, low=0, high=MOST_INNER, remedy=remedy)
    if count == 1:
        raise UsageError(f"inner is 1; {remedy}")
    return count


def _with_point(
    problem: Problem,
    point: FitResult | None,
    own: NDArray[np.float64] | None,
    solver: str,
    options: SolverOptions | None,
) -> tuple[Problem, FitResult]:
    """The problem with the width of its zone as a number, and its point fit: the one given, or a new one."""
    if point is not None and is_unresolved(problem.objective) and is_automatic(point.objective):
        problem = dataclasses.replace(problem, objective=point.objective)
    problem = with_width(problem, own, options)
    if point is None:
        return problem, fit_until_agreed(problem, own, solver=solver, options=options)
    _require_same(point, problem, own)
    return problem, point


def _check_scheme(scheme: Scheme, jackknife: bool, inner: int, objective: Objective) -> None:
    """Refuse what this scheme cannot do."""
    if jackknife and not scheme.has_jackknife:
        raise UsageError(
            f"scheme {scheme.name!r} has no jackknife beside it; use 'pairs', 'bayesian' or 'cluster'"
        )
    if inner and not scheme.has_nested:
        weighted = isinstance(scheme, Cluster)
        raise UsageError(
            f"scheme {scheme.name!r}{' of real weights' * weighted} has no resamples of resamples; use "
            "'pairs' or 'cluster', or inner=0"
        )
    if isinstance(scheme, DrawnErrors) and isinstance(objective, AsymmetricError | OwnObjective):
        edge = isinstance(objective, AsymmetricError)
        what = "asymmetric fits their edge" if edge else f"{objective.name} need not fit that"
        raise UsageError(
            f"scheme {scheme.name!r} draws errors around the middle of the runs, and {what}; use 'pairs'"
        )


def _require_same(point: FitResult, problem: Problem, own: NDArray[np.float64] | None) -> None:
    """Refuse a point fit that is not of what is resampled."""
    if point.objective != problem.objective:
        raise UsageError(
            f"the point fit minimises {point.objective}, the bootstrap {problem.objective}; use one estimator"
        )
    if point.model != problem.law:
        raise UsageError(f"the point fit is of {point.model}, the bootstrap of {problem.law}; use one law")
    ones = np.ones(point.n_runs)
    theirs, mine = (ones if each is None else each for each in (point.weights, own))
    if not np.array_equal(theirs, mine):
        raise UsageError("the point fit has other weights of the runs than the bootstrap; use the same")
    require_fit_of(problem, point, "point")


class _WeightsOf:
    """Weights of any slice of the fits: resamples, then runs without each one, then resamples of resamples.

    Attributes:
        count: how many fits there are.
        drawn: how many of them, the first ones, a device draws the weights of.
    """

    def __init__(
        self,
        fitter: ResampleFitter,
        runs: Runs,
        scheme: Scheme,
        ids: NDArray[np.int32],
        left_out: NDArray[np.uint8],
        inner: int,
        seed: int,
    ) -> None:
        self.fitter, self.runs, self.scheme, self.ids, self.seed = fitter, runs, scheme, ids, seed
        self.left_out, self.inner = left_out, inner
        self.count = len(ids) + len(left_out) + len(ids) * inner
        self.drawn = len(ids) if fitter.device_draws and scheme.row_of(runs) is not None else 0

    def __call__(self, lanes: slice) -> Weights:
        first, last = lanes.start, lanes.stop
        count = len(self.ids)
        wanted = count + len(self.left_out)
        parts: list[Weights] = []
        if first < count:
            ids = self.ids[first : min(last, count)]
            parts.append(self.fitter.resampled(self.scheme, self.runs, ids, self.seed))
        parts.append(self.left_out[max(first - count, 0) : max(last - count, 0)])
        if last > wanted:
            parts.append(self._nested(max(first - wanted, 0), last - wanted))
        return concatenated([part for part in parts if len(part)])

    def _nested(self, low: int, high: int) -> NDArray[Any]:
        rows = self.ids[low // self.inner : -(-high // self.inner)]
        units = self.scheme.nested(self.runs)
        outer = units.counts(rows, self.seed)
        nested = inner_weights(outer, rows, self.inner, self.seed)[:, :, units.unit_of]
        begin = int(rows[0]) * self.inner
        return nested.reshape(-1, len(self.runs))[low - begin : high - begin]


def _split(
    every: Solution,
    problem: Problem,
    ids: NDArray[np.int32],
    n_left_out: int,
    inner: int,
    scheme: Scheme,
    point: FitResult,
    boundary: str,
) -> BootstrapResult:
    """The resamples' fits as the result, the other fits beside them."""
    count = len(ids)
    wanted = count + n_left_out
    return BootstrapResult(
        solution=every if count == len(every) else every[:count],
        design=problem.design,
        resample_ids=ids,
        point=point,
        scheme=scheme,
        left_out=every[count:wanted] if n_left_out else None,
        nested=every[wanted:] if inner else None,
        boundary=boundary,
    )
