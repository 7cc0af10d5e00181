"""Speed-up by several devices: the same bootstrap on 1, 2 and 8 of them, and whether the numbers agree.

    python benchmarks/devices.py                    # host devices, forced: 1, 2 and 8
    python benchmarks/devices.py --devices local    # the accelerators of this machine: 1, 2, 4, ... of them
    python benchmarks/devices.py --smoke            # seconds, for the gate

Every row runs in its own process. k host devices get k cores, as far as the machine has them
(on Linux; elsewhere every row has all cores). The efficiency is the rate relative to one device on one core,
per core: 8 devices on two cores should be as fast as 2. CUDA_VISIBLE_DEVICES limits the accelerators.
Compilation does not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

import chinchilla_jax as cj
from chinchilla_jax._util.devices import available_cores

_FORCED = "--xla_force_host_platform_device_count"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", choices=("host", "local"), default="host")
    parser.add_argument("--resamples", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, of which the best counts")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)  # a process that measures
    args = parser.parse_args()
    if args.smoke:
        args.resamples, args.rounds = 300, 1
    if args.row:
        print(json.dumps(measure(args.resamples, args.rounds)))
        return

    host = args.devices == "host"
    counts = [2] if args.smoke else [1, 2, 8] if host else _powers_of_two(_accelerators())
    print(
        f"{'devices':>7} {'cores':>5} {'certified':>9} {'fits/s':>8} {'ratio':>6} {'efficiency':>10}  numbers"
    )
    first: dict[str, object] = {}
    for count in counts:
        cores = min(count, available_cores())
        found = _in_process(count, cores, host, args)
        first = first or found
        ratio = found["rate"] / first["rate"]
        efficiency = ratio / (cores if host else count)
        same = "as with one" if found["digest"] == first["digest"] else "DIFFERENT"
        print(
            f"{found['devices']:7d} {cores:5d} {found['certified']:9d} {found['rate']:8.0f} {ratio:6.2f} "
            f"{efficiency:10.2f}  {same}",
            flush=True,
        )


def _in_process(count: int, cores: int, host: bool, args: argparse.Namespace) -> dict[str, Any]:
    environment = dict(os.environ)
    if host:
        environment |= {"XLA_FLAGS": f"{_FORCED}={count}", "JAX_PLATFORMS": "cpu"}
    else:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(count)))
    command = [sys.executable, __file__, "--row", f"--resamples={args.resamples}", f"--rounds={args.rounds}"]

    def pin() -> None:
        if sys.platform == "linux":
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    done = subprocess.run(
        command,
        env=environment,
        preexec_fn=pin if host and sys.platform == "linux" else None,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


def measure(resamples: int, rounds: int) -> dict[str, Any]:
    """Rate of a bootstrap on the devices of this process, and a digest of its laws."""
    import jax

    runs = cj.load_runs("chinchilla", params="standard")
    options = cj.SolverOptions(engine="xla")
    point = cj.fit(runs, starts=32, options=options)
    best = np.inf
    for _ in range(rounds + 1):  # the first compiles
        begun = time.perf_counter()
        boot = cj.bootstrap(runs, resamples=resamples, point=point, options=options)
        best = min(best, time.perf_counter() - begun)
    laws = np.stack([boot.laws.E, boot.laws.A, boot.laws.B, boot.laws.alpha, boot.laws.beta])
    certified = int(boot.converged.sum())
    return {
        "devices": jax.local_device_count(),
        "certified": certified,
        "rate": certified / best,
        "digest": hashlib.sha256(laws.tobytes()).hexdigest(),
    }


def _accelerators() -> int:
    import jax

    return jax.local_device_count()


def _powers_of_two(most: int) -> list[int]:
    return [2**k for k in range(most.bit_length()) if 2**k <= most]


if __name__ == "__main__":
    main()
