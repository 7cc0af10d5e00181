"""Groups of commands: in the order of definition, imported when needed, with a hint for misspelt names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from chinchilla_jax._util.errors import unknown_name


class OrderedGroup(click.Group):
    """A group that lists its commands in the order of definition; click sorts them by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of --help."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The name, the command, and the arguments for it; an unknown name is met with the nearest."""
        names = self.list_commands(ctx)
        if args[0] not in names and not ctx.resilient_parsing:
            raise unknown_name("command", args[0], names)
        return super().resolve_command(ctx, args)


class LazyGroup(OrderedGroup):
    """A group that imports a command when it is first needed.

    Args:
        modules: names of the commands; NAME is `NAME_command` in the module `NAME` of this package.
        settings: as for `click.Group`.
    """

    def __init__(self, *arguments: Any, modules: Sequence[str], **settings: Any) -> None:
        """Remember the names; nothing is imported."""
        super().__init__(*arguments, **settings)
        self._modules = tuple(modules)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of --help."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in self._modules:
            return None
        module = import_module(f"{__package__}.{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command
