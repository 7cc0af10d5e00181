"""Rounds of faults: a command is struck a few times in a row, completed, and its place compared."""

from __future__ import annotations

import dataclasses
import random
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from _faults.commands import Bucket, Command, Place
from _faults.failpoints import ERRORS, SHORT, Plan, deeds
from _faults.running import Ended, run
from _faults.shown import differences, shown

COLUMNS = ("faults", "tables", "pictures", "stuck", "rude")
_MOST_IN_A_ROW = 6
_MOST_ATTEMPTS = 2  # of the same command, without faults, to complete
_COLD = 0.03  # share of the rounds that run in new processes
_NOISE = re.compile(r"compiling the solver|not written|figures? (?:is|are) left out|warning", re.IGNORECASE)


@dataclasses.dataclass
class Prepared:
    """A command and what it should lead to.

    Attributes:
        command: which one.
        template: the files of its place before it runs.
        points: what it passes without faults.
        expected: what its place shows afterwards.
    """

    command: Command
    template: Mapping[str, bytes]
    points: Sequence[tuple[str, str]]
    expected: Mapping[str, str]


class Campaign:
    """Strikes commands and keeps the counts.

    Args:
        folder: to work in.
        bucket: the object store; None leaves its commands out.
        seed: of the draws.
    """

    def __init__(self, folder: Path, bucket: Bucket | None, seed: int) -> None:
        """Nothing runs yet."""
        self.folder, self.bucket, self.seed = folder, bucket, seed
        self.by_command: dict[str, Counter[str]] = {}
        self.by_deed: dict[str, Counter[str]] = {}
        self.cases: list[str] = []
        self.total = 0
        self._log = folder / "points"

    def prepare(self, command: Command) -> Prepared:
        """Run a command without faults."""
        place = self._place(command)
        place.fill({})
        for before in command.before:
            self._must(command, before(place.name))
        if command.killed_at:
            self._kill(command, place)
        template = place.files()
        plan = self._plan(command, place, -1, "")
        ended = self._must(command, command.arguments(place.name), plan)
        if 2 not in command.done:
            self._must(command, command.arguments(place.name))
        return Prepared(command, template, ended.points, shown(place.files()))

    def _kill(self, command: Command, place: Place) -> None:
        """Run the last command before this one again, and kill it at the name that is given."""
        arguments = command.before[-1](place.name)
        place.fill({})
        points = self._must(command, arguments, self._plan(command, place, -1, "")).points
        at = next(
            k for k, (kind, path) in enumerate(points) if path.endswith(command.killed_at) and kind != "open"
        )
        place.fill({})
        plan = self._plan(command, place, at, "killed before")
        run(arguments, self.folder, plan, environment=self._env(command))

    def round(self, prepared: Prepared, number: int) -> None:
        """Strike a command up to six times, complete it, and count."""
        command = prepared.command
        draw = random.Random(f"{self.seed} {command.name} {number}")
        place = self._place(command)
        place.fill(prepared.template)
        cold = command.cold or draw.random() < _COLD
        struck: list[str] = []
        problems: Counter[str] = Counter()
        for _ in range(draw.randint(1, _MOST_IN_A_ROW)):
            at = int(len(prepared.points) * draw.random() * (0.7 if struck else 1.0))
            kind = prepared.points[at][0]
            deed = draw.choice(deeds(kind))
            plan = self._plan(command, place, at, deed)
            ended = run(
                command.arguments(place.name), self.folder, plan, cold=cold, environment=self._env(command)
            )
            if ended.fired is None:
                break
            struck.append(f"{deed}, {ended.fired[0]}")
            text = f"{deed} at {ended.fired[0]} {ended.fired[1]}"
            if ended.code is None:
                problems["stuck"] += 1
                self._case(command, number, f"{text}: hangs")
            elif deed in (*ERRORS, SHORT) and not _polite(ended):
                problems["rude"] += 1
                self._case(command, number, f"{text}: exit code {ended.code}, {ended.said.strip()[-300:]!r}")
        if not struck:
            return
        for _ in range(_MOST_ATTEMPTS):
            ended = run(command.arguments(place.name), self.folder, cold=cold, environment=self._env(command))
            if ended.code in command.done:
                break
        else:
            problems["stuck"] += 1
            self._case(command, number, f"{struck}: exit code {ended.code}, {ended.said.strip()[-300:]!r}")
        tables, pictures = differences(shown(place.files()), prepared.expected)
        if ended.code in command.done and (tables or pictures):
            self._case(command, number, f"{struck}: {', '.join([*tables, *pictures])[:300]}")
            problems["tables"], problems["pictures"] = bool(tables), bool(pictures)
        for deed in struck:
            self._count(self.by_deed, deed.partition(",")[0], {"faults": 1})
            self._count(self.by_command, command.name, {"faults": 1})
        self._count(self.by_deed, struck[-1].partition(",")[0], problems)
        self._count(self.by_command, command.name, problems)
        self.total += len(struck)

    def failed(self) -> bool:
        """Whether anything was not as it should be."""
        return any(count[name] for count in self.by_command.values() for name in COLUMNS[1:])

    def _place(self, command: Command) -> Place:
        name = re.sub(r"\W+", "-", command.name)
        return Place(self.folder / "places" / name, self.bucket if command.place == "s3" else None)

    def _plan(self, command: Command, place: Place, at: int, deed: str) -> Plan:
        # Of the command's own folder, and of its cache where it starts empty.
        watched = (str(place.folder), *([str(self.folder / "empty")] if command.environment else []))
        return Plan(watched, at, deed, str(self._log), children=command.children)

    def _env(self, command: Command) -> dict[str, str]:
        found = dict(self.bucket.environment) if self.bucket and command.place == "s3" else {}
        if "CHINCHILLA_JAX_CACHE" in command.environment:
            # A new empty cache for each run.
            folder = tempfile.mkdtemp(dir=_made(self.folder / "empty"))
            return found | {**command.environment, "CHINCHILLA_JAX_CACHE": folder}
        return found | dict(command.environment)

    def _must(self, command: Command, arguments: list[str], plan: Plan | None = None) -> Ended:
        ended = run(arguments, self.folder, plan, cold=command.cold, environment=self._env(command))
        if ended.code != 0:
            raise SystemExit(f"{' '.join(arguments)}: exit code {ended.code} without any fault: {ended.said}")
        return ended

    def _case(self, command: Command, number: int, text: str) -> None:
        line = f"{command.name}, round {number}: {text}"
        self.cases.append(line)
        print(f"  {line}", flush=True)

    @staticmethod
    def _count(counts: dict[str, Counter[str]], name: str, added: Mapping[str, int]) -> None:
        counts.setdefault(name, Counter()).update(added)


def _polite(ended: Ended) -> bool:
    """Whether a command ended with an exit code and a line, or went on as nothing was lost."""
    lines = [line for line in ended.said.splitlines() if not _NOISE.search(line)]
    return (
        ended.code in (0, 1, 2)
        and len(lines) <= 1
        and "Traceback" not in ended.said
        and (ended.code == 0 or len(lines) == 1)
    )


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def print_counts(title: str, counts: Mapping[str, Counter[str]]) -> None:
    """A table with a line for each name and one for all."""
    print(f"{title:28} {'faults':>7} {'tables differ':>14} {'pictures differ':>16} {'stuck':>6} {'rude':>5}")
    for name, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        cells = [count[column] for column in COLUMNS]
        print(f"{name:28} {cells[0]:7} {cells[1]:14} {cells[2]:16} {cells[3]:6} {cells[4]:5}")
