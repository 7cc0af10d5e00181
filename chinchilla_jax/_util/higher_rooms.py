"""Methods whose body lies in a higher room, which the room of their class may not import.

`fit.plot()` is what `plots.fit(fit)` does, and `fitting/` is far below `plots/`. Such a method is declared
where its class is, with its signature and its docstring, and its body is found when it is called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

TARGETS: dict[str, tuple[str, str]] = {}
"""What has been declared: the target of each method, by "module:Class.method"."""


def written_in(room: str, name: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Declare that the body of a method is a function of a higher room, which takes the object first.

    Args:
        room: the package, such as "chinchilla_jax.plots".
        name: a public function of it, with the parameters of the method after its first one.
    """

    def declare(method: Callable[_P, _T]) -> Callable[_P, _T]:
        TARGETS[f"{method.__module__}:{method.__qualname__}"] = (room, name)

        @functools.wraps(method)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            body: Callable[_P, _T] = getattr(import_module(room), name)
            return body(*args, **kwargs)

        return call

    return declare
