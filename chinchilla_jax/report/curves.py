"""What the page's explorers draw: bands over the training compute, as plain lists for JSON.

Numbers are rounded to five digits; the tables of the study have all digits. A value that a logarithmic axis
cannot show is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.labels import COUNTING_NAMES, HEADLINE, QUANTITIES
from chinchilla_jax.intervals.quantiles import nan_median
from chinchilla_jax.laws.compute import RULE_OF_THUMB
from chinchilla_jax.plots.sweeps import SWEEPS, title_of
from chinchilla_jax.report.content import Explorer
from chinchilla_jax.report.facts import BAND_COLUMNS, Facts
from chinchilla_jax.report.numbers import shown


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
        label = f"{sweep.symbol} = {sweep.text(size)}{sweep.suffix}" if sweep else shown(size)
        series.append(_series(facts, label, members & (values == size)))
    reference = None
    if facts.reference is not None:
        reference = _condition(facts, "unperturbed", facts.reference)
    neutral = sweep.neutral if sweep else 0.0
    # One step from the neutral size, whose curve would coincide with the unperturbed one.
    nearest = min(range(len(sizes)), key=lambda i: abs(sizes[i] - neutral))
    start = min(nearest + 1, len(sizes) - 1)
    return _explorer(facts, family, title_of(family), series, reference=reference, start=start)


def _explorer(
    facts: Facts, name: str, title: str, series: list[dict[str, Any]], **more: Any
) -> list[Explorer]:
    curves = [view[HEADLINE] for each in series for view in each["views"]]
    if not any(value is not None for curve in curves for value in curve):
        return []
    data = {
        "id": name,
        "flops": [float(f"{value:.5g}") for value in facts.budgets],
        "range": facts.range,
        "start_budget": facts.budgets.tolist().index(facts.budget),
        "rule_of_thumb": RULE_OF_THUMB,
        "views": [view.name for view in facts.views],
        "series": series,
        **more,
    }
    return [Explorer(title, data)]


def _condition(facts: Facts, name: str, condition: str) -> dict[str, Any]:
    return _series(facts, name, (facts.conditions["condition"] == condition).to_numpy())


def _series(facts: Facts, name: str, of: NDArray[np.bool_]) -> dict[str, Any]:
    """Bands and parameters of some conditions in every view; the median over them if there are several."""
    views = zip(nan_median(facts.bands_by_view[of]), nan_median(facts.params_by_view[of]), strict=True)
    names = facts.study.spec.model.parameters
    return {"name": name, "views": [_bands(bands) | _params(names, params) for bands, params in views]}


def _bands(bands: NDArray[np.float64]) -> dict[str, list[float | None]]:
    return {name: _rounded(column) for name, column in zip(BAND_COLUMNS, bands.T.tolist(), strict=True)}


def _rounded(values: Iterable[float]) -> list[float | None]:
    return [float(f"{value:.5g}") if 0 < value < math.inf else None for value in values]


def _params(names: Sequence[str], params: NDArray[np.float64]) -> dict[str, list[str]]:
    """Each parameter as "E 1.81 (1.79 to 1.85)"."""
    texts = []
    for name, values in zip(names, params.tolist(), strict=True):
        estimate, low, high = (shown(value, 3) for value in values)
        symbol = QUANTITIES[name].symbol if name in QUANTITIES else name
        texts.append(f"{symbol} {estimate} ({low} to {high})")
    return {"params": texts}
