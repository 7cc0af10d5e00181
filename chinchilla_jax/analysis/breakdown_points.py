"""The smallest miscount that changes the conclusion, found by bisection on the fits themselves.

| code      | symbol | shape  | meaning                                                                  |
|-----------|--------|--------|--------------------------------------------------------------------------|
| distance  | x      | ()     | how far a perturbation is from none, >= 0: |ln c|, |c|, |ln s|, sigma    |
| size      |        | ()     | the number in the condition id: c, c, s, sigma                           |

`breakdown_criteria.py` has the criteria for a changed conclusion, and the arrays that they compare.

Sizes are tried outwards in steps of about a quarter before the bisection: a conclusion that changes and
changes back within one step is missed.

Each size has an interval: quantiles, over the resamples, of the size at which a single resample meets the
criterion on the side, and at the budget, where all resamples together meet it first, with the interval of the
first two criteria moved to that resample. Half of the resamples meet it before the size itself, so that the
interval holds it. (Asked on either side and at any budget, a single resample is more extreme than the median
of many and meets a criterion earlier: such an interval can end before the size.) Between the sizes that were
fitted, a resample is interpolated linearly. Where draws of noise, or conclusions that change and change back,
leave the size outside all the same, the interval is extended to it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import NoEstimateError, UsageError, short
from chinchilla_jax._util.limits import FITS, WEIGHTS
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.validation import resample_count, seed_number, whole_number
from chinchilla_jax.analysis.breakdown_criteria import Criterion, Sizes, criteria_at
from chinchilla_jax.analysis.breakdown_search import Found, search
from chinchilla_jax.analysis.breakdown_store import SearchParts
from chinchilla_jax.analysis.miscount_paths import Path, paths, size_at
from chinchilla_jax.analysis.work_records import model_record, resampling_record
from chinchilla_jax.bootstrapping.asked_groups import asked_warnings
from chinchilla_jax.bootstrapping.auto_scheme import resolve_scheme
from chinchilla_jax.bootstrapping.schemes import require_weights
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.fitting.result import require_estimate
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.intervals.tokens_per_param import positive_budgets
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.compute import training_flops, usual_budget
from chinchilla_jax.laws.objectives import Huber, settings
from chinchilla_jax.laws.optimum import require_optimum
from chinchilla_jax.perturbations import FAMILIES, PARAMS_FAMILIES
from chinchilla_jax.solvers import SolverOptions

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Law

Floats = NDArray[np.float64]


@reporting
def breakdown(
    runs: Runs | TableLike,
    *,
    law: Law | str = "chinchilla",
    families: Sequence[str] = PARAMS_FAMILIES,
    resamples: int = 400,
    level: float = 0.8,
    repeats: int = 5,
    tolerance: float = 0.005,
    flops: ArrayLike | None = None,
    seed: int = 0,
    scheme: Scheme | str = "auto",
    objective: Huber | None = None,
    options: SolverOptions | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: ProgressLike = "auto",
) -> pd.DataFrame:
    """The smallest size of each family at which each conclusion changes.

    Args:
        runs: unperturbed; `Runs`, or anything that `load_runs` takes.
        law: which law to fit, or its name; one that prescribes tokens per parameter.
        families: which; by default those of the parameters. Those of the losses have no documented miscount
            to compare with.
        resamples: of every size that is fitted, the same for all.
        level: of all intervals.
        repeats: draws of the noise; the size is their median, the interval is over all of them.
        tolerance: distance to which a size is found, relative to it.
        flops: the budget (FLOP) of the first criterion, or several, at each of which it is judged; None for
            that of Gopher and Chinchilla (5.76e23) on "chinchilla", and for the largest run, as 6 N D, on
            other tables.
        seed: of resamples and noise.
        scheme: how to resample the unperturbed runs, the same for every size; as for `compare_forms`.
        objective: of every fit; None for that of `fit(runs)`. Where the residuals decide the width of its
            zone, those of the unperturbed runs do.
        options: how hard the solver tries, and by which engine.
        out: a directory (a path or URL) for what every search finds. Searches that it already holds are not
            made again: an interrupted run resumes, and families and draws can be added later. A damaged file
            is reported and its search is made again.
        progress: as for `bootstrap`; a function is called with 1 after every search, out of `n_searches`.

    Returns:
        One row per family, direction and criterion: flops (its budget; NaN of the others), size (NaN: not met
        within the search), low, high (its interval; an end that lies beyond the search is infinite, or 0 for
        factors that shrink), level, searched_to (the largest size that was judged), documented (the size of
        the documented miscount), times_documented (how many times farther from no error than that the size
        is), times_low, times_high (the same for the interval), within_documented (bool), repeats, n_sizes
        (how many sizes were fitted).
        `attrs` has "flops", the first budget, "estimate", tokens per parameter there by the point fit of the
        unperturbed runs, "estimates", these by budget, "criteria", each criterion in words, and the
        "warnings" of that fit and of the scheme.
        Conclusions are about medians of the resamples, which move smoothly with an error, and not about that
        estimate.

    Raises:
        UsageError: an argument is out of range, or `out` holds another breakdown.
        ChinchillaError: `out` cannot be written.
        NoEstimateError: the unperturbed fits are not certified, or have no compute-optimal point.
    """
    import pandas as pd

    from chinchilla_jax.fitting.width import decided_objective

    tails = central_tails(level)
    model = read_law(law)
    runs = as_runs(runs, "breakdown", model.columns)
    if not 0 < tolerance < 1:
        raise UsageError(f"breakdown: tolerance is {short(tolerance)}; give a number between 0 and 1")
    whole_number("repeats", repeats, low=1)
    ids = np.arange(resample_count("resamples", resamples, low=1))
    WEIGHTS.require(f"{len(ids):,} resamples of {len(runs):,} runs", len(ids) * len(runs))
    FITS.require(f"{repeats:,} draws of {len(ids):,} resamples", repeats * len(ids))
    # One zone for all sizes: what an error does would else mix with what another estimator does.
    if not model.has_optimum:
        raise UsageError(
            f"breakdown: law {model.name} prescribes no tokens per parameter, which the conclusions are "
            "about; give another law"
        )
    used = decided_objective(runs, objective, options, model)
    chosen, _ = resolve_scheme(scheme, runs, law=model, objective=used, options=options)
    require_weights(chosen, len(runs), "breakdown")
    weights = chosen.weights(runs, ids, seed_number(seed))
    usual = usual_budget(runs.name, training_flops(runs.params, runs.tokens))
    budgets = [usual] if flops is None else positive_budgets(flops).tolist()
    sizes = Sizes(runs, weights, used, budgets, seed, options, model)
    none = sizes.at(None)
    require_estimate(none.point.status, runs.name, none.point.reason)
    require_optimum(none.point.law, runs.name)
    if not none.known.sum() > 1:
        raise NoEstimateError(
            f"{runs.name}: {none.known.sum()} of {len(none.known)} resamples have a certified fit with a "
            "compute-optimal point, and a breakdown needs two; give more runs or more resamples"
        )
    criteria = criteria_at(none, tails, budgets)
    kept = None
    if out is not None:
        sampling = resampling_record(
            runs, chosen, resamples=len(ids), seed=seed, weights=None, options=options
        )
        record = {
            **sampling,
            "level": float(level),
            "tolerance": float(tolerance),
            "flops": budgets[0] if len(budgets) == 1 else budgets,
            **settings(used),
            "law": [float(value) for value in none.point.law.as_dict().values()],
            **model_record(model, runs),
        }
        kept = SearchParts(out, record)
    advance = started(progress, "breakdown", n_searches(runs, families, repeats), "searches")
    rows = []
    for family in families:
        searches: list[list[Found]] = []
        for repeat in range(_draws(family, repeats)):
            searches.append([])
            for path in paths(runs, family, repeat):
                found = None if kept is None else kept.read(path, repeat)
                if found is None:
                    found = search(path, sizes, none, criteria, tolerance)
                    if kept is not None:
                        kept.write(path, repeat, found)
                searches[-1].append(found)
                if advance is not None:
                    advance(1)
        for path, *draws in zip(paths(runs, family), *searches, strict=True):  # one path under all draws
            rows += [_row(path, draws, criterion, level) for criterion in criteria]
    table = pd.DataFrame(rows)
    estimates = {budget: float(none.point.law.tokens_per_param(budget)) for budget in budgets}
    table.attrs = {
        "flops": budgets[0],
        "estimate": estimates[budgets[0]],
        "estimates": estimates,
        "criteria": {each.key: each.sentence(level) for each in criteria},
        "warnings": (*none.point.warnings, *asked_warnings(chosen, runs)),
    }
    return table


def n_searches(runs: Runs, families: Sequence[str] = tuple(FAMILIES), repeats: int = 5) -> int:
    """How many searches `breakdown` makes: one for every family, direction and draw.

    Raises:
        UsageError: an unknown family, or counts that are not positive.
    """
    return sum(_draws(family, repeats) * len(paths(runs, family)) for family in families)


def _draws(family: str, repeats: int) -> int:
    known = FAMILIES.get(family)  # `paths` says what is wrong with another name
    return repeats if known is not None and known.random else 1


def _row(path: Path, searches: Sequence[Found], criterion: Criterion, level: float) -> dict[str, object]:
    """One line of the table, from the searches of all draws of one path."""
    # A draw that never meets the criterion counts as infinitely far.
    each = np.array([search.distances[criterion.key] for search in searches])
    typical = float(np.median(np.where(np.isnan(each), np.inf, each)))
    own = np.concatenate([search.own[criterion.key] for search in searches])
    # No interpolation between a number and an infinity.
    near, far = (float(np.quantile(own, tail, method="nearest")) for tail in central_tails(level))
    near, far = min(near, typical), max(far, typical)
    size, closest, farthest = (size_at(path, distance) for distance in (typical, near, far))
    found = math.isfinite(typical)
    return {
        "family": path.family,
        "direction": path.direction,
        "criterion": criterion.name,
        "flops": criterion.flops,
        "size": size if found else math.nan,
        "low": min(closest, farthest),
        "high": max(closest, farthest),
        "level": level,
        "searched_to": size_at(path, min(search.searched_to for search in searches)),
        "documented": size_at(path, path.documented),
        "times_documented": typical / path.documented if found else math.nan,
        "times_low": near / path.documented,
        "times_high": far / path.documented,
        "within_documented": found and typical <= path.documented,
        "repeats": len(searches),
        "n_sizes": sum(search.n_sizes for search in searches),
    }
