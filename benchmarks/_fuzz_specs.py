"""Specs of studies as TOML: odd, damaged, and far too large. For fuzz.py.

| kind    | what is done                                                        |
|---------|---------------------------------------------------------------------|
| fields  | fields of every type, known and unknown, with values of every size  |
| sizes   | valid specs with counts from one to 10^18                           |
| damaged | the commented example with bytes cut, doubled or overwritten        |

A spec is refused in one line that prints. One that is read is written and read again, as an equal spec, and,
unless it is large, `study check` tells what it would do. All in ten seconds of processor time and a gigabyte.
"""

from __future__ import annotations

import contextlib
import io
import random
import warnings
from pathlib import Path
from typing import Any

from _fuzz_tables import _damaged, _judged, _limited

from chinchilla_jax import StudySpec
from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax.cli import main
from chinchilla_jax.perturbations import FAMILIES
from chinchilla_jax.study.spec.example import example_toml
from chinchilla_jax.study.spec.reproduce import spec_toml
from chinchilla_jax.study.spec.toml_file import toml_value

EXAMPLES = 5000
_MOST_CONDITIONS = 2000  # of a spec that is checked
_DEBUG = "CHINCHILLA_JAX_DEBUG"  # in the line of an error that is no message of the package
_ODD: list[Any] = [
    0, 1, -1, 2, 3, 100, 4000, 10**6, 10**9, 10**18, 2**63 - 1, 0.0, 0.5, 1.0, -0.5, 1e-312, 1e308,
    float("inf"), float("nan"), True, False, "", "huber", "chinchilla", "pairs", "cluster", "auto",
    "\x1b[31m", "\u202e", "a\nb", "x" * 3000, [], [1], [0.8, 0.9], [[1]], ["a"], {}, {"loss": "val/loss"},
    {"logspace": [18, 28, 5]}, [{"linspace": [0, 1, 10**9]}], [{"logspace": [-400, 400, 5]}], "nowhere.csv",
    "s3://", "file:///dev/zero", "https://[", "-", "/dev/null", ".", "~",
]  # fmt: skip
_FIELDS = [
    "data", "columns", "units", "bytes_per_token", "experiment", "where", "best_of", "final", "groups",
    "all_states", "drop_missing", "ignore_flags", "countings", "losses", "interpretations", "weights",
    "law", "objective", "delta", "penalty", "solver", "precision", "engine", "reproducible", "scheme",
    "cluster", "boundary", "resamples", "seed", "levels", "flops", "drop_highest_loss", "rounded",
    "resample", "sweep", "\x1b",
]  # fmt: skip
_RAW = [
    "1" * 5000, "0x" + "f" * 5000, "1_000", "1979-05-27T07:32:00Z", "07:32:00", "'''a\nb'''", "nan", "-inf",
    "1e999", "0b1", "{" * 2000, "[" * 300 + "]" * 300, '"\\u202e"', '"\\U0010ffff"', "1__0", "a", "",
    "{a = {b = {c = 1}}}", '"\\ud800"',
]  # fmt: skip


def prepared(folder: Path) -> Path:
    """Check one spec, so that the first example is no slower than others."""
    _check(folder / "first.toml", "resamples = 100\n")
    return folder


def tried(folder: Path, draw: random.Random, number: int) -> tuple[str, str, str]:
    """Kind, verdict and what happened for one example."""
    kind = ("fields", "sizes", "damaged")[number % 3]
    if kind == "damaged":
        text = _damaged(example_toml().encode(), draw)
    else:
        text = (_odd(draw) if kind == "fields" else _sized(draw)).encode("utf-8", "replace")
    path = folder / f"s{number}.toml"
    path.write_bytes(text)
    verdict, told = _limited(lambda: _read(path, folder))
    path.unlink()
    return kind, verdict, told


def _read(path: Path, folder: Path) -> tuple[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            spec = StudySpec.from_toml(path)
        except ChinchillaError as error:
            return _judged("refused", str(error), lines=False)
        except Exception as error:
            return "traceback", f"{type(error).__name__}: {error}"
        try:
            again = spec_toml(spec)
            if _again(folder / "again.toml", again) != spec:
                return "another spec", again
        except Exception as error:
            return "traceback", f"written again: {type(error).__name__}: {error}"
        if spec.n_conditions > _MOST_CONDITIONS or spec.objective == "asymmetric":
            return "read", f"{spec.n_conditions} conditions"
        return _check(path, None)


def _again(path: Path, text: str) -> StudySpec:
    path.write_text(text, encoding="utf-8")
    return StudySpec.from_toml(path)


def _check(path: Path, text: str | None) -> tuple[str, str]:
    if text is not None:
        path.write_text(text, encoding="utf-8")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["study", "check", str(path)])
    said = out.getvalue() + err.getvalue()
    if _DEBUG in said or code not in (0, 1, 2):
        return "traceback", said
    if code == 0:
        return _judged("read", said, lines=True)
    return _judged("refused", err.getvalue()[:-1], lines=False)


def _odd(draw: random.Random) -> str:
    lines = []
    for name in draw.sample(_FIELDS, draw.randrange(1, 5)):
        value = draw.choice(_RAW) if draw.random() < 0.2 else toml_value(draw.choice(_ODD))
        lines.append(f"{toml_value(name) if not name.isidentifier() else name} = {value}")
    for _ in range(draw.randrange(3)):
        lines += ["[[sweeps]]", f"family = {toml_value(draw.choice([*FAMILIES, 1, 'x']))}"]
        lines += [
            f"{name} = {toml_value(draw.choice(_ODD))}"
            for name in draw.sample(["values", "repeats", "product"], 2)
        ]
    return "\n".join(lines)


def _sized(draw: random.Random) -> str:
    sizes = [1, 2, 10, 100, 1000, 10**4, 10**5, 10**6, 10**9, 10**18]
    lines = [f"resamples = {draw.choice([2, 100, *sizes])}", f"seed = {draw.choice([0, 2**32 - 1, *sizes])}"]
    if draw.random() < 0.3:
        lines.append(f"flops = [{{ logspace = [18, 28, {draw.choice(sizes)}] }}]")
    if draw.random() < 0.3:
        lines.append(f"levels = [{{ linspace = [0.1, 0.9, {draw.choice(sizes)}] }}]")
    for family in draw.sample(list(FAMILIES), draw.randrange(1, 4)):
        lines += ["[[sweeps]]"]
        if draw.random() < 0.3:
            other = draw.choice(list(FAMILIES))
            lines.append(f"product = [{_sweep(family, draw)}, {_sweep(other, draw)}]")
        else:
            lines += _sweep(family, draw).strip("{} ").split("; ")
    return "\n".join(lines).replace("; ", ", ")


def _sweep(family: str, draw: random.Random) -> str:
    count = draw.choice([1, 3, 11, 300, 10**4, 10**5, 10**7, 10**12])
    repeats = draw.choice([1, 1, 5, 1000, 10**9, 10**18])
    return f'{{ family = "{family}"; values = [{{ linspace = [0.01, 0.9, {count}] }}]; repeats = {repeats} }}'
