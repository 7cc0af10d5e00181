"""`chinchilla-jax datasets`: the embedded tables and the sources of their numbers."""

from __future__ import annotations

import click

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
    from chinchilla_jax.datasets import dataset_info, dataset_names

    infos = [dataset_info(name) for name in (*dataset_names(), "chinchilla_architectures")]
    output.print_table(("name", "rows", "what"), [(info.name, info.n_rows, info.title) for info in infos])


def _show(name: str) -> None:
    from chinchilla_jax.datasets import dataset_info, dataset_names, load_runs

    info = dataset_info(name)
    output.echo(info.title)
    output.echo()
    output.echo(f"source   {info.source} ({', '.join(f'arXiv:{number}' for number in info.arxiv)})")
    output.echo(f"rows     {info.n_rows}")
    if name in dataset_names():
        runs = load_runs(name)
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
