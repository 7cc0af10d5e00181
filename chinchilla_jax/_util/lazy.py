"""Public names of a package, each imported from its module when it is first used (PEP 562).

The names are written once, in the package's `__init__.pyi`, which type checkers and editors read as well.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import import_module

# As the formatter writes them: one name in each statement, in parentheses where the line is too long.
_IMPORT = re.compile(r"^from (\S+) import (?:\(\s+)?(\w+)(?: as (\w+))?", re.MULTILINE)


def lazy_names(
    package: str, *eager: str
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """A package's `__getattr__`, `__dir__` and `__all__`, from the imports in its `__init__.pyi`.

    Args:
        package: its `__name__`.
        eager: public names that the package defines itself.
    """
    # Every start of the command line comes through here: no parser, no pathlib, no typing.
    module = sys.modules[package]
    with open(f"{str(module.__file__).rpartition('.')[0]}.pyi", encoding="utf-8") as stub:
        text = stub.read()
    home: dict[str, tuple[str, str | None]] = {}
    for source, name, alias in _IMPORT.findall(text):
        # "from . import room as room": the room itself is public.
        home[alias or name] = (f"{package}.{name}", None) if source == "." else (source, name)

    def get(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        source, original = home[name]
        value = import_module(source) if original is None else getattr(import_module(source), original)
        setattr(module, name, value)
        return value

    public = sorted([*eager, *home])
    return get, lambda: public, public
