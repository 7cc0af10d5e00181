"""Intervals, bands, slopes, trends and identities against numpy, scipy and closed forms."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis import identity_errors, power_map, trend_table
from chinchilla_jax.intervals import (
    COMPUTE_GRID,
    STUDY_METHODS,
    IntervalRequest,
    draw_laws,
    interval_bands,
    interval_columns,
    law_covariance,
    parameter_table,
    slope_monte_carlo_error,
    slope_per_decade,
    slope_table,
    tokens_per_param_band,
)
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, PARAMETERS, ScalingLaw
from chinchilla_jax.perturbations import (
    Additive,
    Identity,
    LogNormalNoise,
    Multiplicative,
    SystematicBias,
    geometric_mean,
    parse_condition,
)

N_LANES = 500


def resamples(n=N_LANES, seed=0):
    """Laws spread about the published one as its bootstrap is: alpha with ln A, beta with ln B."""
    r = np.random.default_rng(seed)
    alpha = 0.348 + 0.015 * r.normal(size=n)
    beta = 0.366 + 0.02 * r.normal(size=n)
    return ScalingLaw(
        E=1.817 + 0.026 * r.normal(size=n),
        A=np.exp(np.log(482) + 17 * (alpha - 0.348) + 0.02 * r.normal(size=n)),
        B=np.exp(np.log(2085) + 22 * (beta - 0.366) + 0.02 * r.normal(size=n)),
        alpha=alpha,
        beta=beta,
    )


LAWS = resamples()
ALL = np.ones(N_LANES, dtype=bool)


def with_garbage(laws, mask, values):
    """The same laws, with `values` in the lanes that `mask` says failed."""
    fields = {name: np.where(mask, getattr(laws, name), values) for name in PARAMETERS}
    return ScalingLaw(**fields)


def ratio_by_hand(law, flops):
    g = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    n = g * (flops / 6) ** (law.beta / (law.alpha + law.beta))
    return flops / 6 / n**2


# --- parameters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_percentile_table(level):
    table = parameter_table(LAWS, ALL, BESIROGLU_2024, level, "percentile").set_index("parameter")
    assert list(table.index) == list(PARAMETERS)
    for name in PARAMETERS:
        values, row = getattr(LAWS, name), table.loc[name]
        assert row["estimate"] == getattr(BESIROGLU_2024, name)
        assert row["standard_error"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
        limits = np.percentile(values, [50 - 50 * level, 50 + 50 * level])
        assert (row["low"], row["high"]) == pytest.approx(tuple(limits), rel=1e-12)
        assert (row["level"], row["method"]) == (level, "percentile")
        assert (row["n_converged"], row["n_failed"]) == (N_LANES, 0)


@pytest.mark.parametrize("method", ["gaussian", "besiroglu2024"])
def test_normal_table(method):
    table = parameter_table(LAWS, ALL, BESIROGLU_2024, 0.8, method).set_index("parameter")
    assert set(table["method"]) == {method}
    for name in PARAMETERS:
        values, centre = getattr(LAWS, name), getattr(BESIROGLU_2024, name)
        if name in "AB":
            law = stats.lognorm(s=np.std(np.log(values), ddof=1), scale=centre)
        else:
            law = stats.norm(centre, np.std(values, ddof=1))
        assert tuple(table.loc[name, ["low", "high"]]) == pytest.approx(law.interval(0.8), rel=1e-9)


@given(st.lists(st.booleans(), min_size=N_LANES, max_size=N_LANES).filter(lambda m: sum(m) > 2))
@settings(max_examples=20, deadline=None)
def test_failed_lanes_never_enter_whatever_they_hold(mask):
    mask = np.array(mask)
    for method in STUDY_METHODS:
        clean = parameter_table(LAWS[mask], ALL[mask], BESIROGLU_2024, 0.8, method)
        band = tokens_per_param_band(LAWS[mask], COMPUTE_GRID[::50], 0.8, method, BESIROGLU_2024, draws=50)
        for garbage in (np.nan, np.inf, 0.0, 1e5):
            dirty = with_garbage(LAWS, mask, garbage)
            table = parameter_table(dirty, mask, BESIROGLU_2024, 0.8, method)
            assert (table["n_converged"] == mask.sum()).all()
            assert (table["n_failed"] == N_LANES - mask.sum()).all()
            pd.testing.assert_frame_equal(table.drop(columns="n_failed"), clean.drop(columns="n_failed"))
            again = tokens_per_param_band(
                dirty, COMPUTE_GRID[::50], 0.8, method, BESIROGLU_2024, draws=50, counted=mask
            )
            assert again.attrs["n_failed"] == N_LANES - mask.sum()
            assert again.attrs["n_converged"] == mask.sum()
            again.attrs = band.attrs
            pd.testing.assert_frame_equal(again, band)


def test_a_nan_that_claims_to_have_converged_is_counted_as_failed():
    broken = with_garbage(LAWS, np.arange(N_LANES) != 7, np.nan)
    for method in STUDY_METHODS:
        table = parameter_table(broken, ALL, BESIROGLU_2024, 0.8, method)
        assert (table["n_failed"] == 1).all()
        assert table.notna().all(axis=None)
        band = tokens_per_param_band(broken, COMPUTE_GRID, 0.8, method, BESIROGLU_2024)
        assert (band.attrs["n_failed"], band.attrs["n_converged"]) == (1, N_LANES - 1)
        assert band.notna().all(axis=None)


def test_a_lane_that_lacks_one_parameter_counts_for_the_others():
    A = np.where(np.arange(N_LANES) == 7, np.inf, LAWS.A)
    laws = ScalingLaw(E=LAWS.E, A=A, B=LAWS.B, alpha=LAWS.alpha, beta=LAWS.beta)
    wanted = [IntervalRequest(BESIROGLU_2024, 0.8, method) for method in STUDY_METHODS]
    found, whole = (pd.DataFrame(interval_columns(each, ALL, wanted)) for each in (laws, LAWS))
    others = found["parameter"] != "A"
    pd.testing.assert_frame_equal(found[others], whole[others], check_exact=True)
    rest = pd.DataFrame(interval_columns(LAWS, np.isfinite(A), wanted))
    pd.testing.assert_frame_equal(found[~others], rest[~others], check_exact=True)


def test_E_at_its_boundary_is_a_value_like_any_other():
    E = np.where(np.arange(N_LANES) < 100, 0.0, LAWS.E)
    laws = ScalingLaw(E=E, A=LAWS.A, B=LAWS.B, alpha=LAWS.alpha, beta=LAWS.beta)
    for method in STUDY_METHODS:
        row = parameter_table(laws, ALL, BESIROGLU_2024, 0.8, method).set_index("parameter").loc["E"]
        assert (row["n_converged"], row["n_failed"]) == (N_LANES, 0)
        assert 0 <= row["low"] < row["high"] < 10
        band = tokens_per_param_band(laws, COMPUTE_GRID, 0.8, method, BESIROGLU_2024)
        assert band.equals(tokens_per_param_band(LAWS, COMPUTE_GRID, 0.8, method, BESIROGLU_2024))
    point = ScalingLaw(E=0.0, A=1, B=1, alpha=0.3, beta=0.3)
    assert parameter_table(laws, ALL, point, 0.99, "gaussian").set_index("parameter").loc["E", "low"] == 0


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("method", STUDY_METHODS)
def test_hardly_any_lane_left(kept, method):
    mask = np.arange(N_LANES) < kept
    table = parameter_table(LAWS, mask, BESIROGLU_2024, 0.8, method)
    assert table["standard_error"].isna().all()
    assert (table["n_failed"] == N_LANES - kept).all()
    band = tokens_per_param_band(LAWS, COMPUTE_GRID, 0.8, method, BESIROGLU_2024, counted=mask)
    defined = method == "percentile" and kept == 1
    assert band["median"].notna().all() == defined
    assert table["low"].notna().all() == defined


def test_a_standard_error_beyond_the_square_root_of_the_largest_number():
    laws = ScalingLaw(E=1, A=1e300 * np.array([1.0, 2.0, 4.0]), B=1, alpha=0.3, beta=0.3)
    row = parameter_table(laws, np.ones(3, bool), BESIROGLU_2024).set_index("parameter").loc["A"]
    assert row["standard_error"] == pytest.approx(1e300 * np.std([1, 2, 4], ddof=1))


def test_covariance_is_that_of_the_lanes_that_count():
    mask = np.arange(N_LANES) % 3 > 0
    columns = np.array([np.log(LAWS.A), np.log(LAWS.B), LAWS.alpha, LAWS.beta])[:, mask]
    assert np.allclose(law_covariance(LAWS, mask), np.cov(columns), rtol=1e-12)


# --- tokens per parameter -----------------------------------------------------------------------------------


def test_the_grid_is_that_of_the_papers():
    assert COMPUTE_GRID.shape == (201,)
    assert np.allclose(np.diff(np.log10(COMPUTE_GRID)), 0.05, atol=1e-12)
    assert np.log10(COMPUTE_GRID[[0, -1]]).tolist() == [18, 28]


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_percentile_band_is_numpys(level):
    band = tokens_per_param_band(LAWS, COMPUTE_GRID, level, "percentile")
    assert list(band) == ["flops", "low", "median", "high", "estimate", "level", "method"]
    ratios = np.array([ratio_by_hand(law, COMPUTE_GRID) for law in LAWS])
    expected = np.percentile(ratios, [50 - 50 * level, 50, 50 + 50 * level], axis=0)
    assert np.allclose(band[["low", "median", "high"]].to_numpy().T, expected, rtol=1e-9)
    assert band["flops"].tolist() == COMPUTE_GRID.tolist()


def test_gaussian_band_is_that_of_numpys_own_normal():
    flops = COMPUTE_GRID[::50]
    band = tokens_per_param_band(LAWS, flops, 0.8, "gaussian", BESIROGLU_2024, draws=100_000)
    columns = np.array([np.log(LAWS.A), np.log(LAWS.B), LAWS.E, LAWS.alpha, LAWS.beta])
    law = BESIROGLU_2024
    centre = [np.log(law.A), np.log(law.B), law.E, law.alpha, law.beta]
    a, b, e, alpha, beta = np.random.default_rng(5).multivariate_normal(centre, np.cov(columns), 100_000).T
    drawn = ScalingLaw(E=e, A=np.exp(a), B=np.exp(b), alpha=alpha, beta=beta)
    ratios = np.array([ratio_by_hand(drawn, c) for c in flops])
    expected = np.percentile(ratios, [10, 50, 90], axis=1)
    assert np.allclose(band[["low", "median", "high"]].to_numpy().T, expected, rtol=0.02)
    mixed = tokens_per_param_band(LAWS, flops, 0.8, "besiroglu2024", BESIROGLU_2024, draws=100_000)
    assert mixed.drop(columns="method").equals(band.drop(columns="method"))


def test_draws_have_the_moments_asked_for_and_depend_on_the_seed_alone():
    drawn = draw_laws(LAWS, ALL, BESIROGLU_2024, 50_000, 3)
    again = draw_laws(LAWS, ALL, BESIROGLU_2024, 50_000, 3)
    assert drawn == again
    assert drawn != draw_laws(LAWS, ALL, BESIROGLU_2024, 50_000, 4)
    wanted = law_covariance(LAWS, ALL)
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert np.abs((law_covariance(drawn, np.ones(50_000, bool)) - wanted) / scale).max() < 0.03
    identical = ScalingLaw(E=np.ones(5), A=400, B=900, alpha=0.3, beta=0.3)  # a covariance of zeros
    flat = draw_laws(identical, np.ones(5, bool), BESIROGLU_2024, 10, 0)
    assert np.allclose(flat.A, BESIROGLU_2024.A, rtol=1e-12)


def edge_laws(n_infinite, n_zero, n_none, n_plain):
    alpha = np.repeat([-0.1, 0.3, -0.1, 0.3], [n_infinite, n_zero, n_none, n_plain])
    beta = np.repeat([0.3, -0.1, -0.1, 0.3], [n_infinite, n_zero, n_none, n_plain])
    return ScalingLaw(E=1, A=np.linspace(300, 400, alpha.size), B=350, alpha=alpha, beta=beta)


def test_infinite_and_zero_ratios_have_their_place_in_the_order():
    laws = edge_laws(n_infinite=30, n_zero=20, n_none=7, n_plain=50)
    band = tokens_per_param_band(laws, [1e20, 1e24], 0.8)
    assert band.attrs == {"n_converged": 107, "n_failed": 0, "n_without_optimum": 7}
    assert (band["low"] == 0).all()
    assert np.isinf(band["high"]).all()
    ordered = np.sort([ratio_by_hand(law, 1e20) for law in laws[57:]])
    # 100 values: 20 zeros, 50 plain, 30 infinite; the median lies between places 49 and 50 from 0.
    assert band["median"][0] == pytest.approx((ordered[29] + ordered[30]) / 2)
    assert np.isinf(tokens_per_param_band(edge_laws(60, 0, 0, 40), [1e20])["median"][0])
    assert np.isinf(tokens_per_param_band(edge_laws(50, 0, 0, 50), [1e20])["median"][0])
    nothing = tokens_per_param_band(edge_laws(0, 0, 5, 0), [1e20])
    assert nothing[["low", "median", "high"]].isna().all(axis=None)
    assert nothing.attrs["n_without_optimum"] == 5


def test_one_budget_and_bad_arguments():
    assert len(tokens_per_param_band(LAWS, 5.76e23)) == 1
    point = BESIROGLU_2024
    for call, message in (
        (lambda: tokens_per_param_band(LAWS, [1e20, -1.0]), "1 of 2 not positive and finite"),
        (lambda: tokens_per_param_band(LAWS, []), "one or more budgets"),
        (lambda: tokens_per_param_band(LAWS, method="gausian"), "did you mean 'gaussian'"),
        (lambda: tokens_per_param_band(LAWS, method="gaussian"), "give the single law of the point fit"),
        (lambda: tokens_per_param_band(LAWS, level=80), "give a number between 0 and 1"),
        (lambda: tokens_per_param_band(LAWS, level=math.nan), "give a number between 0 and 1"),
        (lambda: tokens_per_param_band(point), "shape \\(R,\\)"),
        (lambda: tokens_per_param_band(LAWS, counted=["CONVERGED"] * N_LANES), "one bool per law"),
        (lambda: tokens_per_param_band(LAWS, counted=ALL[1:]), "one bool per law"),
        (lambda: tokens_per_param_band(LAWS, method="gaussian", point_law=point, draws=0), "draws"),
        (lambda: tokens_per_param_band(LAWS, method="gaussian", point_law=point, seed=-1), "seed"),
        (lambda: parameter_table(LAWS, ALL, LAWS), "give the single law of the point fit"),
        (lambda: parameter_table(LAWS, ALL, point, "0.8"), "between 0 and 1"),
    ):
        with pytest.raises(UsageError, match=message):
            call()


def test_several_intervals_at_once_are_what_each_is_alone():
    laws = with_garbage(LAWS, np.arange(N_LANES) % 7 > 0, np.nan)
    other = ScalingLaw(E=1.8, A=480, B=2000, alpha=0.347, beta=0.364)
    wanted = [
        IntervalRequest(law, level, method)
        for method, law in zip(STUDY_METHODS, (BESIROGLU_2024, BESIROGLU_2024, other), strict=True)
        for level in (0.5, 0.8, 0.95)
    ]
    flops = COMPUTE_GRID[::4]
    rows, bands = (
        pd.DataFrame(interval_columns(laws, ALL, wanted)),
        interval_bands(laws, flops, wanted, 400, 3, counted=None),
    )
    for i, (law, level, method) in enumerate(wanted):
        assert (
            rows[5 * i : 5 * i + 5]
            .reset_index(drop=True)
            .equals(parameter_table(laws, ALL, law, level, method))
        )
        alone = tokens_per_param_band(laws, flops, level, method, law, 400, 3)
        columns, counts = bands[i]
        assert pd.DataFrame(columns).equals(alone.drop(columns=["level", "method"]))
        assert counts == alone.attrs


# --- slopes -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(15, 30), st.floats(0, 1e3)), min_size=2, max_size=30))
def test_slope_is_scipys(points):
    x, y = np.array(points).T
    if np.ptp(x) < 1e-2:
        return
    expected = stats.linregress(x, y).slope
    assert slope_per_decade(10**x, y) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_slope_over_leading_axes_and_where_no_line_passes():
    y = np.stack([3 - 2 * np.log10(COMPUTE_GRID), np.full(201, 5.0)])
    assert slope_per_decade(COMPUTE_GRID, y) == pytest.approx([-2, 0], abs=1e-12)
    y[0, 3] = np.inf
    assert np.isnan(slope_per_decade(COMPUTE_GRID, y)).tolist() == [True, False]
    for flops, ratio in (([1e20], [1.0]), ([1e20, 1e20], [1.0, 2.0]), ([1e20, 1e21], [1.0])):
        with pytest.raises(UsageError, match="slope_per_decade"):
            slope_per_decade(flops, ratio)


@pytest.mark.parametrize(
    ("published", "A", "B", "alpha", "beta"),
    [  # exact least-absolute-deviation fits of the 240 runs (`HuberScale`), and arXiv:2509.23963
        (-0.572, 493.3762656, 1786.72775279, 0.35026393, 0.35819942),
        (-1.049, 437.14714944, 1803.98317976, 0.34186172, 0.35868943),
        (-1.248, 452.07094308, 2014.1968961, 0.34405456, 0.36412663),
    ],
    ids=["standard", "best_fit", "reported"],
)
def test_slopes_of_the_point_fits_are_near_the_published_ones(published, A, B, alpha, beta):
    law = ScalingLaw(E=1.8, A=A, B=B, alpha=alpha, beta=beta)
    # The published slopes are of the median of 4,000 draws, whose Monte-Carlo error is about 0.034.
    assert slope_per_decade(COMPUTE_GRID, law.tokens_per_param(COMPUTE_GRID)) == pytest.approx(
        published, abs=0.04
    )


def test_slope_table():
    bands = []
    for name, laws in (("identity", LAWS), ("additive=1.0", resamples(seed=1))):
        for method in STUDY_METHODS:
            band = tokens_per_param_band(laws, COMPUTE_GRID, 0.8, method, BESIROGLU_2024)
            bands.append(band.assign(condition=name))
    broken = bands[0].assign(condition="broken", median=np.inf)
    table = slope_table(pd.concat([*bands, broken]))
    columns = ["condition", "method", "level", "slope_per_decade", "n_flops", "n_not_finite"]
    assert list(table) == columns
    assert table["condition"].tolist() == ["identity"] * 3 + ["additive=1.0"] * 3 + ["broken"]
    assert table["method"].tolist() == [*STUDY_METHODS, *STUDY_METHODS, "percentile"]
    for band, slope in zip(bands, table["slope_per_decade"], strict=False):
        assert slope == pytest.approx(stats.linregress(np.log10(band["flops"]), band["median"]).slope)
    assert np.isnan(table["slope_per_decade"].iloc[-1])
    assert table["n_not_finite"].tolist() == [0] * 6 + [201]
    assert len(slope_table(bands[0].drop(columns="condition"))) == 1
    with pytest.raises(UsageError, match="median"):
        slope_table(bands[0].drop(columns="median"))


def test_monte_carlo_error_of_the_slope():
    flops = COMPUTE_GRID[::20]
    error = slope_monte_carlo_error(LAWS, BESIROGLU_2024, flops, draws=400, repeats=20, seed=6)
    slopes = []
    for i in range(20):
        band = tokens_per_param_band(
            LAWS, flops, 0.8, "besiroglu2024", BESIROGLU_2024, draws=400, seed=6 + 1 + i
        )
        slopes.append(stats.linregress(np.log10(flops), band["median"]).slope)
    assert error.slope == pytest.approx(np.mean(slopes))
    assert error.draws_error == pytest.approx(np.std(slopes, ddof=1))
    assert 0.5 < error.total_error / error.draws_error < 2
    assert error == slope_monte_carlo_error(LAWS, BESIROGLU_2024, flops, draws=400, repeats=20, seed=6)
    plain = slope_monte_carlo_error(LAWS, None, flops, "percentile", repeats=20)
    assert plain.draws_error == 0
    assert plain.total_error > 0
    with pytest.raises(UsageError, match="two or more"):
        slope_monte_carlo_error(LAWS, BESIROGLU_2024, counted=~ALL)


# --- trends -------------------------------------------------------------------------------------------------


def study_tables(fits):
    """Conditions and parameter table of a made-up study: perturbation -> law."""
    conditions = pd.DataFrame(
        {
            "condition": [p.condition for p in fits],
            "family": [p.family for p in fits],
            "value": [p.value for p in fits],
        }
    )
    rows = [
        {
            "condition": p.condition,
            "parameter": name,
            "estimate": getattr(law, name) + shift,
            "method": method,
        }
        for method, shift in (("percentile", 0.0), ("besiroglu2024", 1e-3))
        for p, law in fits.items()
        for name in PARAMETERS
    ]
    return conditions, pd.DataFrame(rows)


def law(**changes):
    return ScalingLaw(**({"E": 1.8, "A": 500.0, "B": 1800.0, "alpha": 0.35, "beta": 0.36} | changes))


def test_published_trend_of_systematic_bias():
    fits = {SystematicBias(s): law(alpha=10**-0.46 / s) for s in np.logspace(-0.5, 0.5, 11)}
    table = trend_table(*study_tables(fits)).set_index("parameter")
    row = table.loc["alpha"]
    assert (row["transform_x"], row["transform_y"]) == ("log10", "log10")
    assert (row["slope"], row["intercept"], row["r_squared"]) == pytest.approx((-1, -0.46, 1))
    assert (row["n_conditions"], row["n_points"], row["n_excluded"]) == (11, 11, 0)
    assert table.loc["beta", "slope"] == pytest.approx(0, abs=1e-15)
    assert np.isnan(table.loc["beta", "r_squared"])  # constant: nothing to explain


def test_trends_are_scipys_lines_on_the_stated_axes():
    r = np.random.default_rng(0)
    fits = {Identity(): law()}
    fits |= {
        Multiplicative(c): law(A=500 * c**0.35 * np.exp(0.1 * r.normal())) for c in np.logspace(-3, 3, 11)
    }
    fits |= {Additive(c): law(E=1.7 + 2e-9 * c + 0.01 * r.normal()) for c in np.linspace(-4e7, 4e7, 9)}
    conditions, params = study_tables(fits)
    table = trend_table(conditions, params).set_index(["family", "parameter"])
    assert len(table) == 10
    x = np.log10([p.value for p in fits if p.family == "multiplicative"])
    y = np.log10([f.A for p, f in fits.items() if p.family == "multiplicative"])
    line, row = stats.linregress(x, y), table.loc["multiplicative", "A"]
    expected = (line.slope, line.intercept, line.rvalue**2)
    assert tuple(row[["slope", "intercept", "r_squared"]]) == pytest.approx(expected)
    x = np.array([p.value for p in fits if p.family == "additive"]) / 1e6
    y = [f.E for p, f in fits.items() if p.family == "additive"]
    line, row = stats.linregress(x, y), table.loc["additive", "E"]
    assert (row["transform_x"], row["transform_y"]) == ("millions", "identity")
    expected = (line.slope, line.intercept, line.rvalue**2)
    assert tuple(row[["slope", "intercept", "r_squared"]]) == pytest.approx(expected)
    other = trend_table(conditions, params, "besiroglu2024").set_index(["family", "parameter"])
    assert other.loc["additive", "E"]["intercept"] == pytest.approx(line.intercept + 1e-3)
    levels = pd.concat([params.assign(level=level) for level in (0.5, 0.8)])
    again = trend_table(conditions, levels).set_index(["family", "parameter"])
    pd.testing.assert_frame_equal(again, table)  # a condition counts once, whatever levels it has


def test_noise_repeats_become_one_point_and_failures_are_counted():
    sigmas = np.logspace(-0.5, 0.5, 4)
    fits = {LogNormalNoise(0.0, i): law() for i in range(3)}
    for sigma in sigmas:
        for i in range(3):  # the third repeat of each ran away
            fits[LogNormalNoise(sigma, i)] = law(beta=0.3 - 0.1 * np.log10(sigma) + (0.0, 0.0, 1e6)[i])
    fits[LogNormalNoise(sigmas[0], 2)] = law(beta=np.nan)
    table = trend_table(*study_tables(fits)).set_index("parameter")
    row = table.loc["beta"]
    assert (row["slope"], row["intercept"], row["r_squared"]) == pytest.approx((-0.1, 0.3, 1))
    assert (row["n_conditions"], row["n_points"], row["n_excluded"]) == (11, 4, 4)
    two = trend_table(*study_tables({Additive(1e6): law(), Additive(2e6): law(E=1.9)})).set_index("parameter")
    assert two.loc["E", "slope"] == pytest.approx(0.1) and np.isnan(two.loc["E", "r_squared"])
    few = trend_table(*study_tables({Additive(1.0): law()}))
    assert few[["slope", "intercept", "r_squared"]].isna().all(axis=None)
    assert (few["n_points"] == 1).all()
    with pytest.raises(UsageError, match="'value'"):
        trend_table(pd.DataFrame({"condition": [], "family": []}), few)


# --- identities ---------------------------------------------------------------------------------------------

COUNTS = np.array([4.4e7, 1e8, 5e8, 2e9, 1.6e10])
MU = geometric_mean(COUNTS)
POWER_MAPS = [
    "identity",
    "multiplicative=0.001",
    "multiplicative=1000.0",
    "systematic_bias=0.31622776601683794",
    "systematic_bias=3.0",
    "additive=0.0",
    "log_normal_noise=0.0#2",
    "multiplicative=7.0|systematic_bias=1.3|multiplicative=0.1|systematic_bias=0.4",
]


def fits_of(laws, condition, status=None):
    frame = laws.to_frame()
    frame.insert(0, "condition", condition)
    frame.insert(1, "resample", np.arange(len(frame)))
    frame["status"] = "CONVERGED" if status is None else status
    return frame


def transformed(laws, k, p):
    return ScalingLaw(
        E=laws.E, A=laws.A * k ** (laws.alpha / p), B=laws.B, alpha=laws.alpha / p, beta=laws.beta
    )


@pytest.mark.parametrize("condition", POWER_MAPS)
def test_power_map_is_what_the_perturbation_does_and_keeps_every_loss(condition):
    from chinchilla_jax.datasets import Runs

    runs = Runs(COUNTS, np.full(5, 1e10), np.full(5, 1e20), np.full(5, 2.0))
    perturbation = parse_condition(condition)
    k, p = power_map(perturbation, MU)
    after = perturbation.apply(runs).params
    assert np.allclose(after, k * COUNTS**p, rtol=1e-9)
    before = LAWS[:20]
    assert np.allclose(
        transformed(before, k, p).loss(after, runs.tokens), before.loss(COUNTS, runs.tokens), rtol=1e-9
    )


@pytest.mark.parametrize("other", ["additive=5.0", "log_normal_noise=0.1#0", "multiplicative=-1.0"])
def test_other_perturbations_are_no_power_maps(other):
    assert power_map(parse_condition(other), MU) is None
    assert power_map(Multiplicative(2) | parse_condition(other), MU) is None


def test_identity_errors_see_what_is_wrong_and_count_what_failed():
    reference = fits_of(LAWS, "identity")
    tables = [reference]
    for condition in POWER_MAPS[1:]:
        k, p = power_map(parse_condition(condition), MU)
        tables.append(fits_of(transformed(LAWS, k, p), condition).sample(frac=1, random_state=0))
    tables.append(fits_of(LAWS, "additive=5.0"))
    tables.append(fits_of(LAWS, "identity@reported"))
    fits = pd.concat(tables)
    errors = identity_errors(fits, mu=MU)
    assert errors["condition"].tolist() == POWER_MAPS
    assert (errors[[*PARAMETERS, "worst"]] < 1e-12).all(axis=None)
    assert (errors["n_compared"] == N_LANES).all()

    wrong = fits_of(transformed(LAWS, 0.001, 1.0), "multiplicative=0.001")
    wrong.loc[7, "E"] *= 1 + 1e-3
    wrong.loc[9, "A"] *= 1 - 2e-3
    wrong.loc[8, list(PARAMETERS)] = np.nan
    wrong.loc[8, "status"] = "UNIDENTIFIED"
    partial = reference[reference["resample"] != 3]
    row = identity_errors({"multiplicative=0.001": wrong}, partial).iloc[0]
    assert row["E"] == pytest.approx(1e-3)
    assert row["A"] == pytest.approx(2e-3)
    assert row["worst"] == pytest.approx(1e-3)
    assert (row["worst_resample"], row["n_compared"], row["n_failed"]) == (7, N_LANES - 2, 2)


def test_identity_errors_at_the_edges():
    reference = fits_of(LAWS, "identity")
    bias = fits_of(transformed(LAWS, MU**-0.5, 1.5), "systematic_bias=1.5")
    without_mu = identity_errors({"systematic_bias=1.5": bias}, reference).iloc[0]
    assert np.isnan(without_mu["A"])
    assert without_mu["worst"] < 1e-12
    failed = identity_errors({"multiplicative=2.0": bias.assign(status="INVALID")}, reference).iloc[0]
    assert np.isnan(failed["worst"])
    assert (failed["worst_resample"], failed["n_compared"], failed["n_failed"]) == (-1, 0, N_LANES)
    zero = reference.assign(E=0.0)
    assert identity_errors({"identity": zero}, zero)["E"].tolist() == [0.0]
    assert identity_errors({"identity": reference}, zero)["E"].tolist() == [np.inf]
    for fits, message in (
        (bias, "no condition 'identity'"),
        (reference.drop(columns="condition"), "'condition' is missing"),
        (reference.drop(columns="beta"), "'beta' is missing"),
        (reference.assign(status=0), "give the names"),
        (pd.concat([reference, reference]), "occurs twice"),
    ):
        with pytest.raises(UsageError, match=message):
            identity_errors(fits)
