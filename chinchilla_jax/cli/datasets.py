"""`chinchilla-jax datasets`: the embedded tables and the sources of their numbers."""

from __future__ import annotations

import click

from chinchilla_jax._util.labels import quantity_text
from chinchilla_jax.cli import output
from chinchilla_jax.cli.options import quiet_option


@click.command("datasets")
@click.argument("name", required=False, help="A table to show with its columns and sources.")
@quiet_option
def datasets_command(name: str | None) -> None:
    """List the embedded tables, or show one with its sources."""
    if name is None:
        _list()
    else:
        _show(name)


def _list() -> None:
    from chinchilla_jax.datasets import dataset_info, dataset_names, load_runs

    rows = []
    for name in dataset_names():
        info, runs = dataset_info(name), load_runs(name)
        ranges = [
            f"{quantity_text(quantity, values.min(), 3)} to {quantity_text(quantity, values.max(), 3)}"
            for quantity, values in (("params", runs.params), ("tokens", runs.tokens))
        ]
        rows.append((name, info.n_rows, *ranges, info.licence or "facts", info.determines))
    output.print_table(("name", "rows", "params", "tokens", "licence", "determines"), rows)
    output.echo()
    output.print_paragraph(
        "and chinchilla_architectures, the 50 models of Table A9; a name after datasets shows its columns "
        "and sources. Licence facts: numbers read off a figure or a table of a paper."
    )


def _show(name: str) -> None:
    from chinchilla_jax.datasets import dataset_info, dataset_names, load_runs

    info = dataset_info(name)
    output.echo(info.title)
    output.echo()
    output.echo(f"source   {info.source} ({', '.join(f'arXiv:{number}' for number in info.arxiv)})")
    output.echo(f"rows     {info.n_rows}{f' ({info.where})' if info.where else ''}")
    output.echo(f"licence  {info.licence or 'facts, read off a figure or a table of the paper'}")
    if info.determines:
        output.echo(f"for      {info.determines}")
    if name in dataset_names():
        runs = load_runs(name)
        if info.drop_highest_loss:
            output.echo(f"fitted   {len(runs)} ({info.drop_highest_loss} with the highest loss left out)")
        output.echo(f"hash     {runs.data_hash}")
    output.echo()
    output.print_table(("column", "meaning"), info.columns.items())
    if name in dataset_names():
        output.echo()
        output.print_table(
            ("fitted", "lowest", "highest"),
            [
                (quantity, float(values.min()), float(values.max()))
                for quantity in ("params", "tokens", "flops", "loss")
                for values in [getattr(runs, quantity)]
            ],
        )
    if info.notes:
        output.echo()
        output.print_paragraph(info.notes)
