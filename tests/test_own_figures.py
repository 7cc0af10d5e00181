"""Figures of a user's own objects: what their tables hold, and what is drawn of them."""

import dataclasses

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import chinchilla_jax as cj
from chinchilla_jax import plots
from chinchilla_jax.plots.panels import unshown
from chinchilla_jax.plots.residual_figure import draw_residuals

TRUTH = cj.ScalingLaw(E=1.8, A=400.0, B=2000.0, alpha=0.34, beta=0.36)


def short_table(n=60, decades=1.5):
    """Runs as a newcomer has them: few, over 1.5 decades of compute, with a column of labels."""
    random = np.random.default_rng(0)
    flops = 10 ** random.uniform(19, 19 + decades, n)
    ratio = np.exp(random.uniform(np.log(5), np.log(100), n))
    params = np.sqrt(flops / 6 / ratio)
    loss = TRUTH.loss(params, params * ratio) * np.exp(random.normal(0, 0.005, n))
    labels = {"width": np.where(np.arange(n) % 3, "wide", "narrow")}
    return cj.Runs(params=params, tokens=params * ratio, loss=loss, labels=labels)


RUNS = short_table()


@pytest.fixture(scope="module")
def fit():
    return cj.fit(RUNS, delta=0.01)


@pytest.mark.parametrize("against", ["flops", "params", "tokens"])
def test_curves_of_a_fit_are_its_law(fit, against):
    table = plots.fit_table(fit, against=against)
    rows = table.curves
    np.testing.assert_allclose(rows["loss"], fit.law.loss(rows["params"], rows["tokens"]), rtol=1e-12)
    np.testing.assert_allclose(rows["flops"], 6 * rows["params"] * rows["tokens"], rtol=1e-12)
    best = rows[rows["curve"] == "optimum"]
    np.testing.assert_allclose(best["params"], fit.law.optimal(best["flops"])[0], rtol=1e-9)
    assert rows["inside"].any() and not rows["inside"].all()
    inside = rows[rows["inside"]]
    assert inside["flops"].between(RUNS.flops.min() * 0.999, RUNS.flops.max() * 1.001).all()
    np.testing.assert_array_equal(table.runs["loss"], RUNS.loss)


def test_slices_go_through_the_budgets_that_runs_share(fit):
    flops, params = np.repeat(np.geomspace(1e18, 1e21, 4), 6), np.tile(np.geomspace(1e8, 1e10, 6), 4)
    tokens = flops / (6 * params)
    shared = cj.fit({"params": params, "tokens": tokens, "loss": fit.law.loss(params, tokens)}, delta=0.01)
    held = plots.fit_table(shared, against="params").curves["held"].dropna().unique()
    np.testing.assert_allclose(np.sort(held), np.geomspace(1e18, 1e21, 4), rtol=1e-9)


def test_residuals_are_those_of_the_goodness(fit):
    table = plots.residuals_table(fit, against="width", worst=2)
    assert table.attrs["scale_percent"] == pytest.approx(fit.goodness.scale_percent)
    worst = table[table["worst"]]
    assert len(worst) == 2 and fit.goodness.largest_row in set(worst["row"])
    size = table["residual_percent"].abs()
    assert size[worst.index].min() >= size.drop(worst.index).max()
    assert set(table["width"]) == {"wide", "narrow"}


def test_a_figure_takes_axes_and_refuses_what_it_does_not_know(fit):
    axes = Figure().subplots()
    assert plots.fit(fit, ax=axes) is axes and plots.residuals(fit, ax=Figure().subplots()).has_data()
    with pytest.raises(cj.UsageError, match="unknown against 'flop'; did you mean 'flops'"):
        plots.fit(fit, against="flop")
    with pytest.raises(cj.UsageError, match="allowed: params, tokens, flops, width"):
        plots.residuals(fit, against="depth")


@pytest.fixture(scope="module")
def boot():
    return cj.bootstrap(RUNS, delta=0.01, resamples=200)


def test_curves_of_a_bootstrap_are_its_tables_and_the_plan(boot):
    budgets = [3e19, 1e22]
    for quantity in ("tokens_per_param", "params", "tokens", "loss"):
        curve = plots.bootstrap_table(boot, quantity, flops=budgets, level=0.9)
        asked = curve.table[curve.table["asked"]].set_index("flops")
        for flops in budgets:
            plan = cj.plan(boot, flops=flops, level=0.9).table.set_index("quantity").loc[quantity]
            columns = ["estimate", "low", "high", "median"]
            np.testing.assert_allclose(
                asked.loc[flops, columns].to_numpy(float), plan[columns].to_numpy(float), rtol=1e-12
            )
        assert list(asked["inside"]) == [True, False] and len(curve.runs) == len(RUNS)
    own = boot.tokens_per_param(budgets, level=0.9)
    found = plots.bootstrap_table(boot, flops=budgets, level=0.9).table
    for column in ("estimate", "low", "high"):
        np.testing.assert_allclose(found[found["asked"]][column], own[column], rtol=1e-9)


def test_an_unknown_quantity_is_refused_in_one_line(boot):
    with pytest.raises(cj.UsageError, match="unknown quantity 'ratio'; allowed: tokens_per_param"):
        plots.bootstrap(boot, "ratio")


def test_a_new_figure_is_pyplot_s_where_the_user_works_with_it(fit):
    from matplotlib import pyplot

    before, known = dict(mpl.rcParams), pyplot.get_fignums()
    shown = fit.plot().figure
    with unshown():
        assert fit.plot().figure is not shown
    added = [number for number in pyplot.get_fignums() if number not in known]
    assert [pyplot.figure(number) for number in added] == [shown]
    pyplot.close(shown)
    assert dict(mpl.rcParams) == before


def test_results_draw_themselves(fit, boot):
    axes = Figure().subplots()
    assert fit.plot(against="params", ax=axes) is axes and axes.get_xlabel().startswith("parameters")
    assert fit.plot_residuals(ax=Figure().subplots()).has_data()
    assert boot.plot("loss", ax=Figure().subplots()).get_ylabel().startswith("compute-optimal loss")
    left, right = cj.plan(boot, flops=1e22).plot(axes=Figure().subplots(1, 2))
    assert left.has_data() and right.has_data()
    assert "chinchilla_jax.plots.fit" in (type(fit).plot.__doc__ or "")


@pytest.mark.parametrize("name", ["row", "weight", "worst", "residual_percent"])
def test_a_column_of_the_users_may_have_the_name_of_one_of_the_table(name):
    """A table with a column of labels "weight" had no page: TypeError."""
    runs = dataclasses.replace(RUNS, labels={name: RUNS.labels["width"]})
    table = plots.residuals_table(cj.fit(runs, delta=0.01), against=name)
    assert list(table.columns) == ["row", f"{name} (column)", "residual_percent", "weight", "worst"]
    axes = draw_residuals(table)
    assert {text.get_text() for text in axes.get_yticklabels()} == {"wide", "narrow"}
