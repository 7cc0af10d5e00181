"""What the explorers of the runs draw: losses with the law's curves, and residuals, as plain lists for JSON.

A view is one choice of the x-axis: where each run is along it, and for the losses the curves of the law. A
run has a name, the anchor of its row in the table of the runs, and its numbers. Numbers are rounded to five
digits; the table has all digits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.labels import RESIDUAL, label_of, quantity_label
from chinchilla_jax._util.text import flops_text, scaled_number
from chinchilla_jax.plots.fit_figure import fit_table
from chinchilla_jax.plots.residual_figure import largest_groups, residuals_table, spans_decades
from chinchilla_jax.plots.single_law import runs_table
from chinchilla_jax.report.content import Explorer
from chinchilla_jax.report.runs_table import run_anchor, shown_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax._util.labels import Label
    from chinchilla_jax.plots.fit_figure import FitCurves
    from chinchilla_jax.report.subject import Subject

_AXES = ("flops", "params", "tokens")
_SHOWN = ("params", "tokens", "flops", "loss")  # of a run, before the law's loss and the residual


def loss_explorer(subject: Subject) -> Explorer:
    """The losses of the runs against compute, size or tokens, and the law's curves, one of them marked."""
    rows = _Rows(subject)
    data = {
        **rows.data("fit", label_of("loss", subject.runs.loss_unit), rows.table["loss"], log=True),
        "views": [_loss_view(rows, fit_table(subject.fit, against=against)) for against in _AXES],
    }
    return Explorer("the loss of the runs and the fitted law", data, kind="runs")


def residual_explorer(subject: Subject, against: Sequence[str]) -> Explorer:
    """The residuals of the runs against each of these columns, with their robust scale."""
    rows = _Rows(subject)
    tables = {name: residuals_table(subject.fit, against=name) for name in against}
    first = next(iter(tables.values()))
    scale, worst = first.attrs["scale_percent"], rows.of(first["worst"])
    data = {
        **rows.data("residuals", RESIDUAL, rows.table["residual_percent"], log=False),
        "views": [_residual_view(rows, name, table) for name, table in tables.items()],
    }
    data["y"] |= {
        "band": _number(scale) if math.isfinite(scale) else None,
        "worst": np.flatnonzero(worst).tolist(),
    }
    return Explorer("the residuals of the runs", data, kind="runs")


class _Rows:
    """The runs that count and have a row in the table of the runs."""

    def __init__(self, subject: Subject) -> None:
        every = runs_table(subject.fit)
        weighted = every["weight"].to_numpy() > 0
        self.positions = [i for i in shown_rows(subject) if weighted[i]]
        self.table = every.iloc[self.positions].reset_index(drop=True)
        self.unit = subject.runs.loss_unit
        self.law = subject.runs.loss[self.positions] * np.exp(subject.fit.residuals[self.positions])

    def of(self, column: pd.Series) -> pd.Series:
        """A column of all runs, of these."""
        return column.iloc[self.positions].reset_index(drop=True)

    def data(self, id: str, label: Label, values: pd.Series, *, log: bool) -> dict[str, Any]:
        """What both explorers have; they start at the run that lies farthest from the law."""
        table = self.table
        columns = [(quantity_label(name, self.unit), name, table[name]) for name in _SHOWN]
        columns += [("loss of the law", "loss", self.law), ("residual", "%", table["residual_percent"])]
        return {
            "id": id,
            "runs": {
                "names": table["row"].tolist(),
                "anchors": [run_anchor(i) for i in self.positions],
                "columns": [
                    {"label": text, "unit": unit, "values": _numbers(column)}
                    for text, unit, column in columns
                ],
            },
            "y": {"name": label.name, "axis": str(label), "log": log, "values": _numbers(values)},
            "start": int(table["residual_percent"].abs().argmax()),
        }


def _loss_view(rows: _Rows, table: FitCurves) -> dict[str, Any]:
    against, by = table.against, table.by
    slices = []
    curves = {name: table.curves[name].to_numpy() for name in (against, "loss", "inside", "held")}
    best = (table.curves["curve"] == "optimum").to_numpy()
    held = np.unique(curves["held"][~best])
    nearest = np.abs(np.log(rows.table[by].to_numpy()[:, None] / held)).argmin(axis=1)
    for i, value in enumerate(held):
        curve = _curve(curves, curves["held"] == value, against, _slice_name(by, float(value)))
        slices.append({**curve, "runs": np.flatnonzero(nearest == i).tolist()})
    if best.any():
        slices.append({**_curve(curves, best, against, "best of each budget"), "best": True})
    x = rows.table[against]
    return {
        **_axis(against, x, log=True),
        "range": [_number(x.min()), _number(x.max())],
        "slices": slices,
        "start": len(held) // 2,
    }


def _slice_name(by: str, value: float) -> str:
    return f"{flops_text(value)} FLOP" if by == "flops" else f"{scaled_number(value, 3)} {label_of(by).name}"


def _curve(
    columns: Mapping[str, NDArray[Any]], of: NDArray[np.bool_], against: str, name: str
) -> dict[str, Any]:
    inside = np.flatnonzero(columns["inside"][of])
    return {
        "name": name,
        "x": _numbers(columns[against][of]),
        "loss": _numbers(columns["loss"][of]),
        "inside": [int(inside[0]), int(inside[-1])] if len(inside) else None,
    }


def _residual_view(rows: _Rows, against: str, table: pd.DataFrame) -> dict[str, Any]:
    column = rows.of(table[against])
    if table[against].dtype.kind in "fiu":
        return {**_axis(against, column, log=spans_decades(column)), "range": None}
    groups = largest_groups(table, against)
    places = {name: i for i, name in enumerate(groups)}
    return {
        **_axis(against, [places.get(each) for each in column], log=False),
        "groups": [str(name) or "(empty)" for name in groups],
    }


def _axis(name: str, x: Iterable[Any], *, log: bool) -> dict[str, Any]:
    label = label_of(name)
    return {
        "name": label.name.replace("_", " ") or name,
        "axis": quantity_label(name),
        "counts": label.is_count,
        "log": log,
        "x": x if isinstance(x, list) else _numbers(x),
    }


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in np.asarray(values, np.float64).tolist()]


def _number(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
