"""Exact identities between the fits of related conditions, and how far the computed fits are from them.

| code | symbol  | shape | unit                                                                     |
|------|---------|-------|--------------------------------------------------------------------------|
| k, p | k, p    | ()    | of a power map N~ = k N^p: parameters^(1-p), 1                           |
| mu   | mu      | ()    | geometric mean of the unperturbed counts (parameters)                    |

If every count goes through N~ = k N^p, then A N^-alpha = (A k^(alpha/p)) N~^(-alpha/p) for every run, so a
fit of any weighted objective on the losses has

    alpha~ = alpha / p,  A~ = A k^(alpha/p),  E~ = E,  B~ = B,  beta~ = beta,

resample by resample. Multiplicative c is k = c, p = 1 (so A~ = A c^alpha). Systematic bias s is k = mu^(1-s),
p = s (so alpha~ = alpha/s). Noise and addition of size 0, and compositions of all these, are power maps too.
Whatever a solver reports that breaks this is an error of the solver: an oracle without a second solver
(arXiv:2509.23963 reports two multiplicative conditions as NaN).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.errors import UsageError, short
from chinchilla_jax.law import PARAMETERS
from chinchilla_jax.perturbations import (
    Additive,
    Composition,
    Identity,
    LogNormalNoise,
    Multiplicative,
    Perturbation,
    SystematicBias,
    parse_condition,
)

if TYPE_CHECKING:
    import pandas as pd

CONVERGED = "CONVERGED"
_INVARIANT = ("E", "B", "alpha", "beta")  # A depends on mu, the others on nothing outside the fits


def power_map(perturbation: Perturbation, mu: float) -> tuple[float, float] | None:
    """(k, p) of N~ = k N^p if the perturbation is such a map for every run, otherwise None.

    Args:
        perturbation: any.
        mu: geometric mean of the counts before (parameters); used by systematic bias alone, may be NaN.
    """
    match perturbation:
        case Identity() | Additive(c=0.0) | LogNormalNoise(sigma=0.0):
            return 1.0, 1.0
        case Multiplicative(c=c) if c > 0:
            return c, 1.0
        case SystematicBias(s=s):
            return (1.0 if s == 1 else mu ** (1 - s)), s
        case Composition(parts=parts):
            k, p = 1.0, 1.0
            for part in parts:
                # The next part sees counts whose geometric mean is k mu^p.
                step = power_map(part, k * mu**p)
                if step is None:
                    return None
                k, p = step[0] * k ** step[1], p * step[1]
            return k, p
    return None


def identity_errors(
    fits: pd.DataFrame | Mapping[str, pd.DataFrame],
    reference: pd.DataFrame | None = None,
    *,
    mu: float = math.nan,
) -> pd.DataFrame:
    """Largest relative deviation from the identities over the resamples of each condition.

    Args:
        fits: a study's fits: columns condition, resample, E, A, B, alpha, beta, status (names); or a mapping
            from condition id to such a table, whose own `condition` column is then not read. Conditions that
            are not power maps, and those of other interpretations (`@`), have no identity and are left out.
        reference: the fits of the unperturbed runs on the same resamples; None takes condition "identity" of
            `fits`.
        mu: geometric mean of the unperturbed counts (`chinchilla_jax.perturbations.geometric_mean`); without
            it the deviation of A under systematic bias is NaN.

    Returns:
        One row per condition, in the order of `fits`: condition; E, A, B, alpha, beta (largest deviation
        |found/expected - 1|); worst (the largest of E, B, alpha, beta); worst_resample; n_compared
        (resamples that converged in both); n_failed (all other resamples of the condition or the
        reference). Deviations are NaN and worst_resample is -1 where nothing was compared.

    Raises:
        UsageError: a column is missing, a resample occurs twice, or there is no reference.
    """
    import pandas as pd

    by_condition = _by_condition(fits)
    if reference is None:
        if Identity.family not in by_condition:
            raise UsageError(
                "identity_errors: no condition 'identity' among the fits; pass its fits as reference"
            )
        reference = by_condition[Identity.family]
    expected = _indexed(reference, "reference")
    rows = []
    for condition, table in by_condition.items():
        if "@" in condition:
            continue
        mapped = power_map(parse_condition(condition), mu)
        if mapped is not None:
            rows.append(_deviations(condition, _indexed(table, condition), expected, *mapped))
    columns = ["condition", *PARAMETERS, "worst", "worst_resample", "n_compared", "n_failed"]
    return pd.DataFrame(rows, columns=columns)


def _deviations(
    condition: str, found: pd.DataFrame, reference: pd.DataFrame, k: float, p: float
) -> tuple[object, ...]:
    both = found.add_suffix("_found").join(reference.add_suffix("_reference"), how="outer")
    kept = both[(both["status_found"] == CONVERGED) & (both["status_reference"] == CONVERGED)]
    failed = len(both) - len(kept)
    if not len(kept):
        return (condition, *[math.nan] * 6, -1, 0, failed)
    f = {name: kept[f"{name}_found"].to_numpy() for name in PARAMETERS}
    r = {name: kept[f"{name}_reference"].to_numpy() for name in PARAMETERS}
    deviation = {
        "E": _relative(f["E"], r["E"]),
        "A": np.abs(np.expm1(np.log(f["A"]) - np.log(r["A"]) - r["alpha"] / p * math.log(k))),
        "B": _relative(f["B"], r["B"]),
        "alpha": _relative(f["alpha"], r["alpha"] / p),
        "beta": _relative(f["beta"], r["beta"]),
    }
    worst = np.max([deviation[name] for name in _INVARIANT], axis=0)
    largest = [float(deviation[name].max()) for name in PARAMETERS]
    resample = int(kept.index[int(np.argmax(worst))])
    return (condition, *largest, float(worst.max()), resample, len(kept), failed)


def _relative(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """|found - expected| / |expected|; 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(found == expected, 0.0, np.abs(found - expected) / np.abs(expected))


def _by_condition(fits: pd.DataFrame | Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    if isinstance(fits, Mapping):
        return dict(fits)
    if "condition" not in fits:
        raise UsageError("identity_errors: column 'condition' is missing; give the study's fits")
    return {str(name): table for name, table in fits.groupby("condition", sort=False, observed=True)}


def _indexed(table: pd.DataFrame, label: str) -> pd.DataFrame:
    columns = ["resample", *PARAMETERS, "status"]
    missing = [name for name in columns if name not in table]
    if missing:
        raise UsageError(
            f"identity_errors: column {missing[0]!r} is missing in {short(label)}; give the study's fits"
        )
    if table["status"].dtype.kind in "iufb":
        raise UsageError(
            f"identity_errors: status in {short(label)} is a number; give the names, as in the study"
        )
    indexed = table[columns].set_index("resample")
    if indexed.index.has_duplicates:
        raise UsageError(
            f"identity_errors: a resample occurs twice in {short(label)}; give one condition a table"
        )
    return indexed
