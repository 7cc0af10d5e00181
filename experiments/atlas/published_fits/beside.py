"""Their figures beside ours: rows of comparison.csv, and what their parameters are to our objective."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import chinchilla_jax as cj
from chinchilla_jax._util.text import counts_text
from chinchilla_jax.laws import LAWS, Law
from chinchilla_jax.solvers import Problem
from chinchilla_jax.solvers.dispatch import solve_generally

HERE = Path(__file__).parent
COLUMNS = ["fit", "quantity", "theirs", "ours", "low", "high", "inside", "note"]
Published = Mapping[str, float]
Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class FiveParameters:
    """A published five-parameter law and the procedure behind it.

    Attributes:
        runs: the rows, as the source counts their parameters.
        objective: as the source minimises it.
        scheme: of our resamples.
        flops: the budget at which tokens per parameter are compared, FLOP.
    """

    runs: Callable[[], cj.Runs]
    objective: Any
    scheme: Any
    flops: float


def write(table: pd.DataFrame, path: Path) -> None:
    """Write the rows in the order of published.csv; those of fits that were not run again are kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        old = pd.read_csv(path, dtype=str, keep_default_na=False)  # their digits as they were written
        table = pd.concat([table, old[~old["fit"].isin(set(table["fit"]))]], ignore_index=True)
    order = pd.read_csv(HERE / "published.csv")["fit"].drop_duplicates().tolist()
    places = {name: place for place, name in enumerate(order)}
    rank = table["fit"].map(lambda name: places.get(name.removesuffix(", five-point means"), len(places)))
    table.assign(rank=rank).sort_values(["rank", "fit"], kind="stable").drop(columns="rank").to_csv(
        path, index=False
    )


def of(published: pd.DataFrame, fit: str) -> dict[str, float]:
    """The published figures of a fit by quantity."""
    rows = published[published["fit"] == fit]
    return dict(zip(rows["quantity"], rows["value"], strict=True))


def row(
    fit: str, quantity: str, theirs: float, ours: float, draws: Any = None, note: str = ""
) -> dict[str, Any]:
    """A row of comparison.csv; `draws` are the quantity under our resamples."""
    low = high = math.nan
    inside = ""
    if draws is not None:
        low, high = np.nanquantile(draws, [0.1, 0.9])
        inside = "yes" if low <= theirs <= high else "no"
    numbers = {
        name: f"{value:.10g}" if quantity.startswith(("objective", "cost", "sum")) else f"{value:.5g}"
        for name, value in (("theirs", theirs), ("ours", ours), ("low", low), ("high", high))
        if math.isfinite(value)
    }
    return {"fit": fit, "quantity": quantity, **numbers, "inside": inside, "note": note}


def draws_of(boot: cj.BootstrapResult) -> dict[str, np.ndarray]:
    """The parameters of the fits that count, by name."""
    return {name: np.asarray(values)[boot.counted] for name, values in boot.laws.as_dict().items()}


def verdict(theirs: float, ours: float, downhill: float) -> str:
    """What their parameters are to our objective.

    Args:
        theirs: the objective at their parameters.
        ours: at our optimum.
        downhill: at the minimum that Newton's method reaches from theirs.
    """
    above = theirs / ours - 1
    if above < 1e-6:
        return "our optimum"
    if downhill / ours - 1 > 1e-6:
        return f"another minimum, {downhill / ours - 1:.2%} above ours; as printed {above:.2%} above"
    size = f"{above + 1:.2g} times" if above > 1 else f"{above:.2%} above"
    return f"no minimum: {size} our optimum, which lies downhill"


def descent(law: Law, runs: cj.Runs, objective: Any, natural: Published) -> tuple[float, float]:
    """Our objective at natural parameters, and at the minimum that is reached from there."""
    design = law.design(runs)
    problem = Problem(law=law, design=design, objective=objective)
    theta = law.internal(natural, design)[None]
    near = solve_generally(problem, np.ones((1, len(runs))), theta)
    return float(problem.losses(theta).sum()), float(near.objective_value[0])


def five_parameters(name: str, what: FiveParameters, theirs: Published, resamples: int) -> Rows:
    """Their law and ours: objective, exponents and tokens per parameter."""
    runs = what.runs()
    point = cj.fit(runs, objective=what.objective)
    boot = cj.bootstrap(runs, objective=what.objective, point=point, scheme=what.scheme, resamples=resamples)
    draws = draws_of(boot)
    given = {key: theirs[key] for key in ("E", "A", "B", "alpha", "beta")}
    quantity = "objective"
    if isinstance(what.objective, cj.HuberScale):  # so narrow a zone makes it least absolute deviations
        quantity = "sum of absolute residuals"
        at, ours = (_absolute(cj.ScalingLaw(**each), runs) for each in (given, point.parameters))
        note = f"printed digits, {at / ours - 1:.2%} above the vertex"
    else:
        at, near = descent(LAWS["chinchilla"](), runs, what.objective, given)
        ours = point.objective_value
        note = verdict(at, ours, near)
    note = f"{len(runs)} runs; {note}; {point.status.name}; resamples: {counts_text(boot.counts())}"
    rows = [row(name, quantity, at, ours, note=note)]
    rows += [row(name, key, given[key], point.parameters[key], draws[key]) for key in given]
    powers = draws["beta"] / (draws["alpha"] + draws["beta"])
    rows.append(row(name, "exponent of N", _power(given), _power(point.parameters), powers))
    law = cj.ScalingLaw(**given)
    every = np.asarray(boot.laws.tokens_per_param(what.flops))[boot.counted]
    ratio = f"tokens per parameter at {what.flops:.3g} FLOP"
    own = float(point.law.tokens_per_param(what.flops))
    rows.append(row(name, ratio, float(law.tokens_per_param(what.flops)), own, every))
    return rows


def _absolute(law: cj.ScalingLaw, runs: cj.Runs) -> float:
    return float(np.abs(np.log(law.loss(runs.params, runs.tokens) / runs.loss)).sum())


def _power(p: Published) -> float:
    return p["beta"] / (p["alpha"] + p["beta"])
