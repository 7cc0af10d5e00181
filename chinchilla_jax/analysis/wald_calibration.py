"""P-values of the Wald test under the truth: they should be uniform."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.limits import FITS
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.validation import limited_number
from chinchilla_jax.analysis.coverage_noise import NOISES, Noise, simulated_losses
from chinchilla_jax.analysis.wald import wald_test
from chinchilla_jax.datasets.load import as_runs

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Objective
    from chinchilla_jax.laws.scaling_law import ScalingLaw

_POINT_STARTS = 16


@reporting
def null_p_values(
    runs: Runs | TableLike,
    *,
    datasets: int = 200,
    resamples: int = 400,
    seed: int = 0,
    noise: str = "residuals",
    compare: str = "exponents",
    progress: ProgressLike = "auto",
) -> pd.DataFrame:
    """P-values of tests of the truth, on data sets simulated from it: they should be uniform.

    Args:
        runs: the design; the law fitted to it is the truth, its residuals are the errors. Data sets are
            fitted by the objective of `fit(runs)`; where that leaves delta to the data, each decides its own.
        datasets: how many are simulated.
        resamples: of each.
        seed: whole number.
        noise: "residuals" (any run's error for any run) or "signed" (each run its own, its sign drawn), see
            `coverage_noise.py`.
        compare: as for `wald_test`.
        progress: as for `bootstrap`; a function is called with 1 after each data set.

    Returns:
        One row per data set: dataset, statistic, p_value, p_bootstrap; NaN where a test was not possible.

    Raises:
        UsageError: a bad number, or runs whose own fit is not certified.
    """
    import pandas as pd

    from chinchilla_jax.fitting.point_fit import fit
    from chinchilla_jax.fitting.problem import read_problem

    if noise not in NOISES:
        raise unknown_name("noise", noise, NOISES)
    runs = as_runs(runs, "null_p_values")
    objective = read_problem("null_p_values", runs, "chinchilla", "huber").objective
    truth = fit(runs, objective=objective, starts=64)
    if not truth.status.certified:
        raise UsageError(f"null_p_values: the fit of the runs is {truth.status.name}; simulate from others")
    errors = Noise.of_fit(truth, kind=noise)
    count = limited_number("datasets", datasets, FITS)
    FITS.require(f"{count:,} data sets of {resamples:,} resamples", count * resamples)
    advance = started(progress, "null p-values", count, "data sets")
    rows = []
    for number in range(count):
        losses = simulated_losses(runs, truth.law, errors, np.array([number]), seed)[0]
        simulated = dataclasses.replace(runs, loss=losses, name=f"simulated {number}")
        tested = _p_values(simulated, truth.law, objective, compare, resamples, seed + 1 + number)
        rows.append({"dataset": number, **tested})
        if advance is not None:
            advance(1)
    return pd.DataFrame(rows)


def _p_values(
    runs: Runs, truth: ScalingLaw, objective: Objective, compare: str, resamples: int, seed: int
) -> dict[str, float]:
    """Statistic and p-values of a test of the truth on one data set; NaN where none was possible."""
    from chinchilla_jax.bootstrapping.bootstrap import bootstrap
    from chinchilla_jax.fitting.point_fit import fit
    from chinchilla_jax.solvers import SolverOptions

    options = SolverOptions(wide_start=True, max_steps=150)
    point = fit(runs, objective=objective, starts=_POINT_STARTS, options=options)
    try:
        boot = bootstrap(
            runs,
            resamples=resamples,
            seed=seed,
            objective=objective,
            scheme="pairs",
            point=point,
            progress=None,
        )
        test = wald_test(boot, truth, runs, compare=compare)
    except UsageError:
        # No law, or E = 0 where ln E is compared. Bad arguments are raised.
        if point.status.name == "CONVERGED":
            raise
        return dict.fromkeys(("statistic", "p_value", "p_bootstrap"), np.nan)
    return {"statistic": test.statistic, "p_value": test.p_value, "p_bootstrap": test.p_bootstrap}
