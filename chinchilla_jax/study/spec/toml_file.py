"""A spec as a TOML file: reading it with the lines of its fields, and writing it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.directories import LocalDirectory, open_file
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import visible

_LONGEST_LINE = 100
_LONGEST_REASON = 200
_MOST_BYTES = 4 * 2**20


class TomlFile:
    """A TOML file that was read.

    Attributes:
        name: the path or URL, as it was given.
        fields: what is in it.

    Raises:
        UsageError: the file cannot be read, or is not TOML.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read and parse."""
        import tomllib  # which the paper study does without

        self.name = os.fsdecode(path)
        try:
            self._text = _content(self.name).decode("utf-8")
        except OSError as error:
            raise UsageError(
                f"{self.name}: {error.strerror or error}; give the path of a study's TOML file"
            ) from None
        except UnicodeDecodeError as error:
            raise UsageError(f"{self.name}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
        try:
            self.fields: dict[str, Any] = tomllib.loads(self._text)
        except ValueError as error:  # TOML's own, and that of an integer of 5,000 digits
            raise UsageError(f"{self.name}: not TOML: {_one_line(str(error))}") from None
        except RecursionError:
            raise UsageError(f"{self.name}: nested too deeply to be a study's TOML file") from None

    def locate(self, place: tuple[str | int, ...]) -> str:
        """The file and the line of a field, such as "study.toml: line 7: ".

        Args:
            place: keys and indices that lead to the field, such as ("sweeps", 1, "values").

        Returns:
            Without the line where the file's layout does not show it.
        """
        line = self._line(place)
        return f"{self.name}: " if line is None else f"{self.name}: line {line}: "

    def _line(self, place: tuple[str | int, ...]) -> int | None:
        lines = self._text.splitlines()
        first, last = 0, next((i for i, line in enumerate(lines) if re.match(r"\s*\[", line)), len(lines))
        key = place[0] if place else None
        index = place[1] if len(place) > 1 else None
        in_sweep = key == "sweeps" and isinstance(index, int)
        if isinstance(index, int) and in_sweep:
            heads = [i for i, line in enumerate(lines) if re.match(r"\s*\[\[\s*sweeps\s*\]\]", line)]
            if index >= len(heads):
                return None
            first, last = heads[index], (*heads, len(lines))[index + 1]
            key = place[2] if len(place) > 2 else None
        for number in range(first, last):
            if key is not None and re.match(rf"""\s*["']?{re.escape(str(key))}["']?\s*=""", lines[number]):
                return number + 1
        return first + 1 if in_sweep else None


def _content(path: str) -> bytes:
    folder, name = open_file(path)
    if isinstance(folder, LocalDirectory):
        with open(folder.path / name, "rb") as file:  # which may have no end, as /dev/zero
            content = file.read(_MOST_BYTES + 1)
    else:
        content = folder.read(name)
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{path}: more than {_MOST_BYTES >> 20} MiB, too large for a study's TOML file")
    return content


def _one_line(text: str) -> str:
    line = visible(" ".join(text.split()))
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."


def toml_assignments(fields: Mapping[str, Any]) -> list[str]:
    """Lines "name = value"; a None, for which TOML has no spelling, is left out."""
    return [f"{name} = {toml_value(value)}" for name, value in fields.items() if value is not None]


def toml_value(value: Any) -> str:
    """A boolean, number, string, list or mapping as TOML; long lists take several lines."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        inside = [toml_value(item) for item in value]
        line = f"[{', '.join(inside)}]"
        if len(line) <= _LONGEST_LINE:
            return line
        rows = [", ".join(inside[i : i + 4]) for i in range(0, len(inside), 4)]
        return "[\n" + "".join(f"    {row},\n" for row in rows) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(toml_assignments(value)) + "}"
    if isinstance(value, str):
        # JSON strings are TOML basic strings, except for DEL, which TOML requires to be escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
