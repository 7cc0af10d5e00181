"""The tables of an atlas, from the finished studies of its tables; see docs/how-to/atlas.md for the columns.

| table       | one row per                                   |
|-------------|-----------------------------------------------|
| overview    | table                                         |
| slopes      | table and count of the parameters             |
| ratios      | table, count and budget                       |
| sensitivity | table, family and size, at all draws together |
| breakdown   | table, family, direction and criterion        |
| claims      | table and claim                               |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax.analysis.claim_evidence import Evidence, Fits
from chinchilla_jax.analysis.claim_rules import FAILS, HOLDS, LEVEL, UNDETERMINED
from chinchilla_jax.analysis.claims import CLAIMS, judge_claims
from chinchilla_jax.intervals.quantiles import central_tails, quantiles
from chinchilla_jax.laws.compute import training_flops
from chinchilla_jax.perturbations import PARAMS_FAMILIES, bias_centre
from chinchilla_jax.solvers.counted import counted_lanes
from chinchilla_jax.study.atlas.spec import (
    BEYOND,
    TABLES,
    count_difference,
    documented,
    largest_compute,
    swept_sizes,
)

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.study.result import Study

Floats = NDArray[np.float64]
FORMAT = 3
"""Of the tables and the rules behind them: where it changes, a finished atlas makes them again."""
KINDS = ("overview", "slopes", "ratios", "sensitivity", "breakdown", "claims")
"""The tables, in the order of the page."""


def evidence(study: Study) -> Evidence:
    """The fits of a study of the atlas, as the claims are judged by them."""
    spec = study.spec
    plan = study.plan()
    fits = {each.id: _fits(study, each.id) for each in plan}
    unperturbed = [each for each in plan if each.family == "identity"]

    def of_family(family: str, sizes: Sequence[float]) -> dict[float, list[Fits]]:
        return {
            size: [fits[each.id] for each in plan if each.family == family and each.value == size]
            for size in sizes
        }

    runs = study.runs()
    return Evidence(
        plain=fits[unperturbed[0].id],
        countings={each.params: fits[each.id] for each in unperturbed[1:]},
        swept={family: of_family(family, swept_sizes(spec, family)) for family in PARAMS_FAMILIES},
        documented={family: of_family(family, documented(runs, family)) for family in PARAMS_FAMILIES},
        largest=largest_compute(runs),
        centre=bias_centre(runs),
    )


def _fits(study: Study, condition: str) -> Fits:
    laws, codes = study.laws(condition)
    return Fits(laws, counted_lanes(codes, study.spec.boundary))


def table_rows(name: str, study: Study, given: Evidence) -> dict[str, list[dict[str, Any]]]:
    """The rows of one table of the atlas, by the kind of table; without those of the breakdown."""
    by_count = {study.spec.interpretations[0]: given.plain, **given.countings}
    points = study.point[study.point["objective"] == study.spec.objective].set_index("condition")
    ids = {each.params: each.id for each in study.plan() if each.family == "identity"}
    slopes, ratios = [], []
    for count, fits in by_count.items():
        point = study.point_law(ids[count])
        known = points.loc[ids[count], "status"] == "CONVERGED"
        slope = float(point.log_ratio_line()[1]) if known else np.nan
        slopes.append({"table": name, "params": count, "estimate": slope, **_interval(fits.slope)})
        for budget, flops in (("largest run", given.largest), ("ten times that", BEYOND * given.largest)):
            flops = float(f"{flops:.4g}")
            found = _interval(np.exp(fits.ratio(flops)))
            estimate = float(point.tokens_per_param(flops)) if known else np.nan
            ratios.append(
                {
                    "table": name,
                    "params": count,
                    "budget": budget,
                    "flops": flops,
                    "beyond": flops / given.largest,
                    "estimate": estimate,
                    **found,
                }
            )
    return {
        "overview": [_overview(name, study, given)],
        "slopes": slopes,
        "ratios": ratios,
        "sensitivity": _sensitivity(name, study.runs(), given),
        "claims": [{"table": name, **row} for row in judge_claims(given)],
    }


def _overview(name: str, study: Study, given: Evidence) -> dict[str, Any]:
    runs, info, spec = study.runs(), study.info, study.spec
    compute = training_flops(runs.params, runs.tokens)
    counts: Mapping[str, int] = info["status_counts"]
    return {
        "table": name,
        "runs": len(runs),
        "least_params": float(runs.params.min()),
        "most_params": float(runs.params.max()),
        "least_flops": float(compute.min()),
        "largest_flops": given.largest,
        "counts": len(spec.interpretations),
        "count_difference": count_difference(spec),
        "delta": float(spec.estimator.delta),  # type: ignore[union-attr]
        "conditions": info["n_conditions"],
        "fits": info["n_fits"],
        "certified": counts["CONVERGED"] + counts["BOUNDARY"],
        "certified_plain": float(given.plain.counted.mean()),
        "resampling": f"whole groups by {spec.cluster} are resampled" if spec.cluster else info["resampling"],
        "goodness": info["goodness"],
        "caveat": TABLES[name].caveat,
        "data_hash": info["data_hash"],
    }


def _sensitivity(name: str, runs: Runs, given: Evidence) -> list[dict[str, Any]]:
    """How slope and tokens per parameter at the largest run's compute change with the size of each error."""
    rows = []
    units = {"additive": float(runs.params.min()), "log_normal_noise": float(np.log(runs.params).std())}
    for family in PARAMS_FAMILIES:
        documented_here = given.documented[family]
        sizes = {**given.swept[family], **documented_here}
        for size in sorted(sizes):
            draws = sizes[size]
            slope = np.concatenate([each.slope for each in draws])
            change = np.concatenate([given.ratio_change(each) for each in draws])
            rows.append(
                {
                    "table": name,
                    "family": family,
                    "value": size,
                    "relative": size / units.get(family, 1.0),
                    "documented": size in documented_here,
                    "draws": len(draws),
                    **{f"slope_{key}": value for key, value in _interval(slope).items()},
                    **{f"factor_{key}": value for key, value in _interval(np.exp(change)).items()},
                }
            )
    return rows


def _interval(values: Floats) -> dict[str, float]:
    """Median and central interval of what is known, and the share of it."""
    known = values[~np.isnan(values)]
    share = known.size / max(values.size, 1)
    if not known.size:
        return {"median": np.nan, "low": np.nan, "high": np.nan, "level": LEVEL, "known": share}
    low, high = central_tails(LEVEL)
    ends = quantiles(known, [low, 0.5, high])
    return {
        "median": float(ends[1]),
        "low": float(ends[0]),
        "high": float(ends[2]),
        "level": LEVEL,
        "known": share,
    }


def with_holm(claims: pd.DataFrame) -> pd.DataFrame:
    """The claims with `survives`: whether a decided cell stands when all are judged together.

    Holm's step-down (1979) over every judged cell that is no theorem, at 1 - `LEVEL` in both tails. Those
    that stayed undetermined count among them: the decided are those with a small p, so that a correction
    for their number alone would let chance choose how far it corrects.
    """
    p = claims["p"].to_numpy(np.float64)
    decided = np.flatnonzero(~np.isnan(p))
    order = decided[np.argsort(p[decided], kind="stable")]
    judged = len(order) + int((_own(claims)["verdict"] == UNDETERMINED).sum())
    survives = np.zeros(len(p), np.bool_)
    for rank, cell in enumerate(order):
        if p[cell] > (1 - LEVEL) / 2 / (judged - rank):
            break
        survives[cell] = True
    return claims.assign(survives=survives)


def multiplicity(claims: pd.DataFrame) -> dict[str, float]:
    """How many cells were judged, decided, and could be wrong by chance alone.

    Returns:
        judged (cells with an answer but theorems), holds, fails, undetermined, by_chance (how many cells
        chance is expected to decide wrongly were every truth at its margin: 10% of the judged), survive.
    """
    own = _own(claims)
    counts = own["verdict"].value_counts()
    judged = int(sum(counts.get(verdict, 0) for verdict in (HOLDS, FAILS, UNDETERMINED)))
    return {
        "judged": judged,
        "holds": int(counts.get(HOLDS, 0)),
        "fails": int(counts.get(FAILS, 0)),
        "undetermined": int(counts.get(UNDETERMINED, 0)),
        "by_chance": round((1 - LEVEL) / 2 * judged, 1),
        "survive": int(own["survives"].sum()),
    }


def _own(claims: pd.DataFrame) -> pd.DataFrame:
    """The cells of claims that are no theorems."""
    theorems = [claim.name for claim in CLAIMS if claim.theorem]
    return claims[~claims["claim"].isin(theorems)]
