"""What the page's explorers draw: bands over the training compute, as plain lists for JSON.

A series has for each kind of interval its curves by quantity, each with low, estimate and high. Where only
tokens per parameter are known, the script has parameters and tokens from them by C = 6 N D. Numbers are
rounded to five digits; the tables have all digits. A value that a logarithmic axis cannot show is null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax._util.labels import (
    BAND_COLUMNS,
    COUNTING_NAMES,
    HEADLINE,
    INTERVAL_COLUMNS,
    NATS,
    QUANTITIES,
    interval_text,
    quantity_label,
)
from chinchilla_jax.intervals.quantiles import nan_median
from chinchilla_jax.laws.compute import RULE_OF_THUMB
from chinchilla_jax.planning.optimum_curve import CURVES, optimum_curves
from chinchilla_jax.plots.grids import BEYOND, compute_grid
from chinchilla_jax.plots.sweeps import SWEEPS, in_words, title_of
from chinchilla_jax.report.content import Explorer
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.report.numbers import shown

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.report.subject import Subject

_LEVELS = (0.5, 0.8, 0.95)
_ROUNDING = 1e-9
_POWERS = np.array([float(f"1e{power}") for power in range(23)])  # of ten, all of them exact


def unperturbed_explorer(facts: Facts) -> list[Explorer]:
    """The unperturbed conditions, each to be shown or hidden; empty if no condition has a band."""
    series = []
    for row in facts.countings.itertuples():
        name = str(row.counting)
        series.append(_condition(facts, COUNTING_NAMES.get(name, name), str(row.condition)))
    return _explorer(facts, "unperturbed", "the unperturbed runs", series)


def family_explorer(facts: Facts, family: str) -> list[Explorer]:
    """One family by size, with the unperturbed curve first; empty if there is nothing to show."""
    sweep = SWEEPS.get(family)
    members = (facts.conditions["family"] == family).to_numpy()
    values = facts.conditions["value"].to_numpy(np.float64)
    sizes = np.unique(values[members & np.isfinite(values)]).tolist()
    if not sizes:
        return []
    series = []
    for size in sizes:
        series.append(_series(facts, in_words(family, size), members & (values == size)))
    reference = None
    if facts.reference is not None:
        reference = _condition(facts, "unperturbed", facts.reference)
    neutral = sweep.neutral if sweep else 0.0
    # One step from the neutral size, whose curve would coincide with the unperturbed one.
    nearest = min(range(len(sizes)), key=lambda i: abs(sizes[i] - neutral))
    start = min(nearest + 1, len(sizes) - 1)
    return _explorer(facts, family, title_of(family), series, reference=reference, start=start)


def optimum_explorer(subject: Subject) -> list[Explorer]:
    """Every quantity of the best run of each budget, by the fits of a bootstrap."""
    sample, levels = subject.sample, dict.fromkeys([subject.level, *_LEVELS])
    if isinstance(sample, ChinchillaError):
        return []
    searched = sample.laws.log_ratio_line() is None
    budgets = compute_grid(subject.runs, subject.flops, searched=searched)
    views = [
        {"curves": {name: _columns(rows) for name, rows in table.groupby("quantity")}}
        for table in optimum_curves(sample, budgets, levels=list(levels))
    ]
    data = {
        **_axis("optimum", budgets, subject.flops[0], subject.range),
        "views": [interval_text(level, "percentile") for level in levels],
        "quantities": [_quantity(name, sample.loss_unit) for name in CURVES],
        "series": [{"name": "the fitted law", "views": views}],
    }
    return [Explorer("the best run of each budget", data)]


def _axis(
    name: str, budgets: NDArray[np.float64], start: float, runs: tuple[float, float] | None
) -> dict[str, Any]:
    """The budgets of an explorer: where it starts, and which are shown at first: those near the runs."""
    low, high = runs or (budgets[0], budgets[-1])
    # As in the figures, and the budget of the answer in any case.
    low, high = min(low / 10, start), max(BEYOND * high, start)
    (near,) = np.nonzero((budgets >= low * (1 - _ROUNDING)) & (budgets <= high * (1 + _ROUNDING)))
    if len(near) < 2:
        near = np.arange(len(budgets))
    return {
        "id": name,
        "flops": [float(f"{value:.5g}") for value in budgets],
        "range": runs,
        "near": [int(near[0]), int(near[-1])],
        "start_budget": int(np.argmin(np.abs(np.log(budgets / start)))),
        "rule_of_thumb": RULE_OF_THUMB,
    }


def _quantity(name: str, loss_unit: str = NATS) -> dict[str, Any]:
    """One choice of what is drawn; counts are read as "73.2B"."""
    label = QUANTITIES[name]
    return {
        "key": name,
        "name": label.name,
        "axis": f"compute-optimal {quantity_label(name, loss_unit)}",
        "counts": label.is_count,
    }


def _columns(rows: pd.DataFrame) -> dict[str, list[float | None]]:
    return {column: _rounded(rows[column].to_numpy(np.float64)).tolist() for column in INTERVAL_COLUMNS}


def _explorer(
    facts: Facts, name: str, title: str, series: list[dict[str, Any]], **more: Any
) -> list[Explorer]:
    curves = [view["curves"]["tokens_per_param"][HEADLINE] for each in series for view in each["views"]]
    if not any(value is not None for curve in curves for value in curve):
        return []
    data = {
        **_axis(name, facts.budgets, facts.budget, facts.range),
        "views": [view.name for view in facts.views],
        "quantities": [_quantity(each) for each in ("tokens_per_param", "params", "tokens")],
        "series": series,
        **more,
    }
    return [Explorer(title, data)]


def _condition(facts: Facts, name: str, condition: str) -> dict[str, Any]:
    return _series(facts, name, (facts.conditions["condition"] == condition).to_numpy())


def _series(facts: Facts, name: str, of: NDArray[np.bool_]) -> dict[str, Any]:
    """Bands and parameters of some conditions in every view; the median over them if there are several."""
    bands = _rounded(nan_median(facts.bands_by_view[of]))
    views = zip(bands, nan_median(facts.params_by_view[of]), strict=True)
    names = facts.study.spec.model.parameters
    return {"name": name, "views": [_view(curves, _params(names, params)) for curves, params in views]}


def _view(curves: NDArray[np.object_], fitted: list[str]) -> dict[str, Any]:
    columns = dict(zip(BAND_COLUMNS, curves.T, strict=True))
    curve = {name: columns[name].tolist() for name in INTERVAL_COLUMNS}
    return {"curves": {"tokens_per_param": curve}, "fitted": fitted}


def _rounded(value: NDArray[np.float64]) -> NDArray[np.object_]:
    """Five digits of each, as by formatting and reading it again, but sooner; None for what is not shown."""
    known = (value > 0) & (value < math.inf)
    digits = np.where(known, value, 1.0)
    power = 4 - np.floor(np.log10(digits)).astype(np.intp)  # of ten, that leaves five digits before the point
    up, down = (_POWERS[np.clip(each, 0, len(_POWERS) - 1)] for each in (power, -power))
    scaled = digits * up / down
    whole = np.rint(scaled)
    # A quotient or product of two exact numbers is the nearest one to its decimal text.
    rounded = whole * down / up
    unsafe = (np.abs(power) >= len(_POWERS)) | (whole < 1e4) | (np.abs(np.abs(scaled - whole) - 0.5) < 1e-6)
    for place in zip(*np.nonzero(known & unsafe), strict=True):
        rounded[place] = float(f"{digits[place]:.5g}")
    found = rounded.astype(object)
    found[~known] = None
    return found


def _params(names: Sequence[str], params: NDArray[np.float64]) -> list[str]:
    """Each parameter as "E 1.81 (1.79 to 1.85)"."""
    texts = []
    for name, values in zip(names, params.tolist(), strict=True):
        estimate, low, high = (shown(value, 3) for value in values)
        symbol = QUANTITIES[name].symbol if name in QUANTITIES else name
        texts.append(f"{symbol} {estimate} ({low} to {high})")
    return texts
