"""Errors of a store that lives in the memory of the process: the same command again completes the study."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from _faults.commands import SPEC
from _faults.failpoints import ERRORS, Plan, arm
from _faults.running import posix, wait
from _faults.shown import differences, shown


class Memory:
    """Rounds in forks, each with one error.

    Args:
        folder: to work in.
        draw: draws points and errors.
        smoke: two rounds.
    """

    name = "memory store"

    def __init__(self, folder: Path, draw: random.Random, *, smoke: bool) -> None:
        """Nothing runs yet."""
        self.folder, self.draw, self.rounds = folder, draw, 2 if smoke else 25
        self.spec = folder / "memory.toml"
        self.spec.write_text(SPEC)

    def run(self, only: str) -> bool:
        """Run the rounds; returns whether anything differs."""
        if only not in self.name:
            return False
        points, expected = self._round(-1, "")
        faults, wrong = 0, 0
        for _ in range(self.rounds):
            at, deed = self.draw.randrange(points), self.draw.choice(list(ERRORS))
            _, found = self._round(at, deed)
            faults += 1
            if found != expected:
                wrong += 1
                print(f"  {self.name}: {deed} at point {at}: {differences(found, expected)}", flush=True)
        print(f"{self.name:28} {faults} errors, {wrong} differences", flush=True)
        return wrong > 0

    def _round(self, at: int, deed: str) -> tuple[int, dict[str, str]]:
        """Number of points, and what the store shows in the end."""
        log, result = self.folder / "memory.log", self.folder / "memory.json"
        for file in (log, result):
            file.unlink(missing_ok=True)
        pid = posix.fork()
        if not pid:
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(os.open(self.folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
                from chinchilla_jax.cli.entry import main

                arm(Plan((), at, deed, str(log), kinds=("remote",)))
                for _ in range(3):
                    if main(["study", str(self.spec), "--out", "memory://study", "-q"]) == 0:
                        break
                from fsspec.implementations.memory import MemoryFileSystem

                files = {
                    name.removeprefix("/study/"): bytes(file.getvalue())
                    for name, file in MemoryFileSystem.store.items()
                }
                result.write_text(json.dumps(shown(files)))
            finally:
                os._exit(0)
        wait(pid)
        points = len(log.read_text().splitlines()) if log.exists() else 0
        return points, json.loads(result.read_text()) if result.exists() else {}
