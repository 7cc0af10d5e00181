"""One number heads every answer: the estimate of the point fit, whatever is asked."""

import dataclasses
import re

import numpy as np
import pytest
from test_cli import done, strict_json

import chinchilla_jax as cj
from chinchilla_jax import planning
from chinchilla_jax import plots as figures
from chinchilla_jax._util.labels import HEADLINE, INTERVAL_COLUMNS
from chinchilla_jax.laws.compute import GOPHER_FLOPS
from chinchilla_jax.report.answer import answer
from chinchilla_jax.report.content import plain_text
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.study import StudySpec, Sweep

DATA = "chinchilla"
FLOPS = "5.76e23"
FEW = ("--resamples", "40")


@pytest.fixture(scope="module")
def headline():
    law = cj.fit(cj.load_runs(DATA)).law
    return float(law.tokens_per_param(GOPHER_FLOPS))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A table of one's own, for which zone and scheme are chosen by its residuals."""
    path = tmp_path_factory.mktemp("own") / "runs.csv"
    cj.load_runs("llama3").to_frame()[["params", "tokens", "flops", "loss"]].to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("which", ["embedded", "own"])
def test_fit_bootstrap_plan_and_isoflop_agree(which, own):
    data = DATA if which == "embedded" else own
    law = cj.ScalingLaw(**strict_json(done("fit", data, "--json"))["law"])
    headline = float(law.tokens_per_param(float(FLOPS)))
    ask = (data, "--flops", FLOPS, *FEW)
    bands = strict_json(done("bootstrap", *ask, "--json"))["tokens_per_param"]
    plan = strict_json(done("plan", *ask, "--json"))["plan"]["tokens_per_param"]
    compared = strict_json(done("isoflop", *ask, "--json"))["compared"]
    parametric = next(
        row for row in compared if (row["method"], row["quantity"]) == ("parametric", "tokens_per_param")
    )
    for row in (bands[0], plan, parametric):
        assert row[HEADLINE] == pytest.approx(headline, rel=1e-6)
        names = [name for name in row if name in (*INTERVAL_COLUMNS, "median")]
        assert names == [*INTERVAL_COLUMNS, "median"]
    # What is printed, and where: first, with the interval beside it and no second number to choose from.
    for command in ("bootstrap", "plan", "isoflop"):
        text = done(command, *ask)
        assert re.search(r"estimate +low +high( |$)", text, re.MULTILINE), command
        assert "median" not in text
        # To the digits that this interval supports.
        assert f"{headline:.3g}" in text


def test_the_page_of_a_study_heads_with_it(tmp_path, headline):
    spec = StudySpec(data=DATA, interpretations=("as_plotted",), resamples=40, flops=(1e22, GOPHER_FLOPS))
    study = cj.run_study(spec, tmp_path / "study", progress=None, figures=False)
    rows = study.tokens_per_param
    assert list(rows)[:7] == ["condition", "flops", "low", "median", "high", "level", "method"]
    own = rows[(rows["method"] != "besiroglu2024") & (rows["flops"] == GOPHER_FLOPS)]
    assert own[HEADLINE].to_numpy() == pytest.approx(headline, rel=1e-6)
    assert f"call for {headline:.3g} training tokens" in plain_text(answer(Facts(study))[0])
    # As version 0.1.0 stored it.
    stored = study._tables
    study.__dict__["_tables"] = lambda kind: stored(kind).drop(columns=HEADLINE, errors="ignore")
    np.testing.assert_allclose(study.tokens_per_param[HEADLINE], rows[HEADLINE], rtol=1e-12)
    assert plain_text(answer(Facts(study))[0]).count(f"{headline:.3g} training")


def test_a_study_of_ones_own_table_gives_the_number_of_fit(tmp_path, own):
    done("study", "init", str(tmp_path / "mine.toml"), "--data", own)
    wanted = StudySpec.from_toml(tmp_path / "mine.toml")
    spec = dataclasses.replace(wanted, resamples=40, sweeps=(), flops=(1e22, GOPHER_FLOPS))
    study = cj.run_study(spec, tmp_path / "study", progress=None, figures=False)
    law = cj.fit(cj.load_runs(own)).law
    found = study.tokens_per_param.query("method == 'percentile'")[HEADLINE]
    assert found.to_numpy()[:2] == pytest.approx(law.tokens_per_param([1e22, GOPHER_FLOPS]), rel=1e-6)


def test_tables_and_figures_of_decisions_head_with_it(headline):
    boot = cj.bootstrap(cj.load_runs(DATA), resamples=40)
    row = boot.tokens_per_param([GOPHER_FLOPS]).iloc[0]
    assert list(row.index[:5]) == ["flops", *INTERVAL_COLUMNS, "median"]
    assert row[HEADLINE] == pytest.approx(headline, rel=1e-9)
    sample = planning.LawSample.from_bootstrap(boot)
    plan = planning.plan(sample, flops=GOPHER_FLOPS).table
    assert list(plan) == ["quantity", *INTERVAL_COLUMNS, "median"]
    models = planning.known_models().query("model == 'Chinchilla'")
    placed = planning.place_models(sample, models).iloc[0]
    at = float(placed["flops"])
    assert placed[f"optimal_{HEADLINE}"] == pytest.approx(float(sample.point.tokens_per_param(at)))
    assert placed["optimal_tokens"] / placed["optimal_params"] == pytest.approx(placed[f"optimal_{HEADLINE}"])
    curve = figures.plan_table(sample, flops=[GOPHER_FLOPS]).query("law == 'fitted'")
    tokens, params = (curve.set_index("quantity").loc[name, HEADLINE] for name in ("tokens", "params"))
    assert tokens / params == pytest.approx(headline, rel=1e-9)
    drawn = figures.plan(cj.plan(sample, flops=GOPHER_FLOPS))[0]
    marked = next(each for each in drawn.containers if each.get_label() == "the plan")
    assert marked.lines[0].get_ydata()[0] == pytest.approx(float(sample.point.optimal(GOPHER_FLOPS)[0]))
    (fitted,) = (line for line in drawn.lines if line.get_label() == "fitted")
    at = list(fitted.get_xdata()).index(GOPHER_FLOPS)
    assert fitted.get_ydata()[at] == pytest.approx(marked.lines[0].get_ydata()[0], rel=1e-12)


def test_a_page_names_a_budget_and_a_kind_of_error_once(tmp_path):
    largest = float(cj.load_runs(DATA).flops.max())
    rounded = largest * (1 + 1e-4)  # as of counts that were rounded
    sweep = Sweep(family="systematic_bias", values=(0.9, 1.0, 1.1))
    spec = StudySpec(data=DATA, interpretations=("as_plotted",), resamples=40, flops=(rounded,))
    spec = dataclasses.replace(spec, sweeps=(sweep,))
    facts = Facts(cj.run_study(spec, tmp_path / "study", progress=None, figures=False))
    vars(facts)["wanted_budget"] = (largest, "the largest budget among the runs")
    where, spread, _ = (plain_text(each) for each in answer(facts))
    assert "FLOP (the largest budget among the runs), the" in where and "nearest" not in where
    assert "keep it between" in spread and spread.count("biased by size") == 1
