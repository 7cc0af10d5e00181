"""The engine compiled for an H200 or a TPU v5e without one: CUDA graphs, spills, memory, waits for the host.

    pip install --no-deps jax-cuda13-plugin jax-cuda13-pjrt     # 1.1 GB, of the same version as jax
    pip install libtpu
    PYTHONPATH=. python benchmarks/compiled_for_devices.py
    PYTHONPATH=. python benchmarks/compiled_for_devices.py --targets cuda --laws kaplan broken
    PYTHONPATH=. python benchmarks/compiled_for_devices.py --targets cuda --study 4000
    PYTHONPATH=. python benchmarks/compiled_for_devices.py --smoke      # lowers one law, compiles nothing

Objectives of log residuals differ in arguments only, HuberScale among them; "raw" is the program of raw ones.
A step is predicted from kernels and traffic as _device_model.py says, and with --study the device time of the
paper study, from the steps of its lanes on this CPU (_study_steps.py; a minute or two).

Exits with 1 where a call for the H200 is not one CUDA graph, spills registers (read by ptxas, if it is on the
path), takes over 2 GB of temporary memory, or calls the host. A target whose plug-in is missing is left out.
Compiling takes 10 to 120 s each. H200_TARGET names what is compiled for: without the versions of driver and
runtime, XLA puts no loop in a graph.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_DUMP = tempfile.mkdtemp()
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={_DUMP} --xla_dump_emitter_re=.*"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")

import jax  # noqa: E402
from _device_model import CALL, LINK, Program, Step, turns  # noqa: E402
from _machine import cpu_seconds  # noqa: E402
from _study_steps import Call  # noqa: E402
from jax import export  # noqa: E402
from jax.experimental import topologies  # noqa: E402
from jax.sharding import SingleDeviceSharding  # noqa: E402

import chinchilla_jax as cj  # noqa: E402
from chinchilla_jax._util.float64 import float64_scope  # noqa: E402
from chinchilla_jax.laws import LAWS, STANDARD, Design  # noqa: E402
from chinchilla_jax.solvers.jax_newton import compiled, judged  # noqa: E402
from chinchilla_jax.solvers.jax_newton.shapes import arguments  # noqa: E402
from chinchilla_jax.solvers.xla_options import options, padded_runs  # noqa: E402

H200_TARGET = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 62914560 clock_rate_ghz: 1.98
  device_memory_size: 150000000000 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
  driver_version: "13.0.0" kernel_mode_driver_version: "580.159.4" runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 12 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H200"
"""
_PLUGINS = {"cuda": "jax_cuda13_plugin", "tpu": "libtpu"}
_MOST_MEMORY = 2e9
_RAW = "raw"  # the five-parameter law under raw residuals


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", nargs="+", choices=list(_PLUGINS), default=list(_PLUGINS))
    parser.add_argument("--laws", nargs="+", choices=[*STANDARD, _RAW], default=[*STANDARD, _RAW])
    parser.add_argument("--lanes", type=int, default=0, help="of the call; those of the engine by default")
    parser.add_argument("--study", type=int, metavar="RESAMPLES", help="predict the paper study on an H200")
    parser.add_argument("--smoke", action="store_true", help="lower one law, compile nothing")
    args = parser.parse_args()
    faults = []
    for law in args.laws[: 1 if args.smoke else None]:
        if args.smoke:
            print(f"{law}: lowered for cuda, rocm and tpu in {_lower(law, args.lanes):.1f} s")
            continue
        for target in args.targets:
            if importlib.util.find_spec(_PLUGINS[target]) is None:
                print(f"{target}: {_PLUGINS[target]} is not installed, left out")
                continue
            faults += [f"{law}, {target}: {fault}" for fault in _compile(law, target, args.lanes)]
    if args.study:
        _predict(args.study)
    shutil.rmtree(_DUMP, ignore_errors=True)
    print("\n".join(faults) or "as it should be")
    return int(bool(faults))


def _call(law: str, target: str, lanes: int, sharding: Any = None) -> tuple[Any, tuple[Any, ...]]:
    """The jitted call and its arguments; inside `float64_scope`."""
    kind = LAWS["chinchilla" if law == _RAW else law]
    constants = len(kind().constants(Design.from_runs(cj.load_runs("chinchilla"))))
    n_runs = padded_runs(240)
    sizes = compiled.sizes(target, n_runs)
    shapes = arguments(kind, constants, n_runs, lanes or sizes.lanes, sizes.rows, sizes.conditions, sharding)
    stage = judged.fitted_in_float64 if compiled.has_float64(target) else judged.fitted
    solve = functools.partial(stage, *compiled.static(kind, law == _RAW, shapes, target))
    return solve, shapes


def _lower(law: str, lanes: int) -> float:
    begun = time.perf_counter()
    with float64_scope():
        for target, platforms in (("cuda", ("cuda", "rocm")), ("tpu", ("tpu",))):
            solve, shapes = _call(law, target, lanes)
            export.export(jax.jit(solve), platforms=platforms)(*shapes)
    return time.perf_counter() - begun


def _compile(law: str, target: str, lanes: int) -> list[str]:
    """What is wrong with the call, compiled."""
    if target == "cuda":
        devices = topologies.get_topology_desc(
            platform="cuda", target_config=H200_TARGET, topology="1x1x1"
        ).devices
    else:
        devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
    before, begun, busy = set(Path(_DUMP).iterdir()), time.perf_counter(), cpu_seconds()
    program = _program(law, target, lanes, devices[0])
    seconds = f"{time.perf_counter() - begun:.1f} s, {cpu_seconds() - busy:.1f} CPU s"
    memory = program.memory_analysis().temp_size_in_bytes
    text = program.as_text()
    print(
        f"{law}, {target}: compiled in {seconds}; {text.count(chr(10))} lines of HLO, {memory / 1e6:.0f} MB"
    )
    faults = [f"{memory / 1e9:.1f} GB of temporary memory"] if memory > _MOST_MEMORY else []
    calls = len(re.findall(r"callback|outfeed|send\(|recv\(", text))
    print(f"  {calls} calls of the host")
    if calls:
        faults.append("calls the host")
    if target != "cuda":
        return faults
    for (kind, places), step in sorted(_steps(text).items()):
        print(
            f"  a step of {places} places in {kind}: {step.kernels} kernels, {step.traffic / 1e6:.0f} MB, "
            f"{step.operations / 1e9:.2f} G operations; predicted {step.seconds * 1e6:.0f} us"
        )
    return faults + _of_gpu(set(Path(_DUMP).iterdir()) - before)


def _program(law: str, target: str, lanes: int, device: Any) -> Any:
    with float64_scope():
        solve, shapes = _call(law, target, lanes, SingleDeviceSharding(device))
        return jax.jit(solve, compiler_options=options(target)).trace(*shapes).lower().compile()


def _steps(text: str) -> dict[tuple[str, int], Step]:
    return Program(text, padded_runs(240)).steps()


def _predict(resamples: int) -> None:
    """Print the device time of the paper study, predicted."""
    path = Path(_DUMP) / "steps"
    # Not with this process's XLA_FLAGS: they have every program written down.
    clean = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, str(Path(__file__).with_name("_study_steps.py")), str(resamples), str(path)]
    subprocess.run(command, check=True, env=clean, stdout=subprocess.DEVNULL)
    calls = [Call(*each) for each in pickle.loads(path.read_bytes())]
    device = topologies.get_topology_desc(
        platform="cuda", target_config=H200_TARGET, topology="1x1x1"
    ).devices[0]
    ((_, places), step), *_ = _steps(_program("chinchilla", "cuda", 0, device).as_text()).items()
    lanes = sum(len(call.steps) for call in calls)
    count = sum(turns(call.steps.tolist(), places) for call in calls)
    # Sent: a start of each lane, or four, its zone, data set and row. Fetched: theta and four numbers.
    moved = sum(len(call.steps) * (48 * (1 if call.starts == 1 else 4) + 24 + 61) for call in calls)
    seconds = {
        "steps": count * step.seconds,
        "transfers": moved / LINK,
        "calls": len(calls) * CALL,
    }
    parts = ", ".join(f"{name} {part:.3f}" for name, part in seconds.items())
    print(
        f"the paper study with {resamples} resamples on an H200, predicted: {sum(seconds.values()):.3f} s "
        f"({parts}); {len(calls)} calls, {lanes} lanes, {count} steps of {places} places"
    )


def _of_gpu(files: set[Path]) -> list[str]:
    faults = []
    for path in files:
        if path.name.endswith("thunk_sequence_after_thunk_passes.txt"):
            lines = path.read_text().splitlines()
            outside = [line for line in lines if re.match(r"\d+: k(?!CommandBuffer)", line)]
            graphs = sum("kCommandBuffer" in line for line in lines)
            kinds = [sum(kind in line for line in lines) for kind in ("kCustomKernel", "kCopy", "kWhile")]
            print(f"  {graphs} CUDA graph, {len(outside)} outside; kernels, copies, loops: {kinds}")
            if graphs != 1 or outside:
                faults.append(f"{graphs} CUDA graphs and {len(outside)} steps outside them")
    if not any(path.name.endswith("thunk_passes.txt") for path in files):
        faults.append("XLA left no list of thunks: CUDA graphs are not known")
    kernels = sorted(path for path in files if path.suffix == ".ptx" and path.stat().st_size)
    if shutil.which("ptxas") is None:
        print("  no ptxas: spills are not known")
        return faults
    spilling = 0
    for path in kernels:
        found = re.search(r"\.target (sm_\w+)", path.read_text())
        command = ["ptxas", f"-arch={found[1] if found else 'sm_90a'}", "-v", str(path), "-o", os.devnull]
        said = subprocess.run(command, check=True, text=True, stderr=subprocess.PIPE).stderr
        spilling += any(int(stored) for stored in re.findall(r"(\d+) bytes spill stores", said))
    print(f"  {len(kernels)} kernels, {spilling} with spills")
    return [*faults, f"{spilling} kernels spill registers"] if spilling else faults


if __name__ == "__main__":
    sys.exit(main())
