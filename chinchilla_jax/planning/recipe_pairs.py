"""Runs of different recipes that err alike: which they are, and weights that draw them together.

| code    | shape  | meaning                                                                                 |
|---------|--------|-----------------------------------------------------------------------------------------|
| keys    | (n,)   | number of each run's pair, common to all tables                                         |
| units   | (n,)   | what is drawn as a whole in all tables: runs of a pair, and of a group that errs alike  |
| weights | (R, m) | of m units                                                                              |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.bootstrapping import weights as resample
from chinchilla_jax.bootstrapping.auto_scheme import choose_scheme
from chinchilla_jax.bootstrapping.few_groups import COUNTED_RUNS, estimated_between
from chinchilla_jax.bootstrapping.schemes import Cluster
from chinchilla_jax.datasets.groupings import members_of
from chinchilla_jax.fitting.unlike_rows import cut_off
from chinchilla_jax.planning.recipes import stacked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult

    Members = NDArray[np.int64]

_COMMON = 0.8  # of the runs of each table whose configuration the others have too
_LEVEL = 0.1  # p of the correlation of residuals from which configurations are paired
_LEAST_PAIRS, _MEASURED_PAIRS, _LEAST_UNITS = 6, 10, 4


def paired_units(
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


def unit_weights(
    recipes: Mapping[str, Runs],
    points: Mapping[str, FitResult],
    units: Mapping[str, Members],
    resamples: int,
    seed: int,
) -> NDArray[Any]:
    """Weights (R, m) of the units, the same in every table: counts, or of few units real weights."""
    ids = np.arange(resamples, dtype=np.int32)
    count = max(int(each.max()) for each in units.values()) + 1
    if count >= COUNTED_RUNS:
        bits = resample.resample_bits(count, ids, seed, stream=resample.CLUSTER)
        return resample.counts_of(resample.whole_below(bits, count), count).astype(np.uint8)
    between = []
    for name, runs in recipes.items():
        slopes = points[name].model.jacobian(points[name].theta, points[name].model.design(runs))
        between.append(estimated_between(slopes, np.unique(units[name], return_inverse=True)[1]))
    spread = resample.concentration(count, max(between))
    return resample.dirichlet_weights(count, ids, seed, spread, stream=resample.CLUSTER)
