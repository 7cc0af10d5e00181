"""Courtesies of the command line: doctor, --quiet, narrow screens, completion, misspelt words."""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chinchilla_jax._util import requirements
from chinchilla_jax._util.progress_bar import LineProgress, Progress, RichProgress, resolve, silenced
from chinchilla_jax.cli import doctor, main, output
from chinchilla_jax.cli.app import COMMANDS


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(doctor, "_SECONDS", 0.0)
    monkeypatch.setattr(doctor, "_RESAMPLES", 20)


def test_doctor_finds_this_installation_well(hurried, capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["jax"] == version("jax")
    assert [check["passed"] for check in found["checks"]] == [True] * 4
    assert found["precision"]["inside the library"] == "float64"
    assert found["engine"] == {"auto": "lanes", "reason": ""}
    assert found["speed"]["certified fits per second"] > 0
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("right" in line for line in lines) == 4


def test_doctor_looks_for_every_package_of_every_extra(monkeypatch):
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = {
        "chinchilla-jax": [
            *project["dependencies"],
            *(f"{each}; extra == '{extra}'" for extra, some in extras.items() for each in some),
        ],
        "jax": [
            "jax-tpu ; platform_system == 'Linux' and extra == 'tpu'",
            "jax-cuda; extra == 'cuda13'",
            "x",
        ],
    }
    monkeypatch.setattr(requirements, "_requires", lambda name: lines[name])
    monkeypatch.setattr(requirements, "_installed", lambda name: name not in ("click", "fsspec", "jax-tpu"))
    found = requirements.required()
    assert extras.keys() >= requirements.DEVELOPERS, "each is an extra"
    asked = [each for extra in extras.keys() - requirements.DEVELOPERS for each in extras[extra]]
    names = {re.split(r"[\[>]", each)[0] for each in (*project["dependencies"], *asked)}
    assert {each.name for each in found} == names | {"jax-tpu", "jax-cuda"}
    said = "click; jax-tpu (chinchilla-jax[tpu]); fsspec (chinchilla-jax[remote])"
    assert doctor._missing_text(found) == said
    assert doctor._missing_text([]).startswith("not known: ")


def test_doctor_says_when_a_number_is_wrong(hurried, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "KNOWN_MINIMUM", doctor.KNOWN_MINIMUM * 1.001)
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    assert "WRONG" in said.out
    assert "self-check failed: minimum of the embedded runs;" in said.err


def test_quiet_says_nothing_but_what_was_asked_for(capsys):
    assert main(["datasets", "--quiet"]) == 0
    assert main(["fit", "chinchilla", "--starts", "16", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["fit", "chinchilla", "--starts", "16", "-q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "CONVERGED"
    assert main(["fit", "nowhere.csv", "-q"]) == 2
    assert "nowhere.csv" in capsys.readouterr().err
    assert main(["datasets"]) == 0, "the next run speaks again"
    assert "llama3" in capsys.readouterr().out


def test_quiet_shows_no_progress_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with silenced():
        assert type(resolve("auto")) is Progress
    shown = resolve("auto")
    assert isinstance(shown, LineProgress | RichProgress)
    shown.close()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed_blocks(widths, screen, keys=1):
    """The lines of each block of a table of such columns, named c00, c01, ..., on a screen of that width."""
    header = [f"c{i:02}" for i in range(len(widths))]
    row = ["x" * width for width in widths]
    with redirect_stdout(Terminal()) as shown, mock.patch.dict(os.environ, COLUMNS=str(screen)):
        output.print_table(header, [row], keys=keys)
    return [block.splitlines() for block in click.unstyle(shown.getvalue()).split("\n\n")], header


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(20, 200), st.integers(1, 3))
@example([40, 1, 40], 20, 3)
def test_a_wide_table_is_cut_into_blocks_that_fit_the_screen(widths, screen, keys):
    blocks, header = printed_blocks(widths, screen, keys)
    names = [block[0].split() for block in blocks]
    assert all(block[:keys] == header[:keys] for block in names), "each says what its rows are about"
    assert [*header[:keys], *(name for block in names for name in block[keys:])] == header
    for lines, block in zip(blocks, names, strict=True):
        assert max(map(len, lines)) <= screen or len(block) <= keys + 1


def test_a_wide_table_is_cut_at_a_hundred_columns_in_a_pipe_and_an_interval_stays_whole(capsys):
    widths = [17, *[9] * 12]
    assert len(printed_blocks(widths, 80)[0]) == 3
    header = ["recipe", *"bcdef", "same ratio", "low", "high"]
    output.print_table(header, [["x" * 12] * 6 + [1.0, 0.8, 1.2]])
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.split("\n")[0].split() == ["recipe", *"bcdef"]
    assert second.split("\n")[0].split() == ["recipe", "same", "ratio", "low", "high"]


def test_doubts_of_a_wide_table_are_said_under_it(capsys):
    output.print_table(["x", "y"], [["a", 1], ["b", 2]], doubts=["f" * 70, "g" * 97])
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in out[1:3]] == ["[1]", "[2]"] and out[3] == f"[1] {'f' * 70}"


def test_an_estimate_has_the_digits_of_its_interval_and_json_all_of_them(capsys):
    header = ["quantity", "flops", "estimate", "standard_error", "low", "high"]
    nan = float("nan")
    rows = [
        ["E", nan, 1.85808, 0.0160608, 1.83758, 1.87812],
        ["params", 1e22, 9.572e9, nan, 8.643e9, 1.05e10],
        ["tokens_per_param", 1e22, 18.189, nan, 15.1233, float("inf")],
        ["flops", 1e22, 1e22, nan, 1e22, 1e22],
    ]
    output.print_table(header, rows)
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["E", "-", "1.858", "0.016", "1.838", "1.878"],
        ["params", "1e22", "9.57B", "-", "8.64B", "10.50B"],
        ["tokens_per_param", "1e22", "18.2", "-", "15.1", "inf"],
        ["flops", "1e22", "1e22", "-", "1e22", "1e22"],
    ]


def complete(*words):
    environment = os.environ | {
        "_CHINCHILLA_JAX_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["chinchilla-jax", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from chinchilla_jax.cli import main; sys.exit(main([]))"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # Each line is a type and a value: "plain,doctor".
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_completion_scripts():
    for shell in ("bash", "zsh", "fish"):
        out = subprocess.run(
            [sys.executable, "-m", "chinchilla_jax", "--show-completion", shell],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"_CHINCHILLA_JAX_COMPLETE={shell}_complete" in out


def test_completion():
    assert complete("do") == ["doctor"]
    assert complete("fit", "ch") == ["chinchilla"]
    assert complete("fit", "chinchilla", "--engine", "la") == ["lanes"]
    assert "--quiet" in complete("bootstrap", "--q")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["studdy"], "'study'"),
        (["docter"], "'doctor'"),
        (["fit", "chinchila"], "'chinchilla'"),
        (["fit", "chinchilla", "--counting", "standart"], "'standard'"),
        (["fit", "chinchilla", "--solver", "newtom"], "'newton'"),
        (["fit", "chinchilla", "--objectiv", "huber"], "--objective"),
        (["study", "papre", "--out", "x"], "'paper'"),
    ],
)
def test_misspelt_words_are_recognised(arguments, meant, capsys):
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert meant in message and re.search("did you mean|possible options", message, re.IGNORECASE)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["bootstrap", "chinchilla", "--resamples", "ten"], "'ten'"),
        (["bootstrap", "chinchilla", "--flops", "1e21", "--flops", "much"], "'much'"),
        (["plan", "--flops", "1e24 FLOP"], "'1e24 FLOP'"),
    ],
)
def test_what_is_no_number_is_said(arguments, found, capsys):
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert f"{found} is not a " in message and message.count("\n") == 1


def test_no_command_lists_them(capsys):
    assert main([]) == 2
    message = capsys.readouterr().err
    assert all(name in message for name in COMMANDS)
