"""IsoFLOP parabolas: exact where they are exact, off where it is known, and the published estimates."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_laws import single_laws, spread_sample
from test_cli import done, refused

from chinchilla_jax import Bayesian, Cluster, DataError, UsageError, load_runs
from chinchilla_jax.datasets import Runs
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.isoflop_budgets import CHINCHILLA_BUDGETS
from chinchilla_jax.planning.isoflop_comparison import compare_methods
from chinchilla_jax.planning.isoflop_minima import isoflop, parabola_shift
from chinchilla_jax.planning.law_sample import LawSample

BUDGETS = np.array([1e19, 1e20, 1e21, 1e22])
GRID = np.linspace(-1.0, 1.0, 11) * np.log(10)


def surface(law, *, grid=GRID, drift=0.0, centre=0.0):
    """Noise-free runs around each budget's optimum, off by `centre` and `drift` per e-fold of compute."""
    shift = centre + drift * np.log(BUDGETS / BUDGETS[0])
    params = np.asarray(law.optimal(BUDGETS)[0])[:, None] * np.exp(grid + shift[:, None])
    flops = np.broadcast_to(BUDGETS[:, None], params.shape)
    tokens = flops / 6 / params
    return Runs(params.ravel(), tokens.ravel(), flops.ravel(), np.asarray(law.loss(params, tokens)).ravel())


symmetric = st.builds(
    lambda a, ratio, exponent: ScalingLaw(E=1.7, A=a, B=a * ratio**exponent, alpha=exponent, beta=exponent),
    st.floats(10, 1e4),
    st.floats(1, 100),
    st.floats(0.15, 0.6),
)


@given(symmetric)
def test_symmetric_exponents_on_centred_grids_are_exact(law):
    result = isoflop(surface(law), resamples=0)
    np.testing.assert_allclose(result.params[0], law.optimal(BUDGETS)[0], rtol=1e-7)
    assert result.exponent[0] == pytest.approx(0.5, abs=1e-8)


@given(single_laws)
def test_asymmetric_exponents_shift_every_minimum_alike(law):
    """The exponent is then right and the size is not (Czech et al. 2026, arXiv:2603.22339)."""
    result = isoflop(surface(law), resamples=0)
    shift = parabola_shift(law.alpha, law.beta, GRID)
    true = np.asarray(law.optimal(BUDGETS)[0])
    np.testing.assert_allclose(np.log(result.params[0] / true), shift, atol=1e-5)
    assert result.exponent[0] == pytest.approx(law.exponents[0], abs=1e-5)
    # The term with the larger exponent is the steeper wall, and pushes the vertex to the other side.
    if abs(law.alpha - law.beta) > 0.02:
        assert np.sign(shift) == np.sign(law.alpha - law.beta)


def test_the_shift_is_that_of_a_fitted_polynomial():
    alpha, beta = 0.34, 0.28
    excess = beta * np.exp(-alpha * GRID) + alpha * np.exp(beta * GRID)
    c2, c1, _ = np.polyfit(GRID, excess, 2)
    assert parabola_shift(alpha, beta, GRID) == pytest.approx(-c1 / (2 * c2))
    assert parabola_shift(0.3, 0.3, GRID) == pytest.approx(0, abs=1e-12)
    # On a dense, even and narrow grid of half-width w only the cubic term counts: (alpha - beta) w^2 / 10.
    narrow = np.linspace(-0.05, 0.05, 2001)
    assert parabola_shift(alpha, beta, narrow) == pytest.approx(0.1 * (alpha - beta) * 0.05**2, rel=1e-2)


def test_a_constant_offset_keeps_the_exponent_and_a_drift_does_not():
    law = ScalingLaw(E=1.7, A=400.0, B=2000.0, alpha=0.35, beta=0.35)
    offset = isoflop(surface(law, centre=2.0), resamples=0)
    assert offset.exponent[0] == pytest.approx(0.5, abs=1e-7)
    shift = parabola_shift(law.alpha, law.beta, GRID + 2.0)
    assert np.log(offset.params[0, 0] / law.optimal(BUDGETS[0])[0]) == pytest.approx(shift, abs=1e-6)
    assert shift > 0.02
    drifting = isoflop(surface(law, centre=-2.0, drift=0.6), resamples=0)
    centres = -2.0 + 0.6 * np.log(BUDGETS / BUDGETS[0])
    shifts = [parabola_shift(law.alpha, law.beta, GRID + centre) for centre in centres]
    slope = np.polyfit(np.log(BUDGETS), shifts, 1)[0]
    assert drifting.exponent[0] - 0.5 == pytest.approx(slope, abs=1e-6)
    assert slope > 0.005


def test_llama_3_as_published():
    """Dubey et al. 2024, section 3.2.1: tokens ~ C^0.53; 402B parameters and 16.55T tokens at 3.8e25."""
    result = isoflop(load_runs("llama3"), resamples=400)
    assert len(result.flops) == 10
    assert result.n_left_out == 0
    table = result.exponents().set_index("quantity")
    assert table.loc["tokens", "low"] < 0.53 < table.loc["tokens", "high"]
    params, tokens = result.optimal(3.8e25)
    assert params[0, 0] == pytest.approx(402e9, rel=0.05)
    assert tokens[0, 0] == pytest.approx(16.55e12, rel=0.05)


def test_chinchilla_as_published():
    """Hoffmann et al. 2022, table 2: a = 0.49 by approach 2, 80% interval 0.462 to 0.534."""
    result = isoflop(load_runs("chinchilla"), resamples=400)
    assert tuple(result.flops) == CHINCHILLA_BUDGETS
    assert result.n_left_out > 0
    table = result.exponents().set_index("quantity")
    assert 0.462 < table.loc["params", "estimate"] < 0.534
    assert table.loc["params", "low"] > 0.462
    assert table.loc["params", "high"] < 0.534
    assert not result.outside.any()


def test_a_resample_is_the_parabola_of_its_own_runs():
    runs = load_runs("llama3")
    result = isoflop(runs, resamples=30, seed=3)
    again = isoflop(runs, resamples=30, seed=3)
    np.testing.assert_array_equal(result.params, again.params)
    rows = np.flatnonzero(np.abs(runs.flops / result.flops[0] - 1) < 0.15)
    c2, c1, _ = np.polyfit(np.log(runs.params[rows]), runs.loss[rows], 2)
    assert np.log(result.params[0, 0]) == pytest.approx(-c1 / (2 * c2))
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(3)))
    counts = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=30)[7]
    drawn = np.repeat(rows, counts)
    c2, c1, _ = np.polyfit(np.log(runs.params[drawn]), runs.loss[drawn], 2)
    assert np.log(result.params[8, 0]) == pytest.approx(-c1 / (2 * c2))


def test_resamples_without_a_minimum_are_counted():
    runs = load_runs("llama3")
    result = isoflop(runs, resamples=500)
    minima = result.minima()
    assert minima["n_without_minimum"].sum() > 0
    assert not minima[["params", "low", "high"]].isna().any().any()
    assert result.n_failed == 0


def test_both_methods_side_by_side():
    result = isoflop(load_runs("llama3"), resamples=100)
    table = compare_methods(result, spread_sample(50), [1e24, 1e26])
    assert list(table["method"].unique()) == ["isoflop", "parametric"]
    assert len(table) == 2 * (1 + 2 * 2)
    assert (table["low"] <= table["median"]).all()
    assert (table["median"] <= table["high"]).all()
    row = table[(table["method"] == "isoflop") & (table["quantity"] == "params")].iloc[0]
    assert row["estimate"] == pytest.approx(result.optimal(1e24)[0][0, 0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tolerance": 0.0}, UsageError, "tolerance is 0"),
        ({"budgets": [-1.0, 1e20]}, UsageError, "budgets: 1 of 2 not positive and finite"),
        ({"budgets": [1e30, 1e31]}, DataError, "0 budgets have 4 runs"),
        ({"budgets": [1e20]}, DataError, "needs 2"),
        ({"resamples": -1}, UsageError, "resamples"),
    ],
)
def test_what_gives_no_estimate_is_one_line(options, error, message):
    with pytest.raises(error, match=message):
        isoflop(load_runs("llama3"), **{"resamples": 10, **options})
    scattered = load_runs("chinchilla")
    runs = Runs(scattered.params, scattered.tokens, scattered.flops, scattered.loss, name="mine.csv")
    with pytest.raises(DataError, match=r"mine\.csv"):
        isoflop(runs, budgets=[1e30, 1e31])


def test_the_command_line_refuses_before_it_fits():
    assert "'--tolerance': '2' is not a fraction" in refused("isoflop", "--tolerance", "2")
    assert "'--flops': '-1' is not a positive number" in refused("isoflop", "--flops", "-1")
    assert "did you mean 'standard'?" in refused("isoflop", "chinchilla", "--counting", "standart")


# Exponents, how far grids of 15 sizes lie off at the lowest and the highest budget (in factors of 3), and the
# error of the tokens at 1e24 FLOP (%) by the factor that the grids reach each way.
PRINTED = [
    ((0.34, 0.28, 0, 0), {2: -0.326937803732719, 8: -2.902904738135434, 16: -5.100244551712022}),
    ((0.465, 0.155, 0, 0), {2: -1.674747716507073, 8: -13.910418584294648, 16: -23.116308048545221}),
    ((0.31, 0.31, 1, 1), {2: 3.974243556888148, 8: 2.645165430356910, 16: 1.509792259842919}),
    ((0.31, 0.31, 0, 1), {2: 6.070971949665736, 8: 3.697903197519233, 16: 1.689066535602950}),
]


@pytest.mark.parametrize(("shape", "printed"), PRINTED)
def test_the_bias_is_the_published_one(shape, printed):
    """Czech et al. 2026 (arXiv:2603.22339), to the ten digits that the tables of its code print.

    github.com/Open-Athena/scaling-law-analysis, results/article: budgets of 1e17 to 1e21.
    """
    alpha, beta, start, end = shape
    law = ScalingLaw(E=1.69, A=406.4, B=410.7, alpha=alpha, beta=beta)
    budgets = np.geomspace(1e17, 1e21, 5)
    shift = np.linspace(start, end, 5) * np.log(3)
    for factor, error in printed.items():
        grid = np.linspace(-1, 1, 15) * np.log(factor)
        params = np.asarray(law.optimal(budgets)[0])[:, None] * np.exp(grid - shift[:, None])
        flops = np.broadcast_to(budgets[:, None], params.shape)
        tokens = flops / 6 / params
        runs = Runs(
            params.ravel(), tokens.ravel(), flops.ravel(), np.asarray(law.loss(params, tokens)).ravel()
        )
        found = isoflop(runs, resamples=0, extrapolated=True).optimal(1e24)[1][0, 0]
        assert 100 * (found / law.optimal(1e24)[1] - 1) == pytest.approx(error, abs=1e-8)


def other_count(per_token):
    """Nine sizes at each of five budgets, which a table counts as `per_token(params)` N D."""
    law = ScalingLaw(E=1.7, A=400.0, B=400.0, alpha=0.3, beta=0.3)
    flops = np.repeat(np.geomspace(1e18, 1e20, 5), 9)
    params = np.sqrt(flops / 6) / 10**0.5 * np.tile(np.geomspace(1 / 5, 5, 9), 5)
    tokens = flops / per_token(params) / params
    return Runs(params, tokens, flops, np.asarray(law.loss(params, tokens)), name="other.csv")


def test_tokens_are_the_table_s_where_its_compute_is_not_6nd():
    runs = other_count(lambda params: 6.8 * (params / 1e9) ** -0.03)
    result = isoflop(runs, resamples=20)
    for i, rows in enumerate(result.members):
        expected = np.interp(
            np.log(result.params[0, i]), np.log(runs.params[rows]), np.log(runs.tokens[rows])
        )
        assert np.log(result.tokens[0, i]) == pytest.approx(expected, abs=1e-3)
        # The line of ln kappa is exact here; C / (6 N) is 8 to 17% off.
        assert result.flops[i] / (6 * result.params[0, i] * result.tokens[0, i]) > 1.08
    # Straight power laws, and not b = 1 - a.
    slope = np.polyfit(np.log(result.flops), np.log(result.tokens[0]), 1)[0]
    assert result.tokens_exponent[0] == pytest.approx(slope, rel=1e-9)
    assert result.exponents()["estimate"].sum() == pytest.approx(1.0 + 0.03 * result.exponent[0], abs=1e-6)
    params, tokens = result.optimal(result.flops)
    np.testing.assert_allclose(tokens[0] * params[0], result.tokens[0] * result.params[0], rtol=1e-3)
    minima = result.minima()
    np.testing.assert_allclose(minima["tokens_per_param"], result.tokens[0] / result.params[0], rtol=1e-12)


def test_both_methods_are_asked_for_one_budget_however_the_table_counts_it():
    runs = other_count(lambda params: np.full(len(params), 12.0))
    result = isoflop(runs, resamples=20)
    law = ScalingLaw(E=1.7, A=400.0, B=400.0, alpha=0.3, beta=0.3)
    compared = compare_methods(result, LawSample.from_law(law), [1e22]).set_index(["quantity", "method"])
    assert result.cost.as_6nd(1e22) == pytest.approx(5e21, rel=1e-9)
    for quantity in ("params", "tokens_per_param"):
        isoflop_, parametric = (
            compared.loc[(quantity, method), "estimate"] for method in ("isoflop", "parametric")
        )
        assert isoflop_ == pytest.approx(parametric, rel=0.05)
    # Tables of 6 N D keep every bit of their budgets.
    plain = isoflop(other_count(lambda params: np.full(len(params), 6.0)), resamples=2)
    assert plain.cost.is_6nd
    assert plain.exponents()["estimate"].sum() == pytest.approx(1.0, abs=1e-12)


def noisy_surface(seed=0):
    law = ScalingLaw(E=1.7, A=400.0, B=2000.0, alpha=0.34, beta=0.37)
    runs = surface(law, grid=np.linspace(-1.0, 1.0, 7) * np.log(4))
    noise = np.exp(0.005 * np.random.default_rng(seed).standard_normal(len(runs)))
    return Runs(runs.params, runs.tokens, runs.flops, runs.loss * noise)


def test_a_scheme_weights_the_parabolas_as_it_weights_the_runs():
    runs, scheme = noisy_surface(), Bayesian()
    result = isoflop(runs, resamples=5, seed=2, scheme=scheme)
    weights = scheme.completed(len(runs), 5).weights(runs, np.arange(5), 2)
    for i, rows in enumerate(result.members):
        for resample, own in enumerate(weights[:, rows], start=1):
            c2, c1, _ = np.polyfit(np.log(runs.params[rows]), runs.loss[rows], 2, w=np.sqrt(own))
            assert np.log(result.params[resample, i]) == pytest.approx(-c1 / (2 * c2), rel=1e-8)


def test_groups_that_err_together_widen_the_interval_of_the_exponent():
    """Sizes that are too good by a constant: runs drawn one by one know nothing of it."""
    runs = noisy_surface()
    sizes = np.tile(np.arange(7), 4)
    grouped = Runs(runs.params, runs.tokens, runs.flops, runs.loss, groups={"size": sizes})
    by_group = isoflop(grouped, resamples=400, scheme=Cluster(by="size"))
    assert np.isnan(by_group.params[1:]).mean() < 0.2
    weights = Cluster(by="size").weights(grouped, np.arange(400), 0)
    few = np.array([len(np.unique(sizes[row > 0])) < 3 for row in weights])
    assert np.isnan(by_group.params[1:][few]).all()


def test_an_extrapolated_minimum_stays_out_of_the_power_law():
    law = ScalingLaw(E=1.7, A=400.0, B=400.0, alpha=0.3, beta=0.3)
    runs = surface(law)
    clear = isoflop(runs, resamples=0)
    last = runs.flops == BUDGETS[-1]
    beside = last & (runs.params > 2.5 * np.asarray(law.optimal(BUDGETS[-1])[0]))
    kept = runs.take(np.flatnonzero(~last | beside))
    result = isoflop(kept, resamples=0)
    assert list(result.outside) == [False, False, False, True]
    assert list(result.used) == [True, True, True, False]
    assert result.exponent[0] == pytest.approx(clear.exponent[0], abs=1e-6)
    assert isoflop(kept, resamples=0, extrapolated=True).exponent[0] != pytest.approx(0.5, abs=0.01)


def test_the_command_says_how_parabolas_are_resampled_and_what_is_left_out(tmp_path):
    law = ScalingLaw(E=1.7, A=400.0, B=400.0, alpha=0.3, beta=0.3)
    runs = surface(law, grid=np.log([0.3, 1.0, 3.0]))
    rows = [
        f"{n:.17g},{d:.17g},{loss * 1.001**k:.17g}"
        for k in (0, 1, -1)
        for n, d, loss in zip(runs.params, runs.tokens, runs.loss, strict=True)
    ]
    path = tmp_path / "three.csv"
    path.write_text("\n".join(["params,tokens,loss", *rows]) + "\n")
    text = done("isoflop", str(path), "--resamples", "20", "--scheme", "pairs")
    assert "runs drawn within each budget" in text
    assert "a parabola through three sizes" in " ".join(text.split())
    text = done("isoflop", str(path), "--resamples", "20", "--scheme", "bayesian")
    assert "20 resamples, scheme bayesian" in text


def test_a_scheme_that_takes_whole_budgets_leaves_the_minima_an_interval():
    """Weights that are equal within a budget never move its parabola: intervals were of width zero."""
    runs = noisy_surface()
    expected = isoflop(runs, resamples=50, seed=3)
    for concentration in (None, 1.0):
        scheme = Cluster(by="flops", concentration=concentration)
        result = isoflop(runs, resamples=50, seed=3, scheme=scheme)
        assert result.within
        np.testing.assert_array_equal(result.params, expected.params)
    minima = expected.minima()
    assert (minima["low"] < minima["high"]).all()
    assert (np.diff(expected.exponents()[["low", "high"]].to_numpy()) > 0).all()


def test_resamples_that_all_have_one_minimum_give_no_interval():
    """Three sizes, drawn whole: the parabola meets the means of all three whatever their weights."""
    runs = noisy_surface()
    three = [i for i in range(len(runs)) if i % 7 in (0, 3, 6) for _ in range(2)]
    result = isoflop(runs.take(np.array(three)), resamples=50, scheme=Cluster(by="replicates"))
    assert not result.within
    assert result.minima()[["low", "high"]].isna().all(axis=None)


def test_ratios_beyond_float64_are_no_warning(tmp_path):
    law = ScalingLaw(E=0.0, A=20.0, B=60.0, alpha=0.12, beta=0.14)
    result = isoflop(surface(law), resamples=3)
    steep = dataclasses.replace(result, exponent=result.exponent - 7, tokens_exponent=result.exponent + 7)
    assert len(compare_methods(steep, spread_sample(), [1e26]))


def test_the_command_says_that_whole_budgets_are_not_what_it_draws(tmp_path):
    runs = noisy_surface()
    path = tmp_path / "runs.csv"
    rows = np.stack([runs.params, runs.tokens, runs.flops, runs.loss], axis=1)
    np.savetxt(path, rows, delimiter=",", header="params,tokens,flops,loss", comments="", fmt="%.17g")
    text = done("isoflop", str(path), "--resamples", "20", "--cluster", "flops")
    assert "runs drawn within each budget" in text
    assert "whose common errors do not move a minimum" in " ".join(text.split())
