"""The README and the pages in docs/ are true: their code runs, their commands and links exist."""

import ast
import contextlib
import dataclasses
import io
import re
import shlex
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

import chinchilla_jax as cj
from chinchilla_jax import analysis, planning

HERE = Path(__file__).parent.parent
README = HERE / "README.md"
SITE = tuple(sorted((HERE / "docs").rglob("*.md")))
MADE = {HERE / "docs" / name for name in ("gallery", "reference", "results")}
PAGES = (README, *SITE, HERE / "CONTRIBUTING.md")
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def blocks(language):
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found


def test_its_study_can_be_run(tmp_path):
    for text in blocks("toml"):
        (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
        spec = cj.StudySpec.from_toml(tmp_path / "spec.toml")
        assert spec.interpretations == ("standard", "reported")
        assert [len(sweep.values) * sweep.repeats for sweep in spec.sweeps] == [9, 10]


def test_its_python_uses_public_names_only():
    modules = {"cj": cj, "planning": planning}
    used = {name: set() for name in modules}
    for text in blocks("python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in used:
                used[node.value.id].add(node.attr)
    assert {"fit", "bootstrap", "run_study"} <= used["cj"]
    for name, module in modules.items():
        assert used[name] <= set(module.__all__)
    for node in (node for text in blocks("python") for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.ImportFrom):
            assert all(hasattr(import_module(node.module), name.name) for name in node.names)


def anchors(page):
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HERE)))
def test_its_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if MADE & set((page.parent / name).resolve().parents):
            continue  # made while the site is built, which checks its links
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_it_is_short_and_opens_with_a_figure_and_two_commands():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 115
    opening = "\n".join(lines[:32])
    assert "![" in opening and opening.count("```sh") == 2


def test_every_page_of_the_site_is_a_link_from_the_landing_page():
    text = (HERE / "docs" / "index.md").read_text(encoding="utf-8")
    for page in SITE:
        name = page.relative_to(HERE / "docs").as_posix()
        assert name in ("index.md", "situations/index.md") or f"({name}" in text, name


@pytest.mark.slow
def test_its_python_runs(tmp_path, monkeypatch):
    """One block after the other, as they are written but with smaller numbers of resamples."""
    shutil.copytree(HERE / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    bootstrap, paper_study = cj.bootstrap, cj.paper_study
    spec, search = analysis.CoverageSpec, analysis.breakdown

    def few(runs, *law, resamples=4000, **given):
        return bootstrap(runs, *law, resamples=60, **given)

    def small(resamples):
        spec = paper_study(resamples=20)
        assert len(spec.sweeps) == 4 and resamples >= 100
        return dataclasses.replace(spec, sweeps=spec.sweeps[:1], interpretations=("standard",))

    monkeypatch.setattr(cj, "bootstrap", few)
    monkeypatch.setattr(cj, "paper_study", small)
    forms, stack = analysis.compare_forms, analysis.stack_laws
    monkeypatch.setattr(
        analysis, "compare_forms", lambda *data, **given: forms(*data, **given | {"folds": 2, "resamples": 4})
    )
    monkeypatch.setattr(
        analysis, "stack_laws", lambda *data, **given: stack(*data, **given | {"folds": 2, "resamples": 20})
    )
    monkeypatch.setattr(
        analysis, "CoverageSpec", lambda datasets, inner: spec(datasets=2, resamples=20, inner=inner)
    )
    monkeypatch.setattr(
        analysis,
        "breakdown",
        lambda runs: search(runs, families=["systematic_bias"], resamples=20, repeats=1),
    )
    names = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        for text in blocks("python"):
            exec(compile(text, "README.md", "exec"), names)
    assert "CONVERGED" in said.getvalue()
    assert names["tokens"] / names["params"] == pytest.approx(
        float(names["fit"].law.tokens_per_param(5.76e23)), rel=1e-9
    )
    assert (tmp_path / "results" / "small" / "report.html").exists()


@pytest.mark.slow
def test_the_first_pages_show_what_their_commands_print(monkeypatch, capsys):
    """`python docs/outputs.py` brings them up to date; with --check it compares all pages."""
    pages = (README, HERE / "docs" / "start" / "index.md", HERE / "docs" / "situations" / "two-recipes.md")
    monkeypatch.syspath_prepend(HERE / "docs")
    monkeypatch.setattr("sys.argv", ["outputs.py", "--check", *map(str, pages)])
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(HERE)
    assert import_module("outputs").main() == 0, capsys.readouterr().out


def test_its_shell_blocks_are_shell_and_its_commands_exist():
    import click

    from chinchilla_jax.cli.app import chinchilla_jax_command as group

    context = click.Context(group)
    checked = 0
    for text in blocks("sh"):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        for part in re.split(r"&&|\n", text.replace("\\\n", " ")):
            program, *arguments = shlex.split(part, comments=True) or [""]
            if not program.endswith("chinchilla-jax"):
                continue
            name, *rest = arguments
            # Parses the arguments and runs nothing; an unknown name raises.
            group.get_command(context, name).make_context(name, rest)
            checked += 1
    assert checked >= 5


def test_the_page_about_the_command_line_names_every_command():
    from chinchilla_jax.cli.app import COMMANDS

    text = (HERE / "docs" / "command_line.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`chinchilla-jax ([a-z]+)", text)) == set(COMMANDS)
    named = re.findall(r"`chinchilla-jax ([a-z]+)", TEXT)
    assert set(named) <= set(COMMANDS)


def test_every_room_is_on_the_map():
    """The developers' guide has a row for each package; tests/test_imports.py checks which way they point."""
    rooms = {path.parent.name for path in (HERE / "chinchilla_jax").glob("*/__init__.py")}
    text = (HERE / "docs" / "developers" / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)/`", text, re.MULTILINE)) == rooms
