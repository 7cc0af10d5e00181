"""What others may rely on, one line each, from the package as it is: names, signatures, commands and options.

    python tests/public_api.py      # writes tests/public/names.txt and tests/public/commands.txt

`docs/stability.md` says what is promised about them. A diff of these files is a change of the interface: a
line that is new needs a line in the changelog; one that is gone or different needs a deprecation first.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
FILES = {"names": HERE / "public" / "names.txt", "commands": HERE / "public" / "commands.txt"}
REMEDY = "if this change is meant, run `python tests/public_api.py`, and say it in CHANGELOG.md"


def modules() -> list[str]:
    """The public modules: those of the reference of the documentation."""
    source = (HERE.parent / "docs" / "_site" / "names.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODULES":
            return list(ast.literal_eval(node.value))
    raise LookupError("docs/_site/names.py has no MODULES")


def names() -> Iterator[str]:
    """A line for every public name, and for every public member of a public class of this package."""
    said: dict[int, str] = {}
    for module in modules():
        found = import_module(module)
        for name in sorted(found.__all__):
            path, value = f"{module}.{name}", getattr(found, name)
            if isinstance(value, ModuleType):
                yield f"{path}: module {value.__name__}"
            elif said.setdefault(id(value), path) != path:
                yield f"{path}: {said[id(value)]}"
            else:
                yield from of_value(path, value)


def of_value(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, types.UnionType):  # whose own name is another in Python 3.14
        yield f"{path}: {' | '.join(member.__name__ for member in value.__args__)}"
        return
    if not inspect.isclass(value):
        yield f"{path}{signature(value)}" if callable(value) else f"{path}: {type(value).__name__}"
        return
    if issubclass(value, BaseException):
        yield f"{path}({', '.join(base.__name__ for base in value.__bases__)})"
        return
    yield f"{path}{'' if issubclass(value, enum.Enum) else signature(value)}"
    if issubclass(value, enum.Enum):
        yield from (f"{path}.{member}" for member in value.__members__)
    shown = set(value.__members__) if issubclass(value, enum.Enum) else set()
    if dataclasses.is_dataclass(value):
        shown |= {field.name for field in dataclasses.fields(value)}
        yield from (
            f"{path}.{field.name}: {field.type}"
            for field in dataclasses.fields(value)
            if not field.name.startswith("_")
        )
    for name, member in sorted(inspect.getmembers_static(value)):
        if name.startswith("_") or name in shown or not is_own(value, name):
            continue
        yield f"{path}.{name}{of_member(member)}"


def is_own(value: type, name: str) -> bool:
    """Whether a member comes from a class of this package."""
    home = next((each for each in value.__mro__ if name in each.__dict__), value)
    return home.__module__.startswith("chinchilla_jax")


def of_member(member: Any) -> str:
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    return signature(member) if inspect.isfunction(member) else ""


def signature(value: Any) -> str:
    """Parameters with their defaults; annotations are for type checkers, and may be widened."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    bare = [
        each.replace(annotation=each.empty, default=default(each.default))
        for each in found.parameters.values()
    ]
    return str(inspect.Signature(bare))


class Shown:
    """A default as it is printed."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def default(value: Any) -> Any:
    if value is inspect.Parameter.empty:
        return value
    text = repr(value)
    return Shown(type(value).__name__ if re.search(r"0x[0-9a-f]{6}|<module", text) else text)


def commands() -> Iterator[str]:
    """A line for every command, argument and option."""
    import click

    from chinchilla_jax.cli.app import chinchilla_jax_command

    def of(command: click.Command, path: str) -> Iterator[str]:
        yield path
        context = click.Context(command, info_name=path)
        for parameter in command.params:
            options = " ".join([*parameter.opts, *parameter.secondary_opts])
            if isinstance(parameter, click.Option):
                yield f"{path} {options}{kind(parameter)}"
            else:
                yield f"{path} {parameter.name.upper()}{' (optional)' * (not parameter.required)}"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                yield from of(child, f"{path} {name}")

    def kind(option: click.Option) -> str:
        many = " (repeatable)" * option.multiple
        if option.is_flag:
            return many
        if isinstance(option.type, click.Choice):
            return f" {'|'.join(map(str, option.type.choices))}{many}"
        return f" {option.type.name}{many}"

    yield from of(chinchilla_jax_command, "chinchilla-jax")


def main() -> None:
    """Write both files."""
    for name, lines in (("names", names()), ("commands", commands())):
        FILES[name].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
