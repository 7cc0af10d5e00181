"""Pairs (and more) of recipes whose compute multipliers are known, and tables of runs of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import chinchilla_jax as cj
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH
from chinchilla_jax.planning.multipliers import Frontier

BUDGETS = (1e18, 1e21)
MIDDLE = 10**19.5
NOISE, BENT = 0.005, -0.03


class Row(NamedTuple):
    """One kind of comparison.

    `kind` is "scaled" (the exponents of the baseline), "bent" (alpha smaller by 0.03, the factor is that of
    the middle of the runs) or "compute" (scaled, tables of FLOP and loss alone: the best run of each budget).
    """

    runs: int
    multipliers: tuple[float, ...]  # of the recipes other than the baseline
    kind: str = "scaled"
    shared: float = 0.0  # correlation of the errors of runs of equal params and tokens
    baseline_runs: int = 0  # 0 for as many as the others


ROWS = [
    *(Row(runs, (1.0,)) for runs in (12, 24, 60)),
    *(Row(24, (m,)) for m in (0.5, 2.0, 4.0)),
    *(Row(runs, (1.0,), "bent") for runs in (12, 24, 60)),
    *(Row(runs, (m,), "scaled", 0.7) for runs, m in ((24, 1.0), (60, 1.0), (24, 2.0))),
    *(Row(runs, (m,), "bent") for runs, m in ((24, 0.5), (24, 2.0))),
    *(Row(6, (m,), "scaled", 0.0, 24) for m in (1.0, 2.0)),
    *(Row(runs, (m,), "compute") for runs, m in ((12, 1.0), (24, 1.0), (24, 2.0))),
    *(Row(24, ms) for ms in ((1.0, 1.0, 1.0), (1.05, 1.1, 1.15))),
]


def recipes(row: Row) -> list[cj.ScalingLaw]:
    """The laws of a row, the baseline first."""
    return [TRUTH, *(_recipe(m, row.kind) for m in row.multipliers)]


def _recipe(m: float, kind: str) -> cj.ScalingLaw:
    """TRUTH with its compute cut m times, or bent and with the factor at the middle of the runs."""
    if kind != "bent":
        at, gain = TRUTH, m ** -(1 / (1 / TRUTH.alpha + 1 / TRUTH.beta))
    else:  # the same terms at the same optimum in the middle, then as low as TRUTH at m times that compute
        params, tokens = TRUTH.optimal(MIDDLE)
        alpha = TRUTH.alpha + BENT
        of_params, of_tokens = TRUTH.terms(params, tokens)
        A, B = of_params * params**alpha, of_tokens * tokens**TRUTH.beta
        at = cj.ScalingLaw(E=TRUTH.E, A=A, B=B, alpha=alpha, beta=TRUTH.beta)
        middle = np.log([MIDDLE])
        goal = Frontier.of(TRUTH).loss(middle + np.log(m))[0] - TRUTH.E
        gain = goal / (Frontier.of(at).loss(middle)[0] - TRUTH.E)
    return cj.ScalingLaw(E=at.E, A=at.A * gain, B=at.B * gain, alpha=at.alpha, beta=at.beta)


def tables(row: Row, generator: np.random.Generator) -> list[cj.Runs]:
    """Runs of every recipe, the errors of their log losses normal."""
    laws = recipes(row)
    common = generator.standard_normal(max(row.runs, row.baseline_runs))
    made = []
    for place, law in enumerate(laws):
        params, tokens = _places(row, row.baseline_runs if place == 0 and row.baseline_runs else row.runs)
        own = generator.standard_normal(len(params))
        errors = NOISE * (np.sqrt(row.shared) * common[: len(own)] + np.sqrt(1 - row.shared) * own)
        if row.kind == "compute":
            loss = Frontier.of(law).loss(np.log(6 * params * tokens))
        else:
            loss = np.asarray(law.loss(params, tokens))
        made.append(cj.Runs(params=params, tokens=tokens, loss=loss * np.exp(errors)))
    return made


def _places(row: Row, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """Params and tokens of IsoFLOP runs; of best runs only their product counts."""
    if row.kind == "compute":
        half = np.sqrt(np.geomspace(*BUDGETS, runs) / 6)
        return half, half
    budgets = max(3, min(6, runs // 4))
    flops, ratio = np.meshgrid(np.geomspace(*BUDGETS, budgets), np.geomspace(3, 150, runs // budgets))
    params = np.sqrt(flops / 6 / ratio).ravel()
    return params, params * ratio.ravel()
