"""What `chinchilla-jax study` says before the work begins: conditions, fits, about how long they take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from chinchilla_jax._util.progress_bar import Progress, resolve
from chinchilla_jax.cli import output

if TYPE_CHECKING:
    from chinchilla_jax import StudySpec


def default_data_remark(name: str) -> str:
    """A remark if the spec file names no data, so that the default does not come as a surprise."""
    if name == "paper":
        return ""
    from chinchilla_jax.study.spec.toml_file import TomlFile

    return "" if "data" in TomlFile(name).fields else f"; the default, because {name} names no data"


def plan_line(name: str, spec: StudySpec, workers: int | None, n_runs: int) -> str:
    """One line on what will be computed, and about how long that takes."""
    from chinchilla_jax._util.devices import available_cores
    from chinchilla_jax._util.text import count_text, duration_text
    from chinchilla_jax.study.estimate import fit_seconds

    number = spec.n_conditions
    seconds = fit_seconds(spec, n_runs, workers or available_cores())
    lasts = f", about {duration_text(seconds)} and the page" if seconds >= 2 else ""
    return (
        f"{name}: {count_text(number, 'condition')} of {spec.data}, {number * spec.resamples:,} fits{lasts}"
        f"{default_data_remark(name)}"
    )


class Announced(Progress):
    """The usual progress, after a line on stdout when work begins, that is once all input is checked."""

    def __init__(self, line: Callable[[int], str]) -> None:
        """Keep what makes the line."""
        self._make, self._line, self._bar = line, "", Progress()

    def __enter__(self) -> Self:
        """See `Progress`."""
        self._bar = resolve("auto")
        return self

    def read(self, n_runs: int) -> None:
        """Make the line, now that the runs are read."""
        self._line = self._make(n_runs)

    def begin(self, label: str, total: int, unit: str = "fits", *, ago: float = 0.0) -> None:
        """Print the line, and begin."""
        if self._line:
            output.echo(self._line)
            sys.stdout.flush()  # the log of a batch job is read while it runs
            self._line = ""
        self._bar.begin(label, total, unit, ago=ago)

    def advance(self, done: int) -> None:
        """See `Progress`."""
        self._bar.advance(done)

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._bar.note(text)

    def close(self) -> None:
        """See `Progress`."""
        self._bar.close()
