"""The packages that this one asks for, as its metadata has them, and whether they are installed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

PACKAGE = "chinchilla-jax"
DEVELOPERS = frozenset(("benchmarks", "browser", "dev", "docs", "test"))
"""Extras for work on the project, not for its use."""
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)\s*(?:\[(?P<extras>[^]]*)\])?[^;]*(?:;.*\bextra\s*==\s*['\"](?P<extra>[\w.-]+)['\"])?"
)


@dataclasses.dataclass(frozen=True)
class Required:
    """A package.

    Attributes:
        name: of the distribution.
        extra: that asks for it; "" where every installation does.
        installed: whether it is there, in whatever version.
    """

    name: str
    extra: str
    installed: bool


def required() -> list[Required]:
    """What the package asks for, the extras of its users included, each name once.

    Empty where the code runs from a checkout that was never installed, so that there is no metadata.
    """
    found: dict[str, str] = {}
    for name, within, extra in _parsed(_requires(PACKAGE)):
        if extra in DEVELOPERS:
            continue
        found.setdefault(name, extra)
        if within:  # jax[tpu]: what jax asks for under tpu
            for each, _, its in _parsed(_requires(name)):
                if its in within:
                    found.setdefault(each, extra)
    return [Required(name, extra, _installed(name)) for name, extra in found.items()]


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, set[str], str]]:
    """Of each requirement the name, the extras in its brackets, and the extra that asks for it."""
    for match in filter(None, map(_REQUIREMENT.match, lines)):
        yield match["name"], set(re.findall(r"[\w.-]+", match["extras"] or "")), match["extra"] or ""


def _requires(name: str) -> list[str]:
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def _installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
