"""Exact identities between the fits of related conditions, and how far the computed fits are from them.

| code   | symbol  | shape | unit                                                                     |
|--------|---------|-------|--------------------------------------------------------------------------|
| k, p   | k, p    | ()    | of a power map N~ = k N^p: parameters^(1-p), 1                           |
| tokens | q       | ()    | factor of the tokens, D~ = q D: 1                                        |
| loss   | l       | ()    | factor of the losses, L~ = l L: 1                                        |
| mu     | mu      | ()    | geometric mean of the unperturbed counts (parameters)                    |

If every count goes through N~ = k N^p, then A N^-alpha = (A k^(alpha/p)) N~^(-alpha/p) for every run, so a
fit of any weighted objective on the losses has

    alpha~ = alpha / p,  A~ = A k^(alpha/p),  E~ = E,  B~ = B,  beta~ = beta,

resample by resample. Multiplicative c is k = c, p = 1 (so A~ = A c^alpha). Systematic bias s is k = mu^(1-s),
p = s (so alpha~ = alpha/s). Noise and addition of size 0, and compositions of all these, are power maps too.
Tokens D~ = q D give B~ = B q^beta by the same reasoning. Losses L~ = l L leave every residual ln L^ - ln L as
it is when E, A and B are multiplied by l.

A coupled factor c, where D = C/(6 N) follows, is k = c and q = 1/c, but only for runs whose tokens were
C/(6 N) before; it depends on the runs, and is left to `theory.py`.
A result that breaks an identity is an error of the solver: the identities test it without a second solver
(arXiv:2509.23963 reports two multiplicative conditions as NaN).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.perturbations import (
    FAMILIES,
    Composition,
    Identity,
    LossMultiplicative,
    Multiplicative,
    Perturbation,
    SystematicBias,
    TokensMultiplicative,
    parse_condition,
)

if TYPE_CHECKING:
    import pandas as pd

CONVERGED = "CONVERGED"
_INVARIANT = ("E", "B", "alpha", "beta")  # A depends on mu, the others on nothing outside the fits


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExactMap:
    """N~ = k N^p, D~ = q D, L~ = l L for every run, which change a fitted law by an exact rule.

    In logarithms, since a bias with a large s has a k beyond float64.

    Attributes:
        log_k: ln k, k in parameters^(1-p).
        p: exponent, positive.
        log_tokens: ln q.
        log_loss: ln l.
    """

    log_k: float = 0.0
    p: float = 1.0
    log_tokens: float = 0.0
    log_loss: float = 0.0

    @beyond_float64()
    def law(self, law: ScalingLaw) -> ScalingLaw:
        """The laws fitted to the mapped runs, from those fitted to the runs as they were; any shape."""
        alpha, beta = np.asarray(law.alpha) / self.p, np.asarray(law.beta)
        return ScalingLaw(
            E=_grown(law.E, np.asarray(self.log_loss)),
            A=_grown(law.A, alpha * self.log_k + self.log_loss),
            B=_grown(law.B, beta * self.log_tokens + self.log_loss),
            alpha=alpha,
            beta=beta,
        )

    @beyond_float64()
    def then(self, other: ExactMap) -> ExactMap:
        """This map followed by the other."""
        return ExactMap(
            log_k=other.log_k + other.p * self.log_k,
            p=self.p * other.p,
            log_tokens=self.log_tokens + other.log_tokens,
            log_loss=self.log_loss + other.log_loss,
        )


def _grown(values: ArrayLike, log_factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values >= 0 times exp(log_factor), every bit kept where that is 1."""
    return np.where(log_factor == 0, values, np.exp(np.log(values) + log_factor))


def exact_map(perturbation: Perturbation, mu: float) -> ExactMap | None:
    """The exact map of this perturbation, or None if it has none.

    Args:
        perturbation: any.
        mu: geometric mean of the counts before (parameters); used by systematic bias alone, may be NaN.
            NaN also stands for one that is not positive.
    """
    return _exact_map(perturbation, math.log(mu) if mu > 0 else math.nan)


def _exact_map(perturbation: Perturbation, log_mu: float) -> ExactMap | None:
    match perturbation:
        case Identity():
            return ExactMap()
        case Composition(parts=parts):
            whole = ExactMap()
            for part in parts:
                # The next part sees counts whose geometric mean is k mu^p.
                step = _exact_map(part, whole.log_k + whole.p * log_mu)
                if step is None:
                    return None
                whole = whole.then(step)
            return whole
    family = FAMILIES.get(perturbation.family)
    if family is None or family.coupled:
        return None
    size = perturbation.value
    match perturbation:
        case SystematicBias():
            return ExactMap(log_k=0.0 if size == 1 else (1 - size) * log_mu, p=size)
        case Multiplicative() if size > 0:
            return ExactMap(log_k=math.log(size))
        case TokensMultiplicative() if size > 0:
            return ExactMap(log_tokens=math.log(size))
        case LossMultiplicative() if size > 0:
            return ExactMap(log_loss=math.log(size))
    return ExactMap() if size == family.neutral else None


def power_map(perturbation: Perturbation, mu: float) -> tuple[float, float] | None:
    """(k, p) if the perturbation is N~ = k N^p for every run and changes nothing else, otherwise None.

    Args:
        perturbation: any.
        mu: geometric mean of the counts before (parameters); used by systematic bias alone, may be NaN.
    """
    found = exact_map(perturbation, mu)
    if found is None or (found.log_tokens, found.log_loss) != (0.0, 0.0):
        return None
    with beyond_float64():
        return float(np.exp(found.log_k)), found.p


def identity_errors(
    fits: pd.DataFrame | Mapping[str, pd.DataFrame],
    reference: pd.DataFrame | None = None,
    *,
    mu: float = math.nan,
) -> pd.DataFrame:
    """Largest relative deviation from the identities over the resamples of each condition.

    Args:
        fits: a study's fits: columns condition, resample, E, A, B, alpha, beta, status (names); or a mapping
            from condition id to such a table, whose own `condition` column is then ignored. Conditions
            without an exact map, and those of other interpretations (`@`), have no identity and are left out.
        reference: the fits of the unperturbed runs on the same resamples; None takes condition "identity" of
            `fits`.
        mu: centre of the bias of the unperturbed counts (`chinchilla_jax.perturbations.bias_centre`); without
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
        mapped = exact_map(parse_condition(condition), mu)
        if mapped is not None:
            rows.append(_deviations(condition, _indexed(table, condition), expected, mapped))
    columns = ["condition", *PARAMETERS, "worst", "worst_resample", "n_compared", "n_failed"]
    return pd.DataFrame(rows, columns=columns)


def _deviations(
    condition: str, found: pd.DataFrame, reference: pd.DataFrame, mapped: ExactMap
) -> tuple[object, ...]:
    both = found.add_suffix("_found").join(reference.add_suffix("_reference"), how="outer")
    kept = both[(both["status_found"] == CONVERGED) & (both["status_reference"] == CONVERGED)]
    failed = len(both) - len(kept)
    if not len(kept):
        return (condition, *[math.nan] * 6, -1, 0, failed)
    f = {name: kept[f"{name}_found"].to_numpy() for name in PARAMETERS}
    r = {name: kept[f"{name}_reference"].to_numpy() for name in PARAMETERS}
    wanted = mapped.law(ScalingLaw(**r))
    deviation = {
        name: _relative(f[name], np.asarray(getattr(wanted, name))) for name in ("E", "B", "alpha", "beta")
    }
    # A ranges over hundreds of decades, where A~ itself could overflow.
    log_a = np.log(r["A"]) + r["alpha"] / mapped.p * mapped.log_k + mapped.log_loss
    deviation["A"] = np.abs(np.expm1(np.log(f["A"]) - log_a))
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
