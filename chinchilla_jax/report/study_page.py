"""The page of a study: the list of its sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax.report import tables
from chinchilla_jax.report.answer import answer, key_figures
from chinchilla_jax.report.content import Page, Section, plain_text
from chinchilla_jax.report.figures import page_figures, section_of
from chinchilla_jax.report.sections.advice import advice
from chinchilla_jax.report.sections.fitted import fitted
from chinchilla_jax.report.sections.perturbed import perturbed
from chinchilla_jax.report.sections.quality import quality
from chinchilla_jax.report.sections.run import reproduce, run
from chinchilla_jax.report.sections.sure import sure
from chinchilla_jax.report.sections.unperturbed import unperturbed

if TYPE_CHECKING:
    from chinchilla_jax.report.content import Sentence
    from chinchilla_jax.report.facts import Facts
    from chinchilla_jax.report.figures import PageFigure
    from chinchilla_jax.report.subject import Subject


def study_page(facts: Facts, own: Sequence[Section] | None = None) -> Page:
    """The page of a finished study.

    Args:
        facts: what it says.
        own: its `own_sections` where they have been made already.

    Raises:
        DataError: a table of the study is torn.
    """
    info = facts.study.info
    placed: dict[str, list[PageFigure]] = {}
    for figure in page_figures(facts).values():
        placed.setdefault(section_of(figure, facts), []).append(figure)
    sentences = answer(facts)
    top = Section(
        id="answer",
        title="Answer",
        key_figures=key_figures(facts),
        paragraphs=sentences,
        notes=[["Each number links to its row in a table."], *_left_out(facts)],
    )
    sections = [
        top,
        *(_own(facts) if own is None else own),
        *unperturbed(facts, placed.get("unperturbed", ())),
        *perturbed(facts, placed),
        *_more(facts, placed.get("others", [])),
        run(facts),
        reproduce(facts),
    ]
    return Page(
        title=f"Scaling law of {facts.data_name}",
        about=f"{info['n_conditions']:,} conditions, {info['n_fits']:,} bootstrap fits, "
        f"{info['started'][:10]}, chinchilla_jax {info['versions']['chinchilla_jax']}",
        description=plain_text(sentences[0]),
        sections=sections,
        made_from=" from the tables in this directory",
        folded="open them on screen, or see the study's directory",
    )


def _own(facts: Facts) -> list[Section]:
    return [] if isinstance(facts.subject, ChinchillaError) else own_sections(facts.subject)


def own_sections(subject: Subject) -> list[Section]:
    """The sections about the study's own runs."""
    return [*fitted(subject), *quality(subject), *advice(subject), *sure(subject)]


def _left_out(facts: Facts) -> list[Sentence]:
    """Why there are none."""
    if not isinstance(facts.subject, ChinchillaError):
        return []
    return [[f"The runs are not shown, nor how well the law describes them: {facts.subject}."]]


def _more(facts: Facts, figures: list[PageFigure]) -> list[Section]:
    """What others have put into the study's directory."""
    found = tables.other_tables(facts)
    if not (found or figures):
        return []
    return [Section(id="more", title="Further results", short="More", figures=figures, tables=found)]
