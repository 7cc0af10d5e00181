"""Strike every command that writes, thousands of times, and compare what it leads to with an undisturbed run.

    python benchmarks/faults.py                    # 1,000 faults, then the other parts
    python benchmarks/faults.py --smoke            # seconds, for the gate
    python benchmarks/faults.py --faults 200 --only report --seed 3

A round prepares a place, strikes a command up to six times in a row at drawn points (see
_faults/failpoints.py: every write, sync, rename, removal and start of a process; killed before, in the
middle, after; a power cut; ENOSPC, EIO, EDQUOT, short writes), completes it by the same command without a
fault, and compares every file: tables by their bytes, figures and pages by what they show. Most rounds run
in forks of one process that has imported everything, the others in new processes.

| column          | counts                                                                             |
|-----------------|------------------------------------------------------------------------------------|
| tables differ   | rounds after which a table or a record differs, or a file is missing or left over  |
| pictures differ | rounds after which a figure or a page shows something else                         |
| stuck           | commands that hang, or do not complete in two attempts                             |
| rude            | errors of the system that end in anything but an exit code and one line            |

Then come the parts of _faults/memory.py (errors of a store in memory), _faults/versions.py (two versions of
the project on one directory) and _faults/moments.py (signals at any moment, damage, two writers, a full disk,
Dask's workers). Exit code 1 if any count but the first is not zero.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from _faults.campaign import Campaign, print_counts
from _faults.commands import Bucket, commands
from _faults.memory import Memory
from _faults.moments import Moments
from _faults.running import preload
from _faults.versions import Versions

_SMOKE = ("study, tables only", "study init")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a few faults of two commands")
    parser.add_argument("--faults", type=int, default=1000, help="how many at least at failpoints")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--only", default="", help="only commands and parts whose name contains this")
    parser.add_argument("--folder", default=None, help="where to work, such as a folder in memory")
    args = parser.parse_args()
    if args.smoke:
        args.faults = 8
    begun = time.perf_counter()
    # Before NumPy is imported: a process that forks must not have threads.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ.setdefault("MPLBACKEND", "Agg")
    print(f"{datetime.date.today()}, seed {args.seed}, {', '.join(f'{n} {v}' for n, v in _versions())}")
    with tempfile.TemporaryDirectory(prefix="faults-", dir=args.folder) as place:
        folder = Path(place)
        os.environ["CHINCHILLA_JAX_CACHE"] = str(folder / "programs")
        preload()
        failed = at_failpoints(folder, args)
        print(f"{time.perf_counter() - begun:.0f} s")
        for part in (Memory, Versions, Moments):
            failed |= part(folder, random.Random(args.seed), smoke=args.smoke).run(args.only)
    print(f"{time.perf_counter() - begun:.0f} s in all; {'differences' if failed else 'no difference'}")
    return 1 if failed else 0


def at_failpoints(folder: Path, args: argparse.Namespace) -> bool:
    """The campaign; returns whether anything went wrong."""
    object_store = not args.smoke and all(map(importlib.util.find_spec, ("moto", "s3fs", "boto3")))
    bucket = Bucket() if object_store else None
    try:
        campaign = Campaign(folder, bucket, args.seed)
        dask = importlib.util.find_spec("distributed") is not None
        chosen = [
            command
            for command in commands(folder, dask=dask)
            if args.only in command.name
            and (command.place != "s3" or bucket)
            and (not args.smoke or command.name in _SMOKE)
        ]
        if not chosen:
            return False
        prepared = [campaign.prepare(command) for command in chosen]
        for each in prepared:
            print(f"{each.command.name:28} {len(each.points):4} points", flush=True)
        draw = random.Random(args.seed)
        number, begun = 0, time.perf_counter()
        while campaign.total < args.faults:
            (each,) = draw.choices(prepared, [each.command.share for each in prepared])
            campaign.round(each, number)
            number += 1
            if number % 25 == 0:
                print(f"{campaign.total:5} faults, {time.perf_counter() - begun:.0f} s", flush=True)
        print_counts("by command", campaign.by_command)
        print_counts("by fault", campaign.by_deed)
        print(f"{campaign.total:,} faults in {number:,} rounds")
        return campaign.failed()
    finally:
        if bucket is not None:
            bucket.stop()


def _versions() -> list[tuple[str, str]]:
    from chinchilla_jax.study.environment import versions

    return [*versions().items()]


if __name__ == "__main__":
    sys.exit(main())
