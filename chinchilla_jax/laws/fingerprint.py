"""What a user's function is, as a few hex digits: its code and everything that it reads.

The bytecode counts, as it is what runs: comments, layout and docstrings change nothing, another version of
Python does. So do constants, defaults, what the function closes over, and the globals that it names, further
functions of the user's own among them. Of modules of his own, what the function names counts; of installed
packages, the name alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chinchilla_jax._util.errors import UsageError

_DIGITS = 32
_PACKAGE = __name__.partition(".")[0]
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))


class Fingerprint:
    """The fingerprint of values, functions among them.

    Attributes:
        modules: those of the user's own that functions lead to.

    Raises:
        UsageError: there is something in it that no fingerprint can be taken of, such as an open file.
    """

    def __init__(self, what: str, *values: Any) -> None:
        """Look at everything.

        Args:
            what: for messages, such as "law mine".
            values: of which the fingerprint is.
        """
        self.modules: dict[str, types.ModuleType] = {}
        self._what, self._digest = what, hashlib.sha256()
        self._seen: dict[int, tuple[int, Any]] = {}
        for value in values:
            self._add(value)

    @property
    def digits(self) -> str:
        """The fingerprint, 32 hex digits."""
        return self._digest.hexdigest()[:_DIGITS]

    def _say(self, *parts: object) -> None:
        self._digest.update("\x1f".join(map(str, parts)).encode() + b"\x1e")

    def _add(self, value: Any) -> None:
        if isinstance(value, _PLAIN):
            self._say(type(value).__name__, repr(value))
        elif id(value) in self._seen:
            self._say("again", self._seen[id(value)][0])
        else:
            self._seen[id(value)] = len(self._seen), value  # kept, so that no other value gets its id
            self._add_new(value)

    def _add_new(self, value: Any) -> None:
        if isinstance(value, types.CodeType):
            self._add_code(value, "")
        elif isinstance(value, types.ModuleType):
            self._add_module(value, vars(value))
        elif isinstance(value, types.MethodType):
            self._add_each("method", [value.__func__, value.__self__])
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, functools.partial):
            self._add_each("partial", [value.func, value.args, value.keywords])
        elif isinstance(value, Mapping):
            self._add_each("mapping", [each for item in value.items() for each in item])
        elif isinstance(value, set | frozenset):
            self._add_each("set", sorted(value, key=repr))
        elif isinstance(value, Sequence):
            self._add_each(type(value).__name__, value)
        elif isinstance(value, type):
            self._add_class(value)
        elif (wrapped := getattr(value, "__wrapped__", None)) is not None:  # by jax.jit or functools.cache
            self._add_each(type(value).__qualname__, [wrapped])
        elif hasattr(value, "__array__"):
            array = np.asarray(value)
            if array.dtype.hasobject:
                self._add_each(f"objects {array.shape}", array.ravel().tolist())
            else:
                self._say(array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest())
        elif is_installed(name := getattr(value, "__module__", None)) and hasattr(value, "__qualname__"):
            self._say(name, value.__qualname__)
        elif hasattr(value, "__dict__"):
            self._add_each("instance", [type(value), vars(value)])
        else:
            raise UsageError(
                f"{self._what}: its function depends on a {type(value).__name__}, of which nothing tells "
                "whether it is the same in another process; let it depend on functions, numbers and arrays"
            )

    def _add_each(self, kind: str, values: Sequence[Any]) -> None:
        self._say(kind, len(values))
        for value in values:
            self._add(value)

    def _add_function(self, function: types.FunctionType) -> None:
        if is_installed(function.__module__):
            self._say(function.__module__, function.__qualname__)
            return
        module = sys.modules.get(function.__module__)
        if module is not None:
            self.modules[function.__module__] = module
        self._add_code(function.__code__, function.__doc__)
        self._add_each("defaults", [function.__defaults__, function.__kwdefaults__])
        self._add_each("closure", [_content(cell) for cell in function.__closure__ or ()])
        names = set(_names(function.__code__))
        for name in sorted(names & function.__globals__.keys()):
            self._say("global", name)
            self._add_named(function.__globals__[name], names)

    def _add_code(self, code: types.CodeType, doc: str | None) -> None:
        self._say(
            "code", code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, code.co_flags
        )
        constants = code.co_consts
        self._add_each("constants", constants[1:] if constants[:1] == (doc,) else constants)

    def _add_class(self, kind: type) -> None:
        self._say("class", kind.__module__, kind.__qualname__)
        if not is_installed(kind.__module__):
            kept = {
                name: each for name, each in vars(kind).items() if inspect.isroutine(each) or name[:2] != "__"
            }
            self._add_each("bases and members", [kind.__bases__, kept])

    def _add_module(
        self, module: types.ModuleType, names: Collection[str], above: tuple[str, ...] = ()
    ) -> None:
        """What a function that names these may read of the module."""
        self._say("module", module.__name__)
        if is_installed(module.__name__) or module.__name__ in above:
            return
        self.modules[module.__name__] = module
        for name in sorted(names):
            if hasattr(module, name):
                self._say("attribute", name)
                self._add_named(getattr(module, name), names, (*above, module.__name__))

    def _add_named(self, value: Any, names: Collection[str], above: tuple[str, ...] = ()) -> None:
        if isinstance(value, types.ModuleType):
            self._add_module(value, names, above)
        else:
            self._add(value)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _names(code: types.CodeType) -> Iterator[str]:
    """Names that a function or one inside it may read from its module."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


@functools.cache
def is_installed(name: str | None) -> bool:
    """Whether the module of this name is part of Python, of an installed package or of this one."""
    if name is None:
        return False
    top = name.partition(".")[0]
    if top == _PACKAGE or top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return True
    place: str | None = getattr(sys.modules.get(top), "__file__", None)
    return place is not None and is_installed_file(place)


@functools.cache
def is_installed_file(name: str) -> bool:
    """Whether a file of Python code is part of Python, of an installed package or of this one."""
    parents = Path(name).resolve().parents
    found = (sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib", "platstdlib"))
    folders = [Path(folder) for folder in found if folder] + [Path(__file__).parent.parent]
    return any(folder.resolve() in parents for folder in folders) or any(
        parent.name in ("site-packages", "dist-packages") for parent in parents
    )


def pickled_with(modules: Mapping[str, types.ModuleType], value: Any) -> bytes | None:
    """`value` as a pickle that holds the code of these modules itself; None without cloudpickle.

    Raises:
        UsageError: it cannot be pickled.
    """
    try:
        import cloudpickle
    except ImportError:
        return None
    known = cloudpickle.list_registry_pickle_by_value()
    added = [each for name, each in modules.items() if name != "__main__" and name not in known]
    with contextlib.ExitStack() as stack:
        for module in added:
            cloudpickle.register_pickle_by_value(module)
            stack.callback(cloudpickle.unregister_pickle_by_value, module)
        try:
            return bytes(cloudpickle.dumps(value))
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:120]
            raise UsageError(f"a function cannot be sent to another process ({said})") from None
