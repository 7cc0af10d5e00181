"""The kernel as a file: when it is out of date, what is compiled from it and kept."""

import errno
import io
import os
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

from chinchilla_jax._util.cache_dir import VARIABLE
from chinchilla_jax.bootstrapping.random_bits import random_bits
from chinchilla_jax.solvers import SolverOptions, Status, engine_choice, status, thresholds
from chinchilla_jax.solvers.lane_kernel import building, generate, object_code, self_test
from chinchilla_jax.solvers.lane_kernel.engine import LaneEngine
from chinchilla_jax.solvers.lane_kernel.entry_points import DRAW_BITS, FIT_LANES
from chinchilla_jax.solvers.lane_kernel.fingerprint import HERE, fingerprint
from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine
from chinchilla_jax.solvers.lane_kernel.loading import load_kernel
from chinchilla_jax.solvers.lane_kernel.many_calls import Parts, table_of

REMEDY = "the kernel is out of date: run python -m chinchilla_jax.solvers.lane_kernel.generate"


def test_the_shipped_kernel_is_that_of_the_sources():
    shipped = object_code.assembly()
    assert shipped.splitlines()[0] == generate.header(), REMEDY
    assert not re.search(r"<\d+ x (double|float|i32)>|target ", shipped), "made for one processor"


@pytest.mark.slow
def test_the_sources_give_the_shipped_kernel():
    shipped = object_code.assembly()
    if shipped.splitlines()[1] == f"; {generate.compilers()}":
        # In a process of its own: what Numba has compiled before is lowered otherwise.
        code = "from chinchilla_jax.solvers.lane_kernel import generate; print(generate.assembly(), end='')"
        made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert made.stdout == shipped, REMEDY


@pytest.fixture
def copied_sources(tmp_path):
    """A copy of the kernel's sources, and a function that edits one of them."""
    for path in HERE.glob("*.py"):
        shutil.copy(path, tmp_path)

    def edit(name, old, new):
        text = (tmp_path / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new))

    return tmp_path, edit


def test_words_and_layout_do_not_make_the_kernel_stale(copied_sources):
    folder, edit = copied_sources
    assert fingerprint(folder) == fingerprint()
    edit("compiling.py", '"""The larger of two', '"""Larger of two')
    edit("lane.py", "# A narrower zone", "# Another zone")
    edit("shapes.py", "PAD = 16", "\nPAD = (16)")
    edit("passes.py", "import inner, larger, smaller", "import smaller, larger, inner")
    edit("engine.py", "_BRIEF = 64", "_BRIEF = 65")
    assert fingerprint(folder) == fingerprint()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("shapes.py", "PAD = 16", "PAD = 8"),
        ("passes.py", "_NEAR = 1e-3", "_NEAR = 2e-3"),
        ("elementary.py", "0.6931471805599453, 0.24", "0.6931471805599454, 0.24"),
        ("algebra.py", "fastmath=_FAST)\ndef coordinates_at", "fastmath=set())\ndef coordinates_at"),
        ("lane.py", "done = 0", "done = 1"),
        ("lowering.py", "vectorise=False", "vectorise=True"),
    ],
)
def test_changed_code_makes_the_kernel_stale(copied_sources, name, old, new):
    folder, edit = copied_sources
    edit(name, old, new)
    assert fingerprint(folder) != fingerprint()


def test_a_changed_constant_of_the_solver_makes_the_kernel_stale_and_a_sentence_does_not(monkeypatch):
    before = fingerprint()
    monkeypatch.setitem(status._SENTENCES, Status.INVALID, "Another sentence.")
    assert fingerprint() == before
    monkeypatch.setattr(thresholds, "NOT_OF_THE_KERNEL", 1.0, raising=False)
    assert fingerprint() == before
    monkeypatch.setattr(thresholds, "HOPE", 4.0)
    assert fingerprint() != before
    monkeypatch.undo()
    monkeypatch.setattr(thresholds, "HOPE", np.ones(2))
    with pytest.raises(TypeError, match="HOPE, which is not a constant"):
        fingerprint()


def test_the_kernel_is_loaded_without_its_sources_or_numba():
    code = """
import sys
from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine
from chinchilla_jax.solvers.lane_kernel.loading import load_kernel
load_kernel()
kernel = "chinchilla_jax.solvers.lane_kernel."
names = "numba", *(kernel + name for name in ("generate", "fingerprint", "lane", "lines", "passes"))
print([name for name in names if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


PROGRAM = """
import sys, chinchilla_jax as cj
found = cj.fit(cj.load_runs("chinchilla"), starts=4, options=cj.SolverOptions(engine="lanes"))
print(found.objective_value.hex(), "numba" in sys.modules)
"""


def run(folder):
    environment = {**os.environ, VARIABLE: str(folder)}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_kept_code_is_used_and_damaged_code_is_not(tmp_path):
    value, generated = run(tmp_path)
    assert generated == "False"
    (kept,) = tmp_path.rglob("kernel-*.o")
    code, made = kept.read_bytes(), kept.stat().st_mtime_ns
    assert run(tmp_path)[0] == value
    assert kept.stat().st_mtime_ns == made
    kept.write_bytes(code[:-1] + bytes([code[-1] ^ 1]))
    assert run(tmp_path)[0] == value
    assert kept.read_bytes() == code, "mended"


def test_arguments_of_the_wrong_kind_never_reach_the_kernel():
    kernel, ids = load_kernel(), np.arange(2, dtype=np.uint32)
    named = {"n_ids": 2, "n_runs": 3, "seed": 0, "stream": 0, "ids": ids}
    bits, scratch = np.empty((2, 3), np.uint32), np.empty(3, np.uint32)
    kernel.call(DRAW_BITS, **named, bits=bits, scratch=scratch)
    for wrong in (bits.astype(np.int64), bits[:, ::-1], bits.T):
        with pytest.raises(TypeError, match="bits is not a contiguous array of uint32"):
            kernel.call(DRAW_BITS, **named, bits=wrong, scratch=scratch)
    with pytest.raises(KeyError, match="bits"):
        kernel.call(DRAW_BITS, **named, scratch=scratch)
    with pytest.raises(TypeError, match="random_bits has no parameter width"):
        kernel.call(DRAW_BITS, **named, bits=bits, scratch=scratch, width=3)


def test_a_table_of_calls_takes_only_what_the_kernel_reads():
    given = {name: 0.5 if kind == "f64" else 1 for name, kind in FIT_LANES.parameters.items()}
    dtypes = {
        "f64*": np.dtype(float),
        "f32*": np.dtype(np.float32),
        "i64*": np.dtype(np.int64),
        "u8*": np.dtype("u1"),
    }
    three, first = np.zeros((3, 2)), np.array([0, 2])
    for name, kind in FIT_LANES.parameters.items():
        if kind in dtypes:
            given[name] = Parts(three.astype(dtypes[kind]), first)
    table = table_of(FIT_LANES, 2, dtypes, given | {"lanes": np.array([7, 9])})
    columns = dict(zip(FIT_LANES.parameters, table.T, strict=True))
    assert columns["lanes"].tolist() == [7, 9] and columns["ranks"].tolist() == [1, 1]
    assert table.view(float)[:, list(FIT_LANES.parameters).index("tolerance")].tolist() == [0.5, 0.5]
    start = given["starts"].array
    assert columns["starts"].tolist() == [start.ctypes.data, start.ctypes.data + 2 * 2 * 8]
    for wrong in (three.T, three.astype(np.float32)):
        with pytest.raises(TypeError, match="starts is not a contiguous array of float64"):
            table_of(FIT_LANES, 2, dtypes, given | {"starts": Parts(wrong, first)})
    with pytest.raises(TypeError, match="fit_lanes: missing or unknown: further"):
        table_of(FIT_LANES, 2, dtypes, given | {"further": 1})


def test_the_answers_of_the_self_test_are_right(monkeypatch):
    with monkeypatch.context() as changed:
        changed.setenv(engine_choice.VARIABLE, "xla")
        bits = random_bits(3, self_test.IDS, self_test.SEED, self_test.STREAM)
    assert bits.tolist() == self_test.BITS
    columns, weights = self_test.example()
    u, v, y = columns.astype(np.longdouble)
    a, b, e, alpha, beta = np.array(self_test.THETA, np.longdouble)
    first, second = np.exp(a - alpha * u), np.exp(b - beta * v)
    residual = np.log(first + second + e) - y
    psi = np.clip(residual, -self_test.DELTA, self_test.DELTA)
    assert 0 < np.count_nonzero((psi == residual) & (weights[0] > 0)) < np.count_nonzero(weights)
    assert np.sum(weights * psi * (residual - psi / 2)) == pytest.approx(self_test.OBJECTIVE, rel=1e-14)
    terms = np.stack([first, second, np.ones_like(u), -u * first, -v * second])
    gradient = terms / (first + second + e) @ (weights[0] * psi)
    assert np.abs(gradient).max() < 1e-15
    self_test.require_right_answers(load_kernel())
    for name, value in (("BITS", [[0] * 3] * 2), ("OBJECTIVE", 8.472e-6), ("THETA", [0.0] * 5)):
        with monkeypatch.context() as changed:
            changed.setattr(self_test, name, value)
            with pytest.raises(RuntimeError, match="the compiled code"):
                self_test.require_right_answers(load_kernel())


@pytest.mark.slow
def test_two_processes_compile_the_same_instructions_as_one(monkeypatch):
    monkeypatch.setattr(building, "core_is_idle", lambda: True)
    whole, parts = (
        Kernel(object_code.compiled(object_code.assembly(), host_machine())),
        Kernel(*building.built()),
    )
    columns, weights = self_test.example()
    start, width = np.tile(self_test.START, (1, 40, 1)), np.geomspace(1e-4, 1e-2, 40)
    start += 0.1 * np.sin(np.arange(200.0)).reshape(1, 40, 5)
    engines = [LaneEngine(kernel, columns.shape[1], SolverOptions(workers=1)) for kernel in (whole, parts)]
    weights = np.tile(weights, (40, 1))
    one, two = (engine.fit_columns(columns, weights, start, width) for engine in engines)
    for name in ("theta", "anchor_value", "decrement", "status", "steps"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), strict=True)
    slope, intercept = np.sin(np.arange(1000.0)).reshape(2, 500)
    lines = slope, intercept, np.linspace(-1.0, 2.0, 30), np.array([0, 250, 499])
    np.testing.assert_array_equal(whole.order_lines(*lines), parts.order_lines(*lines))


def test_a_second_process_compiles_only_where_a_core_is_idle(monkeypatch):
    steps, whole = [], object_code.sealed([b"first", b"second"])

    class Other:
        stdout, kill = None, lambda self: steps.append("killed")

        def __init__(self, command, **options):
            steps.append(command[-1])

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    def run(command, **options):
        steps.append(command[-1])
        return types.SimpleNamespace(stdout=whole, stderr=b"", returncode=0)

    monkeypatch.setattr(building.subprocess, "Popen", Other)
    monkeypatch.setattr(building.subprocess, "run", run)
    monkeypatch.setattr(building, "available_cores", lambda: 2)
    for load, expected in ((0.9, ["second", "first", "killed"]), (1.1, ["whole"]), (None, ["whole"])):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, load, load))
        if load is None:
            monkeypatch.delattr(os, "getloadavg")
        assert building.core_is_idle() == (load == 0.9)
        assert building.built() == (b"first", b"second")
        assert steps == expected
        steps.clear()


@pytest.mark.parametrize("refused", ["first", "second"])
def test_where_the_system_starts_one_process_and_not_two_that_one_compiles_all(monkeypatch, refused):
    started = []

    def run(command, **options):
        if command[-1] == refused:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(command[-1])
        return types.SimpleNamespace(stdout=object_code.sealed([b"all"]), stderr=b"", returncode=0)

    class Other:
        stdout = None

        def __init__(self, command, **options):
            run(command)

        def __exit__(self, *_):
            pass

        def __enter__(self):
            return self

        def kill(self):
            started.append("killed")

    monkeypatch.setattr(building, "core_is_idle", lambda: True)
    monkeypatch.setattr(building.subprocess, "Popen", Other)
    monkeypatch.setattr(building.subprocess, "run", run)
    assert building.built() == (b"all",)
    assert started == {"first": ["second", "killed", "whole"], "second": ["whole"]}[refused]


def test_half_of_the_kernel_that_does_not_arrive_is_compiled_by_the_first_process(monkeypatch):
    monkeypatch.setattr(building, "_compiled", lambda part: "+".join(sorted(part)).encode())
    monkeypatch.setattr(building, "_tested", tuple)
    there = object_code.unsealed(building.answer("whole"))
    for arriving in (building.answer("second"), b"", b"torn"):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(arriving)))
        assert object_code.unsealed(building.answer("first")) == there
    assert b"fit_lanes" in there[0] and b"random_bits" in there[1]


def test_where_python_cannot_be_started_the_kernel_is_compiled_in_this_process(monkeypatch):
    monkeypatch.setattr(building.subprocess, "run", None)
    monkeypatch.setattr(sys, "executable", "/opt/editor/bin/editor")
    assert building.built()
