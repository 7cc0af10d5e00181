"""Faults at any moment, and to files: signals, damage, two writers, a full disk, and Dask's workers killed.

Studies are completed by the ordinary command and compared with one that was not disturbed: tables by their
bytes, figures and pages by what they show. The seed draws the moments. The full disk is a small tmpfs in its
own mount namespace where the system allows that (unshare), otherwise a limit on the size of files.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _faults.shown import differences, local_files, shown

SPEC = """
data = "chinchilla"
resamples = {resamples}
flops = [1e20, 1e22, 1e24]
[[sweeps]]
family = "systematic_bias"
values = [{{ logspace = [-0.3, 0.3, {values}] }}]
[[sweeps]]
family = "log_normal_noise"
values = [0.1, 0.3]
repeats = {values}
"""


class Moments:
    """The faults: each method damages a study, completes it and returns what it did.

    Args:
        folder: to work in.
        draw: draws the moments.
        smoke: do nothing.
    """

    def __init__(self, folder: Path, draw: random.Random, *, smoke: bool) -> None:
        """Write the spec."""
        self.folder, self.draw, self.smoke = folder, draw, smoke
        values, resamples = 25, 16000
        self.spec = folder / "moments.toml"
        self.spec.write_text(SPEC.format(values=values, resamples=resamples))

    def run(self, only: str) -> bool:
        """Run the faults whose name contains `only`; returns whether one left a difference."""
        faults: dict[str, Callable[[Path], str]] = {
            "SIGKILL of the process": self.kills,
            "Ctrl-C": self.interrupts,
            "damaged chunks, unfinished study": self.damage_unfinished,
            "damaged files, finished study": self.damage_finished,
            "two writers": self.two_writers,
            "disk full": self.full_disk,
        }
        if importlib.util.find_spec("distributed") is not None:
            faults["SIGKILL of Dask workers"] = self.worker_kills
        chosen = {name: fault for name, fault in faults.items() if only in name}
        if not chosen or self.smoke:
            return False
        reference = self.folder / "reference-moments"
        begun = time.perf_counter()
        self.complete(reference)
        expected = shown(local_files(reference))
        chunks = sum(name.startswith("fits/") for name in expected)
        print(f"studies of {chunks} chunks, {time.perf_counter() - begun:.0f} s")
        print(f"{'fault':34} {'files that differ':>17}  what was done")
        failed = False
        for number, (name, fault) in enumerate(chosen.items()):
            out = self.folder / f"moments{number}"
            what = fault(out)
            tables, pictures = differences(shown(local_files(out)), expected)
            differing = [*tables, *pictures]
            print(f"{name:34} {len(differing):17}  {what} {', '.join(differing)[:200]}", flush=True)
            failed |= bool(differing)
            shutil.rmtree(out)
        return failed

    def start(self, out: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
        """Start the study's command."""
        command = [sys.executable, "-m", "chinchilla_jax", "study", str(self.spec), "--out", str(out)]
        return subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    def complete(self, out: Path) -> None:
        """Run the command to its end."""
        process = self.start(out)
        said = process.communicate()[1]
        if process.returncode:
            raise SystemExit(f"the study does not complete: {said}")

    def kills(self, out: Path) -> str:
        """Kill one process after the other.

        Every second one is killed at any moment from its start, the others soon after they wrote a chunk.
        """
        wanted = 30
        longest = 6.0
        kept: list[int] = []
        for _ in range(20 * wanted):
            if self._killed(out, late=len(kept) % 2 == 1, longest=longest):
                kept.append(len(list(out.glob("fits/part-*"))))
            else:  # the machine was faster than the kill: begin again and wait less
                shutil.rmtree(out)
                longest *= 0.7
                kept.clear()
            if len(kept) == wanted:
                self.complete(out)
                return f"{wanted} kills in a row; chunks after each: {' '.join(map(str, kept))}"
        raise SystemExit("the study is always complete before all kills; give it more conditions")

    def _killed(self, out: Path, *, late: bool, longest: float) -> bool:
        """Start the study and kill it within `longest` seconds, or soon after a chunk; False if it ended."""
        process = self.start(out)
        begun, before = time.monotonic(), len(list(out.glob("fits/part-*")))
        moment = begun + (3600 if late else self.draw.uniform(0.1, longest))
        while process.poll() is None and time.monotonic() < moment:
            time.sleep(0.002)
            if late and len(list(out.glob("fits/part-*"))) > before:
                moment, late = time.monotonic() + self.draw.uniform(0.0, longest / 10), False
        done = process.poll() is not None
        process.kill()
        process.communicate()
        return not done

    def interrupts(self, out: Path) -> str:
        """Send Ctrl-C as a terminal does, at any moment after the start."""
        times = []
        for _ in range(5):
            process = self.start(
                out, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
            )
            time.sleep(self.draw.uniform(1.0, 8.0))
            begun = time.perf_counter()
            process.send_signal(signal.SIGINT)
            said = process.communicate()[1]
            times.append(time.perf_counter() - begun)
            # While Python shuts down, after the study is complete, a signal ends it without a message.
            if process.returncode not in (0, -signal.SIGINT) and "interrupted" not in said:
                raise SystemExit(f"Ctrl-C: exit code {process.returncode}, {said!r}")
        self.complete(out)
        return f"{len(times)} interrupts, the slowest to end took {max(times):.2f} s"

    def damage(self, out: Path, files: list[Path]) -> None:
        """Truncate one of `files`, flip a bit in another, delete a third."""
        truncated, flipped, deleted = self.draw.sample(files, 3)
        content = truncated.read_bytes()
        truncated.write_bytes(content[: self.draw.randrange(len(content))])
        changed = bytearray(flipped.read_bytes())
        changed[self.draw.randrange(len(changed))] ^= 1 << self.draw.randrange(8)
        flipped.write_bytes(changed)
        deleted.unlink()

    def damage_unfinished(self, out: Path) -> str:
        """Kill a study and damage what it has written."""
        process = self.start(out)
        while len(list(out.glob("fits/part-*"))) < 4 and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.communicate()
        self.damage(out, sorted(out.glob("fits/part-*")))
        self.complete(out)
        return "one chunk truncated, one bit flipped in another, one deleted"

    def damage_finished(self, out: Path) -> str:
        """Damage a complete study and complete it again."""
        rounds = 5
        self.complete(out)
        for _ in range(rounds):
            self.damage(out, sorted(out.rglob("*.parquet")))
            self.complete(out)
        return f"{rounds} times: a file truncated, one bit flipped in another, one deleted"

    def two_writers(self, out: Path) -> str:
        """Two processes, one directory."""
        writers = [self.start(out) for _ in range(2)]
        codes = [(writer.communicate()[1], writer.returncode)[1] for writer in writers]
        return f"both at the same time; exit codes {codes}"

    def full_disk(self, out: Path) -> str:
        """Fill the disk in a separate namespace, because other processes would see the mount."""
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r}); "
            "from _faults import moments; "
            f"moments.fill({str(self.spec)!r}, {str(out)!r}, {'1m'!r})"
        )
        namespace = ["unshare", "--mount"] if _can_mount() else []
        done = subprocess.run(
            [*namespace, sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"disk full: {done.stdout} {done.stderr}")
        self.complete(out)
        return done.stdout.strip()

    def worker_kills(self, out: Path) -> str:
        """Kill workers of the Dask cluster that a study starts, at work or while they start."""
        wanted = 10
        longest = 4.0
        for _ in range(20):
            said = self._killed_workers(out, wanted, longest)
            if said is not None:
                return said
            shutil.rmtree(out)  # the machine was faster than the kills: begin again and wait less
            longest *= 0.5
        raise SystemExit("the study always ends before all kills; give it more resamples")

    def _killed_workers(self, out: Path, wanted: int, longest: float) -> str | None:
        """Run the study by Dask and kill workers on the way; None if it ended before all kills."""
        process = self.start(out, "--executor", "dask", "--workers", "2")
        while not list(out.glob("fits/part-*")) and process.poll() is None:
            time.sleep(0.002)
        begun, killed = time.perf_counter(), 0
        while killed < wanted:
            time.sleep(self.draw.uniform(0.0, longest))
            if process.poll() is not None:
                process.communicate()
                return None
            workers = _dask_workers(process.pid)
            if workers:
                os.kill(self.draw.choice(workers), signal.Signals["SIGKILL"])
                killed += 1
        seconds = time.perf_counter() - begun
        chunks = len(list(out.glob("fits/part-*")))
        said = process.communicate()[1]
        if process.returncode:
            raise SystemExit(f"the study does not complete: {said}")
        return f"2 workers, {killed} kills in {seconds:.0f} s, {chunks} chunks at the last"


def _dask_workers(parent: int) -> list[int]:
    """The processes that `parent` has spawned, from /proc."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    tasks = children.parent.parent.glob("*/children")
    found = []
    with contextlib.suppress(OSError):  # some may have ended meanwhile
        for pid in [int(pid) for task in tasks for pid in task.read_text().split()]:
            found += [pid] if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes() else []
    return found


def fill(spec: str, out: str, size: str) -> None:
    """Run the study with too little space, check its message, and keep what it wrote in `out`."""
    command = [sys.executable, "-m", "chinchilla_jax", "study", spec, "--out"]
    if _can_mount():
        place = Path(out + "-small")
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=True)
        target, limit = place / "study", None
        how = f"tmpfs of {size}B"
    else:
        target, limit = Path(out), _limit_files
        how = "files of at most 8 kB"
    done = subprocess.run(
        [*command, str(target)], capture_output=True, text=True, preexec_fn=limit, check=False
    )
    lines = done.stderr.splitlines()
    if done.returncode != 1 or len(lines) != 1 or "rerun the same command" not in lines[0]:
        raise SystemExit(f"exit code {done.returncode}, said {done.stderr!r}")
    chunks = len(list(target.glob("fits/part-*")))
    if target != Path(out):
        shutil.copytree(target, out)
    print(f"{how}, {chunks} chunks kept: {lines[0].partition(': error: ')[2].partition(': ')[2]}")


def _limit_files() -> None:
    signal.signal(signal.Signals["SIGXFSZ"], signal.SIG_IGN)
    limits: Any = resource  # typed for POSIX only
    limits.setrlimit(limits.RLIMIT_FSIZE, (8192, 8192))


def _can_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0
