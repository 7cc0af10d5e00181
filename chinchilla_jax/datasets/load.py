"""`load_runs`: the one way to load runs, from embedded tables, files and DataFrames."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Collection, Mapping, Sequence
from typing import TypedDict

import numpy as np

from chinchilla_jax._util.errors import DataError, UsageError, closest, short, unknown_name
from chinchilla_jax._util.text import list_text
from chinchilla_jax._util.urls import is_url
from chinchilla_jax._util.validation import positive_number, require_type
from chinchilla_jax.datasets.catalogue import (
    COUNTINGS,
    dataset_info,
    dataset_names,
    embedded_bytes,
    figure_names,
    own_reading,
)
from chinchilla_jax.datasets.columns import match_table, read_columns
from chinchilla_jax.datasets.counting import COUNTING_RULES, round_to_millions
from chinchilla_jax.datasets.foreign import unpack
from chinchilla_jax.datasets.group_columns import read_groups
from chinchilla_jax.datasets.interpretations import Interpretations
from chinchilla_jax.datasets.other_tables import require_runs
from chinchilla_jax.datasets.quantities import read_columns as read_quantity_columns
from chinchilla_jax.datasets.readers.places import STANDARD_INPUT
from chinchilla_jax.datasets.reading import TableLike, name_of_source, read_bytes, read_table, require_table
from chinchilla_jax.datasets.repeats import repeats_sentence
from chinchilla_jax.datasets.repetition import epochs_column, with_unique_tokens
from chinchilla_jax.datasets.row_choice import RowChoice, choose_rows
from chinchilla_jax.datasets.runs import Runs
from chinchilla_jax.datasets.table import Table, show_text
from chinchilla_jax.datasets.units import read_units
from chinchilla_jax.datasets.validation import require_fittable, runs_from_table
from chinchilla_jax.datasets.variable_columns import known_variables as found_variables
from chinchilla_jax.datasets.variable_columns import read_variables, variable_positions


class Reading(TypedDict, total=False):
    """How a table is read: the keywords of `load_runs`, which functions that fit a table take too."""

    params: str
    drop_highest_loss: int | None
    rounded: bool
    columns: Mapping[str, str] | None
    units: Mapping[str, str] | None
    bytes_per_token: float | None
    experiment: str | None
    groups: Sequence[str]
    where: str | Sequence[str]
    best_of: str | Sequence[str]
    all_states: bool
    drop_missing: bool
    final: bool
    ignore_flags: bool
    countings: Mapping[str, str] | None
    losses: Mapping[str, str] | None
    variables: Sequence[str] | Mapping[str, str]
    known_variables: bool


def load_runs(
    source: TableLike,
    *,
    params: str = "as_plotted",
    drop_highest_loss: int | None = None,
    rounded: bool = True,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    bytes_per_token: float | None = None,
    experiment: str | None = None,
    groups: Sequence[str] = (),
    where: str | Sequence[str] = (),
    best_of: str | Sequence[str] = (),
    all_states: bool = False,
    drop_missing: bool = False,
    final: bool = False,
    ignore_flags: bool = False,
    countings: Mapping[str, str] | None = None,
    losses: Mapping[str, str] | None = None,
    variables: Sequence[str] | Mapping[str, str] = (),
    known_variables: bool = False,
) -> Runs:
    """Load training runs and check everything that a fit relies on.

    A table needs columns for the loss and for two of params, tokens and flops; the third follows from
    C = 6 N D, and if all three are given they are kept. Columns are found by what their names mean (N, Model
    Size, total_training_flops, val/loss, "tokens (B)", ...; see `datasets.meaning`), and a second candidate
    is an error that asks for `columns`. Other columns are ignored, except those of `groups`. Exports of
    Weights & Biases are recognised (`datasets.foreign`). `Runs.source` says what was read.

    Args:
        source: the name of an embedded table, see `dataset_names`; the path or URL (https://, s3://, hf://,
            ...) of a file: CSV (separated by comma, semicolon, tab, bar or blanks), JSON, JSON Lines,
            Parquet, Feather or Excel, also compressed (.gz, .bz2, .xz, .zst); a folder with a file or a
            folder for each run; "-" for standard input; an open file; or a table in memory: a DataFrame of
            pandas or polars, an Arrow table, NumPy records, a dict of arrays, or a list of dicts. An embedded
            name wins over a file of the same name; `Path("chinchilla")` or "./chinchilla" is the file.
        params: which parameter count to use. "as_plotted": the table's own column. For "chinchilla" also,
            through Table A9 of Hoffmann et al. 2022 (arXiv:2203.15556), "reported", "standard" or "best_fit"
            (see `chinchilla_jax.datasets.counting`). All give the same tokens. With `countings` or `losses`,
            the name of one, or "counting+loss"; "as_plotted" is then the first.
        drop_highest_loss: how many runs of highest loss to leave out. None: 5 for "chinchilla", as in
            Besiroglu et al. 2024 (arXiv:2404.10102), otherwise 0.
        rounded: whether the "standard" and "best_fit" counts are rounded to whole millions, as in Schaeffer
            et al. 2025 (arXiv:2509.23963). "as_plotted" is never rounded, "reported" always is.
        columns: which column holds which quantity, such as {"loss": "val/loss"}, where the names do not
            tell, or "" to read no column for it, as in {"flops": ""}; for your own tables.
        units: in which unit the columns of your own table are, where the names do not tell, such as
            {"params": "millions", "flops": "PF-days", "loss": "bits"} (see `datasets.units`). A unit that is
            stated is not questioned.
        bytes_per_token: of the text that the loss is of, which makes nats per token of bits per byte.
        experiment: whose rows to take, where the table's column "experiment" names several.
        groups: further columns of your own table that say which runs belong together; they become
            `Runs.groups`, which `Cluster(by=...)` resamples by. A column named after runs ("run", "run_name",
            "run_id", "trajectory") is always among them.
        where: conditions on the columns of your own table, all of which a row must meet, such as
            "corpus == 'c4' and tokens / params >= 20" (see `datasets.where`).
        best_of: of the rows that agree in these, keep the one of lowest loss: any of params, tokens and flops
            (within half a percent), and names of columns. ("params", "tokens") keeps the best of several
            seeds or trials of hyper-parameters.
        all_states: keep runs that did not finish according to a column "state", "status" or the like.
        drop_missing: leave out rows with an empty cell in a column that is read, such as runs without a loss.
        final: keep the last row of each run, the one with the most tokens: of each label in the first column
            of `groups`, or in a column named after runs.
        ignore_flags: keep the rows that a column of the table called "outlier", "exclude", "keep" or the like
            rules out.
        countings: columns of your own table that count the parameters, by a name for each, such as {"total":
            "params", "non_embedding": "params_non_embedding"}: `params` chooses one (see
            `datasets.interpretations`). Tokens and compute are those of the first.
        losses: columns of losses by name, such as {"c4": "loss_c4"}, likewise.
        variables: columns of your own table that a law predicts the loss from beside params and tokens, such
            as ["unique_tokens"] or {"unique_tokens": "uniq"}: finite numbers, which become `Runs.variables`.
        known_variables: also read what built-in laws predict from, wherever a column has its name and a
            number in every row: for a comparison of all laws that the table allows.

    Returns:
        Runs in the order of the table. Their `counting` is `params` for an embedded table and where there are
        `countings` or `losses`, otherwise "as_given".

    Raises:
        DataError: the source cannot be read, or cannot be fitted; one line with the file, the rows (lines of
            a CSV or JSON Lines file; counted from 1 in Parquet; index labels of a DataFrame), the column, the
            value and the remedy.
        UsageError: an argument is invalid, alone or in combination.

    Warns:
        DataWarning: single losses are too high for nats, or runs that did not finish were left out.

    Example:
        >>> cj.load_runs("llama3")
        <Runs 'llama3' (as_plotted): 133 runs, params 58.72M to 16.76B, tokens 1.476B to 1.035T, flops 6e18
        to 1e22, loss 0.6936 to 0.9322>
        >>> table = {"Model Size": runs.params, "D": runs.tokens, "val/loss": runs.loss}
        >>> own = cj.load_runs(table, drop_highest_loss=5)
        >>> len(own), own.source.columns["loss"]
        (235, 'val/loss')
    """
    if isinstance(source, Runs):
        raise UsageError("load_runs was given Runs, which are read already; give them to fit or bootstrap")
    several = Interpretations(countings=countings or {}, losses=losses or {})
    if several:
        params = several.names[0] if params == "as_plotted" else params
    elif params not in COUNTINGS:
        raise unknown_name("params", params, COUNTINGS)
    embedded = isinstance(source, str) and source in figure_names()
    own_where, own_variables = own_reading(source)
    if own_where:
        where = (*own_where, *(where if isinstance(where, list | tuple) else [where] * (where != "")))
    if not several and params != "as_plotted" and not (embedded and source == "chinchilla"):
        shown = repr(source) if embedded else "your own table"
        raise UsageError(
            f"params={params!r} needs the architecture of each run, which only the embedded 'chinchilla' has "
            f"(Table A9), not {shown}; leave params out (--counting on the command "
            "line), or name columns of counts with countings={...} (--counting NAME=COLUMN)"
        )
    columns, stated = read_columns(columns), read_units(units)
    variables = own_variables | read_variables(variables)
    if bytes_per_token is not None:
        bytes_per_token = positive_number("bytes_per_token", bytes_per_token)
    require_type("rounded", rounded, bool, "give True or False")
    choice = RowChoice(
        experiment=experiment,
        where=where,  # type: ignore[arg-type]
        best_of=best_of,  # type: ignore[arg-type]
        all_states=all_states,
        drop_missing=drop_missing,
        final=final,
        ignore_flags=ignore_flags,
    )
    own = {
        "countings": several.countings,
        "losses": several.losses,
        "columns": columns,
        "units": stated,
        "bytes_per_token": bytes_per_token,
        "groups": groups,
        "variables": variables,
    }
    given = [*(name for name, value in own.items() if value), *choice.given]
    if embedded and given:
        verb, them = ("is", "it") if len(given) == 1 else ("are", "them")
        raise UsageError(
            f"{list_text(given)} {verb} for your own tables; leave {them} out, as {source!r} is an embedded "
            "table"
        )
    if embedded:
        name = str(source)
        runs = dataclasses.replace(_embedded_runs(name))  # groups and labels are dicts of each caller's own
        if params != "as_plotted":
            runs = _recount(runs, params, rounded)
        default_drop = dataset_info(name).drop_highest_loss
    else:
        table, name = _read_source(source)
        epochs = epochs_column(table, variables, known_variables)
        asked = "unique_tokens" in variables
        if epochs is not None:
            if "unique_tokens" in stated:
                raise UsageError(
                    f"{table.where}: no column holds unique_tokens, which are tokens / epochs; leave out "
                    "their unit, or name their column (--column unique_tokens=COLUMN)"
                )
            variables = {key: each for key, each in variables.items() if key != "unique_tokens"}
        reserved = frozenset(variable_positions(table, variables).values())
        table = dataclasses.replace(table, units=stated, bytes_per_token=bytes_per_token, reserved=reserved)
        recounted = None
        if several:
            chosen, recounted = several.columns(params)
            columns = _with_chosen(columns, chosen)
        require_runs(table, columns)
        table = choose_rows(table, choice, columns=columns, groups=groups, others=several)
        if epochs is not None:
            table, column = with_unique_tokens(table, epochs, columns)
            if asked or None not in table.column(len(table.header) - 1):
                variables["unique_tokens"] = column
        if known_variables:
            variables = found_variables(table) | variables
        carried = read_groups(table, groups)
        runs = runs_from_table(table, name=name, counting="as_given", columns=columns, variables=variables)
        if recounted is not None:
            runs = _by_column(runs, table, recounted)
        if several:
            runs = dataclasses.replace(runs, counting=params)
        runs = dataclasses.replace(runs, groups=carried)
        for said in (repeats_sentence(runs), _unused_units(runs, stated)):
            if said is not None:
                runs = dataclasses.replace(runs, source=runs.source.noted(said))
        default_drop = 0
    dropped = default_drop if drop_highest_loss is None else drop_highest_loss
    kept = runs.drop_highest_loss(dropped)
    if len(kept) < len(runs):
        require_fittable(kept, f"{name} without its {dropped} runs of highest loss")
        kept = dataclasses.replace(kept, source=runs.source.without(dropped, "highest loss"))
    return kept


def _unused_units(runs: Runs, units: Collection[str]) -> str | None:
    """A sentence about quantities whose unit is given and of which no column is read.

    It is no error: one option may serve several tables.
    """
    unused = [quantity for quantity in units if quantity not in runs.source.columns]
    if not unused:
        return None
    them = "it" if len(unused) == 1 else "them"
    return f"no column of {list_text(unused)} is read, so the unit given for {them} is not used"


def as_runs(
    data: Runs | TableLike, caller: str, variables: Sequence[str] = (), reading: Reading | None = None
) -> Runs:
    """Runs as they are, or those of anything else that `load_runs` takes: what every question calls first.

    Args:
        data: runs, or a table.
        caller: the function that was given it, for messages.
        variables: what the law needs beside params and tokens, read from a table.
        reading: keywords of `load_runs`, for a table.

    Raises:
        DataError: the table cannot be read, or cannot be fitted.
        UsageError: it is of a type that holds no table, or runs are given that are read already.
    """
    require_reading(reading or {}, caller, data)
    if isinstance(data, Runs):
        return data
    require_table(data, caller)
    return load_runs(data, **{"variables": variables, **(reading or {})})  # type: ignore[arg-type]


def require_reading(reading: Reading, caller: str, *tables: Runs | TableLike) -> None:
    """Refuse keywords that `load_runs` does not have, and any of them beside runs that are read already.

    Raises:
        UsageError: these are such.
    """
    for name in reading:
        if name not in Reading.__annotations__:
            raise unknown_name(f"argument of {caller} or load_runs", name, tuple(Reading.__annotations__))
    if reading and any(isinstance(each, Runs) for each in tables):
        raise UsageError(
            f"{caller}: {list_text(list(reading))} say how a table is read, and Runs are read already; "
            "give them to load_runs"
        )


@functools.cache
def _embedded_runs(name: str) -> Runs:
    """An embedded table, read once in a process: a study reads it for every way to count the parameters."""
    runs = runs_from_table(read_bytes(embedded_bytes(name), name), name=name, counting="as_plotted")
    unit = dataset_info(name).loss_unit
    own = dataclasses.replace(runs.source, units={"loss": unit}) if unit else runs.source
    return dataclasses.replace(runs, source=own)


def _recount(runs: Runs, counting: str, rounded: bool) -> Runs:
    from chinchilla_jax.datasets.architectures import chinchilla_architectures

    models = chinchilla_architectures()
    if counting == "reported":
        counts = models.reported_params
    else:
        exact = COUNTING_RULES[counting](models.architecture)
        counts = np.asarray(round_to_millions(exact) if rounded else exact)
    return runs.with_params(counts[models.rows(runs.params)], counting)


def _with_chosen(columns: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The columns that are named, with those of an interpretation."""
    for quantity, option, flag in (("params", "countings", "--counting"), ("loss", "losses", "--loss")):
        if quantity in columns and quantity in chosen:
            raise UsageError(
                f"columns names the {quantity}, and so do {option}; leave one of them out (on the command "
                f"line --column {quantity}=NAME and {flag} NAME=COLUMN)"
            )
    return {**columns, **chosen}


def _by_column(runs: Runs, table: Table, column: str) -> Runs:
    """The runs with the counts of another column of their table."""
    positions = match_table(table, {"params": column}, quantities=("params",))
    counts = read_quantity_columns(table, positions)
    source = counts.record(table)
    plain = runs.source.columns.get("params", "flops and tokens")
    recounted = dataclasses.replace(
        runs.source,
        columns={**runs.source.columns, "params": column},
        units={**runs.source.units, **source.units},
    ).noted(f"tokens and compute are those of the counts in {short(plain)}")
    return dataclasses.replace(runs.with_params(counts.arrays["params"]), source=recounted)


def _read_source(source: object) -> tuple[Table, str]:
    """The cells of a table, and a name for the runs."""
    if isinstance(source, str):
        if source in dataset_names():
            return unpack(read_bytes(embedded_bytes(source), source)), source
        _require_place(source)
    return unpack(read_table(source)), name_of_source(source)


def _require_place(source: str) -> None:
    """Refuse a word that is neither a path nor an embedded name, with what it may have meant."""
    path = os.path.expanduser(source)
    if source == STANDARD_INPUT or is_url(source) or os.path.lexists(path):
        return
    near = closest(source, dataset_names())
    # Only a bare word can be a misspelt name.
    if near or not os.path.splitext(path)[1]:
        hint = f"did you mean {near!r}? " if near else ""
        raise DataError(
            f"{show_text(path)}: no such file or embedded table; {hint}"
            f"give {_choices()}, or a path that exists"
        )


def _choices() -> str:
    return "an embedded table (chinchilla-jax datasets lists them)"
