"""Interval methods, schemes and quantities against SciPy, brute force, closed forms and least-squares
theory."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import Problem, to_logs
from scipy import stats

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.schemes import SCHEMES, Cluster, DeleteD, MOutOfN
from chinchilla_jax.bootstrapping.weights import inner_weights, resample_weights
from chinchilla_jax.intervals import (
    BOOTSTRAP_METHODS,
    Quantity,
    Replicates,
    exponent_quantities,
    interval_table,
    loss_quantities,
    parameter_table,
    prescription_quantities,
    summaries,
    tokens_per_param_band,
)
from chinchilla_jax.intervals import limits as m
from chinchilla_jax.intervals.quantiles import low_median_high, quantiles, quantiles_of_known
from chinchilla_jax.laws import STANDARD
from chinchilla_jax.laws.objectives import huber_location
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw

TRUTH = ScalingLaw(E=1.8, A=480.0, B=2000.0, alpha=0.35, beta=0.37)


def runs_with_noise(n=120, noise=0.01, seed=0):
    r = np.random.default_rng(seed)
    params, tokens = 10 ** r.uniform(7.5, 10, n), 10 ** r.uniform(9, 11.5, n)
    loss = TRUTH.loss(params, tokens) * np.exp(noise * r.normal(size=n))
    return cj.Runs(params, tokens, 6 * params * tokens, loss, name="made")


def laws_about(n=400, seed=0):
    r = np.random.default_rng(seed)
    alpha, beta = 0.35 + 0.015 * r.normal(size=n), 0.37 + 0.02 * r.normal(size=n)
    return ScalingLaw(
        E=1.8 + 0.02 * r.normal(size=n),
        A=480 * np.exp(17 * (alpha - 0.35)),
        B=2000 * np.exp(22 * (beta - 0.37)),
        alpha=alpha,
        beta=beta,
    )


def replicates(n=400, **more):
    return Replicates(laws=laws_about(n), counted=np.ones(n, bool), point=TRUTH, **more)


# --- methods on arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("method", ["percentile", "basic", "BCa"])
def test_methods_agree_with_scipy(method, level):
    data = np.random.default_rng(1).gamma(2.0, size=40)
    found = stats.bootstrap(
        (data,), np.mean, method=method, confidence_level=level, n_resamples=999, rng=np.random.default_rng(2)
    )
    replicated = found.bootstrap_distribution[:, None]
    left_out = np.array([[np.delete(data, i).mean()] for i in range(len(data))])
    estimate, tail = np.array([data.mean()]), (1 - level) / 2
    limits = {
        "percentile": lambda: m.percentile(replicated, tail),
        "basic": lambda: m.basic(replicated, estimate, tail),
        "BCa": lambda: m.bca(replicated, estimate, left_out, tail),
    }[method]()
    assert (limits[0][0], limits[1][0]) == pytest.approx(tuple(found.confidence_interval), rel=1e-12)


def test_studentised_is_the_t_interval_of_a_normal_mean():
    # With normal data the studentised mean has Student's t; its bootstrap must come near on 25 observations.
    r = np.random.default_rng(3)
    lows, highs, exact = [], [], []
    for _ in range(40):
        data = r.normal(size=25)
        drawn = data[r.integers(0, 25, (2000, 25))]
        inner_se = drawn.std(axis=1, ddof=0) / 5.0
        low, high = m.studentised(
            drawn.mean(axis=1)[:, None], data.mean(keepdims=True), inner_se[:, None], 0.05
        )
        lows.append(low[0]), highs.append(high[0])
        exact.append(stats.t.interval(0.9, 24, data.mean(), data.std(ddof=1) / 5.0))
    assert np.mean(lows) == pytest.approx(np.mean([e[0] for e in exact]), abs=0.03)
    assert np.mean(highs) == pytest.approx(np.mean([e[1] for e in exact]), abs=0.03)


@given(
    hnp.arrays(float, st.integers(2, 40), elements=st.floats(-1e6, 1e6)),
    st.sampled_from([0.5, 0.8, 0.95]),
)
def test_highest_density_is_the_shortest_interval(values, level):
    (low,), (high,) = m.highest_density(values[:, None], (1 - level) / 2)
    ordered, inside = np.sort(values), int(np.ceil(round(level * (len(values) - 1), 9)))
    shortest = min(ordered[i + inside] - ordered[i] for i in range(len(values) - inside))
    assert high - low == shortest
    assert np.sum((values >= low) & (values <= high)) >= inside + 1


def test_a_simultaneous_band_holds_whole_curves():
    r = np.random.default_rng(4)
    curves = r.normal(size=(2000, 1)) + np.linspace(-3, 3, 15) * r.normal(size=(2000, 1))
    tail = m.simultaneous_tail(curves, 0.1)
    low, high = m.percentile(curves, tail)
    inside = np.mean(((curves >= low) & (curves <= high)).all(axis=1))
    assert 0.8 <= inside <= 0.805
    assert tail < 0.1
    # One place is no more than a pointwise interval.
    assert m.simultaneous_tail(curves[:, :1], 0.1) == pytest.approx(0.1, abs=1e-3)


def test_failed_and_infinite_replicates():
    values = np.array([[1.0, np.nan], [np.inf, 2.0], [np.inf, 3.0], [0.0, np.nan]])
    low, high = m.percentile(values, 0.1)
    assert high[0] == np.inf and low[0] < 1.0
    assert (low[1], high[1]) == pytest.approx((2.1, 2.9))
    assert m.standard_errors(values) == pytest.approx(
        [np.std([1.0, 0.0], ddof=1), np.std([2.0, 3.0], ddof=1)]
    )
    # All resamples above the estimate: there is no bias correction, and no number is made up.
    assert np.isnan(m.bca(np.ones((5, 1)), np.zeros(1), np.arange(3.0)[:, None], 0.1)).all()


# --- the table ----------------------------------------------------------------------------------------------


def test_every_quantity_has_its_closed_form():
    flops, place = 5.76e23, (7e10, 1.4e12)
    table = interval_table(
        replicates(),
        [*exponent_quantities(), *prescription_quantities(flops), *loss_quantities([place])],
    ).set_index("quantity")
    a, b = 0.37 / 0.72, 0.35 / 0.72
    g = (0.35 * 480 / (0.37 * 2000)) ** (1 / 0.72)
    n_opt = g * (flops / 6) ** a
    expected = {
        "exponent_a": a,
        "exponent_b": b,
        "ratio_slope": b - a,
        "optimal_params": n_opt,
        "optimal_tokens": flops / 6 / n_opt,
        "tokens_per_param": flops / 6 / n_opt**2,
        "loss": 1.8 + 480 / place[0] ** 0.35 + 2000 / place[1] ** 0.37,
    }
    assert dict(table["estimate"]) == pytest.approx(expected, rel=1e-12)
    assert (table["low"] < table["estimate"]).all() and (table["estimate"] < table["high"]).all()


def test_tables_agree_with_those_of_a_study():
    boot = replicates()
    flops = [1e20, 1e24]
    for method in ("percentile", "gaussian"):
        band = tokens_per_param_band(boot.laws, flops, 0.8, method, TRUTH)
        table = interval_table(boot, prescription_quantities(flops, ["tokens_per_param"]), methods=[method])
        # The study interpolates between ratios, this table between their logarithms.
        for limit in ("low", "high"):
            assert table[limit].to_numpy() == pytest.approx(band[limit].to_numpy(), rel=1e-3)
        params = interval_table(boot, methods=[method]).rename(columns={"quantity": "parameter"})
        expected = parameter_table(boot.laws, boot.counted, TRUTH, 0.8, method)
        rel = 1e-9 if method == "gaussian" else 1e-3
        for column in ("estimate", "standard_error", "low", "high"):
            assert params[column].to_numpy() == pytest.approx(expected[column].to_numpy(), rel=rel)


def test_the_published_mix_needs_its_own_point_and_uses_it():
    with pytest.raises(cj.UsageError, match="mixes two estimators"):
        interval_table(replicates(), methods=["besiroglu2024"])
    other = ScalingLaw(E=1.7, A=400.0, B=2100.0, alpha=0.34, beta=0.36)
    table = interval_table(replicates(huber_scale_point=other), methods=["gaussian", "besiroglu2024"])
    estimates = table.set_index(["method", "quantity"])["estimate"]
    assert estimates["besiroglu2024", "alpha"] == 0.34
    assert estimates["gaussian", "alpha"] == 0.35


def test_failed_lanes_are_left_out_and_counted():
    boot = replicates()
    good = np.arange(400) % 4 != 0
    fields = {name: np.where(good, getattr(boot.laws, name), np.nan) for name in PARAMETERS}
    found = interval_table(
        Replicates(laws=ScalingLaw(**fields), counted=good, point=TRUTH), methods=["percentile", "gaussian"]
    )
    expected = interval_table(
        Replicates(laws=boot.laws[good], counted=np.ones(good.sum(), bool), point=TRUTH),
        methods=["percentile", "gaussian"],
    )
    assert (found["n_failed"] == 100).all() and (found["n_converged"] == 300).all()
    columns = ["estimate", "standard_error", "low", "high"]
    assert found[columns].to_numpy() == pytest.approx(expected[columns].to_numpy(), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ["bcaa"]}, "did you mean 'bca'"),
        ({"methods": ["bca"]}, "jackknife=True"),
        ({"methods": ["studentised"]}, "inner=50"),
        ({"levels": [80]}, "not a probability"),
        ({"quantities": []}, "one or more Quantity"),
        ({"levels": []}, "one or more of both"),
        ({"methods": []}, "one or more of both"),
    ],
)
def test_what_cannot_be_asked_for(arguments, message):
    with pytest.raises(cj.UsageError, match=message):
        interval_table(replicates(), **arguments)


@given(st.sampled_from(["alpha", "loss", "tokens_per_param", "speed"]), st.floats(allow_nan=True))
def test_a_quantity_is_whole_or_refused(name, flops):
    try:
        scaled = Quantity(name=name, flops=flops).scaled(TRUTH)
    except cj.UsageError as error:
        assert "\n" not in str(error)
    else:
        assert (name == "tokens_per_param" and flops > 0) or (name == "alpha" and np.isnan(flops))
        assert np.isfinite(scaled)


# --- laws of another kind -----------------------------------------------------------------------------------


class Renamed:
    """The five-parameter law under other names, whose optimum is not known to be a power of compute."""

    names: ClassVar = dict(zip(PARAMETERS, ("floor", "N_c", "D_c", "a", "b"), strict=True))

    def __init__(self, law):
        self.law = law

    shape = property(lambda self: self.law.shape)
    __len__ = lambda self: len(self.law)  # noqa: E731
    __getitem__ = lambda self, index: Renamed(self.law[index])  # noqa: E731
    as_dict = lambda self: {self.names[k]: v for k, v in self.law.as_dict().items()}  # noqa: E731
    where = lambda self, kept: Renamed(self.law.where(kept))  # noqa: E731
    loss = lambda self, params, tokens: self.law.loss(params, tokens)  # noqa: E731
    optimal = lambda self, flops: self.law.optimal(flops)  # noqa: E731
    tokens_per_param = lambda self, flops: self.law.tokens_per_param(flops)  # noqa: E731
    log_ratio_line = lambda self: None  # noqa: E731


def with_edges(laws):
    """The same laws; some prescribe no parameters, some no tokens, some nothing, some are missing."""
    rank = np.arange(len(laws))
    alpha = np.where(rank % 50 == 1, -laws.alpha, laws.alpha)
    beta = np.where(rank % 60 == 1, -laws.beta, laws.beta)
    return ScalingLaw(E=laws.E, A=np.where(rank % 90 == 5, np.nan, laws.A), B=laws.B, alpha=alpha, beta=beta)


@pytest.mark.parametrize("laws", [laws_about(), with_edges(laws_about())], ids=["plain", "edges"])
def test_laws_of_another_kind_have_the_same_intervals(laws):
    converged = np.arange(400) % 9 > 0
    known = Replicates(laws=laws, counted=converged, point=TRUTH, jackknife=laws[:40])
    other = Replicates(
        laws=Renamed(laws), counted=converged, point=Renamed(TRUTH), jackknife=Renamed(laws[:40])
    )
    methods, flops = ["percentile", "basic", "bca", "highest_density"], [1e20, 1e24]
    derived = [*prescription_quantities(flops), *loss_quantities([(1e9, 1e11)])]
    numbers = ["estimate", "standard_error", "low", "high", "n_converged", "n_failed"]
    for simultaneous in (False, True):
        table, expected = (
            interval_table(each, derived, methods=methods, simultaneous=simultaneous)
            for each in (other, known)
        )
        assert table[numbers].to_numpy() == pytest.approx(
            expected[numbers].to_numpy(), rel=1e-11, nan_ok=True
        )
    table = parameter_table(other.laws, converged, other.point, 0.8, "gaussian")
    expected = parameter_table(laws, converged, TRUTH, 0.8, "gaussian")
    assert table["parameter"].tolist() == list(Renamed.names.values())
    assert table[numbers].to_numpy() == pytest.approx(expected[numbers].to_numpy(), rel=1e-12)
    for level in (0.5, 0.8):
        band = tokens_per_param_band(other.laws, flops, level, counted=converged)
        expected = tokens_per_param_band(laws, flops, level, counted=converged)
        assert band.attrs == expected.attrs
        limits = ["low", "median", "high"]
        assert band[limits].to_numpy() == pytest.approx(expected[limits].to_numpy(), rel=1e-11)


def test_a_normal_of_laws_that_cannot_be_drawn_is_that_of_the_quantity():
    other = Replicates(laws=Renamed(laws_about()), counted=np.ones(400, bool), point=Renamed(TRUTH))
    row = interval_table(other, prescription_quantities(1e22, ["tokens_per_param"]), methods=["gaussian"])
    logs = np.log(laws_about().tokens_per_param(1e22))
    expected = stats.lognorm(s=logs.std(ddof=1), scale=TRUTH.tokens_per_param(1e22)).interval(0.8)
    assert tuple(row.loc[0, ["low", "high"]]) == pytest.approx(expected, rel=1e-9)
    columns, _ = summaries.tokens_per_param_columns(other, [1e22], 0.8, "gaussian")
    assert (columns["low"][0], columns["high"][0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("law", [name for name in STANDARD if name != "chinchilla"])
def test_every_law_has_every_interval(law):
    runs = runs_with_noise(noise=0.003)
    boot = cj.bootstrap(runs, law, resamples=30, jackknife=True)
    methods, flops, place = ["percentile", "basic", "bca", "gaussian"], [1e20, 1e22], (1e9, 1e11)
    table = boot.intervals(flops=flops, places=[place], methods=methods)
    assert set(boot.point.parameters) <= set(table["quantity"])
    found = table[table["method"] == "percentile"].set_index(["quantity", "flops"])
    kept = boot.laws[boot.counted]
    for quantity, values in {
        ("tokens_per_param", 1e22): kept.tokens_per_param(1e22),
        ("optimal_params", 1e20): kept.optimal(1e20)[0],
        ("loss", np.nan): kept.loss(*place),
        **{(name, np.nan): values for name, values in kept.as_dict().items()},
    }.items():
        row = found.loc[[quantity]].iloc[0]
        for limit, share in (("low", 0.1), ("high", 0.9)):
            # Between the same two resamples as NumPy's; counts and coefficients are interpolated in logs.
            below, above = (np.quantile(values, share, method=side) for side in ("lower", "higher"))
            assert below * (1 - 1e-12) <= row[limit] <= above * (1 + 1e-12)
    for method in methods:
        band = boot.tokens_per_param(flops, method=method)
        limits = table[(table["method"] == method) & (table["quantity"] == "tokens_per_param")]
        assert band["low"].to_numpy() == pytest.approx(limits["low"].to_numpy(), rel=0.2)
    assert boot.interval(method="gaussian")["parameter"].tolist() == list(boot.point.parameters)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda laws: tokens_per_param_band(laws, method="gaussian", point_law=Renamed(TRUTH)), "floor, N_c"),
        (lambda laws: parameter_table(laws, np.ones(400, bool), TRUTH), "point fit of the same law"),
        (
            lambda laws: Replicates(laws=laws, counted=np.ones(400, bool), point=TRUTH),
            "point fit of the same law",
        ),
        (lambda laws: Quantity(name="exponent_a").scaled(laws), "not a power of compute"),
        (lambda laws: Quantity(name="alpha").scaled(laws), "allowed: floor, N_c, D_c, a, b"),
    ],
)
def test_what_laws_of_another_kind_do_not_have(call, message):
    with pytest.raises(cj.UsageError, match=message):
        call(Renamed(laws_about()))


@given(
    hnp.arrays(float, st.integers(1, 30), elements=st.floats(allow_nan=False)),
    st.floats(0, 1),
    st.integers(0, 5),
)
@example(np.array([np.inf]), 0.0, 0)
def test_quantiles_are_ordered_values_or_between_them(values, probability, missing):
    columns = np.concatenate([values, np.full(missing, np.nan)])[:, None]
    found, largest = quantiles_of_known(columns, (probability, 1.0))[:, 0]
    place, ordered = probability * (values.size - 1), np.sort(values)
    left, right = ordered[int(place)], ordered[min(int(place) + 1, values.size - 1)]
    with np.errstate(over="ignore", invalid="ignore"):
        rounding = np.nan_to_num(4 * np.finfo(float).eps * max(abs(left), abs(right)), posinf=0.0)
        assert left - rounding <= found <= right + rounding
    assert largest == ordered[-1]
    if (abs(values) < 1e300).all():
        assert found == pytest.approx(np.quantile(values, probability), rel=1e-12, abs=rounding)


# --- schemes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SCHEMES if name not in ("jackknife", "residual", "wild")])
def test_weights_depend_on_the_id_and_the_seed_alone(name):
    runs, scheme = runs_with_noise(30), SCHEMES[name]()
    every = scheme.weights(runs, np.arange(50), 5)
    some = scheme.weights(runs, np.array([49, 3]), 5)
    assert np.array_equal(some, every[[49, 3]])
    assert not np.array_equal(scheme.weights(runs, np.arange(50), 6), every)
    assert (every >= 0).all()


def test_moments_of_the_weights():
    runs, ids = runs_with_noise(30), np.arange(20000)
    bayesian = SCHEMES["bayesian"]().weights(runs, ids, 0)
    assert bayesian.sum(axis=1) == pytest.approx(30)
    assert bayesian.mean(axis=0) == pytest.approx(1, abs=0.04)
    assert bayesian.var(axis=0).mean() == pytest.approx(29 / 31, rel=0.02)  # of n Dirichlet(1, ..., 1)
    few = SCHEMES["bayesian"](concentration=0.5).weights(runs, ids, 0)
    assert few.sum(axis=1) == pytest.approx(30)
    assert few.var(axis=0).mean() == pytest.approx(29 / 16, rel=0.03)  # of n Dirichlet(1/2, ..., 1/2)
    # Each weight is Beta(c, (n - 1) c).
    assert stats.kstest(few[:, 4] / 30, stats.beta(0.5, 14.5).cdf).pvalue > 1e-3
    assert (MOutOfN(m=8).weights(runs, ids, 0).sum(axis=1) == 8).all()
    left_out = 1 - DeleteD(d=4).weights(runs, ids, 0)
    assert (left_out.sum(axis=1) == 4).all()
    assert left_out.mean(axis=0) == pytest.approx(4 / 30, abs=0.01)


def test_clusters_are_drawn_whole():
    runs = cj.load_runs("chinchilla", params="standard")
    members = Cluster().members(runs)
    # One model, one cluster; digitised budgets of one IsoFLOP curve of the second table too.
    for size in np.unique(runs.params):
        assert np.unique(members[runs.params == size]).size == 1
    weights = Cluster().weights(runs, np.arange(400), 0)
    for cluster in np.unique(members):
        assert (weights[:, members == cluster] == weights[:, members == cluster][:, :1]).all()
    assert (weights[:, np.unique(members, return_index=True)[1]].sum(axis=1) == members.max() + 1).all()
    assert np.array_equal(
        Cluster(labels=runs.params).members(runs), np.unique(runs.params, return_inverse=True)[1]
    )
    assert np.unique(Cluster(by="flops").members(cj.load_runs("llama3"))).size == 10
    with pytest.raises(cj.UsageError, match="one cluster"):
        Cluster(gap=100.0).weights(runs, np.arange(2), 0)


def test_inner_resamples_are_resamples_of_the_resample():
    weights = resample_weights(20, np.arange(30), 0)
    nested = inner_weights(weights, np.arange(30), 200, 0)
    assert (nested.sum(axis=2) == 20).all()
    assert not nested[np.broadcast_to((weights == 0)[:, None, :], nested.shape)].any()
    # Given the resample, counts are multinomial: their mean is the resample's own counts.
    assert nested.mean(axis=1) == pytest.approx(weights, abs=0.6)
    assert nested.mean() == pytest.approx(1)
    fewer = inner_weights(weights[7:9], np.array([7, 8]), 5, 0)
    assert np.array_equal(fewer, nested[7:9, :5])


@given(hnp.arrays(float, st.integers(1, 30), elements=st.floats(-1, 1)), st.floats(1e-4, 2))
def test_huber_location_balances_the_influence(values, delta):
    centre = huber_location(values, delta)
    psi = lambda shift: np.clip(values - centre - shift, -delta, delta).sum()  # noqa: E731
    assert psi(-1e-9) >= -1e-7 and psi(1e-9) <= 1e-7


# --- whole bootstraps ---------------------------------------------------------------------------------------

LEAST_SQUARES = cj.Huber(delta=10.0)  # every residual lies in the quadratic zone


def classical_errors(runs):
    """Standard errors of (E, ln A, ln B, alpha, beta) by (J'J)^-1 s^2, at the truth."""
    n, d = np.log(runs.params), np.log(runs.tokens)
    terms = np.array([480 * np.exp(-0.35 * n), 2000 * np.exp(-0.37 * d), np.full(n.size, 1.8)])
    loss = terms.sum(axis=0)
    jacobian = np.stack(
        [1 / loss, terms[0] / loss, terms[1] / loss, -n * terms[0] / loss, -d * terms[1] / loss]
    )
    residual = np.log(runs.loss) - np.log(loss)
    variance = residual @ residual / len(runs)
    scale = np.linalg.norm(jacobian, axis=1)
    inverse = np.linalg.inv((jacobian / scale[:, None]) @ (jacobian / scale[:, None]).T)
    return np.sqrt(variance * np.diag(inverse)) / scale


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_every_scheme_has_the_standard_errors_of_least_squares(scheme):
    # Independent errors of one law and no misfit: every scheme estimates the same covariance. `m_out_of_n`
    # and `cluster` (120 sizes here, so pairs by another stream) included, by their factors.
    runs = runs_with_noise(noise=0.002)
    chosen = (
        MOutOfN(m=80)
        if scheme == "m_out_of_n"
        else Cluster(labels=np.arange(120))
        if scheme == "cluster"
        else scheme
    )
    point = cj.fit(runs, objective=LEAST_SQUARES, starts=16)
    boot = cj.bootstrap(runs, resamples=300, scheme=chosen, objective=LEAST_SQUARES, point=point)
    assert boot.counted.all()
    table = boot.standard_errors().set_index("parameter")["standard_error"]
    found = [
        table["E"],
        table["A"] / boot.point.law.A,
        table["B"] / boot.point.law.B,
        table["alpha"],
        table["beta"],
    ]
    # 300 resamples leave 4%, the sandwich of 120 pairs some more.
    assert np.array(found) == pytest.approx(classical_errors(runs), rel=0.25)


def test_bca_and_studentised_through_the_front_door():
    runs = runs_with_noise()
    # The reference has this delta.
    boot = cj.bootstrap(runs, resamples=120, delta=1e-3, jackknife=True, inner=4, seed=3)
    plain = cj.bootstrap(runs, resamples=120, delta=1e-3, seed=3)
    assert np.asarray(boot.laws.alpha) == pytest.approx(plain.laws.alpha, rel=1e-7)
    assert boot.jackknife.shape == (120,) and boot.inner.shape == (120, 4)
    # A lane of the jackknife is the fit of the runs without that one.
    kept = np.arange(120) != 7
    without = Problem(runs.params[kept], runs.tokens[kept], runs.loss[kept], np.ones(119))
    assert boot.jackknife.alpha[7] == pytest.approx(without.fit(to_logs(boot.point.law))[3], rel=1e-4)
    table = boot.intervals(flops=[1e20, 1e22], methods=BOOTSTRAP_METHODS)
    assert len(table) == 6 * (8 + 3 * 2)
    assert (table["low"] < table["high"]).all()
    assert list(boot.tokens_per_param([1e20], method="bca").columns) == list(
        plain.tokens_per_param([1e20]).columns
    )
    wide = boot.intervals(flops=[1e19, 1e21, 1e23], simultaneous=True)
    narrow = boot.intervals(flops=[1e19, 1e21, 1e23])
    ratio = narrow["quantity"] == "tokens_per_param"
    assert (wide["low"] <= narrow["low"])[ratio].all() and (wide["high"] >= narrow["high"])[ratio].all()
    single = narrow["flops"].isna()
    assert wide["low"][single].equals(narrow["low"][single])


@pytest.mark.parametrize("method", ["percentile", "gaussian", "basic", "bca"])
def test_columns_are_those_of_the_frames(method):
    boot = cj.bootstrap(runs_with_noise(), resamples=60, jackknife=True)
    columns, frame = boot.parameter_columns(0.9, method), boot.interval(0.9, method)
    assert columns["standard_error"] == boot.standard_errors()["standard_error"].tolist()
    assert {name: columns[name] for name in frame} == frame.to_dict("list")
    columns, counts = boot.tokens_per_param_columns([1e20, 1e24], 0.9, method)
    frame = boot.tokens_per_param([1e20, 1e24], 0.9, method)
    assert columns == frame.to_dict("list")
    assert counts == frame.attrs and counts["n_converged"] + counts["n_failed"] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheme": "pair"}, "did you mean 'pairs'"),
        ({"scheme": "wild", "jackknife": True}, "no jackknife beside it"),
        ({"scheme": "bayesian", "inner": 10}, "no resamples of resamples"),
        ({"inner": 1}, "2 to 4096"),
        ({"scheme": DeleteD(d=116)}, "leaves 4 of 120"),
    ],
)
def test_schemes_that_cannot_be(arguments, message):
    with pytest.raises(cj.UsageError, match=message):
        cj.bootstrap(runs_with_noise(), resamples=4, **arguments)


def test_a_jackknife_has_no_quantiles():
    boot = cj.bootstrap(runs_with_noise(), scheme="jackknife")
    assert len(boot.status) == 120
    with pytest.raises(cj.UsageError, match="use 'gaussian'"):
        boot.interval()
    assert (boot.interval(method="gaussian")["low"] < boot.point.law.alpha).any()


def test_more_draws_than_runs_are_refused():
    with pytest.raises(cj.UsageError, match="m = 6000 of 240 runs"):
        cj.bootstrap(cj.load_runs("chinchilla"), resamples=4, scheme=MOutOfN(m=6000))


def test_a_quantity_is_equal_to_another_with_its_name_and_places():
    assert Quantity(name="E", flops=float("nan")) == Quantity(name="E")
    assert len({Quantity(name="E"), Quantity(name="E", flops=np.float64("nan")), Quantity(name="A")}) == 2
    assert Quantity(name="tokens_per_param", flops=1e22) != Quantity(name="tokens_per_param", flops=1e23)


numbers = st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf, 0.0])


@given(st.lists(st.lists(numbers, min_size=7, max_size=7), min_size=1, max_size=5), st.floats(0.05, 0.95))
def test_limits_are_the_quantiles_of_what_is_known(rows, level):
    draws = np.array(rows).T
    found = low_median_high(draws, level)
    for limits, row in zip(found.T, draws.T, strict=True):
        known = row[~np.isnan(row)]
        expected = (
            quantiles(known, ((1 - level) / 2, 0.5, (1 + level) / 2)) if len(known) else np.full(3, np.nan)
        )
        np.testing.assert_allclose(limits, expected, rtol=1e-12)
    np.testing.assert_array_equal(low_median_high(draws[:, None], level), found[:, None])


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["repeated", "sorted", "ties", "infinite", "known"]),
    level=st.floats(0.0, 1.0),
)
@example(seed=0, kind="repeated", level=0.8)
@example(seed=0, kind="sorted", level=0.8)
def test_quantiles_of_many_values_are_those_of_all_of_them_in_order(seed, kind, level):
    """Ranks are looked for by a sample of the values; where it misleads, among all of them."""
    r = np.random.default_rng(seed)
    values = np.resize(r.standard_normal((400, 2)), (9000, 2)) + r.standard_normal((9000, 1))
    if kind == "sorted":
        values.sort(axis=0)
    elif kind == "ties":
        values = values.round(1)
    elif kind == "infinite":
        values[r.random(values.shape) < 0.3] = np.inf
    elif kind == "known":
        values[0] = np.nan
    probabilities = ((1 - level) / 2, 0.5, (1 + level) / 2)
    expected = np.stack([quantiles(each[~np.isnan(each)], probabilities) for each in values.T], axis=1)
    np.testing.assert_array_equal(quantiles_of_known(values, probabilities), expected)


def test_limits_of_a_quantity_do_not_depend_on_the_others():
    made = replicates(jackknife=laws_about(40, seed=1))
    asked = [*exponent_quantities(), *prescription_quantities([1e21, 1e24]), *loss_quantities([(1e9, 2e10)])]
    asked += [Quantity(name=name) for name in PARAMETERS]
    few = {"levels": (0.8, 0.95), "methods": ("percentile", "basic", "bca", "gaussian", "highest_density")}
    table = interval_table(made, asked, **few)
    for place, quantity in enumerate(asked):
        alone = interval_table(made, [quantity], **few)
        together = table.iloc[place :: len(asked)].reset_index(drop=True)
        pd.testing.assert_frame_equal(together[["low", "high"]], alone[["low", "high"]], check_exact=True)
