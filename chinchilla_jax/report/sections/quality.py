"""Does it fit: residuals, the rows farthest from the law, goodness of fit, identification and dependence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax import plots
from chinchilla_jax._util.labels import quantity_label
from chinchilla_jax._util.text import count_text, flops_text, scaled_number
from chinchilla_jax.fitting.unlike_rows import telling_columns
from chinchilla_jax.report.cells import page_table
from chinchilla_jax.report.content import Linked, Section
from chinchilla_jax.report.drawn import drawn_figure
from chinchilla_jax.report.numbers import shown
from chinchilla_jax.report.run_points import residual_explorer
from chinchilla_jax.report.runs_table import run_anchor, runs_table, worst_first, worst_table

if TYPE_CHECKING:
    from chinchilla_jax.report.cells import PageTable
    from chinchilla_jax.report.content import Sentence
    from chinchilla_jax.report.figures import PageFigure
    from chinchilla_jax.report.subject import Subject

_MOST_GROUPINGS = 3  # figures
_SMALL = 0.05  # p that is worth a warning


def quality(subject: Subject) -> list[Section]:
    """The section; none if the fit is not certified."""
    if not subject.fit.status.certified:
        return []
    return [
        Section(
            id="quality",
            title="Does it fit",
            paragraphs=[*_goodness(subject), [subject.fit.reason or subject.fit.status.sentence]],
            explorers=[residual_explorer(subject, _against(subject))],
            stills=[_figure(subject, against) for against in _against(subject) if subject.pictures],
            tables=[worst_table(subject), *_groupings(subject), runs_table(subject)],
            parts=_identification(subject),
        )
    ]


def _identification(subject: Subject) -> list[Section]:
    """How well the sizes and tokens determine the answer; nothing on a page without pictures."""
    found = subject.diagnosis if subject.pictures else None
    if found is None:
        return []
    best = found.map.loc[found.map["gain"].idxmax()]
    count, budget = int(found.runs["left_out"].sum()), flops_text(subject.flops[0])
    caption = (
        f"By how much the interval of the tokens per parameter at {budget} FLOP narrows with one more run, "
        "by its size and tokens: estimated from the fit, without simulation."
    )
    return [
        Section(
            id="identification",
            title="What the runs determine",
            paragraphs=[
                [
                    f"The logarithms of size and tokens have a correlation of {found.correlation:.2f}, and "
                    f"the derivatives of the law a condition number of {shown(found.condition, 3)}: the "
                    "larger, the less the runs tell its parameters apart."
                ],
                [
                    f"{count:,} of the {len(found.runs):,} runs, with {found.saved:.0%} of their compute, "
                    "could have been left out: the interval of the tokens per parameter at "
                    f"{budget} FLOP would hardly be wider. One more run says most at "
                    f"{scaled_number(best['params'], 2)} parameters and {scaled_number(best['tokens'], 2)} "
                    f"tokens: {best['gain']:.0%} off the width of the interval."
                ],
            ],
            figures=[drawn_figure("information", caption, plots.information_map, found)],
        )
    ]


def _goodness(subject: Subject) -> list[Sentence]:
    """How well the law describes the runs, in words."""
    found = subject.fit.goodness
    if found is None:
        return []
    worst = worst_first(subject)[0]
    side = "above" if found.largest_percent > 0 else "below"
    scale = (
        f"A typical run lies {shown(found.scale_percent, 2)}% from the law (robust standard deviation of the "
        "residuals), and the"
        if found.scale_percent == found.scale_percent
        else "The"
    )
    said: list[Sentence] = [
        [
            f"{scale} law explains {shown(100 * found.r_squared, 4)}% of the variance of the log loss. "
            "Farthest is ",
            Linked(found.largest_row, run_anchor(worst)),
            f", {shown(abs(found.largest_percent), 3)}% {side} the law.",
        ]
    ]
    test = found.lack_of_fit
    if test is not None:
        numbers = f"F({test.degrees[0]}, {test.degrees[1]}) = {shown(test.F, 3)}, p = {shown(test.p, 2)}"
        verdict = (
            "configurations lie farther from the law than repeated runs lie from each other: the law is "
            "wrong somewhere, or runs of one configuration share an error"
            if test.p <= _SMALL
            else "repeated runs give no reason to doubt the law"
        )
        said.append([f"Lack of fit: {verdict} ({numbers})."])
    if subject.dependence:
        text = subject.dependence
        said.append([f"{text[:1].upper()}{text[1:]}."])
    return said


def _against(subject: Subject) -> list[str]:
    """What residuals are drawn against: the counts, then columns of the table."""
    runs = subject.runs
    # Columns that the reader named first.
    columns = sorted(telling_columns(runs), key=lambda name: name not in runs.groups)
    return ["params", "tokens", "flops", *runs.variables, *columns[:_MOST_GROUPINGS]]


def _figure(subject: Subject, against: str) -> PageFigure:
    caption = (
        f"Residuals against {quantity_label(against)}: the observed loss over the law's, less 1. The band is "
        "their robust scale; the rows farthest from the law are named."
    )
    return drawn_figure(f"residuals_{against}", caption, plots.residuals, subject.fit, against=against)


def _groupings(subject: Subject) -> list[PageTable]:
    """Which groups of runs err together; nothing where it was not measured."""
    found = subject.boot.dependence
    if found is None or not found.groupings:
        return []
    table = found.to_frame()
    chosen = int(table["chosen"].sum())
    groups = count_text(chosen, "grouping is", "groupings are") if chosen else "no grouping is"
    how = f"{groups} resampled as a whole"
    return [
        page_table(
            table[["grouping", "n_groups", "runs_per_group", "icc", "F", "p", "chosen"]],
            id="dependence",
            title="Do runs err together",
            caption="Correlation of the residuals within groups of runs (icc); a small p rejects "
            f"independent errors. {how[:1].upper()}{how[1:]}.",
        )
    ]
