"""What to train: closed forms against searches, published prescriptions, and intervals against numpy."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_laws import budgets, single_laws, spread_sample
from scipy.optimize import brentq, minimize_scalar

from chinchilla_jax import DataError, ScalingLaw, UsageError, planning
from chinchilla_jax.intervals.quantiles import low_median_high, quantiles
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022
from chinchilla_jax.planning import frontier
from chinchilla_jax.planning.law_sample import summary

GOPHER = 5.76e23


@given(single_laws, budgets)
def test_the_loss_on_the_frontier_is_the_loss_of_the_optimum(law, flops):
    on_frontier = law.E + np.exp(frontier.log_optimal_excess(law, math.log(flops)))
    assert on_frontier == pytest.approx(law.loss(*law.optimal(flops)), rel=1e-11)


@given(single_laws, budgets)
def test_size_tokens_and_loss_lead_back_to_the_budget(law, flops):
    params, tokens = law.optimal(flops)
    assert frontier.flops_for_params(law, params) == pytest.approx(flops, rel=1e-9)
    assert frontier.flops_for_tokens(law, tokens) == pytest.approx(flops, rel=1e-9)
    excess = dataclasses.replace(law, E=0.0)  # with a floor the loss forgets digits of the excess
    assert frontier.flops_for_loss(excess, excess.loss(params, tokens)) == pytest.approx(flops, rel=1e-8)


@given(single_laws, budgets, st.floats(-3.0, 3.0))
def test_the_overhead_is_what_a_search_finds(law, flops, shift):
    params, tokens = law.optimal(flops)
    params, tokens = params * math.exp(shift), tokens * math.exp(-shift)
    excess = dataclasses.replace(law, E=0.0)

    def surplus(log_flops):
        return math.log(excess.loss(*excess.optimal(math.exp(log_flops))) / excess.loss(params, tokens))

    cheapest = math.exp(brentq(surplus, math.log(flops) - 60, math.log(flops) + 1, xtol=1e-13))
    assert frontier.compute_overhead(law, params, tokens) == pytest.approx(
        flops / cheapest - 1, abs=1e-8, rel=1e-7
    )


def test_the_frontier_beats_every_other_split_of_the_budget():
    best = minimize_scalar(
        lambda log_n: HOFFMANN_2022.loss(math.exp(log_n), GOPHER / 6 / math.exp(log_n)),
        bounds=(20, 30),
        method="bounded",
    )
    excess = np.exp(frontier.log_optimal_excess(HOFFMANN_2022, math.log(GOPHER)))
    assert HOFFMANN_2022.E + excess == pytest.approx(best.fun, rel=1e-12)


def test_on_the_frontier_the_overhead_is_zero():
    overhead = frontier.compute_overhead(HOFFMANN_2022, *HOFFMANN_2022.optimal([1e20, 1e26]))
    assert ((overhead >= 0) & (overhead < 1e-12)).all()
    symmetric = ScalingLaw(E=1.7, A=400.0, B=400.0 * 20**0.3, alpha=0.3, beta=0.3)  # D/N = 20 everywhere
    made = planning.plan(planning.LawSample.from_law(symmetric), flops=1e23)
    rows = made.table.set_index("quantity")["estimate"]
    assert rows["tokens_per_param"] == pytest.approx(20)
    assert rows["rule_overhead"] == pytest.approx(0, abs=1e-12)


def test_published_prescriptions_at_the_budget_of_gopher():
    """40 billion parameters by approach 3 (Hoffmann et al. 2022); Kaplan's exponents."""
    made = planning.plan(planning.LawSample.from_law(HOFFMANN_2022), flops=GOPHER)
    references = made.references.set_index("law")
    assert round(references.loc["hoffmann2022", "params"] / 1e9) == 40
    assert made.table.set_index("quantity").loc["params", "estimate"] == pytest.approx(
        references.loc["hoffmann2022", "params"]
    )
    params, tokens = planning.KAPLAN_2020.optimal([GOPHER, 10 * GOPHER])
    assert np.log10(params[1] / params[0]) == pytest.approx(0.73)
    assert np.log10(tokens[1] / tokens[0]) == pytest.approx(0.27)
    assert planning.KaplanLaw(batch_ratio=0.0).optimal(8.64e19)[0] == pytest.approx(1.3e9)  # one PF-day
    assert planning.KAPLAN_2020.flops_for_params(params) == pytest.approx([GOPHER, 10 * GOPHER])
    assert planning.KAPLAN_2020.flops_for_tokens(tokens) == pytest.approx([GOPHER, 10 * GOPHER])
    # Far more data than it can hold: L(N, inf) = (N_c/N)^0.076, the limit of their L(N, D).
    assert planning.KAPLAN_2020.loss(1e9, 1e30) == pytest.approx((6.4e13 / 1e9) ** 0.076, rel=1e-6)


def test_kaplan_at_the_critical_batch_as_published():
    """2e10 tokens at C_min of one PF-day (their appendix A); 4.68B at 1e21 (Hoffmann et al., D.4)."""
    params, tokens = planning.KAPLAN_2020.optimal(2 * 8.64e19)
    assert params == pytest.approx(1.3e9)
    assert f"{tokens:.0e}" == "2e+10"
    assert round(float(planning.KAPLAN_2020.optimal(1e21)[0]) / 1e9, 2) == 4.68


@pytest.mark.parametrize(
    ("target", "value"), [("flops", 1e24), ("params", 7e10), ("tokens", 1.4e12), ("loss", 2.05)]
)
def test_a_plan_is_the_quantiles_of_each_law_on_its_own(target, value):
    sample = spread_sample(50)
    table = planning.plan(sample, level=0.9, **{target: value}).table.set_index("quantity")
    singles = [
        planning.plan(planning.LawSample.from_law(law), **{target: value}).table for law in sample.laws
    ]
    points = np.array([single["estimate"] for single in singles])
    for i, quantity in enumerate(singles[0]["quantity"]):
        expected = np.quantile(points[:, i], [0.05, 0.5, 0.95])
        found = table.loc[quantity, ["low", "median", "high"]].to_numpy(dtype=float)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert table.loc[target, ["estimate", "low", "high", "median"]].to_list() == pytest.approx([value] * 4)


def test_a_loss_that_some_laws_cannot_reach_costs_infinitely_much_under_them():
    sample = spread_sample(300)
    made = planning.plan(sample, loss=1.85)
    unreachable = int((np.asarray(sample.laws.E) >= 1.85).sum())
    assert made.n_unreachable == unreachable > 30
    table = made.table.set_index("quantity")
    assert table.loc["flops", "high"] == np.inf
    assert table.loc["params", "high"] == np.inf
    assert np.isfinite(table.loc[["tokens_per_param", "rule_overhead"], "high"]).all()
    assert not table.isna().any().any()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({}, "exactly one of flops"),
        ({"flops": 1e24, "params": 1e9}, "exactly one"),
        ({"flops": -1e24}, "flops is -1e"),
        ({"params": 0.0}, "params is 0"),
        ({"tokens": float("nan")}, "tokens is nan"),
        ({"loss": 1.5}, "irreducible loss E is 1.8172 .a spread of laws"),
        ({"flops": 1.0}, "leaves no room: its optimum has 0"),
        ({"params": 0.1}, "leaves no room"),
    ],
)
def test_what_cannot_be_planned_is_one_line(target, message):
    with pytest.raises(UsageError, match=message) as caught:
        planning.plan(spread_sample(10), **target)
    assert "\n" not in str(caught.value)


def test_laws_without_an_optimum_are_left_out_and_counted():
    laws = ScalingLaw(E=1.7, A=[400.0, 400.0, 0.0], B=400.0, alpha=[0.3, -0.1, 0.3], beta=0.3)
    sample = planning.LawSample.from_law(laws)
    assert (len(sample), sample.n_without_optimum) == (1, 2)
    with pytest.raises(
        DataError, match=r"alpha is -0\.1, so that more parameters do not lower the loss; give a law"
    ):
        planning.LawSample.from_law(laws[1:])


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.inf), min_size=1, max_size=30),
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_quantiles_are_numpy_s_with_a_place_for_infinity(values, probabilities):
    found = quantiles(values, probabilities)
    assert not np.isnan(found).any()
    if np.isfinite(values).all():
        np.testing.assert_allclose(found, np.quantile(values, probabilities), rtol=1e-9, atol=1e-9)
    assert (low_median_high([math.inf, 1.0, 2.0], 0.5) == [1.5, 2.0, math.inf]).all()


def test_a_quantity_that_no_law_has_is_nan_and_not_a_crash():
    assert np.isnan(summary(1.0, [np.nan, np.nan], 0.8)[1:]).all()
    assert summary(1.0, [np.nan, 2.0], 0.8) == (1.0, 2.0, 2.0, 2.0)


@pytest.mark.parametrize("name", planning.__all__)
def test_every_public_name_is_there(name):
    assert getattr(planning, name) is not None
    assert name in dir(planning)


def test_hardware_makes_a_budget():
    device = planning.find_device("H100")
    assert (device.device, device.precision) == ("h100", "bf16")
    assert planning.hardware_flops(1024, 720, device, 0.4) == pytest.approx(1024 * 720 * 3600 * 989e12 * 0.4)
    for row in planning.devices():
        assert row.source
        assert row.checked in ("page of the maker", "copy of the data sheet", "figures of others")
        assert 1e14 < row.peak_flops < 1e16
    assert len({(row.device, row.precision) for row in planning.devices()}) == len(planning.devices())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: planning.find_device("h10"), "did you mean 'h100'"),
        (lambda: planning.find_device("v100", "fp8"), "it has fp16"),
        (lambda: planning.hardware_flops(0, 1, planning.find_device("a100"), 0.4), "gpus is 0"),
        (lambda: planning.hardware_flops(1, -1, planning.find_device("a100"), 0.4), "hours is -1"),
        (lambda: planning.hardware_flops(1, 1, planning.find_device("a100"), 1.2), "above the peak"),
    ],
)
def test_hardware_that_cannot_be_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()
