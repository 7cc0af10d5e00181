"""Imports point one way: the contracts in pyproject.toml hold, and fail on what they forbid.

Imports inside functions count, since they run; imports for type checkers alone do not.
"""

import ast
import graphlib
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import grimp
import pytest
from importlinter.api import read_configuration

import chinchilla_jax

PACKAGE = Path(chinchilla_jax.__file__).parent
ROOT = PACKAGE.parent
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder):
    """Run the linter as .ci/run does, on the package and the pyproject.toml in a folder."""
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=folder,
        env=os.environ | {"COLUMNS": "200", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def module_of(stub):
    return ".".join(("chinchilla_jax", *stub.parent.relative_to(PACKAGE).parts))


def names_in(stub):
    """The modules that a package's stub takes its public names from."""
    body = ast.parse(stub.read_text(encoding="utf-8")).body
    nodes = [node for node in body if isinstance(node, ast.ImportFrom)]
    # "from . import room as room" makes the room itself public.
    rooms = {f"{module_of(stub)}.{each.name}" for node in nodes if not node.module for each in node.names}
    return rooms | {node.module for node in nodes if node.module}


STUBS = {module_of(stub): names_in(stub) for stub in sorted(PACKAGE.rglob("__init__.pyi"))}


def test_the_contracts_hold():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contracts_have_no_exceptions():
    configuration = read_configuration(str(ROOT / "pyproject.toml"))
    contracts = configuration["contracts_options"]
    assert {contract["type"] for contract in contracts} == {"layers", "acyclic_siblings"}
    assert not any("ignore_imports" in contract for contract in contracts)


@pytest.mark.parametrize(
    ("module", "planted", "forbidden"),
    [
        (
            "laws/compute.py",
            "def _planted():\n    from chinchilla_jax.study.spec import StudySpec\n    return StudySpec\n",
            "chinchilla_jax.laws.compute -> chinchilla_jax.study.spec",
        ),
        (
            "analysis/trends.py",
            "import chinchilla_jax.planning.allocation\n",
            "chinchilla_jax.analysis.trends -> chinchilla_jax.planning.allocation",
        ),
        (
            "datasets/units.py",
            "def _planted():\n    from chinchilla_jax.datasets import load\n    return load\n",
            ".units -> .load",
        ),
        ("shortcuts.py", "", "chinchilla_jax.shortcuts"),
    ],
    ids=["upward, in a function", "sideways", "a circle", "a module outside the rooms"],
)
def test_a_planted_violation_is_found(tmp_path, module, planted, forbidden):
    copied(tmp_path, module, planted)
    done = lint(tmp_path)
    assert done.returncode == 1
    assert forbidden in done.stdout, done.stdout + done.stderr


def test_an_import_for_type_checkers_alone_is_allowed(tmp_path):
    guarded = "if TYPE_CHECKING:\n    from chinchilla_jax.study.spec import StudySpec\n"
    copied(tmp_path, "laws/compute.py", f"from typing import TYPE_CHECKING\n{guarded}")
    assert "chinchilla_jax.laws.compute ->" not in lint(tmp_path).stdout


def copied(folder, module, planted):
    """Copy the package, with some code added to one of its modules."""
    shutil.copytree(PACKAGE, folder / "chinchilla_jax", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    with (folder / "chinchilla_jax" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n\n{planted}")


def test_no_module_imports_itself_by_way_of_others():
    """The linter compares the parts of a room with each other; this includes the rooms' own __init__."""
    graph = grimp.build_graph("chinchilla_jax", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    for package, sources in STUBS.items():  # what a package imports once a name of it is used
        imports[package] |= sources
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("package", sorted(STUBS))
def test_a_room_has_the_names_of_its_stub(package):
    """It reads them by a pattern, since Python's own parser takes longer than all else at the start."""
    path = PACKAGE.joinpath(*package.split(".")[1:], "__init__.pyi")
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {each.asname for node in body if isinstance(node, ast.ImportFrom) for each in node.names}
    assert set(import_module(package).__all__) - {"__version__"} == names


@pytest.mark.parametrize("package", sorted(STUBS))
def test_a_room_hands_on_its_own_names_only(package):
    assert {source for source in STUBS[package] if not source.startswith(f"{package}.")} == set()
