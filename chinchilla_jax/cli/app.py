"""The commands, and what they have in common. Importing this imports typer and nothing heavier."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from chinchilla_jax.cli.values import take_plain_values

# In the order of --help: those about one table, about decisions, and the rest. Each is a module of this
# folder with a function NAME_command, or with `app`, a group of commands.
COMMANDS = (
    "fit", "bootstrap", "study", "report", "coverage", "breakdown", "diagnose", "forms", "objectives", "wald",
    "plan", "inference", "isoflop", "flops", "progress", "datasets", "doctor",
)  # fmt: skip


# Rich's help doubles the time that --help takes (0.32 s against 0.15 s).
_PLAIN_HELP: dict[str, Any] = {"rich_markup_mode": None}


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported and made when it is first looked up: a run needs one of them."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return _made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**(settings | {"commands": _Commands()}))


def build() -> Any:
    """The command line as a command of the parser: to be called, or asked for its `commands`."""
    app = typer.Typer(cls=_Group, pretty_exceptions_enable=False, **_PLAIN_HELP)
    app.callback(invoke_without_command=True)(_start)
    return take_plain_values(typer.main.get_command(app))


@functools.cache
def _made(name: str) -> Any:
    module = import_module(f"{__package__}.{name}")
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False, **_PLAIN_HELP)
        group.command()(getattr(module, f"{name}_command"))
    for each in group.registered_commands:
        each.callback = _with_quiet(each.callback)
    command = typer.main.get_command(group)
    command.name = name
    return take_plain_values(command)


def _with_quiet(command: Any) -> Callable[..., None]:
    """The command with an option --quiet: no progress, no text; --json and errors are printed still."""
    from chinchilla_jax._util.progress_bar import silenced
    from chinchilla_jax.cli import output

    kind = Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no text; errors and --json stay.")
    ]

    @functools.wraps(command)
    def run(*arguments: Any, quiet: bool = False, **given: Any) -> None:
        with output.quietly(quiet), silenced(quiet):
            command(*arguments, **given)

    # The annotations as values: as text they would be looked up in this module.
    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()} | {
        "quiet": kind
    }
    return run


def parser_error() -> type[typer.BadParameter]:
    """The base of what the parser raises about arguments (click's `ClickException`).

    Newer versions of typer keep their click to themselves, older ones import it; a public subclass leads to
    the class in both.
    """
    return next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _show_version(wanted: bool) -> None:
    if wanted:
        from chinchilla_jax import __version__

        typer.echo(f"chinchilla-jax {__version__}")
        raise typer.Exit()


def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Scaling laws with intervals: fit, bootstrap, stress, decide.

    A first look: chinchilla-jax fit chinchilla. A table of your own: chinchilla-jax bootstrap runs.csv.

    Exit codes: 0 done, 1 something failed, 2 bad input or usage.
    """
    if context.invoked_subcommand is None:
        context.fail("missing command; give one of: " + ", ".join(COMMANDS))
