"""What holds for every figure, at small sizes: tick labels do not touch, and legends name what is drawn."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from every_figure import entries_without_data, returned_wrongly, shrunk, texts_that_touch
from test_joint_maps import fake, resampled
from test_own_figures import RUNS
from test_planning_plots import figures
from test_plots import make_study
from test_specification_curve import curve_of, multiverse

import chinchilla_jax as cj
from chinchilla_jax import analysis, planning, plots
from chinchilla_jax.analysis import influence, joint_map
from chinchilla_jax.plots.panels import unshown
from chinchilla_jax.study.atlas.tables import KINDS

ATLAS = Path(__file__).parent.parent / "experiments" / "atlas"


def own(fit, boot):
    """Figures of a short table's own objects."""
    for against in ("flops", "params", "tokens"):
        yield f"fit {against}", lambda against=against: plots.fit(fit, against=against)
    for against in ("flops", "params", "tokens", "width"):
        yield f"residuals {against}", lambda against=against: plots.residuals(fit, against=against)
    for quantity in ("tokens_per_param", "params", "tokens", "loss"):
        yield f"bootstrap {quantity}", lambda quantity=quantity: plots.bootstrap(boot, quantity, flops=[1e22])
    yield "own plan", lambda: plots.plan(cj.plan(boot, flops=[1e21, 1e22]))
    yield "own surface", lambda: plots.loss_surface(boot)
    yield "surface of a fit", lambda: plots.loss_surface(fit)
    places = {"params": [1e9, 3e9], "tokens": [3e10, 9e10]}
    yield "prediction", lambda: plots.prediction(cj.predict(boot, places))
    run = {"tokens": [1e10, 2e10, 4e10], "loss": [2.5, 2.4, 2.35]}
    yield "run under way", lambda: plots.prediction(planning.predict_against(boot, run, params=1e9))
    other = dataclasses.replace(RUNS, loss=0.99 * RUNS.loss)
    yield (
        "comparison",
        lambda: plots.comparison(cj.compare(RUNS, other, names=["plain", "new"], resamples=40, flops=[1e21])),
    )
    few = {"resamples": 20, "flops": [1e20, 1e22]}
    yield "objectives", lambda: plots.objectives(analysis.objective_sensitivity(RUNS, deltas=[0.01], **few))
    test = analysis.wald_test(boot, cj.laws.HOFFMANN_2022, RUNS)
    yield "wald", lambda: plots.wald(test)
    spec = analysis.CoverageSpec(datasets=4, resamples=20)
    yield "coverage", lambda: plots.coverage(analysis.coverage(RUNS, spec, delta=0.01), flops=1e22)
    families = ["multiplicative", "systematic_bias"]
    yield "breakdown", lambda: plots.breakdown(analysis.breakdown(RUNS, families=families, **few))
    yield "influence", lambda: plots.influence(influence(RUNS, delta=0.01))
    for rows in (4, 60):
        curve = curve_of(*multiverse(rows=rows), default=3, reference=20.0)
        yield f"specification curve {rows}", lambda curve=curve: plots.specification_curve(curve)


def studies():
    """Figures of a study: of the published table, of one that ends at 3e20, and products of two families."""
    study = make_study()
    names = ("relative_error", "parameters_by_counting", "tokens_per_param_by_counting")
    makers = plots.study.figure_makers(study)
    yield from ((f"published {name}", makers[name]) for name in names)
    yield from plots.study.figure_makers(_own(study).without("systematic_bias", "additive")).items()
    for label, factor in (("near", 1.0), ("far", 30.0)):
        cells = {
            f"multiplicative={c!r}|tokens_multiplicative={q!r}": resampled(factor * q / c, n=40)
            for c in (0.5, 1.0, 2.0)
            for q in (0.8, 1.0, 1.25)
        }
        table = joint_map(fake(cells))
        yield f"joint map {label}", lambda table=table: plots.joint_map(table, runs=RUNS)


def atlas():
    """Figures of the atlas: its eleven tables on one axis, and one table."""
    read = {kind: pd.read_csv(ATLAS / f"{kind}.csv") for kind in KINDS}
    yield "atlas claims", lambda: plots.atlas_claims(read["claims"])
    yield "atlas slopes", lambda: plots.atlas_slopes(read["slopes"])
    yield "atlas ratios", lambda: plots.atlas_ratios(read["ratios"])
    yield "atlas breakdown", lambda: plots.atlas_breakdown(read["breakdown"], "slope_excludes_zero")
    yield "atlas table", lambda: plots.atlas_table(read["sensitivity"], "olmo_ladder")


def _own(study):
    class Own(type(study)):
        def runs(self):
            return RUNS

    fields = {field.name: getattr(study, field.name) for field in dataclasses.fields(study)}
    spec = type(study.spec)(seed=study.spec.seed, data="own.csv")
    return Own(**(fields | {"spec": spec}))


@pytest.fixture(scope="module")
def every():
    boot = cj.bootstrap(RUNS, delta=0.01, resamples=60)
    found = dict(own(boot.point, boot)) | dict(studies()) | dict(atlas())
    return found | {name: draw for name, draw, *_ in figures()}


@pytest.mark.slow
def test_tick_labels_do_not_touch_legends_name_what_is_drawn_and_axes_are_returned(every):
    faults = {}
    with unshown():
        for name, draw in every.items():
            drawn = draw()
            figure = shrunk(drawn, 0.8)
            found = texts_that_touch(figure), entries_without_data(figure), returned_wrongly(name, drawn)
            if any(found):
                faults[name] = found
    assert not faults


def test_figures_of_a_study_keep_to_its_runs_and_show_the_headline():
    study = _own(make_study())
    bands = study.tokens_per_param
    study = dataclasses.replace(study, tokens_per_param=bands.assign(estimate=1.1 * bands["median"]))
    table = plots.tokens_per_param_by_counting_table(study)
    low, high = RUNS.flops.min(), RUNS.flops.max()
    assert table.attrs["runs"] == (low, high) and table.attrs["budget"] == high
    assert low / 10 <= table["flops"].min() and table["flops"].max() <= 100 * high
    axes = plots.tokens_per_param_by_counting(table)
    (shade,) = (each for each in axes.patches if each.get_label() == "range of the runs")
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((low, high))
    marks = [line for line in axes.lines if line.get_label().startswith("estimate at")]
    first = table[table["counting"] == table["counting"].iloc[0]]
    shown = np.exp(np.interp(np.log(high), np.log(first["flops"]), np.log(1.1 * first["median"])))
    assert marks[0].get_ydata()[0] == pytest.approx(shown) and len(marks) == table["counting"].nunique()


def test_a_map_far_from_the_rule_of_thumb_is_centred_on_its_own_runs():
    centres = {}
    for factor in (1.0, 30.0):
        cells = {
            f"multiplicative={c!r}|tokens_multiplicative={q!r}": resampled(factor * q / c, n=40)
            for c in (0.5, 1.0, 2.0)
            for q in (0.8, 1.0, 1.25)
        }
        table = joint_map(fake(cells))
        (mesh, *_) = plots.joint_map(table, runs=RUNS).axes[0].collections
        neutral = float(table[(table["first"] == 1) & (table["second"] == 1)]["median"].iloc[0])
        centres[factor] = (mesh.norm.vmin * mesh.norm.vmax) ** 0.5, neutral
    assert centres[1.0][0] == pytest.approx(20.0)
    assert centres[30.0][0] == pytest.approx(centres[30.0][1]) and centres[30.0][1] > 400
