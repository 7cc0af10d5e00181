"""Which runs next: information against direct sums, exchange against enumeration, `cj.next_runs`, `next`."""

import dataclasses
import itertools
import json
from unittest import mock

import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.errors import NoEstimateError
from chinchilla_jax.cli import main
from chinchilla_jax.laws import CHINCHILLA, LAWS
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH
from chinchilla_jax.planning import design, find_device, hardware_flops
from chinchilla_jax.planning.design import Limits, Steps, Target, choosing, diagnose_bootstrap, diagnosis_of
from chinchilla_jax.planning.design.exchange import Exchange
from chinchilla_jax.planning.design.information import Influences, View
from chinchilla_jax.planning.design.judge import width_between
from chinchilla_jax.planning.design.question import design_at, target_values
from chinchilla_jax.planning.design.steps import read_steps
from chinchilla_jax.planning.design.targets import read_targets
from chinchilla_jax.planning.design.unequal_noise import EQUAL, Spread
from chinchilla_jax.planning.prediction_places import Places

SMALL = {"tables": 12, "refits": 60, "resamples": 200}


def planted(seed, *, noise=0.005, sizes=8, ratios=5):
    """A grid of runs with normal errors."""
    generator = np.random.default_rng(seed)
    size, ratio = np.meshgrid(np.geomspace(2e7, 2e9, sizes), np.geomspace(5, 100, ratios))
    params, tokens = size.ravel(), (size * ratio).ravel()
    losses = TRUTH.loss(params, tokens) * np.exp(noise * generator.standard_normal(len(params)))
    return cj.Runs(params=params, tokens=tokens, loss=losses, name="planted")


@pytest.fixture(scope="module")
def found():
    return cj.next_runs(planted(0), flops=1e22, allowance=3e20, **SMALL)


def random_view(seed, correlation=0.0):
    generator = np.random.default_rng(seed)
    members = np.repeat(np.arange(4), 3) if correlation else np.full(12, -1)
    groups = np.array([0, 0, 1, 7, 7, -1, 2, 3]) if correlation else np.full(8, -1)
    return View.of(
        generator.normal(size=(12, 3)), generator.normal(size=(8, 3)), generator.normal(size=(2, 3)),
        np.ones(12), generator.normal(size=12), np.ones(12), members, groups, correlation,
    )  # fmt: skip


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_one_run_more_is_what_adding_it_gives(correlation):
    view = dataclasses.replace(random_view(0, correlation), spreads=np.linspace(0.5, 2, 8))
    info = view.after([1, 4])
    each = view.variances_with_each(info)
    assert np.allclose(each, [view.variances(view.add(info, place)) for place in range(8)], rtol=1e-8)


def test_one_run_less_is_what_the_others_give():
    view = random_view(2)
    left = [view.take(np.arange(12) != i) for i in range(12)]
    direct = [each.variances(each.start) for each in left]
    assert np.allclose(view.variances_without_each(), direct, rtol=1e-8)


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_variances_are_those_of_the_sandwich(spread):
    view = dataclasses.replace(random_view(1, 0.4), spreads=np.full(8, spread))
    chosen = [0, 1, 3]  # two in the group of the first three runs, one in a group of its own
    noisy = spread * view.places
    rows = np.concatenate([view.runs, view.places[chosen]])
    bread = np.linalg.inv(rows.T @ rows)
    sums = np.array([(view.scores[:, None] * view.runs)[view.members == g].sum(axis=0) for g in range(4)])
    meat = sums.T @ sums + noisy[chosen].T @ noisy[chosen]
    # What is expected of a new run and the others of its group, which is rho times their derivatives.
    group = view.runs[:3].sum(axis=0)
    for first, second in ((group, noisy[0]), (group + noisy[0], noisy[1])):
        meat += 0.4 * (np.outer(first, second) + np.outer(second, first))
    direct = np.einsum("ti,ij,jk,kl,tl->t", view.aims, bread, meat, bread, view.aims)
    assert np.allclose(view.variances(view.after(chosen)), direct, rtol=1e-8)


def test_exchange_finds_the_best_of_all_sets():
    views = [random_view(seed) for seed in range(3)]
    costs = np.array([1.0, 2, 3, 4, 5, 6, 7, 8])
    exchange = Exchange(views=views, shares=np.array([0.5, 0.5]), costs=costs)
    for allowance, most in ((8.0, 2), (11.0, 3), (1.5, 3)):
        sets = [
            chosen
            for count in range(most + 1)
            for chosen in itertools.combinations_with_replacement(range(8), count)
            if costs[list(chosen)].sum() <= allowance
        ]
        best = min(map(exchange.criterion, sets))
        chosen = exchange.choose(allowance, most)
        assert costs[list(chosen)].sum() <= allowance
        assert exchange.criterion(chosen) <= best + 0.01


def test_the_noise_is_that_of_least_squares_or_of_the_median():
    errors = np.random.default_rng(0).normal(scale=0.01, size=20_000)
    ones = np.ones_like(errors)
    for width, efficiency in ((1.0, 1.0), (0.01345, 0.95), (1e-5, 2 / np.pi)):
        noise = Influences.of(errors, width, width, ones, 5).noise
        assert noise == pytest.approx(0.01 / np.sqrt(efficiency), rel=0.05)


def test_errors_that_differ_with_size_are_seen_and_equal_ones_are_not():
    generator = np.random.default_rng(0)
    logs = np.log(np.stack([planted(0).params, planted(0).tokens], axis=1))
    for power, least in ((0.0, 0), (-0.5, 15), (0.5, 15)):
        size = np.exp(power * (logs[:, 0] - logs[:, 0].mean()))
        found = [Spread.of(size * generator.standard_normal(40), logs) for _ in range(20)]
        seen = [each for each in found if each.sentence]
        assert least <= len(seen) <= (20 if power else 1)
        for each in seen:
            assert each.slopes @ [1, 1] == pytest.approx(power, abs=0.45)
            assert np.sqrt(np.mean(each.at(logs) ** 2)) == pytest.approx(1.0)
            far = each.at(np.array([[0.0, 0.0], [60.0, 60.0]]))  # no place errs more than some run
            assert each.at(logs).min() * 0.999 <= far.min() <= far.max() <= each.at(logs).max() * 1.001
    nowhere = np.full((3, 2), np.nan)
    assert EQUAL.at(nowhere).tolist() == [1.0, 1.0, 1.0]
    assert not EQUAL.sentence


def test_derivatives_of_targets(found):
    from chinchilla_jax.fitting.scaled_jacobian import ratio_gradient

    question = found.question
    theta = found.boot.point.theta
    gradient = question.reading.gradients(
        question.targets, lambda rows: CHINCHILLA.fitted(rows, question.problem.design), theta
    )
    assert np.allclose(gradient[0], ratio_gradient(question.problem, theta, 1e22), rtol=1e-6)


def test_a_target_that_no_law_has_is_not_blamed_on_the_runs(found):
    reading = mock.Mock(values=lambda target, laws: np.full(len(laws), np.nan))
    with pytest.raises(NoEstimateError, match="none of 200 laws has one; law chinchilla may have none"):
        target_values(reading, found.question.targets[0], found.boot)


def test_the_runs_keep_the_allowance_and_narrow_the_target(found):
    assert 1 <= len(found.table) <= 3
    assert found.flops <= 3e20
    assert np.allclose(found.table["flops"], 6 * found.table["params"] * found.table["tokens"])
    first = found.widths.iloc[0]
    assert first["after"] + 2 * first["error"] < first["before"]
    assert first["linear_after"] < first["linear_before"]
    assert first["linear_before"] == pytest.approx(first["width"], rel=0.35)
    assert found.table["width"].is_monotonic_decreasing
    assert found.table["width"].iloc[-1] == pytest.approx(first["linear_after"])
    assert (found.table["without"] >= first["linear_after"]).all()
    assert found.choices["chosen"].sum() >= 1
    choices = found.choices.set_index("choice")
    assert first["after"] <= choices.loc["linear", "after"]
    assert choices.loc["now", "runs"] == 0


def test_more_money_buys_a_narrower_interval(found):
    prices = found.prices
    assert prices["flops"].is_monotonic_increasing
    assert prices["linear"].is_monotonic_decreasing
    assert prices["flops"].iloc[-1] <= 3e20
    assert 0 <= found.rests_on_law <= 1


def test_the_sentence_compares_what_is_simulated_alike(found):
    first = found.widths.iloc[0]
    after = found.choices.set_index("choice")["after"]
    assert first["before"] == after["now"] != first["width"]
    assert first["target"] == "tokens_per_param@1e+22"
    assert f" narrow the log width of tokens_per_param@1e22 from {after['now']:.3g} to" in found.sentence
    wider = dataclasses.replace(found, widths=found.widths.assign(after=found.widths["before"] * 1.1))
    assert f" do not narrow the log width of tokens_per_param@1e22: {after['now']:.3g} to" in wider.sentence


def test_several_budgets_are_targets_beside_each_other(table, capsys):
    small = ["--resamples", "50", "--tables", "2", "--refits", "20", "--quiet"]
    budgets = ["--flops", "1e21", "--flops", "1e22"]
    assert main(["next", table, *budgets, "--allowance", "3e20", "--json", *small]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["target"] for row in answer["targets"]] == [
        "tokens_per_param@1e+21",
        "tokens_per_param@1e+22",
    ]
    second = answer["targets"][1]
    said = f"; that of tokens_per_param@1e22 goes from {second['before']:#.3g} to {second['after']:#.3g}; "
    assert said in answer["sentence"] and answer["sentence"].endswith("chosen for the mean of ln(width)")
    with pytest.raises(
        cj.UsageError, match="a diagnosis judges by one target, not by tokens_per_param@1e21 and"
    ):
        design.diagnose_design(planted(0), flops=[1e21, 1e22])
    # The mean over both targets, and not the first alone.
    changes = [np.log(row["linear_after"] / row["linear_before"]) for row in answer["targets"]]
    chosen = next(row for row in answer["prices"] if row["runs"] == len(answer["runs"]))
    assert chosen["weighted"] <= 0 and np.mean(changes) < 0


def test_runs_keep_their_limits():
    limits = {"params": (5e7, 1e9), "ratio": (10.0, 40.0), "largest": 5e19, "off_frontier": 2.0}
    found = cj.next_runs(
        planted(1), target=["loss@7e10,1.4e12", "alpha=2"], allowance=1e20, limits=limits, robust=True,
        once=True, **SMALL,
    )  # fmt: skip
    table = found.table
    assert table["params"].between(5e7, 1e9).all()
    assert (table["tokens"] / table["params"]).between(10, 40).all()
    assert (table["flops"] <= 5e19).all()
    assert (table["off_frontier"] <= 2.0 + 1e-9).all()
    assert list(found.widths["scale"]) == ["ln", "plain"]
    assert not table.duplicated(["params", "tokens"]).any()
    assert found.prices["weighted"].is_monotonic_decreasing
    assert found.prices["weighted"].iloc[-1] < 0


def test_runs_come_in_whole_batches_and_are_paid_for_in_whole_units(found):
    cost, grid = cj.laws.SIX_ND, found.question.places
    unit = hardware_flops(8, 2, find_device("h100"), 0.4)
    steps = Steps(batch=2**22, unit=unit)
    filled = steps.filled(grid, cost)
    assert np.allclose(np.round(filled.tokens / 2**22), filled.tokens / 2**22)
    assert np.allclose(filled.flops, 6 * filled.params * filled.tokens)
    paid = steps.paid(filled.flops)
    assert np.allclose(np.round(paid / unit), paid / unit)
    assert (paid >= filled.flops * (1 - 1e-9)).all()
    long = filled.tokens > 100 * 2**22  # for which a batch is less than 1% of the run
    assert (paid[long] <= filled.flops[long] * 1.01).all()
    assert len(np.unique(np.stack([filled.params, filled.tokens]), axis=1).T) == len(filled) < len(grid)
    mine = Places(params=np.array([1e8]), tokens=np.array([5.1e9]), flops=np.array([3.06e18]))
    whole = steps.whole(mine, cost)
    assert whole.tokens[0] == 1216 * 2**22
    assert whole.flops[0] == pytest.approx(6e8 * whole.tokens[0])
    assert steps.paid(whole.flops)[0] == unit
    assert steps.paid(np.array([unit, unit * 1.001])).tolist() == [unit, 2 * unit]
    with pytest.raises(cj.UsageError, match="did you mean 'unit'"):
        read_steps({"unti": 1})


def test_the_command_takes_machines_and_batches(table, capsys):
    asked = ["next", table, "--flops", "1e22", "--allowance", "1e21", "--resamples", "50"]
    asked += ["--tables", "2", "--refits", "20"]
    asked += ["--gpus", "8", "--hours", "2", "--device", "h100", "--batch", "4e6"]
    assert main([*asked, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    unit = answer["steps"]["unit"]
    assert unit == pytest.approx(8 * 2 * 3600 * 989e12 * 0.4, rel=0.01)
    assert sum(row["paid"] for row in answer["runs"]) <= 1e21
    for row in answer["runs"]:
        assert row["paid"] / unit == pytest.approx(round(row["paid"] / unit))
        assert row["tokens"] / 4e6 == pytest.approx(round(row["tokens"] / 4e6))
    assert main(asked) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "whole units of 8 h100 for 2 h: 2.28e19 FLOP each (bf16, MFU 0.4)" in printed
    assert main([*asked[:6], "--gpus", "8"]) == 2
    assert "--hours is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_choice_for_several_laws_narrows_under_each(found):
    asked = {"target": "loss@7e10,1.4e12", "allowance": 3e20, "tables": 4, "refits": 50, "resamples": 100}
    joint = cj.next_runs(planted(0), laws=["chinchilla", "kaplan"], **asked)
    table = joint.by_law.set_index("law")
    assert list(table.index) == ["chinchilla", "kaplan"]
    assert (table["after"] < table["before"]).all()
    assert (table["linear_after"] < table["linear_before"]).all()
    assert table.loc["chinchilla", "after"] == joint.widths["after"].iloc[0]
    choices = joint.choices.set_index("choice")
    assert table.loc["chinchilla", "alone"] == choices.loc["chinchilla alone", "after"]
    shares = np.log(table["after"] / table["before"]).mean()
    assert shares == pytest.approx(choices["weighted"][choices["chosen"]].iloc[0], abs=0.05)
    assert list(found.by_law["law"]) == ["chinchilla"]
    assert found.by_law["after"].iloc[0] == found.widths["after"].iloc[0]
    with pytest.raises(cj.UsageError, match="laws: routed_experts predicts from params_active and n_experts"):
        cj.next_runs(planted(0), laws=["routed_experts"], **asked)


@pytest.mark.slow
def test_groups_that_err_together_are_resampled_and_counted():
    runs = planted(2)
    generator = np.random.default_rng(3)
    shared = np.exp(0.01 * generator.standard_normal(8))[np.unique(runs.params, return_inverse=True)[1]]
    runs = cj.Runs(params=runs.params, tokens=runs.tokens, loss=runs.loss * shared)
    found = cj.next_runs(runs, flops=1e22, allowance=3e20, scheme="cluster", **SMALL)
    view = found.question.plain.views[0]
    assert 0.3 < view.correlation < 1
    assert view.place_members.max() > view.members.max() >= view.place_members.min() >= 0
    assert np.isfinite(found.choices["after"]).all()


@pytest.mark.slow
def test_a_multiplier_against_another_table():
    found = cj.next_runs(
        planted(4), target="multiplier@1e22", against=planted(5), allowance=1e20, **SMALL
    )  # fmt: skip
    first = found.widths.iloc[0]
    assert 0.7 < first["low"] < first["estimate"] < first["high"] < 1.4
    assert first["linear_after"] < first["linear_before"]


@pytest.mark.slow
def test_a_scheme_that_changes_with_the_number_of_runs_is_said():
    runs = planted(6, sizes=6, ratios=3)
    said = "choices on either side are not compared alike"
    for scheme, times in (("auto", 1), ("pairs", 0)):
        found = cj.next_runs(runs, target="alpha", allowance=1e19, scheme=scheme, **SMALL)
        assert " ".join(found.warnings).count(said) == times


def test_widths_of_few_values_are_not_too_narrow():
    values = np.random.default_rng(0).standard_normal((2000, 20))
    widths = [width_between(each, 0.1, 0.9) for each in values]
    assert np.mean(widths) == pytest.approx(2.563, rel=0.03)


def test_targets_as_text():
    first, second, third = read_targets(
        ["tokens_per_param", "loss@7e9,1.4e11=2", "b"], CHINCHILLA, 1e21, against=False
    )
    assert first == Target(quantity="tokens_per_param", flops=1e21)
    assert second == Target(quantity="loss", place=(7e9, 1.4e11), weight=2.0)
    assert third.text == "b"
    assert not third.log


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    place = tmp_path_factory.mktemp("next") / "runs.csv"
    planted(0).to_frame().to_csv(place, index=False)
    return str(place)


def test_the_command_gives_the_answer_of_the_function(table, found, capsys):
    asked = ["next", table, "--flops", "1e22", "--allowance", "3e20", "--json"]
    asked += [text for name, value in SMALL.items() for text in (f"--{name}", str(value))]
    assert main(asked) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["sentence"] == found.sentence
    assert [row["after"] for row in answer["choices"]] == found.choices["after"].tolist()


def test_the_command_prints_and_reads_candidates(table, tmp_path, capsys):
    candidates = tmp_path / "mine.csv"
    candidates.write_text("params,tokens\n123456789,1e9\n")
    asked = ["next", table, "--target", "loss@7e9", "--allowance", "1e20", "--candidates", str(candidates)]
    assert main([*asked, "--tables", "2", "--refits", "20", "--resamples", "50"]) == 0
    printed = capsys.readouterr().out
    assert "123M" in printed
    assert "what less money buys" in printed
    assert "widths of 20 resamples" in printed
    assert "the gain to first order rests on the law" in " ".join(printed.split())


def test_a_bootstrap_at_hand_is_diagnosed_without_fits(found):
    mine, asked = diagnose_bootstrap(found.boot, flops=1e22), diagnosis_of(found.question)
    pd.testing.assert_frame_equal(mine.runs, asked.runs)
    pd.testing.assert_frame_equal(mine.map, asked.map)
    assert mine.sentence == asked.sentence
    with pytest.raises(cj.UsageError, match="do not carry their runs"):
        diagnose_bootstrap(mock.Mock(runs=None))


def test_labels_print_budgets_short_and_tables_plain():
    target = Target(quantity="tokens_per_param", flops=1.96608e20)
    assert (target.label, target.text) == ("tokens_per_param@1.97e20", "tokens_per_param@1.96608e+20")
    assert Target(quantity="loss", place=(7e9, 1.4e11)).label == "loss@7e9,1.4e11"
    assert Target(quantity="alpha").label == "alpha"


@pytest.mark.slow
def test_a_table_is_diagnosed(table, tmp_path, capsys):
    asked = ["next", table, "--diagnose", "--flops", "1e22", "--resamples", "100"]
    assert main([*asked, "--json", "--figures", str(tmp_path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    runs = answer["runs"]
    assert len(runs) == 40
    assert sum(row["leverage"] for row in runs) == pytest.approx(5)
    assert all(row["without"] > 1 for row in runs)
    left_out = [row for row in runs if row["left_out"]]
    assert 0 < len(left_out) < 35
    share = sum(row["flops"] for row in left_out) / sum(row["flops"] for row in runs)
    assert answer["saved"] == pytest.approx(share)
    assert 0 < answer["correlation"] < 1
    assert max(row["gain"] for row in answer["map"]) > 0.02
    assert (tmp_path / "information.png").stat().st_size > 10_000
    assert main(asked) == 0
    assert "Could have been left out: row" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_design_from_nothing_and_a_plan_of_ones_own(tmp_path, capsys):
    plan = tmp_path / "plan.csv"
    asked = ["next", "--new", "--largest", "1e20", "--allowance", "5e20", "--prior", "besiroglu2024"]
    asked += ["--tables", "60"]
    assert main([*asked, "--save", str(plan), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    whole = {row["design"]: row for row in answer["designs"] if row["share"] == 1.0}
    assert whole["exchanged"]["simulated"] < whole["isoflop"]["simulated"]
    assert whole["exchanged"]["linear"] == pytest.approx(whole["exchanged"]["simulated"], rel=0.4)
    assert whole["isoflop"]["linear"] == pytest.approx(whole["isoflop"]["simulated"], rel=0.4)
    assert whole["ladder"]["linear"] is None  # a line of D in N determines no law
    assert all(row["flops"] <= 5e20 * (1 + 1e-6) for row in answer["designs"])
    assert main([*asked, "--sweep", str(plan), "--json"]) == 0
    again = {row["design"]: row for row in json.loads(capsys.readouterr().out)["designs"]}
    for name, first in whole.items():
        assert again[f"yours: {name}"]["runs"] == first["runs"]
    assert again["yours: grid"]["simulated"] == pytest.approx(whole["grid"]["simulated"], rel=1e-6)
    pd.read_csv(plan).drop(columns="design").to_csv(plan, index=False)
    assert main([*asked, "--sweep", str(plan)]) == 2
    assert "more than the allowance of 5e20" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "needs an allowance"),
        (["--allowance", "1e20", "--sweep", "mine.csv"], "give --new too"),
        (["--allowance", "1e20", "--noise", "0.01"], "--noise: this is for a design from nothing"),
        (["--diagnose"], "--tables: --diagnose chooses no runs"),
        (["--allowance", "1e20", "--diagnose"], "leave out --allowance"),
        (["--allowance", "1e10"], "pays for no candidate"),
        (["--allowance", "1e20", "--target", "gamma"], "law chinchilla has none"),
        (["--allowance", "1e20", "--target", "alpha@1e21"], "the same at every budget"),
        (["--allowance", "1e20", "--target", "tokens_per_param@x"], "NAME@FLOP"),
        (["--allowance", "1e20", "--target", "multiplier"], "--against"),
        (["--allowance", "1e20", "--sizes", "1e9", "1e8"], "smaller one first"),
        (["--allowance", "1e20", "--candidates", "far.csv"], "row 1 has 1e15 tokens"),
        (["--allowance", "1e20", "--off-frontier", "1.0000001", "--ratio", "1e6", "1e7"], "keeps the limits"),
    ],
)
def test_bad_input_is_one_line(table, options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "far.csv").write_text("params,tokens\n1e8,1e15\n")
    small = ["--resamples", "50", "--tables", "2", "--refits", "20", "--quiet"]
    code = main(["next", table, *options, *small])
    printed = capsys.readouterr().err
    assert code == 2
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "needs --largest"),
        (["--largest", "1e21"], "less than the largest run"),
        (["--largest", "1e20", "--flops", "1e21", "--flops", "1e22"], "give --flops once"),
        (["--largest", "1e20", "--sizes", "1e8", "1e9"], "--sizes: --new begins without runs"),
        (["chinchilla", "--largest", "1e20"], "DATA: --new begins without"),
    ],
)
def test_what_has_no_meaning_without_runs_is_refused(options, said, capsys):
    assert main(["next", "--new", "--allowance", "1e20", *options]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_limits_without_a_meaning_are_refused():
    with pytest.raises(cj.UsageError, match="smaller one first"):
        Limits(ratio=(10.0, 1.0))
    for wrong in (5, (1e9,), (1, 2, 3), "no", np.array(1e9)):
        with pytest.raises(cj.UsageError, match="limits: tokens is"):
            Limits(tokens=wrong)
    with pytest.raises(cj.UsageError, match="sizes"):
        cj.next_runs(planted(0), allowance=1e20, limits={"sizes": (1e8, 1e9)})


def test_the_figure_of_designs_names_the_scale_of_its_width():
    costs = design.new_design(largest=1e19, allowance=3e19, tables=18)
    assert costs.target.log
    assert cj.plots.design_costs(costs).get_ylabel() == f"log width of {costs.target.words}"


def test_a_place_that_lacks_a_further_variable_has_the_default_of_its_law():
    law = LAWS["repeated_data"]()
    runs = cj.load_runs("datablations_repeated")
    counts = {name: getattr(runs, name)[:5] for name in ("params", "tokens", "flops")}
    (bare,) = design_at(Places(**counts), law.design(runs), law).further
    assert (bare >= counts["tokens"]).all()  # every token is new
    few = {"unique_tokens": counts["tokens"] / 4}
    (given,) = design_at(Places(**counts, variables=few), law.design(runs), law).further
    np.testing.assert_array_equal(given, few["unique_tokens"])


def test_part_of_the_machines_is_refused_in_the_words_of_the_command(table, capsys):
    asked = ["next", table, "--flops", "1e22", "--allowance", "1e21", "--gpus", "8"]
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert "--hours is missing: together with --gpus and --device it says in what units runs are paid" in said
    assert "budget" not in said
    assert main([*asked[:-2], "--mfu", "0.5"]) == 2
    assert "--mfu is of the machines that --gpus, --hours and --device name" in capsys.readouterr().err


def test_a_figure_of_designs_that_determine_nothing_is_refused():
    costs = design.new_design(largest=1e19, allowance=3e19, tables=18)
    open_ones = costs.table.assign(simulated=np.inf, error=np.nan)
    nothing = dataclasses.replace(costs, table=open_ones)
    with pytest.raises(cj.UsageError, match=r"no design determines .* no width to draw"):
        cj.plots.design_costs(nothing)


def test_too_few_tables_to_measure_a_width_are_refused():
    """Four tables that all determined the target ended in "no design determines" it."""
    with pytest.raises(cj.UsageError, match=r"tables is 4, too few to measure a width .* give 18 or more"):
        design.new_design(largest=1e19, allowance=3e19, tables=4)


def test_what_the_simulation_cannot_tell_is_said():
    """Widths of 0.141 and 0.137 with an error of 0.004 were "narrowed" without a word."""

    def said(mean, error):
        return " ".join(choosing._warnings((mean, error), 0.0, 200, False))

    assert "within twice the error of the simulation" in said(-0.03, 0.03)
    assert "the allowance is better kept" in said(0.01, 0.03)
    assert said(-0.2, 0.03) == ""
