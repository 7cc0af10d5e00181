"""The robustness study of Schaeffer et al. 2025 (arXiv:2509.23963): every published figure beside ours.

    python experiments/robustness2025/run.py

Runs the study into results/paper unless it exists already, checks the exact identities on every resample, and
writes the tables and figures beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import chinchilla_jax as cj
from chinchilla_jax.analysis.identities import exact_map, identity_errors
from chinchilla_jax.analysis.trends import trend_table
from chinchilla_jax.datasets.architectures import relative_error_summary
from chinchilla_jax.intervals.slopes import slope_monte_carlo_error, slope_table
from chinchilla_jax.perturbations import bias_centre, geometric_mean
from chinchilla_jax.plots import save_study_figures

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from _tables import options, write  # noqa: E402

SLOPES = {"identity": "-0.572", "identity@best_fit": "-1.049", "identity@reported": "-1.248"}


def main() -> None:
    args = options(__doc__, "results/paper")
    study = cj.run_study(cj.paper_study(resamples=args.resamples, seed=args.seed), args.out)
    folder = args.tables or HERE
    rows = [*_counting(), *_slopes(study), *_headlines(study)]
    identities = identity_errors(study.fits(), mu=bias_centre(study.runs()))
    rows += _identities(identities)
    write(rows, folder)
    identities.to_csv(folder / "identities.csv", index=False)
    trend_table(study.conditions, study.params).to_csv(folder / "trends.csv", index=False)
    _failures(study).to_csv(folder / "failures.csv", index=False)
    save_study_figures(study, folder / "figures", formats=("png",), dpi=120)


def _counting() -> list[tuple[str, str, str, str]]:
    table = relative_error_summary().set_index("rule")
    mean, most, least = (table.filter(like=name).iloc[:, 0] for name in ("mean", "max", "min"))
    differ = table.filter(like="different").iloc[:, 0]
    return [
        ("relative error, standard: mean", "7.4%", f"{mean['standard']:.1f}%", ""),
        ("relative error, standard: max", "15.2%", f"{most['standard']:.1f}%", "counts rounded to millions"),
        ("relative error, standard: min", "3.6%", f"{least['standard']:.1f}%", ""),
        ("relative error, best fit: max", "8.7%", f"{most['best_fit']:.1f}%", ""),
        (
            "best-fit counts that differ from the reported",
            "6 of 50",
            f"{differ['best_fit']} of 50",
            "14 of these differ by 1 million, one by 2; 6 differ by more than 2 million",
        ),
    ]


def _slopes(study: cj.Study) -> list[tuple[str, str, str, str]]:
    slopes = slope_table(study.tokens_per_param).set_index(["condition", "method"])["slope_per_decade"]
    point = study.point.query("objective == 'huber_scale'").set_index("condition")
    rows = []
    for condition, published in SLOPES.items():
        fits = study.fits(condition)
        laws = cj.ScalingLaw(**{name: fits[name].to_numpy() for name in ("E", "A", "B", "alpha", "beta")})
        centre = cj.ScalingLaw(
            **{name: float(point.loc[condition, name]) for name in ("E", "A", "B", "alpha", "beta")}
        )
        error = slope_monte_carlo_error(laws, centre, counted=(fits["status"] == "CONVERGED").to_numpy())
        ours = slopes[condition, "besiroglu2024"]
        apart = abs(float(published) - error.slope) / (np.sqrt(2) * error.total_error)
        rows.append(
            (
                f"slope of tokens per parameter per decade, {condition}",
                published,
                f"{ours:.3f}",
                f"mean over draws {error.slope:.3f}, Monte-Carlo error {error.total_error:.3f} each: "
                f"{apart:.1f} standard errors apart",
            )
        )
        rows.append(
            (
                f"the same with percentile bands, {condition}",
                "-",
                f"{slopes[condition, 'percentile']:.3f}",
                "",
            )
        )
    return rows


def _headlines(study: cj.Study) -> list[tuple[str, str, str, str]]:
    point = study.point.query("objective == 'huber_scale'").merge(study.conditions, on="condition")
    additive = point.query("family == 'additive'").sort_values("value")
    trends = trend_table(study.conditions, study.params, method="besiroglu2024")
    bias = trends.query("family == 'systematic_bias' and parameter == 'alpha'").iloc[0]
    alpha = float(point.loc[point["condition"] == "identity", "alpha"].iloc[0])
    growth = trends.query("family == 'multiplicative' and parameter == 'A'").iloc[0]
    runs, sizes = study.runs(), study.conditions.query("family == 'systematic_bias'")["value"]
    return [
        ("additive: E", "1.565 to 1.897", f"{additive['E'].iloc[0]:.3f} to {additive['E'].iloc[-1]:.3f}", ""),
        (
            "additive: alpha",
            "0.199 to 0.481",
            f"{additive['alpha'].iloc[0]:.3f} to {additive['alpha'].iloc[-1]:.3f}",
            "",
        ),
        (
            "bias: log10 alpha = intercept + slope log10 s",
            "-0.46, -1",
            f"{bias['intercept']:.4f}, {bias['slope']:.4f}",
            f"R^2 = {bias['r_squared']:.6f}; published R^2 > 0.999",
        ),
        (
            "bias: mu, which it leaves as it is",
            "geometric mean of all 245 runs",
            f"{bias_centre(runs) / 1e6:.1f} million",
            f"the 240 runs that are fitted have {geometric_mean(runs.params) / 1e6:.1f} million; with that "
            f"in its place, tokens per parameter at s = {sizes.min():.3g} and {sizes.max():.3g} are "
            f"{_moved(study, runs, sizes.min()):+.1%} and {_moved(study, runs, sizes.max()):+.1%} off",
        ),
        (
            "multiplicative: slope of log10 A on log10 c",
            "alpha",
            f"{growth['slope']:.6f}",
            f"alpha of the identity is {alpha:.6f}",
        ),
        (
            "multiplicative conditions without a finite result",
            "2 (0.001, 0.004)",
            str(_unusable(study)),
            "an optimiser failure there, not a property of the data",
        ),
    ]


def _moved(study: cj.Study, runs: cj.Runs, s: float) -> float:
    """By how much tokens per parameter change if a bias turns around the mean of the fitted runs instead."""
    point = study.point.query("objective == 'huber' and condition == 'identity'").iloc[0]
    law = cj.ScalingLaw(**{name: float(point[name]) for name in ("E", "A", "B", "alpha", "beta")})
    own, whole = (
        exact_map(cj.SystematicBias(s), mu).law(law).tokens_per_param(1e22)
        for mu in (geometric_mean(runs.params), bias_centre(runs))
    )
    return float(own / whole - 1)


def _unusable(study: cj.Study) -> int:
    params = study.params.merge(study.conditions, on="condition").query("family == 'multiplicative'")
    bad = ~np.isfinite(params[["estimate", "standard_error", "low", "high"]]).all(axis=1) | (
        params["n_failed"] > 0
    )
    return int(params.loc[bad, "condition"].nunique())


def _identities(table: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    rows = []
    for family in ("multiplicative", "systematic_bias"):
        chosen = table[table["condition"].str.startswith(family)]
        worst = chosen.loc[chosen["worst"].idxmax()]
        rows.append(
            (
                f"identity of {family}: worst relative deviation of E, B, alpha, beta",
                "0",
                f"{worst['worst']:.1e}",
                f"{int(chosen['n_compared'].sum())} resamples of {len(chosen)} conditions, "
                f"{int(chosen['n_failed'].sum())} "
                f"not compared; A: {chosen['A'].max():.1e}",
            )
        )
    return rows


def _failures(study: cj.Study) -> pd.DataFrame:
    """Fits per status by family and size of the perturbation."""
    fits = study.fits()[["condition", "status"]].merge(study.conditions, on="condition")
    table = pd.crosstab([fits["family"], fits["params"], fits["value"]], fits["status"])
    return table.reset_index()


if __name__ == "__main__":
    main()
