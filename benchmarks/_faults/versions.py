"""Two versions of the project take turns on one directory, struck as they go.

One that computes the same digits (an earlier commit whose numerics are equal) must end in the same numbers,
whoever began and whoever ended, or refuse a later format in one line. One of other digits, the first that
numbers them, must be refused in one line by the other and leave every file as it was, in both directions.
Needs the history of a git checkout.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from _faults.commands import SPEC
from _faults.failpoints import KILLS, Plan
from _faults.running import Ended, run
from _faults.shown import differences, local_files, shown

# Where the number of the digits is, of every law in later versions.
_PLACES = ("chinchilla_jax/study/numerics.py", "chinchilla_jax/study/chunks.py")
_NUMERICS = re.compile(r"^(?:NUMERICS = |STUDIES = Numerics\()(\d+)", re.MULTILINE)
_BACK = 40  # commits: how far an earlier version of the same digits lies back, if it can


class Versions:
    """Rounds with an earlier version of the project.

    Args:
        folder: to work in.
        draw: draws the points.
        smoke: one round.
    """

    name = "two versions"

    def __init__(self, folder: Path, draw: random.Random, *, smoke: bool) -> None:
        """Nothing runs yet."""
        self.folder, self.draw, self.smoke = folder, draw, smoke
        self.spec = folder / "versions.toml"
        self.spec.write_text(SPEC)
        self.refusals = 0  # by the earlier version, of what the later one wrote

    def run(self, only: str) -> bool:
        """Run the rounds; returns whether anything differs."""
        if only not in self.name or self.smoke:  # a checkout and its compilation take too long
            return False
        if shutil.which("git") is None or not _git("rev-parse", "--verify", "-q", "HEAD"):
            print(f"{self.name}: no history here; not compared")
            return False
        same, other = self._commits()
        wrong = 0
        if same is not None:
            with self._checkout(same) as source:
                counts = [self._turns(source, number) for number in range(10)]
            wrong += sum(differing for _, differing in counts)
            faults = sum(number for number, _ in counts)
            print(
                f"{self.name} ({same}, same digits): {faults} faults in {len(counts)} rounds, {wrong} "
                f"differences; it refused the later one's format {self.refusals} times",
                flush=True,
            )
        if other is not None:
            with self._checkout(other) as source:
                refused = [self._refused(first, second) for first, second in ((source, None), (None, source))]
            wrong += refused.count(False)
            print(f"{self.name} ({other}, other digits): refused {refused.count(True)} of 2 times, unchanged")
        return wrong > 0

    def _commits(self) -> tuple[str | None, str | None]:
        """An earlier commit of the same digits, and the first of which digits had a number."""
        here = self._numerics("HEAD")
        commits = _git("log", "--format=%h", f"-{_BACK + 1}", "--", "chinchilla_jax/study").split()
        same = [commit for commit in commits[1:] if self._numerics(commit) == here]
        first = _git("log", "--reverse", "--format=%h", "-S", "NUMERICS = 1", "--", "chinchilla_jax").split()
        other = first[0] if first and here != "1" else None
        return (same[-1] if same else None), other

    @staticmethod
    def _numerics(commit: str) -> str | None:
        found = _NUMERICS.search("".join(_git("show", f"{commit}:{place}") for place in _PLACES))
        return found[1] if found else None

    @contextlib.contextmanager
    def _checkout(self, commit: str) -> Iterator[Path]:
        source = self.folder / f"checkout-{commit}"
        _git("worktree", "add", "--detach", str(source), commit)
        try:
            yield source
        finally:
            _git("worktree", "remove", "--force", str(source))

    def _turns(self, source: Path, number: int) -> tuple[int, int]:
        """Faults, and differences in the end."""
        out, reference = self.folder / f"turns-{number}", self.folder / "reference"
        arguments = ["study", str(self.spec), "--no-figures", "-q", "--out"]
        if not reference.exists():
            self._must([*arguments, str(reference)], None)
        turns = [source, None] if number % 2 else [None, source]
        faults = 0
        for turn in turns * 2:
            at = self.draw.randrange(60)
            plan = Plan((str(out),), at, self.draw.choice(KILLS), str(self.folder / "log"))
            faults += run([*arguments, str(out)], self.folder, plan, cold=True, source=turn).fired is not None
        ended = run([*arguments, str(out)], self.folder, cold=True, source=turns[0])
        if _refusal(ended):  # of a format that is newer than this version
            self.refusals += 1
            turns[0] = None
        self._must([*arguments, str(out)], turns[0])
        ends = [shown(local_files(each), numbers=True) for each in (reference, out)]
        found = differences(ends[1], ends[0])[0]
        if found:
            print(f"  {self.name}, round {number}: {', '.join(found)[:300]}", flush=True)
        return faults, bool(found)

    def _refused(self, first: Path | None, second: Path | None) -> bool:
        """Whether `second` refuses in one line what `first` wrote, and leaves it as it was."""
        out = self.folder / f"refused-{first is None}"
        arguments = ["study", str(self.spec), "--no-figures", "--out", str(out)]
        self._must(arguments, first)
        before = local_files(out)
        ended = run(arguments, self.folder, cold=True, source=second)
        right = _refusal(ended) and local_files(out) == before
        if not right:
            print(f"  {self.name}: exit code {ended.code}, {ended.said[-300:]!r}", flush=True)
        return right

    def _must(self, arguments: list[str], source: Path | None) -> None:
        ended = run(arguments, self.folder, cold=True, source=source)
        if ended.code != 0:
            raise SystemExit(
                f"{' '.join(arguments)} of {source}: exit code {ended.code}: {ended.said[-300:]}"
            )


def _refusal(ended: Ended) -> bool:
    return ended.code == 2 and len(ended.said.splitlines()) == 1


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
