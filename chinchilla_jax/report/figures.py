"""The figures of a study, inline for the page, with captions: content, number of fits and interval."""

from __future__ import annotations

import base64
import dataclasses
import struct
from collections.abc import Sequence

from chinchilla_jax._util.text import list_text
from chinchilla_jax.perturbations import Composition
from chinchilla_jax.plots.panel_boxes import PanelBox, read_boxes
from chinchilla_jax.plots.sweeps import title_of
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.study.derived import FIGURES

_PNG = b"\x89PNG\r\n\x1a\n"
_WIDE = 1250  # pixels: about six inches of the figures of a study
_PARAMETERS, _RATIOS, _JOINT = "parameters_", "tokens_per_param_", "joint_"


@dataclasses.dataclass(frozen=True)
class PageFigure:
    """One figure of the page.

    Attributes:
        name: of its file, without suffix.
        source: a data URI that holds the picture.
        width: in pixels.
        height: in pixels.
        caption: what it shows, from how many fits, with which interval.
        vector: its PDF in the study directory; "" if there is none.
        drawn: whether the study has drawn it, from its present tables.
        panels: where its panels are, which a narrow screen shows one by one; empty for one panel.
    """

    name: str
    source: str
    width: int
    height: int
    caption: str
    vector: str
    drawn: bool
    panels: Sequence[PanelBox] = ()

    @property
    def wide(self) -> bool:
        """Whether its labels would be too small on a telephone, which shows it by panels, or scrolls it."""
        return self.width > _WIDE


def page_figures(facts: Facts) -> dict[str, PageFigure]:
    """The PNG files of the study by name; files that are not PNG images are left out.

    So are figures of the study that show other tables than the present ones, or are damaged. Of a picture
    that the study has not drawn, the page says no more than that.
    """
    found = {}
    directory, derived = facts.study.directory, facts.derived
    known = derived.figures.files if derived.figures else {}
    for file in derived.pictures:
        name, dot, suffix = file.rpartition(".")
        drawn = file in derived.drawn
        if dot + suffix != ".png" or (file in known and not drawn):
            continue
        try:
            content = directory.read(f"{FIGURES}/{file}")
        except FileNotFoundError:  # removed since it was listed
            continue
        if not content.startswith(_PNG) or len(content) < 24:
            continue
        vector = f"{FIGURES}/{name}.pdf" if f"{name}.pdf" in (derived.drawn if drawn else ()) else ""
        words = caption(name, facts) if drawn else _unknown(name)
        made = inline_figure(name, content, words)
        boxes = read_boxes(content) if drawn and made.wide else []
        found[name] = dataclasses.replace(made, vector=vector, drawn=drawn, panels=boxes)
    return found


def inline_figure(name: str, content: bytes, words: str) -> PageFigure:
    """A PNG picture for the page, with its caption."""
    width, height = struct.unpack(">II", content[16:24])
    return PageFigure(
        name=name,
        source="data:image/png;base64," + base64.b64encode(content).decode("ascii"),
        width=width,
        height=height,
        caption=words,
        vector="",
        drawn=True,
    )


def _unknown(name: str) -> str:
    return (
        f"{name.replace('_', ' ').capitalize()}: as found in the study's directory, not drawn by the study."
    )


def caption(name: str, facts: Facts) -> str:
    """What the figure of this name shows, from the study's own counts."""
    if name == "relative_error" and facts.study.spec.countings:
        plain, *others = (each for each, _ in facts.study.spec.countings)
        return f"How far the counts of {list_text(others)} lie from those of {plain}. It uses no fits."
    if name == "relative_error":
        return (
            "How far the counts of the standard and the best-fit formula lie from the reported counts of the "
            "50 models of Table A9 of Hoffmann et al. 2022. It uses no fits."
        )
    if name == "perturbations":
        return (
            "What each family of perturbation does to the parameter counts, for up to five of its sizes. It "
            "uses no fits."
        )
    unperturbed = facts.countings["condition"]
    if name == "parameters_by_counting":
        what = "The five parameters of the law under each way to count the parameters of the models"
        return f"{what}: estimates and {_behind(facts, facts.n_fits(unperturbed))}."
    if name == "tokens_per_param_by_counting":
        what = "Compute-optimal tokens per parameter against training compute, for each way to count"
        behind = _behind(facts, facts.n_fits(unperturbed))
        medians = "medians of the resamples, as in the published figures, estimates as points"
        return f"{what}: {medians}, and {behind}."
    for prefix in (_PARAMETERS, _RATIOS):
        family = name.removeprefix(prefix)
        if name.startswith(prefix) and family in facts.families:
            return _of_family(prefix, family, facts)
    if name.startswith(_JOINT):
        return _of_pair(name, facts)
    return f"{name.replace('_', ' ').capitalize()}: drawn from the tables of this study."


def _of_pair(name: str, facts: Facts) -> str:
    pairs = facts.conditions.loc[facts.conditions["family"] == Composition.family, "condition"]
    # The figure of "additive=1.0|tokens_additive=2.0@reported" is "joint_additive_tokens_additive".
    drawn = pairs.map(
        lambda condition: _JOINT + "_".join(part.split("=")[0] for part in condition.split("|"))
    )
    members = pairs[drawn == name]
    behind = f"the certified of {facts.n_fits(members):,} bootstrap fits of {len(members):,} conditions"
    return (
        "Tokens per parameter, and the slope of their logarithm in the logarithm of compute, under two "
        f"perturbations at every pair of their sizes: medians over {behind}. Outlines and hatching show "
        "where intervals lie, see the legend."
    )


def _of_family(prefix: str, family: str, facts: Facts) -> str:
    members = facts.conditions.loc[facts.conditions["family"] == family]
    over = " Repeats of a size are summarised by their median." if members["repeat"].max() > 0 else ""
    behind = _behind(facts, facts.n_fits(members["condition"]))
    what = (
        "the five parameters of the law against the size of the perturbation, estimates and"
        if prefix == _PARAMETERS
        else "compute-optimal tokens per parameter against training compute, medians of the "
        "resamples, as in the published figures, coloured by size and"
    )
    return f"{title_of(family)}: {what} {behind}.{over}"


def _behind(facts: Facts, n_fits: int) -> str:
    return f"{facts.interval} over {n_fits:,} bootstrap fits"


def section_of(figure: PageFigure, facts: Facts) -> str:
    """The section of the page for a figure: "unperturbed", "perturbations", a family, or "others"."""
    name = figure.name
    if not figure.drawn:
        return "others"
    if name == "perturbations":
        return name
    if name == "relative_error" or name.endswith("_by_counting"):
        return "unperturbed"
    for prefix in (_RATIOS, _PARAMETERS):
        if name.startswith(prefix) and name.removeprefix(prefix) in facts.families:
            return name.removeprefix(prefix)
    return "others"


def ratios_first(figures: Sequence[PageFigure]) -> list[PageFigure]:
    """The prescriptions first, which readers look for."""
    return sorted(figures, key=lambda figure: not figure.name.startswith(_RATIOS.rstrip("_")))
