"""Figures: the numbers in their tables, what is drawn from them, and that nothing outside is touched."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import types

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from chinchilla_jax import plots
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.datasets import Runs, load_runs
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, PARAMETERS, ScalingLaw
from chinchilla_jax.perturbations import (
    Additive,
    LogNormalNoise,
    Multiplicative,
    Perturbation,
    SystematicBias,
    geometric_mean,
)
from chinchilla_jax.plots.sweeps import SWEEPS, spread
from chinchilla_jax.plots.tick_locators import log_ticks
from chinchilla_jax.plots.tokens_per_param_by_family_figure import documented_span

pytestmark = pytest.mark.filterwarnings("error")

FLOPS = np.logspace(18, 28, 21)
SEED = 7
REPEATS = 3
FAMILIES = ("multiplicative", "additive", "systematic_bias", "log_normal_noise")
NAMES = [
    "relative_error",
    "parameters_by_counting",
    "tokens_per_param_by_counting",
    "perturbations",
    *(f"{kind}_{family}" for family in FAMILIES for kind in ("parameters", "tokens_per_param")),
]
BASE = ScalingLaw(E=1.8, A=500.0, B=2000.0, alpha=0.35, beta=0.36)
RUNS = load_runs("chinchilla", params="standard")
MU = geometric_mean(RUNS.params)


@dataclasses.dataclass
class FakeStudy:
    """The tables of a study, without a study."""

    conditions: pd.DataFrame
    params: pd.DataFrame
    tokens_per_param: pd.DataFrame
    spec: types.SimpleNamespace

    def runs(self) -> Runs:
        return RUNS

    def without(self, *families: str) -> FakeStudy:
        keep = ~self.conditions["family"].isin(families)
        return dataclasses.replace(self, conditions=self.conditions[keep])

    def failing(self, *conditions: str) -> FakeStudy:
        """The study with these conditions left without a converged fit."""
        params, bands = self.params.copy(), self.tokens_per_param.copy()
        lost = params["condition"].isin(conditions)
        params.loc[lost, ["estimate", "standard_error", "low", "high"]] = np.nan
        params.loc[lost, "n_failed"] += params.loc[lost, "n_converged"]
        params.loc[lost, "n_converged"] = 0
        bands.loc[bands["condition"].isin(conditions), ["low", "median", "high"]] = np.nan
        return dataclasses.replace(self, params=params, tokens_per_param=bands)


def perturbed(perturbation: Perturbation) -> ScalingLaw:
    """The exact identities, and something smooth where there is none."""
    size = perturbation.value
    match perturbation.family:
        case "multiplicative":
            return dataclasses.replace(BASE, A=BASE.A * size**BASE.alpha)
        case "systematic_bias":
            A = BASE.A * MU ** (BASE.alpha * (1 / size - 1))
            return dataclasses.replace(BASE, alpha=BASE.alpha / size, A=A)
        case "additive":
            return dataclasses.replace(BASE, alpha=BASE.alpha * (1 + size / 1e8))
    return dataclasses.replace(BASE, alpha=BASE.alpha * np.exp(-size / 3) * (1 + 0.01 * perturbation.repeat))


def make_study() -> FakeStudy:
    sweeps: list[Perturbation] = [
        *(Multiplicative(c) for c in np.logspace(-3, 3, 5)),
        *(Additive(c) for c in (-4e7, -1e7, 0.0, 1e7, 4e7)),
        *(SystematicBias(s) for s in np.logspace(-0.5, 0.5, 5)),
        *(LogNormalNoise(sigma, repeat=i) for sigma in (0.0, 0.5, 2.0) for i in range(REPEATS)),
    ]
    laws = {"identity": BASE}
    rows: list[tuple[str, str, float, int, str, int]] = [("identity", "identity", 0.0, 0, "standard", 240)]
    for i, name in enumerate(("reported", "best_fit", "as_plotted")):
        laws[f"identity@{name}"] = dataclasses.replace(BASE, alpha=BASE.alpha - 0.002 * (i + 1))
        rows.append((f"identity@{name}", "identity", 0.0, 0, name, 240))
    for p in sweeps:
        laws[p.condition] = perturbed(p)
        rows.append((p.condition, p.family, p.value, p.repeat, "standard", 240))
    columns = ["condition", "family", "value", "repeat", "params", "n_runs"]
    params, bands = [], []
    for condition, law in laws.items():
        for method in ("percentile", "gaussian"):
            for level, width in ((0.5, 0.05), (0.8, 0.1)):
                for name in PARAMETERS:
                    at = float(getattr(law, name))
                    numbers = (at, at * width, at * (1 - width), at * (1 + width))
                    params.append((condition, name, *numbers, level, method, 99, 1))
                ratio = law.tokens_per_param(FLOPS)
                bands.append(
                    pd.DataFrame(
                        {
                            "condition": condition,
                            "flops": FLOPS,
                            "low": ratio * (1 - width),
                            "median": ratio,
                            "high": ratio * (1 + width),
                            "level": level,
                            "method": method,
                        }
                    )
                )
    names = [
        *("condition", "parameter", "estimate", "standard_error", "low", "high", "level", "method"),
        *("n_converged", "n_failed"),
    ]
    return FakeStudy(
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(params, columns=names),
        pd.concat(bands, ignore_index=True),
        types.SimpleNamespace(seed=SEED, data="chinchilla"),
    )


@pytest.fixture(scope="module")
def study() -> FakeStudy:
    return make_study()


@pytest.fixture(scope="module")
def figures(study: FakeStudy) -> dict[str, Figure]:
    """All figures of the study, drawn once under settings that would spoil them."""
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "black", "text.usetex": True}):
        before = dict(matplotlib.rcParams)
        drawn = dict(plots.study_figures(study))
        assert dict(matplotlib.rcParams) == before
    return drawn


def render(figure: Figure) -> None:
    figure.set_dpi(40)
    figure.draw_without_rendering()


def texts(figure: Figure) -> str:
    """Every text in the figure."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


# ---- nothing outside is touched


def test_imports_nothing_heavy_and_never_pyplot() -> None:
    code = (
        "import sys, chinchilla_jax.plots as plots\n"
        "print([m for m in ('matplotlib', 'pandas', 'jax', 'pyarrow') if m in sys.modules])\n"
        "plots.relative_error(plots.relative_error_table()).figure.draw_without_rendering()\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_global_settings_are_not_used(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        axes = figure.axes[0]
        assert axes.get_facecolor() == (1.0, 1.0, 1.0, 1.0)
        assert axes.xaxis.label.get_fontsize() == 9.0
        assert not axes.xaxis.label.get_usetex()


def test_settings_come_back_after_an_error() -> None:
    before = dict(matplotlib.rcParams)
    with pytest.raises(UsageError):
        plots.relative_error(plots.relative_error_table(), ax=[])
    assert dict(matplotlib.rcParams) == before


def test_drawing_changes_no_table(study: FakeStudy) -> None:
    table = plots.parameters_by_family_table(study, "log_normal_noise")
    copies = [getattr(table, name).copy() for name in ("conditions", "over_repeats", "exact")]
    plots.parameters_by_family(table)
    for name, copy in zip(("conditions", "over_repeats", "exact"), copies, strict=True):
        pd.testing.assert_frame_equal(getattr(table, name), copy)


# ---- the numbers


def test_relative_error_table_has_the_published_figures() -> None:
    table = plots.relative_error_table().set_index("rule")
    assert table.groupby(level=0).size().to_dict() == {"best_fit": 50, "standard": 50}
    standard, best_fit = table.loc["standard"], table.loc["best_fit"]
    assert (
        round(standard["relative_error_percent"].mean(), 1)
        == 7.4
        == round(standard["mean_percent"].iloc[0], 1)
    )
    assert (
        round(standard["relative_error_percent"].max(), 1)
        == 15.2
        == round(standard["max_percent"].iloc[0], 1)
    )
    assert round(best_fit["max_absolute_percent"].iloc[0], 1) == 8.7


def test_parameters_by_counting_table(study: FakeStudy) -> None:
    table = plots.parameters_by_counting_table(study)
    assert list(dict.fromkeys(table["counting"])) == ["standard", "best_fit", "reported", "as_plotted"]
    assert len(table) == 4 * 5
    row = table[(table["counting"] == "standard") & (table["parameter"] == "A")].iloc[0]
    assert (row["estimate"], row["low"], row["high"]) == pytest.approx((500.0, 450.0, 550.0))
    assert (row["level"], row["method"]) == (0.8, "percentile")
    narrow = plots.parameters_by_counting_table(study, method="gaussian", level=0.5)
    assert narrow["low"].iloc[0] == pytest.approx(narrow["estimate"].iloc[0] * 0.95)


def test_published_parameters() -> None:
    published = plots.published_parameters().set_index(["source", "parameter"])["value"]
    assert published["Besiroglu et al. 2024", "A"] == BESIROGLU_2024.A
    assert round(published["Hoffmann et al. 2022", "A"], 1) == 406.4


def test_tokens_per_param_by_counting_table(study: FakeStudy) -> None:
    table = plots.tokens_per_param_by_counting_table(study)
    standard = table[table["counting"] == "standard"]
    np.testing.assert_array_equal(standard["flops"], FLOPS)
    np.testing.assert_allclose(standard["median"], BASE.tokens_per_param(FLOPS))
    np.testing.assert_allclose(standard["high"], 1.1 * standard["median"])


def test_perturbations_are_those_that_were_fitted(study: FakeStudy) -> None:
    table = plots.perturbation_table(study)
    noise = table[table["condition"] == "log_normal_noise=2.0#0"]
    expected = LogNormalNoise(2.0, repeat=0).apply(RUNS, seed=SEED).params
    np.testing.assert_array_equal(noise["after"], expected)
    np.testing.assert_array_equal(noise["before"], RUNS.params)
    other = LogNormalNoise(2.0, repeat=0).apply(RUNS, seed=SEED + 1).params
    assert not np.array_equal(noise["after"], other)
    assert set(table["condition"]) == {
        condition for condition in study.conditions["condition"][4:] if condition[-2:] not in ("#1", "#2")
    }


def test_perturbations_of_another_counting(study: FakeStudy) -> None:
    """A sweep over other counts carries them in its ids, which perturbations know nothing of."""
    conditions = study.conditions.replace({"condition": {"additive=0.0": "additive=0.0@reported"}})
    table = plots.perturbation_table(dataclasses.replace(study, conditions=conditions))
    same = table[table["condition"] == "additive=0.0@reported"]
    np.testing.assert_array_equal(same["after"], same["before"])


@pytest.mark.parametrize("family", ["multiplicative", "systematic_bias"])
def test_identity_lines_predict_the_same_losses(study: FakeStudy, family: str) -> None:
    """The oracle is the law itself: on perturbed counts, the expected law predicts what the base predicts."""
    table = plots.parameters_by_family_table(study, family)
    expected = table.exact.pivot(index="value", columns="parameter", values="expected")
    assert len(expected) == 101
    for value in expected.index[[0, 37, 100]]:
        perturbation: Perturbation = (
            Multiplicative(value) if family == "multiplicative" else SystematicBias(value)
        )
        law = ScalingLaw(**expected.loc[value].to_dict())
        np.testing.assert_allclose(
            law.loss(perturbation.apply(RUNS).params, RUNS.tokens), BASE.loss(RUNS.params, RUNS.tokens)
        )


def test_no_identity_lines_where_there_is_no_identity(study: FakeStudy) -> None:
    for family in ("additive", "log_normal_noise"):
        table = plots.parameters_by_family_table(study, family)
        assert table.exact.empty
        assert table.unperturbed.set_index("parameter")["estimate"]["alpha"] == BASE.alpha


def test_repeats_are_summed_up_by_their_median(study: FakeStudy) -> None:
    lost = study.failing("log_normal_noise=0.5#2")
    table = plots.parameters_by_family_table(lost, "log_normal_noise")
    medians = table.over_repeats.set_index(["parameter", "value"]).loc[("alpha", 0.5)]
    each = [BASE.alpha * np.exp(-0.5 / 3) * (1 + 0.01 * i) for i in range(2)]
    assert medians["estimate"] == pytest.approx(np.median(each))
    assert (medians["n_repeats"], medians["n_missing"]) == (REPEATS, 1)
    assert (table.n_fits, table.n_failed) == (9 * 100, 8 + 100)
    curves = plots.tokens_per_param_by_family_table(lost, "log_normal_noise").curves
    row = curves[(curves["value"] == 0.5) & (curves["flops"] == FLOPS[3])].iloc[0]
    ratios = [dataclasses.replace(BASE, alpha=a).tokens_per_param(FLOPS[3]) for a in each]
    assert row["median"] == pytest.approx(np.median(ratios))
    assert (row["n_repeats"], row["n_missing"]) == (REPEATS, 1)


def test_documented_span_is_exact_where_the_ratio_is_a_power_of_the_size(study: FakeStudy) -> None:
    span = plots.tokens_per_param_by_family_table(study, "multiplicative").documented
    ends = [perturbed(Multiplicative(c)).tokens_per_param(FLOPS) for c in (1.152, 1 / 1.152)]
    np.testing.assert_allclose(span["low"], ends[0])
    np.testing.assert_allclose(span["high"], ends[1])
    curves = plots.tokens_per_param_by_family_table(study, "multiplicative").curves
    one = documented_span(curves, "multiplicative", (1 / 1.152, 1.152), budget=FLOPS[3])
    pd.testing.assert_frame_equal(one, span[span["flops"] == FLOPS[3]].reset_index(drop=True))


def test_no_documented_span_outside_the_sizes_of_the_study(study: FakeStudy) -> None:
    keep = (study.conditions["family"] != "multiplicative") | (study.conditions["value"] > 2)
    few = dataclasses.replace(study, conditions=study.conditions[keep])
    table = plots.tokens_per_param_by_family_table(few, "multiplicative")
    assert table.documented.empty
    render(plots.tokens_per_param_by_family(table).figure)


# ---- what is drawn


def test_axes_say_what_and_in_which_unit(figures: dict[str, Figure]) -> None:
    assert list(figures) == NAMES
    for name, figure in figures.items():
        render(figure)
        for axes in figure.axes:
            if axes.axison:
                assert axes.get_xlabel() or axes.get_ylabel(), name
    assert figures["relative_error"].axes[0].get_ylabel().endswith("(% of reported)")
    for name in ("tokens_per_param_by_counting", *(f"tokens_per_param_{f}" for f in FAMILIES)):
        axes = figures[name].axes[0]
        assert axes.get_xlabel() == "training compute C (FLOP)"
        assert axes.get_ylabel() == "compute-optimal tokens per parameter"
        assert "20:1" in texts(figures[name])
        assert "Gopher" in texts(figures[name])
        assert "80% interval" in texts(figures[name])
    for family in FAMILIES:
        axes = figures[f"parameters_{family}"].axes
        assert [each.get_xlabel() for each in axes[:5]] == [SWEEPS[family].label] * 5
        assert axes[0].get_ylabel() == "E (nats per token)"
        for kind in ("parameters", "tokens_per_param"):
            assert "within 15.2%" in texts(figures[f"{kind}_{family}"])
    assert figures["perturbations"].axes[0].get_xlabel() == "true parameters N"
    published = texts(figures["parameters_by_counting"])
    assert "Hoffmann et al. 2022" in published and "Besiroglu et al. 2024" in published


def test_marks_are_at_the_numbers_of_the_table(study: FakeStudy) -> None:
    table = plots.parameters_by_family_table(study, "additive")
    axes = Figure().add_subplot()
    plots.parameters_by_family(table, parameters=["alpha"], ax=axes)
    marks = next(line for line in axes.lines if line.get_marker() == "o")
    rows = table.conditions[table.conditions["parameter"] == "alpha"]
    np.testing.assert_array_equal(marks.get_xdata(), rows["value"] / 1e6)
    np.testing.assert_array_equal(marks.get_ydata(), rows["estimate"])
    (bars,) = [each for each in axes.collections if len(each.get_paths()) == len(rows)]
    ends = np.array([path.vertices[:, 1] for path in bars.get_paths()])
    np.testing.assert_allclose(ends, rows[["low", "high"]])


def test_a_passed_axes_is_drawn_on(study: FakeStudy) -> None:
    single = {
        plots.relative_error: plots.relative_error_table(),
        plots.tokens_per_param_by_counting: plots.tokens_per_param_by_counting_table(study),
        plots.tokens_per_param_by_family: plots.tokens_per_param_by_family_table(study, "additive"),
    }
    for draw, table in single.items():
        figure = Figure()
        axes = figure.add_subplot()
        assert draw(table, ax=axes) is axes
        assert axes.has_data() and axes.get_xlabel()
        render(figure)


def test_passed_panels_are_drawn_on_in_order_or_by_name(study: FakeStudy) -> None:
    table = plots.parameters_by_family_table(study, "multiplicative")
    figure = Figure()
    grid = figure.subplots(1, 5)
    assert plots.parameters_by_family(table, ax=grid) is figure
    assert [axes.get_ylabel()[0] for axes in grid[:3]] == ["E", "A", "B"]
    assert grid[0].get_legend() is not None
    named = Figure().subplot_mosaic([["B", "alpha"], ["E", "other"]])
    by_counting = plots.parameters_by_counting_table(study)
    plots.parameters_by_counting(by_counting, parameters=["alpha", "B", "E"], ax=named)
    assert named["B"].get_xlabel().startswith("B ")
    assert not named["other"].has_data()
    part = Figure().subfigures(1, 2)[0]
    four = part.subplots(2, 2)
    plots.perturbations(plots.perturbation_table(study), ax=four)
    assert all(axes.has_data() for axes in four.flat)
    render(part.figure)


@pytest.mark.parametrize("ax", ["one", 3, {"E": None}, [1, 2, 3, 4, 5]])
def test_other_axes_than_one_per_panel_are_refused(study: FakeStudy, ax: object) -> None:
    given = Figure().add_subplot() if ax == "one" else Figure().subplots(1, 3) if ax == 3 else ax
    with pytest.raises(UsageError, match=r"5 panel\(s\) \(E, A, B, alpha, beta\)") as caught:
        plots.parameters_by_family(plots.parameters_by_family_table(study, "additive"), ax=given)
    assert "\n" not in str(caught.value)


# ---- what could not be fitted


def test_a_failed_condition_is_a_gap_with_a_note(study: FakeStudy) -> None:
    lost = study.failing("multiplicative=0.001", "identity@best_fit", "log_normal_noise=2.0#1")
    figures = dict(plots.study_figures(lost.without("additive", "systematic_bias")))
    for name, figure in figures.items():
        if name not in ("relative_error", "perturbations"):
            render(figure)
    parameters = texts(figures["parameters_multiplicative"])
    assert "no converged fit\n(1 condition)" in parameters
    assert "104 of 500 fits\ndid not converge" in parameters
    assert "no converged fit: c = 0.001" in texts(figures["tokens_per_param_multiplicative"])
    assert "no converged fit" in texts(figures["parameters_by_counting"])
    assert "no converged fit: best-fit formula" in texts(figures["tokens_per_param_by_counting"])
    assert "medians over repeats (1 of 9 without a converged fit)" in texts(
        figures["tokens_per_param_log_normal_noise"]
    )


@pytest.mark.slow
def test_a_study_without_one_converged_fit_is_still_drawn(study: FakeStudy) -> None:
    lost = study.failing(*study.conditions["condition"]).without("additive", "systematic_bias")
    figures = dict(plots.study_figures(lost))
    assert list(figures) == [*NAMES[:6], *NAMES[-2:]]
    for name, figure in figures.items():
        if name not in ("relative_error", "perturbations"):
            render(figure)
            assert "no converged fit" in texts(figure), name


def test_conditions_without_rows_are_gaps_too(study: FakeStudy) -> None:
    keep = study.params["condition"] != "additive=0.0"
    bands = study.tokens_per_param[study.tokens_per_param["condition"] != "additive=0.0"]
    torn = dataclasses.replace(study, params=study.params[keep], tokens_per_param=bands)
    parameters = plots.parameters_by_family(plots.parameters_by_family_table(torn, "additive"))
    assert "no converged fit" in texts(parameters)
    curves = plots.tokens_per_param_by_family(plots.tokens_per_param_by_family_table(torn, "additive"))
    assert "no converged fit: c = 0" in texts(curves)


def test_infinite_and_zero_ratios_are_gaps(study: FakeStudy) -> None:
    bands = study.tokens_per_param.copy()
    bands.loc[bands["condition"] == "systematic_bias=1.0", ["median", "high"]] = np.inf
    bands.loc[bands["condition"] == "identity", "low"] = 0.0
    edges = dataclasses.replace(study, tokens_per_param=bands)
    for draw in (
        plots.tokens_per_param_by_family(plots.tokens_per_param_by_family_table(edges, "systematic_bias")),
        plots.tokens_per_param_by_counting(plots.tokens_per_param_by_counting_table(edges)),
    ):
        render(draw.figure)
        assert np.all(np.isfinite(draw.get_ylim()))


def test_counts_that_a_perturbation_makes_unusable_are_counted(study: FakeStudy) -> None:
    extra = Additive(-1e9).condition
    row = {
        "condition": extra,
        "family": "additive",
        "value": -1e9,
        "repeat": 0,
        "params": "standard",
        "n_runs": 240,
    }
    conditions = pd.concat([study.conditions, pd.DataFrame([row])], ignore_index=True)
    table = plots.perturbation_table(dataclasses.replace(study, conditions=conditions), ["additive"])
    figure = plots.perturbations(table)
    render(figure)
    assert f"{(RUNS.params <= 1e9).sum()} counts not positive" in texts(figure)


def test_sizes_that_no_logarithmic_axis_shows_do_no_harm(study: FakeStudy) -> None:
    row = {
        "condition": "multiplicative=-1.0",
        "family": "multiplicative",
        "value": -1.0,
        "repeat": 0,
        "params": "standard",
        "n_runs": 240,
    }
    conditions = pd.concat([study.conditions, pd.DataFrame([row])], ignore_index=True)
    conditions = conditions[conditions["family"] == "multiplicative"]
    for name, figure in plots.study_figures(dataclasses.replace(study, conditions=conditions)):
        if name.endswith("multiplicative"):
            render(figure)
            assert "no converged fit" in texts(figure)


# ---- choosing and writing


def test_only_what_the_study_has_is_drawn(study: FakeStudy) -> None:
    some = study.without("identity", "additive", "log_normal_noise")
    names = [name for name, _ in plots.study_figures(some)]
    assert names == [
        name for name in NAMES if "counting" not in name and "additive" not in name and "noise" not in name
    ]
    assert [name for name, _ in plots.study_figures(study.without(*FAMILIES))] == NAMES[:3]


def test_figures_about_the_chinchilla_models_are_for_their_runs_only(study: FakeStudy) -> None:
    conditions = study.conditions[study.conditions["condition"] == "identity"].assign(params="as_given")
    own = dataclasses.replace(
        study, conditions=conditions, spec=types.SimpleNamespace(seed=0, data="mine.csv")
    )
    figures = dict(plots.study_figures(own))
    assert list(figures) == NAMES[1:3]
    assert "Hoffmann" not in texts(figures["parameters_by_counting"])


def test_unknown_choices_are_refused_in_one_line(study: FakeStudy) -> None:
    with pytest.raises(UsageError, match="did you mean 'percentile'"):
        plots.parameters_by_counting_table(study, method="percentiles")
    with pytest.raises(UsageError, match=r"level=0\.9: the study has intervals of 0\.5, 0\.8"):
        plots.tokens_per_param_by_counting_table(study, level=0.9)
    with pytest.raises(UsageError, match="did you mean 'additive'"):
        plots.parameters_by_family_table(study, "aditive")
    with pytest.raises(UsageError, match="png, pdf, svg"):
        plots.save_study_figures(study, "unused", formats=["bmp"])


def test_the_nearest_level_replaces_80_percent(study: FakeStudy) -> None:
    params = study.params[study.params["level"] == 0.5]
    table = plots.parameters_by_counting_table(dataclasses.replace(study, params=params))
    assert set(table["level"]) == {0.5}


@pytest.mark.slow
def test_every_figure_is_written(study: FakeStudy, tmp_path) -> None:
    small = study.without("additive", "systematic_bias", "log_normal_noise")
    before = dict(matplotlib.rcParams)
    files = plots.save_study_figures(small, tmp_path / "results" / "figures", dpi=30)
    assert dict(matplotlib.rcParams) == before
    assert [path.name for path in files] == [
        f"{name}.{kind}" for name in NAMES[:6] for kind in ("png", "pdf")
    ]
    for path in files:
        start = path.read_bytes()[:8]
        assert start == b"\x89PNG\r\n\x1a\n" if path.suffix == ".png" else start[:5] == b"%PDF-"


@pytest.mark.slow
def test_the_same_tables_give_the_same_files(study: FakeStudy, tmp_path) -> None:
    small = study.without(*FAMILIES)
    kinds = ["png", "pdf", "svg"]
    one, two = (plots.save_study_figures(small, tmp_path / each, dpi=30, formats=kinds) for each in "ab")
    assert len(one) == 9
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


# ---- ticks


@pytest.mark.parametrize("decades", [0.02, 0.1, 0.3, 0.6, 1.0, 1.7, 2.5, 6.2, 11.0, 40.0, 300.0])
@pytest.mark.parametrize("low", [1e-3, 0.37, 4.4e7])
def test_logarithmic_axes_have_a_few_ticks(low: float, decades: float) -> None:
    high = min(low * 10**decades, 1e300)
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(ticks)
    assert low * (1 - 1e-6) <= ticks[0] and ticks[-1] <= high * (1 + 1e-6)


def test_spread_keeps_the_ends_and_the_neutral_size() -> None:
    sweep = SWEEPS["multiplicative"]
    assert spread(sweep, [1.0, 2.0, 2.0, 3.0], 5) == [1.0, 2.0, 3.0]
    values = [0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    chosen = spread(sweep, values, 3)
    assert chosen == [0.01, 1.0, 7.0]
    assert spread(sweep, np.geomspace(2, 9, 9), 4)[0] == 2.0


def legend_texts(figure):
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def test_uncertified_estimates_are_marked_apart():
    study = make_study()
    shown = plots.parameters_by_family_table(study, "log_normal_noise")
    assert shown.conditions["certified"].all(), "a study that does not say is taken at its word"
    names = ["log_normal_noise=2.0#1", "log_normal_noise=2.0#2"]
    statuses = [(name, "huber", "UNIDENTIFIED") for name in names] + [("identity", "huber", "CONVERGED")]
    statuses.append(("log_normal_noise=0.5#0", "huber_scale", "MAX_STEPS"))
    study.point = pd.DataFrame(statuses, columns=["condition", "objective", "status"])
    table = plots.parameters_by_family_table(study, "log_normal_noise")
    uncertified = table.conditions.loc[~table.conditions["certified"], "condition"]
    assert set(uncertified) == set(names)
    figure = plots.parameters_by_family(table)
    assert "estimate without certificate\n(2 conditions)" in legend_texts(figure)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    drawn = len(lines["estimate of each repeat"].get_xdata())
    assert drawn == 3 * REPEATS - 2


def test_the_legend_says_which_curves_carry_a_band():
    table = plots.tokens_per_param_by_family_table(make_study(), "additive")
    figure = plots.tokens_per_param_by_family(table).figure
    assert "80% interval of c = \u221240, 0 and 40 million" in legend_texts(figure)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (30.0, [4.0, 60.0]),  # the 20:1 line in the middle: the Chinchilla runs
        (60.0, [50.0, 300.0]),  # along the bottom, and curves that rise
        (280.0, [20.0, 40.0]),  # along the bottom, and curves that fall from the top
    ],
)
def test_the_legend_covers_neither_the_curves_nor_the_rule_of_thumb(left, right):
    low, high = right
    table = pd.DataFrame(
        {
            "counting": "standard",
            "flops": [1e18, 1e28],
            "low": [0.9 * left, low],
            "median": [0.95 * left, (low * high) ** 0.5],
            "high": [left, high],
            "level": 0.8,
            "method": "percentile",
        }
    )
    figure = plots.tokens_per_param_by_counting(table).figure
    figure.draw_without_rendering()
    (axes,) = figure.axes
    box = axes.get_legend().get_window_extent()
    heights = axes.transData.transform([(1e18, y) for y in (0.9 * left, left, 20.0)])[:, 1]
    falls = left > high
    # Where the curves fall from the top, only the bottom is free, where the 20:1 line runs.
    covered = [box.y0 < y < box.y1 for y in (heights[:2] if falls else heights)]
    assert not any(covered)
