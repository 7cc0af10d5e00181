"""Which functional form predicts runs it has not seen: cross-validation and extrapolation, with intervals.

| code       | symbol | shape    | meaning                                                            |
|------------|--------|----------|--------------------------------------------------------------------|
| masks      |        | (K, n)   | runs held out in each part of a split                              |
| error      | e_i    |          | |ln predicted - ln observed loss| of a run outside the fit         |
| score      |        | (1 + R,) | weighted mean of e_i over the runs held out; the runs, then resamples |
| difference |        | (1 + R,) | score of a form minus that of the reference form                   |

All forms are fitted to the same resamples and folds, and a resample weights fits and scores alike
(held_out.py), so that a difference has far less scatter than either score. A resample has fewer distinct runs
than the table, which costs a flexible form more and shifts the differences. That shift belongs to the
resamples and not to the difference on the runs themselves. By default intervals are therefore `centred`: they
take the spread of the resamples around their own median and put it around the difference on the runs, which
they always hold. `basic` (Davison & Hinkley 1997, 5.2.1) takes the shift for an error of the estimate and
subtracts it, so that it may leave the estimate out; `percentile` keeps it.

Of many forms one errs less than the reference by chance. What is said of them is therefore adjusted for their
number: intervals that hold together, and the set that holds the best form (joint_limits.py).

A resample in which some part has no optimum is left out for that form, and counted. Those that are left are
the well-behaved ones, and say nothing where they are few: below `fewest` of them there is no interval.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.limits import WEIGHTS
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.validation import resample_count, seed_number
from chinchilla_jax.analysis.comparable_laws import comparable_laws
from chinchilla_jax.analysis.form_result import COMPARISON_METHODS, LIMITS, FormComparison
from chinchilla_jax.analysis.form_store import FormParts
from chinchilla_jax.analysis.held_out import held_out_errors, scores
from chinchilla_jax.analysis.joint_limits import best_set, interval, joint_limits
from chinchilla_jax.analysis.splits import SPLITS, Split, fitted_runs, read_splits
from chinchilla_jax.analysis.work_records import objective_record, resampling_record
from chinchilla_jax.bootstrapping.asked_groups import asked_warnings
from chinchilla_jax.bootstrapping.auto_scheme import is_auto, resolve_scheme
from chinchilla_jax.bootstrapping.few_groups import LEAST_GROUPS
from chinchilla_jax.bootstrapping.schemes import Cluster, require_weights
from chinchilla_jax.datasets import Runs
from chinchilla_jax.datasets.load import as_runs, load_runs
from chinchilla_jax.fitting.goodness import goodness_of
from chinchilla_jax.fitting.problem import read_problem, read_weights
from chinchilla_jax.fitting.problem_fit import fit_problem
from chinchilla_jax.fitting.result import FitResult, require_estimate
from chinchilla_jax.fitting.width import with_width
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws import CHINCHILLA, Law, Objective, read_law
from chinchilla_jax.solvers import Problem, SolverOptions

if TYPE_CHECKING:
    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets.reading import TableLike

Floats = NDArray[np.float64]

_STARTS = 32  # of the fits to all runs


@reporting
def compare_forms(
    runs: Runs | TableLike,
    forms: Sequence[Law | str] | None = None,
    *,
    reference: Law | str | None = None,
    objective: Objective | str = "huber",
    weights: ArrayLike | None = None,
    splits: Sequence[str] | None = None,
    folds: int = 10,
    budgets: ArrayLike | None = None,
    resamples: int = 200,
    seed: int = 0,
    scheme: Scheme | str = "auto",
    level: float = 0.8,
    method: str = "centred",
    options: SolverOptions | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: ProgressLike = "auto",
) -> FormComparison:
    """Compare forms by the error of their predictions of runs they were not fitted to.

    Args:
        runs: n runs, or anything that `load_runs` takes, with the variables that the forms need.
        forms: laws of any kind, or names of built-in ones; None for those whose variables the runs have, see
            `comparable_laws`. One that all runs together do not determine is left out, and so is one with
            too many parameters for a split from that split.
        reference: which of them the others are compared with; it is added if it is not among them. None for
            the five-parameter law or, where the runs do not determine it, the first that they do.
        objective: what every fit minimises.
        weights: of the runs, (n,), in fits and scores; None for all the same.
        splits: out of "runs" and "params" (folds of runs, of whole sizes), "flops" and "tokens" (all above
            some limits), and columns of `runs.groups` (each group in turn); None for all that the runs are
            enough for.
        folds: K of the first two, from 2 on.
        budgets: FLOP of "flops", one split each; None for those that 60% and 80% of the runs lie below.
        resamples: how many, at least 2.
        seed: of the resamples and of the folds.
        scheme: how to resample; "cluster" resamples whole model sizes, and "auto" chooses by the fit of the
            reference, and takes the groups themselves for a split by groups.
        level: mass of the intervals.
        method: one of `COMPARISON_METHODS`.
        options: how hard the solver tries, and by which engine.
        out: a directory (a path or URL) for the scores of every form in every split. Scores that it already
            holds are not computed again: an interrupted run resumes, and forms and splits can be added later.
            A damaged file is reported and its scores are computed again.
        progress: as for `bootstrap`; a function is called with the number of fits just finished.

    Raises:
        UsageError: an argument is out of range, a split leaves too few runs or sizes, or `out` holds another
            comparison.
        ChinchillaError: `out` cannot be written.
        NoEstimateError: the fit of the reference to all runs is not certified, or that of any form.

    Warns:
        DataWarning: a file in `out` is damaged, or of another law of one name.
    """
    import pandas as pd

    central_tails(level)
    if forms is None:
        runs = runs if isinstance(runs, Runs) else load_runs(runs, known_variables=True)
    else:
        runs = as_runs(runs, "compare_forms", [name for form in forms for name in read_law(form).columns])
    if method not in COMPARISON_METHODS:
        raise unknown_name("interval method", method, COMPARISON_METHODS)
    given = read_weights(weights, len(runs))
    own = np.ones(len(runs)) if given is None else given
    laws, left_out = comparable_laws(runs) if forms is None else (list(map(read_law, forms)), [])
    chosen = _distinct([CHINCHILLA if reference is None else read_law(reference), *laws])
    held, unsplit = read_splits(runs, splits, own, chosen[0].size, folds=folds, budgets=budgets, seed=seed)
    left_out += unsplit
    fits, objective = _fit_all(runs, chosen, objective, given, options)
    point = _reference(runs, fits, reference)
    left_out += [
        f"{each.model.name} has no certified fit to all runs ({each.status.name}): {each.reason}"
        for each in fits
        if not each.status.certified
    ]
    # The reference first: the others are compared with it.
    sound = [point, *(each for each in fits if each.status.certified and each is not point)]
    problems = [read_problem("compare_forms", runs, each.model, objective) for each in sound]
    resampled, dependence = resolve_scheme(
        scheme, runs, law=point.model, objective=objective, weights=given, options=options
    )
    warnings = [*point.warnings, *asked_warnings(resampled, runs, given)]
    kept = None
    if out is not None:
        sampling = resampling_record(
            runs, resampled, resamples=resamples, seed=seed, weights=given, options=options
        )
        kept = FormParts(out, {**sampling, **objective_record(objective)})
    fits_each = sum(len(split.masks) for split in held) * (resamples + 1)
    advance = started(progress, "forms", len(problems) * fits_each)
    rows: list[dict[str, object]] = []
    every: dict[str, dict[str, Floats]] = {}
    for split in held:
        of_split, said = _scheme_of(split, runs, scheme, resampled)
        warnings += [said] if said else []
        drawn = np.concatenate([np.ones((1, len(runs))), _drawn(runs, of_split, resamples, seed)]) * own
        left, of_form = fitted_runs(split, own), {}
        for problem in problems:
            law = problem.law
            if law.size < left:
                score = functools.partial(_score, problem, split, drawn, options)
                of_form[law.name] = score() if kept is None else kept.take(split, of_split, problem, score)
            else:
                left_out.append(
                    f"{law.name} in split {split.label!r}: {left} runs to fit {law.size} parameters"
                )
            if advance is not None:
                advance(len(split.masks) * len(drawn))
        every[split.label] = of_form
        rows += _rows(split, [each.law for each in problems], of_form, own, level, method)
    return FormComparison(
        table=pd.DataFrame(rows),
        reference=point.model.name,
        objective=problems[0].objective,
        level=float(level),
        method=method,
        scheme=resampled,
        dependence=dependence,
        fits=tuple(fits),
        scores=every,
        left_out=tuple(left_out),
        warnings=tuple(warnings),
    )


def _distinct(forms: Sequence[Law]) -> list[Law]:
    kept: list[Law] = []
    for form in forms:
        if form not in kept:
            kept.append(form)
    names = [form.name for form in kept]
    if len(set(names)) < len(names):
        raise UsageError(f"forms: two forms have one name ({', '.join(names)}); give each form once")
    return kept


def _fit_all(
    runs: Runs,
    laws: Sequence[Law],
    objective: Objective | str,
    weights: Floats | None,
    options: SolverOptions | None,
) -> tuple[list[FitResult], Objective]:
    """The fit of every law to all runs, by the objective of the first."""
    problems = [read_problem("compare_forms", runs, law, objective) for law in laws]
    if not problems[0].design.valid:
        raise UsageError("compare_forms: a count of the runs is not positive; there is nothing to fit")
    common = with_width(problems[0], weights, options).objective
    wide = None if options is None else dataclasses.replace(options, wide_start=True)
    fits = [
        fit_problem(dataclasses.replace(each, objective=common), weights, starts=_STARTS, options=wide)
        for each in problems
    ]
    return [dataclasses.replace(each, goodness=goodness_of(each, runs)) for each in fits], common


def _reference(runs: Runs, fits: Sequence[FitResult], reference: Law | str | None) -> FitResult:
    """The fit of the law that others are compared with: the first, or the first certified if none is named.

    Raises:
        NoEstimateError: it is not certified, or none of them is.
    """
    found = fits[0]
    if reference is None:
        found = next((each for each in fits if each.status.certified), found)
    require_estimate(found.status, f"{runs.name}, {found.model.name}", found.reason)
    return found


def _scheme_of(split: Split, runs: Runs, asked: Scheme | str, common: Scheme) -> tuple[Scheme, str]:
    """How to resample for a split, and what that leaves unsaid."""
    if split.kind in SPLITS or not is_auto(asked):
        return common, ""
    if len(split.masks) >= LEAST_GROUPS:
        return Cluster(by=split.kind), ""
    return common, (
        f"{len(split.masks)} groups of {split.kind} are too few to resample: the intervals of "
        f"{split.label!r} are of the runs of these groups, and say nothing of another group"
    )


def _drawn(runs: Runs, chosen: Scheme, resamples: int, seed: int) -> Floats:
    """Weights (R, n) of these resamples under a scheme that is weights on as many runs."""
    count = resample_count("resamples", resamples)
    WEIGHTS.require(f"{count:,} resamples of {len(runs):,} runs", count * len(runs))
    require_weights(chosen, len(runs), "compare_forms")
    return np.asarray(chosen.weights(runs, np.arange(count), seed_number(seed)), dtype=np.float64)


def _score(problem: Problem, split: Split, drawn: Floats, options: SolverOptions | None) -> Floats:
    """The error of a form on the runs of a split, then on each resample (1 + R,)."""
    return scores(held_out_errors(problem, split.masks, drawn, options), split.masks, drawn)


def _rows(
    split: Split,
    laws: Sequence[Law],
    of_form: Mapping[str, Floats],
    weights: Floats,
    level: float,
    method: str,
) -> list[dict[str, object]]:
    """The rows of the laws that were scored, the reference first."""
    compared = [law for law in laws if law.name in of_form]
    if not compared:
        return []
    held = int(np.sum(split.masks.any(axis=0) & (weights > 0)))
    every = np.stack([of_form[law.name] for law in compared], axis=1)
    differences = every - every[:, :1]
    limits, best = joint_limits(differences, level, method), best_set(every)
    rows = []
    for place, law in enumerate(compared):
        score, difference = every[:, place], differences[:, place]
        low, high = interval(score, level, method)
        rows.append(
            {
                "split": split.label,
                "form": law.name,
                "n_parameters": law.size,
                "n_held_out": held,
                "error": float(score[0]),
                "error_low": low,
                "error_high": high,
                "difference": float(difference[0]),
                **{name: float(limits[j, place]) for j, name in enumerate(LIMITS)},
                "p_best": float(best[place]),
                "n_resamples": int(np.isfinite(difference[1:]).sum()),
                "of_resamples": len(score) - 1,
                "n_failed": int((~np.isfinite(score[1:])).sum()),
            }
        )
    return rows
