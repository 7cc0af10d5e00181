"""Public names of a package, each imported from its module when it is first used (PEP 562).

The names are written once, in the package's `__init__.pyi`, which type checkers and editors read as well.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(package: str, *eager: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """A package's `__getattr__`, `__dir__` and `__all__`, from the imports in its `__init__.pyi`.

    Args:
        package: its `__name__`.
        eager: public names that the package defines itself.
    """
    module = sys.modules[package]
    stub = Path(str(module.__file__)).with_suffix(".pyi")
    home: dict[str, tuple[str, str | None]] = {}
    nodes = ast.parse(stub.read_text(encoding="utf-8")).body
    for node in (node for node in nodes if isinstance(node, ast.ImportFrom)):
        for alias in node.names:
            # "from . import room as room": the room itself is public.
            room = node.module is None
            source = (f"{package}.{alias.name}", None) if room else (str(node.module), alias.name)
            home[alias.asname or alias.name] = source

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        source, original = home[name]
        value = import_module(source) if original is None else getattr(import_module(source), original)
        setattr(module, name, value)
        return value

    public = sorted([*eager, *home])
    return get, lambda: public, public
