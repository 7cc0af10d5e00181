"""What a comparison of forms says, in a sentence for each split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.text import list_text

if TYPE_CHECKING:
    import pandas as pd

_MOST_PERCENT = 10.0  # times the reference's error, from which a difference is given as a multiple


def sentence(group: pd.DataFrame, reference: str, level: float) -> str:
    """One split of the table of `compare_forms` in words."""
    split = group["split"].iloc[0]
    rows: dict[str, Any] = {str(row["form"]): row for row in group.to_dict("records")}
    own = rows.pop(reference)
    if not np.isfinite(own["error"]):
        return (
            f"Held out {split}: {reference} has no certified fit to some part of the runs, so that there is "
            "nothing to compare with."
        )

    def names(found: list[str]) -> str:
        return list_text([f"{name} ({_difference_text(rows[name], own['error'])})" for name in found])

    better = [name for name, row in rows.items() if row["joint_high"] < 0]
    worse = [name for name, row in rows.items() if row["joint_low"] > 0]
    unknown = [name for name, row in rows.items() if not np.isfinite(row["joint_low"] + row["joint_high"])]
    open_still = [name for name in rows if name not in (*better, *worse, *unknown)]
    verdicts = [
        f"put {names(better)} below it" if better else "",
        f"put {names(worse)} above it" if worse else "",
        f"leave {names(open_still)} open" if open_still else "",
    ]
    said = [f"{reference} errs by {100 * own['error']:.3g}% on average"]
    if any(verdicts):
        known = len(rows) - len(unknown)
        joint = f", which hold for all {known} laws together," if known > 1 else ""
        said.append(f"{100 * level:g}% intervals{joint} {', '.join(filter(None, verdicts))}")
        said.append(_best_text(group, reference, better, open_still, level))
    if unknown:
        said.append(f"{', '.join(unknown)} could not be fitted often enough to say")
    return f"Held out {split}: {'; '.join(said)}."


def _best_text(
    group: pd.DataFrame, reference: str, better: list[str], open_still: list[str], level: float
) -> str:
    """Which laws may be the best, of those whose errors have intervals.

    The confidence set goes step by step and may tell more than the intervals or less. It takes nothing back
    that they say of the reference: that some law is better, or that a law is left open beside it.
    """
    compared = group[group["p_best"].notna()]
    found = set(compared.loc[compared["p_best"] >= 1 - level, "form"])
    if better:
        found.discard(reference)
    elif found & set(open_still):
        found.add(reference)
    if reference in found:
        found |= set(open_still)
    may_be = [str(name) for name in compared["form"] if name in found]
    if len(may_be) == 1:
        return f"{may_be[0]} predicts best"
    if len(may_be) == len(compared) > 2:
        return "these runs cannot tell any of them apart"
    return f"these runs cannot tell {list_text(may_be)} apart"


def _difference_text(row: dict[str, Any], reference: float) -> str:
    """How much larger an error is than the reference's, and on how many resamples that rests if not all."""
    share = row["difference"] / reference
    text = f"{100 * share:+.1f}%" if share < _MOST_PERCENT else f"{1 + share:,.0f} times the error"
    used, asked = row.get("n_resamples"), row.get("of_resamples")
    return text if used == asked else f"{text}, {used} of {asked} resamples"
