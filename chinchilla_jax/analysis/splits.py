"""Ways to hold runs out of a fit, for predictions of runs that it has not seen.

| code   | shape  | meaning                                                          |
|--------|--------|------------------------------------------------------------------|
| masks  | (K, n) | runs held out in each part; in "flops" and "tokens" there is one |
| groups | (n,)   | which runs go together: single ones, those of a size or a label  |
| fold   | (n,)   | in which part each run is held out                               |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.labels import quantity_text
from chinchilla_jax._util.validation import whole_number
from chinchilla_jax.bootstrapping.schemes import Cluster
from chinchilla_jax.datasets.groupings import members_of
from chinchilla_jax.intervals.normal import philox
from chinchilla_jax.intervals.tokens_per_param import positive_budgets

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs

Floats = NDArray[np.float64]
SPLITS = ("runs", "params", "flops", "tokens")
"""K folds of single runs; K folds of whole sizes; fit below a budget, or a token count, and predict above it.

The name of a column of `Runs.groups` is a split too: each of its groups is held out once.
"""
_DEFAULT_SHARES = (0.6, 0.8)  # of the runs that lie below the default limits of "flops" and "tokens"
_MOST_GROUPS = 20  # that are held out one at a time; more are held out in folds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """One way to hold runs out.

    Attributes:
        kind: out of `SPLITS`, or a column of `Runs.groups`.
        label: in words.
        masks: runs held out in each part, (K, n) bool.
    """

    kind: str
    label: str
    masks: NDArray[np.bool_]


def make_splits(
    runs: Runs, kind: str, *, folds: int = 10, budgets: ArrayLike | None = None, seed: int = 0
) -> list[Split]:
    """The splits of a kind: one for each limit for "flops" and "tokens", one for any other.

    Raises:
        UsageError: an unknown kind, fewer groups than folds, or a limit with no runs on one side.
    """
    if kind not in SPLITS and kind not in runs.groups:
        raise unknown_name("split", kind, (*SPLITS, *runs.groups))
    if kind == "flops":
        limits = _limits(runs.flops) if budgets is None else positive_budgets(budgets, "budgets")
        return [_above(runs.flops, limit, kind, "FLOP") for limit in limits]
    if kind == "tokens":
        return [_above(runs.tokens, limit, kind, "tokens") for limit in _limits(runs.tokens)]
    whole_number("folds", folds, low=2)
    if kind == "runs":
        groups, what = np.arange(len(runs)), "runs"
    elif kind == "params":
        groups, what = Cluster("params").members(runs), "model sizes"
    else:
        groups, what = members_of(runs, kind), f"groups of {kind}"
    count = int(groups.max(initial=-1)) + 1
    label = f"{folds} folds of {what}"
    if kind not in SPLITS and count <= _MOST_GROUPS:
        folds, label = count, f"each {kind} in turn"
    if count < max(folds, 2):
        remedy = f"give {count} folds or fewer" if count >= 2 else f"leave out this split, or add {what}"
        raise UsageError(f"split {kind!r}: {count} {what} do not make {max(folds, 2)} folds; {remedy}")
    fold = _balanced(groups, int(folds), seed)
    masks = fold[None, :] == np.arange(folds)[:, None]
    return [Split(kind=kind, label=label, masks=masks)]


def _balanced(groups: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each run: groups in random order, each to the fold with the fewest runs so far; (n,)."""
    sizes = np.bincount(groups)
    order = philox(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled = np.zeros(folds, np.int64)
    fold_of = np.empty(len(sizes), np.int64)
    for group in order:
        fold_of[group] = int(np.argmin(filled))
        filled[fold_of[group]] += sizes[group]
    return fold_of[groups]


def _limits(values: Floats) -> Floats:
    """Limits that 60% and 80% of the runs lie below.

    Between two runs, so that an IsoFLOP curve, whose runs differ by a few percent, is not cut in two.
    """
    logs = np.sort(np.log(values))
    found = []
    for share in _DEFAULT_SHARES:
        wanted = round(share * len(logs))
        near = np.arange(max(1, wanted - len(logs) // 10), min(len(logs), wanted + len(logs) // 10 + 1))
        if not len(near):
            continue
        cut = near[np.argmax(logs[near] - logs[near - 1])]
        if logs[cut] > logs[cut - 1]:
            found.append(float(np.exp(0.5 * (logs[cut] + logs[cut - 1]))))
    if not found:
        found = [float(np.max(values, initial=0.0))]  # all alike: above it lies none
    return np.unique(found)


def _above(values: Floats, limit: float, kind: str, unit: str) -> Split:
    above = values > limit
    if not above.any() or above.all():
        side = "above" if not above.any() else "below"
        raise UsageError(
            f"split {kind!r}: no run lies {side} {quantity_text(kind, limit, 3)} {unit}; the runs span "
            f"{quantity_text(kind, float(values.min()), 3)} to {quantity_text(kind, float(values.max()), 3)}"
        )
    return Split(kind=kind, label=f"above {quantity_text(kind, limit, 2)} {unit}", masks=above[None])


def fitted_runs(split: Split, weights: Floats) -> int:
    """Runs with a weight that the smallest part of a split leaves for the fit."""
    return min(int(np.sum(weights[~mask] > 0)) for mask in split.masks)


def read_splits(
    runs: Runs,
    kinds: Sequence[str] | None,
    weights: Floats | None,
    parameters: int,
    *,
    folds: int,
    budgets: ArrayLike | None,
    seed: int,
) -> tuple[list[Split], list[str]]:
    """The splits of these kinds, each with runs to fit more than so many parameters to.

    Args:
        runs: n runs.
        kinds: out of `SPLITS` and the columns of `runs.groups`; None for all that the runs are enough for.
        weights: of the runs, (n,); None for all the same.
        parameters: of the law that every part must determine.
        folds: as for `make_splits`.
        budgets: as for `make_splits`.
        seed: as for `make_splits`.

    Returns:
        The splits, and for each that the runs are too few for, why.

    Raises:
        UsageError: as `make_splits`; the runs are too few for a kind that is asked for, or for every kind.
    """
    weights = np.ones(len(runs)) if weights is None else weights
    if kinds is not None:
        asked = [
            split
            for kind in kinds
            for split in make_splits(runs, kind, folds=folds, budgets=budgets, seed=seed)
        ]
        for split in asked:
            require_enough(split, weights, parameters)
        if not asked:
            raise UsageError(f"compare_forms: no splits; give some out of {', '.join(SPLITS)}")
        return asked, []
    whole_number("folds", folds, low=2)
    found: list[Split] = []
    left_out: list[str] = []
    for kind in dict.fromkeys((*SPLITS, *runs.groups)):
        try:
            made = make_splits(runs, kind, folds=folds, budgets=budgets, seed=seed)
        except UsageError as error:
            if kind == "flops" and budgets is not None:
                raise
            left_out.append(str(error))
            continue
        for split in made:
            try:
                require_enough(split, weights, parameters)
            except UsageError as error:
                left_out.append(str(error))
            else:
                found.append(split)
    if not found:
        raise UsageError(f"compare_forms: the runs are too few for every split: {left_out[0]}")
    return found, left_out


def require_enough(split: Split, weights: Floats, parameters: int) -> None:
    """Require in every part a run with a weight to predict, and more runs to fit than parameters.

    Raises:
        UsageError: a part has too few.
    """
    for mask in split.masks:
        left, out = int(np.sum(weights[~mask] > 0)), int(np.sum(weights[mask] > 0))
        if out < 1 or left <= parameters:
            raise UsageError(
                f"split {split.label!r}: a part has {left} runs to fit {parameters} parameters to and {out} "
                "to predict; give more runs, another number of folds, or another budget"
            )
