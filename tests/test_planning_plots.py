"""Figures about what to train: their tables match the plans, and drawing changes no settings."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from planning_laws import spread_sample

from chinchilla_jax import UsageError, load_runs, planning, plots
from chinchilla_jax.plots import save_figures

SAMPLE = spread_sample(60)
SIMULATED = {
    "scenario": ["a", "a", "b", "b"],
    "spent": [1e18, 1e18, 3e18, 3e18],
    "quantity": ["params_error", "overhead"] * 2,
    "low": [-0.2, 0.001, -0.1, 0.001],
    "median": [0.1, 0.01, 0.0, 0.005],
    "high": [0.4, 0.05, 0.2, 0.02],
    "n": [9, 9, 10, 10],
    "replicas": [10] * 4,
}


def figures():
    import pandas as pd

    result = planning.isoflop(load_runs("llama3"), resamples=50)
    placed = planning.place_models(SAMPLE, planning.known_models())
    maps = planning.ratio_map(planning.SARDANA_2023, np.linspace(1.8, 2.6, 15), np.geomspace(1e9, 1e14, 12))
    yield "plan", lambda **ax: plots.plan(SAMPLE, models=planning.known_models(), **ax), 2, "axes"
    yield "surface", lambda **ax: plots.loss_surface(SAMPLE, **ax), 2, "axes"
    yield "isoflop", lambda **ax: plots.isoflop(result, SAMPLE, **ax), 2, "axes"
    yield "ratios", lambda **ax: plots.model_ratios(placed, **ax), 1, "ax"
    yield "maps", lambda **ax: plots.ratio_maps(maps, sizes={"13B": 2.05}, **ax), 3, "ax"
    ratios, context = planning.flop_ratio_table(), plots.context_cost_table()
    yield "flops", lambda **ax: plots.flop_ratio(ratios, context, **ax), 2, "ax"
    yield "bias", lambda **ax: plots.parabola_bias(plots.parabola_bias_table(), **ax), 2, "ax"
    simulated = pd.DataFrame(SIMULATED)
    yield "simulation", lambda **ax: plots.simulation_errors(simulated, **ax), 2, "ax"


@pytest.fixture(scope="module")
def drawn():
    return {name: rest for name, *rest in figures()}


def test_every_figure_is_drawn_and_leaves_no_setting_changed(drawn, tmp_path):
    before = dict(mpl.rcParams)
    made = [(name, draw()) for name, (draw, *_) in drawn.items()]
    assert dict(mpl.rcParams) == before
    paths = save_figures(made, tmp_path / "figures", dpi=40)
    assert [path.stem for path in paths] == list(drawn)
    again = save_figures([("ratios", drawn["ratios"][0]())], tmp_path / "again", dpi=40)
    assert again[0].read_bytes() == (tmp_path / "figures" / "ratios.png").read_bytes()
    with pytest.raises(UsageError, match=r"formats=\('gif',\): give a list of png"):
        save_figures([], tmp_path, formats=("gif",))


def test_every_figure_can_be_drawn_on_the_caller_s_axes(drawn):
    for draw, panels, option in drawn.values():
        figure = Figure()
        axes = [figure.add_subplot(1, panels, i + 1) for i in range(panels)]
        found = draw(**{option: axes if panels > 1 else axes[0]})
        assert found is figure or (found is axes[0] if panels == 1 else list(found) == axes)
        assert all(each.has_data() for each in axes)
        with pytest.raises(UsageError, match="panel"):
            draw(**{option: [*axes, figure.add_subplot()]})


def test_curves_are_the_plans(drawn):
    curves = plots.plan_table(SAMPLE, flops=[1e20, 1e24], level=0.9)
    for flops in (1e20, 1e24):
        plan = planning.plan(SAMPLE, flops=flops, level=0.9)
        for quantity in ("params", "tokens"):
            rows = curves[(curves["flops"] == flops) & (curves["quantity"] == quantity)].set_index("law")
            wanted = plan.table.set_index("quantity").loc[quantity, ["estimate", "low", "high", "median"]]
            found = rows.loc["fitted", ["estimate", "low", "high", "median"]]
            np.testing.assert_allclose(found.to_numpy(float), wanted.to_numpy(float), rtol=1e-12)
            for law, row in plan.references.set_index("law").iterrows():
                assert rows.loc[law, "estimate"] == pytest.approx(row[quantity])


def test_contours_have_their_minimum_on_the_frontier():
    table = plots.loss_surface_table(SAMPLE, points=400)
    lowest = table.params[np.nanargmin(table.loss, axis=0)]
    true = np.asarray(SAMPLE.point.optimal(table.flops)[0])
    inside = (true > table.params[0]) & (true < table.params[-1])
    np.testing.assert_allclose(np.log(lowest[inside] / true[inside]), 0, atol=0.03)
    assert (table.slice_loss[~np.isnan(table.slice_loss)] >= table.best[:, 1].min()).all()
    assert (table.best_interval[:, 0] < table.best_interval[:, 1]).all()


def test_context_costs_cross_where_they_say():
    table = plots.context_cost_table((1, 50))
    for _, rows in table.groupby("model"):
        log_ratio = np.log(rows["attention_over_feed_forward"])
        crossing = np.exp(np.interp(0.0, log_ratio, np.log(rows["seq_len"])))
        assert crossing == pytest.approx(rows["crossover"].iloc[0], rel=0.02)


def test_bias_is_none_for_equal_exponents_on_centred_grids():
    table = plots.parabola_bias_table(decades=(1.0,))
    at_one = table[np.isclose(table["x"], 1.0)]
    assert len(at_one) == 2
    np.testing.assert_allclose(at_one["ratio"], 1.0, atol=1e-9)
    skewed = table[(table["case"] == "asymmetric") & (table["x"] > 1.01)]
    assert (skewed["ratio"] < 1).all()
