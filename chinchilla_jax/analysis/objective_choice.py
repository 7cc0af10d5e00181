"""How much the conclusions depend on the objective: the law and tokens per parameter under several.

`Huber` with any delta, from nearly absolute to nearly squared error, squared error itself, of the log loss
and of the loss, and the asymmetric error that bounds the runs from below, all on the same resamples.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.validation import resample_count, seed_number
from chinchilla_jax.analysis.objective_store import ObjectiveParts
from chinchilla_jax.analysis.work_records import law_record, resampling_record
from chinchilla_jax.bootstrapping.asked_groups import asked_warnings
from chinchilla_jax.bootstrapping.auto_scheme import resolve_scheme
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.fitting.point_fit import fit
from chinchilla_jax.fitting.problem import read_problem, read_weights
from chinchilla_jax.fitting.result import require_estimate
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.intervals.tokens_per_param import positive_budgets
from chinchilla_jax.laws import (
    AsymmetricError,
    Huber,
    Law,
    Objective,
    RawHuber,
    RawSquared,
    Squared,
    read_law,
)
from chinchilla_jax.laws.compute import GOPHER_FLOPS
from chinchilla_jax.solvers import SolverOptions

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws.objectives import Delta

DELTAS = tuple(float(f"{10**exponent:.3g}") for exponent in np.arange(-4, 0.01, 0.5))
"""From a tenth of the published 1e-3 to 1, half a decade apart."""
FLOPS = (1e20, 1e22, GOPHER_FLOPS, 1e26)
_COLUMNS = [
    "objective", "delta", "quantity", "flops", "estimate", "low", "high", "level", "status", "n_converged",
    "n_failed",
]  # fmt: skip


@reporting
def objective_sensitivity(
    runs: Runs | TableLike,
    *,
    deltas: Sequence[Delta] = DELTAS,
    others: Sequence[Objective] = (Squared(), RawSquared(), AsymmetricError()),
    law: Law | str = "chinchilla",
    flops: ArrayLike = FLOPS,
    weights: ArrayLike | None = None,
    resamples: int = 400,
    seed: int = 0,
    scheme: Scheme | str = "auto",
    level: float = 0.8,
    options: SolverOptions | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: ProgressLike = "auto",
) -> pd.DataFrame:
    """Fits and bootstraps under every objective, on the same resamples.

    Args:
        runs: n runs, or anything that `load_runs` takes.
        deltas: half-widths of `Huber`; "auto" among them is the one that the residuals decide.
        others: further objectives.
        law: which law to fit.
        flops: budgets at which to give tokens per parameter.
        weights: of the runs, (n,); None for all the same.
        resamples: of each objective.
        seed: whole number.
        scheme: how to resample, the same for all; "auto" chooses by the fit of `Huber()`.
        level: mass of the percentile intervals.
        options: as for `bootstrap`.
        out: a directory (a path or URL) for the rows of every objective. Rows that it already holds are not
            computed again: an interrupted run resumes, and objectives can be added later. A damaged file is
            reported and its rows are computed again.
        progress: as for `bootstrap`; a function is called with the number of fits just finished.

    Returns:
        One row per objective and quantity: objective, delta (NaN but for `Huber` and `RawHuber`), quantity (a
        parameter or "tokens_per_param"), flops, estimate, low, high, level, status (of the point fit),
        n_converged, n_failed. Numbers are NaN where the point fit is not certified.

        `attrs` has "warnings", of the fit by the usual objective and of the scheme.

    Raises:
        UsageError: an argument is out of range, or `out` holds another comparison.
        ChinchillaError: `out` cannot be written.
        NoEstimateError: the fit by the usual objective is not certified.

    Warns:
        DataWarning: a file in `out` is damaged.
    """
    import pandas as pd

    central_tails(level)
    objectives = [*(Huber(delta) for delta in deltas), *others]
    if not objectives:
        raise UsageError(f"objective_sensitivity: deltas = {short(deltas)} and no others; give an objective")
    runs = as_runs(runs, "objective_sensitivity", read_law(law).columns)
    problems = [read_problem("objective_sensitivity", runs, law, objective) for objective in objectives]
    given = read_weights(weights, len(runs))
    count, number = resample_count("resamples", resamples), seed_number(seed)
    usual = fit(runs, law, weights=weights, options=options)
    require_estimate(usual.status, runs.name, usual.reason)
    chosen, _ = resolve_scheme(scheme, runs, law=law, weights=weights, options=options)
    kept = None
    if out is not None:
        sampling = resampling_record(
            runs, chosen, resamples=count, seed=number, weights=given, options=options
        )
        budgets = positive_budgets(flops).tolist()
        own = law_record(problems[0].law, problems[0].design)
        kept = ObjectiveParts(out, {**sampling, "level": float(level), "flops": budgets, **own})
    advance = started(progress, "objectives", count * len(objectives))
    tables = []
    for objective in objectives:
        rows = None if kept is None else kept.read(objective)
        if rows is None:
            boot = bootstrap(
                runs,
                law,
                resamples=count,
                seed=number,
                objective=objective,
                weights=weights,
                scheme=chosen,
                options=options,
            )
            rows = _rows(boot, flops, level)
            if kept is not None:
                kept.write(objective, rows)
        tables.append(rows)
        if advance is not None:
            advance(count)
    table = pd.concat(tables, ignore_index=True)
    table.attrs = {"warnings": (*usual.warnings, *asked_warnings(chosen, runs, given))}
    return table


def _rows(boot: BootstrapResult, flops: ArrayLike, level: float) -> pd.DataFrame:
    """Parameters, then tokens per parameter at each budget, with their percentile intervals."""
    import pandas as pd

    objective = boot.point.objective
    parameters = boot.interval(level).rename(columns={"parameter": "quantity"})
    ratios = boot.tokens_per_param(flops, level).assign(quantity="tokens_per_param")
    rows = pd.concat([parameters, ratios], ignore_index=True)
    rows["objective"] = objective.name
    rows["delta"] = objective.down if isinstance(objective, Huber | RawHuber) else float("nan")
    rows["status"] = boot.point.status.name
    rows["n_converged"] = int(boot.counted.sum())
    rows["n_failed"] = int((~boot.counted).sum())
    return rows[_COLUMNS]
