"""Which functional form predicts runs it has not seen: cross-validation and extrapolation, with intervals.

| code       | symbol | shape    | meaning                                                            |
|------------|--------|----------|--------------------------------------------------------------------|
| masks      |        | (K, n)   | runs held out in each part of a split                              |
| error      | e_i    |          | |ln predicted - ln observed loss| of a run outside the fit         |
| score      |        | (1 + R,) | weighted mean of e_i over the runs held out; the runs, then resamples |
| difference |        | (1 + R,) | score of a form minus that of the reference form                   |

A resample weights the runs, in the fits and in the score alike: a run that was drawn three times is held out
three times, and is never on both sides. All forms are fitted to the same resamples and folds, so that a
difference has far less scatter than either score. A resample has fewer distinct runs than the table, which
costs a flexible form more and shifts the differences. That shift belongs to the resamples and not to the
difference on the runs themselves. By default intervals are therefore `centred`: they take the spread of the
resamples around their own median and put it around the difference on the runs, which they always hold.
`basic` (Davison & Hinkley 1997, 5.2.1) takes the shift for an error of the estimate and subtracts it, so that
it may leave the estimate out; `percentile` keeps it.

A fit at an edge (E = 0) is an optimum and predicts like any other. A resample in which some part has no
optimum is left out for that form, and counted. Those that are left are the well-behaved ones, and say
nothing where they are few: below `fewest` of them a difference has no interval.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.limits import WEIGHTS
from chinchilla_jax._util.validation import resample_count, seed_number
from chinchilla_jax.analysis.form_sentences import sentence
from chinchilla_jax.analysis.splits import Split, fitted_runs, read_splits
from chinchilla_jax.bootstrapping.asked_groups import asked_warnings
from chinchilla_jax.bootstrapping.auto_scheme import resolve_scheme
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter
from chinchilla_jax.bootstrapping.schemes import require_weights
from chinchilla_jax.fitting.point_fit import fit_problem, with_width
from chinchilla_jax.fitting.problem import read_problem, read_weights
from chinchilla_jax.fitting.result import require_estimate
from chinchilla_jax.intervals.methods import METHODS, Sample
from chinchilla_jax.intervals.quantiles import central_tails, low_median_high
from chinchilla_jax.laws import STANDARD, FixedFloor, Law, Objective, read_law
from chinchilla_jax.solvers import Problem, SolverOptions

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets import Runs

Floats = NDArray[np.float64]

COMPARISON_METHODS = ("centred", "basic", "percentile")
COMPARED = tuple(name for name in STANDARD if name != FixedFloor.name)
"""The forms that are compared unless others are named: all but the one that takes an E of another table."""
_FEWEST = 10  # resamples of an interval, where so many are asked for
_STARTS = 24  # of the fits from which each part's resamples start


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormComparison:
    """What `compare_forms` found.

    Attributes:
        table: one row per split and form: split, form, n_parameters, n_held_out, error (mean absolute log
            error out of sample), error_low, error_high, difference (from the reference form; positive is
            worse), low, high, n_resamples (of both forms), of_resamples (asked
            for), n_failed. NaN where there is none: an error where
            some part has no optimum, an interval where fewer than `fewest` resamples are left.
        reference: name of the form that others are compared with.
        objective: what every fit minimised; where its delta was "auto", that of the reference form.
        level: mass of the intervals.
        method: one of `COMPARISON_METHODS`.
        left_out: splits, and forms in a split, that these runs are too few for, one sentence each.
        warnings: of the reference's fit to all runs and of a scheme that was asked for, one sentence each.
    """

    table: pd.DataFrame
    reference: str
    objective: Objective
    level: float
    method: str
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """What the table says, one sentence for each split."""
        return [
            sentence(group, self.reference, self.level)
            for _, group in self.table.groupby("split", sort=False)
        ]


def compare_forms(
    runs: Runs,
    forms: Sequence[Law | str] = COMPARED,
    *,
    reference: Law | str = "chinchilla",
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
    progress: Callable[[int], None] | None = None,
) -> FormComparison:
    """Compare forms by the error of their predictions of runs they were not fitted to.

    Args:
        runs: n runs.
        forms: forms or their names.
        reference: which of them the others are compared with; it is added if it is not among them.
        objective: what every fit minimises.
        weights: of the runs, (n,), in fits and scores; None for all the same.
        splits: out of "runs", "params" and "flops"; None for all that the runs are enough for. A form with
            too many parameters for a split is left out of that split.
        folds: K of the first two, from 2 on.
        budgets: FLOP of "flops", one split each; None for those that 60% and 80% of the runs lie below.
        resamples: how many, at least 2.
        seed: of the resamples and of the folds.
        scheme: how to resample; "cluster" resamples whole model sizes, and "auto" chooses by the fit of the
            reference.
        level: mass of the intervals.
        method: one of `COMPARISON_METHODS`.
        options: how hard the solver tries, and by which engine.
        progress: called with the number of fits just finished.

    Raises:
        UsageError: an argument is out of range, or a split leaves too few runs or sizes.
        NoEstimateError: the fit of the reference to all runs is not certified.
    """
    import pandas as pd

    chosen = _distinct([read_law(reference), *map(read_law, forms)])
    problems = [read_problem("compare_forms", runs, law, objective) for law in chosen]
    central_tails(level)
    if method not in COMPARISON_METHODS:
        raise unknown_name("interval method", method, COMPARISON_METHODS)
    given = read_weights(weights, len(runs))
    own = np.ones(len(runs)) if given is None else given
    resampled, _ = resolve_scheme(
        scheme, runs, law=chosen[0], objective=objective, weights=given, options=options
    )
    drawn = _resample_weights(runs, resampled, resamples, seed)
    every = np.concatenate([np.ones((1, len(runs))), drawn]) * own
    if not problems[0].design.valid:
        raise UsageError("compare_forms: a count of the runs is not positive; there is nothing to fit")
    common = with_width(problems[0], given, options).objective
    problems = [dataclasses.replace(problem, objective=common) for problem in problems]
    held, left_out = read_splits(runs, splits, own, chosen[0].size, folds=folds, budgets=budgets, seed=seed)
    wide = None if options is None else dataclasses.replace(options, wide_start=True)
    point = fit_problem(problems[0], given, starts=_STARTS, options=wide)
    require_estimate(point.status, f"{runs.name}, {chosen[0].name}", point.reason)
    rows = []
    for split in held:
        left, scores, scored = fitted_runs(split, own), [], []
        for law, problem in zip(chosen, problems, strict=True):
            if law.size < left:
                scores.append(_scores(problem, split.masks, every, options))
                scored.append(law)
            else:
                left_out.append(
                    f"{law.name} in split {split.label!r}: {left} runs to fit {law.size} parameters"
                )
            if progress is not None:
                progress(len(split.masks) * len(every))
        rows += _rows(split, scored, scores, own, level, method)
    return FormComparison(
        table=pd.DataFrame(rows),
        reference=chosen[0].name,
        objective=common,
        level=float(level),
        method=method,
        left_out=tuple(left_out),
        warnings=(*point.warnings, *asked_warnings(resampled, runs, given)),
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


def _resample_weights(runs: Runs, chosen: Scheme, resamples: int, seed: int) -> Floats:
    """Weights (R, n) of these resamples under a scheme that is weights on as many runs."""
    count = resample_count("resamples", resamples)
    WEIGHTS.require(f"{count:,} resamples of {len(runs):,} runs", count * len(runs))
    require_weights(chosen, len(runs), "compare_forms")
    return np.asarray(chosen.weights(runs, np.arange(count), seed_number(seed)), dtype=np.float64)


def _scores(
    problem: Problem, masks: NDArray[np.bool_], weights: Floats, options: SolverOptions | None
) -> Floats:
    """Score under every weighting (1 + R,); NaN where some part has no optimum or nothing to predict."""
    design = problem.design
    wide = None if options is None else dataclasses.replace(options, wide_start=True)
    total, weight = np.zeros(len(weights)), np.zeros(len(weights))
    sound = np.ones(len(weights), bool)
    for mask in masks:
        left = weights * ~mask
        point = fit_problem(problem, left[0], starts=_STARTS, options=wide)
        fitter = ResampleFitter.prepared(problem, point, own=~mask * 1.0, options=options, raced=True)
        found = fitter.fit(left, fitter.starts(left))
        held = np.flatnonzero(mask)
        places = [column[held] for column in design.places]
        predicted = problem.law.log_losses(found.theta, places, design)
        error = np.abs(predicted - design.log_loss[held])
        usable = found.is_optimum & np.isfinite(error).all(axis=1)
        sound &= usable
        total += np.sum(weights[:, held] * np.where(usable[:, None], error, 0.0), axis=1)
        weight += weights[:, held].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sound & (weight > 0), total / weight, np.nan)


def _rows(
    split: Split, forms: list[Law], scores: list[Floats], weights: Floats, level: float, method: str
) -> list[dict[str, object]]:
    rows = []
    held = int(np.sum(split.masks.any(axis=0) & (weights > 0)))
    for form, score in zip(forms, scores, strict=True):
        low, high = _interval(score, level, method)
        difference = score - scores[0]
        diff_low, diff_high = _interval(difference, level, method)
        rows.append(
            {
                "split": split.label,
                "form": form.name,
                "n_parameters": form.size,
                "n_held_out": held,
                "error": float(score[0]),
                "error_low": low,
                "error_high": high,
                "difference": float(difference[0]),
                "low": diff_low,
                "high": diff_high,
                "n_resamples": int(np.isfinite(difference[1:]).sum()),
                "of_resamples": len(score) - 1,
                "n_failed": int((~np.isfinite(score[1:])).sum()),
            }
        )
    return rows


def _interval(values: Floats, level: float, method: str) -> tuple[float, float]:
    """Limits from the estimate, which comes first, and the resamples; NaN without enough of them."""
    estimate, resampled = values[0], values[1:][np.isfinite(values[1:])]
    if len(resampled) < fewest(len(values) - 1) or not np.isfinite(estimate):
        return float("nan"), float("nan")
    if method == "centred":
        low, middle, high = low_median_high(resampled, level)
        return float(estimate - (high - middle)), float(estimate - (low - middle))
    sample = Sample(replicates=resampled[:, None], estimate=np.array([estimate]))
    low, high = METHODS[method].limits(sample, central_tails(level)[0])
    return float(low[0]), float(high[0])


def fewest(resamples: int) -> int:
    """How many of so many resamples an interval needs: half of them, and ten or, if fewer, all."""
    return max(2, min(_FEWEST, resamples), -(-resamples // 2))
