"""The reference of the public names, from the files that list them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import ModuleType

import griffe

MODULES = {
    "chinchilla_jax": ("cj", "Reading, fitting, resampling, deciding"),
    "chinchilla_jax.laws": ("cj.laws", "Laws and objectives"),
    "chinchilla_jax.planning": ("cj.decide", "What to train"),
    "chinchilla_jax.planning.design": ("cj.decide.design", "Which runs to train next"),
    "chinchilla_jax.plots": ("cj.plots", "Figures and their tables"),
    "chinchilla_jax.analysis": ("chinchilla_jax.analysis", "How far to trust an answer"),
    "chinchilla_jax.perturbations": ("chinchilla_jax.perturbations", "What if counts are wrong"),
}
_INDEX = """\
# Python

`import chinchilla_jax as cj` is cheap; what a name needs is loaded when it is used.

| module | what it has |
|---|---|
"""
_NAME = """\
::: {path}
    options:
      heading: "{short}.{name}"
      toc_label: "{name}"

"""
_AGAIN = """\
### {short}.{name}

The same as [`{path}`][{path}].

"""


def pages() -> Iterator[tuple[str, str]]:
    """Name and Markdown of the page of every module."""
    rows = (f"| [`{short}`]({_file(module)}.md) | {title} |\n" for module, (short, title) in MODULES.items())
    yield "index", _INDEX + "".join(rows)
    documented: set[str] = set()
    for module, (short, title) in MODULES.items():
        text = f"# {short}\n\n{title}: the names of `{module}`.\n\n"
        for name in public_names(module):
            path = where(module, name)
            text += (_AGAIN if path in documented else _NAME).format(path=path, short=short, name=name)
            documented.add(path)
        yield _file(module), text


def _file(module: str) -> str:
    return module.rpartition(".")[2]


def public_names(module: str) -> list[str]:
    """The public names of a module, modules and the version not among them."""
    found = import_module(module)
    names = (name for name in found.__all__ if name != "__version__")
    return [name for name in names if not isinstance(getattr(found, name), ModuleType)]


def where(module: str, name: str) -> str:
    """The path of a name where its source is."""
    found = _package()[f"{module}.{name}".removeprefix("chinchilla_jax.")]
    return str(found.final_target.path if found.is_alias else found.path)


@cache
def _package() -> griffe.Object | griffe.Alias:
    return griffe.load("chinchilla_jax", resolve_aliases=True)
