"""`chinchilla-jax diagnose`: which miscount leads from one count of the parameters to another."""

from __future__ import annotations

import dataclasses

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.fit_options import Solver, newton_options
from chinchilla_jax.cli.options import level_option, output_options, resamples_option, seed_option
from chinchilla_jax.cli.table_options import Table, read_columns, table_options

_COLUMNS = ["family", "size", "low", "high", "support", "distance"]


@click.command("diagnose")
@table_options(together=True)
@click.argument(
    "other",
    required=False,
    help="Another count of the same runs: reported, standard, best_fit, as_plotted, or a table; DATA again, "
    "with --other-column naming its other count. Left out with two --counting NAME=COLUMN.",
)
@click.option(
    "--other-column",
    metavar="QUANTITY=NAME",
    multiple=True,
    help="As --column, for OTHER.  [default: as for DATA]",
)
@click.option(
    "--use",
    type=choices.Name(("law", "curve")),
    metavar="NAME",
    default="law",
    help="What to compare: law (all five parameters) or curve (tokens per parameter).",
)
@resamples_option(400, "Bootstrap resamples of each count.")
@seed_option()
@level_option
@newton_options
@output_options
def diagnose_command(
    table: Table,
    other: str | None,
    other_column: tuple[str, ...],
    use: str,
    resamples: int,
    seed: int,
    level: float,
    solver: Solver,
    as_json: bool,
) -> None:
    """Name the miscount that leads from one count to another.

    Bootstraps both counts on the same resamples, and ranks families of miscounts by how well their closed
    form explains the difference.
    """
    from chinchilla_jax.analysis import diagnose_counts

    first, compared = _two_tables(table, other, other_column)
    runs, second = first.read(), compared.read()
    found = diagnose_counts(
        runs, second, resamples=resamples, seed=seed, use=use, level=level, options=solver.options()
    )
    if as_json:
        output.print_json(
            {
                "data": output.runs_fields(runs),
                "other": output.runs_fields(second),
                "use": use,
                "resamples": resamples,
                "n_resamples": found.n_resamples,
                "seed": seed,
                "sentence": found.sentence,
                "families": output.records(found.table),
            }
        )
        return
    output.print_runs(runs)
    output.print_runs(second, before="against ")
    output.echo()
    output.print_paragraph(found.sentence)
    output.echo()
    output.print_table(_COLUMNS, output.rows(found.table, _COLUMNS))


def _two_tables(table: Table, other: str | None, other_column: tuple[str, ...]) -> tuple[Table, Table]:
    """The table and the one that it is compared with: OTHER, or the other of two countings."""
    tables = list(table.interpretations.values())
    if other is not None and len(tables) == 1:
        return tables[0], _other_table(tables[0], other, other_column)
    if other is None and len(tables) == 2 and len(table.countings) == 2:
        return tables[0], tables[1]
    raise UsageError("diagnose compares two counts: give OTHER, or two --counting NAME=COLUMN and no OTHER")


def _other_table(table: Table, other: str, other_column: tuple[str, ...]) -> Table:
    if other in choices.COUNTINGS:
        if other_column:
            raise UsageError(f"--other-column is for a table; {other} is a count of the embedded chinchilla")
        return Table(data=table.data, counting=other, drop_highest_loss=table.drop_highest_loss)
    # A column that is not named again is the same one in both tables.
    columns = (read_columns(table.column) or {}) | (read_columns(other_column, "--other-column") or {})
    column = tuple(f"{quantity}={name}" for quantity, name in columns.items())
    return dataclasses.replace(table, data=other, counting="as_plotted", column=column)
