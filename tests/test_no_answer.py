"""Tables without an answer: what every command says of them, and tables that allow little of one."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from test_cli import done, error_text, refused, run, strict_json

import chinchilla_jax as cj
from chinchilla_jax import planning
from chinchilla_jax.analysis import CoverageSpec, coverage
from chinchilla_jax.analysis.breakdown_points import breakdown
from chinchilla_jax.analysis.form_comparison import compare_forms
from chinchilla_jax.analysis.joint_limits import fewest
from chinchilla_jax.cli import output
from chinchilla_jax.cli.breakdown import _cells
from chinchilla_jax.cli.forms_text import _doubt, _fit_fields, _ratios, print_comparison
from chinchilla_jax.cli.objectives import _missing
from chinchilla_jax.intervals import slope_per_decade
from chinchilla_jax.laws import SIX_ND
from chinchilla_jax.laws.scaling_law import PARAMETERS
from chinchilla_jax.planning.plausibility import overhead_doubt
from chinchilla_jax.solvers import Status

SIZES, TOKENS = (5e7, 1e8, 2e8, 4e8, 8e8), (1e9, 3e9, 9e9, 27e9, 81e9)


def noise(n, scale, seed):
    return np.exp(np.random.default_rng(seed).normal(0, scale, n))


def grid(loss, seed=6, scale=0.003):
    table = pd.DataFrame([(n, d) for n in SIZES for d in TOKENS], columns=["params", "tokens"])
    return table.assign(loss=loss(table.params, table.tokens) * noise(25, scale, seed))


def law_loss(params, tokens):
    return 1.8 + 450 * params**-0.345 + 2100 * tokens**-0.367


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    rising = grid(lambda n, d: 1.8 + 450 * n**-0.345 + 0.02 * np.log(d / 1e9))
    sizes = np.geomspace(5e7, 2e9, 16)
    ratio20 = pd.DataFrame({"params": sizes, "tokens": 20 * sizes})
    ratio20["loss"] = law_loss(sizes, 20 * sizes) * noise(16, 0.003, 3)
    twelve = pd.DataFrame(
        [(n, k * n) for n in (6e7, 1.5e8, 4e8, 1e9) for k in (8, 25, 80)], columns=["params", "tokens"]
    )
    twelve["loss"] = law_loss(twelve.params, twelve.tokens) * noise(12, 0.003, 7)
    tables = {
        "rising": rising,
        "grid": grid(law_loss, seed=2),
        "ratio20": ratio20,
        "seven": twelve.iloc[[0, 2, 4, 6, 8, 9, 11]],
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return {name: str(folder / f"{name}.csv") for name in tables}


@pytest.mark.parametrize("command", ["forms", "objectives", "breakdown"])
def test_runs_that_do_not_determine_the_law_are_refused_before_any_resampling(command, paths):
    # A billion resamples would not fit into memory.
    asked = (command, paths["ratio20"], "--scheme", "pairs")
    said = refused(*asked, "--resamples", "20", code=1)
    assert "no estimate, because the point fit ended as UNIDENTIFIED" in said
    code, out, err = run(*asked, "--resamples", "20", "--json")
    found = strict_json(out)
    assert code == 1 and error_text(err) == said == found["warnings"][0]
    assert found[{"forms": "comparison"}.get(command, command)] is None


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("plan", ("--flops", "1e22")),
        ("inference", ("--loss", "2", "--input-tokens", "1e12")),
        ("breakdown", ()),
    ],
)
def test_one_sentence_about_a_law_without_an_optimum(command, options, paths):
    said = refused(command, paths["rising"], *options, "--resamples", "20", code=1)
    assert "no budget has a compute-optimal size, because beta is -0.0" in said
    assert said.endswith("do not lower the loss; check the losses and the counts of the table")


def test_tables_of_a_law_without_an_optimum_hold_no_ratio(paths):
    runs = cj.load_runs(paths["rising"])
    boot = cj.bootstrap(runs, resamples=20, seed=0)
    found = boot.tokens_per_param([1e20, 1e22])
    assert found[["estimate", "low", "high", "median"]].isna().all(axis=None)
    assert any("no optimum at any budget" in warning for warning in boot.warnings)
    rows = coverage(runs, CoverageSpec(datasets=2, resamples=10, methods=("percentile",)))
    ratios = rows[rows["quantity"] == "tokens_per_param"]
    assert (ratios["n"] == 0).all() and ratios["coverage"].isna().all()
    assert (rows.loc[rows["quantity"] == "alpha", "n"] == 2).all()
    assert "beta is -0.0" in rows.attrs["no_optimum"] and sum(rows.attrs["schemes"].values()) == 2
    text = done("coverage", paths["rising"], "--datasets", "2", "--resamples", "10")
    assert "no compute-optimal size at any budget" in text and "(auto: " in text


def test_small_tables_leave_out_what_they_are_too_few_for(paths, capsys):
    runs = cj.load_runs(paths["seven"])
    found = compare_forms(runs, folds=5, resamples=4)
    assert set(found.table["split"]) == {"above 1.9e20 FLOP", "above 51B tokens"}
    assert set(found.table["form"]) == {"chinchilla", "equal_exponents", "kaplan"}
    said = " ".join(found.left_out)
    assert "4 model sizes do not make 5 folds; give 4 folds or fewer" in said
    assert "broken in split 'above 1.9e20 FLOP': 6 runs to fit 7 parameters" in said
    print_comparison(found, [])
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"left out: {why}" in text for why in found.left_out) and "nan" not in text
    assert "give 4 folds or fewer" in refused("forms", paths["seven"], "--split", "params")


def test_few_resamples_have_no_interval():
    assert [fewest(asked) for asked in (2, 4, 10, 20, 40)] == [2, 4, 10, 10, 20]


def test_bca_needs_what_wild_lacks():
    with pytest.raises(cj.UsageError, match=r"'bca' needs .* which scheme 'wild' does not have"):
        CoverageSpec(scheme="wild", methods=("bca",))
    with pytest.raises(cj.UsageError, match="give inner=50"):
        CoverageSpec(methods=("studentised",))
    with pytest.raises(cj.UsageError, match="unknown interval method"):
        CoverageSpec(methods=("bcb",))


def test_breakdown_says_what_needs_no_miscount():
    row = {
        "family": "multiplicative", "direction": "down", "criterion": "slope_excludes_zero", "size": 1.0,
        "low": 0.0, "high": 1.0, "searched_to": 0.001, "documented": 0.868, "times_documented": 0.0,
        "times_low": 0.0, "times_high": math.inf, "flops": math.nan,
    }  # fmt: skip
    assert _cells(row, alone=True)[3:6] == ["already", "<0.001", "already"]
    up = row | {"direction": "up", "searched_to": 1000.0, "size": 1.2, "times_documented": 1.3, "low": 1.1,
                "times_low": 0.5, "high": math.inf}  # fmt: skip
    assert _cells(up, alone=True)[3:6] == [1.2, 1.1, ">1e3"]
    runs = cj.load_runs("chinchilla")
    found = breakdown(runs, families=["multiplicative"], resamples=20, tolerance=0.5)
    point = cj.fit(runs).law.tokens_per_param(found.attrs["flops"])
    assert found.attrs["estimate"] == pytest.approx(point, rel=1e-3)
    assert f"plan is {point:.3g})" in found.attrs["criteria"]["ratio_leaves_interval"]


def test_warnings_of_both_tables(paths):
    asked = ("wald", paths["rising"], "--against", paths["grid"], "--resamples", "200")
    text = " ".join(done(*asked).split())
    assert "scheme auto of rising.csv: " in text and "scheme auto of grid.csv: " in text
    assert "warning: rising.csv: the fitted loss rises with tokens" in text
    assert any("rises with tokens" in warning for warning in strict_json(done(*asked, "--json"))["warnings"])


def test_an_excess_is_never_negative():
    assert overhead_doubt(2.5e-8, 5e-5, 0.00924) == "never below 0: read as up to 0.924%"
    assert overhead_doubt(0.001, 5e-5, 0.00924) == ""
    sample = planning.LawSample.from_law(cj.ScalingLaw(E=1.8, A=450, B=2100, alpha=0.345, beta=0.367))
    ratio = float(sample.point.tokens_per_param(1e22))
    assert "rule_overhead" not in planning.plan(sample, flops=1e22, ratio=ratio).doubts


def test_a_repeated_doubt_is_said_once(capsys):
    output.print_table(["x", "y"], [["a", 1], ["b", 2], ["c", 3]], doubts=["far", "", "far"])
    out = capsys.readouterr().out.splitlines()
    assert out[1].endswith("[1]") and out[3].endswith("[1]") and out[4] == "[1] far"
    output.print_table(["x", "y"], [["a", 1], ["b", 2]], doubts=["far", "odd"])
    assert "[1]" not in capsys.readouterr().out


def test_a_large_cheapest_model_is_doubted():
    sample = planning.LawSample.from_bootstrap(cj.bootstrap(cj.load_runs("chinchilla"), resamples=20))
    made = planning.inference_plan(
        sample, demand=planning.Demand(input_tokens=1e12, output_tokens=0), loss=1.85
    )
    assert "the compute of the largest run" in made.doubts["params"] == made.doubts["tokens"]


def test_rows_of_objectives_and_forms_without_an_estimate_say_the_status():
    assert _missing("UNIDENTIFIED", 20.0) == "no estimate: UNIDENTIFIED"
    assert _missing("BOUNDARY", 20.0) == "" and "no compute-optimal point" in _missing("CONVERGED", math.nan)
    point = cj.fit(cj.load_runs("chinchilla"), starts=8)
    assert _ratios(point, (1e22,), SIX_ND)[0] > 1 and _doubt(point, (1e22,), SIX_ND) == ""
    lost = dataclasses.replace(point, status=Status.UNIDENTIFIED)
    assert (
        math.isnan(_ratios(lost, (1e22,), SIX_ND)[0])
        and _doubt(lost, (1e22,), SIX_ND) == "no estimate: UNIDENTIFIED"
    )
    fields = _fit_fields(lost, (1e22,), None, SIX_ND)
    assert fields["parameters"] is None and math.isnan(fields["tokens_per_param"][0]["tokens_per_param"])


def test_a_study_prints_the_slope_of_its_estimate(paths, tmp_path):
    flops = (1e20, 1e22, 1e24)
    path = tmp_path / "spec.toml"
    path.write_text(f"data = {paths['seven']!r}\nresamples = 20\nflops = {list(flops)}\n")
    out = str(tmp_path / "study")
    text = done("study", str(path), "--out", out, "--no-figures")
    study = cj.open_study(out)
    row = [line for line in text.splitlines() if line.startswith("identity")][-1].split()
    point = study.point[study.point["objective"] == "huber"].iloc[0]
    law = cj.ScalingLaw(**{name: float(point[name]) for name in PARAMETERS})
    medians = study.tokens_per_param.query("method == 'percentile' and level == 0.8")["median"]
    own, published = (float(slope_per_decade(flops, each)) for each in (law.tokens_per_param(flops), medians))
    assert row[-2:] == [f"{own:.3g}", f"{published:.3g}"] and own != pytest.approx(published, rel=0.01)
