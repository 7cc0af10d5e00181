"""The reference of the commands, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click

PROGRAM = "chinchilla-jax"
DOCS = Path(__file__).parent.parent
_EXAMPLES = 3  # of a command


def pages() -> Iterator[tuple[str, str]]:
    """Name and Markdown of the page of every command, in the order of --help."""
    from chinchilla_jax.cli.app import chinchilla_jax_command as group

    with click.Context(group, info_name=PROGRAM, show_default=True) as context:
        names = group.list_commands(context)
        rows = [f"| [`{name}`]({name}.md) | {_short(group, context, name)} |" for name in names]
        table = ["# Commands", "", "| command | what it does |", "|---|---|", *rows, ""]
        yield "index", "\n".join([*table, *_options(group, context)])
        for name in names:
            command = group.get_command(context, name)
            assert command is not None
            yield name, "\n".join([*_section(command, context, name, level=1), *_examples(name)])


@cache
def examples() -> dict[str, dict[str, str]]:
    """For each command the lines that the pages show, and the page of each; first those with an output."""
    shown = [rf"^\$ ({PROGRAM} .*)$", rf"^({PROGRAM} .*)$", rf"`({PROGRAM} \w[^`]*)`"]
    texts = {page: page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))}
    found: dict[str, dict[str, str]] = {}
    for kind in shown:
        for page, text in texts.items():
            for line in re.findall(kind, text.replace("\\\n", " "), re.MULTILINE):
                command = " ".join(line.partition(" #")[0].split())
                name = command.split()[1]
                found.setdefault(name, {}).setdefault(command, page.relative_to(DOCS).as_posix())
    return found


def _examples(name: str) -> Iterator[str]:
    yield "## Examples"
    for command, page in list(examples().get(name, {}).items())[:_EXAMPLES]:
        yield from ("", "```sh", command, "```", "", f"From [{title(DOCS / page)}](../../{page}).")


def title(page: Path) -> str:
    """The title of a page of Markdown, which is its first line."""
    return page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def _short(group: click.Group, context: click.Context, name: str) -> str:
    command = group.get_command(context, name)
    assert command is not None
    return _cell(command.get_short_help_str(200))


def _section(command: click.Command, parent: click.Context, name: str, level: int) -> Iterator[str]:
    """A command and the commands below it."""
    with click.Context(command, info_name=name, parent=parent, show_default=True) as context:
        yield f"{'#' * level} {context.command_path.removeprefix(PROGRAM + ' ')}"
        yield ""
        yield from (
            "```sh",
            " ".join([context.command_path, *command.collect_usage_pieces(context)]),
            "```",
            "",
        )
        yield from _prose(command.help or "")
        if command.epilog:
            yield from _prose(command.epilog)
        yield from _options(command, context)
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                assert found is not None
                yield from _section(found, context, below, level + 1)


def _prose(help: str) -> Iterator[str]:
    """Paragraphs; those that click would not wrap, such as examples, as code."""
    for paragraph in inspect.cleandoc(help).split("\n\n"):
        lines = paragraph.removeprefix("\b\n").splitlines()
        yield from (["```text", *lines, "```"] if paragraph.startswith("\b") else [_plain(paragraph)])
        yield ""


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and not getattr(parameter, "hidden", False):
            records.append(record)
        elif isinstance(parameter, click.Argument):
            records.append((parameter.make_metavar(context), str(getattr(parameter, "help", None) or "")))
    if records:
        yield from ("| option | meaning |", "|---|---|")
        yield from (f"| `{_bar(names)}` | {_cell(text)} |" for names, text in records)
        yield ""


def _bar(text: str) -> str:
    return text.replace("|", "\\|")


def _cell(text: str) -> str:
    return _plain(_bar(" ".join(text.split())))


def _plain(text: str) -> str:
    """Text in which nothing is taken for Markdown or HTML."""
    for sign in ("*", "_", "<", "[", "`"):
        text = text.replace(sign, "&lt;" if sign == "<" else f"\\{sign}")
    return text
