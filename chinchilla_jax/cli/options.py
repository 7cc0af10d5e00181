"""Options that commands of every kind share, each declared once, and how options are bundled.

Options about the table are in `table_options.py`, about a fit in `fit_options.py`, and about the laws behind
a decision in `law_source.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax._util.limits import RESAMPLES
from chinchilla_jax.cli import choices, output
from chinchilla_jax.cli.ending import say_if_interrupted

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]


def bundle(name: str, make: Callable[..., Any], options: Mapping[str, Decorator[Any]]) -> Decorator[Any]:
    """A decorator that adds `options` and passes their values on as one argument.

    Args:
        name: the argument of the command.
        make: called with the values of the options by name; its result is the argument.
        options: click decorators by the name of the value that each gives.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**values: Any) -> Any:
            own = {each: values.pop(each) for each in options}
            return command(**values, **{name: make(**own)})

        decorated: Any = run
        for option in reversed(list(options.values())):
            decorated = option(decorated)
        return decorated

    return decorate


def refuse_options(unused: Callable[[str], bool], why: str) -> None:
    """Refuse what is given and would change nothing; `unused` is asked by the name of the parameter."""
    context = click.get_current_context()
    for each in context.command.params:
        name = str(each.name)
        if unused(name) and context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            what = each.opts[0] if isinstance(each, click.Option) else "DATA"
            raise UsageError(f"{what}: {why}")


def comma_names(parameter: click.Parameter, given: Sequence[str], remedy: str) -> tuple[str, ...]:
    """The names in texts such as "params,tokens", given once or several times.

    Raises:
        UsageError: a name is empty; `remedy` says what to give.
    """
    names = tuple(name.strip() for text in given for name in text.split(","))
    if not all(names):
        raise UsageError(f"{parameter.opts[0]} {','.join(given)!r}: {remedy}")
    return names


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def out_option(what: str) -> Decorator[Any]:
    """The option --out of a long command, which resumes from what the directory holds.

    Ctrl-C says what is kept.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*, out: str | None, **values: Any) -> Any:
            kept = (
                "interrupted; nothing is kept, give --out DIR to resume another time"
                if out is None
                else f"interrupted; what is finished is kept in {shown_place(out)}; the same command resumes"
            )
            say_if_interrupted(kept)
            try:
                return command(**values, out=out)
            except KeyboardInterrupt:
                raise ChinchillaError(kept) from None

        decorated: Any = click.option(
            "--out", metavar="DIR", help=f"Keep {what} in DIR, a path or URL, and resume from there."
        )(run)
        return decorated

    return decorate


def shown_place(place: str) -> str:
    """A path or URL as it may be printed, without what gives access."""
    from chinchilla_jax._util.urls import is_url, without_secrets

    return without_secrets(place) if is_url(place) else place


def quiet_option(command: Command) -> Command:
    """--quiet: the command shows no progress and prints no text; JSON and errors stay."""

    @functools.wraps(command)
    def run(*, quiet: bool, **values: Any) -> Any:
        with output.quietly(quiet):
            return command(**values)

    option = click.option(
        "--quiet", "-q", is_flag=True, help="No progress and no text; only --json and errors."
    )
    decorated: Any = option(run)
    return decorated


def output_options(command: Command) -> Command:
    """--json and --quiet."""
    decorated: Any = json_option(quiet_option(command))
    return decorated


def resamples_option(default: int = 4000, help: str = "Number of bootstrap resamples.") -> Decorator[Any]:
    """The option --resamples."""
    return click.option(
        "--resamples", type=choices.WholeNumber(2, RESAMPLES), metavar="R", default=default, help=help
    )


def seed_option(help: str = "Seed of the resamples.") -> Decorator[Any]:
    """The option --seed."""
    return click.option("--seed", type=choices.WholeNumber(), metavar="S", default=0, help=help)


level_option = click.option(
    "--level", type=choices.PROBABILITY, metavar="P", default=0.8, help="Probability of the intervals."
)

boundary_option = click.option(
    "--boundary",
    type=choices.Name(choices.BOUNDARIES),
    metavar="NAME",
    default="keep",
    help="Resamples whose best E is 0: keep counts them in the intervals, drop leaves them out.",
)


USUAL_BUDGET = "5.76e23 for chinchilla, else the largest run"


def flops_option(
    help: str, default: Sequence[str] = (), *, at_several: str = "", show_default: str | bool | None = None
) -> Decorator[Any]:
    """The option --flops, repeatable.

    Args:
        help: what is done at these budgets.
        default: budgets (FLOP) as the help shows them.
        at_several: what several of them mean, where the help needs to say it.
        show_default: the budget that is taken where none is given, in words.
    """
    return click.option(
        "--flops",
        type=choices.POSITIVE,
        metavar="C",
        multiple=True,
        default=tuple(default) or None,
        show_default=show_default,
        help=f"{help}; repeatable{f': {at_several}' if at_several else ''}.",
    )
