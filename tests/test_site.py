"""What the site makes from the code leaves nothing out; `mkdocs build --strict` checks the rest."""

import inspect
from importlib import import_module
from pathlib import Path

import click
import pytest

from chinchilla_jax import plots
from chinchilla_jax.cli.app import COMMANDS, chinchilla_jax_command

SITE = Path(__file__).parent.parent / "docs" / "_site"
# Of the public functions of plots, those that write files or draw several figures.
NOT_DRAWN = {"published_parameters", "save_figures", "save_study_figures", "study_figures", "style"}


@pytest.fixture
def part(monkeypatch):
    monkeypatch.syspath_prepend(SITE)
    return import_module


def test_every_drawing_function_is_in_the_gallery(part):
    lines = [line for _, _, figures in part("gallery").SECTIONS for _, line in figures.values()]
    for name in plots.__all__:
        if not inspect.isfunction(getattr(plots, name)) or name.endswith("_table") or name in NOT_DRAWN:
            continue
        assert any(line.startswith(f"cj.plots.{name}(") for line in lines), name


def test_every_option_of_every_command_is_in_the_reference(part):
    pages = dict(part("commands").pages())
    assert list(pages) == ["index", *COMMANDS]
    assert set(COMMANDS) <= set(part("commands").examples())

    def options(command, parent):
        with click.Context(command, info_name=command.name, parent=parent) as context:
            yield from (each for each in command.params if not getattr(each, "hidden", False))
            for name in command.list_commands(context) if isinstance(command, click.Group) else ():
                yield from options(command.get_command(context, name), context)

    for name in COMMANDS:
        command = chinchilla_jax_command.get_command(click.Context(chinchilla_jax_command), name)
        for option in options(command, None):
            shown = (
                option.opts[0]
                if isinstance(option, click.Option)
                else option.make_metavar(click.Context(command))
            )
            assert shown.replace("|", "\\|") in pages[name], (name, shown)


def test_every_public_name_is_in_the_reference(part):
    pytest.importorskip("griffe", reason="it reads the names, and comes with the extra docs")
    names = part("names")
    pages = dict(names.pages())
    missing = [
        f"{module}.{name}"
        for module, (short, _) in names.MODULES.items()
        for name in names.public_names(module)
        if f'{short}.{name}"' not in (text := pages[module.rpartition(".")[2]])
        and f"### {short}.{name}\n" not in text
    ]
    assert missing == []


def test_links_that_lead_nowhere_and_resources_of_elsewhere_are_found(part, tmp_path):
    (tmp_path / "b.html").write_text('<h1 id="one">One</h1>')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#one">1</a><a href="b.html#two">2</a><a href="c.html">3</a><a href="https://a.example">4</a>'
        '<script src="https://a.example/x.js"></script><source media="(max-width: 45em)" srcset="d.png">'
    )
    assert part("check").faults(tmp_path) == [
        "a.html loads https://a.example/x.js",
        "a.html: no anchor for b.html#two",
        "a.html: no file for c.html",
        "a.html: no file for d.png",
    ]
