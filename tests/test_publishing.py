"""Parts of a release agree: versions, requirements, licences, workflows, imports of optional libraries."""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import chinchilla_jax
from chinchilla_jax.datasets import dataset_info, dataset_names

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read_yaml(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def imports_of(name):
    """Each import of a library in the package: module, and whether it is inside a function."""
    for path in sorted((ROOT / "chinchilla_jax").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if name not in text:
            continue
        for function, node in walked(ast.parse(text)):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if name in {each.split(".")[0] for each in [*names, getattr(node, "module", None) or ""]}:
                yield path.name, function


def walked(node, function=False):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield function, child
        yield from walked(child, function or isinstance(child, ast.FunctionDef))


def test_every_copy_of_the_version_is_the_packages():
    version = chinchilla_jax.__version__
    assert read_yaml("CITATION.cff")["version"] == version
    assert json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))["version"] == version
    assert read_yaml("conda/recipe/recipe.yaml")["context"]["version"] == version


def test_the_changelog_has_the_version_and_every_date_of_it_is_the_same():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", changelog, re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    version, date = headings[1]
    assert version == chinchilla_jax.__version__
    assert str(read_yaml("CITATION.cff")["date-released"]) == date
    archive = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    assert archive["publication_date"] == date


def test_classifiers_name_the_systems_and_versions_of_python_that_were_tried():
    release = (ROOT / "docs" / "developers" / "release.md").read_text(encoding="utf-8")
    tried = re.findall(r"^\| (3\.\d+)\.\d+ \| pip ", release, re.MULTILINE)
    named = {each for each in PROJECT["classifiers"] if re.search(r"System|Python :: 3\.", each)}
    assert tried and named == {
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: {version}" for version in tried),
    }
    systems = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\w+), .*\| nothing yet", systems, re.MULTILINE) == ["macOS", "macOS", "Windows"]


def test_citation_and_archive_say_what_the_package_says():
    citation = read_yaml("CITATION.cff")
    archive = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    names = [author["name"] for author in PROJECT["authors"]]
    assert [author["name"] for author in citation["authors"]] == names
    assert [author["name"] for author in archive["creators"]] == names
    assert citation["license"] == archive["license"] == PROJECT["license"]
    assert citation["keywords"] == archive["keywords"] == PROJECT["keywords"]


def test_the_conda_recipe_requires_what_the_package_requires():
    recipe = read_yaml("conda/recipe/recipe.yaml")
    names = {"matplotlib": "matplotlib-base"}  # conda-forge's name for it without a window system
    split = [requirement.split(">=") for requirement in PROJECT["dependencies"]]
    expected = {f"{names.get(name, name)} >={bound}" for name, bound in split}
    python, *run = recipe["requirements"]["run"]
    assert set(run) == expected
    assert python == "python >=${{ python_min }}"
    assert PROJECT["requires-python"] == f">={recipe['context']['python_min']}"
    command = " = ".join(*PROJECT["scripts"].items())
    assert recipe["build"]["python"]["entry_points"] == [command]


def test_the_lowest_versions_are_those_of_every_requirement_of_a_user():
    made = subprocess.run(
        [sys.executable, ROOT / ".ci" / "lowest.py"], capture_output=True, text=True, check=True
    )
    extras = ("arviz", "dask", "excel", "remote")
    asked = PROJECT["dependencies"] + [
        each for extra in extras for each in PROJECT["optional-dependencies"][extra]
    ]
    assert made.stdout.splitlines() == [requirement.replace(">=", "==") for requirement in asked]
    hardware, developers = {"cuda", "tpu"}, {"benchmarks", "browser", "dev", "docs", "test"}
    assert set(PROJECT["optional-dependencies"]) == {*extras, *hardware, *developers}


def test_no_requirement_has_an_upper_bound():
    every = PROJECT["dependencies"] + [
        each for extra in PROJECT["optional-dependencies"].values() for each in extra
    ]
    assert [requirement for requirement in every if re.search(r"[<~!]|==", requirement)] == []


def test_the_notice_names_every_embedded_table_with_its_licence():
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    licence_of = {
        "MIT": "MIT License",
        "Apache-2.0": "Apache License",
        "CC BY 4.0": "Creative Commons",
        "": "Facts",
    }
    parts = {part.split("\n")[0]: part for part in notice.split("\n\n")}
    files = {path.name for path in (ROOT / "chinchilla_jax" / "datasets" / "tables").glob("*.csv")}
    assert set(re.findall(r"\b\w+\.csv", notice)) == files
    for name in dataset_names():
        info = dataset_info(name)
        (part,) = (text for head, text in parts.items() if licence_of[info.licence] in head)
        assert f"{info.file or name}.csv" in part


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_only_call_steps_of_the_gate(path):
    workflow = read_yaml(path)
    known = re.search(r"^known='(.+)'$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)[
        1
    ].split()
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in path.read_text(encoding="utf-8")
    called = set()
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            if "run" in step:
                command, script, *steps = step["run"].split()
                assert (command, script) == ("bash", ".ci/run")
                assert steps and set(steps) <= set(known)
                called |= set(steps)
            else:
                assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
    assert called == set(known)


def test_git_changes_no_line_ends_on_any_system():
    """Where it did, the hashes of embedded tables would fail on Windows, and bash would not read the gate."""
    assert "\n* -text\n" in (ROOT / ".gitattributes").read_text(encoding="utf-8")


def test_an_unknown_step_of_the_gate_is_one_line():
    done = subprocess.run(["bash", ROOT / ".ci" / "run", "test"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(".ci/run: no step 'test'; the steps are: tests ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "module"), [("jaxopt", "jaxopt_minimisers.py"), ("optax", "optax_minimisers.py")]
)
def test_solvers_for_comparison_are_imported_by_one_function(name, module):
    assert set(imports_of(name)) == {(module, True)}


def test_every_extra_that_a_message_names_exists():
    named = set()
    for folder in ("chinchilla_jax", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md"):
                named |= set(re.findall(r"chinchilla-jax\[([\w,]+)\]", path.read_text(encoding="utf-8")))
    extras = {extra for group in named for extra in group.split(",")}
    assert {"arviz", "dask", "excel", "remote"} <= extras <= set(PROJECT["optional-dependencies"])


def test_names_that_the_changelog_says_were_added_exist():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    added = text.split(f"## [{chinchilla_jax.__version__}]")[1].split("\n### Added\n")[1].split("\n### ")[0]
    pattern = r"`(?:cj\.)?(analysis|fitting|intervals|laws|planning|plots)\.([A-Za-z]\w+)\b"
    names = set(re.findall(pattern, added)) - {("plots", "NAME")}
    assert len(names) >= 10
    for room, name in sorted(names):
        assert hasattr(importlib.import_module(f"chinchilla_jax.{room}"), name), f"{room}.{name}"
