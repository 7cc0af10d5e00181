"""A `StudySpec` from a TOML file: its types by pydantic, its meaning by `StudySpec` itself."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from chinchilla_jax.errors import UsageError, closest, short
from chinchilla_jax.study.checks import whole
from chinchilla_jax.study.spec import StudySpec

try:
    import pydantic
except ImportError as error:  # pragma: no cover - tested in an environment without pydantic
    raise ImportError(
        "reading a study's TOML file needs pydantic: pip install pydantic, or build the StudySpec in Python"
    ) from error

_RANGES = ("linspace", "logspace")


def _expand(value: object) -> object:
    """Numbers, with every table of a range replaced by its numbers; anything else is left to pydantic."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        return value
    found: list[object] = []
    for item in value:
        found.extend(_range(item) if isinstance(item, Mapping) else [item])
    return found


def _range(table: Mapping[str, object]) -> list[float]:
    kinds = [name for name in _RANGES if name in table]
    unknown = [name for name in table if name not in (*_RANGES, "negative")]
    negative = table.get("negative", False)
    ends = table[kinds[0]] if len(kinds) == 1 else None
    if (
        unknown
        or not isinstance(negative, bool)
        or not isinstance(ends, list)
        or len(ends) != 3
        or any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends)
    ):
        near = closest(unknown[0], (*_RANGES, "negative")) if unknown else None
        hint = f"did you mean {near!r}? " if near else ""
        raise ValueError(
            f"{hint}a range is {{logspace = [first, last, count]}} (exponents of ten) or "
            "{linspace = [...]}, with negative = true for the negatives"
        )
    try:
        count = whole("count", ends[2], low=1)
        if count > 100_000:
            raise UsageError(f"count: {count}; give at most 100,000")
    except UsageError as error:
        raise ValueError(str(error)) from None
    with np.errstate(over="ignore"):
        numbers = getattr(np, kinds[0])(float(ends[0]), float(ends[1]), count)
    return [-float(number) if negative else float(number) for number in numbers]


_Numbers = Annotated[list[float], pydantic.BeforeValidator(_expand)]


class _Model(pydantic.BaseModel):
    # Strict: TOML has types of its own, so "4000" for 4000 is a mistake and not a spelling.
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class _SweepModel(_Model):
    family: str
    values: _Numbers
    repeats: int = 1


class _StudyModel(_Model):
    """Types only; ranges and names are checked by `StudySpec`, once for TOML and Python."""

    data: str = ""
    interpretations: list[str] = []
    sweeps: list[_SweepModel] = []
    delta: float = 0.0
    solver: str = ""
    resamples: int = 0
    seed: int = 0
    levels: _Numbers = []
    flops: _Numbers = []
    drop_highest_loss: int = 0
    rounded: bool = True


def read_toml(path: str | os.PathLike[str]) -> StudySpec:
    """See `StudySpec.from_toml`."""
    where = os.fsdecode(path)
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{where}: {error.strerror or error}; give the path of a study's TOML file"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply to be a study's TOML file") from None
    try:
        model = _StudyModel.model_validate(raw)
    except pydantic.ValidationError as error:
        raise UsageError(f"{where}: {_first_problem(error)}") from None
    try:
        return StudySpec.from_dict(model.model_dump(exclude_unset=True))
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _first_problem(error: pydantic.ValidationError) -> str:
    """The first of pydantic's complaints in this project's words, and how many more there are."""
    # A misspelt field is often also a missing one; the misspelling says more.
    problems = sorted(
        error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden"
    )
    problem = problems[0]
    place = _place(problem["loc"])
    found = short(problem["input"])
    message = problem["msg"].replace("Input should be a valid", "give a").replace("a integer", "an integer")
    if problem["type"] == "extra_forbidden":
        model = _StudyModel if len(problem["loc"]) == 1 else _SweepModel
        allowed = list(model.model_fields)
        near = closest(str(problem["loc"][-1]), allowed)
        hint = f"; did you mean {near!r}?" if near else ";"
        text = f"unknown field {short(place)}{hint} allowed: {', '.join(allowed)}"
    elif problem["type"] == "missing":
        text = f"{place}: this field is missing; give it"
    elif problem["type"] == "value_error":
        text = f"{place}: {found}: {problem['ctx']['error']}"
    else:
        text = f"{place}: {found}; {message}"
    others = len(problems) - 1
    return text + (f" ({others} more problem{'s' * (others > 1)})" if others else "")


def _place(location: tuple[Any, ...]) -> str:
    """("sweeps", 0, "values", 2) as "sweeps[1].values[3]", counted from one as people do."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
