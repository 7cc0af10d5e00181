"""What a GPU does with the JAX engine: the same optima, rates, the study, and the limits of the device.

    PYTHONPATH=. python benchmarks/gpu.py --out gpu.json        # at most 8 minutes
    PYTHONPATH=. python benchmarks/gpu.py --only rates laws
    PYTHONPATH=. python benchmarks/gpu.py --smoke               # seconds, on a CPU, for the gate

Every part is a process with a time limit of its own: one that fails or hangs loses its own numbers only. The
file is written after every part; a table comes last. No network is needed.

    optima      objective and theta by the engine beside the CPU kernel, four conditions
    rates       certified fits/s of the five-parameter law by number of lanes, and calls of the engine
    laws        certified fits/s of every law, 4,000 resamples from its point fit; seconds of the first call
    huber_scale the same by HuberScale
    weights     whether resamples drawn on the device are those of the CPU, bit for bit
    ceilings    what the device sustains: copy, float32 and float64 multiply-adds, exp and log; transfers
    memory      peak of the device at the largest call that `rates` makes
    study       the paper study in a process of its own, then again in the same one
    profile     one trace for TensorBoard, in a folder beside the file
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import chinchilla_jax as cj
from chinchilla_jax.laws import LAWS
from chinchilla_jax.perturbations import parse_condition
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.solvers.call_counter import ENGINE_CALLS

XLA = SolverOptions(engine="xla")
CONDITIONS = ("identity", "additive=-4e7", "log_normal_noise=0.68#0", "log_normal_noise=2.4#0")


def optima(smoke: bool, folder: Path) -> dict[str, Any]:
    runs = cj.load_runs("chinchilla", params="standard")
    found = {}
    for name in CONDITIONS[: 1 if smoke else None]:
        these = parse_condition(name).apply(runs)
        point = cj.fit(these, starts=64, options=SolverOptions(engine="lanes"))
        boots = [
            cj.bootstrap(these, resamples=50 if smoke else 4000, point=point, options=SolverOptions(engine=e))
            for e in ("lanes", "xla")
        ]
        values = [np.asarray(boot.objective_value) for boot in boots]
        both = boots[0].converged & boots[1].converged
        relative = np.abs(values[1][both] / values[0][both] - 1)
        found[name] = {
            "certified by lanes, by xla": [int(boot.converged.sum()) for boot in boots],
            "share equal to 1e-9": float((relative < 1e-9).mean()),
            "worst": float(relative.max()),
        }
    return found


def _rate(runs: Any, lanes: int, **more: Any) -> dict[str, Any]:
    point = cj.fit(runs, starts=64, options=XLA, **more)
    seconds, calls = [], 0
    for _ in range(3):
        before, begun = ENGINE_CALLS.calls, time.perf_counter()
        boot = cj.bootstrap(runs, resamples=lanes, point=point, options=XLA, **more)
        seconds.append(time.perf_counter() - begun)
        calls = ENGINE_CALLS.calls - before
    certified = int(boot.counted.sum())
    return {
        "certified": certified,
        "per s": certified / min(seconds),
        "first (s)": seconds[0],
        "calls": calls,
    }


def rates(smoke: bool, folder: Path) -> dict[str, Any]:
    runs = cj.load_runs("chinchilla", params="standard")
    found = {}
    for lanes in (40,) if smoke else (4_000, 64_000, 1_000_000):
        found[f"{lanes:,} lanes"] = _rate(runs, lanes)
        print(json.dumps(found), flush=True)  # what is there if the next one takes too long
    return found


def laws(smoke: bool, folder: Path) -> dict[str, Any]:
    runs = cj.load_runs("chinchilla", params="standard")
    found = {}
    for name in list(LAWS)[: 1 if smoke else None]:
        found[name] = _rate(runs, 20 if smoke else 4000, law=LAWS[name]())
        print(json.dumps(found), flush=True)
    return found


def huber_scale(smoke: bool, folder: Path) -> dict[str, Any]:
    from chinchilla_jax.laws import HuberScale

    runs = cj.load_runs("chinchilla", params="standard")
    return _rate(runs, 20 if smoke else 4000, objective=HuberScale())


def weights(smoke: bool, folder: Path) -> dict[str, Any]:
    from chinchilla_jax.bootstrapping import random_bits

    ids = np.arange(100 if smoke else 100_000, dtype=np.uint32)
    ours = random_bits.random_counts(240, ids, 0, 0)
    with unittest.mock.patch.object(random_bits, "drawing_kernel", lambda: None):
        by_jax = random_bits.random_counts(240, ids, 0, 0)
        begun = time.perf_counter()
        random_bits.random_counts(240, ids, 0, 0)
        seconds = time.perf_counter() - begun
    return {"same bits": bool(np.array_equal(ours, by_jax)), "rows per s": len(ids) / seconds}


def ceilings(smoke: bool, folder: Path) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from chinchilla_jax._util.float64 import float64_scope

    size = 2**16 if smoke else 2**26

    def best(function: Callable[..., Any], *arguments: Any) -> float:
        compiled = jax.jit(function)
        jax.block_until_ready(compiled(*arguments))
        seconds = []
        for _ in range(5):
            begun = time.perf_counter()
            jax.block_until_ready(compiled(*arguments))
            seconds.append(time.perf_counter() - begun)
        return min(seconds)

    def many(x: Any) -> Any:
        for _ in range(64):
            x = x * 1.0001 + 1e-6
        return x

    def put(host: Any) -> Any:
        return jax.block_until_ready(jax.device_put(host))

    found: dict[str, Any] = {}
    with float64_scope():
        for kind in (np.float32, np.float64):
            host = np.ones(size, kind)
            x, name, width = jnp.asarray(host), kind.__name__, np.dtype(kind).itemsize
            found[f"copy, GB/s, {name}"] = 2 * size * width / best(lambda x: x + 1, x) / 1e9
            found[f"multiply-add, G/s, {name}"] = 64 * size / best(many, x) / 1e9
            for function in (jnp.exp, jnp.log):
                seconds = best(lambda x, f=function: f(x), x)
                found[f"{function.__name__} with a copy, G/s, {name}"] = size / seconds / 1e9
            seconds = min(_seconds(functools.partial(put, host)) for _ in range(5))
            found[f"to the device, GB/s, {name}"] = size * width / seconds / 1e9
            fresh = jax.block_until_ready(x * 2)
            begun = time.perf_counter()
            np.asarray(fresh)
            found[f"to the host, GB/s, {name}"] = size * width / (time.perf_counter() - begun) / 1e9
    return found


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def memory(smoke: bool, folder: Path) -> dict[str, Any]:
    import jax

    _rate(cj.load_runs("chinchilla", params="standard"), 40 if smoke else 256_000)
    statistics = jax.local_devices()[0].memory_stats() or {}
    return {name: statistics.get(name) for name in ("peak_bytes_in_use", "bytes_limit")}


def study(smoke: bool, folder: Path) -> dict[str, Any]:
    from chinchilla_jax.cli import main

    found = {}
    resamples = "4" if smoke else "4000"
    for turn in ("first", "warm"):
        before, begun = ENGINE_CALLS.calls, time.perf_counter()
        command = ["study", "paper", "--out", tempfile.mkdtemp(), "--resamples", resamples, "--engine", "xla"]
        code = main([*command, "--no-figures", "--quiet"])
        found[turn] = {
            "exit code": code, "seconds": time.perf_counter() - begun, "calls": ENGINE_CALLS.calls - before,
        }  # fmt: skip
        print(json.dumps(found), flush=True)
    return found


def profile(smoke: bool, folder: Path) -> dict[str, Any]:
    import jax

    runs = cj.load_runs("chinchilla", params="standard")
    lanes = 20 if smoke else 64_000
    _rate(runs, lanes)
    point = cj.fit(runs, starts=64, options=XLA)
    with jax.profiler.trace(str(folder)):
        cj.bootstrap(runs, resamples=lanes, point=point, options=XLA)
    return {"folder": str(folder), "files": sum(path.is_file() for path in folder.rglob("*"))}


# Seconds that each part may take: 460 together.
PARTS: dict[str, tuple[Callable[[bool, Path], dict[str, Any]], int]] = {
    "ceilings": (ceilings, 30), "weights": (weights, 30), "optima": (optima, 60), "rates": (rates, 90),
    "laws": (laws, 90), "huber_scale": (huber_scale, 30), "memory": (memory, 30), "study": (study, 70),
    "profile": (profile, 30),
}  # fmt: skip
_QUICK = ("ceilings", "weights")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "gpu.json")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=None)
    parser.add_argument("--smoke", action="store_true", help="two parts, small")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)  # a process that measures
    args = parser.parse_args()
    folder = args.out.with_suffix(".profile")
    if args.part:
        print(json.dumps(PARTS[args.part][0](args.smoke, folder)))
        return 0
    import jax

    names = args.only or (list(_QUICK) if args.smoke else list(PARTS))
    devices = subprocess.run(
        [sys.executable, "-c", "import jax; print(jax.local_devices())"],
        check=False, text=True, stdout=subprocess.PIPE,
    ).stdout.strip()  # fmt: skip
    found: dict[str, Any] = {"devices": devices, "jax": jax.__version__, "parts": {}}
    for name in names:
        found["parts"][name] = _in_process(name, args)
        args.out.write_text(json.dumps(found, indent=1))
    print(f"{devices}; jax {found['jax']}; {args.out}")
    for name, part in found["parts"].items():
        print(f"\n{name}: {part['state']}, {part['seconds']:.1f} s")
        for key, value in part["found"].items():
            print(f"  {key:38} {_text(value)}")
    return int(any(part["state"] != "done" for part in found["parts"].values()))


def _in_process(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One part: its numbers, or those that it printed before it failed."""
    command = [sys.executable, __file__, "--part", name, f"--out={args.out}", *["--smoke"] * args.smoke]
    begun, state = time.perf_counter(), "done"
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        try:
            code = subprocess.run(
                command, stdout=output, stderr=errors, timeout=PARTS[name][1], check=False
            ).returncode
            state = "done" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            state = f"stopped after {PARTS[name][1]} s"
        output.seek(0)
        errors.seek(0)
        lines = [line for line in output.read().splitlines() if line.startswith("{")]
        message = errors.read()[-2000:]
    part: dict[str, Any] = {"state": state, "seconds": time.perf_counter() - begun, "found": {}}
    try:
        part["found"] = json.loads(lines[-1]) if lines else {}
    except ValueError:
        part["state"] += ", with output that is no JSON"
    return part | ({"errors": message} if state != "done" else {})


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
