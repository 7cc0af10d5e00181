"""Count how commands end: orderly, by themselves or after Ctrl-C, on a machine with too much to do.

    python benchmarks/exits.py                     # 3,000 ends and 20 Ctrl-C per command; hours on two cores
    python benchmarks/exits.py --smoke             # every command once, for the gate

Ends: commands that read Arrow tables or start threads run to their end, many at a time. Each must end with
exit code 0 and nothing on stderr. Ctrl-C: every command that computes is interrupted at a moment drawn
between its start and its usual end. Each must end within two seconds with exit code 1 and one line, below
the forecast with which a long one begins, or be done. Processes that share the cores are the load: as many
as --parallel, several per core.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

SPEC = """
data = "chinchilla"
interpretations = ["standard"]
resamples = {resamples}
"""
HANG = 300.0  # seconds after which a command is killed
INTERRUPTED = "interrupted"
# What a long command says before it works; it comes first.
_ANNOUNCED = re.compile(r"\A[a-z ]+: [\d,]+ [^\n]* about [^\n]* on \d+ cores?[^\n]*\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="every command once, two at a time")
    parser.add_argument("--ends", type=int, default=3000, help="commands that run to their end, in all")
    parser.add_argument("--interrupts", type=int, default=20, help="Ctrl-C per command")
    parser.add_argument("--parallel", type=int, default=4 * (os.cpu_count() or 1), help="processes at a time")
    parser.add_argument("--forks", action="store_true", help="ends of `study status` alone, many a second")
    parser.add_argument("--only", default="", help="only commands whose name contains this")
    parser.add_argument("--limit", type=float, default=2.0, help="seconds from Ctrl-C to the end")
    parser.add_argument("--latest", type=float, default=16.0, help="no Ctrl-C after these CPU seconds")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments of Ctrl-C")
    parser.add_argument("--minutes", type=float, default=1e6, help="start nothing after this time")
    args = parser.parse_args()
    stop = time.monotonic() + 60.0 * args.minutes
    if args.smoke:
        args.ends, args.interrupts, args.parallel, args.latest, args.limit = 3, 1, 2, 1.0, HANG
    with tempfile.TemporaryDirectory(prefix="exits-") as name:
        folder = Path(name)
        prepare(folder)
        if args.forks:
            raise SystemExit(count_forks(folder, args))
        with concurrent.futures.ThreadPoolExecutor(args.parallel) as pool:
            bad = count_ends(folder, args, pool, stop) + count_interrupts(folder, args, pool, stop)
    if bad:
        raise SystemExit(f"{bad} commands did not end as they should")


@dataclasses.dataclass(frozen=True)
class End:
    """How a command ended.

    Attributes:
        name: of the command.
        code: exit code, or the negative number of a signal.
        said: stderr.
        seconds: from Ctrl-C, or from the start if there was none, to the end.
        interrupted: whether Ctrl-C came before the end.
    """

    name: str
    code: int
    said: str
    seconds: float
    interrupted: bool = False

    def fault(self, limit: float) -> str:
        """What is wrong with it; "" if nothing is."""
        said = _ANNOUNCED.sub("", self.said)
        if not self.interrupted:
            return "" if (self.code, said) == (0, "") else f"exit code {self.code}: {_head(self.said)}"
        if self.code == 0 and not said:  # it was faster
            return "" if self.seconds <= limit else "not interrupted"
        if self.code == 1 and said.count("\n") == 1 and INTERRUPTED in said:
            return "" if self.seconds <= limit else "late"
        return f"exit code {self.code}: {_head(self.said)}"


def prepare(folder: Path) -> None:
    """A finished study for the commands that ask about one, and specs."""
    (folder / "small.toml").write_text(SPEC.format(resamples=50), encoding="utf-8")
    (folder / "large.toml").write_text(SPEC.format(resamples=400_000), encoding="utf-8")
    made = run(folder, "study", ["study", "small.toml", "--out", "done", "--no-figures"])
    if made.code:
        raise SystemExit(made.said)


def count_ends(folder: Path, args: argparse.Namespace, pool: concurrent.futures.Executor, stop: float) -> int:
    """Run commands to their end; gives how many ended badly."""
    commands = {
        "status": ["study", "status", "done"],
        "check": ["study", "check", "small.toml"],
        "fit": ["fit", "chinchilla"],
    }
    chosen = [name for name in commands if args.only in name]
    jobs: list[Callable[[], End]] = [
        lambda name=name: run(folder, name, commands[name])  # type: ignore[misc]
        for _, name in zip(range(args.ends if chosen else 0), _forever(chosen), strict=False)
    ]
    return report("ends", pool, jobs, stop, args.limit)


def count_forks(folder: Path, args: argparse.Namespace) -> int:
    """Run `study status` in forks of a process that has imported what it needs, and print how they ended.

    A fork ends as any process does, and most of the time that a command takes is imports.
    """
    program = [sys.executable, "-c", _FORKS, str(args.ends), str(args.parallel), str(60.0 * args.minutes)]
    return subprocess.run(program, cwd=folder, env=_environment(), check=False).returncode


def count_interrupts(
    folder: Path, args: argparse.Namespace, pool: concurrent.futures.Executor, stop: float
) -> int:
    """Interrupt commands; gives how many ended badly."""
    # With the CPU seconds in which Ctrl-C comes: up to where the command ends.
    commands: dict[str, tuple[float, list[str]]] = {
        "fit": (1.0, ["fit", "chinchilla"]),
        "fit-kaplan": (4.0, ["fit", "chinchilla", "--law", "kaplan"]),
        "bootstrap": (8.0, ["bootstrap", "chinchilla", "--resamples", "1000000"]),
        "bootstrap-xla": (8.0, ["bootstrap", "chinchilla", "--engine", "xla", "--resamples", "100000"]),
        "study": (8.0, ["study", "large.toml", "--out", "{new}"]),
        "report": (4.0, ["report", "done", "--out", "{new}.html"]),
        "coverage": (8.0, ["coverage", "chinchilla", "--out", "{new}"]),
        "breakdown": (8.0, ["breakdown", "chinchilla"]),
        "influence": (2.0, ["influence", "chinchilla"]),
        "diagnose": (2.0, ["diagnose", "chinchilla", "chinchilla"]),
        "forms": (16.0, ["forms", "chinchilla"]),
        "objectives": (16.0, ["objectives", "chinchilla"]),
        "wald": (2.0, ["wald", "chinchilla"]),
        "plan": (4.0, ["plan", "chinchilla", "--flops", "1e22", "--resamples", "100000"]),
        "status": (0.5, ["study", "status", "done"]),
    }
    draw = random.Random(args.seed)
    chosen = [name for name in commands if args.only in name] if args.interrupts else []
    jobs: list[Callable[[], End]] = []
    for number in range(args.interrupts):
        for name in chosen:
            longest, words = commands[name]
            words = [word.format(new=f"{name}-{number}") for word in words]
            after = draw.uniform(0.3, min(longest, args.latest))
            jobs.append(lambda name=name, words=words, after=after: interrupt(folder, name, words, after))  # type: ignore[misc]
    return report("Ctrl-C", pool, jobs, stop, args.limit)


def report(
    what: str, pool: concurrent.futures.Executor, jobs: Sequence[Callable[[], End]], stop: float, limit: float
) -> int:
    """Run the jobs, print a line per command, and every fault; gives the number of faults."""

    def in_time(job: Callable[[], End]) -> End | None:
        return job() if time.monotonic() < stop else None

    ends: dict[str, list[End]] = collections.defaultdict(list)
    bad = 0
    for future in concurrent.futures.as_completed([pool.submit(in_time, job) for job in jobs]):
        end = future.result()
        if end is None:
            continue
        ends[end.name].append(end)
        if end.fault(limit):
            bad += 1
            print(f"{what} {end.name} after {end.seconds:.2f} s: {end.fault(limit)}", flush=True)
    for name, those in ends.items():
        faults = sum(bool(end.fault(limit)) for end in those)
        caught = [end for end in those if end.interrupted]
        slowest = max(end.seconds for end in caught or those)
        of = f", {len(caught)} before the end" if caught else ""
        print(f"{what:<8}{name:<16}{len(those):>6}{of}; {faults} bad, slowest {slowest:.2f} s", flush=True)
    return bad


def run(folder: Path, name: str, words: Sequence[str]) -> End:
    """Run a command to its end."""
    begun = time.monotonic()
    process = start(folder, words)
    said = _communicate(process)
    return End(name, process.returncode, said, time.monotonic() - begun)


def interrupt(folder: Path, name: str, words: Sequence[str], after: float) -> End:
    """Send Ctrl-C to a command that has used `after` seconds of CPU time."""
    process = start(folder, words)
    # By its own clock: how far it is depends on the CPU time that it got.
    while process.poll() is None and cpu_seconds(process.pid) < after:
        time.sleep(0.02)
    begun = time.monotonic()
    caught = process.poll() is None
    process.send_signal(signal.SIGINT)
    said = _communicate(process)
    return End(name, process.returncode, said, time.monotonic() - begun, caught)


def start(folder: Path, words: Sequence[str]) -> subprocess.Popen[str]:
    """Start the command line with these arguments in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONFAULTHANDLER": "1"}


# A shell that starts this in the background has its children ignore Ctrl-C.
_PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from chinchilla_jax.cli import main; sys.exit(main())"
)

_FORKS = """
import collections, os, sys, tempfile, time
import pandas, pyarrow.parquet, rich.console
import chinchilla_jax.cli.study, chinchilla_jax.study
from chinchilla_jax.cli import main

count, parallel, stop = int(sys.argv[1]), int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
running, ends = {}, collections.Counter()
while running or (sum(ends.values()) < count and time.monotonic() < stop):
    if len(running) < parallel and sum(ends.values()) + len(running) < count and time.monotonic() < stop:
        said = tempfile.TemporaryFile()
        if not (child := os.fork()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(said.fileno(), 2)
            sys.argv[1:] = ["study", "status", "done"]
            sys.exit(main())
        running[child] = said
    else:
        child, status = os.wait()
        said = running.pop(child)
        said.seek(0)
        words = said.read().decode(errors="replace").split("\\n")[0]
        ends[f"exit code {os.waitstatus_to_exitcode(status)} {words}"] += 1
for end, number in ends.items():
    print(f"forks of `study status`: {number:,} ended with {end}", flush=True)
os._exit(min(len(ends) - 1, 1))
"""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its threads; infinite once it has ended, or without /proc."""
    if sys.platform == "win32":
        return float("inf")
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _communicate(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=HANG)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[1] + "\nhung\n"


def _head(said: str) -> str:
    """What was said first, and where: the top of a traceback."""
    lines = [line for line in said.splitlines() if line.strip()]
    return " / ".join(lines[:12])[:1500]


def _forever(names: Sequence[str]) -> Iterator[str]:
    while True:
        yield from names


if __name__ == "__main__":
    main()
