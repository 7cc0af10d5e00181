"""How sure: intervals by level and method, predictions of held-out runs, and other laws and objectives."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pandas as pd

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax._util.labels import (
    HEADLINE,
    INTERVAL_COLUMNS,
    METHOD_NAMES,
    percent_text,
    quantity_label,
)
from chinchilla_jax._util.side_process import SideProcess, taken
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.laws.compute import SIX_ND
from chinchilla_jax.planning.backtesting import backtest
from chinchilla_jax.planning.optimum_curve import optimum_curve
from chinchilla_jax.report.cells import page_table
from chinchilla_jax.report.content import Listing, Section
from chinchilla_jax.report.numbers import answer_texts, by_column, half_width
from chinchilla_jax.report.subject import sample_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.planning.law_sample import LawSample
    from chinchilla_jax.report.cells import PageTable
    from chinchilla_jax.report.content import Sentence
    from chinchilla_jax.report.subject import Subject

_LEVELS = (0.5, 0.8, 0.95)
_METHODS = ("percentile", "basic", "gaussian")
_OPTIMUM = {"optimal_params": "params", "optimal_tokens": "tokens", "tokens_per_param": "tokens_per_param"}
_NAMES = {
    **{name: f"compute-optimal {quantity_label(shown)}" for name, shown in _OPTIMUM.items()},
    "exponent_a": "exponent a: N grows as C^a",
    "exponent_b": "exponent b: D grows as C^b",
    "ratio_slope": "slope of ln D/N in ln C",
}
_RESAMPLES = 200
_RIVALS = (("equal_exponents", "huber"), ("kaplan", "huber"), ("chinchilla", "squared"))
"""Other laws and objectives: the ones that are fitted in about a second each."""


def sure(subject: Subject, beside: Future[list[list[Any]]] | None = None) -> list[Section]:
    """The section; none if the fit is not certified.

    Args:
        subject: of the page.
        beside: what `rivals_beside` has begun.
    """
    if not subject.fit.status.certified:
        return []
    return [
        Section(
            id="sure",
            title="How sure",
            paragraphs=_backtested(subject),
            tables=[*_intervals(subject), *_rivals(subject, beside)],
            listings=[_commands(subject)],
        )
    ]


def _intervals(subject: Subject) -> list[PageTable]:
    """Of the optimum, and of the parameters, by every method that the scheme has."""
    boot, unit = subject.boot, subject.runs.loss_unit
    methods = [name for name in _METHODS if boot.scheme.quantiles or name == "gaussian"]
    # Budgets there are 6 N D; with another cost they would not be those of the answer.
    simple = subject.fit.cost == SIX_ND and boot.laws.log_ratio_line() is not None
    levels = sorted({*_LEVELS, subject.level})
    table = boot.intervals(flops=subject.flops[:1] if simple else (), levels=levels, methods=methods)
    optimum = table["quantity"].isin(list(_OPTIMUM))
    made = []
    if optimum.any():
        title = f"Intervals of the best run of {flops_text(subject.flops[0])} FLOP"
        made.append(_by_method(table[optimum], "intervals-optimum", title, levels, unit))
    made.append(
        _by_method(table[~optimum], "intervals-parameters", "Intervals of the parameters", levels, unit)
    )
    return made


def _by_method(table: pd.DataFrame, id: str, title: str, levels: list[float], loss_unit: str) -> PageTable:
    """A row for each quantity and method, two columns for each level."""
    quantities, methods = table["quantity"].drop_duplicates(), table["method"].drop_duplicates()
    keys = list(zip(*(table[name].tolist() for name in ("quantity", "method", "level")), strict=True))
    ends = {name: dict(zip(keys, table[name].tolist(), strict=True)) for name in (HEADLINE, "low", "high")}
    columns = [(end, level) for level in levels for end in ("low", "high")]
    shared = sorted(levels)[len(levels) // 2]  # the interval whose digits all of a row have
    rows, texts = [], []
    for quantity in quantities:
        for method in methods:
            of = quantity, method
            values = [ends[HEADLINE][*of, levels[0]], *(ends[end][*of, level] for end, level in columns)]
            rows.append(
                [
                    _NAMES.get(quantity, quantity_label(quantity, loss_unit)),
                    METHOD_NAMES.get(method, method),
                    *values,
                ]
            )
            spread = half_width(ends["low"][*of, shared], ends["high"][*of, shared])
            texts.append(answer_texts(_OPTIMUM.get(quantity, quantity), values, spread))
    numbers = [HEADLINE, *(f"{percent_text(level)} {end}" for end, level in columns)]
    return page_table(
        pd.DataFrame(rows, columns=["quantity", "method", *numbers]),
        id=id,
        title=title,
        caption="Where methods differ much, the resamples are skewed.",
        texts=by_column(numbers, texts),
    )


@dataclasses.dataclass(frozen=True)
class _RivalFits:
    """What fits of other laws and objectives need: a part of the subject, which another process can take."""

    runs: Runs
    own: tuple[str, str]
    scheme: Scheme
    weights: NDArray[np.float64] | None
    seed: int
    flops: float
    level: float
    name: str
    rivals: Sequence[tuple[str, str]] = _RIVALS

    def rows(self) -> list[list[Any]]:
        """Law, objective, estimate, low, high, status and resamples of each."""
        rows: list[list[Any]] = []
        for law, objective in self.rivals:
            if (law, objective) == self.own:
                continue
            boot = bootstrap(
                self.runs, law, objective=objective, resamples=_RESAMPLES, seed=self.seed,
                scheme=self.scheme, weights=self.weights, progress=None,
            )  # fmt: skip
            status = boot.point.status.name.lower()
            sample = sample_of(boot, self.name)
            rows.append([law, objective, *_ratio(sample, self.flops, self.level), status, len(boot.steps)])
        return rows


def _rival_fits(subject: Subject) -> _RivalFits | None:
    """None where a page says nothing of others."""
    fit = subject.fit
    quick = fit.status.certified and subject.quick and subject.flops
    if not quick or isinstance(subject.sample, ChinchillaError):
        return None
    return _RivalFits(
        runs=subject.runs, own=(fit.model.name, fit.objective.name), scheme=subject.boot.scheme,
        weights=fit.weights, seed=subject.boot.seed or 0, flops=subject.flops[0], level=subject.level,
        name=subject.name,
    )  # fmt: skip


def rivals_beside(subject: Subject, side: SideProcess | None) -> Future[list[list[Any]]] | None:
    """Have the side process, if there is one, fit them while the other sections are made."""
    fits = _rival_fits(subject)
    return None if side is None or fits is None else side.submit(fits.rows)


def _rivals(subject: Subject, beside: Future[list[list[Any]]] | None) -> list[PageTable]:
    """What other laws and objectives say at the budget of the answer, on a few resamples each."""
    fits = _rival_fits(subject)
    if fits is None:
        return []
    own = _ratio(subject.sample, fits.flops, fits.level)
    rows: list[list[Any]] = [[*fits.own, *own, "this page", len(subject.boot.steps)]]
    others = taken(beside)
    rows += fits.rows() if others is None else others
    texts = [answer_texts("tokens_per_param", row[2:5], half_width(*row[3:5])) for row in rows]
    return [
        page_table(
            pd.DataFrame(rows, columns=["law", "objective", *INTERVAL_COLUMNS, "fit", "resamples"]),
            id="rivals",
            title=f"Tokens per parameter at {flops_text(subject.flops[0])} FLOP by other laws and objectives",
            caption=f"With the {subject.interval}. The interval of one law says nothing of other laws.",
            texts=by_column(INTERVAL_COLUMNS, texts),
        )
    ]


def _ratio(sample: LawSample | ChinchillaError, flops: float, level: float) -> list[float]:
    """Estimate, low and high of the tokens per parameter; NaN where the law has no optimum."""
    if isinstance(sample, ChinchillaError):
        return [float("nan")] * 3
    try:
        row = optimum_curve(sample, flops, quantities=["tokens_per_param"], level=level).iloc[0]
    except ChinchillaError:
        return [float("nan")] * 3
    return [float(row[name]) for name in INTERVAL_COLUMNS]


def _backtested(subject: Subject) -> list[Sentence]:
    """How well the law predicted runs above those it was fitted to."""
    if not subject.quick:
        return []
    try:
        found = backtest(
            subject.runs, subject.fit.model, level=subject.level, resamples=_RESAMPLES // 2,
            objective=subject.fit.objective, scheme=subject.boot.scheme, cost=subject.fit.cost, progress=None,
        )  # fmt: skip
    except ChinchillaError as error:
        return [[f"The law was not tried on runs that it was not fitted to: {str(error).rstrip('.')}."]]
    return [[f"Fitted to the smaller runs alone, the law predicts the larger ones: {found.sentence}."]]


def _commands(subject: Subject) -> Listing:
    name = shlex.quote(subject.name)
    return Listing(
        id="sure-commands",
        label="Commands that say how sure",
        lead="What takes longer, with the options that read this table: all comparable laws, all objectives, "
        "predictions of held-out runs, and the coverage of the intervals on runs like these:",
        text="\n".join(
            f"chinchilla-jax {command} {name}" for command in ("forms", "objectives", "backtest", "coverage")
        ),
    )
