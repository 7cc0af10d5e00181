"""How the command line treats people: doctor, --quiet, narrow screens, completion, misspelt words."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert found["speed"]["certified fits per second"] > 0
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("right" in line for line in lines) == 4


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


@given(st.lists(st.integers(1, 20), min_size=4, max_size=12), st.integers(80, 120), st.integers(1, 3))
def test_every_block_says_what_its_rows_are_about(widths, screen, keys):
    blocks = output._blocks(widths, screen, keys)
    first = list(range(keys))
    assert all(block[:keys] == first for block in blocks)
    assert [*first, *(c for block in blocks for c in block[keys:])] == list(range(len(widths)))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.none() | st.integers(20, 200))
def test_blocks_hold_every_column_and_fit_where_they_can(widths, screen):
    blocks = output._blocks(widths, screen)
    assert [column for i, block in enumerate(blocks) for column in block[bool(i) :]] == list(
        range(len(widths))
    )
    assert all(block[0] == 0 for block in blocks)
    if screen is None:
        assert len(blocks) == 1
        return
    for block in blocks:
        taken = sum(widths[column] for column in block) + 2 * (len(block) - 1)
        assert taken <= screen or len(block) <= 2


def test_wide_tables_are_cut_on_a_terminal_and_whole_in_a_pipe(capsys, monkeypatch):
    header = ("condition", *(f"column_{i:02}" for i in range(12)))
    row = ("identity@best_fit", *(float(i) for i in range(12)))
    output.print_table(header, [row])
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr(output, "_screen_width", lambda: 80)
    output.print_table(header, [row])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("identity@best_fit") for line in lines) == 3


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
