"""What follows from the tables of a study: its figures and its page, and whether they still do.

derived.json says of each file what it was made from, and what its content is: the checksum of the inputs and
that of the bytes. Whether a file has to be made again follows from these alone, never from dates, nor from
whether it exists. The file is written after what it tells of, so a process that is killed leaves figures that
it does not know, and these are drawn again.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.directories import Directory
from chinchilla_jax._util.part_files import checksum, read_checked, read_sound
from chinchilla_jax._util.sealed_json import is_sealed_json, opened_json, sealed_json
from chinchilla_jax.study.storage.tables import FILES

MANIFEST = "derived.json"
FIGURES = "figures"  # the folder of a study that holds them
PAGE = "report.html"

_FORMAT = 1
_PICTURES = (".png", ".pdf")
_FILE = re.compile(r"[^./\\:\x00-\x1f][^/\\:\x00-\x1f]*\.(png|pdf)")  # in `FIGURES`, never a way out of it


@dataclasses.dataclass(frozen=True)
class Figures:
    """The figures that a process has drawn.

    Attributes:
        inputs: checksum of what they show, see `figure_inputs`.
        made_by: versions of what drew them.
        whole: whether these are all figures of the study; otherwise it was to do without.
        files: checksums of the files, by their names in `FIGURES`.
        seconds: that drawing took.
    """

    inputs: str
    made_by: Mapping[str, str]
    whole: bool
    files: Mapping[str, str]
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Page:
    """The page that a process has written.

    Attributes:
        inputs: checksum of what it shows, see `Derived.page_inputs`.
        made_by: versions of what wrote it.
        checksum: of its content.
    """

    inputs: str
    made_by: Mapping[str, str]
    checksum: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Derived:
    """The figures and the page of a finished study as they are, beside what they should be.

    Attributes:
        figures: what is known of the figures; None where nothing is.
        page: what is known of the page; None where nothing is.
        figure_inputs: what figures would be made from now.
        page_inputs: what the page would be made from now.
        pictures: checksums of the files that are in `FIGURES`, by name.
        page_checksum: of the page that is there; None where there is none.
    """

    figures: Figures | None
    page: Page | None
    figure_inputs: str
    page_inputs: str
    pictures: Mapping[str, str]
    page_checksum: str | None

    @property
    def current(self) -> Figures | None:
        """The figures, where they were drawn from the present tables."""
        figures = self.figures
        return figures if figures is not None and figures.inputs == self.figure_inputs else None

    @property
    def illustrated(self) -> bool:
        """Whether all figures of the present tables were drawn."""
        return self.current is not None and self.current.whole

    @property
    def drawn(self) -> dict[str, str]:
        """The files that show the present tables and are as they were written, with their checksums."""
        files = self.current.files if self.current else {}
        return {name: each for name, each in files.items() if self.pictures.get(name) == each}

    @property
    def lost(self) -> list[str]:
        """The files that should show the present tables, and are missing or something else."""
        drawn = self.drawn
        return [name for name in self.current.files if name not in drawn] if self.current else []

    @property
    def page_holds(self) -> bool:
        """Whether the page shows what is there now, and is as it was written."""
        page = self.page
        return page is not None and (page.inputs, page.checksum) == (self.page_inputs, self.page_checksum)

    def lacking(self) -> tuple[str, ...]:
        """What is missing or shows something else, by name; empty for a study that is complete."""
        found = [f"{FIGURES}/{name}" for name in self.lost] if self.current else [f"{FIGURES}/"]
        return (*found, *([] if self.page_holds else [PAGE]))


def look(directory: Directory, record: Mapping[str, Any]) -> Derived:
    """Read the figures and the page of a finished study, and compare them with what they are made from.

    Args:
        directory: of the study.
        record: the content of its study.json.
    """
    figures, page = _read(directory)
    found = directory.list_files("")
    names = [name for name in sorted(directory.list_files(FIGURES)) if name.endswith(_PICTURES)]
    known = figures.files if figures else {}
    checksums = directory.each(
        lambda name: _checksum_of(directory, f"{FIGURES}/{name}", known.get(name)), names
    )
    pictures = dict(zip(names, checksums, strict=True))
    others = {
        name: _checksum_of(directory, name)
        for name in (f"summary/{each}" for each in sorted(directory.list_files("summary")))
        if name.endswith(".parquet") and name not in FILES.values()
    }
    now = Derived(
        figures=figures,
        page=page,
        figure_inputs=figure_inputs(record),
        page_inputs="",
        pictures=pictures,
        page_checksum=_checksum_of(directory, PAGE, page.checksum if page else None)
        if PAGE in found
        else None,
    )
    # The page embeds the pictures, says what they show, and links to their PDF files.
    drawn = now.drawn
    shown = {name: [each, name in drawn] for name, each in pictures.items()}
    fields = {name: value for name, value in record.items() if name != "format"}
    return dataclasses.replace(
        now, page_inputs=_digest({"record": fields, "figures": shown, "tables": others})
    )


def figure_inputs(record: Mapping[str, Any]) -> str:
    """The checksum of what figures are drawn from: the spec, the data, the tables, and the fits."""
    return _digest(
        {name: record.get(name) for name in ("spec", "data_hash", "tables", "checksums")}
        | {"fits": [part["file"] for part in record["parts"]]}
    )


def write_derived(directory: Directory, figures: Figures | None, page: Page | None) -> None:
    """Replace derived.json, atomically."""
    fields: dict[str, Any] = {"format": _FORMAT}
    fields |= {"figures": dataclasses.asdict(figures)} if figures else {}
    fields |= {"page": dataclasses.asdict(page)} if page else {}
    directory.write(MANIFEST, sealed_json(fields))


def _read(directory: Directory) -> tuple[Figures | None, Page | None]:
    """What derived.json says; nothing where there is none, or one that was not written like this."""
    try:
        fields, sealed = opened_json(read_sound(directory, MANIFEST, is_sealed_json))
        if not sealed or fields.get("format") != _FORMAT:
            return None, None
        figures = Figures(**fields["figures"]) if "figures" in fields else None
        page = Page(**fields["page"]) if "page" in fields else None
        if figures and not all(_FILE.fullmatch(name) for name in figures.files):
            figures = None
    except (FileNotFoundError, IsADirectoryError, ValueError, TypeError, AttributeError):
        return None, None
    return figures, page


def _checksum_of(directory: Directory, name: str, expected: str | None = None) -> str:
    """The checksum of a file; "" where it has gone since it was listed."""
    try:
        return checksum(read_checked(directory, name, expected))
    except FileNotFoundError:
        return ""


def _digest(value: Mapping[str, Any]) -> str:
    return checksum(json.dumps(value, sort_keys=True).encode())
