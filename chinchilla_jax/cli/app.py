"""The root command. Importing this imports click and nothing heavier; commands are imported when needed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from chinchilla_jax.cli.groups import LazyGroup

COMPLETE_VARIABLE = "_CHINCHILLA_JAX_COMPLETE"
# In the order of --help: about one table, about decisions, the rest.
COMMANDS = (
    "fit", "bootstrap", "study", "report", "coverage", "influence", "breakdown", "diagnose", "forms",
    "objectives", "multiverse", "wald", "compare", "predict", "backtest", "plan", "next", "inference",
    "isoflop", "flops", "progress", "datasets", "doctor",
)  # fmt: skip

_HELP = """Scaling laws with intervals: fit, bootstrap, stress, decide.

\b
First look:     chinchilla-jax fit chinchilla
Your own runs:  chinchilla-jax bootstrap runs.csv

Exit codes: 0 done, 1 something failed, 2 bad input or usage.
"""


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from chinchilla_jax import __version__

        click.echo(f"{context.info_name} {__version__}")
        context.exit()


def _show_completion(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell and not context.resilient_parsing:
        from click.shell_completion import get_completion_class

        kind = get_completion_class(shell)
        assert kind is not None, "the option allows the shells that click knows"
        click.echo(kind(context.command, {}, str(context.info_name), COMPLETE_VARIABLE).source())
        context.exit()


def complete(program: str, instruction: str) -> int:
    """Answer a shell that asks for completions, as click does; gives the exit code.

    Args:
        program: name of the program.
        instruction: the value of `COMPLETE_VARIABLE`, such as "bash_complete".
    """
    from click.shell_completion import shell_complete

    return shell_complete(chinchilla_jax_command, {}, program, COMPLETE_VARIABLE, instruction)


def run(program: str, arguments: Sequence[str]) -> int:
    """Parse the arguments and run the command that they name; gives the exit code.

    Args:
        program: name of the program.
        arguments: what follows it.

    Raises:
        click.ClickException: the arguments cannot be parsed.
    """
    # Not `Command.main`: it writes to stderr itself on Ctrl-C and exits by itself when stdout is closed.
    try:
        with chinchilla_jax_command.make_context(program, list(arguments)) as context:
            chinchilla_jax_command.invoke(context)
    except click.exceptions.Exit as end:  # --help and --version
        return end.exit_code
    return 0


@click.group(
    cls=LazyGroup,
    modules=COMMANDS,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"show_default": True},
    help=_HELP,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Print the version.",
)
@click.option(
    "--show-completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    is_eager=True,
    expose_value=False,
    callback=_show_completion,
    help="Print a completion script for this shell.",
)
@click.pass_context
def chinchilla_jax_command(context: click.Context) -> None:
    """Point to the commands if none is given."""
    if context.invoked_subcommand is None:
        context.fail(f"missing command; give one of: {', '.join(COMMANDS)}")
