"""What a page is made of: sections of paragraphs, explorers, figures, tables, terms and listings.

Three kinds of page are lists of sections: that of a study (`study_page`), that of a table (`table_page`) and
that of a comparison (`recipes`). One template, `assets/page.html`, shows them all; the navigation lists them.

To add a section, write a function that returns a `Section`, in a module of its own in `report/sections/`, and
add it to the list of the page. What is empty in it is not shown. A section that both a study's and a table's
page show takes a `Subject` (`report/subject.py`): runs, their bootstrap, and the page's level and budgets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from chinchilla_jax.report.cells import PageTable
    from chinchilla_jax.report.figures import PageFigure


@dataclasses.dataclass(frozen=True)
class Linked:
    """A number with the anchor of its table or row, and a text shown on hovering."""

    text: str
    anchor: str
    title: str = ""


Sentence: TypeAlias = Sequence[str | Linked]


def plain_text(sentence: Sentence) -> str:
    """A sentence without its links."""
    return "".join(part if isinstance(part, str) else part.text for part in sentence)


@dataclasses.dataclass(frozen=True)
class Explorer:
    """Interactive curves, or the runs themselves.

    Attributes:
        title: what is explored, for people who hear the page.
        data: JSON with an "id" that is unique on the page: for `assets/explorer.js`, from `curves.py`, or for
            `assets/runs.js`, from `run_points.py`.
        kind: "curves" or "runs".
    """

    title: str
    data: Mapping[str, Any]
    kind: Literal["curves", "runs"] = "curves"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """A block of code.

    Attributes:
        id: its anchor.
        label: its name, for people who hear the page.
        lead: the paragraph above it.
        text: the code.
        file: under which name it can be downloaded; "" for no download.
        folded: whether it is opened by the reader.
    """

    id: str
    label: str
    lead: str
    text: str
    file: str = ""
    folded: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """One section of a page, in the order in which it is shown.

    Attributes:
        id: its anchor, unique on the page, tables and figures included.
        title: its heading.
        short: its name in the navigation; "" for the title.
        key_figures: numbers to see first, each with its meaning.
        paragraphs: sentences to read.
        notes: sentences in small print, such as warnings.
        explorers: interactive curves and runs.
        figures: pictures.
        stills: pictures of what the explorers show, for paper and where scripts do not run; else folded.
        terms: names with their values.
        tables: as from `page_table`.
        listings: code.
        parts: sections within this one, under headings a level deeper.
    """

    id: str
    title: str
    short: str = ""
    key_figures: Sequence[tuple[Linked, str]] = ()
    paragraphs: Sequence[Sentence] = ()
    notes: Sequence[Sentence] = ()
    explorers: Sequence[Explorer] = ()
    figures: Sequence[PageFigure] = ()
    stills: Sequence[PageFigure] = ()
    terms: Sequence[tuple[str, str]] = ()
    tables: Sequence[PageTable] = ()
    listings: Sequence[Listing] = ()
    parts: Sequence[Section] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """A page; the first of its sections is the answer.

    Attributes:
        title: its heading.
        about: one line below it.
        description: the answer in a sentence, for lists of pages.
        sections: in order.
        made_from: the end of "Made by chinchilla_jax".
        folded: where folded tables are found by a reader of paper.
    """

    title: str
    about: str
    description: str
    sections: Sequence[Section]
    made_from: str = ""
    folded: str = "open them on screen"
