"""The best division of a budget under laws without a closed form, and what follows from it."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax import UsageError, planning
from chinchilla_jax.cli import law_source
from chinchilla_jax.laws import SIX_ND, Cost, RepeatedData
from chinchilla_jax.laws.best_allocation import Found, searched_allocation
from chinchilla_jax.planning.any_frontier import Frontier, rising_root
from chinchilla_jax.planning.frontier import compute_overhead

RUNS = cj.load_runs("chinchilla")
COST = Cost(coefficient=2.3, params_power=1.05, tokens_power=0.99)


def own(p, x):  # tokens that are seen again, idle parameters, and what makes an optimum no smooth one
    r = jnp.log(x["tokens"] / x["params"]) - 3.0
    epochs = x["tokens"] / x["unique_tokens"]
    of_params = p["A"] * x["params"] ** -0.34 * (1.0 - x["sparsity"]) ** -0.1
    of_tokens = p["B"] * x["tokens"] ** -0.36 * (1.0 + 0.05 * epochs)
    return p["E"] + of_params + of_tokens + p["kink"] * jnp.abs(r) + p["fall"] * r


LAW = cj.laws.from_function(
    own,
    {"E": cj.positive(1.7), **dict.fromkeys(("A", "B", "kink", "fall"), cj.real(0.0))},
    variables=("params", "tokens", "unique_tokens", "sparsity"),
    defaults={"unique_tokens": math.inf, "sparsity": 0.0},
)
PLAIN = cj.ScalingLaw(E=1.7, A=500.0, B=2000.0, alpha=0.34, beta=0.36)
NUMBERS = {"E": 1.7, "A": 500.0, "B": 2000.0, "kink": 0.0, "fall": 0.0}
ONES = {name: np.ones(len(RUNS)) for name in LAW.columns}
DESIGN = LAW.design(dataclasses.replace(RUNS, variables=ONES))


def fitted(n=30, **others):
    """Laws around these numbers, as a bootstrap would leave them."""
    draws = np.exp(0.02 * np.random.default_rng(0).standard_normal((n, 3)))
    theta = np.tile(LAW.internal(NUMBERS | others, DESIGN), (n, 1))
    theta[:, 1:3] *= draws[:, 1:]
    return LAW.fitted(theta, DESIGN)


def sampled():
    point = LAW.fitted(LAW.internal(NUMBERS, DESIGN), DESIGN)
    return planning.LawSample(laws=fitted(), point=point, source="a spread of laws")


def independent_optimum(loss, flops, cost, near):
    """(N, D) of lowest loss along the budget, by a bounded search of SciPy's."""
    best = scipy.optimize.minimize_scalar(
        lambda x: loss(math.exp(x), float(cost.tokens(flops, math.exp(x)))),
        bounds=(math.log(near) - 2.1, math.log(near) + 1.7),
        method="bounded",
        options={"xatol": 1e-11},
    )
    return math.exp(best.x), float(cost.tokens(flops, math.exp(best.x)))


@pytest.mark.parametrize("cost", [SIX_ND, COST])
@pytest.mark.parametrize(("unique", "sparsity"), [(math.inf, 0.0), (1e10, 0.0), (3e11, 0.9)])
def test_the_optimum_is_that_of_an_independent_solver(cost, unique, sparsity):
    law, given = sampled().point, {"unique_tokens": unique, "sparsity": sparsity}
    for flops in (1e20, 1e22, 1e25):
        params, tokens = law.optimal(flops, cost, **given)
        active = params * (1 - sparsity)
        assert cost.flops(active, tokens) == pytest.approx(flops, rel=1e-9)

        def loss(n, d):
            natural = dict.fromkeys(("kink", "fall"), 0.0) | NUMBERS
            at = {"params": n / (1 - sparsity), "tokens": d, **given}
            return float(np.asarray(own(natural, at)))

        best = independent_optimum(loss, flops, cost, active)
        assert (active, tokens) == pytest.approx(best, rel=1e-2)  # in float32
        assert law.allocate(flops, cost, **given).found.tolist() == [[Found.INSIDE]]
        if given == {"unique_tokens": math.inf, "sparsity": 0.0}:
            assert (params, tokens) == pytest.approx(PLAIN.optimal(flops, cost), rel=1e-8)


def test_what_an_optimum_is_called():
    nothing = {"E": 2.0, "A": 0.0, "B": 0.0, "kink": 0.0, "fall": 0.0}
    cases = {
        Found.INSIDE: NUMBERS,
        Found.KINK: nothing | {"kink": 0.01, "fall": 0.003},
        Found.ONLY_TOKENS: nothing | {"fall": -0.01},
        Found.ONLY_PARAMS: nothing | {"fall": 0.01},
        Found.FLAT: nothing,
        Found.NONE: nothing | {"A": math.nan},
    }
    theta = np.array([LAW.internal(case, DESIGN) for case in cases.values()])
    found = searched_allocation(LAW, DESIGN, theta, np.array([1e21]))
    assert found.found[:, 0].tolist() == list(cases)
    ratio = found.tokens_per_param[:, 0]
    assert ratio[1] == pytest.approx(math.exp(3.0), rel=1e-6)
    assert ratio[2] == np.inf and ratio[3] == 0 and np.isnan(ratio[4:]).all()
    # A plan of a law at an edge is refused, and laws at one are left out and counted.
    laws = LAW.fitted(theta[[0, 0, 2]], DESIGN)
    sample = planning.LawSample(laws=laws, point=laws[0], source="odd laws")
    made = planning.plan(sample, flops=3e21)
    assert made.n_edges == 1 and made.table["low"].notna().all()
    with pytest.raises(cj.ChinchillaError, match=r"for flops 3e.21: fewer parameters are better"):
        planning.plan(dataclasses.replace(sample, point=laws[2]), flops=3e21)


def test_the_budget_for_a_size_for_tokens_and_for_a_loss():
    laws = fitted()
    for given in ({"unique_tokens": 1e10, "sparsity": 0.5}, {}):
        frontier = Frontier(laws=laws, cost=COST, variables=given)
        active, tokens, _ = frontier.best(3.7e22)
        loss = frontier.loss(active, tokens)
        for target, value in (("params", active), ("tokens", tokens), ("loss", loss)):
            np.testing.assert_allclose(frontier.budget(target, value), 3.7e22, rtol=1e-7)
        assert (frontier.overhead(active, tokens) == 0).all()
    assert np.isinf(frontier.budget("loss", 1.0)).all()
    natural = laws.as_dict()
    plain = cj.ScalingLaw(E=1.7, A=natural["A"], B=natural["B"], alpha=0.34, beta=0.36)
    expected = compute_overhead(plain.along(COST), 1e9**COST.params_power, 1e12**COST.tokens_power)
    np.testing.assert_allclose(frontier.overhead(1e9, 1e12), expected, rtol=1e-6)
    np.testing.assert_allclose(frontier.loss(1e9, 1e12), plain.loss(1e9, 1e12), rtol=1e-12)


def test_a_flat_optimum_is_not_one_out_of_reach():
    known = np.log([1e16, 1e4, 3e19])  # from here on every division is as good

    def function(log_flops):
        return np.where(log_flops < known + 2.0, log_flops - known, np.nan)

    np.testing.assert_allclose(rising_root(function, known.shape), np.exp(known))
    shift = np.array([5.0, math.nan, -1.0])  # beyond what is reached, never known, within
    found = rising_root(lambda x: function(x) - shift, known.shape)
    np.testing.assert_allclose(found, [math.inf, math.nan, 3e19 / math.e])
    flat = LAW.fitted(np.array([LAW.internal(NUMBERS | {"A": 0.0, "B": 0.0}, DESIGN)] * 2), DESIGN)
    frontier = Frontier(laws=flat, cost=COST, variables={})
    assert np.isnan(frontier.budget("loss", 2.0)).all() and np.isnan(frontier.overhead(1e9, 1e12)).all()
    sample = planning.LawSample(laws=flat, point=flat[0], source="a flat law")
    for target in ({"loss": 2.0}, {"params": 1e9}):
        with pytest.raises(cj.ChinchillaError, match="no longer depends on how this budget is divided"):
            planning.plan(sample, **target)


def test_a_model_without_an_optimum_to_compare_with():
    theta = np.array(fitted(8).theta)
    nowhere = LAW.internal(NUMBERS | {"A": 0.0, "B": 0.0}, DESIGN)  # every division is as good
    theta[::2] = nowhere
    models = planning.known_models().iloc[:1].assign(params=2e9, tokens=4e12)
    laws, point = LAW.fitted(theta, DESIGN), sampled().point
    some = planning.LawSample(laws=laws, point=point, source="half of them flat")
    row = planning.place_models(some, models).iloc[0]
    assert row["verdict"] == "over-trained" and (row["p_under"], row["p_over"]) == (0, 1)
    assert np.isfinite([row["optimal_low"], row["optimal_high"], row["overhead_low"], row["loss_low"]]).all()
    none = dataclasses.replace(some, point=LAW.fitted(nowhere, DESIGN))
    row = planning.place_models(none, models).iloc[0]
    assert row["verdict"] == "no optimum to compare with" and np.isnan(row["optimal_estimate"])
    with pytest.raises(UsageError, match="loss 1 cannot be reached"):
        planning.plan(some, loss=1.0)
    # A plan says of how many laws each row is.
    made = planning.plan(some, flops=1e22)
    assert made.doubts["params"].endswith("of 4 of 8 laws; the others have none and are left out")


def test_a_plan_on_limited_tokens():
    sample = sampled()
    made = planning.plan(sample, flops=1e24, variables={"unique_tokens": 3e11})
    found = made.table.set_index("quantity")
    assert list(found.index)[:5] == ["flops", "params", "tokens", "epochs", "tokens_per_param"]
    assert (found["low"] <= found["median"]).all() and (found["median"] <= found["high"]).all()
    assert found.loc["epochs", "estimate"] == pytest.approx(found.loc["tokens", "estimate"] / 3e11)
    beside = made.beside.set_index(["how", "quantity"])["estimate"]
    unlimited = planning.plan(sample, flops=1e24).table.set_index("quantity")["estimate"]
    assert beside["all tokens new", "params"] == pytest.approx(unlimited["params"])
    assert beside["no token twice", "tokens"] == 3e11
    assert beside["all tokens new", "loss"] < found.loc["loss", "estimate"]
    assert found.loc["loss", "estimate"] < beside["no token twice", "loss"]
    # A model of a fixed size, trained for longer than is best.
    models = planning.known_models().iloc[:2].assign(params=[2e9, 1e11], tokens=[4e12, 5e11])
    placed = planning.place_models(sample.at(variables={"unique_tokens": 3e11}), models)
    assert placed["verdict"].tolist() == ["over-trained", "under-trained"]
    assert (placed["overhead_low"] > 0).all() and (placed["loss_low"] < placed["loss_high"]).all()
    with pytest.raises(UsageError, match="needs the five-parameter law"):
        planning.inference_plan(sample, loss=2.2, demand=planning.Demand())
    with pytest.raises(UsageError, match="has no variable 'n_experts'"):
        planning.plan(sample, flops=1e22, variables={"n_experts": 8})


def test_experts_cost_what_a_token_passes_through():
    made = planning.plan(sampled(), params=1e10, variables={"sparsity": 0.9})
    found = made.table.set_index("quantity")["estimate"]
    assert found["params"] == 1e10 and found["params_active"] == pytest.approx(1e9, rel=1e-7)
    assert 6 * found["params_active"] * found["tokens"] == pytest.approx(found["flops"], rel=1e-7)
    assert found["tokens_per_param"] == pytest.approx(found["tokens"] / found["params_active"])
    assert set(made.beside["how"]) == {"all parameters active"}
    with pytest.raises(UsageError, match="from 0 to below 1"):
        planning.plan(sampled(), flops=1e22, variables={"sparsity": 1.0})


@pytest.mark.slow
def test_the_published_law_of_repeated_data():
    numbers = {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.353, "beta": 0.353, "R_D": 15.4, "R_N": 5.3}
    law = RepeatedData()
    design = law.design(dataclasses.replace(RUNS, variables={"unique_tokens": RUNS.tokens}))
    theta = law.internal(numbers, design)
    for unique, flops in ((1e9, 1e20), (1e9, 1e21), (3e11, 1e23), (3e11, 1e25)):
        one = law.fitted(theta, design)
        params, tokens = one.optimal(flops, COST, unique_tokens=unique)
        best = independent_optimum(lambda n, d: one.loss(n, d, unique_tokens=unique), flops, COST, params)  # noqa: B023
        assert (params, tokens) == pytest.approx(best, rel=2e-4)
    # 400 times the parameters and the tokens that these data are worth: more compute no longer matters.
    assert one.allocate(1e26, unique_tokens=1e9).found.tolist() == [[Found.FLAT]]


def test_the_command_plans_at_the_variables_of_a_law(monkeypatch):
    monkeypatch.setattr(law_source, "fit_sample", lambda *_, **__: sampled())
    asked = ("plan", "--law", "repeated_data", "--flops", "1e24", "--unique-tokens", "3e11")
    taken = "all tokens are taken for new: --unique-tokens U says how many there are"
    assert taken in done(*asked[:5]) and taken not in done(*asked)
    found = strict_json(done(*asked, "--json"))
    assert found["variables"] == {"unique_tokens": 3e11}
    assert found["plan"]["epochs"]["estimate"] > 1
    assert {row["how"] for row in found["beside"]} == {"all tokens new", "no token twice"}
    text = done(*asked, "--params", "2e9")
    for words in ("epochs", "same budget, no token twice", "as given", "loss"):
        assert words in text
    assert found == strict_json(done(*asked[:5], "--at", "unique_tokens=3e11", "--json"))


def test_variables_that_a_law_does_not_have_cost_one_line():
    given = ("plan", "--flops", "1e24", "--law", "besiroglu2024")
    assert "--law repeated_data" in refused(*given, "--unique-tokens", "3e11")
    assert "give NAME=NUMBER" in refused(*given, "--at", "n_experts")
    assert "number from 0 to 1" in refused(*given, "--sparsity", "2")
