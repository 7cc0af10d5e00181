"""The specification curve: its tables against slow counts, and what is drawn of few and of many analyses."""

import itertools

import numpy as np
import pandas as pd
import pytest
from every_figure import entries_without_data, shrunk, texts_that_touch
from hypothesis import given, settings
from hypothesis import strategies as st

from chinchilla_jax import DataError, plots
from chinchilla_jax.analysis import choice_effects, multiverse_answer, pooled_interval
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.plots.panels import unshown
from chinchilla_jax.plots.specification_curve_tables import option_text


def multiverse(laws=3, rows=4, seed=0, failing=True):
    """Choices with a nested one and one of a single option; estimates, draws."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        [
            (f"law {law}", objective, delta, row, "6ND")
            for law in range(laws)
            for objective in ("huber", "squared")
            for delta in ((1e-3, 1e-2, 1e-4) if objective == "huber" else (None,))
            for row in range(rows)
        ],
        columns=["law", "objective", "delta", "rows", "cost"],
    )
    estimates = 20 * np.exp(0.1 * table["rows"] + 0.3 * rng.normal(size=len(table))).to_numpy(copy=True)
    draws = estimates[:, None] * np.exp(0.2 * rng.normal(size=(len(table), 50)))
    if failing:
        estimates[[1, 5]], draws[[1, 5]] = np.nan, np.nan
    return table, estimates, draws


def curve_of(table, estimates, draws, **options):
    low, _, high = low_median_high(draws.T, 0.8)
    return plots.specification_curve_table(table, estimates, low=low, high=high, **options)


def test_the_tables_are_sorted_and_say_which_analysis_took_which_option():
    table, estimates, draws = multiverse()
    curve = curve_of(table, estimates, draws, default=3, reference=22.0)
    kept = np.argsort(estimates)[: np.isfinite(estimates).sum()]
    assert curve.curve["estimate"].tolist() == estimates[kept].tolist()
    assert curve.curve["rank"].tolist() == list(range(1, len(kept) + 1))
    assert curve.curve["default"].tolist() == (kept == 3).tolist()
    assert list(curve.options["choice"].unique()) == list(curve.effects["choice"])
    assert curve.fixed == {"cost": "6ND"} and "cost" not in set(curve.options["choice"])
    for used, row in zip(curve.used, curve.options.itertuples(), strict=True):
        cells = table[row.choice].iloc[kept]
        slow = [option_text(cell) == row.option for cell in cells]
        assert used.tolist() == slow and row.n == sum(slow)
        assert row.median == pytest.approx(np.median(estimates[kept][np.array(slow)]))
        assert row.default == slow[list(kept).index(3)]
    deltas = curve.options[curve.options["choice"] == "delta"]["option"].tolist()
    assert deltas == ["0.0001", "0.001", "0.01"]  # by number; other options by their median
    laws = curve.options[curve.options["choice"] == "law"]["median"]
    assert laws.is_monotonic_increasing


def test_numbers_are_in_their_order_and_a_word_among_them_is_last():
    table = pd.DataFrame({"delta": ["0.01", "auto", "0.0001", "0.001"]})
    curve = plots.specification_curve_table(table, [1.0, 2.0, 3.0, 4.0])
    assert curve.options["option"].tolist() == ["0.0001", "0.001", "0.01", "auto"]
    curve = plots.specification_curve_table(table.replace("0.01", "none"), [1.0, 2.0, 3.0, 4.0])
    assert curve.options["option"].tolist() == ["none", "auto", "0.0001", "0.001"]


def test_sides_of_the_reference():
    table = pd.DataFrame({"a": list("wxyz")})
    low, high = [0.5, 1.5, 2.5, np.nan], [1.4, 2.5, 3.5, 9.0]
    curve = plots.specification_curve_table(table, [1.0, 2.0, 3.0, 4.0], low=low, high=high, reference=2.0)
    assert curve.curve["side"].tolist() == ["below", "within", "above", ""]
    assert curve.facts.share_excluding == pytest.approx(2 / 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 1000))
def test_densities_count_each_analysis_once(n, seed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.integers(0, 3, n), "b": rng.integers(0, 30, n)})
    curve = plots.specification_curve_table(table, rng.normal(size=n))
    width = curve.bins["high"] - curve.bins["low"]
    assert width.sum() == n and curve.density.shape == (len(curve.options), len(width))
    for density, row in zip(curve.density, curve.options.itertuples(), strict=True):
        assert np.sum(density * width * row.n / n) == pytest.approx(row.n)
    assert curve.options.groupby("choice")["n"].sum().tolist() == [n] * curve.options["choice"].nunique()
    assert curve.options.groupby("choice").size().max() <= 12 if len(curve.options) else True


def test_of_many_options_those_between_the_extremes_share_a_row():
    table = pd.DataFrame({"size": np.repeat(np.arange(20), 3), "law": list("abc") * 20})
    curve = plots.specification_curve_table(table, np.arange(1.0, 61.0))
    names = curve.options[curve.options["choice"] == "size"]["option"].tolist()
    assert names == ["0", "1", "2", "3", "4", "5", "9 between", "15", "16", "17", "18", "19"]


@pytest.mark.parametrize("rows", [4, 60])
def test_few_analyses_are_drawn_one_by_one_and_many_as_densities(rows):
    table, estimates, draws = multiverse(rows=rows)
    curve = curve_of(
        table, estimates, draws, default=3, pooled=pooled_interval(draws), label="tokens per parameter"
    )
    with unshown():
        axes = plots.specification_curve(curve)
        figure = shrunk(axes, 0.9)
    top, bottom, _ = axes
    few = len(curve.curve) <= 500
    assert few == (rows == 4)
    meshes = [each for each in bottom.collections if each.get_array() is not None]
    assert len(meshes) == (0 if few else len(curve.options))
    assert all(mesh.get_rasterized() for mesh in meshes)
    intervals = [each for each in top.collections if hasattr(each, "get_segments")]
    assert sum(len(each.get_segments()) for each in intervals) == len(curve.curve)
    assert top.get_title(loc="left").startswith(f"{len(curve.curve)} analyses, 2 without an answer")
    assert top.get_yscale() == "log"
    assert not texts_that_touch(figure) and not entries_without_data(figure)


def test_an_answer_of_a_multiverse_gathers_all_and_draws_itself():
    table, estimates, draws = multiverse()
    found = multiverse_answer(table, estimates, draws, default=3, subject="the ratio", label="ratio")
    assert found.effects.equals(choice_effects(table, estimates))
    assert found.interval == pooled_interval(draws, 0.8, default=3)
    assert found.facts.n_failed == 2 and found.facts.reference == estimates[3]
    assert found.sentence.startswith("Over 46 defensible analyses the ratio runs from")
    assert repr(found) == f"<MultiverseAnswer of 48 analyses: {found.sentence}>"
    wider = draws.copy()
    clean = (table["rows"] == 2).to_numpy()
    wider[clean] = estimates[clean, None] * (draws[clean] / estimates[clean, None]) ** 4
    width = multiverse_answer(table, estimates, wider).width_effects
    assert width["choice"][0] == "rows" and width["highest"][0] == 2 and width["share"][0] > 0.8
    with unshown():
        top, _, _ = found.plot()
    assert top.get_ylabel() == "ratio"
    # The resamples of an analysis without an answer do not count.
    draws[1] = 1e9
    assert multiverse_answer(table, estimates, draws).interval.high == found.interval.high
    single = multiverse_answer(table, estimates, draws[:, :0])
    assert "together" not in single.sentence and not single.is_resampled
    with unshown():
        shrunk(single.plot(), 0.9)
    with pytest.raises(DataError, match=r"shape \(47, 50\)"):
        multiverse_answer(table, estimates, draws[1:])


def test_it_draws_on_the_callers_axes():
    from matplotlib.figure import Figure

    curve = curve_of(*multiverse(), default=0)
    figure = Figure()
    given_axes = figure.subplots(3)
    assert plots.specification_curve(curve, axes=given_axes) == tuple(given_axes)
    names = [text.get_text() for text in given_axes[2].get_yticklabels()]
    assert names == list(curve.effects["choice"])


@pytest.mark.parametrize("case", ["one", "alike", "negative", "infinite", "no intervals"])
def test_odd_multiverses_are_drawn(case):
    table, estimates, draws = multiverse(failing=False)
    if case == "one":
        table, estimates, draws = table[:1], estimates[:1], draws[:1]
    if case == "alike":
        estimates = np.full(len(table), 20.0)
        draws = np.full_like(draws, 20.0)
    if case == "negative":
        estimates, draws = estimates - 25.0, draws - 25.0
    if case == "infinite":
        draws[:3, ::2], draws[3:6, ::2] = np.inf, 0.0  # of zeros, no logarithm
    curve = curve_of(table, estimates, draws, default=0, pooled=pooled_interval(draws, default=0))
    if case == "no intervals":
        curve = plots.specification_curve_table(table, estimates)
    with unshown():
        axes = plots.specification_curve(curve)
        shrunk(axes, 0.9)
    ends = [np.array(each.get_segments())[..., 1] for each in axes[0].collections if each.get_segments()]
    # An infinite limit is drawn to beyond the edge: a line to infinity would be left out without a word.
    assert case == "no intervals" or np.isfinite(np.concatenate(ends)).all()
    assert axes[0].get_yscale() == ("linear" if case == "negative" else "log")
    assert all(np.isfinite(axes[0].get_ylim()))


def test_options_of_every_kind_have_a_name():
    options = [1e-3, 3, True, "a" * 40, "tab\there", ("a", 1)]
    names = [option_text(each) for each in options]
    assert names == ["0.001", "3", "True", "a" * 25 + "\u2026", "tab\\there", "('a', 1)"]
    assert len(set(itertools.chain(names))) == len(options)
