"""What rows of a table have in common, for its record: checkpoints of one run, rows of one configuration."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import short
from chinchilla_jax._util.text import count_text, list_text
from chinchilla_jax.datasets.group_columns import is_run_name
from chinchilla_jax.datasets.groupings import (
    cooldown_column,
    members_of,
    sizes_are_trajectories,
    trajectory_column,
)

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs

_MOSTLY = 0.5  # of the configurations that have several rows


def repeats_sentence(runs: Runs, within: str | None = None) -> str | None:
    """What rows have in common, and which option keeps one of them; None where each is a run of its own.

    Args:
        runs: n runs, with the columns that they carry.
        within: a column of the table by which these runs were set apart from others; a choice of rows is to
            be made for each of its labels.
    """
    further = () if within is None else (within,)
    column = trajectory_column(runs)
    if column is not None and column == within:
        return None
    if column is not None:
        named = f"{count_text(len(np.unique(runs.groups[column])), 'run')} (column {short(column)})"
        if (cooled := cooldown_column(runs, column)) is not None:
            return (
                f"rows are cool-downs of {named}, each from another place ({short(cooled)}), so that each "
                "ends a schedule; those of a run share its trunk: resample them together (--cluster "
                f"{shlex.quote(column)})"
            )
        return f"rows look like checkpoints of {named}; --final keeps the last of each"
    if sizes_are_trajectories(runs):
        sizes = count_text(int(members_of(runs, "params").max()) + 1, "run")
        return (
            f"rows look like checkpoints of {sizes}, one of each size; "
            f"{best_of_option('params', *further)} keeps the lowest loss"
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
        f"for trials of one recipe, {best_of_option('params', 'tokens', *further)} keeps the best; "
        "--where chooses among others"
    )


def without_repeats(runs: Runs) -> Runs:
    """The runs without the note that `repeats_sentence` made of them."""
    said = repeats_sentence(runs)
    notes = tuple(each for each in runs.source.notes if each != said)
    return dataclasses.replace(runs, source=dataclasses.replace(runs.source, notes=notes))


def best_of_option(*columns: str) -> str:
    """The option that keeps the best of the runs that agree in these columns."""
    return f"--best-of {shlex.quote(','.join(columns))}"
