"""Repeated data: the parameters of Muennighoff et al. 2023 (arXiv:2305.16264) by their procedure and by ours.

python experiments/muennighoff2023/run.py datablations.csv

The table has columns run, corpus, params, tokens, unique_tokens, loss and seed, of the runs in
utils/parametric_fit.ipynb of github.com/huggingface/datablations.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import chinchilla_jax as cj
from chinchilla_jax.laws import LAWS, Law, from_function
from chinchilla_jax.solvers import Problem
from chinchilla_jax.solvers.dispatch import solve_generally

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from _tables import table_options, write  # noqa: E402

# The law of one epoch, fitted there to losses read off a figure of Hoffmann et al., and not fitted again.
SINGLE_EPOCH = {
    "E": math.exp(0.6254804),
    "A": math.exp(6.255414),
    "B": math.exp(7.3049974),
    "alpha": 0.3526596,
    "beta": 0.3526596,
}
PUBLISHED = {"R_D": 15.387756, "R_N": 5.309743}
PUBLISHED_OBJECTIVE = 0.015825937
_STARTS = 256
# What is left out there as outliers, beside all runs that repeat another with a seed: models that overfit
# many times over, and the early ends of some series.
LEFT_OUT = [
    "14m7b5100m", "14m300b100m", "221m91b400m", "221m174b400m", "221m600b400m", "421m300b1b5",
    "619m3b9100m", "619m5b9100m", "619m7b5100m", "619m22b100m", "1b12b7100m", "1b13b9100m",
    "1b15b9100m", "1b17b5100m", "1b112b100m", "1b191b400m", "1b191b1b5", "1b1250b1b5", "1b58b8100m",
    "1b566b100m", "1b566b1b5", "1b5174b1b5", "2b246b100m", "2b246b400m", "2b291b1b5", "2b2174b1b5",
    "2b8100m100m", "2b84b8100m", "2b836b100m", "2b836b400m", "2b855b1b25", "2b836b1b5", "2b877b1b5",
    "2b84b4b", "2b88b4b", "2b812b4b", "2b816b4b", "2b824b4b", "4b284b12bc4opt2", "3b926b1b5",
    "4b284b1b9", "4b284b6b", "4b212b12b", "4b224b12b", "8b712b100m", "8b712b400m", "8b712b1b5",
    "8b720b1b5", "8b712b12b",
]  # fmt: skip


def only_repetition(p, x):  # type: ignore[no-untyped-def]
    """The law with everything but R_D and R_N as published."""
    return LAWS["repeated_data"].predict({**SINGLE_EPOCH, **p}, x)  # type: ignore[attr-defined]


def main() -> None:
    args = table_options(__doc__, HERE)
    table = pd.read_csv(args.data).query("corpus == 'c4'")
    once = table[table["seed"].isna()]
    theirs = once[~once["run"].isin(LEFT_OUT)]
    fixed = from_function(
        only_repetition,
        {"R_D": cj.positive(10.0, low=1.0, high=100.0), "R_N": cj.positive(10.0, low=0.5, high=100.0)},
        variables=("params", "tokens", "unique_tokens"),
    )
    joint = LAWS["repeated_data"]()
    rows = _their_minima(cj.load_runs(theirs, variables=["unique_tokens"]), fixed)
    for what, runs, law, delta in (
        ("their rows and law, lowest minimum", theirs, fixed, 1e-3),
        ("the same by automatic delta", theirs, fixed, "auto"),
        ("with the outliers, automatic delta", once, fixed, "auto"),
        ("with all seeds too", table, fixed, "auto"),
        ("their rows, all seven parameters", theirs, joint, "auto"),
        ("all rows, all seven parameters", table, joint, "auto"),
    ):
        rows += _rows(what, cj.load_runs(runs, variables=["unique_tokens"]), law, delta, args.resamples)
    write(rows, args.tables)


def _their_minima(runs: cj.Runs, law: Law) -> list[tuple[str, str, str, str]]:
    """The objective at the published parameters, and the minima near them and far."""
    design = law.design(runs)
    problem = Problem(law=law, design=design, objective=cj.Huber(1e-3))
    theta = law.internal(PUBLISHED, design)[None]
    value = float(problem.losses(theta).sum())
    near = solve_generally(problem, np.ones((1, len(runs))), theta)
    natural = {name: float(found[0]) for name, found in law.natural(near.theta, design).items()}
    rows = [
        ("runs fitted", "182", str(len(runs)), "C4, without seeds and outliers"),
        ("objective at the published parameters", f"{PUBLISHED_OBJECTIVE}", f"{value:.9f}", "float32 there"),
        ("objective at the minimum next to them", "-", f"{near.objective_value[0]:.9f}", "certified"),
    ]
    rows += [
        (f"{name} at that minimum", f"{known:.5g}", f"{natural[name]:.5g}", "")
        for name, known in PUBLISHED.items()
    ]
    found = cj.fit(runs, law, delta=1e-3, starts=_STARTS)
    for each in found.starts.minima[:3]:
        there = law.natural(each, design)
        rows.append(
            (
                f"another minimum of {len(found.starts.minima)}, from {_STARTS} starts",
                "-",
                f"{float(problem.losses(each[None]).sum()):.9f}",
                f"R_D {there['R_D']:.4g}, R_N {there['R_N']:.4g}",
            )
        )
    return rows


def _rows(
    what: str, runs: cj.Runs, law: Law, delta: float | str, resamples: int
) -> list[tuple[str, str, str, str]]:
    point = cj.fit(runs, law, delta=delta, starts=_STARTS)  # type: ignore[arg-type]
    boot = cj.bootstrap(runs, law, point=point, resamples=resamples, scheme="pairs")
    counts = ", ".join(f"{count} {name}" for name, count in boot.counts().items() if count)
    note = f"{len(runs)} runs, delta {point.objective.down:.2g}; {point.status.name}; resamples: {counts}"  # type: ignore[union-attr]
    limits, rows = boot.interval().set_index("parameter"), []
    for name, value in PUBLISHED.items():
        low, high = limits.loc[name, ["low", "high"]]
        ours = f"{point.parameters[name]:.4g} [{low:.3g}, {high:.3g}]"
        if not point.status.certified:
            ours = point.reason.split(":")[0]
        rows.append((f"{name}, {what}", f"{value:.4g}", ours, note))
    return rows


if __name__ == "__main__":
    main()
