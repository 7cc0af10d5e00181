"""What rows of a table have in common, for its record: checkpoints of one run, rows of one configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import short
from chinchilla_jax._util.text import count_text, list_text
from chinchilla_jax.datasets.group_columns import is_run_name
from chinchilla_jax.datasets.groupings import members_of, sizes_are_trajectories, trajectory_column

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs

_MOSTLY = 0.5  # of the configurations that have several rows


def repeats_sentence(runs: Runs) -> str | None:
    """What rows have in common, and which option keeps one of them; None where each is a run of its own.

    Args:
        runs: n runs, with the columns that they carry.
    """
    column = trajectory_column(runs)
    if column is not None:
        named = f"{count_text(len(np.unique(runs.groups[column])), 'run')} (column {short(column)})"
        return f"rows look like checkpoints of {named}; --final keeps the last of each"
    if sizes_are_trajectories(runs):
        sizes = count_text(int(members_of(runs, "params").max()) + 1, "run")
        return (
            f"rows look like checkpoints of {sizes}, one of each size; --best-of params keeps the lowest loss"
        )
    members = members_of(runs, "replicates")
    counts = np.bincount(members)
    several = counts > 1
    if not several.any():
        return None
    columns = {name: each for name, each in {**runs.labels, **runs.groups}.items() if not is_run_name(name)}
    differ = []
    for name, labels in columns.items():
        of = np.unique(labels, return_inverse=True)[1]
        pairs = np.unique(members * (int(of.max()) + 1) + of) // (int(of.max()) + 1)
        if np.mean(np.bincount(pairs, minlength=len(counts))[several] > 1) >= _MOSTLY:
            differ.append(short(name))
    said = f", and differ in {list_text(differ, most=4)}" if differ else ""
    rows, found = (int(each) for each in (counts[several].sum(), several.sum()))
    return (
        f"{rows} rows are of {count_text(found, 'configuration')}, the same params and tokens{said}; "
        "for trials of one recipe, --best-of params,tokens keeps the best; --where chooses among others"
    )
