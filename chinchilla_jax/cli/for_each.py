"""A command run for each counting and loss of a table: sections of text, or parts of one JSON object."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.errors import ChinchillaError, DataError, UsageError
from chinchilla_jax.cli import output

if TYPE_CHECKING:
    from chinchilla_jax.cli.table_options import Table


def for_each(
    command: Callable[..., Any],
    argument: str,
    tables_of: Callable[[Any], Mapping[str, Table]],
    with_table: Callable[[Any, Table], Any],
) -> Callable[..., Any]:
    """The command, run in turn for every interpretation of its table, after how far the countings differ.

    With --json there is one object, with what each run would have printed by name. Where one fails, the
    others run, and the command fails at the end. Figures go into a folder for each.

    Args:
        command: takes the argument and others.
        argument: its name.
        tables_of: the tables of its value, by interpretation.
        with_table: the value with this table instead.
    """

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        given = values[argument]
        tables = tables_of(given)
        if len(tables) < 2:
            return command(**values | {argument: with_table(given, next(iter(tables.values())))})
        errors = _print_errors(tables, as_json=values.get("as_json", False))
        parts: dict[str, Any] = {}
        failed: list[str] = []
        for name, table in tables.items():
            own = values | {argument: with_table(given, table)}
            if values.get("figures"):
                own["figures"] = os.path.join(values["figures"], name)
            if not values.get("as_json"):
                output.echo()
            with output.collecting() as printed:
                try:
                    command(**own)
                except (DataError, UsageError):
                    raise
                except ChinchillaError as error:
                    failed.append(f"{name}: {error}")
            parts[name] = printed[-1] if printed else None
        if values.get("as_json"):
            output.print_json({"relative_errors": errors, "interpretations": parts})
        if failed:
            raise ChinchillaError("; ".join(failed))
        return None

    return run


def _print_errors(tables: Mapping[str, Table], *, as_json: bool) -> list[dict[str, Any]]:
    """How far the countings are from the first, printed unless JSON is wanted."""
    from chinchilla_jax.datasets.interpretations import relative_error_rows

    first = next(iter(tables.values()))
    loss = next(iter(first.losses), None)
    of_countings = {name: tables[f"{name}+{loss}" if loss else name] for name in first.countings}
    if len(of_countings) < 2:
        return []
    rows = relative_error_rows({name: table.read() for name, table in of_countings.items()})
    if rows and not as_json:
        output.echo("relative error of the counts, in % of the first")
        columns = ["counting", "against", "mean_percent", "min_percent", "max_percent"]
        header = ["counting", "against", "mean", "min", "max"]
        output.print_table(header, [[row[name] for name in columns] for row in rows], keys=2, digits=4)
    return rows
