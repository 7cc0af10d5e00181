"""Laws of several recipes, drawn together: resample r of one beside resample r of each other.

| code    | shape  | meaning                                                                     |
|---------|--------|-----------------------------------------------------------------------------|
| laws    | (R,)   | of one recipe                                                               |
| counted | (R,)   | whether resample r counts: the fits of all recipes are certified            |
| units   | (n,)   | what is drawn as a whole, in all tables at once, where they are paired      |

Tables are resampled independently, unless their runs are paired: by a column that they carry, or by
configuration (params and tokens) where the tables have the same ones and their residuals are correlated. A
difference of two laws is then as certain as the runs make it, and not as their errors apart would.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import NoEstimateError, UsageError, short
from chinchilla_jax._util.text import list_text
from chinchilla_jax.bootstrapping import weights as resample
from chinchilla_jax.bootstrapping.auto_scheme import choose_scheme, is_auto
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.bootstrapping.few_groups import COUNTED_RUNS, estimated_between
from chinchilla_jax.bootstrapping.resample_fits import fit_resamples
from chinchilla_jax.bootstrapping.schemes import Cluster
from chinchilla_jax.datasets.groupings import members_of
from chinchilla_jax.fitting.point_fit import fit_until_agreed, with_width
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.laws import CHINCHILLA, read_law
from chinchilla_jax.planning.recipe_sharing import SHARED_WORDS, bootstrap_jointly, laws_of_recipe
from chinchilla_jax.planning.recipes import stacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.laws.objectives import Delta

    Floats = NDArray[np.float64]
    Members = NDArray[np.int64]

FEW_RUNS = 8
"""Recipes of fewer runs share the exponents and E of the others."""
_COMMON = 0.8  # of the runs of each table whose configuration the others have too
_LEVEL = 0.1  # p of the correlation of residuals from which configurations are paired
_LEAST_PAIRS, _MEASURED_PAIRS, _LEAST_UNITS = 6, 10, 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeLaws:
    """Laws of each recipe.

    Attributes:
        points: the point fit of each, by name.
        laws: (R,) of each.
        counted: (R,) resamples that count for all.
        shared: name of what they share, see `recipe_sharing.SHARED`; None for separate fits.
        pairing: how the tables were resampled together, in words.
        fits: the point fits behind them: one for each recipe, or the joint one by "".
        warnings: one sentence each.
    """

    points: dict[str, Any]
    laws: dict[str, Any]
    counted: NDArray[np.bool_]
    shared: str | None
    pairing: str
    fits: dict[str, FitResult]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """What is fitted and how, as `bootstrap` takes it."""

    law: Law | str = "chinchilla"
    resamples: int = 4000
    seed: int = 0
    objective: Objective | str = "huber"
    delta: Delta | None = None
    scheme: Scheme | str = "auto"


def draw_recipes(
    recipes: Mapping[str, Runs],
    options: DrawOptions,
    *,
    pair: str | None = None,
    share: str = "auto",
    progress: Callable[[int], None] | None = None,
) -> RecipeLaws:
    """Fit and resample every recipe.

    Args:
        recipes: runs by name.
        options: of the fits.
        pair: a column that pairs runs of different tables; "none" to take the tables as independent; None to
            pair by configuration where the residuals ask for it.
        share: "none", or what all recipes have in common; "auto" shares the exponents and E where a recipe
            has fewer than eight runs, or no certified fit of its own.
        progress: called with the number of fits just finished.

    Raises:
        NoEstimateError: a recipe has no certified fit.
        UsageError: an argument is invalid, or the tables lack the column.
    """
    law = read_law(options.law)
    few = [name for name, runs in recipes.items() if len(runs) < FEW_RUNS]
    if share == "auto":
        share = "all" if few and law == CHINCHILLA else "none"
        points = {} if share == "all" else _points(recipes, options)
        lost = [name for name, point in points.items() if not point.status.certified]
        if lost and law == CHINCHILLA:
            share, few = "all", lost
    else:
        points = _points(recipes, options) if share == "none" else {}
    if share != "none":
        if law != CHINCHILLA:
            raise UsageError(f"compare: recipes share parameters of the law chinchilla, not of {law.name}")
        return _shared(recipes, options, share, few, progress)
    for name, point in points.items():
        if not point.status.certified:
            raise NoEstimateError(
                f"{short(name)}: no estimate, because the point fit ended as {point.status.name}: "
                f"{point.reason}"
            )
    units, pairing = (None, "the tables are resampled independently")
    if pair != "none" and is_auto(options.scheme):
        units, pairing = _paired_units(recipes, points, pair)
    elif pair not in (None, "none"):
        raise UsageError(
            "compare: paired runs are resampled by scheme 'auto'; leave one of pair and scheme out"
        )
    boots = {}
    drawn = None if units is None else _unit_weights(recipes, points, units, options)
    for i, (name, runs) in enumerate(recipes.items()):
        if drawn is None:
            boots[name] = bootstrap(
                runs, law, resamples=options.resamples, seed=(options.seed + i) % 2**32, point=points[name],
                objective=points[name].objective, scheme=options.scheme, progress=progress,
            )  # fmt: skip
        else:
            assert units is not None
            weights = drawn[:, units[name]]
            boots[name] = fit_resamples(runs, weights=weights, point=points[name], on_progress=progress)
    return _of_boots(boots, pairing)


def _points(recipes: Mapping[str, Runs], options: DrawOptions) -> dict[str, FitResult]:
    """The point fits that `bootstrap` would make."""
    found = {}
    for name, runs in recipes.items():
        problem = read_problem("compare", runs, options.law, options.objective, options.delta)
        found[name] = fit_until_agreed(with_width(problem, None), None)
    return found


def _of_boots(boots: Mapping[str, BootstrapResult], pairing: str) -> RecipeLaws:
    for name, boot in boots.items():
        if not boot.scheme.quantiles or boot.scheme.factor(boot.point.n_runs, boot.point.model.size) != 1:
            raise UsageError(
                f"compare: resamples of scheme {boot.scheme.name!r} spread differently from estimates; use "
                "'pairs', 'cluster', 'bayesian', 'wild' or 'residual'"
            )
        if not boot.counted.any():
            raise NoEstimateError(f"{short(name)}: the fit of no resample is certified; add runs")
    warnings = [f"{short(name)}: {said}" for name, boot in boots.items() for said in boot.warnings]
    return RecipeLaws(
        points={name: boot.point.law for name, boot in boots.items()},
        laws={name: boot.laws for name, boot in boots.items()},
        counted=np.logical_and.reduce([boot.counted for boot in boots.values()]),
        shared=None,
        pairing=pairing,
        fits={name: boot.point for name, boot in boots.items()},
        warnings=tuple(warnings),
    )


def _shared(
    recipes: Mapping[str, Runs],
    options: DrawOptions,
    share: str,
    few: list[str],
    progress: Callable[[int], None] | None,
) -> RecipeLaws:
    boot = bootstrap_jointly(
        recipes, share, resamples=options.resamples, seed=options.seed, objective=options.objective,
        delta=options.delta, progress=progress,
    )  # fmt: skip
    if not boot.point.status.certified:
        raise NoEstimateError(
            f"compare: no estimate, because the joint fit ended as {boot.point.status.name}: "
            f"{boot.point.reason}"
        )
    why = f", since {list_text([short(name) for name in few])} cannot be fitted alone" if few else ""
    said = f"the recipes share {SHARED_WORDS[share]}{why}: a difference in these would show as one of A and B"
    return RecipeLaws(
        points={name: laws_of_recipe(boot.point.law, g) for g, name in enumerate(recipes)},
        laws={name: laws_of_recipe(boot.laws, g) for g, name in enumerate(recipes)},
        counted=boot.counted,
        shared=share,
        pairing="the tables are resampled independently",
        fits={"": boot.point},
        warnings=(said, *boot.point.warnings),
    )


def _paired_units(
    recipes: Mapping[str, Runs], points: Mapping[str, FitResult], pair: str | None
) -> tuple[dict[str, Members] | None, str]:
    """What is drawn as a whole in every table, (n,) each, or None for independent draws; and a sentence."""
    keys = _keys(recipes, pair)
    apart = "the tables are resampled independently"
    if keys is None:
        return None, apart
    r, p, count = _correlation(keys, points)
    by = f"column {short(pair)}" if pair is not None else "params and tokens"
    seen = f"residuals of the {count} pairs by {by} correlate by {r:.2f}" if math.isfinite(r) else ""
    if pair is None and not (r > 0 and p <= _LEVEL and count >= _MEASURED_PAIRS):
        return None, f"{apart}: {seen} (p {p:.2g})" if seen else apart
    units = _units(recipes, points, keys)
    if max(int(each.max()) for each in units.values()) + 1 < _LEAST_UNITS:
        return None, f"{apart}, since pairs and groups of runs leave too few units to draw"
    return units, f"runs are paired by {by} and drawn together{f'; {seen}' if seen else ''}"


def _keys(recipes: Mapping[str, Runs], pair: str | None) -> dict[str, Members] | None:
    """Numbers of the pairs, common to all tables; None where the tables have too few in common."""
    if pair is not None:
        columns = {}
        for name, runs in recipes.items():
            labels = {**runs.labels, **runs.groups}
            if pair not in labels:
                raise UsageError(f"compare: {short(name)} carries no column {short(pair)} to pair runs by")
            columns[name] = labels[pair].astype(object)
        every = np.concatenate(list(columns.values()))
        numbers = np.unique(every.astype(str), return_inverse=True)[1].astype(np.int64)
    else:
        numbers = members_of(stacked(recipes), "replicates")
    ends = np.cumsum([len(runs) for runs in recipes.values()])[:-1]
    found = dict(zip(recipes, np.split(numbers, ends), strict=True))
    common = set.intersection(*(set(each.tolist()) for each in found.values()))
    shares = [float(np.isin(each, list(common)).mean()) for each in found.values()]
    if len(common) < _LEAST_PAIRS or (pair is None and min(shares) < _COMMON):
        if pair is not None:
            raise UsageError(
                f"compare: {len(common)} labels of column {short(pair)} are in all tables; give a column "
                f"with at least {_LEAST_PAIRS}, or leave the pairs out"
            )
        return None
    return found


def _correlation(keys: Mapping[str, Members], points: Mapping[str, FitResult]) -> tuple[float, float, int]:
    """Correlation of the mean residuals of pairs of the first table with any other, its p, and their number.

    Of several tables that with the smallest p.
    """
    from scipy.special import stdtr

    from chinchilla_jax.fitting.unlike_rows import cut_off

    means = {}
    for name, numbers in keys.items():
        errors = cut_off(points[name].residuals)
        means[name] = {k: errors[numbers == k].mean() for k in np.unique(numbers).tolist()}
    first, *others = means
    best = (math.nan, 1.0, 0)
    for other in others:
        common = sorted(set(means[first]) & set(means[other]))
        x, y = (np.array([means[name][k] for k in common]) for name in (first, other))
        if len(common) < _LEAST_PAIRS or not (x.std() > 0 and y.std() > 0):
            continue
        r = float(np.corrcoef(x, y)[0, 1])
        t = abs(r) * math.sqrt((len(common) - 2) / max(1 - r * r, 1e-12))
        p = float(2 * stdtr(len(common) - 2, -t)) * len(others)
        best = min(best, (r, min(p, 1.0), len(common)), key=lambda each: each[1])
        best = best if math.isfinite(best[0]) else (r, min(p, 1.0), len(common))
    return best


def _units(
    recipes: Mapping[str, Runs], points: Mapping[str, FitResult], keys: Mapping[str, Members]
) -> dict[str, Members]:
    """Runs of one pair, or of one group that errs together, are one unit: components of the graph of both."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    starts = dict(zip(recipes, np.cumsum([0, *(len(runs) for runs in recipes.values())]), strict=False))
    total = sum(len(runs) for runs in recipes.values())
    groups = [*(np.asarray(numbers) for numbers in keys.values())]
    nodes = [np.concatenate(groups)]  # a node for each pair, and one for each group of a table
    within = np.full(total, -1)
    offset = 0
    for name, runs in recipes.items():
        scheme = choose_scheme(runs, points[name]).scheme
        if isinstance(scheme, Cluster):
            members = scheme.members(runs)
            within[starts[name] : starts[name] + len(runs)] = members + offset
            offset += int(members.max()) + 1
    key_count = int(nodes[0].max()) + 1
    rows = np.arange(total)
    linked = within >= 0
    edges = [(rows, total + nodes[0]), (rows[linked], total + key_count + within[linked])]
    first, second = (np.concatenate([edge[i] for edge in edges]) for i in (0, 1))
    size = total + key_count + offset
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1][:total]
    numbers = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return {name: numbers[starts[name] : starts[name] + len(runs)] for name, runs in recipes.items()}


def _unit_weights(
    recipes: Mapping[str, Runs],
    points: Mapping[str, FitResult],
    units: Mapping[str, Members],
    options: DrawOptions,
) -> NDArray[Any]:
    """Weights (R, m) of the units, the same in every table: counts, or of few units real weights."""
    ids = np.arange(options.resamples, dtype=np.int32)
    count = max(int(each.max()) for each in units.values()) + 1
    if count >= COUNTED_RUNS:
        bits = resample.resample_bits(count, ids, options.seed, stream=resample.CLUSTER)
        return resample.counts_of(resample.whole_below(bits, count), count).astype(np.uint8)
    between = []
    for name, runs in recipes.items():
        slopes = points[name].model.jacobian(points[name].theta, points[name].model.design(runs))
        between.append(estimated_between(slopes, np.unique(units[name], return_inverse=True)[1]))
    spread = resample.concentration(count, max(between))
    return resample.dirichlet_weights(count, ids, options.seed, spread, stream=resample.CLUSTER)
