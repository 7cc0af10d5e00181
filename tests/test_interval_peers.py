"""Interval methods against arch, on arch's own draws: of a mean, and of a law fitted to every draw."""

import numpy as np
import pytest
from arch.bootstrap import IIDBootstrap
from test_intervals import runs_with_noise

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.resample_fits import fit_resamples
from chinchilla_jax.intervals import limits as m

REPS = 499
GAMMA = np.random.default_rng(1).gamma(2.0, size=40)


def mean(data):
    return np.array([data.mean()])


def standard_error(estimate, data):
    return np.array([data.std(ddof=0) / np.sqrt(len(data))])


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("method", ["percentile", "basic", "bca", "studentized"])
def test_methods_agree_with_arch_on_the_same_draws(method, level):
    peer = IIDBootstrap(GAMMA, seed=np.random.default_rng(2))
    state = peer.state
    draws = np.array([data[0] for data, _ in peer.bootstrap(REPS)])
    peer.state = state
    options = {"std_err_func": standard_error} if method == "studentized" else {}
    expected = peer.conf_int(mean, REPS, method=method, size=level, **options).ravel()

    replicates, estimate = draws.mean(axis=1)[:, None], mean(GAMMA)
    left_out = np.array([[np.delete(GAMMA, i).mean()] for i in range(len(GAMMA))])
    inner = draws.std(axis=1, ddof=0)[:, None] / np.sqrt(len(GAMMA))
    tail = (1 - level) / 2
    low, high = {
        "percentile": lambda: m.percentile(replicates, tail),
        "basic": lambda: m.basic(replicates, estimate, tail),
        "bca": lambda: m.bca(replicates, estimate, left_out, tail),
        "studentized": lambda: m.studentised(replicates, estimate, inner, tail),
    }[method]()
    found = np.array([low[0], high[0]])
    if method == "studentized":
        # arch divides the variance of the replicates by their number, this library by one less.
        found = estimate + (found - estimate) * np.sqrt((REPS - 1) / REPS)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
def test_a_fitted_exponent_has_the_interval_that_arch_gives_it(method):
    """Draws, bookkeeping and limits are arch's; the library only fits what it is given."""
    runs, reps = runs_with_noise(n=40), 60
    point = cj.fit(runs, starts=16)
    boot = cj.bootstrap(runs, resamples=2, point=point, jackknife=True)

    def alphas(rows):
        weights = np.stack([np.bincount(row, minlength=len(runs)) for row in rows]).astype(np.uint8)
        found = fit_resamples(runs, weights=weights, point=point)
        assert found.converged.all()
        return np.asarray(found.laws.alpha)

    peer = IIDBootstrap(np.arange(len(runs)), seed=np.random.default_rng(5))
    state = peer.state
    rows = [data[0] for data, _ in peer.bootstrap(reps)]
    peer.state = state
    every = np.arange(len(runs))
    left_out = [np.delete(every, i) for i in every]
    # All fits in one batch; arch then asks for them one by one.
    known = [every, *rows, *left_out]
    fitted = dict(zip((row.tobytes() for row in known), alphas(known), strict=True))
    fitted[every.tobytes()] = point.law.alpha
    expected = peer.conf_int(lambda row: np.array([fitted[row.tobytes()]]), reps, method=method, size=0.8)

    replicates = np.array([[fitted[row.tobytes()]] for row in rows])
    estimate = np.array([point.law.alpha])
    jackknife = np.asarray(boot.jackknife.alpha)[:, None]
    low, high = {
        "percentile": lambda: m.percentile(replicates, 0.1),
        "basic": lambda: m.basic(replicates, estimate, 0.1),
        "bca": lambda: m.bca(replicates, estimate, jackknife, 0.1),
    }[method]()
    assert (low[0], high[0]) == pytest.approx(tuple(expected.ravel()), rel=1e-7)
