"""A digest of what the kernel computes, by which a test sees that kernel.ll.xz is out of date.

It covers the syntax trees of the sources that are compiled, and the values of the constants they import from
the rest of the package. Comments, docstrings, formatting, and where a constant is defined do not count. Only
the generator and the tests use it: at run time the shipped kernel is taken as it is.
"""

from __future__ import annotations

import ast
import enum
import hashlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
# What only runs in Python: when the kernel is used, and (this file and generate.py) when it is made.
_NOT_COMPILED = {
    "__init__", "building", "engine", "fingerprint", "generate", "kernel", "loading", "many_calls",
    "object_code", "self_test",
}  # fmt: skip
_PACKAGE = __name__.split(".")[0]
_KERNEL = __name__.rpartition(".")[0]


def fingerprint(folder: Path = HERE) -> str:
    """Digest of the kernel's sources in `folder` and of the constants they import."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in folder.glob("*.py")
        if path.stem not in _NOT_COMPILED
    ]
    constants = sorted({line for tree in trees for line in _imported_constants(tree)})
    code = sorted(hashlib.sha256(_meaning(tree).encode()).hexdigest() for tree in trees)
    return hashlib.sha256("\n".join(constants + code).encode()).hexdigest()


def _imported_constants(tree: ast.Module) -> Iterator[str]:
    """`name = value` of everything that a source imports from this package outside the kernel."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        origin = node.module or ""
        if origin.startswith(f"{_PACKAGE}.") and not f"{origin}.".startswith(f"{_KERNEL}."):
            module = importlib.import_module(origin)
            for alias in node.names:
                yield f"{alias.name} = {_constant(alias.name, getattr(module, alias.name))}"


def _constant(name: str, value: Any) -> str:
    if isinstance(value, enum.EnumType):
        members: Any = value
        return repr({member.name: int(member) for member in members})
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(type(number) in (int, float) for number in numbers):
        raise TypeError(f"the kernel imports {name}, which is not a constant: its code would not be covered")
    return repr(value)


def _meaning(node: Any) -> str:
    """The syntax tree as text, the same in every version of Python; without imports and docstrings."""
    if isinstance(node, list):
        return f"[{','.join(map(_meaning, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = []
    for field, value in ast.iter_fields(node):
        if field == "body" and isinstance(value, list):
            value = [statement for statement in value if not _says_nothing(statement)]
        if value is not None and value != []:  # versions differ in the empty fields they have
            parts.append(f"{field}={_meaning(value)}")
    return f"{type(node).__name__}({','.join(parts)})"


def _says_nothing(statement: ast.stmt) -> bool:
    """Whether it is an import or a lone constant, such as a docstring."""
    lone = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return lone or isinstance(statement, (ast.Import, ast.ImportFrom))
