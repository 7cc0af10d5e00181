"""A law or an objective from the user's own Python code, named on the command line as FILE.py:NAME.

Only the command line leads here. Specs, study directories and tables may come from others, and so may name no
code: what executes a file is that its user typed the name.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from chinchilla_jax._util.errors import ChinchillaError, UsageError, closest, short
from chinchilla_jax._util.urls import is_url

_LONGEST_REASON = 160


def names_code(text: str) -> bool:
    """Whether `text` is of the form PLACE:NAME, and not one of a list of names."""
    return ":" in text


def load_own(option: str, text: str, kind: type, example: str) -> Any:
    """Execute the file or module that `text` names, and give the object of that name in it.

    Args:
        option: for messages, such as "--law".
        text: FILE.py:NAME or MODULE:NAME; modules are installed ones and, after these, those of the working
            directory.
        kind: what the object must be an instance of.
        example: how such an object is made, for messages.

    Raises:
        UsageError: one line that says what is wrong with the name, the file or the object.
    """
    what = f"{option} {short(text, 80)}"
    place, _, name = text.rpartition(":")
    if is_url(text):
        raise UsageError(f"{what}: code is not executed from a URL; save it, read it, and give the file")
    if not place or not name:
        raise UsageError(f"{what}: give FILE.py:NAME or MODULE:NAME")
    module = _executed(what, place)
    found: Any = getattr(module, name, None)
    if found is None:
        near = closest(name, (each for each in vars(module) if not each.startswith("_")))
        hint = f"did you mean {near!r}?" if near else f"define it there, such as {name} = {example}"
        raise UsageError(f"{what}: there is no {name} in {place}; {hint}")
    if not isinstance(found, kind):
        raise UsageError(f"{what}: {name} is {_described(found)}; give what {example} returns")
    return found


def _executed(what: str, place: str) -> ModuleType:
    """The module at `place`, with whatever goes wrong as one line."""
    if place.endswith(".py") or os.sep in place or "/" in place:
        path = Path(place).expanduser()
        if not path.is_file():
            raise UsageError(f"{what}: no such file; give FILE.py:NAME or MODULE:NAME")
        folder = str(path.resolve().parent)
        # A name of its own: a file called numpy.py must not take the place of that module.
        name = f"chinchilla_jax_own_{path.stem}"
        specification = importlib.util.spec_from_file_location(name, path)
        if specification is None or specification.loader is None:
            raise UsageError(f"{what}: not a Python file; give FILE.py:NAME")
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module  # which dataclasses and pickle look for
        with _one_line(what), _importing_from(folder):
            specification.loader.exec_module(module)
        return module
    if not all(part.isidentifier() for part in place.split(".")):
        raise UsageError(f"{what}: give FILE.py:NAME or MODULE:NAME")
    with _importing_from(os.getcwd()), _one_line(what):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise  # of something that the module imports
    raise UsageError(f"{what}: no module {place!r} is installed or in this folder; give FILE.py:NAME")


@contextlib.contextmanager
def _importing_from(folder: str) -> Iterator[None]:
    """Let imports find modules in `folder`, after all others, which they cannot hide."""
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # a file may well end in sys.exit
        if isinstance(error, ChinchillaError):
            reason = str(error)
        else:
            said = " ".join(traceback.format_exception_only(error)[-1].split())
            reason = said if len(said) <= _LONGEST_REASON else f"{said[: _LONGEST_REASON - 3]}..."
        raise UsageError(f"{what}: {_line(error)}{reason}") from None


def _line(error: BaseException) -> str:
    """Where in the user's file it was raised, such as "line 3: "."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = {__file__, importlib.__file__, contextlib.__file__}
    own = [each for each in frames if each.filename not in ours and not each.filename.startswith("<")]
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"line {error.lineno}: "
    return f"line {own[0].lineno}: " if own else ""


def _described(found: object) -> str:
    if isinstance(found, type):
        return f"the class {found.__name__}"
    return "a function" if callable(found) else f"{short(found)}"
