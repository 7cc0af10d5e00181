"""The page of a study: its numbers against the tables, its text against what is in users' files."""

import dataclasses
import html.parser
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import chinchilla_jax as cj
from chinchilla_jax import StudySpec, open_study, paper_study
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax.cli import main
from chinchilla_jax.plots.sweeps import SWEEPS, in_words
from chinchilla_jax.report import remake, render, write_report
from chinchilla_jax.report.answer import answer, mildest_condition
from chinchilla_jax.report.content import Linked, plain_text
from chinchilla_jax.report.curves import _rounded
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.report.numbers import exact, shown, shown_column
from chinchilla_jax.report.study_page import study_page
from chinchilla_jax.study import Study, study_status
from chinchilla_jax.study.spec.reproduce import spec_toml, study_command


@given(st.lists(st.floats()))
@example([12345.5, 1.23455e-7, 99999.5, 0.999995, 1e22, 1e23, 5e-324, 1.7e308, 9999.95, 0.1, 12344.5])
def test_explorers_round_as_text_does(values):
    expected = [float(f"{value:.5g}") if 0 < value < np.inf else None for value in values]
    assert _rounded(np.array(values)).tolist() == expected


VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(html.parser.HTMLParser):
    """Ids, links, images, tables and the text of a page; refuses tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.texts = [], [], [], [], []
        self.tags, self.tables, self.scripts = [], {}, {}
        self._rows = self._script = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, given))
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag in ("a", "link") else []
        self.sources += [given["src"]] if "src" in given else []
        if tag == "table":
            self._rows = self.tables[given["id"].removesuffix("-table")] = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append([given.get("data-v"), ""])
        if tag == "script":
            self._script = given.get("id")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif "style" not in self.open:
            self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self._rows[-1][-1][1] += data

    def frame(self, name):
        """One table of the page with the values that its CSV gets."""
        header, *rows = self.tables[name]
        cells = [[text if value is None else value for value, text in row] for row in rows]
        return pd.DataFrame(cells, columns=[text for _, text in header])


@pytest.fixture(scope="module")
def page(small_study):
    return Page(render(small_study))


def test_run_study_writes_it(small_study):
    written = (small_study.path / "report.html").read_text(encoding="utf-8")
    assert written == render(small_study), "the same directory gives the same page"
    assert len(written.encode()) < 8e6
    assert small_study.info["read"][0].startswith("read params from 'params', tokens from 'tokens'")
    assert "loss from &#39;loss&#39;" in written


def test_it_needs_nothing_from_outside(small_study, page):
    assert page.sources and all(source.startswith("data:image/png;base64,") for source in page.sources)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        elif not link.startswith("data:"):
            assert (small_study.path / link).is_file(), link
    assert "http" not in re.sub(
        r"http://www\.w3\.org/2000/svg|http-equiv|base64,[\w+/=]+", "", render(small_study)
    )
    assert len(set(page.ids)) == len(page.ids)


def test_text_of_users_stays_text(small_study, page):
    name = small_study.spec.data.rpartition("/")[2]
    assert "<img" in name and "{{" in name
    assert sum(name in text for text in page.texts) >= 3, "as text, in the title and among what was run"
    assert not any("onerror" in attribute for _, given in page.tags for attribute in given)
    assert {tag for tag, _ in page.tags} & {"iframe", "object", "embed", "form", "base"} == set()


def test_tables_hold_the_numbers_of_the_study(small_study, page):
    shown_rows = page.frame("params-multiplicative")
    params = small_study.params
    wanted = params[
        params["condition"].str.startswith("multiplicative")
        & (params["method"] == "percentile")
        & (params["level"] == 0.8)
    ]
    assert shown_rows["condition"].tolist() == wanted["condition"].tolist()
    for column in ("estimate", "standard_error", "low", "high"):
        np.testing.assert_array_equal(shown_rows[column].astype(float), wanted[column])
    ratios = page.frame("tokens-per-param-multiplicative")
    ratios = ratios.drop(columns="doubt").astype(float)
    of_two = ratios[ratios["value"] == 2.0]
    table = small_study.tokens_per_param
    same = table[
        (table["condition"] == "multiplicative=2.0")
        & (table["method"] == "percentile")
        & (table["level"] == 0.8)
    ]
    np.testing.assert_array_equal(of_two["median"], same["median"])


def test_what_failed_is_there_with_its_condition(small_study, page):
    failed = page.frame("failures").set_index("condition")
    assert failed.index.tolist() == ["additive=-1000000000.0"]
    assert failed.loc["additive=-1000000000.0", "n_failed"] == "20"
    assert "not positive" in failed.loc["additive=-1000000000.0", "note"]
    counts = page.frame("statuses").set_index("status")["bootstrap fits"].astype(int).to_dict()
    assert counts == small_study.info["status_counts"]
    row = page.frame("at-budget").set_index("condition").loc["additive=-1000000000.0"]
    assert row["estimate"] == row["median"] == "" and row["contains_unperturbed"] == "false"


def test_answer_is_filled_from_the_tables(small_study):
    facts = Facts(small_study)
    sentences = answer(facts)
    assert len(sentences) == 3
    table = small_study.tokens_per_param
    row = table[
        (table["condition"] == "identity")
        & (table["level"] == 0.8)
        & (table["method"] == "percentile")
        & (table["flops"] == facts.budget)
    ].iloc[0]
    linked = [part.text for part in sentences[0] if isinstance(part, Linked)]
    assert linked == [
        f"{row['estimate']:.3g} training tokens per parameter",
        f"{row['low']:.3g}",
        f"{row['high']:.3g}",
    ]
    contains = "contains" if row["low"] <= 20 <= row["high"] else "does not contain"
    assert f"the interval {contains} the rule of thumb of 20" in plain_text(sentences[0])
    # The largest of these runs has 1.3e22 FLOP, and the study has whole decades.
    assert facts.budget == 1e22
    failed = small_study.info["n_fits"] - small_study.info["status_counts"]["CONVERGED"]
    assert f"{failed} ({shown(100 * failed / small_study.info['n_fits'], 2)}%)" in plain_text(sentences[2])
    assert "of the 9 perturbed conditions with a certified fit" in plain_text(sentences[2])


def assert_linked_numbers_are_in_their_rows(sections):
    """Each number of the answer that links to a row is in it, in the digits that the reader sees."""
    rows = {}
    for section in sections:
        for table in section.tables:
            texts = zip(*(column.texts for column in table.columns), strict=True)
            rows |= {to: " ".join(row) for to, row in zip(table.anchors, texts, strict=True) if to}
    top = sections[0]
    linked = [part for line in top.paragraphs for part in line if isinstance(part, Linked)]
    linked += [number for number, _ in top.key_figures]
    checked = 0
    for part in linked:
        for number in re.findall(r"\d[\d.,]*[KMBT]?", part.text) if part.anchor in rows else ():
            if not part.title:  # a size in words
                assert number in rows[part.anchor].split(), (part, rows[part.anchor])
                checked += 1
    assert checked >= 4


def test_numbers_of_the_answer_are_those_of_their_rows(small_study):
    assert_linked_numbers_are_in_their_rows(study_page(Facts(small_study)).sections)


def test_documented_range_of_the_answer_is_that_of_the_figure(small_study):
    # The logarithm of the estimate, interpolated in the logarithm of the size.
    facts = Facts(small_study)
    low, high = facts.documented_estimates("multiplicative")
    curves = facts.curves("multiplicative")
    medians = curves[curves["flops"] == facts.budget].set_index("value")["estimate"]
    at = np.log([1 / 1.152, 1.152])
    expected = np.exp(np.interp(at, np.log(medians.index), np.log(medians)))
    np.testing.assert_allclose(sorted(expected), [low, high], rtol=1e-12)


def test_explorers_hold_the_curves(small_study, page):
    data = json.loads(page.scripts["explorer-data-multiplicative"])
    assert [series["name"] for series in data["series"]] == [
        "parameters 50% too low",
        "parameters unchanged",
        "parameters 2 times too high",
    ]
    table = small_study.tokens_per_param
    for series, value in zip(data["series"], (0.5, 1.0, 2.0), strict=True):
        rows = table[
            (table["condition"] == f"multiplicative={value}")
            & (table["method"] == "percentile")
            & (table["level"] == 0.8)
        ]
        np.testing.assert_allclose(
            series["views"][0]["curves"]["tokens_per_param"]["estimate"], rows["estimate"], rtol=1e-4
        )
    assert data["views"][:2] == ["80% interval", "80% interval (Gaussian)"]
    gaussian = table[(table["condition"] == "identity") & (table["method"] == "gaussian")]
    for level, view in ((0.8, 1), (0.5, data["views"].index("50% interval (Gaussian)"))):
        rows = gaussian[gaussian["level"] == level]
        np.testing.assert_allclose(
            data["reference"]["views"][view]["curves"]["tokens_per_param"]["high"], rows["high"], rtol=1e-4
        )
    failed = json.loads(page.scripts["explorer-data-additive"])["series"][0]
    assert failed["views"][0]["curves"]["tokens_per_param"]["estimate"] == [None] * 5


def test_perturbations_are_named_for_people():
    assert in_words("additive", -39810717.05534969) == "parameters 40 million too low"
    assert in_words("multiplicative", 1.1) == "parameters 10% too high"
    assert in_words("multiplicative", 0.25118864315095796) == "parameters 75% too low"
    assert in_words("multiplicative", 4.0) == "parameters 4 times too high"
    assert in_words("systematic_bias", 1.2589254117941673) == "parameters biased by size (exponent 1.3)"
    assert in_words("log_normal_noise", 0.1) == "noise of 10% in the parameters"
    assert in_words("coupled_multiplicative", 1.152) == "parameters 15% too high (tokens recomputed)"
    assert in_words("tokens_additive", -2e9) == "tokens 2 billion too low"
    assert in_words("loss_offset", 0.02) == "losses 0.02 nats too high"
    assert in_words("loss_log_normal_noise", 0.1) == "noise of 10% in the losses"
    assert in_words("multiplicative", 1.0) == "parameters unchanged"
    assert in_words("unheard of", 0.5) == "unheard of 0.5"
    assert all(str(in_words(family, 2e6)) for family in SWEEPS), "families that have no phrase of their own"


def test_no_code_is_left_where_people_read(page, small_study):
    shown = {text for rows in page.tables.values() for row in rows for _, text in row}
    codes = {*small_study.conditions["condition"], *small_study.conditions["family"], "as_given"}
    assert not shown & codes


def test_themildest_condition_perturbation_is_the_least_of_those_that_most_draws_agree_on():
    rows = pd.DataFrame(
        {
            "condition": list("abcdef"),
            "value": [0.1, 0.1, 0.1, 0.3, 0.3, 0.3],
            "contains_unperturbed": [True, True, False, False, True, False],
        }
    )
    assert mildest_condition(rows, "log_normal_noise")["condition"] == "d"
    factors = pd.DataFrame(
        {"condition": list("abc"), "value": [0.5, 1.5, 100.0], "contains_unperturbed": [False, False, False]}
    )
    assert mildest_condition(factors, "multiplicative")["condition"] == "b", (
        "nearest to 1 on the axis of factors"
    )
    assert mildest_condition(factors.assign(contains_unperturbed=True), "multiplicative") is None
    assert mildest_condition(factors, "unheard of") is None


def test_spec_is_reproduced(small_study, tmp_path):
    for spec in (
        small_study.spec,
        paper_study(resamples=7, seed=3),
        StudySpec(data="a\x7f\t\"'\\\u00e9.csv"),
    ):
        path = tmp_path / "spec.toml"
        path.write_text(spec_toml(spec), encoding="utf-8")
        assert StudySpec.from_toml(path) == spec
    paper = paper_study(resamples=7, seed=3)
    assert study_command(paper).endswith("--resamples 7 --seed 3")
    by_xla = study_command(dataclasses.replace(paper, engine="xla"))
    assert by_xla == f"{study_command(paper)} --engine xla"
    other = dataclasses.replace(paper_study(), delta=1e-2)
    assert study_command(other) == (
        "chinchilla-jax study spec.toml --out results/study --resamples 4000 --seed 0"
    )


def copy(study, folder):
    shutil.copytree(study.path, folder)
    return open_study(folder)


def test_it_does_without_figures_and_without_the_data(small_study, tmp_path):
    study = copy(small_study, tmp_path / "copy")
    shutil.rmtree(study.path / "figures")
    study.info["spec"] = study.info["spec"] | {"data": str(tmp_path / "gone.csv")}
    page = Page(render(study))
    assert page.sources == []
    assert page.frame("params-multiplicative")["condition"].nunique() == 3
    assert len(page.frame("runs")) == 240
    del study.info["checksums"]["runs.parquet"]  # as in directories of earlier versions
    study = Study(study.directory, study.info)
    page = Page(render(study))
    assert page.sources == [] and "runs" not in page.tables
    assert "The runs are not shown, nor how well the law describes them: " in " ".join(page.texts)
    assert Facts(study).documented_estimates("multiplicative") is None


@pytest.mark.usefixtures("drawn_once")
def test_further_tables_are_shown(small_study, tmp_path):
    study = copy(small_study, tmp_path / "copy")
    frame = pd.DataFrame({"family": ["<b>additive"], "size": [1.5], "n": [np.int64(3)], "none": [None]})
    frame.to_parquet(study.path / "summary" / "breakdown.parquet")
    (study.path / "summary" / "broken.parquet").write_bytes(b"PAR1")
    page = Page(render(study))
    assert page.frame("table-breakdown").loc[0].tolist() == ["<b>additive", "1.5", "3", ""]
    assert "table-broken" not in page.tables


@pytest.mark.usefixtures("drawn_once")
def test_a_page_that_cannot_be_written_is_no_success(small_study, tmp_path, monkeypatch):
    study = copy(small_study, tmp_path / "copy")
    page = study.path / "report.html"
    page.unlink()
    notes = []
    monkeypatch.setattr(Progress, "note", lambda _, text: notes.append(text))
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    remake(study, Progress())
    assert not page.exists() and "pip install jinja2" in notes[0]
    assert study_status(study.path).lacking == ("report.html",)
    monkeypatch.undo()
    monkeypatch.setattr("chinchilla_jax.report.study_page.answer", lambda facts: 1 / 0)
    with pytest.raises(cj.ChinchillaError, match=r"ZeroDivisionError.*tables and figures are complete"):
        remake(study, Progress())


@pytest.mark.usefixtures("drawn_once")
def test_command(small_study, tmp_path, capsys):
    study = copy(small_study, tmp_path / "copy")
    out = tmp_path / "elsewhere" / "page.html"
    out.parent.mkdir()
    assert main(["report", str(study.path), "--out", str(out)]) == 0
    assert "call for" in capsys.readouterr().out
    for link in Page(out.read_text(encoding="utf-8")).links:
        if not link.startswith(("#", "data:")):
            assert (out.parent / link).is_file(), link
    assert main(["report", str(study.path), "--out", str(tmp_path / "missing" / "page.html")]) == 2
    assert "no directory" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "study" in capsys.readouterr().err


@pytest.mark.usefixtures("drawn_once")
def test_write_report_says_where(small_study, tmp_path):
    assert write_report(small_study, tmp_path / "page.html") == tmp_path / "page.html"
    with pytest.raises(OSError, match="missing"):
        write_report(small_study, tmp_path / "missing" / "page.html")
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]


@pytest.mark.parametrize(
    ("value", "read", "written"),
    [
        (0.1234567, "0.1235", "0.1234567"),
        (-1e-16, "\u22121\u00d710\u207b\u00b9\u2076", "-1e-16"),
        (float("nan"), "\u2013", ""),
        (float("-inf"), "\u2212\u221e", "-inf"),
        (1234567, "1,234,567", "1234567"),
        (True, "yes", "true"),
        (None, "\u2013", ""),
        ("<b>", "<b>", "<b>"),
    ],
)
def test_numbers(value, read, written):
    assert (shown(value), exact(value)) == (read, written)


def test_numbers_below_each_other_have_the_same_decimals():
    nan = float("nan")
    assert shown_column([59.8, 102.0, -7.25, nan, 3]) == ["59.80", "102.00", "\u22127.25", "\u2013", "3"]
    assert shown_column([1811.24, 12345.6]) == ["1,811", "12,346"]
    # Of unlike sizes each number keeps its own digits: parameters of the law, powers of ten.
    assert shown_column([1.7, 426.9412, 0.35]) == ["1.7", "426.9", "0.35"]
    assert shown_column([1e18, 1e19]) == ["10\u00b9\u2078", "10\u00b9\u2079"]
    assert shown_column([0.0, 0.0]) == ["0", "0"] and shown_column([]) == []


def test_the_documented_miscount_is_chinchilla_s_and_a_table_of_one_s_own_says_so(tmp_path):
    from chinchilla_jax.plots.sweeps import documented_label

    assert documented_label("multiplicative", "chinchilla").startswith("documented miscount")
    assert documented_label("multiplicative", "mine.csv").startswith("Chinchilla's documented miscount")
    table = tmp_path / "mine.csv"
    cj.load_runs("chinchilla").to_frame().to_csv(table, index=False)
    sweep = {"family": "multiplicative", "values": [0.5, 1.0, 2.0]}
    spec = cj.StudySpec.from_dict({"data": str(table), "sweeps": [sweep], "resamples": 20})
    study = cj.run_study(spec, out=tmp_path / "study", figures=False)
    movement = plain_text(answer(Facts(study))[1])
    assert (
        "15.2% (the miscount documented for Chinchilla's table, not for this one), interpolated" in movement
    )


def test_a_page_without_an_optimum_says_so(tmp_path):
    """Losses that rise with the tokens."""
    generator = np.random.default_rng(0)
    params = np.repeat(np.geomspace(1e7, 1e10, 6), 5)
    tokens = np.tile(np.geomspace(1e9, 1e11, 5), 6)
    loss = (1.7 + 80 * params**-0.25 + 0.05 * (tokens / 1e9) ** 0.15) * np.exp(
        0.002 * generator.standard_normal(30)
    )
    pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}).to_csv(tmp_path / "up.csv", index=False)
    spec = cj.StudySpec.from_dict({"data": str(tmp_path / "up.csv"), "resamples": 20})
    study = cj.run_study(spec, out=tmp_path / "study", figures=False)
    said = plain_text(answer(Facts(study))[0])
    assert "give no prescription, because the fitted law has no compute-optimal point: beta is -0." in said
