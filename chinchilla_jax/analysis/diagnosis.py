"""Which miscount would turn one fit into another: the signature of each family, ranked by likelihood.

`signatures.py` says what is compared. Each resample also votes for the likeliest family, and gives the size
that is likeliest for it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax.analysis.signatures import Signatures
from chinchilla_jax.analysis.theory import theory_of
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.perturbations import (
    FAMILIES,
    PARAMS_FAMILIES,
    Additive,
    LogNormalNoise,
    Multiplicative,
    Perturbation,
    SystematicBias,
)
from chinchilla_jax.solvers import SolverOptions

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike

Floats = NDArray[np.float64]
USES = ("law", "curve")
_NOTHING = 1e-9  # mean distance below which the two fits are one
_TIE = 0.02  # mean log likelihood within which two families account for a difference equally well

PLANTED: Mapping[str, Sequence[float]] = {
    Multiplicative.family: (0.5, 0.8, 0.95, 1.2, 2.0),
    Additive.family: (-2e7, -8e6, -3e6, 8e6, 2e7),
    SystematicBias.family: (0.8, 0.9, 0.97, 1.05, 1.2),
    LogNormalNoise.family: (0.1, 0.2, 0.4, 0.7, 1.0),
}
"""Sizes that `confusion` plants: from below the documented miscount of 15.2% to well above it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found.

    Attributes:
        table: one row per family, likeliest first: family, size, low, high (of the resamples' own sizes),
            level, log_likelihood (mean over the resamples, 0 for a perfect account), support (share of the
            resamples that the family comes nearest to), distance (root mean square, in sampling standard
            errors per feature).
        sentence: the same in words.
        use: "law" or "curve".
        n_resamples: resamples that converged in both.
    """

    table: pd.DataFrame
    sentence: str
    use: str
    n_resamples: int


def diagnose(
    runs: Runs | TableLike,
    reference: BootstrapResult,
    observed: BootstrapResult,
    *,
    use: str = "law",
    level: float = 0.8,
) -> Diagnosis:
    """Rank the families by how well they turn `reference` into `observed`.

    Args:
        runs: with the counts of the reference.
        reference: bootstrap under one count.
        observed: bootstrap of the same runs on the same resamples under the other.
        use: "law", or "curve" for what a curve of tokens per parameter shows.
        level: of the interval of the size.

    Raises:
        UsageError: the two are not on the same resamples, too few converged in both, or an argument is
            unknown.
    """
    if use not in USES:
        raise unknown_name("use", use, USES)
    if len(reference.status) != len(observed.status) or not np.array_equal(
        reference.resample_ids, observed.resample_ids
    ):
        raise UsageError("diagnose: the two bootstraps have different resamples; use one seed and one number")
    sound = reference.converged & observed.converged
    if sound.sum() < 10:
        raise UsageError(f"diagnose: {sound.sum()} resamples converged in both; 10 are needed")
    runs = as_runs(runs, "diagnose")
    theory = theory_of(runs, reference.point.law)
    return _diagnosis(Signatures(runs, theory, reference, observed, sound, use), level)


def diagnose_counts(
    runs: Runs | TableLike,
    other: Runs | TableLike,
    *,
    resamples: int = 400,
    seed: int = 0,
    use: str = "law",
    level: float = 0.8,
    options: SolverOptions | None = None,
) -> Diagnosis:
    """`diagnose` for two counts of the same runs: which miscount leads from `runs` to `other`.

    Args:
        runs: with one count of the parameters.
        other: the same runs with another.
        resamples: of each.
        seed: of the resamples.
        use: as for `diagnose`.
        level: as for `diagnose`.
        options: as for `bootstrap`.

    Raises:
        UsageError: the runs differ in more than their counts, or as for `diagnose`.
    """
    from chinchilla_jax.bootstrapping.bootstrap import bootstrap

    runs, other = as_runs(runs, "diagnose_counts"), as_runs(other, "diagnose_counts")
    if len(runs) != len(other) or not (
        np.array_equal(runs.tokens, other.tokens) and np.array_equal(runs.loss, other.loss)
    ):
        raise UsageError(
            "the two differ in more than the count of the parameters; give the same runs in the same order, "
            "with the same tokens and losses, under another count; for two recipes, chinchilla-jax compare "
            "says how much compute one saves"
        )
    reference = bootstrap(runs, resamples=resamples, seed=seed, options=options)
    scheme = reference.scheme.fixed(runs)
    # One estimator for both: a zone that errors in the counts widen would be part of the difference.
    observed = bootstrap(
        other,
        resamples=resamples,
        seed=seed,
        objective=reference.point.objective,
        scheme=scheme,
        options=options,
    )
    return diagnose(runs, reference, observed, use=use, level=level)


def confusion(
    runs: Runs | TableLike,
    *,
    planted: Mapping[str, Sequence[float]] = PLANTED,
    resamples: int = 200,
    seed: int = 0,
    use: str = "law",
) -> pd.DataFrame:
    """Plant every error at every size, and see what is diagnosed.

    Args:
        runs: unperturbed.
        planted: sizes by family.
        resamples: of every bootstrap.
        seed: of resamples and noise.
        use: as for `diagnose`.

    Returns:
        One row per planted error: planted, size, diagnosed, diagnosed_size, support, margin (mean log
        likelihood by which it beats the next), tied (whether that is too little to tell the two apart), right
        (bool), n_resamples. `pandas.crosstab(table.planted, table.diagnosed)` is the
        confusion matrix.

    Raises:
        UsageError: as for `diagnose`.
    """
    import pandas as pd

    from chinchilla_jax.bootstrapping.bootstrap import bootstrap

    runs = as_runs(runs, "confusion")
    reference = bootstrap(runs, resamples=resamples, seed=seed, progress=None)
    scheme = reference.scheme.fixed(runs)
    rows = []
    for family, sizes in planted.items():
        for size in sizes:
            perturbation: Perturbation = FAMILIES[family](size)
            changed = perturbation.apply(runs, seed=seed)
            observed = bootstrap(
                changed,
                resamples=resamples,
                seed=seed,
                objective=reference.point.objective,
                scheme=scheme,
                progress=None,
            )
            found = diagnose(runs, reference, observed, use=use)
            best, second = found.table.iloc[0], found.table.iloc[1]
            rows.append(
                {
                    "planted": family,
                    "size": float(size),
                    "diagnosed": best["family"],
                    "diagnosed_size": best["size"],
                    "support": best["support"],
                    "margin": best["log_likelihood"] - second["log_likelihood"],
                    "tied": best["log_likelihood"] - second["log_likelihood"] < _TIE,
                    "right": best["family"] == family,
                    "n_resamples": found.n_resamples,
                }
            )
    return pd.DataFrame(rows)


def _diagnosis(signatures: Signatures, level: float) -> Diagnosis:
    import pandas as pd

    tails = central_tails(level)
    found = {family: signatures.best(family) for family in PARAMS_FAMILIES}
    nearest = np.argmin(np.stack([misfit for _, misfit, _, _ in found.values()]), axis=0)
    rows = []
    for i, (family, (x, misfit, squared, own)) in enumerate(found.items()):
        low, high = (signatures.size_at(family, float(np.quantile(own, tail))) for tail in tails)
        rows.append(
            {
                "family": family,
                "size": signatures.size_at(family, x),
                "low": low,
                "high": high,
                "level": level,
                "log_likelihood": -0.5 * float(misfit.mean()),
                "support": float(np.mean(nearest == i)),
                "distance": math.sqrt(float(squared.mean()) / signatures.observed.shape[1]),
            }
        )
    table = pd.DataFrame(rows).sort_values("log_likelihood", ascending=False, kind="stable")
    table = table.reset_index(drop=True)
    return Diagnosis(
        table=table,
        sentence=_sentence(signatures, table, level),
        use=signatures.use,
        n_resamples=len(signatures.observed),
    )


def _sentence(signatures: Signatures, table: pd.DataFrame, level: float) -> str:
    if signatures.nothing < _NOTHING:
        return "The two fits are the same: no miscount is needed."
    best, second = table.iloc[0], table.iloc[1]
    text = (
        f"The difference looks like {_in_words(best)} ({level:.0%} interval {best['low']:.4g} to "
        f"{best['high']:.4g}), the likeliest account of {best['support']:.0%} of the resamples"
    )
    if best["log_likelihood"] - second["log_likelihood"] < _TIE:
        return f"{text}; {_in_words(second)} accounts for it as well and cannot be told apart."
    margin = best["log_likelihood"] - second["log_likelihood"]
    return f"{text}; the next is {_in_words(second)}, behind by {margin:.2g} in log likelihood."


def _in_words(row: pd.Series) -> str:
    words = {
        Multiplicative.family: "a factor of {:.4g} on every count",
        Additive.family: "{:.4g} parameters added to every count",
        SystematicBias.family: "a bias with exponent {:.4g}",
        LogNormalNoise.family: "log-normal noise with standard deviation {:.4g}",
    }
    return words[str(row["family"])].format(row["size"])
