"""Devices without one at hand: what is lowered for them, how they are called, what is left to the host."""

import dataclasses
import functools
import weakref
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from chinchilla_jax import fit, load_runs
from chinchilla_jax._util import cache_dir
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.bootstrapping.resample_fits import ResampleFitter, fit_all
from chinchilla_jax.bootstrapping.schemes import Bayesian, Cluster, DeleteD, Jackknife, MOutOfN, Pairs
from chinchilla_jax.bootstrapping.scouting import Recipe
from chinchilla_jax.cli import doctor, main
from chinchilla_jax.fitting.optima_pool import best_of_pool
from chinchilla_jax.laws import LAWS, Design, Huber, Kaplan
from chinchilla_jax.perturbations import LogNormalNoise
from chinchilla_jax.solvers import (
    Problem,
    Solution,
    SolverOptions,
    Status,
    dispatch,
    drawn,
    engine_choice,
    measured_engines,
    xla_options,
)
from chinchilla_jax.solvers.batch import Batch
from chinchilla_jax.solvers.certificate import undetermined
from chinchilla_jax.solvers.drawn import Drawn, draw
from chinchilla_jax.solvers.jax_newton import calls, compiled, device_calls, device_memory, engine, judged
from chinchilla_jax.solvers.jax_newton.engine import fit_lanes
from chinchilla_jax.solvers.jax_newton.places import Layout
from chinchilla_jax.solvers.jax_newton.shapes import arguments
from chinchilla_jax.solvers.jax_newton.verdicts import verdicts
from chinchilla_jax.solvers.pool_starts import Pool, PoolStarts, chosen, lowest, members_of
from chinchilla_jax.solvers.requests import Request, side_by_side
from chinchilla_jax.solvers.status import is_certified
from chinchilla_jax.solvers.thresholds import PAUSED

RUNS = load_runs("chinchilla", params="standard")
DESIGN = Design.from_runs(RUNS)
LANES = 20
WEIGHTS = Pairs().weights(RUNS, np.arange(LANES), 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chinchilla", "broken"])
def test_a_law_is_lowered_for_every_accelerator(name):
    constants = len(LAWS[name]().constants(DESIGN))
    with float64_scope():
        shapes = arguments(LAWS[name], constants, 256, 4096, 4096, 32)
        for platform, others in (("cuda", ("cuda", "rocm")), ("tpu", ("tpu",))):
            static = compiled.static(LAWS[name], False, shapes, platform)
            solve = jax.jit(functools.partial(judged.fitted, *static))
            text = export.export(solve, platforms=others)(*shapes).mlir_module()
            # XLA for TPUs emulates no bit tricks on 64 bits; nothing may wait for the host.
            assert "bitcast_convert" not in text
            assert "callback" not in text


def _solve(start):
    ends = np.full(LANES, Huber().down)
    problem = Problem(law=Kaplan(), design=DESIGN, objective=Huber())
    batch = Batch.of(problem, WEIGHTS, LANES)
    return fit_lanes(batch, [np.tile(start, (LANES, 1))], down=ends, up=ends)


@pytest.mark.slow
def test_the_host_finishes_what_a_device_short_of_digits_cannot_certify(monkeypatch):
    start = np.asarray(fit(RUNS, law=Kaplan()).starts.minima[0])
    expected = _solve(start)

    callers = []

    class Short(calls.Calls):
        """Calls of a device that knows float32 only; those of the host are as they are."""

        def __call__(self, lanes, starts, limits):
            ends = super().__call__(lanes, starts, limits)
            callers.append(self)
            if self is not callers[0]:
                return ends
            some = lanes % 2 == 0
            theta = np.where(some[:, None], ends.theta.astype(np.float32), ends.theta)
            status = np.where(some, PAUSED, ends.status)
            gradient = ends.gradient + 1e-6 * some[:, None]
            return ends._replace(theta=theta, anchor=theta, gradient=gradient, status=status)

    answers = iter([False, True])
    monkeypatch.setattr(compiled, "has_float64", lambda platform: next(answers))
    monkeypatch.setattr("chinchilla_jax.solvers.jax_newton.engine.Calls", Short)
    found = _solve(start)
    assert is_certified(found.status).all()
    assert is_certified(expected.status).all()
    np.testing.assert_allclose(found.objective_value, expected.objective_value, rtol=1e-11)
    np.testing.assert_allclose(found.theta, expected.theta, rtol=1e-6)
    assert (found.steps[::2] > expected.steps[::2]).all()


@pytest.mark.parametrize("scheme", [Pairs(), Cluster(), MOutOfN(), DeleteD()], ids=lambda each: each.name)
def test_a_device_draws_the_same_weights(scheme):
    ids = np.array([0, 5, 2**20, 2**32 - 1, 7])
    left, weights = scheme.drawn(RUNS, ids, 2**32 - 1), scheme.weights(RUNS, ids, 2**32 - 1)
    np.testing.assert_array_equal(left, weights)
    assert (left.shape, left.dtype, len(left)) == (weights.shape, weights.dtype, len(weights))
    rows = np.array([3, 0, 4])
    found, first, total = (np.asarray(x) for x in draw(left, rows, (4, 256)))
    # Of the other rows as well, from the host.
    facts = left.facts(np.arange(len(ids)))
    for fact, expected in zip(facts, (weights.sum(axis=1), (weights > 0).sum(axis=1)), strict=True):
        np.testing.assert_array_equal(fact, expected)
    np.testing.assert_array_equal(found[:3, : len(RUNS)], weights[rows])
    assert not found[:, len(RUNS) :].any()
    np.testing.assert_array_equal(found[3], found[2])
    np.testing.assert_array_equal(total[:3], weights[rows].sum(axis=1))
    assert (np.take_along_axis(found, first[:, None], axis=1) > 0).all()
    with float64_scope():
        shape = jax.ShapeDtypeStruct((), np.uint32), jax.ShapeDtypeStruct((4096,), np.uint32)
        program = jax.jit(drawn._drawing(left.row_of, 256).function)
        export.export(program, platforms=("cuda", "rocm"))(*shape)


@pytest.mark.parametrize("scheme", [Bayesian(), Cluster(concentration=0.5), Jackknife()])
def test_weights_that_a_device_would_round_differently_are_sent(scheme):
    assert isinstance(scheme.drawn(RUNS, np.arange(3), 0), np.ndarray)


def test_a_device_chooses_the_starts_that_the_host_would():
    law, draws = LAWS["chinchilla"](), np.random.default_rng(0)
    near = law.starts(DESIGN, 40) + 0.1 * draws.normal(size=(40, law.size))
    twice = np.concatenate([near[:5], near[:5] + 1e-9, near[:5]])  # equal ones, and nearly so
    problem = Problem(law=law, design=DESIGN, objective=Huber())
    pools = [Pool(problem, near, 1), Pool(problem, near[:3], 4), Pool(problem, twice, 4)]
    pool = draws.permutation(np.repeat(np.arange(3), [8, 5, 7]))
    starts = PoolStarts(tuple(pools), pool.astype(np.int32))
    halves = [starts.of_lanes(slice(None, 9)), starts.of_lanes(slice(9, None))]
    assert np.array_equal(PoolStarts.joined(halves).pool, pool)
    members = members_of(
        starts, 256, 32, lambda each: np.column_stack([each.members, 0.5 + each.members[:, 0]])
    )
    weights = np.pad(WEIGHTS, ((0, 0), (0, 256 - len(RUNS))))
    found = np.asarray(chosen(weights, np.arange(LANES, dtype=np.int32), starts.pool, members))
    for number, each in enumerate(pools):
        mine = pool == number
        expected = best_of_pool(problem, WEIGHTS[mine], each.members, each.ranks)
        found_of_mine = found[: len(expected), mine]
        np.testing.assert_array_equal(found_of_mine[..., :-1], expected)
        follows = np.arange(len(expected))[:, None] + 1 < len(expected)
        signed = np.where(follows, -1, 1) * (0.5 + expected[..., 0])
        np.testing.assert_array_equal(found_of_mine[..., -1], signed)
    searched = lowest(Pairs().drawn(RUNS, np.arange(LANES), 0), Pool(problem, near, 12))
    np.testing.assert_array_equal(searched, best_of_pool(problem, WEIGHTS, near, 12))


def test_rows_that_a_device_draws_are_looked_at_where_they_have_few_runs():
    few = np.flatnonzero(np.arange(len(RUNS)) % 24 == 0)  # ten runs, of which a resample may have four
    runs = RUNS.take(few)
    problem = Problem(law=LAWS["chinchilla"](), design=Design.from_runs(runs), objective=Huber())
    ids, lanes = np.arange(300), np.zeros(300, np.intp)
    several = [
        Batch((problem,), weights, lanes, np.arange(300))
        for weights in (Pairs().drawn(runs, ids, 0), Pairs().weights(runs, ids, 0))
    ]
    of_device, of_host = (undetermined(batch) for batch in several)
    np.testing.assert_array_equal(of_device, of_host)
    assert 0 < of_host.sum() < 300


_SMALL_CALLS: dict[object, object] = {}


@pytest.fixture
def as_a_device(monkeypatch):
    """Calls as an accelerator is given them, in small; compiled in half the time, to run slowly."""
    monkeypatch.setattr(compiled, "_calls", _SMALL_CALLS)
    monkeypatch.setattr(compiled, "_room", {})
    monkeypatch.setitem(xla_options._OPTIONS, "cpu", {"xla_backend_optimization_level": 0})
    monkeypatch.setitem(compiled._SIZES, "cpu", compiled.Sizes(2048, 256, 8))
    monkeypatch.setitem(compiled._LAYOUTS, "cpu", Layout(places=64, copied=False))
    monkeypatch.setattr(device_calls, "_LANES", (64,))
    monkeypatch.setattr(device_calls, "_ROWS", (16,))
    monkeypatch.setattr(device_calls, "_UNSURE", (4, 32))
    monkeypatch.setattr(compiled, "in_one_call", lambda platform: True)
    for module in (compiled, device_calls):
        monkeypatch.setattr(module, "draws", lambda platform: True)


def _noisy_lanes(count):
    """Lanes of a law on sound data and on noise, from one or two far starts."""
    law = LAWS["equal_exponents"]()
    designs = [DESIGN, Design.from_runs(LogNormalNoise(2.4).apply(RUNS, seed=0))]
    problems = tuple(Problem(law=law, design=design, objective=Huber()) for design in designs)
    weights = Pairs().drawn(RUNS, np.arange(count), 7)
    condition, row = np.divmod(np.arange(2 * count), count)
    starts = np.tile(law.starts(DESIGN, 8), (2 * count // 8, 1))
    further = np.where(np.arange(2 * count)[:, None] % 3 > 0, starts[::-1], np.nan)
    return Batch(problems, weights, condition, row), [starts, further]


def _fitted(batch, starts, some=slice(None), **options):
    ends = np.full(len(batch), Huber().down)[some]
    return fit_lanes(
        batch[some], [start[some] for start in starts], down=ends, up=ends,
        options=SolverOptions(wide_start=True, precision="float64", **options),
    )  # fmt: skip


@pytest.mark.slow
def test_fits_and_certificates_of_a_device_are_those_of_the_host(as_a_device, monkeypatch):
    batch, starts = _noisy_lanes(200)
    asked, judged_by_host = [], []

    def noted_draw(*arguments):
        asked.append(arguments)
        return draw(*arguments)

    def noted_verdicts(lanes, *arguments, **more):
        judged_by_host.append(len(lanes))
        return verdicts(lanes, *arguments, **more)

    monkeypatch.setattr(device_calls, "draw", noted_draw)
    monkeypatch.setattr(engine, "verdicts", noted_verdicts)
    found = _fitted(batch, starts)
    assert asked and 0 < sum(judged_by_host) < 100
    # In any company, and with weights that are sent.
    some = np.array([3, 399, 61, 60, 100, 250])
    sent = dataclasses.replace(batch, weights=np.asarray(batch.weights, np.float64))
    few = np.array(batch.weights)
    few[5, 4:] = 0
    short = _fitted(dataclasses.replace(batch, weights=few), starts, np.array([5, 6]))
    assert list(is_certified(short.status)) == [False, True]
    for other in (_fitted(batch, starts, some), _fitted(sent, starts, some)):
        for field in dataclasses.fields(Solution):
            np.testing.assert_array_equal(getattr(other, field.name), getattr(found, field.name)[some])
    monkeypatch.setattr(engine, "overflows", lambda law, design, theta: theta[:, 0] > found.theta[some[0], 0])
    beyond = _fitted(batch, starts, some)
    assert (beyond.status[1:] == Status.UNIDENTIFIED).any() and beyond.status[0] == found.status[some[0]]
    monkeypatch.undo()
    host = _fitted(batch, starts)
    assert np.mean(host.status == found.status) > 0.97
    both = is_certified(host.status) & is_certified(found.status)
    # From far starts, rounding decides now and then which minimum a lane ends in.
    close = np.isclose(host.objective_value, found.objective_value, rtol=1e-9)
    assert close[both].mean() > 0.9
    assert (found.decrement[both] <= 1e-12).all() and both.sum() > 300
    assert ((found.status == Status.BOUNDARY) == (host.status == Status.BOUNDARY))[both & close].all()


@pytest.mark.slow
def test_a_bootstrap_whose_weights_and_starts_only_the_device_has_is_the_same(as_a_device, monkeypatch):
    law = LAWS["equal_exponents"]()
    minimum = law.starts(DESIGN, 1)[0]
    problem = Problem(law=law, design=DESIGN, objective=Huber())
    pool = np.concatenate([[minimum], minimum + 0.05 * np.random.default_rng(0).normal(size=(6, law.size))])

    def fits():
        fitter = ResampleFitter(
            problem=problem, own=None, solver="newton", options=SolverOptions(wide_start=True),
            recipe=Recipe(pool=pool, ranks=2),
        )  # fmt: skip
        ids = np.arange(LANES)
        weights_of = lambda some: fitter.resampled(Pairs(), RUNS, ids[some], 0)  # noqa: E731
        return fit_all(fitter, weights_of, LANES, drawn=LANES if fitter.device_draws else 0)

    expected = fits()

    def refuse(*_):
        raise AssertionError("the host asked for weights")

    monkeypatch.setattr(dispatch, "accelerated", lambda: True)
    monkeypatch.setattr(Drawn, "__array__", refuse)
    found = fits()
    for field in ("theta", "objective_value", "status", "steps"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))


def _halves_of_200_lanes():
    """The sizes of the halves that 200 lanes are fitted in, until memory does not do for these either."""
    batch, starts = _noisy_lanes(200)
    halved: list[int] = []

    def asking():
        return (
            yield Request(
                problem=batch.problems[0], weights=batch.weights, starts=[starts[0][:200]],
                options=SolverOptions(engine="xla"),
            )
        )  # fmt: skip

    with pytest.raises((RuntimeError, MemoryError), match="RESOURCE_EXHAUSTED"):
        side_by_side([asking()], halved.append)
    return halved


@pytest.mark.parametrize("begun", [False, True], ids=["when it is called", "when it is fetched"])
def test_a_device_with_too_little_memory_is_given_smaller_calls(as_a_device, monkeypatch, begun):
    tried, held = [], []

    def too_large(stage, law, raw, arguments, *more):
        tables, requests, _ = arguments
        if len(requests.condition) not in tried:  # nothing of a larger call is left beside this one
            assert not any(each() is not None for each in held)
        tried.append(len(requests.condition))
        ends = judged.Fitted(*(jnp.zeros((tried[-1], 9)) for _ in judged.Fitted._fields))
        held.extend(map(weakref.ref, [*jax.tree.leaves(requests), tables.weights, *ends]))

        def call(*arguments):
            if not begun:
                raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
            return ends

        return call

    def fetched(self):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(device_calls, "compiled", too_large)
    monkeypatch.setattr(device_calls.Begun, "fetched", fetched)
    assert _halves_of_200_lanes() == [100]
    assert tried == ([2048, 1024, 1024] if begun else [2048, 1024])


def test_a_call_that_a_device_has_no_room_for_is_not_begun(as_a_device, monkeypatch):
    """XLA for GPUs keeps what it has allocated of a call that fails, so that a smaller one failed too."""
    begun = []

    class Program:
        def __init__(self, lanes):
            self.lanes = lanes

        def memory_analysis(self):
            return SimpleNamespace(output_size_in_bytes=600 * self.lanes, temp_size_in_bytes=400 * self.lanes)

        def __call__(self, *arguments):
            begun.append(self.lanes)
            raise RuntimeError("RESOURCE_EXHAUSTED: another process was faster")

    monkeypatch.setattr(device_calls, "compiled", lambda *of: Program(len(of[3][1].condition)))
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 3_000_000, "bytes_in_use": 1_900_000})
    monkeypatch.setattr(device_memory, "_device", lambda: device)
    assert _halves_of_200_lanes() == [100]
    assert begun == [1024]


def test_room_is_asked_for_where_a_device_says_what_it_has(monkeypatch):
    program = jax.jit(lambda x: jnp.outer(x, x)).lower(jax.ShapeDtypeStruct((1000,), np.float32)).compile()

    def device(**stats):
        found = SimpleNamespace(memory_stats=lambda: stats or None)
        monkeypatch.setattr(device_memory, "_device", lambda: found)

    device(bytes_limit=10_000_000, bytes_in_use=6_100_000)
    with pytest.raises(MemoryError, match="needs 4 MB of the device, which has 4 MB left"):
        device_memory.require_room(program)
    device(bytes_limit=10_000_000, bytes_in_use=5_900_000)
    device_memory.require_room(program)
    for unknown in ({}, {"bytes_in_use": 1}, {"bytes_limit": 0, "bytes_in_use": 1}):
        device(**unknown)
        device_memory.require_room(program)
    monkeypatch.undo()
    device_memory.require_room(program)  # a CPU, which says nothing


def test_loops_are_asked_to_be_in_one_cuda_graph_and_nothing_else_is_set_elsewhere():
    graphs = xla_options.options("cuda")["xla_gpu_enable_command_buffer"].split(",")
    assert {"WHILE", "CONDITIONAL", "FUSION"} <= set(graphs)
    assert xla_options.options("tpu") is None
    assert xla_options.options("rocm") is None
    # What the compiler here knows it takes: an option of another platform is refused by name.
    jax.jit(lambda x: x + 1, compiler_options=xla_options.options("cpu"))(1.0)


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A machine with an accelerator, on which nothing was measured; compiled programs are the session's."""
    kept = SimpleNamespace(folder=lambda: cache_dir.folder() and tmp_path)
    monkeypatch.setattr(measured_engines, "cache_dir", kept)
    monkeypatch.delenv("CHINCHILLA_JAX_ENGINE", raising=False)
    monkeypatch.setattr(engine_choice, "accelerated", lambda: True)
    measured_engines.measured.cache_clear()
    yield
    measured_engines.measured.cache_clear()


def test_auto_is_the_kernel_until_a_measurement_says_otherwise(gpu, monkeypatch):
    assert engine_choice.chosen_kernel("auto") is not None
    assert engine_choice.auto_engine() == ("lanes", "`doctor --measure` compares it with the device")
    assert measured_engines.keep({"lanes": 1e5, "xla": 2e5})
    assert engine_choice.chosen_kernel("auto") is None
    assert engine_choice.chosen_kernel("lanes") is not None
    assert engine_choice.auto_engine()[0] == "xla"
    assert measured_engines.keep({"lanes": 3e5, "xla": 2e5})
    assert engine_choice.auto_engine() == ("lanes", "faster when measured on this machine")
    # Of other devices: as if nothing were known.
    monkeypatch.setattr(measured_engines, "_devices", lambda: "8 x other")
    measured_engines.measured.cache_clear()
    assert measured_engines.measured() == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"key": 3}', '{"key": {"xla": "fast"}}', '{"key": {"xla": NaN}}']
)
def test_a_spoilt_measurement_is_none(gpu, text):
    key = measured_engines._devices()
    path = measured_engines.cache_dir.folder() / "engines.json"
    path.write_text(text.replace("key", key))
    assert measured_engines.measured() == {}
    assert engine_choice.chosen_kernel("auto") is not None
    assert measured_engines.keep({"xla": 1.0, "lanes": 0.5})
    assert measured_engines.measured() == {"xla": 1.0, "lanes": 0.5}


@pytest.mark.slow
def test_doctor_measures_and_keeps(gpu, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_SECONDS", 0.0)
    monkeypatch.setattr(doctor, "_RESAMPLES", 20)
    monkeypatch.setattr(doctor, "_COMPARED", 40)
    assert main(["doctor", "--measure"]) == 0
    assert "engine xla, certified fits per second" in capsys.readouterr().out
    assert set(measured_engines.measured()) == {"lanes", "xla"}
    assert engine_choice.auto_engine()[1] == "faster when measured on this machine"
    monkeypatch.setenv("CHINCHILLA_JAX_CACHE", "off")
    assert main(["doctor", "--measure"]) == 1
    assert "cannot be kept" in capsys.readouterr().err
