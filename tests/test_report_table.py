"""The page of a table without a study: what it shows, against the fit and the bootstrap, and the command."""

import dataclasses
import json
import math
import re

import jinja2
import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj
from chinchilla_jax._util import side_process
from chinchilla_jax._util.digits import interval_texts
from chinchilla_jax._util.side_process import SideProcess
from chinchilla_jax._util.text import visible
from chinchilla_jax.cli import main
from chinchilla_jax.cli.report import page_of
from chinchilla_jax.laws import read_law
from chinchilla_jax.planning import next_runs
from chinchilla_jax.report import runs_table
from chinchilla_jax.report.cells import page_table
from chinchilla_jax.report.numbers import answer_texts, half_width
from chinchilla_jax.report.sections import advice, sure
from chinchilla_jax.report.subject import subject_of
from chinchilla_jax.report.table_page import answer
from chinchilla_jax.report.table_page import table_page as made_page
from tests.test_report import Page, assert_linked_numbers_are_in_their_rows


@pytest.fixture(scope="module")
def page(table_page):
    return Page(table_page.read_text(encoding="utf-8"))


def test_the_answer_is_that_of_the_plan_with_its_doubts(table_boot, page):
    made = cj.decide.plan(table_boot, flops=3e21)
    rows = page.frame("answer-numbers").set_index("quantity")
    wanted = made.table.set_index("quantity")
    for label, quantity in (("parameters N", "params"), ("tokens per parameter", "tokens_per_param")):
        np.testing.assert_array_equal(
            rows.loc[label, ["estimate", "low", "high"]].astype(float),
            wanted.loc[quantity, ["estimate", "low", "high"]],
        )
    text = " ".join(page.texts)
    assert "At 3e21 FLOP, the 48 runs of" in text and "3e21" in text
    far = answer(subject_of(table_boot, flops=1e23))
    assert "100x the compute of the largest run" in "".join(map(str, far.paragraphs[0]))


def test_the_worst_rows_lead_to_the_table(table_boot, page):
    assert page.tables["worst-rows"][1][0][1] == table_boot.runs.name_row(11)
    assert "#run-11" in page.links and "run-11" in page.ids
    runs = page.frame("runs")
    assert len(runs) == 48 and {"optimizer", "residual %", "law"} <= set(runs)
    np.testing.assert_allclose(
        runs["residual %"].astype(float), 100 * np.expm1(-table_boot.point.residuals), rtol=1e-12
    )
    assert len(set(page.ids)) == len(page.ids)


def test_what_was_fitted_and_whether_it_fits(table_boot, page):
    rows = page.frame("fitted-parameters").set_index("parameter")
    interval = table_boot.interval().set_index("parameter")
    np.testing.assert_array_equal(rows["low"].astype(float), interval["low"])
    captions = " ".join(given.get("alt", "") for tag, given in page.tags if tag == "img")
    for against in ("training compute C", "parameters N", "training tokens D"):
        assert f"Loss of the runs against {against}" in captions
        assert f"Residuals against {against}" in captions
    assert "Residuals against optimizer" in captions
    text = " ".join(page.texts)
    assert "of the variance of the log loss" in text and "certified as an optimum" in text
    assert table_boot.dependence.sentence[1:] in text
    assert page.frame("dependence")["grouping"].tolist() == [
        each.grouping for each in table_boot.dependence.groupings
    ]


def test_what_to_do_is_that_of_the_plan_at_every_budget(table_boot, page):
    rows = page.frame("prescriptions").set_index("flops")
    made = cj.decide.plan(table_boot, flops=[3e21, 1e23]).table.set_index(["flops", "quantity"])
    for budget in (3e21, 1e23):
        of = rows[rows.index.astype(float) == budget].iloc[0]
        for quantity, label in (("params", "N"), ("tokens", "D"), ("tokens_per_param", "D/N"), ("loss", "L")):
            wanted = made.loc[(budget, quantity), ["low", "high"]].astype(float)
            np.testing.assert_allclose(of[[f"{label} low", f"{label} high"]].astype(float), wanted, rtol=1e-9)
    assert len(page.frame("next-runs")) == 3
    assert "more runs for" in " ".join(page.texts)
    data = json.loads(page.scripts["explorer-data-optimum"])
    assert [each["key"] for each in data["quantities"]] == ["tokens_per_param", "params", "tokens", "loss"]
    at = data["start_budget"]
    assert data["flops"][at] == 3e21 and data["flops"][data["near"][0]] >= 1e17 and data["flops"][-1] <= 1e23
    curves = data["series"][0]["views"][0]["curves"]
    for quantity, curve in curves.items():
        np.testing.assert_allclose(curve["low"][at], made.loc[(3e21, quantity), "low"], rtol=1e-4)


def test_how_sure_has_the_interval_of_the_answer_and_other_laws(table_boot, page):
    rows = page.frame("intervals-optimum")
    row = rows[(rows["quantity"].str.contains("per parameter")) & (rows["method"] == "percentile")].iloc[0]
    made = cj.decide.plan(table_boot, flops=3e21).table.set_index("quantity").loc["tokens_per_param"]
    np.testing.assert_allclose(
        row[["estimate", "80% low", "80% high"]].astype(float),
        made[["estimate", "low", "high"]].astype(float),
        rtol=1e-6,
    )
    rivals = page.frame("rivals")
    assert rivals["law"].tolist() == ["chinchilla", "equal_exponents", "kaplan", "chinchilla"]
    np.testing.assert_allclose(float(rivals["estimate"][0]), made["estimate"], rtol=1e-9)
    assert "the law predicts the larger ones: " in " ".join(page.texts)


def test_numbers_of_the_answer_are_those_of_their_rows(table_boot):
    assert_linked_numbers_are_in_their_rows([answer(subject_of(table_boot, flops=3e21))])


def test_a_long_table_is_cut_to_the_rows_farthest_from_the_law(table_boot, monkeypatch):
    monkeypatch.setattr(runs_table, "MOST_ROWS", 5)
    table = runs_table.runs_table(subject_of(table_boot))
    assert len(table) == 5 and "run-11" in table.anchors
    assert "The 5 of 48 rows" in table.caption


def test_a_fit_that_is_no_estimate_has_a_page_that_says_why():
    params = np.geomspace(1e8, 1e10, 12)
    loss = cj.ScalingLaw(E=1.8, A=400, B=410, alpha=0.34, beta=0.28).loss(params, 20 * params)
    boot = cj.bootstrap({"params": params, "tokens": 20 * params, "loss": loss}, resamples=20)
    assert not boot.estimated
    page = made_page(subject_of(boot))
    assert page.sections[0].paragraphs[0][0].startswith("These runs give no prescription: ")
    assert [section.id for section in page.sections] == ["answer", "run"]


def test_a_second_process_finds_the_same(table_boot):
    subject = subject_of(table_boot, flops=3e21)
    fits = dataclasses.replace(sure._rival_fits(subject), rivals=(("chinchilla", "squared"),))
    with SideProcess() as side:
        chosen, rows = advice.next_beside(subject, side).result(), side.submit(fits.rows).result()
    here = next_runs(subject.runs, **advice._next_options(subject))
    assert (chosen.flops, chosen.n_fits) == (here.flops, here.n_fits)
    for name in ("table", "widths"):
        pd.testing.assert_frame_equal(getattr(chosen, name), getattr(here, name), check_exact=True)
    assert rows == fits.rows() and len(rows) == 1


def test_without_a_budget_a_second_process_is_asked_nothing(table_boot):
    subject = dataclasses.replace(subject_of(table_boot), flops=())
    with SideProcess() as side:
        assert advice.next_beside(subject, side) is None
        assert sure.rivals_beside(subject, side) is None


def test_the_command_reads_a_table_as_bootstrap_does(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(side_process, "is_worth_it", lambda: False)  # it would compile what this one has
    monkeypatch.chdir(tmp_path)
    frame = cj.load_runs("chinchilla").to_frame().head(60)
    frame.rename(columns={"loss": "val"}).to_csv("mine.csv", index=False)
    options = ["--column", "loss=val", "--resamples", "50", "--flops", "1e22", "--flops", "1e23"]
    assert main(["report", "mine.csv", *options]) == 0
    said = capsys.readouterr().out
    assert "At 1e22 FLOP, the 60 runs of mine.csv call for" in " ".join(said.split())
    assert "mine.report.html: " in said
    text = (tmp_path / "mine.report.html").read_text(encoding="utf-8")
    assert len(text) < 5e6
    text = re.sub(r"base64,[\w+/=]+", "", text)  # in which any letters may occur
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_each_counting_has_a_page_of_its_own():
    assert page_of("/data/runs.csv", None, "") == "runs.report.html"
    assert page_of("-", None, "total") == "table.report.total.html"
    assert page_of("runs.csv", "s3://bucket.x/page", "total") == "s3://bucket.x/page.total"


def test_study_json_decides_what_is_a_study(small_study, tmp_path, monkeypatch, capsys):
    assert main(["report", str(small_study.path), "--resamples", "50"]) == 2
    assert "--resamples: " in (said := capsys.readouterr().err) and "is not fitted again" in said
    assert main(["report", str(tmp_path)]) == 2
    assert "no study.json" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chinchilla").symlink_to(small_study.path)
    assert main(["report", "chinchilla"]) == 2
    assert "give ./chinchilla for the study" in capsys.readouterr().err


def test_python_asks_for_a_path_and_refuses_fits_without_runs(table_boot):
    with pytest.raises(cj.UsageError, match="no path; give the file to write"):
        cj.write_report(table_boot)
    with pytest.raises(cj.UsageError, match="level"):
        subject_of(table_boot, level=2)


def test_a_law_with_further_variables_has_no_map_of_sizes_and_tokens(table_boot):
    assert subject_of(table_boot).diagnosis is not None
    point = dataclasses.replace(table_boot.point, model=read_law("repeated_data"))
    assert subject_of(dataclasses.replace(table_boot, point=point), flops=1e21).diagnosis is None


def test_explorers_of_the_runs_hold_what_the_figures_draw(table_boot, page):
    fit, data = table_boot.point, json.loads(page.scripts["explorer-data-fit"])
    runs = {each["label"]: each["values"] for each in data["runs"]["columns"]}
    np.testing.assert_allclose(runs["loss L (nats per token)"], table_boot.runs.loss, rtol=1e-4)
    law = fit.law.loss(table_boot.runs.params, table_boot.runs.tokens)
    np.testing.assert_allclose(runs["loss of the law"], law, rtol=1e-4)
    assert data["runs"]["anchors"] == [f"run-{i}" for i in range(48)] and set(data["runs"]["anchors"]) <= set(
        page.ids
    )
    assert data["start"] == 11, "the row that lies farthest"
    _, by_params, by_tokens = data["views"]
    for view, of in ((by_params, "flops"), (by_tokens, "params")):
        *slices, best = view["slices"]
        assert best["best"] and "runs" not in best
        assert sorted(i for each in slices for i in each["runs"]) == list(range(48)), (
            "each run is nearest to one"
        )
        spans = [
            np.ptp(np.log(getattr(table_boot.runs, of)[each["runs"]])) for each in slices if each["runs"]
        ]
        assert max(spans) < np.ptp(np.log(getattr(table_boot.runs, of))) / 2
    slice_, budget = by_params["slices"][2], 1e18 * 10 ** (2 * 3 / 5)
    params = np.array(slice_["x"])
    wanted = fit.law.loss(params, budget / (6 * params))
    np.testing.assert_allclose(slice_["loss"], wanted, rtol=2e-4)
    residuals = json.loads(page.scripts["explorer-data-residuals"])
    np.testing.assert_allclose(residuals["y"]["values"], 100 * np.expm1(-fit.residuals), rtol=1e-4)
    assert 11 in residuals["y"]["worst"] and len(residuals["y"]["worst"]) == 3
    groups = residuals["views"][-1]
    shown = [groups["groups"][place] for place in groups["x"]]
    assert shown == list(table_boot.runs.groups["optimizer"])


def test_pages_write_compute_and_symbols_in_one_way(page):
    cells = {name: [[text for _, text in row] for row in rows] for name, rows in page.tables.items()}
    header, *rows = cells["fitted-parameters"]
    assert [row[0] for row in rows] == ["E", "A", "B", "\u03b1", "\u03b2"]
    assert page.frame("fitted-parameters")["parameter"].tolist() == ["E", "A", "B", "alpha", "beta"]
    header, *rows = cells["next-runs"]
    assert all("\u00d7" not in row[header.index("flops")] for row in rows)
    text = " ".join(page.texts)
    assert "E + A N^-\u03b1 + B D^-\u03b2" in text and not re.search(
        r"10[\u2070-\u2079\u00b9\u00b2\u00b3]+ FLOP", text
    )


def test_numbers_of_a_page_have_the_digits_of_the_command(table_boot, page):
    """ "11B (10.8B to 11.5B)" and a loss of "2.1 (2.091 to 2.103)" beside 11.01B and 2.0999 of `plan`."""
    made = cj.decide.plan(table_boot, flops=3e21).table.set_index("quantity")
    rows = [[text for _, text in row] for row in page.tables["answer-numbers"]]
    said = " ".join(page.texts)
    for label, name in (("parameters N", "params"), ("loss L (nats per token)", "loss")):
        values = made.loc[name, ["estimate", "low", "high"]].tolist()
        texts = next(row[1:4] for row in rows if row[0] == label)
        assert texts == interval_texts(values, (values[2] - values[1]) / 2, name)
        assert f"({texts[1]} to {texts[2]})" in said


@pytest.mark.parametrize(("low", "high"), [(math.inf, math.inf), (0.0, math.inf), (math.nan, math.nan)])
def test_an_interval_without_ends_has_no_width_and_no_warning(low, high):
    assert math.isnan(half_width(np.float64(low), np.float64(high)))
    assert answer_texts("tokens", [1e9, low, high], half_width(low, high))[0] == "1B"


def test_an_answer_that_is_narrow_has_the_digits_that_tell_its_ends_apart():
    assert answer_texts("params", [10.8631e9, 10.8629e9, 10.8633e9], 2e5) == [
        "10.8631B",
        "10.8629B",
        "10.8633B",
    ]
    assert answer_texts("tokens_per_param", [math.nan, -1.23, 2.0], math.nan) == ["\u2013", "\u22121.23", "2"]


def test_every_script_of_the_page_is_in_it():
    from importlib import resources

    from chinchilla_jax.report import page as pages

    assets = resources.files("chinchilla_jax.report") / "assets"
    assert sorted(each.name for each in assets.iterdir() if each.name.endswith(".js")) == sorted(
        pages._SCRIPTS
    )


def test_cells_are_html_as_jinja_would_escape_them():
    odd = ["a", "<b>", "x & y", 'say "no"', "it's", "turn\u202e", "a\nb", ""]
    frame = pd.DataFrame({"plain": ["a"] * len(odd), "odd": odd, "number": np.arange(len(odd)) / 7})
    table = page_table(frame, id="t", title="", caption="", anchors=odd, links=odd, texts={"number": odd})
    environment = jinja2.Environment(autoescape=True, finalize=lambda value: visible(str(value), "\n\t"))
    row = environment.from_string(
        '<tr{% if to %} id="{{ to }}"{% endif %}>'
        '<td>{% if to %}<a href="#{{ to }}">a</a>{% else %}a{% endif %}</td>'
        '<td>{{ to }}</td><td class="n" data-v="{{ value }}">{{ to }}</td></tr>'
    )
    expected = "".join(
        row.render(to=to, value=repr(value)) + "\n" for to, value in zip(odd, frame["number"], strict=True)
    )
    assert table.body == expected and len(table) == len(odd) and not table.folded
