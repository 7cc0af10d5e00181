"""A `StudySpec` from a TOML file: its types by pydantic, its meaning by `StudySpec` itself."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, closest, short
from chinchilla_jax.study.checks import whole
from chinchilla_jax.study.spec import FAMILIES, StudySpec

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


class _ProductModel(_Model):
    product: Annotated[list[_SweepModel], pydantic.Field(min_length=2, max_length=2)]


def _is_product(value: object) -> bool:
    return isinstance(value, _ProductModel) or (isinstance(value, Mapping) and "product" in value)


_SWEEP, _PRODUCT = "<sweep>", "<product>"
_AnySweep = Annotated[
    Annotated[_SweepModel, pydantic.Tag(_SWEEP)] | Annotated[_ProductModel, pydantic.Tag(_PRODUCT)],
    pydantic.Discriminator(lambda value: _PRODUCT if _is_product(value) else _SWEEP),
]


class _StudyModel(_Model):
    """Types only; ranges and names are checked by `StudySpec`, once for TOML and Python."""

    data: str = ""
    columns: dict[str, str] = {}
    experiment: str = ""
    interpretations: list[str] = []
    sweeps: list[_AnySweep] = []
    objective: str = ""
    delta: float = 0.0
    solver: str = ""
    precision: str = ""
    scheme: str = ""
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
        problem, words = _first_problem(error)
        raise UsageError(f"{where}: {_line(text, _fields(problem))}{words}") from None
    fields = model.model_dump(exclude_unset=True)
    try:
        return StudySpec.from_dict(fields)
    except UsageError as error:
        place = ("data",) if str(error).startswith("data: ") else _culprit(fields)
        raise UsageError(f"{where}: {_line(text, place)}{error}") from None


def _first_problem(error: pydantic.ValidationError) -> tuple[tuple[Any, ...], str]:
    """Where the first of pydantic's complaints is, and it in this project's words with how many more."""
    # A misspelt field is often also a missing one; the misspelling says more.
    problems = sorted(
        error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden"
    )
    problem = problems[0]
    place = _place(_fields(problem["loc"]))
    found = short(problem["input"])
    message = problem["msg"].replace("Input should be a valid", "give a").replace("a integer", "an integer")
    if problem["type"] == "extra_forbidden":
        allowed = _allowed(problem["loc"])
        near = closest(str(problem["loc"][-1]), allowed)
        hint = f"; did you mean {near!r}?" if near else ";"
        text = f"unknown field {short(place)}{hint} allowed: {', '.join(allowed)}"
    elif problem["type"] == "missing":
        text = f"{place}: this field is missing; give it"
    elif problem["type"] in ("too_short", "too_long") and problem["loc"][-1] == "product":
        text = f"{place}: {found}; a product is a list of two sweeps"
    elif problem["type"] == "value_error":
        text = f"{place}: {found}: {problem['ctx']['error']}"
    else:
        text = f"{place}: {found}; {message}"
    others = len(problems) - 1
    more = f" ({others} more problem{'s' * (others > 1)})" if others else ""
    return problem["loc"], text + more


def _allowed(location: tuple[Any, ...]) -> list[str]:
    """The fields that are known where an unknown one was found."""
    if len(location) == 1:
        return list(_StudyModel.model_fields)
    if location[-2] == _PRODUCT:
        return list(_ProductModel.model_fields)
    return [*_SweepModel.model_fields, *(["product"] if location[-2] == _SWEEP else [])]


def _fields(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """A place as in the file: without the tags of pydantic's unions."""
    return tuple(part for part in location if part not in (_SWEEP, _PRODUCT))


def _place(location: tuple[Any, ...]) -> str:
    """("sweeps", 0, "values", 2) as "sweeps[1].values[3]", counted from one as people do."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _culprit(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    """The field for which `StudySpec` refuses `fields`: the first that is refused without the others."""

    def refused(**some: Any) -> bool:
        try:
            StudySpec.from_dict(some)
        except UsageError:
            return True
        return False

    context: dict[str, Any] = {}  # what other fields are judged by, so it has to be right itself
    for name in ("data", "columns", "solver"):
        if name in fields:
            context[name] = fields[name]
            if refused(**context):
                return (name,)
    for name, value in fields.items():
        if name == "sweeps":
            for index, sweep in enumerate(value):
                if refused(sweeps=[sweep]):
                    plain = {key: sweep[key] for key in ("family", "values") if key in sweep}
                    known = sweep.get("family") in FAMILIES
                    key = "product" if "product" in sweep else "family" if not known else "values"
                    return name, index, key if key != "values" or refused(sweeps=[plain]) else "repeats"
            for index in range(len(value)):
                if refused(sweeps=value[: index + 1]):
                    return name, index, "family"
        elif refused(**{name: value}) and refused(**context | {name: value}):
            return (name,)
    return next(((name,) for name in fields if refused(**context | {name: fields[name]})), ())


def _line(text: str, location: tuple[Any, ...]) -> str:
    """Such as "line 7: ", where a field stands, as far as plain TOML lets it be found; otherwise nothing."""
    lines = text.splitlines()
    names = [part for part in location if isinstance(part, str)]
    first, last = 0, next((i for i, line in enumerate(lines) if re.match(r"\s*\[", line)), len(lines))
    if len(location) > 1 and location[0] == "sweeps" and isinstance(location[1], int):
        heads = [i for i, line in enumerate(lines) if re.match(r"\s*\[\[\s*sweeps\s*\]\]", line)]
        if location[1] >= len(heads):
            return ""
        first = heads[location[1]]
        last = (*heads, len(lines))[location[1] + 1]
        names = names[1:]
    for name in names[:1]:
        for number in range(first, last):
            if re.match(rf"""\s*["']?{re.escape(name)}["']?\s*=""", lines[number]):
                return f"line {number + 1}: "
    return f"line {first + 1}: " if len(location) > 1 else ""
