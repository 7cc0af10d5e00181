"""Damaged and hostile input, thousands of pieces: no traceback, no hang, nothing unnoticed, no memory gone.

    python benchmarks/fuzz.py                      # every target at its full number
    python benchmarks/fuzz.py --only study         # one target
    python benchmarks/fuzz.py --smoke              # a few of each, for the gate

Each target is a module beside this one with a number of examples `EXAMPLES`, a function `prepared(folder)`
that makes what all of them share, and `tried(shared, draw, number)` that makes one from a random generator,
has the commands read it and returns its kind, a verdict ("read", "refused", which is in one line, or what is
wrong) and what happened. They run in a process of their own. An example that computes for more than ten
seconds, or takes more than sixty, is a hang (others may use the machine); one after which the process has a
gigabyte more is a leak. The seed and the number of an example make it again (--first).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import IO, Any

from _machine import require

from chinchilla_jax._util.system import peak_memory

TARGETS = {"study": "_fuzz_study", "tables": "_fuzz_tables", "specs": "_fuzz_specs"}
FINE = ("read", "refused")
_HANG_SECONDS = 10.0  # of computing
_WAIT_SECONDS = 60.0
_START_SECONDS = 300.0
_MOST_GROWTH = 2**30
_SMOKE = 40


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help=f"{_SMOKE} examples of each target")
    parser.add_argument("--only", choices=TARGETS, help="this target only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first example")
    parser.add_argument("--number", type=int, help="how many examples")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        _work(args.work[0], args.seed, args.first, int(args.work[1]))
        return
    require("openpyxl")
    failed = 0
    for target in [args.only] if args.only else TARGETS:
        number = args.number or (_SMOKE if args.smoke else importlib.import_module(TARGETS[target]).EXAMPLES)
        failed += _campaign(target, args.seed, args.first, args.first + number)
    if failed:
        raise SystemExit(f"{failed} examples went wrong")


def _campaign(target: str, seed: int, first: int, stop: int) -> int:
    """Try the examples `first` to `stop` - 1, print the counts and return how many went wrong."""
    verdicts: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    begun, slowest = time.perf_counter(), 0.0
    while first < stop:
        for number, found in _answers(target, seed, first, stop):
            kind, verdict = found["kind"], found["verdict"]
            verdicts.setdefault(kind, Counter())[verdict] += 1
            slowest = max(slowest, found["seconds"])
            if verdict not in FINE:
                wrong.append(f"{target} {number}, {kind}: {verdict}: {found['what']}")
            first = number + 1
    print(f"{target}: {sum(map(Counter.total, verdicts.values())):,} examples, seed {seed}, in ", end="")
    print(f"{time.perf_counter() - begun:.0f} s; the slowest computed for {slowest:.1f} s")
    for kind, counts in sorted(verdicts.items()):
        print(f"  {kind:28} " + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    for line in wrong[:40]:
        print(f"  WRONG {line}")
    return len(wrong)


def _answers(target: str, seed: int, first: int, stop: int) -> Any:
    """The number and the answer of each example, up to the first hang or the end of the process."""
    command = [
        sys.executable,
        __file__,
        "--seed",
        str(seed),
        "--first",
        str(first),
        "--work",
        target,
        str(stop),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_collect, args=(process.stdout, lines), daemon=True).start()
    wait, number = _START_SECONDS, first
    try:
        while True:
            try:
                line = lines.get(timeout=wait)
            except queue.Empty:
                if wait == _START_SECONDS:
                    raise SystemExit(f"{target}: the process does not start") from None
                yield number, _trouble("hang", f"more than {_WAIT_SECONDS:.0f} s")
                return
            if not line:
                break
            found = json.loads(line)
            if "number" in found:
                number, wait = found["number"] + 1, _WAIT_SECONDS
                yield found["number"], found
            else:
                wait = _WAIT_SECONDS
        if number < stop:
            yield number, _trouble("died", f"the process ended with {process.wait()}")
    finally:
        process.kill()
        process.wait()


def _trouble(verdict: str, what: str) -> dict[str, Any]:
    return {"kind": "any", "verdict": verdict, "what": what, "seconds": 0.0}


def _collect(stream: IO[str], lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _work(target: str, seed: int, first: int, stop: int) -> None:
    """Try examples and print an answer for each, a JSON object in a line."""
    module = importlib.import_module(TARGETS[target])
    answers = sys.stdout
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, contextlib.redirect_stdout(sys.stderr):
        shared = module.prepared(Path(folder))
        print("{}", file=answers, flush=True)
        memory = peak_memory() or 0  # where the system does not say, no growth is seen
        for number in range(first, stop):
            begun = time.process_time()
            kind, verdict, what = module.tried(shared, random.Random(f"{seed} {number}"), number)
            peak = peak_memory() or 0
            grown, memory = peak - memory, peak
            if grown > _MOST_GROWTH:
                verdict, what = "leak", f"{grown / 2**30:.1f} GiB more; {what}"
            seconds = time.process_time() - begun
            if seconds > _HANG_SECONDS:
                verdict, what = "hang", f"{seconds:.0f} s; {what}"
            found = {"number": number, "kind": kind, "verdict": verdict, "what": what}
            print(json.dumps(found | {"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
