"""Results as JSON and arrays, and back: `save` of fits and bootstraps, and what `load` reads.

A value is written as its class and fields. A class is read only if the reader names it. Laws and objectives
from functions of the user's own are written as what they are called and the fingerprint of their function,
which the reader must give: a file never brings code.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.saved_file import Arrays, write_saved
from chinchilla_jax.laws import LAWS, Law, OwnLaw, OwnObjective
from chinchilla_jax.laws.fingerprint import Fingerprint


def save(value: object, path: str | os.PathLike[str]) -> Path:
    """Write a result to one file, see _util/saved_file.py.

    Raises:
        UsageError: the file cannot be written, or the law is a class that is not built in.
    """
    arrays: Arrays = {}
    return write_saved(path, _plain(value, "result", arrays), arrays)


def _plain(value: Any, name: str, arrays: Arrays) -> Any:
    """`value` as JSON can hold it; its arrays are put into `arrays`."""
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return str(value) if isinstance(value, str) else value
    if isinstance(value, enum.Enum):
        return {"enum": type(value).__name__, "name": value.name}
    if isinstance(value, np.generic):
        return _plain(value.item(), name, arrays)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.ndarray):
        return _plain_array(value, name, arrays)
    if isinstance(value, tuple | list):
        items = [_plain(each, f"{name}.{number}", arrays) for number, each in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        return {"map": [[key, _plain(each, f"{name}.{key}", arrays)] for key, each in value.items()]}
    if isinstance(value, OwnLaw):
        return {"own_law": value.to_dict()}
    if isinstance(value, OwnObjective):
        settings = {"scale": value.scale, "automatic": value.automatic}
        return {"own_objective": value.name, "fingerprint": objective_fingerprint(value), **settings}
    if isinstance(value, Law) and type(value) is not LAWS.get(value.name):
        raise UsageError(
            f"law {value.name} is a class of your own, which cannot be saved; make it with laws.from_function"
        )
    if hasattr(value, "__array__"):  # such as a Series of labels
        return _plain_array(np.asarray(value), name, arrays)
    kind = type(value)
    if kind.__module__.partition(".")[0] != __name__.partition(".")[0]:
        raise UsageError(f"{kind.__name__} is a class of your own, which cannot be saved; use a built-in one")
    names = [each.name for each in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    fields = {each: _plain(getattr(value, each), f"{name}.{each}", arrays) for each in names}
    return {"class": kind.__name__, "fields": fields}


def _plain_array(array: NDArray[Any], name: str, arrays: Arrays) -> Any:
    if array.ndim == 0:
        return _plain(array.item(), name, arrays)
    if array.dtype.kind not in "biufU":
        return _plain(array.tolist(), name, arrays)
    arrays[name] = array
    return {"array": name}


def objective_fingerprint(objective: OwnObjective) -> str:
    """What the function of an objective is, 32 hex digits."""
    return Fingerprint(f"objective {objective.name}", type(objective).recipe[0]).digits


class Reader:
    """Values from what `save` wrote.

    Args:
        kinds: the classes that may be read, by name.
        arrays: by name.
        law: where the file names a law of the user's own.
        objective: where it names an objective of his own.
    """

    def __init__(
        self,
        kinds: Mapping[str, type],
        arrays: Arrays,
        law: Law | None = None,
        objective: OwnObjective | None = None,
    ) -> None:
        """Keep them."""
        self._kinds, self._arrays, self._law, self._objective = kinds, arrays, law, objective
        self._used: set[str] = set()

    def value(self, plain: Any) -> Any:
        """The value.

        Raises:
            UsageError: the law or the objective is a function of the user's own, and another one is given, or
                none.
            KeyError, TypeError, ValueError: this is not what `save` writes.
        """
        if isinstance(plain, list):
            return [self.value(each) for each in plain]
        if not isinstance(plain, dict):
            return plain
        if "array" in plain:
            return self._arrays[plain["array"]]
        if "tuple" in plain:
            return tuple(self.value(each) for each in plain["tuple"])
        if "map" in plain:
            return {key: self.value(each) for key, each in plain["map"]}
        if "float" in plain:
            return float(plain["float"])
        if "enum" in plain:
            return self._kinds[plain["enum"]][plain["name"]]  # type: ignore[index]
        if "own_law" in plain:
            return self._own_law(plain["own_law"])
        if "own_objective" in plain:
            return self._own_objective(plain)
        kind = self._kinds[plain["class"]]
        return kind(**{name: self.value(each) for name, each in plain["fields"].items()})

    def require_used(self) -> None:
        """Refuse a law or an objective that the file did not ask for.

        Raises:
            UsageError: one was given for nothing.
        """
        for name, given in (("law", self._law), ("objective", self._objective)):
            if given is not None and name not in self._used:
                raise UsageError(f"it holds no {name} of your own; leave out {name}=")

    def _own_law(self, saved: Mapping[str, Any]) -> Law:
        name = saved["name"]
        self._used.add("law")
        if self._law is None:
            raise UsageError(
                f"law {name} is a function of your own, which no file holds; give it: law={name}"
            )
        if not isinstance(self._law, OwnLaw) or self._law.fingerprint != saved["fingerprint"]:
            raise UsageError(
                f"law {name} was saved with another function than that of law={short(self._law)}; give "
                "the same"
            )
        return self._law

    def _own_objective(self, saved: Mapping[str, Any]) -> OwnObjective:
        name, given = saved["own_objective"], self._objective
        self._used.add("objective")
        if given is None:
            raise UsageError(
                f"objective {name} is a function of your own, which no file holds; give it: objective={name}"
            )
        if not isinstance(given, OwnObjective) or objective_fingerprint(given) != saved["fingerprint"]:
            raise UsageError(
                f"objective {name} was saved with another function than that of objective={short(given)}; "
                "give the same"
            )
        return dataclasses.replace(given, scale=saved["scale"], automatic=saved["automatic"])
