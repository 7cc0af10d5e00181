"""What training costs: fitted to counted FLOP, chosen on held-out runs, and the optimum along it."""

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_laws import single_laws, spread_sample
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax import UsageError, planning
from chinchilla_jax.bootstrapping.schemes import read_scheme
from chinchilla_jax.datasets import groupings
from chinchilla_jax.laws import SIX_ND, Cost, Design
from chinchilla_jax.laws.drawn_cost import CostDraws
from chinchilla_jax.laws.measured_cost import fit_cost
from chinchilla_jax.planning.allocation import QUANTITIES, allocation

NUMBERS = ("coefficient", "params_power", "tokens_power")
LAW = cj.ScalingLaw(E=1.7, A=500.0, B=2000.0, alpha=0.34, beta=0.36)
costs = st.builds(
    Cost,
    coefficient=st.floats(0.1, 60.0),
    params_power=st.floats(0.85, 1.2),
    tokens_power=st.floats(0.9, 1.1),
)


def table(cost=SIX_ND, scatter=0.0, seed=0, law=LAW):
    """36 runs at six budgets, with FLOP by this cost."""
    rng = np.random.default_rng(seed)
    flops = np.repeat(np.geomspace(1e18, 1e21, 6), 6)
    params = law.optimal(flops, cost)[0] * np.tile(np.geomspace(0.25, 4.0, 6), 6)
    tokens = cost.tokens(flops, params)
    counted = flops * np.exp(scatter * rng.standard_normal(36))
    loss = law.loss(params, tokens) * np.exp(2e-3 * rng.standard_normal(36))
    return cj.Runs(params=params, tokens=tokens, flops=counted, loss=loss)


@settings(max_examples=25)
@given(single_laws, costs, st.floats(1e18, 1e26))
def test_the_optimum_along_a_cost_is_that_of_an_independent_solver(law, cost, flops):
    params, tokens = law.optimal(flops, cost)
    assert cost.flops(params, tokens) == pytest.approx(flops, rel=1e-9)

    def slope(log_params):  # of the loss along the budget, from the formula as printed
        n = math.exp(log_params)
        d = (flops / (cost.coefficient * n**cost.params_power)) ** (1 / cost.tokens_power)
        rate = cost.params_power / cost.tokens_power
        return -law.alpha * law.A * n**-law.alpha + rate * law.beta * law.B * d**-law.beta

    best = scipy.optimize.brentq(slope, math.log(params) - 5, math.log(params) + 5, xtol=1e-13)
    assert math.log(params) == pytest.approx(best, abs=1e-9)


@settings(max_examples=15)
@given(single_laws, costs, st.sampled_from(["params", "tokens", "loss"]))
def test_budget_size_tokens_and_loss_determine_each_other_along_any_cost(law, cost, target):
    at = {name: float(values) for name, values in allocation(law, "flops", 1e22, cost=cost).items()}
    again = allocation(law, target, at[target], cost=cost)
    for name in QUANTITIES:
        assert float(again[name]) == pytest.approx(at[name], rel=1e-5, abs=1e-9)
    assert allocation(law, target, at[target], cost=cost, quantities=("loss",))["loss"] == again["loss"]


def test_what_is_counted_as_6_n_d_is_6_n_d():
    plain = table()
    assert plain.cost is SIX_ND and cj.load_runs("llama3").cost is SIX_ND
    # Recounted, and perturbed: the embedded tables know no FLOP of their own, nor do runs without FLOP.
    assert cj.load_runs("chinchilla", params="standard").cost is SIX_ND
    bare = cj.Runs(params=plain.params, tokens=plain.tokens, loss=plain.loss)
    assert cj.Multiplicative(1.3).apply(bare).cost is SIX_ND
    noisy = dataclasses.replace(plain, flops=plain.flops * (1 + 5e-4 * np.sin(np.arange(36))))
    assert noisy.cost is SIX_ND


@pytest.mark.parametrize(
    ("cost", "form"),
    [
        (Cost(coefficient=6.9), "c N D"),
        (Cost(coefficient=2.3, params_power=1.05), "c N^a D"),
        (Cost(coefficient=1.3, params_power=1.06, tokens_power=1.02), "c N^a D^b"),
    ],
)
def test_the_form_that_made_the_flop_is_found(cost, form):
    found = table(cost, scatter=4e-3).cost
    assert found.evidence.form == form
    for name, error in zip(("params_power", "tokens_power"), found.evidence.errors[1:], strict=True):
        assert abs(getattr(found, name) - getattr(cost, name)) <= 4 * error
    asked = np.array([1e21, 1e23])
    np.testing.assert_allclose(LAW.optimal(asked, found)[0], LAW.optimal(asked, cost)[0], rtol=0.02)
    assert found.evidence.scatter == pytest.approx(4e-3, rel=0.4)
    if form == "c N^a D^b":
        assert found.per_token.tokens_power == 1 and found.per_token.evidence.form == "c N^a D"


def test_plans_use_what_was_measured_and_say_so():
    cost = Cost(coefficient=2.3, params_power=1.05)
    boot = cj.bootstrap(table(cost), resamples=40)
    assert boot.point.cost.params_power == pytest.approx(1.05, abs=1e-6)
    made = cj.plan(boot, flops=1e21)
    plain = cj.plan(boot, flops=1e21, cost="6nd")
    exact = cj.plan(boot, flops=1e21, cost=cost)
    sizes = [each.table.set_index("quantity").loc["params"] for each in (made, exact, plain)]
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=1e-6)
    # N_opt = 6 N D's where c N^a D = 6 N D, by the powers of the closed form.
    law = boot.point.law
    shift = law.optimal(1e21, cost)[0] / law.optimal(1e21)[0]
    assert sizes[0]["estimate"] / sizes[2]["estimate"] == pytest.approx(shift, rel=1e-6)
    assert made.sample.largest_flops == pytest.approx(1e21, rel=1e-6)
    band = boot.tokens_per_param([1e21, 1e23])
    for column, values in (("estimate", law), ("median", boot.laws[boot.counted])):
        ratios = np.asarray(values.tokens_per_param([1e21, 1e23], boot.point.cost))
        expected = ratios if column == "estimate" else np.median(ratios, axis=0)
        np.testing.assert_allclose(band[column], expected, rtol=1e-9)
    plain_band = boot.tokens_per_param([1e21], cost="6nd")
    assert plain_band["estimate"][0] == pytest.approx(law.tokens_per_param(1e21), rel=1e-9)
    assert boot.tokens_per_param([1e21], method="gaussian")["low"][0] < band["estimate"][0]
    far = cj.plan(boot, flops=1e26)
    assert "costs 1.52 times 6 N D (80%: 1.52 to 1.52), and the runs 0.892 to 1.22" in far.doubts["flops"]
    with pytest.raises(UsageError, match="no FLOP other than 6 N D were measured"):
        cj.plan(spread_sample(5), flops=1e21, cost="measured")
    with pytest.raises(UsageError, match="did you mean 'measured'"):
        cj.plan(boot, flops=1e21, cost="measurd")


def law_of(boot, lane=None):
    """The law of a lane; that of all runs without one."""
    return boot.point.law if lane is None else boot.laws[lane]


def test_the_cost_is_resampled_with_the_runs():
    """Each resample has the cost that its runs, as often as they are drawn, give by least squares."""
    runs = table(Cost(coefficient=2.3, params_power=1.05), scatter=0.05)
    boot = cj.bootstrap(runs, resamples=200, seed=3, scheme="pairs")
    evidence = boot.point.cost.evidence
    assert evidence.form == "c N^a D" and len(boot.costs) == 200
    drawn = read_scheme("pairs").weights(runs, boot.resample_ids[:3], 3)
    for weights, power, coefficient in zip(
        drawn, boot.costs.params_power, boot.costs.coefficient, strict=False
    ):
        rows = np.repeat(np.arange(36), weights)
        wanted = np.polyfit(np.log(runs.params[rows]), np.log(runs.flops / runs.tokens)[rows], 1)
        np.testing.assert_allclose([power, math.log(coefficient)], wanted, rtol=1e-8)
    assert boot.costs.params_power.std() == pytest.approx(evidence.errors[1], rel=0.3)

    # What decides by these laws decides by these costs, a law at a time or all together.
    made, fixed = (
        cj.plan(boot, flops=1e25, cost=each) for each in (None, dataclasses.replace(boot.point.cost))
    )
    alone = [
        law_of(boot, lane).optimal(1e25, Cost(**{name: getattr(boot.costs, name)[lane] for name in NUMBERS}))
        for lane in np.flatnonzero(boot.counted)
    ]
    sizes = np.array([params for params, _ in alone])
    row = made.table.set_index("quantity").loc["params"]
    np.testing.assert_allclose(row[["low", "high"]], np.quantile(sizes, [0.1, 0.9]), rtol=1e-9)
    ratios = np.array([tokens / params for params, tokens in alone])
    band = boot.tokens_per_param([1e25])
    np.testing.assert_allclose(band[["low", "high"]].iloc[0], np.quantile(ratios, [0.1, 0.9]), rtol=1e-9)
    # The same numbers given by a user are exact.
    given = cj.plan(boot, flops=1e25, cost=Cost(**{name: getattr(boot.point.cost, name) for name in NUMBERS}))
    assert given.sample.costs is None and fixed.sample.costs is not None
    width, narrow = (
        np.log(each.table.set_index("quantity").loc["params", ["low", "high"]]) for each in (made, given)
    )
    assert np.ptp(width) != pytest.approx(np.ptp(narrow), rel=1e-3)
    low, high = np.quantile(
        boot.costs[boot.counted].per_6nd(*law_of(boot).optimal(1e25, boot.point.cost)), [0.1, 0.9]
    )
    assert f"(80%: {low:.3g} to {high:.3g})" in made.doubts["flops"]


def test_what_a_run_moves_is_counted_in_measured_flop(tmp_path):
    cost = Cost(coefficient=2.3, params_power=1.05)
    found = cj.analysis.influence(table(cost))
    assert found.flops == pytest.approx(1e21, rel=1e-6)
    assert found.ratio == pytest.approx(found.point.law.tokens_per_param(found.flops, cost), rel=1e-5)
    table(cost).to_frame().to_csv(tmp_path / "runs.csv", index=False)
    shown = strict_json(done("influence", str(tmp_path / "runs.csv"), "--json"))
    assert shown["cost"]["params_power"] == pytest.approx(1.05, abs=1e-6)
    assert shown["tokens_per_param"] == pytest.approx(found.ratio, rel=1e-6)


def test_any_law_is_searched_along_the_cost_of_each_resample():
    law, design = cj.laws.LAWS["broken"](), Design.from_runs(cj.load_runs("chinchilla"))
    theta = law.starts(design, 4)
    draws = CostDraws(
        coefficient=np.array([5.0, 6.0, 7.0, 2.0]), params_power=np.array([1.0, 1.0, 1.02, 1.05]),
        tokens_power=np.array([1.0, 1.01, 1.0, 1.0]),
    )  # fmt: skip
    together = law.fitted(theta, design).tokens_per_param([1e21, 1e24], draws)
    for lane in range(4):
        cost = Cost(**{name: float(getattr(draws, name)[lane]) for name in NUMBERS})
        alone = law.fitted(theta[lane], design).tokens_per_param([1e21, 1e24], cost)
        np.testing.assert_allclose(together[lane], alone, rtol=1e-9)


def test_flop_that_no_training_costs_are_said_and_6nd_is_taken():
    runs = table()
    n, d, c = runs.params, runs.tokens, runs.flops
    missing = [np.where(np.arange(36) == 3, value, c) for value in (0.0, math.nan)]
    for flops, said in (
        (1e22 * (n / 1e9) ** -0.3 * d / 1e10, r"do not grow with N \(they go as N\^-0.3\).*column flops"),
        (missing[0], "run 4: flops is 0; 6 N D is taken"),
        (missing[1], "run 4: flops is nan; 6 N D is taken"),
    ):
        odd = dataclasses.replace(runs, flops=flops)
        with pytest.warns(cj.DataWarning, match=said):
            assert odd.cost.is_6nd
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        odd = dataclasses.replace(runs, flops=missing[0])
        assert not groupings.has_budgets(odd)
        with pytest.raises(cj.DataError, match="run 4: flops is 0"):
            groupings.members_of(odd, "flops")
    far = dataclasses.replace(runs, flops=1e3 * c).cost
    said = "the FLOP of 36 runs are 1,000 times 6 N D: check the units of the table"
    assert cj.plan(LAW, flops=1e24, cost=far).doubts == {"flops": said}
    # A boot of such runs is planned along 6 N D.
    with pytest.warns(cj.DataWarning, match="run 4: flops is 0"):
        boot = cj.bootstrap(odd, resamples=20)
    with pytest.raises(cj.DataError, match="predict: run 4: flops is 0"):
        cj.predict(boot, odd)


def test_published_rows_spend_the_budget_as_the_plan_does():
    cost = Cost(coefficient=2.3, params_power=1.05, tokens_power=0.99)
    sample = planning.LawSample.from_law(cj.laws.HOFFMANN_2022)
    for target, value in (("flops", 1e21), ("params", 1e9), ("tokens", 3e10), ("loss", 2.3)):
        made = cj.plan(sample, cost=cost, **{target: value})
        rows, found = made.references.set_index("law"), made.table.set_index("quantity")["estimate"]
        known = rows.dropna()
        assert len(known) == (1 if target == "loss" else 2)
        np.testing.assert_allclose(cost.flops(known["params"], known["tokens"]), known["flops"], rtol=1e-9)
        np.testing.assert_allclose(known[target], value, rtol=1e-9)
        own = rows.loc["hoffmann2022"]
        assert own.to_numpy() == pytest.approx(found[own.index].to_numpy(), rel=1e-9)


def test_several_budgets_make_one_table():
    sample = spread_sample(10)
    made = cj.plan(sample, flops=[1e21, 1e22])
    assert made.value == (1e21, 1e22) and list(made.table.columns[:2]) == ["flops", "quantity"]
    for budget in made.value:
        alone = cj.plan(sample, flops=budget).table
        part = made.table[made.table["flops"] == budget].drop(columns="flops").reset_index(drop=True)
        assert part.equals(alone)
    assert len(made.references) == 4 and made.doubts == cj.plan(sample, flops=1e21).doubts
    with pytest.raises(UsageError, match="flops is empty"):
        cj.plan(sample, flops=[])


@pytest.mark.parametrize("served", [0.0, 3e12])
def test_serving_costs_a_third_of_training_per_token_by_any_cost(served):
    cost = Cost(coefficient=2.3, params_power=1.05)
    sample = planning.LawSample.from_law(LAW).at(cost)
    made = planning.inference_plan(sample, loss=2.1, demand=planning.Demand(input_tokens=served))
    found = made.table.set_index("quantity")["estimate"]

    def total(log_params):
        n = math.exp(log_params)
        left = 2.1 - LAW.E - LAW.A * n**-LAW.alpha
        if left <= 0:
            return math.inf
        d = (left / LAW.B) ** (-1 / LAW.beta)
        return 2.3 * n**1.05 * (d + served / 3)

    start = math.log(found["params"])
    best = scipy.optimize.minimize_scalar(
        total, bounds=(start - 1, start + 1), method="bounded", options={"xatol": 1e-9}
    )
    assert best.x == pytest.approx(start, abs=1e-5)
    assert found["total_cost"] == pytest.approx(best.fun, rel=1e-9)
    assert "2.3 N^1.05 D" in made.costs.compute.formula
    with pytest.raises(UsageError, match="in proportion to D"):
        planning.Costs(compute=Cost(tokens_power=1.1))


def test_an_architecture_is_a_cost_too(tmp_path):
    rows = ["d_model,ffw_size,kv_size,n_heads,n_layers,vocab_size,params"]
    rows += [f"{64 * h},{256 * h},64,{h},{2 * h},32000,{n}" for h, n in ((8, 6e7), (16, 4e8), (32, 3e9))]
    path = tmp_path / "models.csv"
    path.write_text("\n".join(rows) + "\n")
    cost = planning.read_architecture_cost(path)
    assert cost.evidence.of == f"the FLOP of 3 architectures of {path}"
    known = planning.read_architecture_cost("chinchilla_architectures")
    ratios = planning.flop_ratio_table()["ratio"]
    assert known.evidence.lowest == pytest.approx(ratios.min())
    assert known.evidence.highest == pytest.approx(ratios.max())
    path.write_text("d_model,ffw_size\n64,256\n")
    assert "no column 'kv_size'" in refused("plan", "--flops", "1e22", "--cost", str(path))


def test_commands_say_what_training_costs(tmp_path):
    path = tmp_path / "runs.csv"
    table(Cost(coefficient=2.3, params_power=1.05), scatter=3e-3).to_frame().to_csv(path, index=False)
    usual = (str(path), "--resamples", "20", "--seed", "1")
    text = " ".join(done("plan", *usual, "--flops", "1e21").split())
    assert "D FLOP, fitted to the FLOP of 36 runs" in text and "--cost 6nd for 6 N D" in text
    found = {}
    for name in ("measured", "6nd"):
        found[name] = strict_json(done("plan", *usual, "--flops", "1e21", "--cost", name, "--json"))
    assert found["measured"]["cost"]["evidence"]["form"] == "c N^a D"
    assert found["6nd"]["cost"] == json.loads(
        '{"formula": "6 N D", "coefficient": 6.0, "params_power": 1.0, "tokens_power": 1.0, "evidence": null}'
    )
    sizes = {name: each["plan"]["params"]["estimate"] for name, each in found.items()}
    assert abs(sizes["measured"] / sizes["6nd"] - 1) > 0.02
    # A run that two numbers fix costs what the table says.
    run = strict_json(done("plan", *usual, "--params", "1e9", "--tokens", "2e10", "--json", "--ratio", "20"))[
        "models"
    ][0]
    assert run["flops"] == pytest.approx(2.3 * 1e9**1.05 * 2e10, rel=0.01)
    isoflop = strict_json(done("isoflop", *usual, "--flops", "1e21", "--tolerance", "0.3", "--json"))
    compared = {(row["method"], row["quantity"]): row["estimate"] for row in isoflop["compared"]}
    assert compared["isoflop", "params"] == pytest.approx(compared["parametric", "params"], rel=0.15)
    served = strict_json(done("inference", *usual, "--loss", "2.3", "--input-tokens", "1e12", "--json"))
    assert served["costs"]["compute"] == served["cost"]["formula"] != "6 N D"
    bands = {
        name: strict_json(done("bootstrap", *usual, "--flops", "1e21", "--cost", name, "--json"))
        for name in ("measured", "6nd")
    }
    for name, band in bands.items():
        row = band["tokens_per_param"][0]
        assert row["estimate"] == pytest.approx(found[name]["plan"]["tokens_per_param"]["estimate"])
        assert row["low"] == pytest.approx(found[name]["plan"]["tokens_per_param"]["low"])
    assert "no FLOP other than 6 N D" in refused(
        "plan", "--flops", "1e21", "--cost", "measured", *("--resamples", "20")
    )


def test_few_or_odd_runs_have_a_constant():
    n, d = np.geomspace(1e8, 1e9, 4), np.full(4, 1e10)
    found = fit_cost(n, d, 7.0 * n * d, "the FLOP of 4 runs")
    assert found.formula == "7 N D" and found.evidence.held_out == {}
    rng = np.random.default_rng(0)
    n, d = np.geomspace(1e8, 1e10, 40), np.geomspace(1e9, 1e11, 40)
    wide = 6.0 * n * d * np.exp(0.3 * rng.standard_normal(40))
    assert fit_cost(n, d, wide, "noise") is SIX_ND
