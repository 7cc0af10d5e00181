"""Certificates on small and awkward tables: what is not determined is never certified, whatever the law."""

import functools

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping import resample_fits
from chinchilla_jax.laws import CHINCHILLA, LAWS, Design, Squared
from chinchilla_jax.laws.design import LARGEST_EXPONENT
from chinchilla_jax.solvers import Problem, SolverOptions, Status, solve
from chinchilla_jax.solvers.batch import Batch
from chinchilla_jax.solvers.certificate import certify, identifiable
from chinchilla_jax.solvers.huber_scale import _mean_abs

WIDE = SolverOptions(wide_start=True)


def table(params, tokens, loss):
    return cj.Runs(params=params, tokens=tokens, loss=loss, flops=6 * params * tokens)


def small(seed, n, noise):
    rng = np.random.default_rng(seed)
    params, tokens = np.exp(rng.uniform(16, 23, n)), np.exp(rng.uniform(20, 26, n))
    loss = 1.7 + 400 * params**-0.34 + 2000 * tokens**-0.37
    return table(params, tokens, loss * np.exp(noise * rng.standard_normal(n)))


def fitted(law, design, objective, weights, starts=32):
    problem = Problem(law=law, design=design, objective=objective)
    return solve(problem, weights, law.starts(design, starts), options=WIDE)


def test_a_bent_law_needs_seven_dimensions_and_not_seven_places():
    """Three sizes by three token counts and one place apart: ten places, where sums have six dimensions."""
    sizes, tokens = np.r_[np.repeat([0, 1, 2], 3), 3, 0], np.r_[np.tile([0, 1, 2], 3), 3, 3]
    params, counts = 10.0 ** (7 + sizes), 10.0 ** (9 + tokens)
    design = Design.from_runs(table(params, counts, 2 + params**-0.3 + counts**-0.3))
    weights = np.ones((2, 11))
    weights[0, 10] = 0
    assert list(identifiable(LAWS["broken"](), design, weights)) == [False, True]


@pytest.mark.parametrize("objective", [cj.Huber(), Squared()], ids=["huber", "squared"])
@pytest.mark.parametrize("others", [0, 9])
def test_two_terms_that_are_one_are_not_certified(objective, others):
    """Twenty tokens a parameter: where both exponents are one, A and B are anything with one sum."""
    rng = np.random.default_rng(2)
    params = np.exp(rng.uniform(16, 23, 8 + others))
    tokens = 20 * params
    tokens[8:] *= np.exp(rng.uniform(-2, 2, others))
    loss = (1.7 + 400 * params**-0.34) * np.exp(0.1 * rng.standard_normal(len(params)))
    design = Design.from_runs(table(params, tokens, loss))
    for _ in range(8):
        weights = 10 ** rng.uniform(-6, 0, (1, len(params)))
        weights[:, 8:] = 0
        found = fitted(CHINCHILLA, design, objective, weights, 64)
        sound = found.status == Status.CONVERGED
        check = certify(design, weights, found.theta[sound], min(objective.down, 10.0))
        assert check.definite.all()


@pytest.mark.parametrize("name", ["chinchilla", pytest.param("fixed_floor", marks=pytest.mark.slow)])
def test_a_vertex_that_ran_off_is_not_certified(name):
    law = LAWS[name]()
    certified = 0
    for seed in (3, 9, 10, *range(20, 28)):
        design = Design.from_runs(small(seed, 8, 0.3))
        found = fitted(law, design, cj.HuberScale(), np.ones((1, 8)))
        sound = found.status == Status.CONVERGED
        certified += sound.sum()
        assert (np.abs(found.theta[sound][:, list(law.exponents)]) <= LARGEST_EXPONENT).all()
    assert certified


def test_a_lane_without_any_weight_is_unidentified_and_warns_of_nothing():
    design = Design.from_runs(small(0, 12, 0.02))
    weights = np.ones((3, 12))
    weights[1], weights[2, 4:] = 0, 0
    for objective in (cj.Huber(), cj.HuberScale(), Squared()):
        found = fitted(CHINCHILLA, design, objective, weights, 3)
        assert list(found.status[1:]) == [Status.UNIDENTIFIED] * 2
        assert not np.isnan(found.objective_value).any()


def test_an_overflow_at_a_run_without_a_weight_does_not_count():
    design = Design.from_runs(small(0, 12, 0.02))
    theta = CHINCHILLA.starts(design, 1)
    theta[0, 3] = 2000.0
    with np.errstate(invalid="raise"):
        weights = np.where(np.isfinite(CHINCHILLA.residuals(theta, design)), 1.0, 0.0)
        assert 0 < weights.sum() < 12
        problem = Problem(law=CHINCHILLA, design=design, objective=cj.HuberScale())
        lanes = Batch.of(problem, weights, len(theta))
        assert np.isfinite(_mean_abs(lanes, theta)).all()


@pytest.mark.slow
def test_a_parameter_beyond_float64_is_not_certified():
    """Losses of tokens alone: alpha_N goes to zero and N_c beyond every number."""
    rng = np.random.default_rng(5)
    params, tokens = np.exp(rng.uniform(16, 23, 16)), np.exp(rng.uniform(20, 26, 16))
    fit = cj.fit(table(params, tokens, 1.7 + 2000 * tokens**-0.37), "kaplan", starts=8, objective="squared")
    assert np.isinf(fit.parameters["N_c"]) and fit.status is Status.UNIDENTIFIED


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["cluster", "wild", "m_out_of_n"])
def test_resamples_have_the_same_bits_in_blocks_of_any_length(monkeypatch, scheme):
    rng = np.random.default_rng(3)
    params, tokens = np.exp(rng.choice(np.linspace(16, 22, 9), 36)), np.exp(rng.uniform(20, 26, 36))
    loss = (1.7 + 480 * params**-0.35 + 2000 * tokens**-0.37) * np.exp(0.01 * rng.standard_normal(36))
    runs = table(params, tokens, loss)
    own = rng.exponential(1, 36)
    own[[3, 7]] = 0
    run = functools.partial(
        cj.bootstrap, runs, "fixed_floor", resamples=4, seed=2, objective=cj.HuberScale(), weights=own,
        scheme=scheme, jackknife=scheme == "cluster",
        point=cj.fit(runs, "fixed_floor", objective=cj.HuberScale(), weights=own, starts=16),
    )  # fmt: skip
    whole = run()
    monkeypatch.setattr(resample_fits, "_LEAST_BLOCK", 1)
    monkeypatch.setattr(resample_fits, "_MOST_BLOCK", 3)
    parts = run()
    for field in ("theta", "objective_value", "decrement", "status", "steps"):
        assert np.array_equal(getattr(whole.solution, field), getattr(parts.solution, field)), field


def test_many_laws_are_indexed_by_the_axes_that_they_have():
    design = Design.from_runs(small(0, 12, 0.02))
    law = LAWS["fixed_floor"]()
    laws = law.fitted(law.starts(design, 6).reshape(2, 3, 4), design)
    assert laws[:, 1].shape == (2,) and laws[..., 0].shape == (2,) and laws[None].shape == (1, 2, 3)
    assert np.array_equal(laws[1, 2].theta, laws.theta[1, 2])
    assert laws[np.array([[True, False, True], [False, False, True]])].shape == (3,)
    for index in ((0, 1, 2), (slice(None), slice(None), 0)):
        with pytest.raises(IndexError):
            laws[index]
    with pytest.raises(cj.UsageError, match="do not broadcast"):
        laws.loss([1e9, 2e9], [1e10, 2e10, 3e10])


@pytest.mark.parametrize("n_runs", [12, 1200])
def test_lanes_are_certified_alike_in_chunks_and_alone(n_runs):
    """A table of 1,200 runs takes 40 lanes in three chunks, one of 12 in one."""
    rng = np.random.default_rng(5)
    design = Design.from_runs(small(5, n_runs, 0.01))
    weights = rng.poisson(1.0, (40, n_runs)).astype(np.uint8)
    theta = CHINCHILLA.starts(design, 40) + 0.1 * rng.standard_normal((40, 5))
    found = certify(design, weights, theta, 1e-3)
    alone = [certify(design, weights[i : i + 1], theta[i : i + 1], 1e-3) for i in range(40)]
    for name, values in vars(found).items():
        expected = np.concatenate([getattr(each, name) for each in alone])
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-12, err_msg=name)
