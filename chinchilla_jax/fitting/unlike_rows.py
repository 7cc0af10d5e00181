"""Columns of labels that explain the residuals: runs that do not follow one law, fitted as if they did.

| code     | symbol  | shape  | meaning                                                                      |
|----------|---------|--------|------------------------------------------------------------------------------|
| errors   | e       | (n,)   | residuals, at most three robust standard deviations from their median        |
| common   | X_0     | (n, 3) | 1, ln N, ln D: what a slope common to all labels would take                  |
| shifts   | X_1     | (n, q) | and a constant for each label                                                |
| slopes   | X_2     | (n, q) | and a slope in ln N and in ln D for each label                               |
| share    |         | ()     | 1 - (S_1 / f_1) / (S_0 / f_0) for sums of squares S, f degrees of freedom    |
| p        | p       | ()     | of F = ((S_0 - S_1) / (f_0 - f_1)) / (S_1 / f_1)                             |

(Chow 1960, Econometrica 28:591, on residuals; the share is the adjusted R^2.) Both models are tried for every
column, and p is multiplied by their number. A column that follows from size, tokens, their ratio or their
product (a width, a step, a multiple of 20 tokens per parameter, by another count of the parameters too) tells
where such a law fits badly, not which runs differ. It is left out, and so are names of runs. On ten public
tables this names the three corpora of Gadre et al. (35%), QuEST's bits and quantizers (51 to 85%) and the
learning rates of the Gemstones' checkpoints (19%), nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chinchilla_jax._util.errors import short
from chinchilla_jax._util.text import list_text
from chinchilla_jax.datasets.group_columns import is_run_name
from chinchilla_jax.datasets.where import written
from chinchilla_jax.fitting.f_tail import f_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult

    Floats = NDArray[np.float64]
    Members = NDArray[np.int64]

LEAST_SHARE, LEVEL = 0.1, 1e-3
_ROUNDINGS = (1e-9, 0.01)  # in the logarithm, within which sizes, tokens and so on are one
_MOSTLY = 0.5  # of the runs agree with another in what a column is said to follow from
_FEWEST = 5  # runs of a label that has slopes of its own
_RECIPES = 3  # labels, up to which a column may name recipes
_SPARE = 10  # degrees of freedom below which nothing is tested
_ARITHMETIC = 1e-9  # residuals of this size are rounding
_CUT = 3.0  # robust standard deviations


class Explained(NamedTuple):
    """What a column of labels explains.

    Attributes:
        column: its name.
        n_labels: different labels.
        share: of the variance of the residuals, see the head of this file.
        p: of the hypothesis that all labels follow one law.
    """

    column: str
    n_labels: int
    share: float
    p: float


def explaining_columns(runs: Runs, residuals: Floats, weights: Floats | None = None) -> list[Explained]:
    """The columns of `runs.labels` and `runs.groups` that explain residuals, the most first.

    Args:
        runs: n runs.
        residuals: log predicted minus log observed loss, (n,).
        weights: of the runs; those without weight are left out.
    """
    kept = np.isfinite(residuals) & (True if weights is None else weights > 0)
    if not kept.all():
        runs, residuals = runs.take(kept), residuals[kept]
    columns = telling_columns(runs)
    if not columns or len(runs) < _SPARE or not np.abs(residuals).max() > _ARITHMETIC:
        return []
    logs = np.log(np.stack([runs.params, runs.tokens]))
    centred = logs - logs.mean(axis=1, keepdims=True)
    common = np.stack([np.ones(len(runs)), *centred], axis=1)
    errors, trials = cut_off(residuals), 2 * len(_columns(runs))
    found = [_explained(name, members, common, errors, trials) for name, members in columns.items()]
    named = [each for each in found if each.share >= LEAST_SHARE and each.p <= LEVEL]
    return sorted(named, key=lambda each: -each.share)


def telling_columns(runs: Runs) -> dict[str, Members]:
    """Columns of `runs.labels` and `runs.groups` that may tell runs apart, with the label of each run, (n,).

    Not those that name each run, have a label for nearly every run, or follow from size, tokens or compute.
    """
    logs = np.log(np.stack([runs.params, runs.tokens]))
    places = _places(logs)
    found = {}
    for name, labels in _columns(runs).items():
        members = np.unique(labels, return_inverse=True)[1]
        if not 2 <= members.max(initial=0) + 1 <= len(runs) // 4 or _follows(members, places):
            continue
        if not _is_product(labels, logs):
            found[name] = members
    return found


def _columns(runs: Runs) -> dict[str, NDArray[np.str_]]:
    return {name: each for name, each in {**runs.labels, **runs.groups}.items() if not is_run_name(name)}


def with_unlike_rows(point: FitResult, runs: Runs) -> FitResult:
    """The fit with a warning that names a column which explains its residuals."""
    if not point.status.certified or not (runs.labels or runs.groups):
        return point
    found = explaining_columns(runs, point.residuals, point.weights)
    if not found or (said := _sentence(found, runs)) in point.warnings:
        return point
    return dataclasses.replace(point, warnings=(*point.warnings, said))


def _sentence(found: list[Explained], runs: Runs) -> str:
    best, *others = found
    labels = {**runs.labels, **runs.groups}[best.column]
    values, counts = np.unique(labels, return_counts=True)
    most = values[np.argsort(-counts, kind="stable")]
    named = list_text([short(str(value), 24) for value in most], most=4)
    also = (
        f" ({list_text([f'{short(each.column)} {each.share:.0%}' for each in others[:3]])})" if others else ""
    )
    compared = ""
    if len(values) <= _RECIPES and counts.min() >= _FEWEST and all(values):
        compared = f", or compare them, with compare --by {shlex.quote(best.column)}"
    return (
        f"column {short(best.column)} explains {best.share:.0%} of the variance of the residuals{also}: runs "
        f"of {named} do not follow one law, and this one is a mixture of theirs; fit them one by one, with "
        f"--where {_condition(best.column, str(most[0]))} (where=... in Python){compared}"
    )


def _condition(column: str, label: str) -> str:
    """A condition for one label, quoted for a shell, in which backticks within double quotes would run."""
    try:
        float(label)
        cell = label
    except ValueError:
        cell = f"'{label}'"
    if column.isidentifier() and re.fullmatch(r"[\w.+-]*", label):
        return f'"{column} == {cell}"'
    return shlex.quote(f"{written(column)} == {json.dumps(label, ensure_ascii=False)}")


def _explained(name: str, members: Members, common: Floats, errors: Floats, trials: int) -> Explained:
    counts = np.bincount(members)
    rest, rank = _rest(common, errors)
    models = [_rest_of_shifts(members, counts, common[:, 1:], errors)]
    if counts.min() >= _FEWEST:
        # A constant and slopes for each label: a regression of its own for each.
        parts = [_rest(common[members == label], errors[members == label]) for label in range(len(counts))]
        models.append((sum(left for left, _ in parts), sum(own for _, own in parts)))
    best = Explained(name, len(counts), 0.0, 1.0)
    for left, more in models:
        free = len(errors) - more - 2  # the law has two more parameters than `common`
        if free < _SPARE or more == rank or not left > 0:
            continue
        share = 1 - (left / free) / (rest / (len(errors) - rank - 2))
        ratio = (rest - left) / (more - rank) / (left / free)
        p = min(f_tail(max(ratio, 0.0), more - rank, free) * trials, 1.0)
        if share > best.share:
            best = Explained(name, len(counts), share, p)
    return best


def _rest(model: Floats, errors: Floats) -> tuple[float, int]:
    """Sum of squares that the model leaves, and its rank."""
    solution, _, rank, _ = np.linalg.lstsq(model, errors, rcond=None)
    return float(np.sum((errors - model @ solution) ** 2)), int(rank)


def _rest_of_shifts(
    members: Members, counts: NDArray[np.int64], slopes: Floats, errors: Floats
) -> tuple[float, int]:
    """The same for common slopes and a constant for each label, which takes the means of its runs."""

    def centred(values: Floats) -> Floats:
        return values - (np.bincount(members, values) / counts)[members]

    left, rank = _rest(np.stack([centred(slopes[:, 0]), centred(slopes[:, 1])], axis=1), centred(errors))
    return left, rank + len(counts)


def _places(logs: Floats) -> list[Members]:
    """Groups of runs that agree in size, tokens, their ratio or compute, where most runs have company."""
    params, tokens = logs
    found = []
    for values in (params, tokens, tokens - params, tokens + params):
        for rounding in _ROUNDINGS:
            group = _grouped(values, rounding)
            if (np.bincount(group)[group] > 1).mean() >= _MOSTLY:
                found.append(group)
    return found


def _grouped(values: Floats, rounding: float) -> Members:
    """Numbers of groups, in which each value is within `rounding` of the next."""
    order = np.argsort(values, kind="stable")
    group = np.empty(len(values), np.int64)
    group[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > rounding)])
    return group


def _follows(members: Members, places: list[Members]) -> bool:
    """Whether all runs of a place have one label, for the places of one kind."""
    count = int(members.max()) + 1
    return any(len(np.unique(group * count + members)) == int(group.max()) + 1 for group in places)


def _is_product(labels: NDArray[np.str_], logs: Floats) -> bool:
    """Whether a column of numbers is a function of the size times a power of the tokens, or the reverse.

    As tokens per parameter are by a count of the parameters that differs from the one of the runs.
    """
    try:
        values = np.array([float(each) for each in labels])
    except ValueError:
        return False
    if not (np.isfinite(values) & (values > 0)).all():
        return False
    for grouped, other in ((logs[0], logs[1]), (logs[1], logs[0])):
        group = _grouped(grouped, _ROUNDINGS[1])
        counts = np.bincount(group)
        if len(labels) < 2 * (len(counts) + 1) or (counts[group] > 1).mean() < _MOSTLY:
            continue
        y, x = (each - (np.bincount(group, each) / counts)[group] for each in (np.log(values), other))
        if x @ x > 0 and np.abs(y - (x @ y) / (x @ x) * x).max() <= _ROUNDINGS[1]:
            return True
    return False


def cut_off(residuals: Floats) -> Floats:
    """Residuals, but at most three robust standard deviations from their median.

    A single run that failed would otherwise hide what the others share.
    """
    middle = np.median(residuals)
    width = _CUT * 1.4826 * np.median(np.abs(residuals - middle))
    return np.clip(residuals, middle - width, middle + width) if width > 0 else residuals
