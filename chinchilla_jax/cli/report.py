"""`chinchilla-jax report`: the page of a finished study."""

from __future__ import annotations

from pathlib import Path

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import size_text
from chinchilla_jax.cli import output
from chinchilla_jax.cli.options import quiet_option


@click.command("report")
@click.argument("study", metavar="DIR", help="Directory of a finished study.")
@click.option("--out", metavar="FILE", show_default="report.html in DIR", help="Page to write.")
@quiet_option
def report_command(study: str, out: str | None) -> None:
    """Write the page of a finished study: report.html.

    One self-contained file with the answer, figures and tables; nothing is fitted again. Draws the figures
    first if DIR has none.
    """
    from chinchilla_jax import open_study
    from chinchilla_jax.plots import save_study_figures
    from chinchilla_jax.report import write_report
    from chinchilla_jax.report.answer import answer, plain_text
    from chinchilla_jax.report.facts import Facts

    opened = open_study(study)
    folder = Path(out).expanduser().parent if out else opened.path
    if not folder.is_dir():
        raise UsageError(f"--out {out}: no directory {str(folder)!r}; create it, or give another path")
    if not opened.figures:
        save_study_figures(opened, opened.path / "figures")
    path = write_report(opened, out)
    for sentence in answer(Facts(opened)):
        output.echo(plain_text(sentence))
        output.echo()
    output.echo(f"{path}: {size_text(path.stat().st_size)}")
