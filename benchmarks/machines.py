"""Does one study have the same bits on other x86-64 machines? Here, and on processors that QEMU emulates.

    python benchmarks/machines.py                 # a minute for each processor
    python benchmarks/machines.py --smoke         # a small study on one processor, 20 s

Runs a study in the reproducible mode on this machine and on each processor, and counts the fits, point fits
and rows of the summaries that differ by a bit. Needs qemu-x86_64 (in Debian's qemu-user). Exit code 1 if any
does. Out of the mode, JAX and BLAS detect instructions that QEMU lacks, and end the process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from chinchilla_jax._util.reproducible import ENVIRONMENT

PROCESSORS = ("Nehalem-v1", "SandyBridge-v1", "Haswell-noTSX", "EPYC-Rome")
SPEC = """
data = "chinchilla"
resamples = {resamples}
flops = [1e20, 1e22, 1e24]
reproducible = true
[[sweeps]]
family = "multiplicative"
values = [0.01, 1.0]
[[sweeps]]
family = "log_normal_noise"
values = [0.5]
repeats = {repeats}
"""
# The child process that compiles the solver would not be emulated.
PROGRAM = """
import sys
from chinchilla_jax.solvers.lane_kernel import building
building.built = building.built_here
from chinchilla_jax.cli.entry import main
sys.exit(main(sys.argv[1:]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a small study on one other processor")
    args = parser.parse_args()
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        print("no qemu-x86_64 here; nothing compared")
        return 0
    right = True
    with tempfile.TemporaryDirectory(prefix="machines-") as folder:
        spec = Path(folder) / "spec.toml"
        spec.write_text(
            SPEC.format(
                **({"resamples": 20, "repeats": 1} if args.smoke else {"resamples": 200, "repeats": 3})
            )
        )
        here = tables(run(spec, (), Path(folder) / "here"))
        for name in PROCESSORS[:1] if args.smoke else PROCESSORS:
            found = tables(run(spec, (emulator, "-cpu", name), Path(folder) / name))
            counts = {kind: differing(here[kind], found[kind]) for kind in here}
            texts = (f"{count} of {total} {kind}" for kind, (count, total) in counts.items())
            print(f"{name:16} differ: {', '.join(texts)}", flush=True)
            right &= not any(count for count, _ in counts.values())
    return 0 if right else 1


def run(spec: Path, emulator: tuple[str, ...], out: Path) -> Path:
    """Run a study on a processor; returns its directory."""
    environment = {**os.environ, "CHINCHILLA_JAX_CACHE": "off", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([os.getcwd(), sysconfig.get_path("purelib")])
    environment |= ENVIRONMENT
    python = os.path.realpath(sys.executable)  # a virtual environment's link would leave the emulator
    command = [*emulator, python, "-c", PROGRAM, "study", str(spec), "--out", str(out)]
    subprocess.run(
        [*command, "--no-figures", "--quiet", "--workers", "1"],
        env=environment,
        check=True,
        capture_output=True,
    )
    return out


def tables(out: Path) -> dict[str, list[pd.DataFrame]]:
    """Numbers of every table by what its rows are, and the statuses of fits."""
    files = {
        "fits": sorted(out.glob("fits/*.parquet")),
        "point fits": [out / "point.parquet"],
        "rows of summaries": sorted(out.glob("summary/*.parquet")),
    }
    return {kind: [pq.read_table(path).to_pandas() for path in paths] for kind, paths in files.items()}


def differing(here: list[pd.DataFrame], there: list[pd.DataFrame]) -> tuple[int, int]:
    """How many rows differ by a bit, of how many."""
    count = total = 0
    for a, b in zip(here, there, strict=True):
        count += int((~((a == b) | (a.isna() & b.isna())).all(axis=1)).sum())
        total += len(a)
    return count, total


if __name__ == "__main__":
    sys.exit(main())
