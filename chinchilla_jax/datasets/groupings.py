"""Which runs of a table belong together: sizes, budgets, replicates, trajectories, columns of labels.

A grouping is the number of each run's group, 0, 1, ...; (n,) int64.

| name         | runs that belong together                                                                  |
|--------------|--------------------------------------------------------------------------------------------|
| params       | of one model size                                                                          |
| flops        | of one IsoFLOP budget                                                                      |
| replicates   | of one configuration: the same params and tokens, within rounding                          |
| trajectories | checkpoints of one training run                                                            |
| a column     | with the same label                                                                        |

A column of run names shows trajectories where each name has one size and several token counts. Without names
they are recognised by how people save checkpoints: at equal steps, with the loss falling. The sizes of a grid
or of IsoFLOP curves also have losses that fall along tokens, but at tokens that grow by factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import DataError, UsageError, closest, short
from chinchilla_jax.datasets.group_columns import is_run_name
from chinchilla_jax.datasets.meaning import normalise
from chinchilla_jax.datasets.runs import Runs, bad_flops

Members = NDArray[np.int64]

BUILT_IN = ("params", "flops", "replicates")
"""Groupings that need no column of labels."""
_GAPS = {"params": 0.01, "flops": 0.1}
_WIDE = 0.5  # in ln FLOP, beyond which a group is no budget
_ROUNDING = 0.005  # in ln tokens, within which two runs of one size are one configuration
# Checkpoints of a size: so many, this share of them at the usual step (within a twentieth), and a rank
# correlation of losses and tokens below this (late in a run losses hardly fall).
_CHECKPOINTS, _EVEN, _FALLING = 5, 0.6, -0.8
_ENDS = ("cooldown", "anneal")  # within the name of a column that says where a schedule ends
_MOSTLY = 0.5  # of all runs have to be checkpoints before a table without run names is one of trajectories


def members_of(runs: Runs, by: str, gap: float | None = None) -> Members:
    """The groups of the runs by a built-in grouping or by a column of `runs.groups`.

    Args:
        runs: n runs.
        by: out of `BUILT_IN`, or the name of a column that the runs carry.
        gap: for "params" and "flops": runs belong together when a chain of runs leads from one to the other
            with steps of at most `gap` in the logarithm. None for 0.01 for params, where tables that were
            read off a figure have scatter, and 0.1 for flops.

    Raises:
        UsageError: neither, or a gap for a grouping that has none.
        DataError: by "flops", and those of a run are no positive number.
    """
    if by == "flops" and (bad := bad_flops(runs)):
        raise DataError(f"Cluster: {bad}; correct it, or leave flops out")
    if by in _GAPS:
        return _chains(np.log(getattr(runs, by)), _GAPS[by] if gap is None else gap)
    if gap is not None:
        raise UsageError(f"Cluster: gap is for params and flops, not {short(by)}; leave it out")
    if by == "replicates":
        return _replicates(runs)
    if by not in runs.groups:
        known = (*BUILT_IN, *runs.groups)
        near = closest(by, known) if isinstance(by, str) else None
        hint = f"did you mean {near!r}? " if near else ""
        raise UsageError(
            f"Cluster: the runs carry no column {short(by)}; {hint}give {', '.join(known)}, or read the "
            f"column with load_runs(..., groups=({short(by)},))"
        )
    return labelled(runs.groups[by])


def labelled(labels: ArrayLike) -> Members:
    """Groups of equal labels; a run with an empty one is a group of its own."""
    given = np.asarray(labels)
    numbers = np.unique(given, return_inverse=True)[1].astype(np.int64)
    if given.dtype.kind == "U":
        empty = np.flatnonzero(given == "")
        numbers[empty] = numbers.max(initial=0) + 1 + np.arange(len(empty))
    return _renumbered(numbers)


def trajectory_column(runs: Runs) -> str | None:
    """The column named after runs whose names are those of trajectories, or None.

    Each name has one size and, for half of the runs or more, token counts of its own.
    """
    for name, labels in runs.groups.items():
        if not is_run_name(name):
            continue
        members = labelled(labels)
        spread = _spans(np.log(runs.params), members)
        pairs = np.unique(np.stack([members, _replicates(runs)]), axis=1).shape[1]
        several = pairs - int(members.max()) - 1
        if np.all(spread <= 2 * _GAPS["params"]) and several >= 0.5 * len(runs):
            return name
    return None


def cooldown_column(runs: Runs, by: str) -> str | None:
    """The column that says from where each row was cooled down, if rows of a run differ in it; or None.

    Each such row ends a learning-rate schedule of its own, and shares the trunk with the rows of its run.

    Args:
        runs: n runs.
        by: a column that `trajectory_column` found.
    """
    members = labelled(runs.groups[by])
    for name, labels in {**runs.labels, **runs.groups}.items():
        if not any(word in normalise(name) for word in _ENDS) or any(str(each) == "" for each in labels):
            continue
        pairs = np.unique(np.stack([members, labelled(labels)]), axis=1).shape[1]
        if pairs == len(runs):
            return name
    return None


def sizes_are_trajectories(runs: Runs) -> bool:
    """Whether most runs look like checkpoints of one training run for each size."""
    members = members_of(runs, "params")
    found = 0
    for number in range(int(members.max(initial=-1)) + 1):
        of_size = np.flatnonzero(members == number)
        tokens, first = np.unique(runs.tokens[of_size], return_index=True)
        if len(tokens) < _CHECKPOINTS:
            continue
        steps = np.diff(tokens)
        even = np.abs(steps / np.median(steps) - 1) <= 0.05
        ranks = np.argsort(np.argsort(runs.loss[of_size][first]))
        falling = np.corrcoef(np.arange(len(ranks)), ranks)[0, 1]
        if even.mean() >= _EVEN and falling <= _FALLING:
            found += len(of_size)
    return found >= _MOSTLY * len(runs)


def is_finer(one: Members, other: Members) -> bool:
    """Whether each group of `one` lies within a group of `other`."""
    pairs = np.unique(np.stack([one, other]), axis=1)
    return pairs.shape[1] == int(one.max(initial=-1)) + 1


def has_budgets(runs: Runs) -> bool:
    """Whether the groups by "flops" are budgets: chains of steps below the gap can lead from end to end."""
    if bad_flops(runs):
        return False
    members = members_of(runs, "flops")
    wide = _spans(np.log(runs.flops), members) > _WIDE
    return bool(wide[members].mean() < 0.5)


def _replicates(runs: Runs) -> Members:
    """Runs of one size whose tokens are within rounding of the least of them."""
    sizes = members_of(runs, "params")
    logs = np.log(runs.tokens)
    order = np.lexsort((logs, sizes))
    numbers = np.empty(len(runs), np.int64)
    number, size, least = -1, -1, 0.0
    for run in order.tolist():
        if sizes[run] != size or logs[run] - least > _ROUNDING:
            number, size, least = number + 1, int(sizes[run]), float(logs[run])
        numbers[run] = number
    return numbers


def _chains(logs: NDArray[np.float64], gap: float) -> Members:
    order = np.argsort(logs, kind="stable")
    numbers = np.empty(len(logs), np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(logs[order]) > gap)])
    return numbers


def _spans(logs: NDArray[np.float64], members: Members) -> NDArray[np.float64]:
    """Largest minus smallest of each group, (k,)."""
    order = np.argsort(members, kind="stable")
    starts = np.flatnonzero(np.diff(members[order], prepend=-1))
    ordered = logs[order]
    return np.maximum.reduceat(ordered, starts) - np.minimum.reduceat(ordered, starts)


def _renumbered(numbers: NDArray[np.int64]) -> Members:
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)
