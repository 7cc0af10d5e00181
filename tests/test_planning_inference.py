"""The cheapest served model: published examples, SciPy's answers, and the edges that are known exactly."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_laws import single_laws, spread_sample
from scipy.optimize import minimize_scalar
from test_cli import done, refused, strict_json

from chinchilla_jax import ScalingLaw, UsageError, planning
from chinchilla_jax.planning import inference
from chinchilla_jax.planning.inference import TOLERANCE, loss_like

PUBLISHED = planning.LawSample.from_law(planning.SARDANA_2023)
H100 = 989e12


def rows(made):
    return made.table.set_index("quantity")["estimate"]


def test_13b_becomes_7b():
    """Sardana & Frankle 2023 (arXiv:2401.00448): 6.97B, 1.25e12 tokens, 17.4%, 1.69e22 FLOP."""
    found = rows(
        planning.inference_plan(PUBLISHED, demand=planning.Demand(input_tokens=2e12), like_params=13e9)
    )
    assert round(found["params"] / 1e9, 2) == 6.97
    assert round(found["tokens"] / 1e12, 2) == 1.25
    assert round(100 * found["saving"], 1) == 17.4
    assert round(found["saved"] / 1e22, 2) == 1.69
    assert found["baseline_params"] == pytest.approx(13e9, rel=1e-12)


def test_30b_becomes_13_6b():
    found = rows(
        planning.inference_plan(PUBLISHED, demand=planning.Demand(output_tokens=1e13), like_params=30e9)
    )
    assert round(found["params"] / 1e9, 1) == 13.6
    assert round(100 * found["saving"], 1) == 28.0


def test_the_authors_own_examples_on_the_command_line():
    """The two examples in the README of the paper's code, nikhilsardana/beyond-chinchilla, to its digits."""
    asked = ("inference", "--law", "1.69,406.4,410.7,0.336,0.283", "--loss", "1.947", "--json")
    flop = strict_json(done(*asked, "--input-tokens", "2e12"))["plan"]
    money = strict_json(
        done(
            *(*asked, "--input-tokens", "1e13", "--output-tokens", "2.5e12"),
            *("--train-device", "a100", "--train-price", "1.40", "--train-mfu", "0.5"),
            *("--inference-device", "a100", "--inference-precision", "int8", "--inference-price", "0.60"),
            *("--input-mfu", "0.4", "--output-mfu", "0.2"),
        )
    )["plan"]
    published = (
        ("2.418e+10", "2.657e+12", 70.96, 146.77, 95.22),
        ("2.053e+10", "3.302e+12", 60.23, 182.41, 88.76),
    )
    for found, figures in zip((flop, money), published, strict=True):
        of = {name: row["estimate"] for name, row in found.items()}
        ours = (
            f"{of['params']:.3e}",
            f"{of['tokens']:.3e}",
            round(100 * of["params"] / of["baseline_params"], 2),
            round(100 * of["tokens"] / of["baseline_tokens"], 2),
            round(100 * of["total_cost"] / of["baseline_cost"], 2),
        )
        assert ours == figures


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: planning.Costs(train=0.0), "train is 0; give the cost per FLOP"),
        (lambda: planning.Costs(read=-1.0), "read is -1; give a cost per FLOP, 0 or more"),
        (
            lambda: planning.ratio_map(planning.SARDANA_2023, [2.0], [-1e12]),
            "give finite numbers of tokens",
        ),
        (
            lambda: planning.ratio_map(planning.SARDANA_2023, [2.0], [1e12], output_share=2.0),
            "output_share is 2",
        ),
    ],
)
def test_costs_and_maps_of_nonsense_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


# Excess down to 1e-3 nats and demand up to 1e18 tokens: beyond anything that was trained or served.
excesses, demands = st.floats(1e-3, 10.0), st.floats(1e6, 1e18)


@given(single_laws, excesses, demands)
def test_the_first_order_condition_holds_and_the_quality_is_met(law, excess, served):
    law = dataclasses.replace(law, E=0.0)
    found = planning.served_optimum(law, excess, served)
    assert found.residual <= TOLERANCE
    log_n, log_d = np.log(found.params), np.log(found.tokens)
    if not np.isfinite([log_n, log_d]).all():
        return  # sizes beyond float64, which such laws do ask for
    params_term = math.exp(math.log(law.A) - law.alpha * log_n)
    tokens_term = math.exp(math.log(law.B) - law.beta * log_d)
    assert params_term + tokens_term == pytest.approx(excess, rel=1e-9)
    left = law.alpha * params_term
    assert left == pytest.approx(law.beta * tokens_term * (1 + served / found.tokens), rel=1e-8)


@given(single_laws, st.floats(0.05, 3.0), st.floats(1e9, 1e15))
def test_no_other_size_is_cheaper(law, excess, served):
    law = dataclasses.replace(law, E=0.0)
    found = planning.served_optimum(law, excess, served)

    def log_cost(log_n):
        left = excess - math.exp(math.log(law.A) - law.alpha * log_n)
        if left <= 0:
            return math.inf
        log_d = (math.log(law.B) - math.log(left)) / law.beta
        return log_n + np.logaddexp(log_d, math.log(served))

    best = math.log(float(found.params))
    lowest = log_cost(best)
    least = (math.log(law.A) - math.log(excess)) / law.alpha  # the size that leaves nothing to the tokens
    search = minimize_scalar(
        log_cost, bounds=(least + 1e-9, best + 30), method="bounded", options={"xatol": 1e-10}
    )
    assert lowest <= search.fun + 1e-9 * max(abs(search.fun), 1)
    for step in (-0.01, 0.01):
        assert log_cost(best + step) >= lowest - 1e-12 * abs(lowest)


@given(single_laws, excesses)
def test_no_demand_gives_the_compute_optimal_model(law, excess):
    law = dataclasses.replace(law, E=0.0)
    found = planning.served_optimum(law, excess, 0.0)
    params, tokens = float(found.params), float(found.tokens)
    assert found.residual == 0
    if not 1e-200 < params * tokens < 1e200:
        return
    best_params, best_tokens = law.optimal(6 * params * tokens)
    assert params == pytest.approx(best_params, rel=1e-10)
    assert tokens == pytest.approx(best_tokens, rel=1e-10)


def test_no_demand_saves_exactly_nothing():
    made = planning.inference_plan(spread_sample(30), demand=planning.Demand(), like_params=13e9)
    table = made.table.set_index("quantity")
    assert (table.loc[["saved", "saving"], ["estimate", "low", "high", "median"]] == 0).all().all()
    assert (table.loc["params"] == table.loc["baseline_params"]).all()
    assert table.loc["params", "median"] == pytest.approx(13e9, rel=1e-12)


@given(st.lists(st.integers(600, 1600), min_size=4, max_size=4, unique=True))
def test_more_demand_means_a_smaller_model_on_more_tokens(hundredths):
    served = 10.0 ** (np.sort(hundredths) / 100)
    found = planning.served_optimum(planning.SARDANA_2023, 2.1, served)
    assert (np.diff(found.params) < 0).all()
    assert (np.diff(found.tokens) > 0).all()


def test_a_batch_of_laws_is_each_law_on_its_own():
    sample = spread_sample(40)
    served = planning.Demand(input_tokens=1e12, output_tokens=1e11)
    table = planning.inference_plan(sample, demand=served, like_params=2e10, level=0.9).table.set_index(
        "quantity"
    )
    singles = np.array(
        [
            rows(
                planning.inference_plan(planning.LawSample.from_law(law), demand=served, like_params=2e10)
            ).to_numpy()
            for law in sample.laws
        ]
    )
    expected = np.quantile(singles, [0.05, 0.5, 0.95], axis=0).T
    np.testing.assert_allclose(table[["low", "median", "high"]].to_numpy(), expected, rtol=1e-10)


def test_another_number_of_laws_compiles_nothing():
    law = ScalingLaw(E=1.69, A=406.4, B=410.7, alpha=0.336, beta=0.283)
    losses = np.linspace(1.9, 2.4, 40)
    whole = planning.served_optimum(law, losses, 1e12)
    programs = inference._solve._cache_size()
    for count in (33, 37, 39):
        part = planning.served_optimum(law, losses[:count], 1e12)
        np.testing.assert_array_equal(part.params, whole.params[:count])
    assert inference._solve._cache_size() == programs


def test_money_weighs_each_kind_of_token_by_its_price_and_utilisation():
    train = planning.Machine(peak_flops=H100, utilisation=0.5, price_per_hour=3.0)
    serve = planning.Machine(peak_flops=2 * H100, utilisation=0.1, price_per_hour=1.5)
    write = dataclasses.replace(serve, utilisation=0.01)
    costs = planning.Costs.rented(train=train, read=serve, write=write)
    served = planning.Demand(input_tokens=1e12, output_tokens=1e11)
    found = rows(planning.inference_plan(PUBLISHED, demand=served, like_params=13e9, costs=costs))
    hours = 6 * found["params"] * found["tokens"] / (H100 * 0.5) / 3600
    assert found["training_cost"] == pytest.approx(3.0 * hours)
    reading = 2 * found["params"] * 1e12 / (2 * H100 * 0.1) / 3600
    writing = 2 * found["params"] * 1e11 / (2 * H100 * 0.01) / 3600
    assert found["inference_cost"] == pytest.approx(1.5 * (reading + writing))
    # The same prices everywhere are FLOP in another unit.
    equal = planning.Costs.rented(train=train, read=train, write=train)
    flop = rows(planning.inference_plan(PUBLISHED, demand=served, like_params=13e9))
    money = rows(planning.inference_plan(PUBLISHED, demand=served, like_params=13e9, costs=equal))
    assert money["params"] == pytest.approx(flop["params"])
    assert money["total_cost"] == pytest.approx(flop["total_cost"] * train.price_per_flop)
    # A format twice as fast halves what serving weighs, so the model may be larger.
    quantised = dataclasses.replace(train, peak_flops=2 * H100)
    fast = planning.Costs.rented(train=train, read=quantised, write=quantised)
    assert (
        rows(planning.inference_plan(PUBLISHED, demand=served, like_params=13e9, costs=fast))["params"]
        > flop["params"]
    )


def test_the_maps_agree_with_the_examples():
    losses = [float(loss_like(planning.SARDANA_2023, size)) for size in (30e9, 13e9)]
    found = planning.ratio_map(planning.SARDANA_2023, losses, [0.0, 2e12, 1e13])
    assert found.cost_ratio.shape == (3, 2)
    assert (found.params_ratio[0] == 1).all()
    assert (found.cost_ratio[0] == 1).all()
    assert found.params_ratio[1, 1] == pytest.approx(6.97 / 13, abs=1e-3)
    assert 1 - found.cost_ratio[1, 1] == pytest.approx(0.174, abs=5e-4)
    assert found.params_ratio[2, 0] == pytest.approx(13.6 / 30, abs=1e-3)
    assert 1 - found.cost_ratio[2, 0] == pytest.approx(0.28, abs=5e-4)
    assert found.residual <= TOLERANCE
    with pytest.raises(UsageError, match="above its E"):
        planning.ratio_map(planning.SARDANA_2023, [1.5], [1e12])


def test_laws_that_cannot_reach_the_loss_are_counted_and_cost_everything():
    sample = spread_sample(300)
    made = planning.inference_plan(sample, demand=planning.Demand(input_tokens=1e12), loss=1.85)
    assert made.n_unreachable == int((np.asarray(sample.laws.E) >= 1.85).sum()) > 30
    table = made.table.set_index("quantity")
    assert table.loc["total_cost", "high"] == math.inf
    assert not table.isna().any().any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: planning.inference_plan(PUBLISHED, demand=planning.Demand(), loss=1.6), "cannot be reached"),
        (
            lambda: planning.inference_plan(PUBLISHED, demand=planning.Demand()),
            "either as loss or as like_params",
        ),
        (
            lambda: planning.inference_plan(PUBLISHED, demand=planning.Demand(), loss=2, like_params=1e9),
            "either as loss or as like_params",
        ),
        (
            lambda: planning.inference_plan(PUBLISHED, demand=planning.Demand(), like_params=-1),
            "like_params is -1",
        ),
        (lambda: planning.Demand(input_tokens=-1), "input_tokens is -1"),
        (lambda: planning.Demand(output_tokens=math.nan), "output_tokens is nan"),
        (lambda: planning.Machine(peak_flops=1e15, utilisation=0.4, price_per_hour=0), "price_per_hour is 0"),
        (lambda: planning.Machine(peak_flops=1e15, utilisation=1.4, price_per_hour=1), "above the peak"),
        (lambda: planning.Machine(peak_flops=0, utilisation=0.4, price_per_hour=1), "peak_flops is 0"),
    ],
)
def test_what_has_no_answer_is_one_line(call, message):
    with pytest.raises(UsageError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_on_the_command_line(tmp_path):
    law = "1.69,406.4,410.7,0.336,0.283"
    arguments = ("inference", "--law", law, "--like-params", "13e9", "--input-tokens", "2e12")
    found = strict_json(done(*arguments, "--json"))
    assert found["plan"]["params"]["estimate"] == pytest.approx(6.97e9, rel=1e-3)
    assert found["residual"] <= TOLERANCE
    assert "17.4" in done(*arguments, "--figures", str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ratio_maps.png", "ratio_maps.svg"]
    priced = (*arguments, "--train-price", "2", "--inference-price", "1")
    assert strict_json(done(*priced, "--json"))["costs"]["unit"] == "currency"
    assert "--output-mfu is missing" in refused(*priced, "--output-tokens", "1e9")
    assert "--inference-price is missing" in refused(*arguments, "--train-price", "2")
    assert "'--train-price': '0' is not a positive number" in refused(
        *arguments, "--train-price", "0", "--inference-price", "1"
    )
    assert "'--train-mfu': '2' is not a fraction" in refused(*priced, "--train-mfu", "2")
    for idle in (("--inference-precision", "int8"), ("--train-mfu", "0.5"), ("--train-device", "a100")):
        assert f"{idle[0]} changes costs in money only" in refused(*arguments, *idle)
    one = ("inference", "--law", law)
    assert "cannot be reached" in refused(*one, "--loss", "1.5", "--input-tokens", "1")
    assert "give the quality once" in refused(*one, "--input-tokens", "1")
    assert "--flops: the budget follows from the quality here; give --like-params N" in refused(
        *one, "--input-tokens", "1", "--flops", "1e22"
    )
    assert "--input-tokens or --output-tokens is missing" in refused(*one, "--like-params", "13e9")
    assert "'--input-tokens': '-1' is not a number of zero or more" in refused(
        *one, "--like-params", "13e9", "--input-tokens", "-1"
    )
    nothing = strict_json(done(*one, "--like-params", "13e9", "--output-tokens", "0", "--json"))
    assert nothing["plan"]["saved"]["estimate"] == 0
    assert nothing["plan"]["params"] == nothing["plan"]["baseline_params"]


def test_extreme_but_lawful_laws_are_certified():
    laws = ScalingLaw(
        E=1.0, A=[1e-3, 1e12, 400.0], B=[1e12, 1e-3, 400.0], alpha=[0.02, 1.9, 0.3], beta=[1.9, 0.02, 0.3]
    )
    found = planning.served_optimum(laws, 1.5, 1e13)
    assert (found.residual <= TOLERANCE).all()
