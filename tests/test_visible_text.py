"""What files are called, and what they call things, reaches terminals, pages and tables as text alone."""

from __future__ import annotations

import pandas as pd
import pytest

from chinchilla_jax import load_runs
from chinchilla_jax._util.errors import short
from chinchilla_jax._util.text import visible
from chinchilla_jax.cli import output
from chinchilla_jax.cli.entry import main
from chinchilla_jax.planning.ladder.tables import without_formulas

EVIL = "\x1b[31mred\x1b[0m\u202e\x9b2J\x07\x7f"
ROWS = [(1e9 * (i + 1), 2e10 * (1 + i * 7 % 5), 2.5 + i * 7 % 11 / 100) for i in range(12)]


def written(folder, name: str, header: str, *more: str) -> str:
    path = folder / name
    lines = [",".join(map(str, row)) + "".join(f",{each}" for each in more) for row in ROWS]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("header", "arguments"),
    [
        (f"params{EVIL},tokens,loss", ()),
        (f"params,tokens,{EVIL}", ()),
        ("params,tokens,loss", ("--column", f"loss={EVIL}")),
        ("params,tokens,loss", ("--where", f"{EVIL} == 1")),
        (f"params,tokens,loss,loss_{EVIL}", ("--loss", f"{EVIL}=loss", "--loss", f"b=loss_{EVIL}")),
    ],
)
def test_no_control_character_reaches_the_terminal(tmp_path, capsys, header, arguments) -> None:
    """Escapes, marks that turn the line around, bells: none of them in what is wrong with a table."""
    path = written(tmp_path, f"runs{EVIL}.csv", header, *["1"] * (header.count(",") - 2))
    assert main(["fit", path, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error[:-1].isprintable()


def test_what_was_read_is_printed_without_control_characters(tmp_path, capsys) -> None:
    """Nor in the name of the file, of a column and of what it is called."""
    path = written(tmp_path, f"runs{EVIL}.csv", f"params,tokens,loss_{EVIL},{EVIL}", "1")
    runs = load_runs(path, columns={"loss": f"loss_{EVIL}"}, groups=(EVIL,))
    output.print_runs(runs, before=EVIL)
    output.print_field(EVIL, EVIL)
    output.print_warnings([EVIL])
    output.print_json({EVIL: EVIL, "runs": output.runs_fields(runs)})
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert "\\x1b[31mred" in printed


def test_a_name_cannot_forge_a_line(capsys) -> None:
    """A line break within a cell of a table is an escape too."""
    output.print_table(["name", "x\ny"], [["a\nforged", 1.0]])
    assert capsys.readouterr().out.count("\n") == 2


def test_visible_text_keeps_what_prints() -> None:
    """Letters of all scripts stay; what is invisible is named."""
    assert visible("Größe 漢字 β") == "Größe 漢字 β"
    assert visible("a\u00a0b\u202ec\x1b\n") == "a b\\u202ec\\x1b\\n"
    assert visible("a\nb\x1b", "\n") == "a\nb\\x1b"


def test_the_beginning_of_a_long_value_is_all_that_is_looked_at() -> None:
    """`repr` of a nested gigabyte would take several."""

    class Loud:
        def __repr__(self) -> str:
            raise AssertionError

    assert short([*range(40), Loud()]) == short(list(range(100)))
    assert short({i: i for i in range(10**5)}) == repr({i: i for i in range(20)})[:37] + "..."
    assert short(("a", [1, {"b": 2}])) == "('a', [1, {'b': 2}])"
    assert short("x" * 10**6) == "'" + "x" * 36 + "..."


def test_formulas_become_text_for_spreadsheets() -> None:
    """Numbers keep their sign, and texts that begin like a formula get an apostrophe."""
    frame = pd.DataFrame({"x": [-1.0, 2.0], "config": ["=1+1", '{"a": 1}'], "note": ["\t@x", None]})
    plain = without_formulas(frame)
    assert plain["x"].tolist() == [-1.0, 2.0]
    assert plain["config"].tolist() == ["'=1+1", '{"a": 1}']
    assert plain["note"].tolist()[0] == "'\t@x"
