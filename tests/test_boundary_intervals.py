"""Resamples whose best E is 0: kept in every interval, or left out on request; and point fits that failed."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from test_cli import done, refused, run, strict_json

import chinchilla_jax as cj
from chinchilla_jax import planning
from chinchilla_jax._util.errors import NoEstimateError
from chinchilla_jax.bootstrapping.boundary import boundary_comparison
from chinchilla_jax.cli.parameter_table import print_parameters
from chinchilla_jax.datasets import Runs
from chinchilla_jax.report.answer import answer
from chinchilla_jax.report.content import plain_text
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.solvers.counted import counted_lanes, counted_rows
from chinchilla_jax.study import StudySpec

LAW = cj.ScalingLaw(E=0.3, A=30.0, B=120.0, alpha=0.18, beta=0.2)
RESAMPLES = 200


def design():
    """Seven budgets of six sizes each, around 20 tokens per parameter."""
    flops = np.repeat(np.geomspace(1e18, 1e21, 7), 6)
    params = np.sqrt(flops / 120) * np.tile(np.geomspace(0.25, 4, 6), 7)
    return params, flops / 6 / params, flops


def low_floor(seed=2, noise=0.02):
    params, tokens, flops = design()
    errors = np.random.default_rng(seed).normal(0, noise, len(params))
    return Runs(params, tokens, flops, LAW.loss(params, tokens) * np.exp(errors), name="low floor")


def two_sizes():
    """Runs of two sizes: a whole curve of laws passes through them, so there is no estimate."""
    params, tokens, _ = design()
    params = np.where(np.arange(len(params)) % 2, 1e8, 1e9)
    loss = cj.ScalingLaw(E=1.7, A=400, B=900, alpha=0.34, beta=0.31).loss(params, tokens)
    loss = loss * np.exp(np.random.default_rng(0).normal(0, 0.003, len(params)))
    return Runs(params, tokens, 6 * params * tokens, loss, name="two sizes")


def csv(runs, path):
    columns = {name: getattr(runs, name) for name in ("params", "tokens", "flops", "loss")}
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def boot():
    found = cj.bootstrap(low_floor(), resamples=RESAMPLES, jackknife=True, inner=2, scheme="pairs")
    assert 0.1 < found.at_boundary.mean() < 0.6
    return found


def test_lanes_at_the_boundary_count_and_can_be_left_out(boot):
    assert (boot.laws.E[boot.at_boundary] == 0).all()
    assert (boot.laws.E[boot.converged] > 0).all()
    assert (boot.counted == boot.converged | boot.at_boundary).all()
    without = boot.with_boundary("drop")
    assert (without.counted == boot.converged).all()
    for each in (boot, without):
        kept = each.laws[each.counted]
        row = each.tokens_per_param([1e22]).iloc[0]
        ratios = kept.tokens_per_param([1e22])[:, 0]
        assert (row["low"], row["high"]) == pytest.approx(np.quantile(ratios, (0.1, 0.9)), rel=1e-9)
        table = each.interval().set_index("parameter")
        assert table.loc["alpha", ["low", "high"]].to_list() == pytest.approx(
            np.quantile(kept.alpha, (0.1, 0.9)), rel=1e-9
        )
        assert table["n_converged"].unique().tolist() == [len(kept)]
        assert each.standard_errors()["standard_error"].iloc[0] == pytest.approx(np.std(kept.E, ddof=1))
        assert (each.intervals(flops=[1e22])["n_converged"] == len(kept)).all()
    assert boot.interval()["low"].iloc[0] == 0 < without.interval()["low"].iloc[0]


def test_every_method_has_limits_where_many_lanes_are_at_the_boundary(boot):
    """E = 0 has no logarithm; nothing may depend on one."""
    for method in ("percentile", "basic", "gaussian", "highest_density", "bca", "studentised"):
        table = boot.intervals(
            flops=[1e20, 1e26], places=[(1e8, 1e10), (1e13, 1e15)], methods=[method], levels=[0.8]
        )
        assert np.isfinite(table[["estimate", "standard_error", "low", "high"]].to_numpy(float)).all(), method
        assert (table["low"] <= table["high"]).all(), method
        assert table.loc[table["quantity"].isin(["E", "loss"]), "low"].ge(0).all(), method


def test_the_jackknife_and_inner_laws_keep_them_too(boot):
    for found, laws, dropped in (
        (boot.left_out, boot.jackknife, boot.with_boundary("drop").jackknife),
        (boot.nested, boot.inner, boot.with_boundary("drop").inner),
    ):
        edge = found.status == cj.Status.BOUNDARY
        assert not edge.all()
        assert (laws.E.ravel()[edge] == 0).all()
        assert np.isnan(dropped.E.ravel()[edge]).all()
        assert not np.isnan(dropped.E.ravel()[found.status == cj.Status.CONVERGED]).any()
    assert (boot.nested.status == cj.Status.BOUNDARY).any()


def test_both_intervals_are_there_where_many_are_concerned(boot):
    both = boundary_comparison(boot, [1e22, 1e24])
    assert both["quantity"] == ["alpha", "beta", "tokens_per_param", "tokens_per_param"]
    other = boot.with_boundary("drop")
    assert both["low"][2:] == boot.tokens_per_param([1e22, 1e24])["low"].to_list()
    assert both["other_high"][2:] == other.tokens_per_param([1e22, 1e24])["high"].to_list()
    reverse = boundary_comparison(other, [1e22, 1e24])
    assert reverse["low"] == both["other_low"] and reverse["other_low"] == both["low"]
    [said] = boot.warnings
    edge = int(boot.at_boundary.sum())
    assert said.startswith(f"{edge} of {RESAMPLES} resamples ({edge / RESAMPLES:.0%}) are best fitted with E")
    healthy = cj.bootstrap(cj.load_runs("chinchilla"), resamples=20)
    assert boundary_comparison(healthy, [1e22]) is None
    assert healthy.warnings == ()


def test_lanes_without_a_certificate_are_warned_of_above_a_tenth(boot):
    codes = boot.status_codes.copy()
    few, many = codes.copy(), codes.copy()
    few[: RESAMPLES // 10] = many[: RESAMPLES // 10 + 1] = cj.Status.MAX_STEPS

    def warnings(status):
        return dataclasses.replace(boot, solution=dataclasses.replace(boot.solution, status=status)).warnings

    assert not any("no certified fit" in said for said in warnings(few))
    assert any("21 of 200 resamples (10%) have no certified fit (21 MAX_STEPS)" in s for s in warnings(many))


def test_lanes_that_count_by_code_and_by_name():
    codes = np.array(list(cj.Status), np.int8)
    names = [cj.Status(int(code)).name for code in codes]
    for boundary, expected in (("keep", {"CONVERGED", "BOUNDARY"}), ("drop", {"CONVERGED"})):
        assert set(np.array(names)[counted_lanes(codes, boundary)]) == expected
        assert (counted_rows(names, boundary) == counted_lanes(codes, boundary)).all()
    with pytest.raises(cj.UsageError, match="did you mean 'keep'"):
        counted_lanes(codes, "kep")
    with pytest.raises(cj.UsageError, match="unknown boundary 'x'"):
        cj.bootstrap(low_floor(), resamples=2, boundary="x")


# --- commands ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return csv(low_floor(), tmp_path_factory.mktemp("tables") / "low.csv")


FEW = ("--resamples", str(RESAMPLES))


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("bootstrap", "--flops", "1e22"), "tokens_per_param"),
        (("plan", "--flops", "1e22"), "plan"),
        (("inference", "--like-params", "1e9", "--input-tokens", "1e11"), "plan"),
        (("isoflop", "--flops", "1e22"), "compared"),
    ],
)
def test_commands_keep_them_and_show_both_intervals(table, command, answer):
    text = done(command[0], table, *command[1:], *FEW)
    assert re.search(
        r"intervals as above, and without the resamples whose best E is 0\n.* low without +high without", text
    )
    assert re.search(r"warning: \d+ of 200 resamples \(\d\d%\) are best fitted with E = 0", text)
    keep = strict_json(done(command[0], table, *command[1:], *FEW, "--json"))
    drop = strict_json(done(command[0], table, *command[1:], *FEW, "--boundary", "drop", "--json"))
    for ours, theirs in zip(keep["other_boundary"], drop["other_boundary"], strict=True):
        assert (ours["low"], ours["high"]) == (theirs["other_low"], theirs["other_high"])
        assert ours["estimate"] == theirs["estimate"]
    assert keep[answer] != drop[answer]
    assert "left out of the intervals" in " ".join(drop["warnings"])


@pytest.mark.parametrize(
    ("command", "answers"),
    [
        (("bootstrap",), ("tokens_per_param", "parameters")),
        (("plan", "--flops", "1e22"), ("plan",)),
        (("inference", "--like-params", "1e9", "--input-tokens", "1e11"), ("plan",)),
    ],
)
def test_without_an_estimate_there_is_no_interval(tmp_path, command, answers):
    """Before: A of 7.43 with an interval from 8.14 to 10.5, over the few lanes that could be fitted."""
    path = csv(two_sizes(), tmp_path / "two.csv")
    code, out, err = run(command[0], path, *command[1:], "--resamples", "50")
    assert code == 1
    assert "UNIDENTIFIED" in err and err.count("\n") == 1
    assert "low" not in out and "high" not in out
    code, out, err = run(command[0], path, *command[1:], "--resamples", "50", "--json")
    assert code == 1
    found = strict_json(out)
    assert all(found[answer] is None for answer in answers)
    assert any("no estimate" in said for said in found["warnings"])


def test_in_python_numbers_about_no_estimate_are_nan():
    boot = cj.bootstrap(two_sizes(), resamples=20)
    assert not boot.estimated
    assert "no estimate (UNIDENTIFIED)" in repr(boot)
    for found in (boot.interval(), boot.tokens_per_param([1e22]), boot.intervals(flops=[1e22])):
        shown = [name for name in ("estimate", "standard_error", "low", "high", "median") if name in found]
        assert found[shown].isna().all().all()
    assert boot.standard_errors()["standard_error"].isna().all()
    with pytest.raises(NoEstimateError, match="no estimate"):
        planning.LawSample.from_bootstrap(boot)


# --- studies -----------------------------------------------------------------------------------------------


def test_a_study_keeps_them_and_published_studies_do_not(tmp_path, table):
    fields = {"data": table, "resamples": 60, "flops": [1e20, 1e22]}
    assert StudySpec.from_dict(fields).boundary == "keep"
    assert cj.paper_study().boundary == "drop"
    with pytest.raises(cj.UsageError, match="boundary"):
        StudySpec.from_dict(fields | {"boundary": "ignore"})
    found = {}
    for boundary in ("keep", "drop"):
        spec = StudySpec.from_dict(fields | {"boundary": boundary})
        study = cj.run_study(spec, tmp_path / boundary, progress=None, figures=False)
        fits = study.fits("identity")
        kept = fits[counted_rows(fits["status"], boundary)]
        row = study.params.query("parameter == 'alpha' and method == 'percentile'").iloc[0]
        assert (row["low"], row["high"]) == pytest.approx(np.quantile(kept["alpha"], (0.1, 0.9)), rel=1e-12)
        assert (row["n_converged"], row["n_failed"]) == (len(kept), 60 - len(kept))
        found[boundary] = len(kept)
        facts = Facts(study)
        count, low, high = facts.other_interval
        other = fits[counted_rows(fits["status"], "drop" if boundary == "keep" else "keep")]
        laws = cj.ScalingLaw(**{name: other[name].to_numpy() for name in ("E", "A", "B", "alpha", "beta")})
        ratios = laws.tokens_per_param(facts.budget)
        assert (low, high) == pytest.approx(np.quantile(ratios, (0.1, 0.9)), rel=1e-9)
        said = plain_text(answer(facts)[0])
        assert (
            f"{'without' if boundary == 'keep' else 'with'} the {count} resamples whose best E is 0" in said
        )
        sample = planning.LawSample.from_study(study)
        assert len(sample) == len(kept) and sample.boundary == boundary
        assert sample.other.boundary != boundary and len(sample.other) != len(sample)
    assert found["keep"] > found["drop"]
    assert "boundary: 'keep' there, 'drop' asked for" in refused_study(tmp_path / "keep", fields)


def refused_study(path, fields):
    with pytest.raises(cj.UsageError) as error:
        cj.run_study(StudySpec.from_dict(fields | {"boundary": "drop"}), path, progress=None)
    return str(error.value)


def test_an_option_names_its_choices(table):
    assert "keep, drop" in refused("bootstrap", table, "--boundary", "leave")


def with_lanes(boot, n_edge):
    """The bootstrap with its first `n_edge` lanes at E = 0 and the others inside."""
    status = np.full(len(boot.status), cj.Status.CONVERGED, np.int8)
    status[:n_edge] = cj.Status.BOUNDARY
    return dataclasses.replace(boot, solution=dataclasses.replace(boot.solution, status=status))


def test_few_resamples_have_no_interval_of_the_other_choice(boot):
    for inside, shown in ((1, False), (9, False), (30, True)):
        kept = with_lanes(boot, RESAMPLES - inside)
        assert (boundary_comparison(kept, [1e22]) is not None) is shown
        assert (planning.LawSample.from_bootstrap(kept).other is not None) is shown
    said = with_lanes(boot, RESAMPLES - 1).warnings[-1]
    assert f"almost all resamples ({RESAMPLES - 1:,} of {RESAMPLES:,}) are best fitted with E = 0" in said
    every = with_lanes(boot, RESAMPLES)
    assert "leaving them out (boundary 'drop') would leave none" in every.warnings[-1]
    assert "left out, as asked, so that there is no interval" in every.with_boundary("drop").warnings[-1]


def test_all_resamples_dropped_by_request_are_said_to_be(tmp_path):
    """A law without an irreducible loss: nothing is wrong with the runs, the solver or the exponents."""
    params, tokens = (
        each.ravel() for each in np.meshgrid(np.geomspace(1e8, 4e9, 5), np.geomspace(1e9, 9e10, 6))
    )
    loss = 12 / params**0.1 + 60 / tokens**0.2 - 0.5  # as if E were negative
    loss = loss * np.exp(np.random.default_rng(0).normal(0, 0.002, len(loss)))
    table = tmp_path / "none.csv"
    pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}).to_csv(table, index=False)
    code, out, err = run(
        "bootstrap", str(table), "--resamples", "20", "--boundary", "drop", "--flops", "1e22"
    )
    assert code == 1
    said = out + err
    assert "20 certified resamples all have their best fit at E = 0 and were left out" in " ".join(
        said.split()
    )
    assert "80% percentile interval over 0 of 20 resamples" in said
    assert "solver" not in said and "exponent is not positive" not in said and "20 BOUNDARY" in said


def test_without_an_estimate_nothing_is_said_of_intervals(tmp_path):
    runs = two_sizes().take(np.arange(10))
    boot = cj.bootstrap(runs, resamples=10)
    assert not boot.estimated
    assert not any("80% intervals" in each or "lower minimum" in each for each in boot.warnings)
    code, out, err = run("bootstrap", csv(runs, tmp_path / "two.csv"), "--resamples", "10")
    assert code == 1 and "80% intervals" not in out
    assert (out + err).count("no estimate") + (out + err).count("ended as") == 1


def test_standard_errors_that_mean_nothing_are_not_shown(boot, capsys):
    columns = boot.parameter_columns()
    print_parameters(columns, "80% percentile", RESAMPLES)
    usual = capsys.readouterr().out
    assert f"over all {RESAMPLES:,} resamples" in usual and "n_converged" not in usual
    # To the two digits that a standard error supports.
    assert f" {columns['standard_error'][1]:.2g} " in usual and "no standard error" not in usual
    columns["standard_error"][1:3] = [3.07e120, columns["estimate"][2] * 99]
    columns["n_converged"][0], columns["n_failed"][0] = RESAMPLES - 1, 1
    print_parameters(columns, "80% percentile", RESAMPLES)
    text = capsys.readouterr().out
    assert "e+120" not in text and "A: no standard error" in text
    assert "n_counted  n_left_out" in text


def test_results_say_how_many_warnings_they_have(boot):
    assert f"; {len(boot.warnings)} warning" in repr(boot)
    assert "warning" not in repr(dataclasses.replace(boot.point, warnings=()))
    assert repr(dataclasses.replace(boot.point, warnings=("a", "b"))).endswith("; 2 warnings>")


def test_a_status_is_printed_by_its_name():
    status = cj.Status.UNIDENTIFIED
    assert (str(status), f"{status}", f"{status:>13}") == ("UNIDENTIFIED", "UNIDENTIFIED", " UNIDENTIFIED")
    assert (int(status), f"{status:d}", status == 2, np.int8(status)) == (2, "2", True, 2)
