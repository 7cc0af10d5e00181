"""Joint maps and the new families through a study: tables against closed forms, figures, the page."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, QuadMesh

import chinchilla_jax as cj
from chinchilla_jax import plots
from chinchilla_jax.analysis import identity_errors, joint_map, trend_table
from chinchilla_jax.analysis.trends import AXES
from chinchilla_jax.laws.scaling_law import PARAMETERS
from chinchilla_jax.perturbations import FAMILIES, documented_sizes, geometric_mean, parse_condition
from chinchilla_jax.plots import perturbation_table, perturbations, study_figures
from chinchilla_jax.plots.sweeps import DOCUMENTED_LABELS, SWEEPS
from chinchilla_jax.report.page import render
from chinchilla_jax.study import Product, Sweep, estimate

RUNS = cj.load_runs("chinchilla")
FLOPS = 5.76e23


@dataclasses.dataclass
class FakeStudy:
    """Conditions and fits, and no study behind them."""

    conditions: pd.DataFrame
    tables: dict

    def fits(self, condition=None):
        return self.tables[condition]


def resampled(factor=1.0, slope=0.0, n=400):
    """Laws around alpha = beta = 0.35 with 20 times `factor` tokens per parameter, apart by `slope`."""
    r = np.random.default_rng(0)
    alpha, beta = 0.35 * (1 + slope) + 0.002 * r.normal(size=n), 0.35 + 0.002 * r.normal(size=n)
    columns = {"E": 1.8, "A": 480.0, "B": 480.0 * (20 * factor) ** 0.35, "alpha": alpha, "beta": beta}
    return pd.DataFrame(columns | {"status": "CONVERGED"})


def fake(cells):
    rows = [(name, "composition", np.nan, i, "standard", 240) for i, name in enumerate(cells)]
    columns = ["condition", "family", "value", "repeat", "params", "n_runs"]
    return FakeStudy(pd.DataFrame(rows, columns=columns), cells)


CELLS = {
    f"additive={c!r}|tokens_multiplicative={q!r}": resampled(q, c / 1e9)
    for c in (-2e7, 0.0, 2e7)
    for q in (0.5, 1.0, 2.0, 4.0)
}


def test_a_row_holds_the_quantiles_of_the_resamples():
    table = joint_map(fake(CELLS), flops=FLOPS, level=0.9)
    assert list(table["condition"]) == list(CELLS)
    for row, fits in zip(table.to_dict("records"), CELLS.values(), strict=True):
        pair = parse_condition(row["condition"])
        assert (row["first"], row["second"]) == tuple(part.value for part in pair.parts)
        assert (row["first_family"], row["second_family"]) == ("additive", "tokens_multiplicative")
        ratios, slopes = [], []
        for law in fits[list(PARAMETERS)].to_dict("records"):
            total = law["alpha"] + law["beta"]
            g = (law["alpha"] * law["A"] / (law["beta"] * law["B"])) ** (1 / total)
            ratios.append((FLOPS / 6) ** ((law["alpha"] - law["beta"]) / total) / g**2)
            slopes.append((law["alpha"] - law["beta"]) / total)
        expected = [*np.quantile(ratios, [0.05, 0.5, 0.95]), *np.quantile(slopes, [0.05, 0.5, 0.95])]
        names = ["low", "median", "high", "slope_low", "slope", "slope_high"]
        assert [row[name] for name in names] == pytest.approx(expected, rel=1e-9)
        assert row["leaves_range"] == (row["low"] < 10 or row["high"] > 40)
        assert row["outside_range"] == (row["high"] < 10 or row["low"] > 40)
        assert (row["n_converged"], row["n_failed"], row["level"]) == (400, 0, 0.9)


def failed(share):
    table = resampled()
    lost = np.arange(len(table)) < share * len(table)
    table.loc[lost, list(PARAMETERS)] = np.nan
    table.loc[lost, "status"] = "INVALID"
    return table


def test_an_invalid_corner_is_not_known():
    cells = CELLS | {next(iter(CELLS)): failed(1.0), list(CELLS)[1]: failed(0.6)}
    table = joint_map(fake(cells))
    corner = table.iloc[0]
    assert table[["low", "median", "high", "slope"]].iloc[0].isna().all()
    assert not corner["leaves_range"] and not corner["outside_range"]
    assert list(table["n_failed"][:3]) == [400, 240, 0]
    figure = plots.joint_map(table, runs=RUNS)
    figure.draw_without_rendering()
    for axes in (each for each in figure.axes if each.get_xlabel()):
        (mesh,) = [each for each in axes.collections if isinstance(each, QuadMesh)]
        # Two cells without a colour: none certified, and too few to speak for all.
        assert np.ma.getmaskarray(mesh.get_array()).sum() == 2
    assert "fewer than half of the fits certified" in words(figure)
    lost = joint_map(fake({name: failed(1.0) for name in CELLS}))
    plots.joint_map(lost, runs=RUNS).draw_without_rendering()


def words(figure):
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return "\n".join(text.get_text() for legend in legends for text in legend.get_texts())


def test_the_map_shows_its_table():
    table = joint_map(fake(CELLS))
    figure = plots.joint_map(table, runs=RUNS)
    ratio, slope = [axes for axes in figure.axes if axes.get_xlabel()]
    assert ratio.get_xlabel() == "parameters plus an amount: c (million parameters)"
    assert ratio.get_ylabel() == "tokens times a factor: factor c"
    (mesh,) = [each for each in ratio.collections if isinstance(each, QuadMesh)]
    expected = table.pivot(index="second", columns="first", values="median").to_numpy()
    assert np.asarray(mesh.get_array()).reshape(4, 3) == pytest.approx(expected)
    assert (ratio.get_yscale(), ratio.get_xscale()) == ("log", "linear")
    assert ratio.get_xlim() == pytest.approx((-30, 30))
    assert ratio.get_ylim() == pytest.approx((0.5 / 2**0.5, 4 * 2**0.5))
    # Hatched cells are those that the table calls outside; the outline separates those within.
    (hatched,) = ratio.patches
    assert len(hatched.get_path().vertices) == 5 * table["outside_range"].sum() > 0
    (outline,) = [each for each in ratio.collections if isinstance(each, LineCollection)]
    within = ~table.pivot(index="second", columns="first", values="leaves_range").to_numpy(dtype=bool)
    assert len(outline.get_segments()) == (np.diff(within, axis=0).sum() + np.diff(within, axis=1).sum()) > 0
    sloped = ((table["slope_low"] > 0) | (table["slope_high"] < 0)).sum()
    assert len(slope.patches[0].get_path().vertices) == 5 * sloped > 0
    circle, *marks = ratio.lines
    assert (circle.get_xdata()[0], circle.get_ydata()[0]) == (0, 1), "no perturbation"
    smallest = RUNS.params.min() / 1e6
    assert [line.get_xdata()[0] for line in marks[:2]] == pytest.approx([-0.152 * smallest, 0.152 * smallest])
    assert [line.get_ydata()[0] for line in marks[2:]] == pytest.approx([1 / 1.152, 1.152])
    assert "documented miscount" in words(figure) and "documented" not in words(plots.joint_map(table))


@pytest.mark.parametrize("sizes", [(-1.0, 0.0), (0.0, 0.5, 3.0), (-1.0, 1.0)])
def test_sizes_without_a_place_on_a_logarithmic_axis_are_left_out(sizes):
    cells = {f"multiplicative={c!r}|loss_offset=0.1": resampled() if c > 0 else failed(1.0) for c in sizes}
    table = joint_map(fake(cells))
    if max(sizes) <= 0:
        with pytest.raises(cj.UsageError, match="no size of the table has a place"):
            plots.joint_map(table)
        return
    axes = plots.joint_map(table, runs=RUNS).axes[0]
    (mesh,) = [each for each in axes.collections if isinstance(each, QuadMesh)]
    assert mesh.get_array().size == sum(c > 0 for c in sizes)


def test_repeats_of_a_pair_are_summed_up_by_their_median():
    cells = {f"additive=0.0|log_normal_noise=0.1#{i}": resampled(2.0**i) for i in range(3)}
    table = joint_map(fake(cells))
    (mesh,) = [each for each in plots.joint_map(table).axes[0].collections if isinstance(each, QuadMesh)]
    assert np.asarray(mesh.get_array()).ravel() == pytest.approx([table["median"].median()])


def test_what_is_no_joint_map():
    single = fake({"additive=1.0": resampled()})
    with pytest.raises(cj.UsageError, match="no products of two families"):
        joint_map(single)
    with pytest.raises(cj.UsageError, match="level is 80, not a probability"):
        joint_map(fake(CELLS), level=80)
    with pytest.raises(cj.UsageError, match="not positive and finite"):
        joint_map(fake(CELLS), flops=-1.0)
    other = fake(CELLS | {"multiplicative=1.0|loss_offset=0.1": resampled()})
    with pytest.raises(cj.UsageError, match="2 pairs of families"):
        plots.joint_map(joint_map(other))


# --- through a study ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beyond")
    path = folder / "spec.toml"
    path.write_text(
        """
        data = "chinchilla"
        interpretations = ["as_plotted"]
        resamples = 12
        flops = [1e20, 5.76e23]

        [[sweeps]]
        family = "tokens_multiplicative"
        values = { logspace = [-0.3, 0.3, 3] }

        [[sweeps]]
        family = "loss_multiplicative"
        values = [0, 1.4427]

        [[sweeps]]
        family = "coupled_multiplicative"
        values = [0.8, 1]

        [[sweeps]]
        family = "tokens_log_normal_noise"
        values = [0.1]
        repeats = 2

        [[sweeps]]
        product = [
            { family = "additive", values = { linspace = [-1e8, 0, 2] } },
            { family = "tokens_multiplicative", values = [1, 2] },
        ]
        """,
        encoding="utf-8",
    )
    return cj.run_study(cj.StudySpec.from_toml(path), folder / "study", figures=False, progress=None)


def test_every_resample_keeps_the_identities(study):
    fits = study.fits()
    fits["condition"] = fits["condition"].str.removesuffix("@as_plotted")
    found = identity_errors(fits, mu=geometric_mean(RUNS.params)).set_index("condition")
    exact = [name for name in found.index if "multiplicative" in name and "additive=-" not in name]
    assert len(exact) == 3 + 2 + 1
    assert "loss_multiplicative=0.0" not in exact and "coupled_multiplicative=0.8" not in exact
    assert (found.loc[exact, ["worst", "A"]] < 1e-7).all(axis=None)
    assert (found.loc[exact, "n_compared"] == 12).all()


def test_a_coupled_factor_moves_every_resample_as_it_must(study):
    before, after = (study.fits(f"{name}@as_plotted") for name in ("identity", "coupled_multiplicative=0.8"))
    for name, expected in {
        "E": before["E"],
        "alpha": before["alpha"],
        "beta": before["beta"],
        "A": before["A"] * 0.8 ** before["alpha"],
        "B": before["B"] * 0.8 ** -before["beta"],
    }.items():
        assert after[name].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-6)
    same = study.fits("coupled_multiplicative=1.0@as_plotted")
    for name in PARAMETERS:
        assert np.array_equal(same[name], before[name]), "no error, no bit changed"


def test_what_is_not_positive_is_invalid_and_says_so(study):
    conditions = study.conditions.set_index("condition")
    assert conditions.loc["loss_multiplicative=0.0@as_plotted", "family"] == "loss_multiplicative"
    for name in ("loss_multiplicative=0.0", "additive=-100000000.0|tokens_multiplicative=2.0"):
        assert set(study.fits(f"{name}@as_plotted")["status"]) == {"INVALID"}
    notes = " ".join(note["note"] for note in study.info["notes"])
    assert "240 of 240 losses are not positive and finite (the first: 0.0)" in notes


@pytest.mark.slow
def test_tables_figures_and_page_of_a_study_with_every_kind(study):
    table = joint_map(study)
    assert len(table) == 4 and table["median"].isna().sum() == 2
    trends = trend_table(study.conditions, study.params)
    assert set(trends["family"]) == set(study.conditions["family"]) - {"identity", "composition"}
    slope = trends.set_index(["family", "parameter"])["slope"]
    beta = study.point.set_index(["condition", "objective"])["beta"]["identity@as_plotted", "huber"]
    assert slope["tokens_multiplicative", "B"] == pytest.approx(beta, rel=1e-6)
    drawn = [name for name, figure in study_figures(study) if figure.draw_without_rendering() is None]
    assert "joint_additive_tokens_multiplicative" not in drawn, "two sizes of either make no map"
    assert "parameters_loss_multiplicative" in drawn and "tokens_per_param_coupled_multiplicative" in drawn
    page = render(study)
    assert '<section id="tokens_multiplicative">' in page and '<section id="composition">' not in page


@pytest.mark.slow
def test_a_study_of_nothing_but_pairs_has_its_page(tmp_path):
    product = Product(
        first=Sweep(family="loss_offset", values=(0.0, 0.05, 0.1)),
        second=Sweep(family="log_normal_noise", values=(0.1, 0.2, 0.3)),
    )
    spec = cj.StudySpec(sweeps=(product,), resamples=8, flops=(1e20, 5.76e23))
    study = cj.run_study(spec, tmp_path / "study", progress=None)
    page = (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert "certified of 72 bootstrap fits of 9 conditions" in page
    assert (tmp_path / "study" / "figures" / "joint_loss_offset_log_normal_noise.png").exists()
    assert len(joint_map(study)) == 9
    assert estimate.estimate(spec).conditions == {"identity": 1, "composition": 9}


def test_tokens_that_would_be_recomputed_are_refused():
    tokens = Sweep(family="tokens_additive", values=(1e8,))
    coupled = Sweep(family="coupled_additive", values=(1e6,))
    Product(first=coupled, second=tokens)
    with pytest.raises(cj.UsageError, match=r"recomputes the tokens.*put coupled_additive first"):
        Product(first=tokens, second=coupled)


# --- one registry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_known_everywhere(name):
    family, sweep = FAMILIES[name], SWEEPS[name]
    assert family(family.neutral).family == name
    assert (sweep.of, sweep.neutral) == (family.of, family.neutral)
    assert sweep.scale == ("log" if family.neutral == 1 else "linear")
    assert {"1": "log10", "parameters": "millions", "tokens": "billions", "nats per token": "identity"}[
        family.unit
    ] == AXES[name]
    assert np.isfinite(sweep.coordinate(family.neutral)) and sweep.label and sweep.title
    span = documented_sizes(RUNS, name)
    assert (span is None) == (family.of == "loss") == (name not in DOCUMENTED_LABELS)
    assert Sweep(family=name, values=(family.neutral,)).perturbation(family.neutral, 0).family == name
    if span is not None and family.form == "additive":
        values = getattr(RUNS, family.of)
        assert 1 + span[1] / values.min() == pytest.approx(1.152)


def test_the_schematics_show_what_a_family_is_of():
    conditions = pd.DataFrame(
        [
            (FAMILIES[name](size).condition, name, size, 0, "as_plotted", 240)
            for name in FAMILIES
            for size in (FAMILIES[name].neutral, FAMILIES[name].neutral + 0.1)
        ],
        columns=["condition", "family", "value", "repeat", "params", "n_runs"],
    )
    study = FakeStudy(conditions, {})
    study.runs, study.spec = lambda: RUNS, dataclasses.make_dataclass("Spec", ["seed"])(3)
    table = perturbation_table(study)
    for name, rows in table.groupby("family"):
        quantity = FAMILIES[name].of
        assert set(rows["quantity"]) == {quantity}
        after = parse_condition(rows["condition"].iloc[-1]).apply(RUNS, 3)
        assert np.array_equal(rows["before"][-240:], getattr(RUNS, quantity))
        assert np.array_equal(rows["after"][-240:], getattr(after, quantity))
    figure = perturbations(table)
    figure.draw_without_rendering()
    assert [axes.get_xlabel() for axes in figure.axes][-1] == "true loss L (nats per token)"
