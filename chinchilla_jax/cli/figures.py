"""The option --figures, of every command that has a picture."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli import output

if TYPE_CHECKING:
    from chinchilla_jax.plots.save import Drawn

FORMATS = ("png", "svg")


class Figures:
    """Where the figures of a command go; false without --figures.

    Args:
        place: a folder, path or URL; created if needed. Files of the same names are replaced, others stay.
    """

    def __init__(self, place: str | None) -> None:
        """Nothing is written before `save`."""
        self._place = place
        self.files: list[str] = []
        self.left_out: list[str] = []

    def __bool__(self) -> bool:
        """Whether figures are wanted."""
        return self._place is not None

    def save(self, drawings: Mapping[str, Callable[[], Drawn]]) -> None:
        """Draw and write figures, each as PNG and SVG.

        Args:
            drawings: what draws each, by the name of its file. One that refuses, because the law has no such
                picture, is left out and its reason kept.
        """
        from chinchilla_jax.plots import save_figures

        assert self._place is not None, "figures are wanted"
        for name, draw in drawings.items():
            try:
                drawn = draw()
            except UsageError as error:
                self.left_out.append(f"{name}: {error}")
                continue
            written = save_figures([(name, drawn)], self._place, formats=FORMATS)
            self.files += [str(file) for file in written]

    def say(self) -> None:
        """Print which files were written, and which figures there are none of."""
        if self.files:
            names = ", ".join(Path(file).name for file in self.files)
            output.echo()
            output.print_paragraph(f"figures in {self._place}: {names}")
        for why in self.left_out:
            output.print_paragraph(f"no figure {why}")


def figures_option(command: Any) -> Any:
    """--figures DIR, as `Figures`; what was written is said at the end, or is in the JSON object."""

    @functools.wraps(command)
    def run(*, figures: str | None, **values: Any) -> Any:
        asked = Figures(figures)
        try:
            with output.files_in_json(asked.files if asked else None):
                return command(**values, figures=asked)
        finally:
            if not (values.get("as_json") or values.get("quiet")):
                asked.say()

    return click.option(
        "--figures",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Also draw the figures of this answer, as PNG and SVG, into DIR, a path or URL.",
    )(run)
