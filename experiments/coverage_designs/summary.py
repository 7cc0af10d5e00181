"""Counts over the data sets of a row: coverage, misses by side, widths, and the error of the estimates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from judge import BOUNDARIES, LEVELS, QUANTITIES, Setting
from numpy.typing import NDArray

from chinchilla_jax.analysis.coverage_tables import coverage_error

_GOAL = 0.03 + 1e-9


def coverage_rows(
    name: str, settings: list[Setting], found: NDArray[np.void], truth: NDArray[np.float64]
) -> pd.DataFrame:
    """One line per setting, boundary, quantity and level.

    Args:
        name: of the row.
        settings: S of them.
        found: of `judge.judged`, (data sets, S, boundaries, quantities).
        truth: (quantities,), on their scales.
    """
    lines = []
    for (s, b, q), part in _parts(found):
        for place, level in enumerate(LEVELS):
            low, high = part["low"][:, place], part["high"][:, place]
            has = ~(np.isnan(low) | np.isnan(high))
            below, above = high[has] < truth[q], low[has] > truth[q]
            share = float(1 - np.mean(below | above)) if has.any() else np.nan
            lines.append(
                {
                    "row": name,
                    **_keys(settings[s], b, q),
                    "level": level,
                    "coverage": share,
                    "coverage_error": coverage_error(share, int(has.sum())),
                    "below": float(np.mean(below)) if has.any() else np.nan,
                    "above": float(np.mean(above)) if has.any() else np.nan,
                    "median_width": float(np.median((high - low)[has])) if has.any() else np.nan,
                    "lost": float(1 - np.mean(part["counted"])),
                    "at_boundary": float(np.mean(part["at_boundary"])),
                    "used": _used(part["scheme"]),
                    "n": int(has.sum()),
                    "n_without": int((~has).sum()),
                }
            )
    return pd.DataFrame(lines)


def estimate_rows(
    name: str, settings: list[Setting], found: NDArray[np.void], truth: NDArray[np.float64]
) -> pd.DataFrame:
    """Bias and root mean square error of the point and of the median of the resamples, paired."""
    lines = []
    for (s, b, q), part in _parts(found):
        off = {each: part[each] - truth[q] for each in ("point", "median")}
        has = np.isfinite(off["point"]) & np.isfinite(off["median"])
        line = {"row": name, **_keys(settings[s], b, q), "n": int(has.sum())}
        for each, values in off.items():
            line |= _error(each, values[has])
        squares = off["median"][has] ** 2 - off["point"][has] ** 2
        # Above 0 where the point is nearer to the truth; its error is that of the paired difference.
        line["mse_difference"] = float(squares.mean()) if has.any() else np.nan
        line["mse_difference_error"] = float(squares.std() / np.sqrt(len(squares))) if has.any() else np.nan
        lines.append(line)
    return pd.DataFrame(lines)


def markdown(coverage: pd.DataFrame) -> str:
    """Coverage in percent, 80% and 95% intervals: a table per setting and way of counting the boundary.

    Args:
        coverage: of `coverage_rows`.
    """
    lines = []
    for (scheme, delta, boundary), chosen in coverage.groupby(["scheme", "delta", "boundary"], sort=False):
        lines += [f"Scheme {scheme}, delta {delta}, resamples at E = 0: {boundary}", ""]
        lines.append("| row | tokens per parameter | alpha | beta | lost | at E = 0 |")
        lines.append("|---|---|---|---|---|---|")
        for name, of_row in chosen.groupby("row", sort=False):
            cells = [_percentages(of_row[of_row["quantity"] == quantity]) for quantity in QUANTITIES]
            shares = [f"{100 * of_row[share].iloc[0]:.1f}%" for share in ("lost", "at_boundary")]
            lines.append(f"| {' | '.join([str(name), *cells, *shares])} |")
        lines.append("")
    return "\n".join(lines)


def _used(schemes: NDArray[np.str_]) -> str:
    """How often each scheme was used, such as "cluster 93%, pairs 7%"."""
    names, counts = np.unique(schemes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return ", ".join(f"{names[i]} {100 * counts[i] / len(schemes):.0f}%" for i in order)


def _percentages(rows: pd.DataFrame) -> str:
    """Such as "80.1, 95.2"; bold where a level is missed by more than three points."""
    texts = []
    for level, share in zip(rows["level"], rows["coverage"], strict=True):
        text = f"{100 * share:.1f}"
        texts.append(f"**{text}**" if abs(share - level) > _GOAL else text)
    return ", ".join(texts)


def _error(name: str, off: NDArray[np.float64]) -> dict[str, float]:
    if not len(off):
        return dict.fromkeys((f"{name}_bias", f"{name}_bias_error", f"{name}_rmse", f"{name}_mad"), np.nan)
    return {
        f"{name}_bias": float(off.mean()),
        f"{name}_bias_error": float(off.std() / np.sqrt(len(off))),
        f"{name}_median_bias": float(np.median(off)),
        f"{name}_rmse": float(np.sqrt(np.mean(off**2))),
        f"{name}_median_error": float(np.median(np.abs(off))),
    }


def _parts(found: NDArray[np.void]):  # type: ignore[no-untyped-def]
    for index in np.ndindex(found.shape[1:]):
        yield index, found[(slice(None), *index)]


def _keys(setting: Setting, boundary: int, quantity: int) -> dict[str, object]:
    return {
        "scheme": setting.scheme,
        "delta": str(setting.delta),
        "boundary": BOUNDARIES[boundary],
        "quantity": QUANTITIES[quantity],
    }
