"""The table of runs that a command is about: DATA and the options that say how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import choices
from chinchilla_jax.cli.for_each import for_each
from chinchilla_jax.cli.options import Decorator, bundle, comma_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chinchilla_jax import Runs
    from chinchilla_jax.laws import Law


@dataclass(frozen=True, kw_only=True)
class Table:
    """The table that DATA, and the rows and columns of it that the options about it name."""

    data: str
    counting: str = "as_plotted"
    drop_highest_loss: int | None = None
    column: Sequence[str] = ()
    unit: Sequence[str] = ()
    bytes_per_token: float | None = None
    experiment: str | None = None
    where: Sequence[str] = ()
    best_of: Sequence[str] = ()
    all_states: bool = False
    drop_missing: bool = False
    final: bool = False
    group: Sequence[str] = ()
    ignore_flags: bool = False
    countings: Mapping[str, str] = field(default_factory=dict)
    losses: Mapping[str, str] = field(default_factory=dict)
    variables: Sequence[str] = ()
    known_variables: bool = False

    def for_laws(self, *laws: Law) -> Table:
        """The table with the further variables of these laws."""
        return replace(self, variables=tuple(dict.fromkeys(name for law in laws for name in law.columns)))

    @property
    def interpretations(self) -> dict[str, Table]:
        """The table in each of its countings and losses, by name; just itself, by "", where there is one."""
        if not self.countings and not self.losses:
            return {"": self}
        from chinchilla_jax.datasets.interpretations import Interpretations

        names = Interpretations(countings=self.countings, losses=self.losses).names
        return {name: replace(self, counting=name) for name in names}

    @property
    def reading(self) -> dict[str, Any]:
        """How DATA is read: what `load_runs` takes besides it, without what is as usual."""
        columns = read_columns(self.column) or {}
        variables = {name: columns.pop(name, name) for name in self.variables}
        if self.known_variables:
            from chinchilla_jax.datasets.variable_columns import known_variable_names

            named = [name for name in columns if name in known_variable_names()]
            variables |= {name: columns.pop(name) for name in named}
        found = {
            "drop_highest_loss": self.drop_highest_loss,
            "columns": columns,
            "variables": {} if self.data in choices.FIGURES else variables,
            "units": read_units(self.unit),
            "bytes_per_token": self.bytes_per_token,
            "experiment": self.experiment,
            "where": tuple(self.where),
            "best_of": tuple(self.best_of),
            "all_states": self.all_states,
            "drop_missing": self.drop_missing,
            "final": self.final,
            "groups": tuple(dict.fromkeys(self.group)),
            "ignore_flags": self.ignore_flags,
            "countings": dict(self.countings),
            "losses": dict(self.losses),
            "known_variables": self.known_variables,
        }
        return {name: value for name, value in found.items() if value not in (None, (), False, {})}

    def read(self, groups: Sequence[str] = ()) -> Runs:
        """The runs, with these further columns."""
        from chinchilla_jax import load_runs

        asked = tuple(dict.fromkeys((*self.group, *groups)))
        return load_runs(self.data, params=self.counting, **self.reading | {"groups": asked})

    def read_weights(self, column: str | None, runs: Runs) -> NDArray[np.float64] | None:
        """The weights of the runs in `column`, checked against the runs; None without a column."""
        if column is None:
            return None
        from chinchilla_jax.datasets.weights import load_weights
        from chinchilla_jax.fitting.problem import read_weights as checked_weights

        found = load_weights(self.data, column, params=self.counting, **self.reading)
        return checked_weights(found, len(runs))


def read_columns(
    given: Sequence[str],
    option: str = "--column",
    *,
    example: str = "loss=val/loss",
    what: str = "QUANTITY=NAME",
) -> dict[str, str] | None:
    """Names by quantity, from texts such as "loss=val/loss"; None without any."""
    columns: dict[str, str] = {}
    for text in given:
        quantity, equals, name = (part.strip() for part in text.partition("="))
        if not equals or not quantity:
            raise UsageError(f"{option} {text!r}: give {what}, such as {example}")
        if quantity in columns:
            raise UsageError(f"{option} {quantity}=... is given twice; give each name once")
        columns[quantity] = name
    return columns or None


def read_units(given: Sequence[str]) -> dict[str, str] | None:
    """Units by quantity, from texts such as "flops=PF-days"; None without any."""
    return read_columns(given, "--unit", example="flops=PF-days")


def _complete_data(context: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[Any]:
    """Names of embedded tables, or else files."""
    from click.shell_completion import CompletionItem

    names = [name for name in choices.DATASETS if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


def data_argument(help: str, **settings: Any) -> Decorator[Any]:
    """The argument DATA."""
    return click.argument("data", help=help, shell_complete=_complete_data, **settings)


DATA_HELP = (
    "chinchilla, llama3 or another name that chinchilla-jax datasets lists, or a table: the path or URL of "
    "CSV, JSON, Parquet or Excel, a folder with a file per run, or - for standard input."
)

column_option = click.option(
    "--column",
    metavar="QUANTITY=NAME",
    multiple=True,
    help="Column of DATA that holds params, tokens, flops, loss or what else the law predicts from, such as "
    "loss=val/loss, or flops= to read none; repeatable.",
)


class _Counting(choices.Name):
    """A counting of an embedded table, or a name and a column."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        return str(value) if "=" in str(value) else super().convert(value, param, ctx)


def _only_one(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> str | None:
    """The value of an option that is given once at most; the last of several would win in silence."""
    if len(set(given)) > 1:
        named = " and ".join(repr(each) for each in given)
        raise UsageError(
            f"{parameter.opts[0]} is given as {named}; give one, or choose rows of several by --where"
        )
    return given[0] if given else None


def _comma_list(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """The names in texts such as "params,tokens"."""
    return tuple(dict.fromkeys(comma_names(parameter, given, "give names, such as params,tokens")))


experiment_option = click.option(
    "--experiment",
    metavar="NAME",
    multiple=True,
    callback=_only_one,
    help="The experiment to read, if DATA holds several.",
)
unit_option = click.option(
    "--unit",
    metavar="QUANTITY=UNIT",
    multiple=True,
    help="Unit of a column of DATA: params or tokens in millions, billions, flops in GFLOP, EFLOP, PF-days, "
    "loss in bits, bpb, perplexity, ...; repeatable.",
)
bytes_per_token_option = click.option(
    "--bytes-per-token",
    type=choices.POSITIVE,
    metavar="X",
    help="Bytes of text per token, which makes nats per token of a loss in bits per byte.",
)
ROW_OPTIONS: Mapping[str, Decorator[Any]] = {
    "unit": unit_option,
    "bytes_per_token": bytes_per_token_option,
    "experiment": experiment_option,
    "where": click.option(
        "--where",
        metavar="CONDITION",
        multiple=True,
        help="Rows to read, by columns of DATA, such as \"corpus == 'c4' and tokens / params > 20\"; "
        "repeatable: all must hold.",
    ),
    "best_of": click.option(
        "--best-of",
        metavar="COLUMNS",
        multiple=True,
        callback=_comma_list,
        help="Read the row of lowest loss of each configuration: params,tokens, or any columns.",
    ),
    "all_states": click.option(
        "--all-states", is_flag=True, help="Read runs that did not finish too (column state, status, ...)."
    ),
    "drop_missing": click.option(
        "--drop-missing", is_flag=True, help="Leave out rows without a loss, or another value that is read."
    ),
    "final": click.option(
        "--final", is_flag=True, help="Read the last row of each run (column run, or that of --group)."
    ),
    "group": click.option(
        "--group",
        metavar="COLUMN",
        multiple=True,
        help="A column that says which rows belong together, such as seed; repeatable.",
    ),
    "ignore_flags": click.option(
        "--ignore-flags", is_flag=True, help="Read rows that DATA itself marks as outlier or to exclude too."
    ),
}
"""Options about the rows of a table and the units of its columns."""
COLUMN_OPTIONS: Mapping[str, Decorator[Any]] = {
    "counting": click.option(
        "--counting",
        type=_Counting(choices.COUNTINGS),
        metavar="NAME[=COLUMN]",
        multiple=True,
        show_default="the column of params",
        help="How the parameters of DATA are counted: for chinchilla as_plotted, reported, standard or "
        "best_fit; for your own table NAME=COLUMN, repeatable: the answer for each.",
    ),
    "drop_highest_loss": click.option(
        "--drop-highest-loss",
        type=choices.WholeNumber(),
        metavar="K",
        show_default="5 for chinchilla, else 0",
        help="Leave out the K runs with the highest loss.",
    ),
    "column": column_option,
    **ROW_OPTIONS,
}
"""Options about the table, without DATA itself."""


def make_table(*, counting: Sequence[str] = (), loss: Sequence[str] = (), **rest: Any) -> Table:
    """The table that the values of the options name.

    Raises:
        UsageError: --counting names several countings of an embedded table, or a name occurs twice.
    """
    plain = list(dict.fromkeys(each for each in counting if "=" not in each))
    named = [each for each in counting if "=" in each]
    if len(plain) + bool(named) > 1:
        raise UsageError(
            f"--counting {' --counting '.join(map(repr, counting))}: give one counting of chinchilla, or "
            "NAME=COLUMN for each column of counts of your own table"
        )
    return Table(
        counting=plain[0] if plain else "as_plotted",
        countings=read_columns(named, "--counting", example="total=params", what="NAME=COLUMN") or {},
        losses=read_columns(loss, "--loss", example="c4=loss_c4", what="NAME=COLUMN") or {},
        **rest,
    )


def for_each_table(command: Any) -> Any:
    """Run a command for each counting and loss of its `table`."""
    return for_each(command, "table", lambda table: table.interpretations, lambda table, each: each)


losses_option = click.option(
    "--loss",
    metavar="NAME=COLUMN",
    multiple=True,
    help="A column of losses of DATA and a name for it; repeatable: the answer for each.",
)


def table_options(default: str | None = None, *, together: bool = False, also: str = "") -> Decorator[Any]:
    """DATA and the options about it, as `table`.

    A command is run for each counting and loss of the table in turn, see `for_each.py`.

    Args:
        default: what is read if DATA is left out; None if it has to be given.
        together: for a command that takes all countings and losses at once.
        also: what else the command takes in place of a table, in a sentence.
    """
    data = (
        data_argument(f"{DATA_HELP} {also}".rstrip())
        if default is None
        else data_argument(f"{DATA_HELP}  [default: {default}]", default=default)
    )
    bundled = bundle("table", make_table, {"data": data, **COLUMN_OPTIONS, "loss": losses_option})
    return lambda command: bundled(command if together else for_each_table(command))
