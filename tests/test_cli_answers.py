"""What the commands about a table say of one table: figures, digits, sentences that agree with tables."""

import os
import re

import click
import numpy as np
import pandas as pd
import pytest
from test_cli import done, refused, strict_json

from chinchilla_jax.cli import main
from chinchilla_jax.cli.app import chinchilla_jax_command as group
from chinchilla_jax.cli.figures import FORMATS
from chinchilla_jax.cli.forecast import forecast_line, forecast_seconds
from chinchilla_jax.laws import read_law

FEW = ("--resamples", "40")
WITH_FIGURES = {
    "fit": ((), ["fit", "residuals"]),
    "bootstrap": (FEW, ["fit", "residuals", "tokens_per_param", "params", "tokens", "loss"]),
    "forms": (("--law", "chinchilla", "--law", "equal_exponents", "--resamples", "2", "--split", "flops"),
              ["fit_chinchilla", "residuals_chinchilla", "fit_equal_exponents", "residuals_equal_exponents"]),
    "influence": ((), ["influence"]),
    "objectives": (("--delta", "0.01", "--resamples", "20"), ["objectives"]),
    "multiverse": (
        ("--flops", "1e22", "--laws", "chinchilla", "--objectives", "squared", "--schemes", "pairs", *FEW),
        ["specification_curve_1e22"],
    ),
    "wald": (("--resamples", "200"), ["wald"]),
    "coverage": (("--datasets", "3", "--resamples", "20", "--method", "percentile"), ["coverage"]),
    "breakdown": (("--family", "multiplicative", "--resamples", "20"), ["breakdown"]),
    "compare": (("OTHER", *FEW), ["recipes"]),
    "predict": (("--flops", "1e21", *FEW), ["prediction"]),
    "backtest": (("--resamples", "20", "--windows", "3"), ["backtest"]),
    "plan": (("--flops", "1e21", "--models", "known", *FEW),
             ["optimum_by_compute", "loss_contours", "model_ratios"]),
    "next": (("--allowance", "1e20", "--tables", "4", "--refits", "20", *FEW), ["next_runs", "information"]),
    "next --diagnose": (FEW, ["information"]),
    "next --new": (("--largest", "1e20", "--allowance", "1e21", "--tables", "18"), ["designs"]),
    "inference": (("--input-tokens", "1e12", "--like-params", "7e9", *FEW), ["ratio_maps"]),
    "isoflop": (FEW, ["isoflop"]),
    "flops": ((), ["flop_ratio"]),
    "progress simulate": (("--replicas", "2", "--steps", "1"), ["simulation_errors"]),
}  # fmt: skip
WITHOUT_TABLE = ("flops", "next --new", "progress simulate")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A table of 42 runs on seven budgets, and one whose tokens count for more."""
    rng = np.random.default_rng(7)
    flops, ratio = (
        each.ravel() for each in np.meshgrid(np.geomspace(1e18, 1e21, 7), np.geomspace(5, 100, 6))
    )
    params = np.sqrt(flops / 6 / ratio)
    tokens, folder = ratio * params, tmp_path_factory.mktemp("answers")
    for name, factor in (("runs", 1.0), ("other", 1.6)):
        loss = 1.82 + 482 / params**0.348 + 2085 / (factor * tokens) ** 0.366
        loss *= np.exp(rng.normal(0, 0.004, len(loss)))
        pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}).to_csv(folder / f"{name}.csv")
    return folder


def asked(tables, command):
    words = command.split()
    data = () if command in WITHOUT_TABLE else (str(tables / "runs.csv"),)
    more = [str(tables / "other.csv") if each == "OTHER" else each for each in WITH_FIGURES[command][0]]
    return (*words, *data, *more)


def test_every_command_with_figures_is_tried():
    def names(command, path):
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                yield from names(command.get_command(context, name), (*path, name))
        elif any(each.metavar == "DIR" and "--figures" in each.opts for each in command.params):
            yield " ".join(path)

    assert set(names(group, ())) == {each.partition(" --")[0] for each in WITH_FIGURES}


SLOW = {"forms": pytest.mark.slow}  # compiles two laws


@pytest.mark.parametrize("command", [pytest.param(each, marks=SLOW.get(each, ())) for each in WITH_FIGURES])
def test_figures_are_drawn_listed_and_replace_only_themselves(command, tables, tmp_path, monkeypatch):
    monkeypatch.setattr(  # drawing is what is tried here; writing takes a second each
        "chinchilla_jax.plots.save.figure_files",
        lambda figures, formats, dpi: ((f"{name}.{each}", b"") for name, _ in figures for each in formats),
    )
    names = [f"{name}.{each}" for name in WITH_FIGURES[command][1] for each in FORMATS]
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / names[0]).write_text("of before")
    found = strict_json(done(*asked(tables, command), "--json", "--figures", str(tmp_path)))
    assert found["figures"] == [str(tmp_path / name) for name in names]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "notes.txt"])
    assert (tmp_path / "notes.txt").read_text() == "mine" and (tmp_path / names[0]).read_bytes() == b""


def test_what_was_drawn_is_said_at_the_end_and_not_if_quiet(tables, tmp_path):
    asked_for = ("influence", str(tables / "runs.csv"), "--figures", str(tmp_path / "new"))
    said = done(*asked_for).splitlines()[-2:]
    assert " ".join(said).endswith("influence.png, influence.svg")
    assert done(*asked_for, "--quiet") == ""
    assert "figures" not in strict_json(done("influence", str(tables / "runs.csv"), "--json"))


def row(text, start):
    """The cells of the line that begins like this."""
    return next(line for line in text.splitlines() if line.startswith(start)).removeprefix(start).split()


def test_one_number_reads_alike_in_every_command(tables):
    data = (str(tables / "runs.csv"), "--resamples", "400")
    ratio = row(done("bootstrap", *data, "--flops", "1e22"), " 1e22")[:3]
    plan = done("plan", *data, "--flops", "1e22")
    assert row(plan, "tokens per parameter")[:3] == ratio
    compared = done("isoflop", *data, "--flops", "1e22")
    assert row(compared, "tokens_per_param   1e22  parametric")[:3] == ratio
    assert row(compared, "params             1e22  parametric")[:3] == row(plan, "parameters N")[:3]
    assert all(len(each) <= 6 and "e+" not in each for each in ratio)


def test_sentences_give_the_numbers_of_their_tables(tables):
    data = str(tables / "runs.csv")
    text = done("influence", data)
    without, of_all = re.search(r"are\s+([\d.]+)\s+and\s+not\s+([\d.]+)", text).groups()
    named = re.search(r"Without (row \d+)", text).group(1)
    assert row(text, named)[4] == without and row(text, "none      0")[0] == of_all

    text = done(*asked(tables, "next"))
    before, after, error = re.search(r"from\s+([\d.]+)\s+to\s+([\d.]+)\s+\+-\s+([\d.]+)", text).groups()
    shown = next(line for line in text.splitlines() if line.startswith("tokens_per_param@")).split()
    assert shown[-4:-1] == [before, after, error]

    found = strict_json(done("backtest", data, "--resamples", "20", "--windows", "3", "--json"))
    errors = re.search(r"median error ([\d.]+)%", found["sentence"]).group(1)
    predicted = pd.DataFrame(found["predictions"])
    assert float(errors) == pytest.approx(100 * predicted["error"].abs().median(), rel=0.06)


@pytest.mark.parametrize("command", ["fit", "bootstrap", "predict", "plan", "next", "backtest", "compare"])
def test_the_law_is_called_a_law_over_a_table_of_ones_own(command, tables):
    """A heading "chinchilla, 4,000 laws" reads as if the embedded table had been fitted."""
    text = " ".join(done(*asked(tables, command)).split())
    named = re.findall(r"(\S+) chinchilla\b(?!-jax)", f" {text}")
    assert {*named} <= {"law", "embedded"}, text


def test_long_work_says_beforehand_how_long_it_takes(tables, capfd, monkeypatch):
    monkeypatch.setattr("chinchilla_jax.cli.forecast.available_cores", lambda: 2)
    laws = [read_law("chinchilla"), read_law("kaplan")]
    line = forecast_line("forms", 2665, "fits", laws, 60)
    assert line.startswith(
        "forms: 2,665 fits of 60 runs under 2 laws: about 3.1 s on 2 cores; the first time"
    )
    assert forecast_line("bootstrap", 40, "fits", laws[:1], 60) == "", "it is short"
    for runs, seconds in ((60, 300), (240, 300), (2400, 3000)):
        assert forecast_seconds("bootstrap", 10**8, laws[:1], runs) == pytest.approx(seconds, rel=0.01)

    monkeypatch.setattr("chinchilla_jax.cli.forecast._WORTH_SAYING", 0.0)
    monkeypatch.setattr("chinchilla_jax._util.progress_bar._logged", True)  # as on a terminal
    asked_for = ("bootstrap", str(tables / "runs.csv"), *FEW)
    assert main(asked_for) == 0
    said = capfd.readouterr().err
    assert said.startswith("bootstrap: 40 fits of 42 runs under law chinchilla: about 0.10 s")
    assert main([*asked_for, "--quiet"]) == 0
    assert capfd.readouterr().err == ""


def test_ctrl_c_says_what_is_kept(tables, tmp_path, monkeypatch):
    def interrupted(*data, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("chinchilla_jax.analysis.coverage", interrupted)
    data = str(tables / "runs.csv")
    assert "what is finished is kept in" in refused("coverage", data, "--out", str(tmp_path), code=1)
    assert "nothing is kept, give --out DIR" in refused("coverage", data, code=1)
