"""The figures of the experiments, drawn from the tables that are kept beside them."""

import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripts import loaded

from chinchilla_jax import plots

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def module(experiment, name):
    """experiments/EXPERIMENT/NAME.py, which is in no package."""
    return loaded(EXPERIMENTS / experiment / f"{name}.py")


def table(experiment, name):
    return pd.read_csv(EXPERIMENTS / experiment / f"{name}.csv")


def texts(labels):
    return [label.get_text() for label in labels]


def test_breakdown_has_a_row_per_family_and_direction():
    found = table("breakdown", "breakdown").assign(flops=5.76e23)
    axes = plots.breakdown(found)
    assert len(axes.get_yticks()) == len(found.groupby(["family", "direction"]))


@pytest.mark.parametrize("narrow", [False, True])
def test_coverage_has_a_panel_per_quantity_and_budget(narrow):
    found = table("coverage", "coverage")
    figure = module("coverage", "plot_coverage").plot_coverage(found, narrow=narrow)
    assert figure.get_figwidth() < 4.5 or not narrow, "labels of 9 points are readable on a telephone"
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == len(found.groupby(["quantity", "flops"], dropna=False))


def test_confusion_counts_every_planted_error_once():
    found = table("diagnosis", "confusion").query("use == 'law'")
    (axes,) = module("diagnosis", "plot_confusion").plot_confusion(found).axes
    shown = np.asarray(axes.images[0].get_array())
    assert shown.sum() == len(found)
    assert np.trace(shown) == found["right"].sum()


def test_theory_has_a_row_of_panels_per_family():
    found = table("theory", "theory")
    figure = module("theory", "plot_theory").plot_theory(found)
    assert len(figure.axes) == 5 * found["family"].nunique()


def test_objectives_beside_huber_have_a_tick_of_their_own():
    found = table("forms", "objectives")
    (axes,) = module("forms", "plot_forms").plot_objective_sensitivity(found).axes
    others = set(found["objective"]) - {"huber"}
    assert set(texts(axes.get_xticklabels())[-len(others) :]) == others


def test_forms_are_compared_by_split():
    found = table("forms", "comparison")
    comparison = types.SimpleNamespace(table=found, reference="chinchilla", level=0.8, method="percentile")
    figure = module("forms", "plot_forms").plot_form_comparison(comparison)
    splits = [text.split("\n")[0] for text in texts(figure.axes[0].get_yticklabels())]
    assert splits == list(dict.fromkeys(found["split"]))


def test_form_ratios_are_the_estimates():
    found = table("forms", "forms").query("quantity == 'tokens_per_param'")
    (axes,) = module("forms", "plot_forms").plot_form_ratios(found, 1e21).axes
    first = found[found["form"] == found["form"].iloc[0]]
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), first["estimate"])


def test_the_density_of_chi_squared_has_mass_one():
    distances = np.random.default_rng(0).chisquare(5, 400)
    test = types.SimpleNamespace(distances=distances, statistic=30.0, degrees=5)
    (axes,) = module("forms", "plot_forms").plot_wald(test, "printed").axes
    x, y = axes.get_lines()[0].get_data()
    assert np.trapezoid(y, np.log(x)) == pytest.approx(1, abs=0.02)


def test_next_runs_has_a_panel_for_planted_and_for_real_tables():
    made = module("next_runs", "summarise")
    every = {which: made.read(which, made.HERE) for which in made.CELLS}
    figure = made.draw(every)
    assert len(figure.axes) == 2
    for which, lines in every.items():
        cells = made.by_cell(lines, which)
        assert (cells["best rule"].isin(made.RULES)).all()
        assert cells["share of FLOP"].dropna().between(0.01, 1.0).all()
