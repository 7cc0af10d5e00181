"""The kernel for CPUs: its arithmetic against NumPy, its results against slower ways to them."""

import functools
import os
from unittest import mock

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from solving import solve_design

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.bootstrapping.random_bits import random_bits, random_counts
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.datasets import Runs, load_runs
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.perturbations import Additive, LogNormalNoise
from chinchilla_jax.solvers import SolverOptions, Status
from chinchilla_jax.solvers.certificate import certify, derivatives
from chinchilla_jax.solvers.engine_choice import VARIABLE
from chinchilla_jax.solvers.lane_kernel import (
    algebra,
    elementary,
    line_search,
    passes,
)
from chinchilla_jax.solvers.lane_kernel.engine import _scratch
from chinchilla_jax.solvers.lane_kernel.shapes import (
    BLOCK,
    CACHE_LINE,
    FORM,
    MODIFY,
    N_SYSTEMS,
    PAD,
    ROW,
    SHIFT,
    SOLUTION,
    SOUND,
    WIDE,
)
from chinchilla_jax.solvers.thresholds import CLOSE_ENOUGH, LONGEST, PROBES

HUBER = Huber()
THETA = np.array([-0.6, -0.5, 1.8, 0.3, 0.4])
LOWER = np.tril_indices(5)


@njit
def powers(x, found):
    for i in range(len(x)):
        found[i] = elementary.exp2(x[i])


@njit
def logs(x, found):
    for i in range(len(x)):
        found[i] = elementary.log(x[i])


@njit
def log_ratios(x, y, found):
    for i in range(len(x)):
        found[i] = elementary.log_ratio(x[i], y[i])


@njit
def sums_of(columns, weights, index, theta, width, runs, runs32, sums, sums32):
    count = passes.pack(columns, weights, index, runs, runs32)
    passes.evaluate(theta, runs32, count)
    passes.moments(runs32, count, width, sums32)
    passes.evaluate(theta, runs, count)
    passes.moments(runs, count, width, sums)
    return count


@njit
def slopes_along(step, lengths, runs, count, width):
    return passes.slopes(step, lengths[:2], runs, count, width), passes.more_slopes(
        lengths[2:], runs, count, width
    )


@njit
def searched(columns, weights, theta, step, slope, form, width, index, runs, runs32):
    count = passes.pack(columns, weights, index, runs, runs32)
    passes.evaluate(theta, runs, count)
    passes.evaluate(theta, runs32, count)
    length = line_search.step_length(slope, form, step, runs, count, width)
    return length, line_search.step_length(slope, form, step, runs32, count, width)


@njit
def advanced(columns, weights, index, theta, change, runs, runs32):
    count = passes.pack(columns, weights, index, runs, runs32)
    passes.evaluate(theta, runs, count)
    return passes.advance(change, runs, count)


@njit
def solved(matrix, right, systems):
    algebra.solve(matrix, right, systems)


def of_size(n_runs, seed=0):
    rng = np.random.default_rng(seed)
    law = ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
    params, tokens = 10 ** rng.uniform([7.5, 9.0], [10.2, 11.8], (n_runs, 2)).T
    loss = law.loss(params, tokens) * np.exp(0.005 * rng.standard_t(3, n_runs))
    return Runs(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)


@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 1000), (np.float32, 124)])
def test_powers_of_two_and_logarithms_are_right_to_the_last_places(dtype, most):
    x = np.random.default_rng(0).uniform(-most, most, 100_000).astype(dtype)
    x[:5] = 0.0, 0.5, -0.5, 1.5, -2.5
    found = np.empty_like(x)
    powers(x, found)
    expected = np.exp2(x.astype(np.longdouble))
    assert np.abs(found / expected - 1).max() <= 2 * np.finfo(dtype).eps
    positive = np.exp2(x.astype(np.float64) / 4).astype(dtype)
    logs(positive, found)
    expected = np.log(positive.astype(np.longdouble))
    # Next to 1 the logarithm is small, and its error is one of the argument.
    assert (np.abs(found - expected) <= 2 * np.finfo(dtype).eps * np.maximum(np.abs(expected), 0.35)).all()


def test_the_logarithm_of_a_ratio_is_right_near_one_and_far_from_it():
    rng = np.random.default_rng(0)
    x = 10.0 ** rng.uniform(-3, 3, 20_000)
    # Ratios next to 1, around those where the series ends, and up to a million.
    y = x * np.exp(rng.choice([1e-9, 1e-3, 0.35, 0.7, 14.0], x.size) * rng.uniform(-1, 1, x.size))
    y[:3] = x[:3]
    found = np.empty_like(x)
    log_ratios(x, y, found)
    expected = np.log(x.astype(np.longdouble) / y.astype(np.longdouble))
    assert (np.abs(found - expected) <= 1e-15 * np.maximum(np.abs(expected), 0.1)).all()
    assert (found[:3] == 0.0).all()


def test_powers_of_two_saturate_and_do_not_wrap_around():
    for dtype, most in ((np.float64, 1e4), (np.float32, 1e3)):
        x = np.array([most, -most, np.inf, -np.inf], dtype)
        found = np.empty_like(x)
        powers(x, found)
        assert np.isfinite(found).all()
        assert (found[[0, 2]] > 1e37).all()
        assert (found[[1, 3]] < 1e-36).all()
        assert (found > 0).all()


@pytest.mark.parametrize("n_runs", [5, 240, ROW, ROW + 1, 3 * ROW - PAD + 1, 1000])
@pytest.mark.slow
def test_sums_over_the_runs_against_numpy(n_runs):
    design = Design.from_runs(of_size(n_runs))
    weights = resample_weights(n_runs, np.arange(1), 3).astype(np.float64)
    room = -(-(n_runs + PAD) // ROW) * BLOCK
    # What is left over from another lane must not matter.
    runs, runs32 = np.full(room, np.nan), np.full(room, np.nan, np.float32)
    sums, sums32 = np.empty(21), np.empty(21)
    index = np.full(n_runs, -1)
    columns = np.stack([design.log_params, design.log_tokens, design.log_loss])
    step = np.array([0.1, -0.05, 0.02, 0.03, -0.04])
    width = 5e-3
    count = sums_of(columns, weights[0], index, THETA, width, runs, runs32, sums, sums32)
    assert count % PAD == 0
    assert 0 <= count - np.count_nonzero(weights) < PAD

    value, gradient, hessian = (x[0] for x in derivatives(design, weights, THETA[None], width))
    expected = np.concatenate([[value], gradient, hessian[LOWER]])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(sums, expected, rtol=1e-10, atol=1e-13 * scale)
    np.testing.assert_allclose(sums32, expected, rtol=2e-3, atol=1e-5 * scale)

    residual, change = CHINCHILLA.residuals(THETA, design), CHINCHILLA.jacobian(THETA, design) @ step
    lengths = (1.0, 0.25, 0.3, 4.0, 0.05)
    (inside, *found), more = slopes_along(step, lengths, runs, count, width)
    psi = [np.clip(residual + length * change, -width, width) for length in lengths]
    expected = [np.sum(weights[0] * p * change) for p in psi]
    np.testing.assert_allclose([*found, *more], expected, rtol=1e-9, atol=1e-12)
    expected = np.sum(weights[0] * (np.abs(residual) <= width) * change**2)
    np.testing.assert_allclose(inside, expected, rtol=1e-9)


def length_by_all_probes(residual, change, weights, width, slope, form):
    """What the line search returns, by the slope at each of its lengths in turn."""
    kappa = max(form - np.sum(weights * change**2 * (np.abs(residual) <= width)), 0.0)
    low, before = 0.0, slope
    psi = [np.clip(residual + length * change, -width, width) for length in PROBES]
    at = [np.sum(weights * p * change) + length * kappa for p, length in zip(psi, PROBES, strict=True)]
    if abs(at[PROBES.index(1.0)]) < CLOSE_ENOUGH * abs(slope):
        return 1.0
    for length, here in zip(PROBES, at, strict=True):
        if here >= 0.0:
            return max(low - before * (length - low) / (here - before), 0.2 * PROBES[0])
        low, before = length, here
    return LONGEST


@pytest.mark.slow
def test_the_line_search_in_two_passes_finds_what_all_probes_say():
    n_runs, width = 300, 2e-3
    design = Design.from_runs(of_size(n_runs))
    columns = np.stack([design.log_params, design.log_tokens, design.log_loss])
    scratch = np.empty(n_runs, np.int64), np.empty(2 * BLOCK), np.empty(2 * BLOCK, np.float32)
    rng = np.random.default_rng(0)
    ends = set()
    for weights in resample_weights(n_runs, np.arange(200), 1).astype(float):
        theta = THETA + 0.02 * rng.standard_normal(5)
        _, gradient, hessian = (x[0] for x in derivatives(design, weights[None], theta[None], width))
        step = -gradient / np.diag(np.abs(hessian))
        residual, jacobian = CHINCHILLA.residuals(theta, design), CHINCHILLA.jacobian(theta, design)
        # Steps of all sizes and curvatures, so that roots lie before, between and beyond all probes.
        step *= 10.0 ** rng.uniform(-2.5, 1.0)
        slope = gradient @ step
        form = -slope * 10.0 ** rng.uniform(-1.0, 2.0)
        expected = length_by_all_probes(residual, jacobian @ step, weights, width, slope, form)
        found = searched(columns, weights, theta, step, slope, form, width, *scratch)
        np.testing.assert_allclose(found[0], expected, rtol=1e-9)
        np.testing.assert_allclose(found[1], expected, rtol=2e-3)
        special = {1.0: "whole", LONGEST: "longest"}
        ends.add(special.get(expected, int(np.searchsorted(PROBES, expected))))
    assert ends == {*range(len(PROBES)), *special.values()}, "some brackets hold no root"


@pytest.mark.parametrize("n_runs", [5, 240, ROW + 1])
@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-7, 2e-5])
def test_terms_taken_on_by_series_are_those_evaluated_there(n_runs, size):
    design = Design.from_runs(of_size(n_runs))
    columns = np.stack([design.log_params, design.log_tokens, design.log_loss])
    weights, room = np.ones(n_runs), -(-(n_runs + PAD) // ROW) * BLOCK
    change = size * np.array([1.0, -0.7, 0.4, 0.5, -0.9])
    scratch = np.empty(n_runs, np.int64), np.empty(room, np.float32)
    there, here = np.full(room, np.nan), np.full(room, np.nan)
    nothing = np.zeros(5)
    assert advanced(columns, weights, scratch[0], THETA + change, nothing, there, scratch[1])
    assert advanced(columns, weights, scratch[0], THETA, change, here, scratch[1])
    # Residuals are differences of logarithms of a few nats, and shares of numbers near 1.
    np.testing.assert_allclose(here, there, rtol=1e-14, atol=3e-15)


@pytest.mark.parametrize("change", [1e-3, -0.5, 1e3, np.nan, np.inf])
def test_a_change_too_large_for_the_series_is_said_to_be(change):
    design = Design.from_runs(of_size(240))
    columns = np.stack([design.log_params, design.log_tokens, design.log_loss])
    runs, runs32 = np.empty(BLOCK), np.empty(BLOCK, np.float32)
    for place in range(5):
        step = np.zeros(5)
        step[place] = change
        index = np.empty(240, np.int64)
        assert not advanced(columns, np.ones(240), index, THETA, step, runs, runs32)


@pytest.mark.parametrize("n_runs", [3, 240, 1000])
def test_the_runs_of_a_lane_begin_with_a_cache_line(n_runs):
    for _ in range(5):
        scratch = _scratch(n_runs)
        for name, kind in (("runs", np.float64), ("runs32", np.float32)):
            assert scratch[name].ctypes.data % CACHE_LINE == 0
            assert scratch[name].dtype == kind
            assert scratch[name].flags.c_contiguous
            assert scratch[name].shape == (-(-(n_runs + PAD) // ROW) * BLOCK,)


def test_weights_as_bytes_and_as_numbers_give_the_same_bits():
    design = Design.from_runs(of_size(60))
    weights = resample_weights(60, np.arange(30), 5)
    start = np.tile(THETA, (30, 1))
    options = SolverOptions(workers=1, engine="lanes")
    one, other = (
        solve_design(design, w, start, objective=HUBER, options=options)
        for w in (weights, np.asfortranarray(weights, np.float64))
    )
    assert (one.status == Status.CONVERGED).all()
    for name in ("theta", "objective_value", "decrement", "steps"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_definite_systems_are_solved_and_indefinite_ones_said_to_be():
    rng = np.random.default_rng(0)
    shifts = np.array([0.0, 1e-7, 1e-4, 1e-2])
    systems = np.full((N_SYSTEMS, WIDE), np.nan)
    systems[SHIFT], systems[MODIFY] = shifts, [0.0, 0.0, 1.0, 1.0]
    for _ in range(50):
        half = rng.standard_normal((5, 5))
        matrix, right = half @ half.T + 0.1 * np.eye(5), rng.standard_normal(5)
        solved(np.tril(matrix), right, systems)
        shifted = matrix + shifts[:, None, None] * np.diag(np.diag(matrix))
        expected = np.linalg.solve(shifted, np.broadcast_to(right[:, None], (WIDE, 5, 1)))[..., 0]
        assert (systems[SOUND] == 1.0).all()
        np.testing.assert_allclose(systems[SOLUTION:].T, expected, rtol=1e-8)
        np.testing.assert_allclose(systems[FORM], expected @ right, rtol=1e-8)
        broken = matrix - 2 * np.linalg.eigvalsh(matrix).min() * np.eye(5)
        solved(np.tril(broken), right, systems)
        assert (systems[SOUND, :2] == 0.0).all()
        assert (right @ systems[SOLUTION:, 2:] > 0).all(), "still directions of descent"


@pytest.mark.parametrize("zeros", [(0,), (1,), (4,), (0, 2), (0, 1, 2)])
def test_a_zero_on_the_diagonal_leaves_a_direction_of_descent(zeros):
    """As where terms that do not depend on the runs cancel in float32: next to alpha = beta = 0."""
    rng = np.random.default_rng(0)
    systems = np.zeros((N_SYSTEMS, WIDE))
    systems[SHIFT], systems[MODIFY] = [0.0, 1e-7, 1e-4, 1e6], [0.0, 0.0, 1.0, 1.0]
    for scale in np.geomspace(1e-9, 1e9, 40):
        matrix, right = scale * rng.standard_normal((2, 5, 5))
        matrix += matrix.T
        matrix[zeros, zeros] = 0.0
        solved(np.tril(matrix), right[0], systems)
        assert (systems[SOUND, :2] == 0.0).all()
        found = systems[SOLUTION:, 2:]
        assert np.isfinite(found).all() and (right[0] @ found > 0).all()


CONDITIONS = {
    "none": lambda runs: runs,
    "additive": Additive(3e8).apply,
    "noise 0.3": LogNormalNoise(0.316).apply,
    "noise 1.1": LogNormalNoise(1.1).apply,
}


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.slow
def test_both_engines_end_alike(name):
    design = Design.from_runs(CONDITIONS[name](load_runs("chinchilla", params="standard")))
    weights = resample_weights(len(design), np.arange(200), 0)
    starts = np.tile([-1.0, -1.0, 1.8, 0.4, 0.4], (200, 1))
    lanes, xla = (
        solve_design(design, weights, starts, objective=HUBER, options=SolverOptions(engine=engine))
        for engine in ("lanes", "xla")
    )
    # Another order of the sums can send a lane on a knife's edge to another of its minima.
    same = np.abs(lanes.objective_value / xla.objective_value - 1) < 1e-6
    assert same.mean() >= (1.0 if name != "noise 1.1" else 0.95)
    np.testing.assert_array_equal(lanes.status[same], xla.status[same])
    certified = same & (lanes.status == Status.CONVERGED)
    assert certified.mean() > 0.9
    np.testing.assert_allclose(lanes.objective_value[certified], xla.objective_value[certified], rtol=1e-9)
    check = certify(design, weights[certified], lanes.theta[certified], HUBER.delta)
    assert (check.definite & (check.decrement <= 1e-12)).all()


def test_several_starts_end_below_each_of_them():
    design = Design.from_runs(LogNormalNoise(2.4).apply(load_runs("chinchilla", params="standard")))
    weights = resample_weights(len(design), np.arange(100), 0)
    one, other = (
        np.tile(start, (100, 1)) for start in ([-1.0, -1.0, 1.8, 0.4, 0.4], [0.0, -1.0, 0.5, 0.1, 0.4])
    )
    options = SolverOptions(engine="lanes")
    raced = solve_design(design, weights, [one, other], objective=HUBER, options=options)
    alone = [solve_design(design, weights, s, objective=HUBER, options=options) for s in (one, other)]
    lowest = np.minimum(*(found.objective_value for found in alone))
    assert (np.abs(alone[0].objective_value / alone[1].objective_value - 1) > 1e-6).any()
    assert np.mean(raced.objective_value <= lowest * (1 + 1e-6)) > 0.95


@pytest.mark.parametrize("n_runs", [6, 300, 700])
def test_tables_of_other_sizes_are_certified(n_runs):
    design = Design.from_runs(of_size(n_runs))
    starts = np.array([[-1.0, -1.0, 1.8, 0.4, 0.4]])
    options = SolverOptions(engine="lanes", wide_start=True)
    found = solve_design(design, np.ones((1, n_runs)), starts, objective=HUBER, options=options)
    assert found.status[0] in (Status.CONVERGED, Status.UNIDENTIFIED)
    if n_runs > 6:
        check = certify(design, np.ones((1, n_runs)), found.theta, HUBER.delta)
        assert check.definite[0]
        assert check.decrement[0] <= 1e-12


def test_fractional_weights_are_weights():
    design = Design.from_runs(load_runs("chinchilla"))
    weights = np.random.default_rng(0).dirichlet(np.ones(240), 20) * 240
    starts = np.tile([-1.0, -1.0, 1.8, 0.4, 0.4], (20, 1))
    found = solve_design(design, weights, starts, objective=HUBER, options=SolverOptions(engine="lanes"))
    assert (found.status == Status.CONVERGED).all()
    check = certify(design, weights, found.theta, HUBER.delta)
    assert (check.definite & (check.decrement <= 1e-12)).all()


@functools.partial(jax.jit, static_argnames="width")
def bits_by_jax(key, ids, width):
    return jax.vmap(lambda i: jax.random.bits(jax.random.fold_in(key, i), (width,), "uint32"))(ids)


@given(
    seed=st.integers(0, 2**32 - 1),
    # JAX compiles for each of them.
    shape=st.sampled_from([(7, 0), (240, 20)]),
    first=st.integers(0, 2**32 - 5),
)
@settings(max_examples=10)
@pytest.mark.slow
def test_random_bits_and_counts_are_those_of_jax(seed, shape, first):
    """Drawn by the kernel, and by JAX where there is no kernel: Threefry with a key per id."""
    width, stream = shape
    ids = np.arange(first, first + 5).astype(np.uint32)
    with jax.threefry_partitionable(True):
        stream_key = jax.random.fold_in(jax.random.key(np.uint32(seed), impl="threefry2x32"), stream)
        bits = np.asarray(bits_by_jax(stream_key, ids, width))
    runs = (bits.astype(np.uint64) * width >> 32).astype(np.int64)
    counts = np.stack([np.bincount(row, minlength=width) for row in runs])
    for engine in ("auto", "xla"):
        with mock.patch.dict(os.environ, {VARIABLE: engine}):
            np.testing.assert_array_equal(random_bits(width, ids, seed, stream), bits)
            np.testing.assert_array_equal(random_counts(width, ids, seed, stream), counts)


def test_shapes_that_do_not_fit_are_refused_before_memory_is_read():
    design = Design.from_runs(of_size(257))
    options = SolverOptions(engine="lanes", max_steps=2)

    def attempt(weights, starts):
        with pytest.raises(UsageError, match="do not fit"):
            solve_design(design, weights, starts, objective=HUBER, options=options)

    attempt(np.ones((3, 5)), np.zeros((3, 5)))
    attempt(np.ones((3, 257)), np.zeros((3, 4)))
    attempt(np.ones((2, 257)), np.zeros((3, 5)))
    one = solve_design(design, np.ones((1, 257)), [np.zeros((3, 5))], objective=HUBER, options=options)
    assert len(one.status) == 3


@pytest.mark.parametrize("engine", ["lanes", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-5])
def test_a_loose_certificate_is_that_of_the_law_returned(engine, tolerance):
    rng = np.random.default_rng(5)
    runs = of_size(60, seed=5)
    runs = Runs(runs.params, runs.tokens, runs.flops, runs.loss * np.exp(0.3 * rng.standard_normal(60)))
    design = Design.from_runs(runs)
    weights = resample_weights(60, np.arange(150), 0)
    starts = np.tile([-1.0, -1.0, 1.8, 0.4, 0.4], (150, 1))
    options = SolverOptions(engine=engine, tolerance=tolerance)
    found = solve_design(design, weights, starts, objective=HUBER, options=options)
    sound = found.status == Status.CONVERGED
    assert sound.any()
    check = certify(design, weights[sound], found.theta[sound], HUBER.delta)
    assert (check.decrement <= 1.01 * tolerance).all()
    np.testing.assert_allclose(check.objective_value, found.objective_value[sound], rtol=1e-9)


@pytest.mark.parametrize("engine", ["lanes", pytest.param("xla", marks=pytest.mark.slow)])
def test_the_scale_of_the_weights_does_not_matter(engine):
    rng = np.random.default_rng(2)
    runs = of_size(60)
    law = ScalingLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
    loss = law.loss(runs.params, runs.tokens) * np.exp(1e-9 * rng.standard_normal(60))
    design = Design.from_runs(Runs(runs.params, runs.tokens, runs.flops, loss))
    weights = resample_weights(60, np.arange(100), 0).astype(float)
    starts = np.tile(CHINCHILLA.theta(law, design), (100, 1))
    for scale in (1.0, 1e6):
        options = SolverOptions(engine=engine)
        found = solve_design(design, weights * scale, starts, objective=HUBER, options=options)
        assert (found.status == Status.CONVERGED).all(), scale
