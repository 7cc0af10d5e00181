"""Where LLVM refuses the kernel: everything goes through XLA, with the same results and one warning."""

import sys
import warnings

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax import cli
from chinchilla_jax._util.cache_dir import VARIABLE
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.datasets import load_runs
from chinchilla_jax.solvers import engine_choice
from chinchilla_jax.solvers.lane_kernel import building, loading, object_code


def refuse_assembly(monkeypatch, tmp_path):
    def parse(text, context=None):
        raise RuntimeError("LLVM IR parsing error\n<string>:7:1: error: expected top-level entity")

    monkeypatch.setattr("llvmlite.binding.parse_assembly", parse)
    return "LLVM IR parsing error <string>:7:1"


def truncate_file(monkeypatch, tmp_path):
    content = object_code.SHIPPED.read_bytes()
    monkeypatch.setattr(object_code, "SHIPPED", tmp_path / "kernel.ll.xz")
    object_code.SHIPPED.write_bytes(content[: len(content) // 2])
    return "LZMAError: Compressed data ended"


def damage_file(monkeypatch, tmp_path):
    monkeypatch.setattr(object_code, "SHIPPED", tmp_path / "kernel.ll.xz")
    object_code.SHIPPED.write_bytes(b"no such thing")
    return "LZMAError"


def leave_out_file(monkeypatch, tmp_path):
    monkeypatch.setattr(object_code, "SHIPPED", tmp_path / "kernel.ll.xz")
    return "FileNotFoundError"


def age_bindings(monkeypatch, tmp_path):
    monkeypatch.setattr("llvmlite.__version__", "0.44.0")
    return "llvmlite 0.44.0 is older than 0.45"


def break_import(monkeypatch, tmp_path):
    for name in [
        name for name in sys.modules if name.startswith(("llvmlite", "chinchilla_jax.solvers.lane"))
    ]:
        if not name.endswith(("lane_kernel", "loading")):
            monkeypatch.delitem(sys.modules, name)
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("raise OSError('libllvmlite.so: wrong ELF class')")
    monkeypatch.syspath_prepend(tmp_path)
    return "OSError: libllvmlite.so: wrong ELF class"


def break_jit(monkeypatch, tmp_path):
    def create(module, machine):
        raise RuntimeError("unable to find target for this triple")

    monkeypatch.setattr("llvmlite.binding.create_mcjit_compiler", create)
    return "unable to find target"


def crash_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(building, "_PROGRAM", "import os; os.abort()")
    return "the compiler's process ended with -6"


def answer_wrongly(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    wrong = "from chinchilla_jax.solvers.lane_kernel import self_test; self_test.OBJECTIVE = 1.0"
    monkeypatch.setattr(
        building, "_PROGRAM", building._PROGRAM.replace("with answer", f"{wrong}\nwith answer")
    )
    return "RuntimeError: the compiled code finds a wrong optimum"


WAYS = (
    refuse_assembly,
    truncate_file,
    damage_file,
    leave_out_file,
    age_bindings,
    break_import,
    break_jit,
    crash_compiler,
    answer_wrongly,
)


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def refusal(request, monkeypatch, tmp_path):
    """A process in which LLVM refuses the kernel, and has not been asked yet; what it says."""
    loading._attempt.cache_clear()
    monkeypatch.setattr(engine_choice, "_warned", False)
    with monkeypatch.context() as changed:
        yield request.param(changed, tmp_path)
    loading._attempt.cache_clear()


@pytest.mark.slow
def test_one_warning_says_that_llvm_refuses_the_kernel_and_why(refusal):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            assert engine_choice.chosen_kernel("auto") is None
            assert engine_choice.drawing_kernel() is None
            assert engine_choice.chosen_kernel("xla") is None
    assert [each.category for each in caught] == [cj.EngineWarning]
    assert refusal in str(caught[0].message)
    assert "\n" not in str(caught[0].message)
    assert caught[0].filename == __file__, "the user's line"
    engine, reason = engine_choice.auto_engine()
    assert engine == "xla" and refusal in reason
    with pytest.raises(UsageError, match="engine 'lanes' cannot be used here") as error:
        engine_choice.chosen_kernel("lanes")
    assert refusal in str(error.value)


SPEC = """data = "chinchilla"
resamples = 40
[[sweeps]]
family = "multiplicative"
values = [1.0, 2.0]
"""


def computed(folder):
    """A fit, a bootstrap and, by the command line, a study."""
    runs = load_runs("chinchilla")
    point = cj.fit(runs, starts=4)
    boot = cj.bootstrap(runs, resamples=40, point=point)
    spec = folder / "spec.toml"
    spec.write_text(SPEC)
    assert cli.main(["study", str(spec), "--out", str(folder / "study"), "--no-figures"]) == 0
    return point, boot, cj.open_study(folder / "study").fits()


@pytest.fixture(scope="module")
def by_the_kernel(tmp_path_factory):
    return computed(tmp_path_factory.mktemp("kernel"))


@pytest.mark.parametrize("refusal", [refuse_assembly, truncate_file, age_bindings], indirect=True)
@pytest.mark.slow
def test_where_llvm_refuses_the_kernel_all_ends_right(refusal, by_the_kernel, tmp_path, capsys):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        point, boot, fits = computed(tmp_path)
    assert [each.category for each in caught] == [cj.EngineWarning]
    assert "compiled solver" not in capsys.readouterr().err, "said once already"
    expected_point, expected, expected_fits = by_the_kernel
    assert point.status == expected_point.status
    assert point.objective_value == pytest.approx(expected_point.objective_value, rel=1e-9)
    np.testing.assert_array_equal(boot.status, expected.status)
    np.testing.assert_allclose(boot.objective_value, expected.objective_value, rtol=1e-9)
    assert (fits.status == expected_fits.status).all()
    np.testing.assert_allclose(fits.objective_value, expected_fits.objective_value, rtol=1e-9)


@pytest.mark.parametrize("refusal", [truncate_file], indirect=True)
def test_the_command_line_says_it_in_one_line(refusal, capsys):
    assert cli.main(["bootstrap", "chinchilla", "--resamples", "40"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "compiled solver" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"chinchilla-jax: warning: the compiled solver cannot be used ({refusal}")


def test_without_llvmlite_there_is_no_warning(monkeypatch):
    loading._attempt.cache_clear()
    with monkeypatch.context() as changed:
        changed.setitem(sys.modules, "llvmlite", None)
        assert engine_choice.chosen_kernel("auto") is None
        assert engine_choice.drawing_kernel() is None
        with pytest.raises(UsageError, match="llvmlite is not installed"):
            engine_choice.chosen_kernel("lanes")
    loading._attempt.cache_clear()


def test_the_environment_says_what_auto_means(monkeypatch):
    monkeypatch.setenv(engine_choice.VARIABLE, "xla")
    monkeypatch.setattr(engine_choice, "load_kernel", None)
    assert engine_choice.chosen_kernel("auto") is None
    assert engine_choice.drawing_kernel() is None
    monkeypatch.setenv(engine_choice.VARIABLE, "fast")
    with pytest.raises(UsageError, match="unknown engine in CHINCHILLA_JAX_ENGINE 'fast'"):
        engine_choice.chosen_kernel("auto")


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"law": "kaplan"}, "kaplan by huber"),
        ({"objective": "asymmetric"}, "chinchilla by asymmetric"),
        ({"solver": "optax-lbfgs"}, "solver 'optax-lbfgs'"),
    ],
)
def test_an_engine_that_would_not_be_asked_is_refused(given, part):
    with pytest.raises(UsageError, match=f"engine 'lanes' does not run {part}"):
        cj.fit(load_runs("chinchilla"), starts=4, options=cj.SolverOptions(engine="lanes"), **given)
    with pytest.raises(UsageError, match="unknown engine 'lane'; did you mean 'lanes'"):
        cj.fit(load_runs("chinchilla"), starts=4, options=cj.SolverOptions(engine="lane"), **given)
