"""The JSON files of a study directory: changed, damaged and forged. For fuzz.py.

A small finished study is copied; one of its JSON files is replaced by another; then the commands that read a
directory of a study read it: status, the page, resuming and finish.

| kind     | what is done                                                        | must be                 |
|----------|---------------------------------------------------------------------|-------------------------|
| older    | fields of study.json are changed, in the format of 0.1.0            | read, or refused        |
| forged   | the same, with the right checksum: somebody wrote it on purpose     | read, or refused        |
| damaged  | bytes are cut, doubled, exchanged or overwritten                    | refused                 |
| one bit  | one bit is flipped                                                  | refused                 |

derived.json, which says what figures and page were made from, is not refused when it is damaged: they count
as missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chinchilla_jax import ChinchillaError
from chinchilla_jax.cli import main
from chinchilla_jax.report.page import render
from chinchilla_jax.study import open_study

EXAMPLES = 2000
SPEC = """
data = "chinchilla"
interpretations = ["standard", "reported"]
resamples = 6
levels = [0.5, 0.8]
flops = [1e20, 1e22, 1e24]
[[sweeps]]
family = "multiplicative"
values = [0.5, 2.0]
[[sweeps]]
family = "log_normal_noise"
values = [0.5]
repeats = 2
"""
_BUG = "CHINCHILLA_JAX_DEBUG"  # in the line of an error that is no message of the package
_MOST_LETTERS = 1000


@dataclasses.dataclass(frozen=True)
class Shared:
    """The study, and what is said of it while nothing is wrong."""

    folder: Path
    spec: Path
    study: Path
    status: str


def prepared(folder: Path) -> Shared:
    """Compute the study."""
    os.environ.setdefault("CHINCHILLA_JAX_CACHE", str(folder / "cache"))
    os.environ.pop("CHINCHILLA_JAX_DEBUG", None)
    spec, study = folder / "spec.toml", folder / "study"
    spec.write_text(SPEC)
    code, _, said = _run("study", str(spec), "--out", str(study), "--no-figures", "--quiet")
    assert code == 0, said
    return Shared(folder, spec, study, _run("study", "status", str(study))[1])


def tried(shared: Shared, draw: random.Random, number: int) -> tuple[str, str, str]:
    """Kind, verdict and what happened for one example."""
    names = [name for name in ("study.json", "derived.json") if (shared.study / name).exists()]
    name = names[-1] if number % 5 == 4 else names[0]
    kind = ("older", "one bit", "forged", "damaged")[number % 4]
    content, what = _CHANGES[kind]((shared.study / name).read_bytes(), draw)
    copy = shared.folder / f"copy{number}"
    shutil.copytree(shared.study, copy, copy_function=os.link)
    (copy / name).unlink()
    (copy / name).write_bytes(content)
    try:
        return f"{name}, {kind}", *_verdict(shared, copy, name, kind, what)
    finally:
        shutil.rmtree(copy)


def _verdict(shared: Shared, copy: Path, name: str, kind: str, what: str) -> tuple[str, str]:
    refused = []
    for command in (
        ("study", "status", str(copy)),
        ("the page", str(copy)),
        ("study", "finish", str(copy), "--no-figures", "--quiet"),
        ("study", str(shared.spec), "--out", str(copy), "--no-figures", "--quiet"),
    ):
        code, out, said = _page(copy) if command[0] == "the page" else _run(*command)
        told = f"{what}; {' '.join(command[:2])} exits with {code}: {said[:300]}"
        if _BUG in said or code not in (0, 1, 2):
            return "traceback", told
        if code and (said.count("\n") != 1 or len(said) > _MOST_LETTERS or not said.strip().isprintable()):
            return "not a line", told
        if command[1] == "status":
            same = out == shared.status.replace(str(shared.study), str(copy))
        refused.append(code != 0)
    changed = kind in ("one bit", "damaged")
    if changed and not (all(refused) if name == "study.json" else not same):
        return "unnoticed", what
    return ("refused" if any(refused) else "read"), what


def _run(*arguments: str) -> tuple[int, str, str]:
    """Exit code and streams of a command."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            code = main(arguments)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return 99, out.getvalue(), f"{type(error).__name__}: {error} ({_BUG})"
    return code, out.getvalue(), said.getvalue()


def _page(study: Path) -> tuple[int, str, str]:
    """The same for the page of a study: the command `report` would draw all figures first."""
    try:
        return 0, render(open_study(study)), ""
    except ChinchillaError as error:
        return 2, "", f"{error}\n"
    except Exception as error:
        return 99, "", f"{type(error).__name__}: {error} ({_BUG})"


# --- the changes -------------------------------------------------------------------------------------------


def _older(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    fields, what = _changed(content, draw)
    if "format" in fields and fields["format"] == json.loads(content).get("format"):
        fields["format"] = 1
    return json.dumps(fields).encode(), what


def _forged(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    fields, what = _changed(content, draw)
    try:
        from chinchilla_jax._util.sealed_json import sealed_json

        return sealed_json(fields), what
    except (ImportError, ValueError):  # a number that JSON does not have
        return json.dumps(fields).encode(), what


def _one_bit(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    place, bit = draw.randrange(len(content)), draw.randrange(8)
    there = content[place : place + 1]
    what = f"bit {bit} of byte {place} ({there!r} in {content[max(place - 20, 0) : place + 20]!r})"
    return content[:place] + bytes([there[0] ^ 1 << bit]) + content[place + 1 :], what


def _damaged(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    first, second = sorted(draw.choices(range(len(content)), k=2))
    way = draw.choice(["cut", "empty", "without", "twice", "overwritten", "zeros", "swapped"])
    middle = content[first : second + 1]
    made = {
        "cut": content[:first],
        "empty": b"",
        "without": content[:first] + content[second + 1 :],
        "twice": content[: second + 1] + content[first:],
        "overwritten": content[:first] + draw.randbytes(len(middle)) + content[second + 1 :],
        "zeros": content[:first] + bytes(len(middle)) + content[second + 1 :],
        "swapped": content[second + 1 :] + middle + content[:first],
    }[way]
    if made == content:
        made += b" "
    return made, f"{way} {first} to {second}"


_CHANGES: dict[str, Callable[[bytes, random.Random], tuple[bytes, str]]] = {
    "older": _older,
    "forged": _forged,
    "damaged": _damaged,
    "one bit": _one_bit,
}


def _changed(content: bytes, draw: random.Random) -> tuple[dict[str, Any], str]:
    """The fields with one to three of them changed somewhere inside."""
    fields = json.loads(content)
    fields.pop("checksum", None)
    told = []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        places = list(_places(fields))
        holder, key, path = draw.choice(places)
        way = draw.choice(["value", "value", "value", "remove", "rename", "nest", "many"])
        old = holder[key]
        if way == "remove":
            del holder[key]
        elif way == "rename" and isinstance(holder, dict):
            holder[draw.choice(_TEXTS)] = holder.pop(key)
        elif way == "nest":
            holder[key] = {"a": old} if draw.random() < 0.5 else [old]
        elif way == "many" and isinstance(old, list | dict):
            holder[key] = old * 3 if isinstance(old, list) else old | {str(n): 0 for n in range(1000)}
        else:
            holder[key] = _other(old, draw)
        told.append(f"{path} {way}: {_short(old)} -> {_short(holder[key]) if way == 'value' else ''}")
    return fields, "; ".join(told)


def _places(value: Any, path: str = "") -> Any:
    """Every place inside a document: its holder, its key there and its path; few of a long list."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, item in items[:40]:
        yield value, key, f"{path}.{key}"
        if isinstance(item, dict | list):
            yield from _places(item, f"{path}.{key}")


_TEXTS = [
    "", "x", "../../outside", "/etc/passwd", "fits/../study.json", "fits/../../other/part-0.parquet",
    "\x1b[31m", "a\nb", "\ud800", "\x00", "NaN", "complete", "running", "identity", "0" * 32, "9" * 5000,
    "\xe9", "x" * 100_000, "2026-13-01", "2026-11-27T00:00:00", "9999-12-31T23:59:59+00:00",
    "0001-01-01T00:00:00", "http://localhost:1/t",
]  # fmt: skip
_OTHERS: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 2**31, 2**63, 2**64, 10**18, 10**400, 1.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), [], {}, [[]], [1, 2], {"a": 1}, [None] * 3, ["x"] * 50,
]  # fmt: skip


def _other(old: Any, draw: random.Random) -> Any:
    """Another value: near the old one, or of any kind."""
    if draw.random() < 0.4:
        if isinstance(old, bool):
            return not old
        if isinstance(old, int | float):
            return draw.choice([old + 1, -old, old * 10**6, old / 3, str(old)])
        if isinstance(old, str) and old:
            place = draw.randrange(len(old))
            return draw.choice([old[:place] + "x" + old[place + 1 :], old[:place], old + old, old.upper()])
        if isinstance(old, list) and old:
            return draw.choice([old[:-1], old[1:], old[::-1], [*old, old[0]]])
    return draw.choice(_TEXTS) if draw.random() < 0.5 else draw.choice(_OTHERS)


def _short(value: Any) -> str:
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**100 else "a huge number"
    return text if len(text) < 60 else f"{text[:57]}..."
