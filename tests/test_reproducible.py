"""Who computed the chunks of a study, and the mode that gives the same bits on other machines."""

import os
import platform
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from chinchilla_jax._util import reproducible, system
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import main
from chinchilla_jax.report import run_shard, run_study
from chinchilla_jax.report.page import render
from chinchilla_jax.study import Shard, Study, StudySpec, Sweep, study_status
from chinchilla_jax.study.environment import made_on
from chinchilla_jax.study.execution import jobs
from chinchilla_jax.study.numerics import STUDIES
from chinchilla_jax.study.spec.reproduce import spec_toml, study_command
from chinchilla_jax.study.storage.chunk_files import decode

SPEC = StudySpec(
    sweeps=(Sweep(family="log_normal_noise", values=(0.3,), repeats=3),), resamples=10, flops=(1e20, 1e22)
)
QUIET = {"progress": None, "figures": False}
needs_mode = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the mode is for x86-64 Linux"
)


def records(path):
    return [decode(pq.read_table(file)) for file in sorted(path.glob("fits/*.parquet"))]


def test_chunks_say_on_what_they_were_made(tmp_path):
    study = run_study(SPEC, tmp_path / "out", **QUIET)
    found = records(study.path)
    assert {record.made_on for record in found} == {made_on()}
    assert made_on().startswith(platform.machine())
    for record in found:
        assert {"jax", "jaxlib", "numpy", "llvmlite"} <= set(record.versions)
    metadata = pq.read_table(next(study.path.glob("fits/*"))).schema.metadata[b"chinchilla_jax"]
    assert f'"numerics": {STUDIES.since(SPEC.law)}'.encode() in metadata
    assert study.info["made_on"] == {made_on(): 4}
    assert not any("machines" in note["note"] for note in study.info["notes"])


def test_a_study_continued_on_another_processor_says_so(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setattr(jobs, "made_on", lambda: "x86_64 haswell avx2")
    run_shard(SPEC, out, Shard(1, 2), **QUIET)
    assert study_status(out).notes == ()
    monkeypatch.undo()
    run_study(SPEC, out, **QUIET)
    status = study_status(out)
    assert status.made_on == {"x86_64 haswell avx2": 2, made_on(): 2}
    (note,) = status.notes
    assert "2 on x86_64 haswell avx2" in note
    assert main(["study", "status", str(out)]) == 0
    assert "different machines" in " ".join(capsys.readouterr().out.split())
    assert "2 on x86_64 haswell avx2" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("fields", "named"), [({"engine": "xla"}, "engine 'xla'"), ({"solver": "optax-lbfgs"}, "optax")]
)
def test_only_what_the_kernel_fits_is_reproducible(fields, named):
    with pytest.raises(UsageError, match=f"not .*{named}"):
        StudySpec(reproducible=True, **fields)


def test_the_mode_is_part_of_the_study():
    spec = StudySpec(reproducible=True)
    assert StudySpec.from_dict(spec.to_dict()) == spec != StudySpec()
    assert "reproducible = true" in spec_toml(spec)
    assert study_command(spec).endswith(" --reproducible")
    assert "reproducible" not in StudySpec().to_dict()


def test_a_process_in_another_mode_is_refused_in_one_line(tmp_path, monkeypatch):
    spec = StudySpec(reproducible=True, resamples=2)
    monkeypatch.delenv(reproducible.VARIABLE, raising=False)
    with pytest.raises(UsageError) as refusal:
        run_study(spec, tmp_path / "out", **QUIET)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(system, "processor", lambda: ("arm64", ""))
    with pytest.raises(UsageError, match="x86-64 Linux"):
        reproducible.require("this")


_KERNELS = """
import numpy as np
import llvmlite.binding as llvm
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.solvers.lane_kernel import self_test
from chinchilla_jax.solvers.lane_kernel.engine import LaneEngine
from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
from chinchilla_jax.solvers.lane_kernel.llvm_tools import initialise
from chinchilla_jax.solvers.lane_kernel.object_code import assembly, compiled
initialise()
for level in "x86-64-v2", "haswell", "native":
    cpu = llvm.get_host_cpu_name() if level == "native" else level
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, opt=3, jit=True, codemodel="large")
    columns, weights = self_test.example()
    kernel = Kernel(compiled(assembly(), machine, fixed=True))
    engine = LaneEngine(kernel, columns.shape[1], SolverOptions(workers=1))
    weights = np.random.default_rng(0).integers(0, 4, (50, columns.shape[1])).astype(np.uint8)
    starts = np.broadcast_to(self_test.START, (1, 50, 5))
    ends = engine.fit_columns(columns, weights, starts, np.full(50, 1e-3))
    print(b"".join(each.tobytes() for each in ends).hex())
"""


@needs_mode
@pytest.mark.slow
def test_the_kernel_for_other_processors_has_the_same_bits():
    with open("/proc/cpuinfo", encoding="ascii") as stream:
        if "avx2" not in stream.read():
            pytest.skip("cannot run the code for another processor")
    done = subprocess.run([sys.executable, "-c", _KERNELS], capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split())) == 1


@needs_mode
@pytest.mark.slow
def test_the_command_starts_itself_again_in_the_mode_and_only_once(tmp_path):
    spec = tmp_path / "spec.toml"
    spec.write_text(spec_toml(SPEC))
    environment = {name: text for name, text in os.environ.items() if name not in reproducible.ENVIRONMENT}
    out = tmp_path / "out"
    command = [sys.executable, "-m", "chinchilla_jax", "study", str(spec), "--out", str(out), "--no-figures"]
    run = {"env": environment, "capture_output": True, "text": True, "check": False}
    done = subprocess.run([*command, "--reproducible"], **run)
    assert done.returncode == 0, done.stderr
    assert {record.made_on for record in records(out)} == {f"{reproducible.PROCESSOR}, {system.c_library()}"}
    again = subprocess.run(command, **run)
    assert again.returncode == 2
    assert "reproducible" in again.stderr
    plain = run_study(SPEC, tmp_path / "plain", **QUIET).fits()
    fixed = study_fits(out)
    assert (plain["status"] == fixed["status"]).all()
    np.testing.assert_allclose(plain["objective_value"], fixed["objective_value"], rtol=1e-12)


def study_fits(path):
    from chinchilla_jax.study import open_study

    return open_study(path).fits()


def test_a_study_of_an_earlier_version_gets_its_page(small_study):
    """Its record does not say on what the chunks were made."""
    info = {name: value for name, value in small_study.info.items() if name != "made_on"}
    page = render(Study(small_study.directory, info))
    assert "<dt>Processor</dt>" not in page and "<dt>Processor</dt>" in render(small_study)
