"""What others rely on stays: public names and signatures, commands and options, keys of JSON, exit codes."""

import difflib
import json

import jsonschema
import public_api
import pytest
from json_outputs import SCHEMAS, faults, json_schema

from chinchilla_jax.cli import main

# --- names and commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", public_api.FILES)
def test_the_public_interface_is_as_it_is_listed(kind):
    listed = public_api.FILES[kind].read_text(encoding="utf-8").splitlines()
    found = list({"names": public_api.names, "commands": public_api.commands}[kind]())
    changed = [line for line in difflib.unified_diff(listed, found, lineterm="", n=0) if line[0] in "+-"][2:]
    assert not changed, "\n".join([*changed[:20], public_api.REMEDY])


def test_a_new_name_a_lost_option_and_another_default_are_seen():
    def function(a, b=1, *, c="x"):
        """A function."""

    class Value:
        """A class of elsewhere."""

        def method(self):
            """Of no interest."""

    assert list(public_api.of_value("f", function)) == ["f(a, b=1, *, c='x')"]
    assert list(public_api.of_value("V", Value)) == ["V()"]
    lines = list(public_api.names())
    assert "chinchilla_jax.Status.CONVERGED" in lines
    assert "chinchilla_jax.ScalingLaw.loss(self, params, tokens)" in lines
    assert len(lines) == len(set(lines))
    assert not [line for line in lines if "0x" in line or "site-packages" in line]


# --- JSON ------------------------------------------------------------------------------------------------


def commands_with_json():
    lines = public_api.FILES["commands"].read_text(encoding="utf-8").splitlines()
    return sorted(
        line.removesuffix(" --json").partition(" ")[2] for line in lines if line.endswith(" --json")
    )


def test_every_command_with_json_has_a_schema_and_no_schema_is_of_none():
    assert {json_schema().file_of(command).name for command in commands_with_json()} == {
        path.name for path in SCHEMAS.glob("*.json")
    }


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_a_schema_is_a_schema(path):
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == f"chinchilla-jax {path.stem.replace('-', ' ')} --json" or "-" in path.stem
    assert all(part["required"] for part in schema["$defs"].values()), "a command promises something"


EXAMPLES = {
    "fit": "fit runs.csv --starts 16",
    "bootstrap": "bootstrap runs.csv --resamples 20 --flops 1e22",
    "plan": "plan runs.csv --flops 1e22 --resamples 20",
    "inference": "inference runs.csv --loss 2.3 --output-tokens 1e12 --resamples 20",
    "isoflop": "isoflop runs.csv --resamples 20",
    "predict": "predict runs.csv --flops 3e21 --resamples 20",
    "compare": "compare recipes.csv --by recipe --flops 1e22 --resamples 20",
    "backtest": "backtest runs.csv --resamples 20",
    "influence": "influence runs.csv --flops 1e22",
    "flops": "flops",
    "doctor": "doctor",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", EXAMPLES)
def test_a_schema_has_every_key_that_its_command_prints(command, capsys, monkeypatch):
    monkeypatch.chdir(public_api.HERE.parent / "examples")
    assert main([*EXAMPLES[command].split(), "--json"]) == 0
    found = faults(command, json.loads(capsys.readouterr().out), whole=True)
    assert not found, f"{found}; run `python docs/json_schema.py {EXAMPLES[command]}` in examples/"


def test_what_a_command_prints_is_compared_wherever_a_test_runs_one(capsys):
    """The fixture of conftest.py; here it is asked directly."""
    assert main(["flops", "--json", *DIMENSIONS]) == 0
    document = json.loads(capsys.readouterr().out)
    assert faults("flops", document) == []
    assert faults("flops", document | {"new": 1}) == []
    assert len(faults("flops", document | {"new": 1}, whole=True)) == 1
    lost = dict(document)
    lost.pop("ratio")
    assert len(faults("flops", lost)) == 1
    assert len(faults("flops", document | {"ratio": "a text"})) == 1
    assert faults("no such", {}) == ["no such: docs/schemas has no schema of it"]


def json_schema_of(command):
    return json.loads(json_schema().file_of(command).read_text(encoding="utf-8"))


def test_a_reader_that_ignores_new_keys_is_right():
    """The schemas as published allow keys that are not in them."""
    schema = json_schema_of("fit")
    assert "additionalProperties" not in schema["$defs"]["answer"]


DIMENSIONS = ["--n-layers", "4", "--d-model", "64", "--ffw-size", "256", "--kv-size", "16", "--n-heads", "4"]


def test_a_schema_is_widened_and_never_narrowed():
    tool = json_schema()
    schema = tool.empty("fit")
    tool.widened(schema, {"a": 1, "law": {"E": 1.5}, "rows": [{"x": 1, "y": "s"}]})
    tool.widened(schema, {"a": None, "law": {"K": 2}, "rows": [{"x": True}], "b": "s"})
    tool.widened(schema, {"law": None, "warnings": ["why"]})
    tool.widened(schema, {"other": 1, "command": "x"})
    answer = schema["$defs"]["answer"]
    assert answer["required"] == ["a", "law", "rows"]
    assert answer["properties"]["a"]["type"] == ["null", "number"]
    assert answer["properties"]["law"]["additionalProperties"]["type"] == ["null", "number"]
    rows = answer["properties"]["rows"]["items"]
    assert (rows["required"], rows["properties"]["x"]["type"]) == (["x"], ["boolean", "null", "number"])
    assert schema["$defs"]["no_answer"]["required"] == ["law", "warnings"]
    assert schema["$defs"]["answer_2"]["required"] == ["other", "command"]
    assert [each["$ref"][8:] for each in schema["anyOf"]] == ["answer", "no_answer", "answer_2"]
    before = json.dumps(schema)
    tool.widened(schema, {"a": 1, "law": {"E": 1.5}, "rows": []})
    assert json.dumps(schema) == before


# --- exit codes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["datasets"], 0),
        (["--version"], 0),
        (["fit", "no_such_table.csv"], 2),
        (["fit", "chinchilla", "--law", "no_such_law"], 2),
        (["no_such_command"], 2),
    ],
)
def test_exit_codes(arguments, code, capsys):
    assert main(arguments) == code
    assert capsys.readouterr().err.count("\n") == (1 if code else 0)
