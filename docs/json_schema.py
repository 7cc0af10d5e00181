"""The JSON schemas of what commands print with --json, in docs/schemas/, one for each command.

    python docs/json_schema.py fit runs.csv --flops 1e22      # widens the schema of `fit` by what this prints

Tests compare all that they have commands print with these schemas, and look for keys that these lack. A
command that prints something new is run by this script: keys and types are added, and keys that are not
always there are no longer required. Nothing is ever taken away, which is for a person to do, with a
deprecation first (docs/stability.md).

A number is a number, whole or not: which of them have a point is not promised. NaN is null in JSON, and a
text may be null where there is nothing to say, so that null is allowed for both.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

SCHEMAS = Path(__file__).parent / "schemas"
PROGRAM = "chinchilla-jax"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFUSAL = "no_answer"
_ALIKE = 0.4  # the share of keys that two answers of one kind have in common

# Objects whose keys are data: parameters of a law, statuses, columns of the user's own.
MAPS = frozenset(
    (
        "law",
        "law_found",
        "point_law",
        "parameters",
        "fit",
        "columns",
        "units",
        "status_counts",
        "criteria",
        "schemes",
        "optional",
    )
)

# What the most common keys mean, wherever they are.
MEANINGS = {
    "A": "coefficient of the parameters' term",
    "B": "coefficient of the tokens' term",
    "E": "irreducible loss, nats per token",
    "alpha": "exponent of the parameters",
    "beta": "exponent of the tokens",
    "command": "the command that answers with these settings",
    "data_hash": "hash of the runs that were fitted",
    "doubt": "what makes this hard to believe; empty or null if nothing",
    "estimate": "at the point fit",
    "figures": "files that were written",
    "flops": "training compute, FLOP",
    "high": "upper end of the interval",
    "law": "parameters of the fitted law by name; null where there is no estimate",
    "level": "level of the intervals, such as 0.8",
    "loss": "nats per token",
    "low": "lower end of the interval",
    "method": "method of the intervals",
    "model": "name of the law, as --law takes it",
    "n_converged": "fits that are certified",
    "n_failed": "fits that are not, and enter no number",
    "n_runs": "number of runs",
    "objective": "what is minimised",
    "parameter": "parameter of the law",
    "params": "number of parameters; a name where it says how they were counted",
    "quantity": "what the interval is of",
    "resamples": "number of resamples",
    "scheme": "how runs were resampled",
    "seed": "of the random numbers",
    "standard_error": "standard deviation over resamples",
    "status": "CONVERGED, MAX_STEPS, UNIDENTIFIED, INVALID or BOUNDARY",
    "tokens": "number of training tokens",
    "tokens_per_param": "training tokens per parameter",
    "warnings": "what the user should know, one text each",
}


def file_of(command: str) -> Path:
    """The schema of a command, such as "progress next"."""
    return SCHEMAS / f"{command.replace(' ', '-')}.json"


def command_of(arguments: Iterable[str]) -> tuple[str, click.Command]:
    """The command among arguments: its name after that of its group, and itself."""
    from chinchilla_jax.cli.app import chinchilla_jax_command

    command: click.Command = chinchilla_jax_command
    words = []
    for word in arguments:
        found = None
        if isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
        if found is None:
            break
        command = found
        words.append(word)
    return " ".join(words), command


def is_refusal(document: Mapping[str, Any]) -> bool:
    """Whether this says only that there is no answer, and why."""
    others = [value for name, value in document.items() if name not in ("warnings", "figures")]
    return bool(document.get("warnings")) and all(value is None for value in others)


def empty(command: str) -> dict[str, Any]:
    """The schema of a command that has printed nothing yet."""
    return {
        "$schema": DIALECT,
        "$id": file_of(command).name,
        "title": f"{PROGRAM} {command} --json",
        "anyOf": [],
        "$defs": {},
    }


def part_of(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str | None:
    """Which of the answers of a command this is, by its keys; None if it is like none of them.

    Some commands have several, by their arguments: `flops` of a table or of one model.
    """
    if is_refusal(document):
        return REFUSAL if REFUSAL in schema["$defs"] else None
    alike = {}
    for name, part in schema["$defs"].items():
        keys = set(part.get("properties", {}))
        alike[name] = len(keys & set(document)) / max(len(keys | set(document)), 1)
    best = max(alike, key=alike.__getitem__, default=None)
    return best if best is not None and alike[best] >= _ALIKE else None


def widened(schema: dict[str, Any], document: Mapping[str, Any]) -> None:
    """Change the schema of a command so that it has `document`."""
    parts, name = schema["$defs"], part_of(schema, document)
    if name is None:
        answers = sum(each != REFUSAL for each in parts)
        name = "answer" if not answers else f"answer_{answers + 1}"
        if is_refusal(document):
            name = REFUSAL
        parts[name] = {}
        schema["anyOf"].append({"$ref": f"#/$defs/{name}"})
    widen(parts[name], document, "")
    if name == REFUSAL:
        parts[name]["description"] = "the fit gives no estimate: `warnings` says why, and what to do"


def widen(schema: dict[str, Any], value: Any, key: str) -> None:
    """Change a part of a schema so that it has `value`, found under `key`."""
    kind = type_of(value)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    new = kind not in kinds
    kinds = sorted({*kinds, kind, *(("null",) if kind in ("number", "string") else ())})
    schema["type"] = kinds[0] if len(kinds) == 1 else kinds
    if key in MEANINGS:
        schema["description"] = MEANINGS[key]
    if kind == "array":
        for item in value:
            widen(schema.setdefault("items", {}), item, "")
    elif kind == "object" and key in MAPS:
        schema.setdefault("additionalProperties", {})
        for item in value.values():
            widen(schema["additionalProperties"], item, "")
    elif kind == "object":
        properties = schema.setdefault("properties", {})
        before = [*value] if new else schema.get("required", [])
        schema["required"] = [name for name in before if name in value]
        for name, item in value.items():
            widen(properties.setdefault(name, {}), item, name)


def type_of(value: Any) -> str:
    """The name that JSON Schema has for the type of a value."""
    if isinstance(value, bool):
        return "boolean"
    names: dict[type, str] = {int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return "null" if value is None else names[type(value)]


def strict(schema: Any) -> Any:
    """The same schema, with every key that it does not list refused."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: strict(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), dict) and isinstance(schema.get("type"), str | list):
        found.setdefault("additionalProperties", False)
    return found


def printed(arguments: list[str]) -> dict[str, Any]:
    """What a command prints."""
    from chinchilla_jax import cli

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = cli.main([*arguments, *([] if "--json" in arguments else ["--json"])])
    if code and not said.getvalue():
        raise SystemExit(code)
    return dict(json.loads(said.getvalue()))


def add(arguments: list[str]) -> None:
    """Widen the schema of a command by what it prints."""
    name, command = command_of(arguments)
    file = file_of(name)
    schema = json.loads(file.read_text(encoding="utf-8")) if file.exists() else empty(name)
    widened(schema, printed(arguments))
    if any("--figures" in each.opts for each in command.params):  # with which it names the files it wrote
        for kind, part in schema["$defs"].items():
            if kind != REFUSAL:
                widen(part["properties"].setdefault("figures", {}), ["name.png"], "figures")
                part["required"] = [each for each in part["required"] if each != "figures"]
    SCHEMAS.mkdir(exist_ok=True)
    file.write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Widen the schema of the command that the arguments are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="a command, with all that it needs")
    add(parser.parse_args().arguments)


if __name__ == "__main__":
    main()
