"""Tables of recipes that are to be compared: their names, and whether their losses can be compared at all."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.text import flops_text, list_text
from chinchilla_jax.datasets import Runs, load_runs
from chinchilla_jax.datasets.catalogue import dataset_names
from chinchilla_jax.datasets.foreign import unpack
from chinchilla_jax.datasets.meaning import normalise, quantity_of
from chinchilla_jax.datasets.quantities import read_columns
from chinchilla_jax.datasets.reading import name_of_source, read_table
from chinchilla_jax.datasets.repeats import repeats_sentence, without_repeats
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, training_flops

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets.reading import TableLike

_SAME = 1e-3  # relative difference of FLOP and 6 N D that rounding in a table can make
LEAST_RUNS = 4
"""Fewest runs of a recipe, whose exponents and E are then those of the others."""
# Columns that name what a loss was measured on, as `normalise` writes them.
_EVALUATIONS = frozenset(
    {
        *("validation", "validationset", "validationdata", "valset", "valdata", "evalset", "evaldata"),
        *("evaluation", "evalset", "evaldataset", "validationdataset", "testset", "tokenizer"),
    }
)


def read_recipes(
    tables: Sequence[Runs | TableLike],
    names: Sequence[str] | None = None,
    groups: Sequence[str] = (),
    **reading: Any,
) -> dict[str, Runs]:
    """The runs of each table by the name of its recipe.

    Args:
        tables: two or more.
        names: of the recipes; None for those of the files, numbered where two agree.
        groups: further columns to read.
        **reading: other keywords of `load_runs`.

    Raises:
        DataError: a table cannot be read.
        UsageError: fewer than two tables, or names that are not as many, or equal.
    """
    if len(tables) < 2:
        raise UsageError(
            f"compare: {len(tables)} table; give two or more, or one and the column that names the recipe of "
            "each run, with by=COLUMN (--by COLUMN on the command line)"
        )
    if names is None:
        found = [each.name if isinstance(each, Runs) else name_of_source(each) for each in tables]
        found = [os.path.splitext(name)[0] or f"table {i + 1}" for i, name in enumerate(found)]
        names = [name if found.count(name) == 1 else f"{name} {i + 1}" for i, name in enumerate(found)]
    if len(names) != len(tables) or len(set(names)) < len(names):
        raise UsageError(
            f"compare: names are {list_text([short(name) for name in names])}; give {len(tables)} different "
            "ones"
        )
    return {
        str(name): table if isinstance(table, Runs) else load_recipe(table, groups=tuple(groups), **reading)
        for name, table in zip(names, tables, strict=True)
    }


def split_recipes(runs: Runs, by: str) -> dict[str, Runs]:
    """The runs of one table by the label of a column that they carry.

    Raises:
        UsageError: they carry no such column, or it has one label.
    """
    columns = {**runs.labels, **runs.groups}
    if by not in columns:
        known = list_text([short(name) for name in columns]) if columns else "none"
        raise UsageError(
            f"{runs.name or 'compare'}: no column {short(by)} of recipes; columns of labels: {known}"
        )
    labels = columns[by]
    found = dict.fromkeys(label for label in labels.tolist() if label)
    if len(found) < 2:
        raise UsageError(f"{runs.name or 'compare'}: column {short(by)} names one recipe; give two or more")
    plain = without_repeats(runs)  # one place in several recipes is no repetition
    parts = {label: plain.take(np.flatnonzero(labels == label)) for label in found}
    for label, part in parts.items():
        if (said := repeats_sentence(part, by)) is not None:
            parts[label] = dataclasses.replace(part, source=part.source.noted(said))
    return parts


def stacked(recipes: Mapping[str, Runs], variables: Mapping[str, NDArray[np.float64]] | None = None) -> Runs:
    """The runs of all recipes, one table under the other, with these further variables."""
    params, tokens, loss = (
        np.concatenate([getattr(runs, name) for runs in recipes.values()])
        for name in ("params", "tokens", "loss")
    )
    return Runs(
        params=params, tokens=tokens, loss=loss, variables=variables or {}, name=" and ".join(recipes)
    )


def load_recipe(source: TableLike, *, groups: Sequence[str] = (), **reading: Any) -> Runs:
    """`load_runs`, with the columns that name what losses were measured on, and for tables of compute alone.

    A table with flops and loss, and neither params nor tokens, has N = D in its runs: they are for the law
    `compute_only`, which reads neither.

    Args:
        source: as for `load_runs`; a stream is read as it is.
        groups: further columns to carry.
        **reading: of `load_runs`.
    """
    if hasattr(source, "read") or (isinstance(source, str) and source in ("-", *dataset_names())):
        return load_runs(source, groups=groups, **reading)
    table = unpack(read_table(source, "compare"))
    header = [name.strip() for name in table.header]
    named = [name for name in header if normalise(name) in _EVALUATIONS and header.count(name) == 1]
    groups = tuple(dict.fromkeys((*groups, *named)))
    found = {quantity_of(name): place for place, name in enumerate(table.header)}
    if "flops" not in found or {"params", "tokens"} & {*found, *(reading.get("columns") or {})}:
        return load_runs(source, groups=groups, **reading)
    half = np.sqrt(read_columns(table, {"flops": found["flops"]}).arrays["flops"] / FLOPS_PER_PARAM_TOKEN)
    columns = {name: list(table.column(place)) for place, name in enumerate(table.header)}
    runs = load_runs({**columns, "params": half, "tokens": half}, groups=groups, **reading)
    return dataclasses.replace(runs, name=name_of_source(source))


def is_compute_only(runs: Runs) -> bool:
    """Whether the runs are of a table of compute alone, see `load_recipe`."""
    return np.array_equal(runs.params, runs.tokens)


def along_6nd(recipes: Mapping[str, Runs]) -> tuple[dict[str, Runs], list[str]]:
    """The same recipes with 6 N D for compute, and a sentence on each whose own FLOP are others.

    The frontiers of laws of params and tokens are along 6 N D. Budgets in FLOP that each table counts in its
    own way could not be put beside them, nor beside each other.
    """
    found, notes = {}, []
    for name, runs in recipes.items():
        flops = training_flops(runs.params, runs.tokens)
        times = runs.flops / flops
        own = not np.all(np.abs(times - 1) <= _SAME)
        found[name] = dataclasses.replace(runs, flops=flops) if own else runs
        if own:
            notes.append(
                f"compute is 6 N D here, budgets too: the FLOP of {short(name)}, {times.min():.3g} to "
                f"{times.max():.3g} times that, are not used"
            )
    return found, notes


def check_recipes(recipes: Mapping[str, Runs]) -> None:
    """Refuse recipes that cannot be compared.

    Raises:
        UsageError: one has too few runs, two are the same table, or the runs of two have no compute in
            common.
    """
    for name, runs in recipes.items():
        if len(runs) < LEAST_RUNS:
            raise UsageError(
                f"compare: {short(name)} has {len(runs)} runs; give at least {LEAST_RUNS} (which share "
                "exponents and E with the other recipes), better 12 or more"
            )
    seen: dict[str, str] = {}
    for name, runs in recipes.items():
        if (other := seen.setdefault(runs.data_hash, name)) != name:
            raise UsageError(
                f"compare: {short(other)} and {short(name)} hold the same runs; give two different tables"
            )
    first, *others = recipes
    for name in others:
        low, high = (
            (getattr(np, end)(recipes[first].flops), getattr(np, end)(recipes[name].flops))
            for end in ("min", "max")
        )
        if max(low) > min(high):
            raise UsageError(
                f"compare: the compute of {short(name)} ({flops_text(low[1])} to {flops_text(high[1])} FLOP) "
                f"and of {short(first)} ({flops_text(low[0])} to {flops_text(high[0])} FLOP) does not "
                "overlap, so that any multiplier is extrapolation; add runs at budgets of both"
            )


def comparability_warnings(recipes: Mapping[str, Runs]) -> list[str]:
    """Why losses of these tables may not be comparable, one sentence each."""
    found = []
    first, *others = recipes
    for name in others:
        one, other = recipes[first], recipes[name]
        found += _evaluations(first, one, name, other)
        units = [each.loss_unit for each in (one, other)]
        if units[0] != units[1]:
            found.append(
                f"the losses of {short(first)} are in {units[0]}, those of {short(name)} in {units[1]}: no "
                "law can compare them; convert one of them (--unit, --bytes-per-token)"
            )
        if max(one.loss.min(), other.loss.min()) > min(one.loss.max(), other.loss.max()):
            found.append(
                f"the losses of {short(first)} ({one.loss.min():.3g} to {one.loss.max():.3g}) and of "
                f"{short(name)} ({other.loss.min():.3g} to {other.loss.max():.3g}) do not overlap although "
                "their compute does: they are comparable on one validation set and tokenizer only"
            )
    return found


def _evaluations(first: str, one: Runs, name: str, other: Runs) -> list[str]:
    found = []
    columns = {
        normalise(each): each for each in {**one.labels, **one.groups} if normalise(each) in _EVALUATIONS
    }
    for column in {**other.labels, **other.groups}:
        mine = columns.get(normalise(column))
        if mine is None:
            continue
        labels = [
            set({**runs.labels, **runs.groups}[each].tolist()) - {""}
            for runs, each in ((one, mine), (other, column))
        ]
        if labels[0] != labels[1]:
            shown = [list_text([short(label) for label in sorted(each)], most=3) for each in labels]
            found.append(
                f"column {short(mine)} names {shown[0]} in {short(first)} and {shown[1]} in {short(name)}: "
                "losses are comparable on one validation set and tokenizer only"
            )
    return found
