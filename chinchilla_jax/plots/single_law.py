"""What figures of one fit need: its runs as a table, and its law at the usual values of further variables."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import list_text, scaled_number
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.fitting.result import require_estimate
from chinchilla_jax.laws.best_allocation import ACTIVE
from chinchilla_jax.laws.optimum import no_optimum_anywhere, require_optimum
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.law_sample import LawSample

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult


def runs_of(result: FitResult | BootstrapResult) -> Runs:
    """The runs that a fit or a bootstrap carries.

    Raises:
        UsageError: it carries none.
    """
    if result.runs is None:
        raise UsageError(
            "these fits carry no runs to draw; fit the table itself with cj.fit or cj.bootstrap, or draw the "
            "figures of a study with plots.study_figures"
        )
    return result.runs


def runs_table(fit: FitResult) -> pd.DataFrame:
    """The runs of a fit, one row each: row, flops, params (active), tokens, loss, weight, residual_percent.

    The residual is the loss over the law's, less 1, in per cent.
    """
    import pandas as pd

    runs = runs_of(fit)
    return pd.DataFrame(
        {
            "row": [runs.name_row(i) for i in range(len(runs))],
            "flops": runs.flops,
            "params": runs.active,
            "tokens": runs.tokens,
            "loss": runs.loss,
            "weight": np.ones(len(runs)) if fit.weights is None else fit.weights,
            "residual_percent": 100 * np.expm1(-fit.residuals),
        }
    )


def law_of(fit: FitResult) -> LawSample:
    """The law of a certified fit as a sample of one, at its cost and the medians of its further variables.

    Raises:
        NoEstimateError: the fit is not certified.
    """
    require_estimate(fit.status, "fit", fit.reason)
    variables = median_variables(fit)
    law = fit.law
    several = isinstance(law, ScalingLaw)
    one = law.map(np.atleast_1d) if several else dataclasses.replace(law, theta=law.theta[None])
    return LawSample(laws=one, point=fit.law, source="fit", cost=fit.cost, runs=fit.runs, variables=variables)


def read_sample(laws: FitResult | BootstrapResult | LawSample) -> LawSample:
    """The laws that an object has, with the medians of further variables that have no default.

    Raises:
        NoEstimateError: a fit is not certified.
        NoOptimumError: the law has no best run for a budget.
    """
    if isinstance(laws, LawSample):
        return laws
    if isinstance(laws, BootstrapResult):
        sample, fit = LawSample.from_bootstrap(laws), laws.point
    else:
        sample, fit = law_of(laws), laws
        require_optimum(fit.law, "fit")
    missing = [name for name in fit.model.columns if name not in (*fit.model.defaults, *sample.variables)]
    if fit.runs is None or not missing:
        return sample
    return sample.at(
        variables={name: value for name, value in median_variables(fit).items() if name in missing}
    )


def median_variables(fit: FitResult) -> dict[str, float]:
    """The medians over the runs of what the law predicts from beside params, tokens and FLOP."""
    runs = runs_of(fit)
    names = [name for name in fit.model.columns if name != ACTIVE]
    return {name: float(np.median(runs.variables[name])) for name in names}


def held_text(variables: Mapping[str, float]) -> str:
    """In a figure: "unique tokens 100B (medians of the runs)"; "" for none."""
    held = [f"{name.replace('_', ' ')} {scaled_number(value, 3)}" for name, value in variables.items()]
    return f"law at {list_text(held)} (median of the runs)" if held else ""


def optimum_line(law: LawSample, flops: NDArray[np.float64]) -> pd.DataFrame | None:
    """The best params and tokens of each budget, where they are inside the plane; None where none is."""
    import pandas as pd

    if no_optimum_anywhere(law.point):
        return None
    params, tokens = law.optimal(law.point, flops)
    found = pd.DataFrame({"params": params * law.share, "tokens": tokens})
    known = np.isfinite(found).all(axis=1) & (found > 0).all(axis=1)
    return found[known] if known.any() else None
