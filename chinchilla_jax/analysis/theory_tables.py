"""Closed forms beside the fits of a study: how far they are apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis.theory import CLOSED_FORMS, theory_of
from chinchilla_jax.laws.compute import GOPHER_FLOPS
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.datasets import Runs

THEORY_FLOPS = (1e20, GOPHER_FLOPS, 1e26)


def theory_table(
    runs: Runs, conditions: pd.DataFrame, point: pd.DataFrame, *, objective: str = "huber"
) -> pd.DataFrame:
    """Closed forms beside the fits of a study.

    Args:
        runs: the study's unperturbed runs.
        conditions: the study's conditions: condition, family, value, repeat, params.
        point: the study's point fits: condition, objective, E, A, B, alpha, beta, status.
        objective: which of the two point fits.

    Returns:
        One row per perturbed condition and quantity (the five parameters; tokens_per_param at 1e20, 5.76e23
        and 1e26 FLOP), of families with a closed form and conditions that are not INVALID: condition, family,
        value, repeat, quantity, flops (NaN for a parameter), theory, fitted, relative_difference
        (fitted/theory - 1), status (of the fit).

    Raises:
        UsageError: a column is missing, or the study has no unperturbed fit.
    """
    import pandas as pd

    for table, label, needed in (
        (conditions, "conditions", ("condition", "family", "value", "repeat")),
        (point, "point", ("condition", "objective", *PARAMETERS, "status")),
    ):
        missing = [name for name in needed if name not in table]
        if missing:
            raise UsageError(f"theory_table: {label} has no column {missing[0]!r}; give the study's table")
    fits = point[point["objective"] == objective].set_index("condition")
    if "identity" not in fits.index:
        raise UsageError("theory_table: the study has no unperturbed condition 'identity'")
    reference = _law(fits.loc["identity"])
    theory = theory_of(runs, reference)
    rows = []
    for row in conditions[conditions["family"].isin(CLOSED_FORMS)].to_dict("records"):
        if row["condition"] not in fits.index:
            continue
        fit = fits.loc[row["condition"]]
        if fit["status"] == "INVALID":
            continue
        expected, found = theory.predict(row["family"], row["value"], reference), _law(fit)
        pairs = [(name, math.nan, getattr(expected, name), getattr(found, name)) for name in PARAMETERS]
        pairs += [
            ("tokens_per_param", flops, expected.tokens_per_param(flops), found.tokens_per_param(flops))
            for flops in THEORY_FLOPS
        ]
        for name, flops, predicted, fitted in pairs:
            rows.append(
                {
                    **{key: row[key] for key in ("condition", "family", "value", "repeat")},
                    "quantity": name,
                    "flops": flops,
                    "theory": float(predicted),
                    "fitted": float(fitted),
                    "relative_difference": float(fitted) / float(predicted) - 1 if predicted else math.nan,
                    "status": fit["status"],
                }
            )
    return pd.DataFrame(rows)


def theory_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Sizes of the relative differences, by family and quantity.

    The closed form of noise is about a typical draw: the repeats of one size become one point, the median of
    their relative differences.

    Args:
        table: of `theory_table`.

    Returns:
        Columns family, quantity, flops, median_difference and largest_difference (of its absolute value, over
        the sizes), at_value (the size where it is largest), n_sizes, n_left_out (fits that did not converge).
    """
    import pandas as pd

    rows = []
    for keys, group in table.groupby(["family", "quantity", "flops"], sort=False, dropna=False):
        sound = group[(group["status"] == "CONVERGED") & np.isfinite(group["relative_difference"])]
        size = sound.groupby("value")["relative_difference"].median().abs()
        rows.append(
            {
                **dict(zip(("family", "quantity", "flops"), keys, strict=True)),
                "median_difference": float(size.median()) if len(size) else math.nan,
                "largest_difference": float(size.max()) if len(size) else math.nan,
                "at_value": float(size.idxmax()) if len(size) else math.nan,
                "n_sizes": len(size),
                "n_left_out": len(group) - len(sound),
            }
        )
    return pd.DataFrame(rows)


def _law(row: pd.Series) -> ScalingLaw:
    return ScalingLaw(**{name: float(row[name]) for name in PARAMETERS})
