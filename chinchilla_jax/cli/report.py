"""`chinchilla-jax report`: the page of a finished study."""

from __future__ import annotations

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.progress_bar import resolve
from chinchilla_jax._util.text import size_text
from chinchilla_jax.cli import output
from chinchilla_jax.cli.options import quiet_option


@click.command("report")
@click.argument("study", metavar="DIR", help="Directory of a finished study, or its URL.")
@click.option(
    "--out", metavar="FILE", show_default="report.html in DIR", help="Page to write: a path or URL."
)
@quiet_option
def report_command(study: str, out: str | None) -> None:
    """Write the page of a finished study: report.html.

    One self-contained file with the answer, figures and tables; nothing is fitted again. Figures in DIR that
    are missing, damaged or of earlier tables are drawn first.
    """
    from chinchilla_jax import open_study
    from chinchilla_jax._util.directories import LocalDirectory, open_file
    from chinchilla_jax.report import remake, write_report
    from chinchilla_jax.report.answer import answer
    from chinchilla_jax.report.content import plain_text
    from chinchilla_jax.report.facts import Facts
    from chinchilla_jax.study.derived import PAGE

    opened = open_study(study)
    folder, name = open_file(out) if out else (opened.directory, PAGE)
    if isinstance(folder, LocalDirectory) and not folder.path.is_dir():
        raise UsageError(f"--out {out}: no directory {str(folder)!r}; create it, or give another path")
    with resolve("auto") as reporter:
        opened = remake(opened, reporter, page=False)
        path = write_report(opened, out)
        if out is None:
            opened = remake(opened, reporter)  # in case another process has extended the study meanwhile
    for sentence in answer(Facts(opened)):
        output.echo(plain_text(sentence))
        output.echo()
    output.echo(f"{path}: {size_text(folder.list_files('')[name].size)}")
