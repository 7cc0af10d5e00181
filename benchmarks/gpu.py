"""What a GPU does with the JAX engine: the same optima, rates, the study, and the limits of the device.

    PYTHONPATH=. python benchmarks/gpu.py --out gpu.json        # at most 8 minutes
    PYTHONPATH=. python benchmarks/gpu.py --only rates laws
    PYTHONPATH=. python benchmarks/gpu.py --smoke               # every part in small, on a CPU too

Every part is a process with a time limit of its own: one that fails or hangs loses its own numbers only. The
file is written after every part; a table comes last. No network is needed.

    optima      objective and theta by the engine beside the CPU kernel, four conditions
    rates       certified fits/s of the five-parameter law by number of lanes, calls of the engine, and where
                the time of the best one went: seconds of the host before a call, waiting, fetching (of all
                threads together)
    laws        certified fits/s of every law, 4,000 resamples from its point fit; seconds of the first call
    huber_scale the same by HuberScale
    weights     whether resamples drawn on the device are those of the CPU, bit for bit
    ceilings    what the device sustains: copy, float32 and float64 multiply-adds, exp and log; transfers
    achieved    a step of all places: its traffic by the compiled text, over that of a copy
    memory      peak of the device at the largest call that `rates` makes
    too_little  fits in half a gigabyte of the device: whether smaller calls go on, with the same numbers
    study       the paper study in a process of its own, then again in the same one, and what was compiled
    profile     one trace for TensorBoard, in a folder beside the file
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.drawn_errors import DrawnErrors
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.laws import LAWS, STANDARD
from chinchilla_jax.perturbations import parse_condition
from chinchilla_jax.solvers import Problem, SolverOptions
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


@contextlib.contextmanager
def _spent() -> Iterator[dict[str, float]]:
    """Seconds of what goes on inside, and compilations."""
    import jax

    from chinchilla_jax.solvers.jax_newton.device_calls import Begun, DeviceCalls

    found = dict.fromkeys(("before (s)", "waiting (s)", "fetching (s)", "compiled", "compiling (s)"), 0.0)
    begin, fetched, compile_it = DeviceCalls.begin, Begun.fetched, jax.stages.Lowered.compile

    def timed_begin(self: DeviceCalls, *arguments: Any) -> Begun:
        begun, compiling = time.perf_counter(), found["compiling (s)"]
        call = begin(self, *arguments)
        found["before (s)"] += time.perf_counter() - begun - (found["compiling (s)"] - compiling)
        return call

    def timed_fetched(self: Begun) -> Any:
        begun = time.perf_counter()
        jax.block_until_ready(self.found)
        ready = time.perf_counter()
        ended = fetched(self)
        found["waiting (s)"] += ready - begun
        found["fetching (s)"] += time.perf_counter() - ready
        return ended

    def timed_compile(self: Any, *arguments: Any, **more: Any) -> Any:
        begun = time.perf_counter()
        program = compile_it(self, *arguments, **more)
        found["compiled"] += 1
        found["compiling (s)"] += time.perf_counter() - begun
        return program

    with (
        mock.patch.object(DeviceCalls, "begin", timed_begin),
        mock.patch.object(Begun, "fetched", timed_fetched),
        mock.patch.object(jax.stages.Lowered, "compile", timed_compile),
    ):
        yield found


def _rate(runs: Any, lanes: int, **more: Any) -> dict[str, Any]:
    point = cj.fit(runs, starts=64, options=XLA, **more)
    turns = []
    for _ in range(3):
        before, begun = ENGINE_CALLS.calls, time.perf_counter()
        with _spent() as spent:
            boot = cj.bootstrap(runs, resamples=lanes, point=point, options=XLA, **more)
        turns.append((time.perf_counter() - begun, ENGINE_CALLS.calls - before, spent))
    certified = int(boot.counted.sum())
    seconds, calls, spent = min(turns, key=lambda turn: turn[0])
    return {
        "certified": certified,
        "per s": certified / seconds,
        "first (s)": turns[0][0],
        "compiled then, in s": [turns[0][2]["compiled"], turns[0][2]["compiling (s)"]],
        "calls": calls,
        **{name: spent[name] for name in ("before (s)", "waiting (s)", "fetching (s)")},
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
    for name in list(STANDARD)[: 1 if smoke else None]:
        found[name] = _rate(runs, 20 if smoke else 4000, law=LAWS[name]())
        print(json.dumps(found), flush=True)
    return found


def huber_scale(smoke: bool, folder: Path) -> dict[str, Any]:
    from chinchilla_jax.laws import HuberScale

    runs = cj.load_runs("chinchilla", params="standard")
    return _rate(runs, 20 if smoke else 4000, objective=HuberScale())


def weights(smoke: bool, folder: Path) -> dict[str, Any]:
    import jax

    from chinchilla_jax.bootstrapping.schemes import SCHEMES, Jackknife
    from chinchilla_jax.solvers.drawn import Drawn, draw

    runs, ids = cj.load_runs("chinchilla", params="standard"), np.arange(100 if smoke else 65_536)
    found: dict[str, Any] = {}
    for name, kind in SCHEMES.items():
        if issubclass(kind, DrawnErrors):
            continue
        ours = kind().drawn(runs, ids % len(runs) if kind is Jackknife else ids, 0)
        if not isinstance(ours, Drawn):
            continue
        theirs, _, _ = draw(ours, ids, (len(ids), len(runs)))
        begun = time.perf_counter()
        jax.block_until_ready(draw(ours, ids, ours.shape))
        seconds = time.perf_counter() - begun
        found[f"{name}: same bits, rows per s"] = [
            bool(np.array_equal(np.asarray(ours), theirs)),
            len(ids) / seconds,
        ]
    return found


def ceilings(smoke: bool, folder: Path) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    from chinchilla_jax._util.float64 import float64_scope

    size = 2**16 if smoke else 2**26

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
            _best(many, x)  # the device begins slowly
            found[f"copy, GB/s, {name}"] = 2 * size * width / _best(lambda x: x + 1, x) / 1e9
            found[f"multiply-add, G/s, {name}"] = 64 * size / _best(many, x) / 1e9
            for function in (jnp.exp, jnp.log):
                seconds = _best(lambda x, f=function: f(x), x)
                found[f"{function.__name__} with a copy, G/s, {name}"] = size / seconds / 1e9
            seconds = min(_seconds(functools.partial(put, host)) for _ in range(5))
            found[f"to the device, GB/s, {name}"] = size * width / seconds / 1e9
            fresh = jax.block_until_ready(x * 2)
            begun = time.perf_counter()
            np.asarray(fresh)
            found[f"to the host, GB/s, {name}"] = size * width / (time.perf_counter() - begun) / 1e9
    return found


def _best(function: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of a compiled function, the best of five."""
    import jax

    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*arguments))
    return min(_seconds(lambda: jax.block_until_ready(compiled(*arguments))) for _ in range(5))


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def achieved(smoke: bool, folder: Path) -> dict[str, Any]:
    import jax
    from _device_model import Program

    from chinchilla_jax._util.float64 import float64_scope
    from chinchilla_jax.solvers.jax_newton import compiled
    from chinchilla_jax.solvers.jax_newton.calls import Calls
    from chinchilla_jax.solvers.jax_newton.device_calls import DeviceCalls
    from chinchilla_jax.solvers.jax_newton.rounds import Limits
    from chinchilla_jax.solvers.xla_options import default_platform

    platform = default_platform()
    problem = _problem()
    law, places = problem.law, compiled.layout(2**30, platform).places
    count = 8 * places
    lanes, width, nothing = np.arange(count), np.full(count, 1e-3), np.zeros(count, np.intp)
    weights = resample_weights(len(problem.design), lanes[: min(count, 4096)], 0)
    starts = np.tile(np.append(law.starts(problem.design, 1)[0], 1e3), (1, count, 1))  # in a wide zone
    shared = ([problem], weights, nothing, lanes % len(weights), width, width, SolverOptions(), platform)
    call: Any = (DeviceCalls if compiled.in_one_call(platform) else Calls)(*shared)

    def seconds(most: int) -> tuple[float, float]:
        limits = Limits(np.float64(0), np.int32(0), np.int32(most), np.int32(0))
        times, turns = [], 0.0
        for _ in range(2 if smoke else 6):
            begun = time.perf_counter()
            if isinstance(call, DeviceCalls):
                steps = call.begin(lanes, starts, limits).fetched().steps
            else:
                steps = call(lanes, starts, limits).steps
            times.append(time.perf_counter() - begun)
            turns = float(steps.sum()) / places
        return min(times), turns

    found: dict[str, Any] = {"places": places}
    with float64_scope():
        few, many = seconds(2), seconds(8)
        x = jax.numpy.ones(2**16 if smoke else 2**27)
        copy = 2 * x.nbytes / _best(lambda x: x + 1, x)
    turns = many[1] - few[1]
    step = (many[0] - few[0]) / max(turns, 1.0)
    found |= {"copy, GB/s": copy / 1e9, "steps timed, us each": [turns, step * 1e6]}
    for program in compiled._calls.values():
        for (kind, held), of_text in Program(program.as_text(), call.n_runs).steps().items():  # type: ignore[attr-defined]
            if (kind, held) == ("f64", places):
                found["kernels, MB, predicted us"] = [
                    of_text.kernels, of_text.traffic / 1e6, of_text.seconds * 1e6,
                ]  # fmt: skip
                found["achieved over copy"] = of_text.traffic / step / copy
    return found


def _problem() -> Problem:
    from chinchilla_jax.laws import CHINCHILLA, Design, Huber

    runs = cj.load_runs("chinchilla", params="standard")
    return Problem(law=CHINCHILLA, design=Design.from_runs(runs), objective=Huber())


def too_little(smoke: bool, folder: Path) -> dict[str, Any]:
    import jax

    from chinchilla_jax.solvers import dispatch, requests
    from chinchilla_jax.solvers.requests import Request, side_by_side

    problem, lanes = _problem(), 2_000 if smoke else 200_000
    weights = resample_weights(len(problem.design), np.arange(lanes), 0)
    start = np.tile(problem.law.starts(problem.design, 1), (lanes, 1))
    halved: list[int] = []
    real = dispatch.solve_many

    def small(batch: Any, starts: Any, **more: Any) -> Any:
        if len(batch) > 600:
            raise RuntimeError("RESOURCE_EXHAUSTED: as if")
        return real(batch, starts, **more)

    if jax.default_backend() == "cpu":  # which has no limit to set
        mock.patch.object(requests, "solve_many", small).start()

    def asking() -> Any:
        return (
            yield Request(
                problem=problem, weights=weights, starts=[start],
                options=SolverOptions(engine="xla", wide_start=True),
            )
        )  # fmt: skip

    (found,) = side_by_side([asking()], halved.append)
    by_kernel = cj.solvers.solve(
        problem, weights, start, options=SolverOptions(engine="lanes", wide_start=True)
    )
    same = found.is_optimum & by_kernel.is_optimum
    relative = np.abs(found.objective_value[same] / by_kernel.objective_value[same] - 1)
    assert halved, "the device had enough memory"
    return {
        "simulated": jax.default_backend() == "cpu",
        "halved": len(halved),
        "smallest half": min(halved, default=0),
        "optima": int(found.is_optimum.sum()),
        "share equal to the CPU kernel's to 1e-9": float((relative < 1e-9).mean()),
    }


def memory(smoke: bool, folder: Path) -> dict[str, Any]:
    import jax

    _rate(cj.load_runs("chinchilla", params="standard"), 40 if smoke else 256_000)
    statistics = jax.local_devices()[0].memory_stats() or {}
    return {name: statistics.get(name) for name in ("peak_bytes_in_use", "bytes_limit")}


def study(smoke: bool, folder: Path) -> dict[str, Any]:
    # Not by the command line, which needs click.
    spec = dataclasses.replace(cj.paper_study(resamples=4 if smoke else 4000), engine="xla")
    if smoke:
        spec = dataclasses.replace(spec, sweeps=spec.sweeps[:1])
    found = {}
    for turn in ("first", "warm"):
        before, begun = ENGINE_CALLS.calls, time.perf_counter()
        with _spent() as spent:
            done = cj.run_study(spec, out=tempfile.mkdtemp(), figures=False)
        found[turn] = {
            "seconds": time.perf_counter() - begun, "calls": ENGINE_CALLS.calls - before,
            "conditions": len(done.conditions), **spent,
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


# Seconds that each part may take: 480 together.
PARTS: dict[str, tuple[Callable[[bool, Path], dict[str, Any]], int]] = {
    "ceilings": (ceilings, 25), "weights": (weights, 20), "optima": (optima, 40), "rates": (rates, 50),
    "laws": (laws, 110), "huber_scale": (huber_scale, 30), "memory": (memory, 25), "study": (study, 75),
    "achieved": (achieved, 25), "too_little": (too_little, 60), "profile": (profile, 20),
}  # fmt: skip
_SMOKE_SECONDS = 300  # of each part in small, on a machine that may be busy
# Of the device's memory, where there should be too little: half a gigabyte. To try a kernel out, XLA wants
# 16 MB for each of its arrays, so that no call however small would fit.
_ENVIRONMENT = {
    "too_little": {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.004", "XLA_FLAGS": "--xla_gpu_autotune_level=0"}
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "gpu.json")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=None)
    parser.add_argument("--smoke", action="store_true", help="every part in small")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)  # a process that measures
    args = parser.parse_args()
    folder = args.out.with_suffix(".profile")
    if args.part:
        with _spent() as spent:
            done = PARTS[args.part][0](args.smoke, folder)
        print(json.dumps(done | {"compiled, in s": [spent["compiled"], spent["compiling (s)"]]}))
        return 0
    import jax

    names = args.only or list(PARTS)
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
    limit = _SMOKE_SECONDS if args.smoke else PARTS[name][1]
    begun, state = time.perf_counter(), "done"
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        try:
            code = subprocess.run(
                command, stdout=output, stderr=errors, timeout=limit, check=False,
                env=os.environ | _ENVIRONMENT.get(name, {}),
            ).returncode  # fmt: skip
            state = "done" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            state = f"stopped after {limit} s"
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
