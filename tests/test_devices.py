"""Devices without one at hand: what is lowered for them, and what the host does for those short of digits."""

import functools

import jax
import numpy as np
import pytest
from jax import export

from chinchilla_jax import fit, load_runs
from chinchilla_jax._util import cache_dir
from chinchilla_jax._util.float64 import float64_scope
from chinchilla_jax.bootstrapping.schemes import Bayesian, Cluster, DeleteD, Jackknife, MOutOfN, Pairs
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.cli import doctor, main
from chinchilla_jax.laws import LAWS, Design, Huber, Kaplan
from chinchilla_jax.solvers import Problem, drawn, engine_choice, measured_engines
from chinchilla_jax.solvers.batch import Batch
from chinchilla_jax.solvers.drawn import Drawn, draw
from chinchilla_jax.solvers.jax_newton import calls, compiled, rounds
from chinchilla_jax.solvers.jax_newton.engine import fit_lanes
from chinchilla_jax.solvers.jax_newton.shapes import arguments
from chinchilla_jax.solvers.status import is_certified
from chinchilla_jax.solvers.thresholds import PAUSED

RUNS = load_runs("chinchilla", params="standard")
DESIGN = Design.from_runs(RUNS)
LANES = 20
WEIGHTS = resample_weights(len(RUNS), np.arange(LANES), 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chinchilla", "broken"])
def test_a_law_is_lowered_for_every_accelerator(name):
    constants = len(LAWS[name]().constants(DESIGN))
    with float64_scope():
        shapes = arguments(LAWS[name], constants, 256, 4096, 4096, 32)
        for platform, others in (("cuda", ("cuda", "rocm")), ("tpu", ("tpu",))):
            static = compiled.static(LAWS[name], False, shapes, platform)
            solve = jax.jit(functools.partial(rounds.solve, *static))
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

        def __call__(self, lanes, starts, widening, limits):
            ends = super().__call__(lanes, starts, widening, limits)
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
    weights = scheme.weights(RUNS, ids, 2**32 - 1)
    rows = np.array([3, 0, 4])
    found, first, total = (np.asarray(x) for x in draw(weights, rows, (4, 256), np.uint8))
    np.testing.assert_array_equal(found[:3, : len(RUNS)], weights[rows])
    assert not found[:, len(RUNS) :].any()
    np.testing.assert_array_equal(found[3], found[2])
    np.testing.assert_array_equal(total[:3], weights[rows].sum(axis=1))
    assert (np.take_along_axis(found, first[:, None], axis=1) > 0).all()
    with float64_scope():
        shape = jax.ShapeDtypeStruct((), np.uint32), jax.ShapeDtypeStruct((4096,), np.uint32)
        export.export(drawn._drawing(weights.row_of, 256, np.dtype(np.uint8)), platforms=("cuda", "rocm"))(
            *shape
        )


@pytest.mark.parametrize("scheme", [Bayesian(), Cluster(concentration=0.5), Jackknife()])
def test_weights_that_a_device_would_round_differently_are_sent(scheme):
    assert not isinstance(scheme.weights(RUNS, np.arange(3), 0), Drawn)


@pytest.mark.slow
def test_fits_with_weights_drawn_by_the_device_are_the_same(monkeypatch):
    start = np.asarray(fit(RUNS, law=Kaplan()).starts.minima[0])
    expected = _solve(start)
    asked = []

    def noted(*arguments):
        asked.append(arguments)
        return draw(*arguments)

    monkeypatch.setattr(compiled, "draws", lambda platform: True)
    monkeypatch.setattr(calls, "draw", noted)
    found = _solve(start)
    assert asked
    for field in ("theta", "objective_value", "status", "steps"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))


def test_loops_are_asked_to_be_in_one_cuda_graph_and_nothing_else_is_set_elsewhere():
    graphs = compiled.options("cuda")["xla_gpu_enable_command_buffer"].split(",")
    assert {"WHILE", "CONDITIONAL", "FUSION"} <= set(graphs)
    assert compiled.options("tpu") is None
    assert compiled.options("rocm") is None
    # What the compiler here knows it takes: an option of another platform is refused by name.
    jax.jit(lambda x: x + 1, compiler_options=compiled.options("cpu"))(1.0)


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A machine with an accelerator and a cache of its own, on which nothing was measured."""
    monkeypatch.setenv("CHINCHILLA_JAX_CACHE", str(tmp_path))
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
    path = cache_dir.folder() / "engines.json"
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
