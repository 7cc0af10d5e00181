"""Whatever a test has a command print with --json is compared with the schema of that command.

A test fails where a required key is missing or a type is another; `test_stability.py` also looks for keys
that a schema does not have yet.
"""

import functools
import json
import re
from pathlib import Path

import pytest
from scripts import loaded

DOCS = Path(__file__).parent.parent / "docs"
SCHEMAS = DOCS / "schemas"


@functools.cache
def json_schema():
    """The script docs/json_schema.py as a module."""
    return loaded(DOCS / "json_schema.py")


@functools.cache
def validator(command, whole):
    """Of a command, such as "progress next"; with `whole`, no key may be missing in the schema."""
    import jsonschema

    schema = json.loads(json_schema().file_of(command).read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(json_schema().strict(schema) if whole else schema)


def faults(command, document, *, whole=False):
    """Where a document is not as its command's schema says, a line each."""
    if not json_schema().file_of(command).exists():
        return [f"{command}: docs/schemas has no schema of it"]
    found = validator(command, whole)
    part = json_schema().part_of(found.schema, document)
    if part is None:
        return [f"{command}: the keys {sorted(document)} are like those of no answer in its schema"]
    whole = {name: each for name, each in found.schema.items() if name != "anyOf"}
    one = found.evolve(schema=whole | {"$ref": f"#/$defs/{part}"})
    return [f"{command}: {error.json_path}: {error.message[-300:]}" for error in one.iter_errors(document)]


@pytest.fixture(autouse=True)
def json_as_promised():
    """Compare every JSON object that a command prints in this process with its schema."""
    from chinchilla_jax.cli import output

    wrong, text_of = [], output.json_text

    def compared(fields):
        import click

        text, context = text_of(fields), click.get_current_context(silent=True)
        if context is not None:
            command = re.sub(r"^\S+ ", "", context.command_path)
            wrong.extend(faults(command, json.loads(text)))
        return text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "json_text", compared)
        yield
    if wrong:
        pytest.fail(
            "\n".join(wrong[:5]) + "\nif this is meant, run the command as `python docs/json_schema.py "
            "COMMAND ...`, which adds it to docs/schemas, and say it in CHANGELOG.md"
        )
