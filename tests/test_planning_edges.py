"""Decisions where numbers get extreme: small exponents, minima off the grid, functions that throw."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from planning_laws import spread_sample
from scipy.optimize import minimize_scalar
from test_cli import done, refused, strict_json

from chinchilla_jax import DataError, Runs, ScalingLaw, UsageError, planning
from chinchilla_jax._util.errors import DataWarning
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022
from chinchilla_jax.planning.frontier import flops_for_params
from chinchilla_jax.planning.ladder import ModelGrid, import_runs, tokens_for_params

# Weaker and steeper than any that was fitted: a bootstrap of few runs has such laws among its thousands.
wild_laws = st.builds(
    ScalingLaw,
    E=st.floats(0.0, 3.0),
    A=st.floats(1e-3, 1e12),
    B=st.floats(1e-3, 1e12),
    alpha=st.floats(0.01, 5.0),
    beta=st.floats(0.01, 5.0),
)
lawful = st.builds(
    ScalingLaw,
    E=st.floats(0.0, 3.0),
    A=st.floats(50.0, 5e3),
    B=st.floats(50.0, 5e3),
    alpha=st.floats(0.2, 0.6),
    beta=st.floats(0.2, 0.6),
)


@settings(max_examples=30)
@given(wild_laws, st.sampled_from(["params", "tokens"]), st.floats(1e6, 1e13))
def test_budgets_beyond_float64_are_infinite_and_not_unreachable(law, target, value):
    sample = planning.LawSample.from_law(law)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            made = planning.plan(sample, **{target: value})
        except UsageError as error:
            assert "leaves no room" in str(error)
            return
    point = made.table.set_index("quantity")["estimate"]
    assert made.n_unreachable == 0
    assert point["flops"] > 0
    assert point["rule_overhead"] >= 0
    assert not point.isna().any()
    # ln(D/N) = intercept + slope ln(N D), whatever the budget overflows to.
    intercept, slope = law.log_ratio_line()
    other = "tokens" if target == "params" else "params"
    if 0 < point[other] < math.inf:
        log_ratio = math.log(point["tokens"]) - math.log(point["params"])
        log_nd = math.log(point["tokens"]) + math.log(point["params"])
        assert log_ratio == pytest.approx(intercept + slope * log_nd, rel=1e-9, abs=1e-9)


@settings(max_examples=30)
@given(lawful, st.floats(1e9, 1e17))
@example(ScalingLaw(E=0.0, A=4653.0, B=50.0, alpha=0.21875, beta=0.21875), 1e9)
def test_quality_as_a_size_gives_that_size_back_without_demand(law, size):
    """The loss of a very large model has no digits left for the excess over E."""
    sample = planning.LawSample.from_law(law)
    if law.alpha * law.A * size**-law.alpha > law.beta * law.B:  # at the optimum: beta B D^-beta, so D < 1
        with pytest.raises(UsageError, match="leaves no room"):
            planning.inference_plan(sample, like_params=size, demand=planning.Demand())
        return
    table = planning.inference_plan(sample, like_params=size, demand=planning.Demand()).table
    point = table.set_index("quantity")["estimate"]
    assert point["params"] == pytest.approx(size, rel=1e-9)
    assert point["params"] == point["baseline_params"]
    assert point["saved"] == 0


prices, shares, rates = st.floats(0.05, 50.0), st.floats(0.005, 1.0), st.floats(1e14, 5e15)


@settings(max_examples=30)
@given(lawful, st.floats(1e8, 1e12), st.floats(0, 1e15), st.floats(0, 1e15), st.data())
def test_money_is_least_where_a_search_of_the_bill_finds_it(law, size, read, written, data):
    """Utilisation, rate and price of each kind of work apart: the bill is written out, and searched."""
    assume(read + written > 0)
    machines = [
        planning.Machine(
            peak_flops=data.draw(rates), utilisation=data.draw(shares), price_per_hour=data.draw(prices)
        )
        for _ in range(3)
    ]
    costs = planning.Costs.rented(train=machines[0], read=machines[1], write=machines[2])
    sample = planning.LawSample.from_law(law)
    demand = planning.Demand(input_tokens=read, output_tokens=written)
    try:
        made = planning.inference_plan(sample, like_params=size, demand=demand, costs=costs)
    except UsageError as error:
        assert "leaves no room" in str(error)
        return
    point = made.table.set_index("quantity")["estimate"]
    flops = flops_for_params(law, size)  # `plan` would refuse an optimum of less than one token
    best_n, best_d = law.optimal(flops)
    excess = law.A * best_n**-law.alpha + law.B * best_d**-law.beta

    def bill(log_n):
        left = excess - law.A * math.exp(-law.alpha * log_n)
        if left <= 0:
            return math.inf
        n, d = math.exp(log_n), (law.B / left) ** (1 / law.beta)
        hours = [6 * n * d, 2 * n * read, 2 * n * written]
        return sum(
            flop / (3600 * machine.peak_flops * machine.utilisation) * machine.price_per_hour
            for flop, machine in zip(hours, machines, strict=True)
        )

    least = math.log(law.A / excess) / law.alpha
    found = minimize_scalar(
        lambda log_n: math.log(bill(log_n)), bounds=(least + 1e-12, math.log(size) + 1e-6), method="bounded"
    )
    assert point["total_cost"] <= math.exp(found.fun) * (1 + 1e-9)
    assert point["total_cost"] == pytest.approx(bill(math.log(point["params"])), rel=1e-6)
    assert point["baseline_cost"] == pytest.approx(bill(math.log(size)), rel=1e-6)
    assert point["saving"] >= -1e-12


def test_a_served_model_of_less_than_one_parameter_is_refused():
    one = planning.LawSample.from_law(HOFFMANN_2022)
    demand = planning.Demand(input_tokens=1e12)
    with pytest.raises(UsageError, match="leaves no room"):
        planning.inference_plan(one, loss=3000.0, demand=demand)
    with pytest.raises(UsageError, match=r"like_params 1 .* leaves no room"):
        planning.inference_plan(one, like_params=1.0, demand=demand)
    with pytest.raises(UsageError, match=r"cost of serving 1e\+300 tokens exceeds float64"):
        planning.inference_plan(one, like_params=13e9, demand=planning.Demand(input_tokens=1e300))


def test_laws_that_cannot_reach_the_loss_are_reported_and_not_dropped(tmp_path):
    """E is above the loss under a third of the laws: reported, and infinite in the quantiles."""
    sample = spread_sample(300)
    loss = float(np.quantile(np.asarray(sample.laws.E), 2 / 3))
    beyond = int((np.asarray(sample.laws.E) >= loss).sum())
    assert 90 < beyond < 110
    made = planning.inference_plan(sample, loss=loss, demand=planning.Demand(input_tokens=1e12))
    table = made.table.set_index("quantity")
    assert made.n_unreachable == beyond
    assert (table.loc[["params", "tokens", "total_cost"], "high"] == np.inf).all()
    assert np.isfinite(table.loc[["params", "tokens"], "median"].to_numpy(float)).all()
    assert table.loc["saving", ["low", "median", "high"]].between(0, 1).all()
    assert planning.plan(sample, loss=loss).n_unreachable == beyond


def test_the_command_line_says_how_many_laws_were_left_out(tmp_path, monkeypatch):
    from chinchilla_jax.cli.law_source import LawSource

    sample = spread_sample(100)
    monkeypatch.setattr(LawSource, "read", lambda *_: sample)
    loss = str(float(np.median(np.asarray(sample.laws.E))) + 1e-9)
    for command in (("plan",), ("inference", "--input-tokens", "1e12")):
        assert "50 of 100 laws cannot reach this loss with any amount of compute" in done(
            *command, "--loss", loss
        )


def _grid_of_runs(law, budgets, factors):
    params = np.asarray(law.optimal(budgets)[0])[:, None] * np.asarray(factors)
    flops = np.broadcast_to(np.asarray(budgets)[:, None], params.shape)
    tokens = flops / 6 / params
    loss = np.asarray(law.loss(params, tokens))
    return Runs(params.ravel(), tokens.ravel(), flops.ravel(), loss.ravel(), name="grid")


def test_minima_outside_the_grid_are_marked(tmp_path):
    budgets = np.array([1e18, 1e19, 1e20])
    runs = _grid_of_runs(HOFFMANN_2022, budgets, np.geomspace(3, 30, 8))
    result = planning.isoflop(runs, resamples=20)
    assert result.outside.all()
    assert (result.params[0] < 3.1 * np.asarray(HOFFMANN_2022.optimal(budgets)[0])).all()
    path = tmp_path / "grid.csv"
    path.write_text(
        "params,tokens,flops,loss\n"
        + "".join(
            f"{n!r},{d!r},{c!r},{loss!r}\n"
            for n, d, c, loss in zip(
                *(getattr(runs, name).tolist() for name in ("params", "tokens", "flops", "loss")), strict=True
            )
        )
    )
    text = " ".join(done("isoflop", str(path), "--resamples", "20", "--flops", "1e21").split())
    assert "in the power law for want of two others: 1e18, 1e19, 1e20 FLOP" in text


def test_a_budget_without_a_minimum_is_not_called_outside():
    runs = _grid_of_runs(HOFFMANN_2022, [1e18, 1e19, 1e20], np.geomspace(0.3, 3, 8))
    hill = runs.flops == 1e18
    upside_down = np.where(hill, 2 * runs.loss[hill].mean() - runs.loss, runs.loss)
    result = planning.isoflop(Runs(runs.params, runs.tokens, runs.flops, upside_down), resamples=0)
    assert np.isnan(result.params[0, 0])
    assert result.outside.tolist() == [False, False, False]


def test_power_laws_far_beyond_float64_leave_no_warning():
    result = planning.isoflop(
        _grid_of_runs(HOFFMANN_2022, [1e18, 1e19], np.geomspace(0.3, 3, 8)), resamples=0
    )
    exponents = {"exponent": np.array([40.0, -40.0]), "tokens_exponent": np.array([-39.0, 41.0])}
    coefficients = dict.fromkeys(("log_coefficient", "log_tokens_coefficient"), np.zeros(2))
    steep = type(result)(**{**vars(result), **exponents, **coefficients})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params, tokens = steep.optimal([1e24])
    assert params[:, 0].tolist() == [np.inf, 0.0]
    assert tokens[:, 0].tolist() == [0.0, np.inf]


def test_a_size_function_that_throws_is_one_line():
    def wrong(d_model, **_):
        raise ZeroDivisionError("no heads")

    with pytest.raises(UsageError, match=r"size function fails on .*ZeroDivisionError: no heads"):
        ModelGrid({"d_model": [8, 16], "n_heads": [1]}, wrong)
    with pytest.raises(UsageError, match=r"size function fails on .*takes the grid's dimensions by name"):
        ModelGrid({"d_model": [8, 16]}, lambda width: width)


def test_a_file_made_with_a_size_function_is_not_counted_by_another(tmp_path):
    grid = {"d_model": [64, 128], "n_heads": [2], "n_layers": [2, 4]}
    settings = planning.LadderSettings(flops_range=(1e15, 1e16), seeds=6, grid=grid)
    path = tmp_path / "own.db"
    made = planning.Ladder.create(path, settings, size=lambda **d: 1000.0 * d["n_layers"])
    assert made.next().params in (2000.0, 4000.0)
    made.append(5.0)
    assert "size function of its own" in refused("progress", "next", str(path))
    assert strict_json(done("progress", "show", str(path), "--json"))["runs"][0]["loss"] == 5.0
    again = planning.Ladder.open(path, size=lambda **d: 1000.0 * d["n_layers"])
    assert again.next().params in (2000.0, 4000.0)


def test_tokens_of_a_size_without_any_are_refused():
    with pytest.raises(UsageError, match="would be optimal on"):
        tokens_for_params(HOFFMANN_2022, 1e-3)


@settings(max_examples=30)
@given(st.floats(1e18, 1e27), st.floats(1.0, 2000.0))
def test_no_fixed_ratio_beats_the_optimum(flops, ratio):
    made = planning.plan(spread_sample(20), flops=flops, ratio=ratio)
    overhead = made.table.set_index("quantity").loc["rule_overhead", ["estimate", "low", "high", "median"]]
    assert (overhead >= 0).all()
    assert np.isfinite(overhead.to_numpy(float)).all()


@settings(max_examples=30)
@given(st.floats(1e15, 1e28))
def test_kaplan_and_its_inverses_agree(flops):
    law = planning.KAPLAN_2020
    params, tokens = law.optimal(flops)
    assert 6 * params * tokens == pytest.approx(flops)
    assert law.flops_for_params(params) == pytest.approx(flops)
    assert law.flops_for_tokens(tokens) == pytest.approx(flops)
    rows = planning.plan(planning.LawSample.from_law(HOFFMANN_2022), params=float(params)).references
    assert rows.set_index("law").loc["kaplan2020", "flops"] == pytest.approx(flops)


def test_flop_may_replace_one_of_the_two_counts(tmp_path):
    models, runs = tmp_path / "models.csv", tmp_path / "runs.csv"
    models.write_text("model,params,flops\na,7e9,8.4e22\n")
    assert planning.read_models(models)["tokens"].tolist() == [pytest.approx(2e12)]
    runs.write_text("flops,tokens,loss\n8.4e18,2e10,3.1\n6e18,1e10,\n")
    settings = planning.LadderSettings(flops_range=(1e15, 1e16), seeds=6)
    study = planning.Ladder.create(tmp_path / "s.db", settings)
    assert import_runs(study.store, runs) == 2
    assert [run.params for run in study.store.runs()] == pytest.approx([7e7, 1e8])
    assert [run.flops for run in study.store.runs()] == [8.4e18, 6e18]
    models.write_text("model,params,loss\na,7e9,2\n")
    with pytest.raises(DataError, match="no column for tokens"):
        planning.read_models(models)


def test_models_in_billions_get_a_warning(tmp_path):
    path = tmp_path / "models.csv"
    path.write_text("model,params,tokens\na,1,20\nb,8,300\n")
    with pytest.warns(DataWarning) as caught:
        planning.read_models(path)
    assert "looks like billions of parameters" in str(caught[0].message)


@pytest.mark.parametrize(
    ("loss", "served"), [(math.nan, 1e12), (2.0, -1.0), (2.0, math.inf), (2.0, math.nan)]
)
def test_a_served_optimum_of_no_numbers_is_refused(loss, served):
    with pytest.raises(UsageError, match="served_optimum: give finite losses"):
        planning.served_optimum(HOFFMANN_2022, loss, served)
