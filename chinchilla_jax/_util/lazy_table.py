"""Objects by name, each imported when it is first asked for: the names alone load nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TypeVar

_T = TypeVar("_T")


class LazyTable(Mapping[str, _T]):
    """A mapping from names to objects, which are given by where they are."""

    def __init__(self, homes: Mapping[str, str]) -> None:
        """By name: "package.module:object"."""
        self._homes = dict(homes)
        self._found: dict[str, _T] = {}

    def __getitem__(self, name: str) -> _T:
        if name not in self._found:
            module, _, attribute = self._homes[name].partition(":")
            self._found[name] = getattr(import_module(module), attribute)
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._homes!r})"
