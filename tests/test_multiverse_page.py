"""The answers of a multiverse from its arrays, its page, and what the command says of them."""

import dataclasses
import json

import numpy as np
import pytest
from test_report import Page

import chinchilla_jax as cj
from chinchilla_jax import analysis, plots
from chinchilla_jax.cli import main
from chinchilla_jax.plots.panels import unshown
from chinchilla_jax.report import render_multiverse, write_report

pytestmark = pytest.mark.slow

OPTIONS = {
    "laws": ["chinchilla"],
    "objectives": ["huber", "squared"],
    "deltas": [1e-3, 1e-2],
    "countings": ["as_plotted", "standard"],
    "costs": ["6nd"],
    "rows": ["all", "drop_loss:5"],
    "schemes": ["pairs"],
}


@pytest.fixture(scope="module")
def found():
    return cj.multiverse("chinchilla", flops=[1e22, 1e24], resamples=20, **OPTIONS)


def test_an_answer_is_that_of_the_arrays(found):
    answer = found.answer("params", 1e24)
    assert answer.estimates.tolist() == found.estimates("params", 1e24).tolist()
    assert np.array_equal(answer.draws, found.draws("params", 1e24), equal_nan=True)
    assert list(answer.choices) == list(found.choices) and answer.is_count
    rows = found.table[(found.table["quantity"] == "params") & (found.table["flops"] == 1e24)]
    for limits, name in zip(answer.limits, ("low", "high"), strict=True):
        np.testing.assert_allclose(limits, rows[name], rtol=1e-12)
    effects, nested = found.effects("params", 1e24), {"delta": "objective"}
    assert effects.equals(analysis.choice_effects(answer.choices, answer.estimates, nested=nested))
    assert effects["share"].sum() == pytest.approx(1.0)
    assert dict(zip(effects["choice"], effects["within"], strict=True))["delta"] == "objective"
    assert found.interval("params", 1e24) == answer.interval
    assert "compute-optimal number of parameters at 1e24 FLOP runs from" in found.sentence("params", 1e24)
    assert answer.facts.default == found.estimates("params", 1e24)[found.default]
    near = found.answer(flops=1e22, reference=20.0)
    assert near.facts.reference == 20.0 and near.label == "compute-optimal tokens per parameter at 1e22 FLOP"
    with pytest.raises(cj.UsageError, match="several budgets"):
        found.effects()
    with pytest.raises(cj.UsageError, match="unknown quantity"):
        found.answer("ratio", 1e22)
    with unshown():
        first, *_ = found.plot("loss", 1e22)
        second, *_ = plots.specification_curve(found.answer("loss", 1e22))
    assert first.get_ylabel() == second.get_ylabel()


def test_its_page_shows_what_the_answers_say(found, tmp_path):
    path = write_report(found, tmp_path / "page.html")
    page = Page(path.read_text(encoding="utf-8"))
    text = " ".join(page.texts)
    assert found.sentence(flops=1e22) in text and found.sentence(flops=1e24) in text
    effects = page.frame("effects")
    np.testing.assert_array_equal(effects["share"].astype(float), found.effects(flops=1e22)["share"])
    pooled = page.frame("pooled")
    assert len(pooled) == 8
    interval = found.interval(flops=1e22)
    assert float(pooled["low"].iloc[0]) == interval.low and float(pooled["high"].iloc[0]) == interval.high
    assert len(page.frame("analyses-table")) == 2 * len(found)
    assert len(set(page.ids)) == len(page.ids)
    with pytest.raises(cj.UsageError, match="no path"):
        write_report(found)


def without(found, kept):
    """The same multiverse whose laws have no optimum but at some budgets."""

    def answers(job):
        result = found.answers(job)
        lost = {name: np.where(kept[:, None], values, np.nan) for name, values in result.answers.items()}
        return dataclasses.replace(result, answers=lost)

    return dataclasses.replace(found, answers=answers)


def test_its_page_says_why_no_analysis_has_an_answer(found):
    page = Page(render_multiverse(without(found, np.array([False, False]))))
    text = " ".join(page.texts)
    assert "No analysis has an answer." in text and "no compute-optimal point" in text
    assert page.frame("failures")["n"].astype(int).tolist() == [len(found)] and "effects" not in page.tables
    one = without(found, np.array([False, True]))
    assert not one.has_answer(1e22) and one.has_answer(1e24)
    page = Page(render_multiverse(one))
    assert found.sentence(flops=1e24) in " ".join(page.texts) and len(page.frame("pooled")) == 4
    with pytest.raises(cj.DataError, match="no analysis has a finite answer"):
        one.effects(flops=1e22)


def test_the_command_says_which_choice_moves_the_answer_and_writes_the_page(found, tmp_path, capsys):
    options = [f"--{name}={','.join(map(str, values))}" for name, values in OPTIONS.items()]
    page = tmp_path / "page.html"
    command = ["multiverse", "chinchilla", *options, "--flops=1e22", "--flops=1e24", "--resamples=20"]
    assert main([*command, "--page", str(page), f"--out={tmp_path / 'answers'}"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert found.sentence(flops=1e22) in said and found.sentence(flops=1e24) in said
    assert page.exists()
    assert main(["report", str(tmp_path / "answers")]) == 2
    assert "--out and --page FILE" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--json", f"--out={tmp_path / 'answers'}"]) == 0
    fields = json.loads(capsys.readouterr().out)
    (first, second) = fields["answers"]
    assert first["sentence"] == found.sentence(flops=1e22) and second["flops"] == 1e24
    shares = {row["choice"]: row["share"] for row in first["effects"]}
    assert shares == dict(found.effects(flops=1e22)[["choice", "share"]].itertuples(index=False))
    assert first["interval"]["low"] == found.interval(flops=1e22).low
