"""Weights of several laws by what they predict of runs that they were not fitted to: stacking.

| code     | symbol | shape      | meaning                                                                   |
|----------|--------|------------|---------------------------------------------------------------------------|
| errors   | r_irk  | (1 + R, n) | ln predicted - ln observed of law k for a run outside its fit             |
| density  | p_ik   | (m, K)     | of the log loss of a held-out run under law k                             |
| blocks   |        | (m,)       | which held-out runs are one piece of evidence; G of them                  |
| shares   | c_bi   | (B, m)     | how much each held-out run counts in a draw, with a sum of 1              |
| weights  | w_k    | (K,)       | of the laws, on the simplex                                               |

Yao, Vehtari, Simpson & Gelman 2018 (Bayesian Analysis 13:917, doi:10.1214/17-BA1091) compare both:

    stacking     the weights maximise the mean of ln sum_k w_k p_ik
    pseudo_bma   w_k proportional to exp(G s_k), s_k the mean of ln p_ik: Akaike's weights by held-out runs

both averaged over draws of the evidence (Bayesian bootstrap), as their pseudo-BMA+ is. The density of law k
is that of its resampled fits without the run (held_out.py), each with a Student's t of 4 degrees of freedom
around it, whose scale is that of the law's own errors there.

Runs above a budget are all predicted by the same fits, and err together: a hundred of them are not a hundred
pieces of evidence. Blocks of a factor of two in compute (or tokens) are taken for one each. Elsewhere blocks
are the groups that are resampled, or single runs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import NoEstimateError, unknown_name
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax.analysis.comparable_laws import comparable_laws
from chinchilla_jax.analysis.held_out import held_out_errors
from chinchilla_jax.analysis.splits import Split, fitted_runs, read_splits
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.bootstrapping.ensemble import Ensemble
from chinchilla_jax.bootstrapping.schemes import require_weights
from chinchilla_jax.datasets.groupings import members_of
from chinchilla_jax.datasets.load import as_runs, load_runs
from chinchilla_jax.datasets.runs import Runs
from chinchilla_jax.fitting.problem import read_problem, read_weights
from chinchilla_jax.intervals.normal import philox
from chinchilla_jax.laws import read_law

if TYPE_CHECKING:
    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.solvers import SolverOptions

Floats = NDArray[np.float64]
METHODS = ("pseudo_bma", "stacking", "equal")
_DEGREES = 4  # of the density of an error
_DRAWS = 200  # of the held-out runs, over which weights are averaged
_HELD = 40  # resamples of the fits without each part
_STEPS, _TOLERANCE = 2000, 1e-6  # of the weights, in the mean log density


@reporting
def stack_laws(
    data: Runs | TableLike,
    laws: Sequence[Law | str] | None = None,
    *,
    method: str = "pseudo_bma",
    split: str = "flops",
    folds: int = 5,
    budgets: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
    objective: Objective | str = "huber",
    weights: ArrayLike | None = None,
    scheme: Scheme | str = "auto",
    options: SolverOptions | None = None,
    progress: ProgressLike = "auto",
) -> Ensemble:
    """Bootstrap several laws of the same runs, and weigh them by how they predict runs held out.

    Args:
        data: n runs, or a table of them.
        laws: laws or their names; None for those whose variables the runs have, see `comparable_laws`. A law
            that the runs, or a part of them, do not determine is left out.
        method: out of `METHODS`, what the weights are; "equal" for the same of every law.
        split: how runs are held out, see `compare_forms`: "flops", above budgets, where larger runs are to be
            predicted; "runs" or "params" for runs among those of the table.
        folds: of "runs" and "params".
        budgets: of "flops", FLOP.
        resamples: of each law.
        seed: of the resamples and folds.
        objective: what every fit minimises; where its delta is "auto", each law has its own.
        weights: of the runs, (n,).
        scheme: how to resample; "auto" decides by the first law that the runs determine.
        options: how hard the solver tries.
        progress: as for `bootstrap`; a function is called with the number of fits just finished.

    Returns:
        The ensemble, for `planning.predict`.

    Raises:
        UsageError: an argument is invalid, or the runs are too few for the split.
        NoEstimateError: no law is determined by the runs and by all parts of them.
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if laws is None:
        runs = data if isinstance(data, Runs) else load_runs(data, known_variables=True)
        chosen, left_out = comparable_laws(runs)
    else:
        chosen, left_out = list(map(read_law, laws)), []
        runs = as_runs(data, "stack_laws", [name for law in chosen for name in law.columns])
    own = read_weights(weights, len(runs))
    counted = np.ones(len(runs)) if own is None else own
    held, _ = read_splits(runs, [split], counted, 1, folds=folds, budgets=budgets, seed=seed)
    advance = started(progress, "ensemble", resamples * len(chosen))
    drawn = None
    boots: list[BootstrapResult] = []
    errors: list[list[Floats]] = []
    for law in chosen:
        boot = bootstrap(
            runs,
            law,
            resamples=resamples,
            seed=seed,
            objective=objective,
            weights=weights,
            scheme=boots[0].scheme if boots else scheme,
            options=options,
            progress=advance,
        )
        if not boot.estimated:
            why = f"({boot.point.status.name}): {boot.point.reason}"
            left_out.append(f"{law.name} has no certified fit to all runs {why}")
            continue
        if drawn is None:
            require_weights(boot.scheme, len(runs), "stack_laws")
            drawn = np.asarray(boot.scheme.weights(runs, np.arange(_HELD), seed), dtype=np.float64)
            drawn = np.concatenate([np.ones((1, len(runs))), drawn]) * counted
        problem = read_problem("stack_laws", runs, law, boot.point.objective)
        short = next((each for each in held if law.size >= fitted_runs(each, counted)), None)
        if short is not None:
            left_out.append(f"{law.name} has {law.size} parameters, too many for split {short.label!r}")
            continue
        found = [held_out_errors(problem, each.masks, drawn, options) for each in held]
        if not all(_complete(each, one.masks) for each, one in zip(found, held, strict=True)):
            left_out.append(f"{law.name} has no optimum on some part of the runs")
            continue
        boots.append(boot)
        errors.append(found)
    if not boots:
        raise NoEstimateError(f"{runs.name}: no law to predict with: {'; '.join(left_out)}")
    return weigh_laws(runs, boots, errors, held, counted, seed, method, left_out)


def weigh_laws(
    runs: Runs,
    boots: Sequence[BootstrapResult],
    errors: Sequence[Sequence[Floats]],
    splits: Sequence[Split],
    weights: Floats,
    seed: int,
    method: str,
    left_out: Sequence[str] = (),
) -> Ensemble:
    """The ensemble of laws that are fitted already.

    Args:
        runs: n runs.
        boots: of each law.
        errors: of each law and split, (1 + R, n), as `held_out_errors` gives them.
        splits: how the runs were held out.
        weights: of the runs, (n,).
        seed: of the draws over which weights are averaged.
        method: out of `METHODS`.
        left_out: as for `Ensemble`.
    """
    held = [np.flatnonzero(split.masks.any(axis=0)) for split in splits]
    rows = np.concatenate(held)
    of_law = [[each[:, some] for each, some in zip(found, held, strict=True)] for found in errors]
    density = np.stack([np.concatenate([_log_density(each) for each in found]) for found in of_law], axis=1)
    absolute = np.stack([np.abs(np.concatenate([each[0] for each in found])) for found in of_law], axis=1)
    blocks = _blocks(runs, boots[0], splits)
    shares = _shares(blocks, weights[rows], seed)
    weigh = functools.partial(law_weights, density, shares, int(blocks.max()) + 1)
    return Ensemble(
        boots=tuple(boots),
        weights=weigh(method),
        weigh=weigh,
        scores=shares.mean(axis=0) @ density,
        errors=np.average(absolute, axis=0, weights=weights[rows]),
        held_out=" and ".join(each.label for each in splits),
        left_out=tuple(left_out),
    )


def _complete(errors: Floats, masks: NDArray[np.bool_]) -> bool:
    """Whether the fits to the runs themselves, without each part, predict every run that is held out."""
    return bool(np.isfinite(errors[0, masks.any(axis=0)]).all())


def _log_density(errors: Floats) -> Floats:
    """Ln of the density of each held-out run, (m,): of all fits (1 + R, m), a Student's t around each."""
    scale = max(1.4826 * float(np.median(np.abs(errors[0]))), np.finfo(float).tiny)
    with np.errstate(invalid="ignore"):
        log_each = -0.5 * (_DEGREES + 1) * np.log1p((errors / scale) ** 2 / _DEGREES)
    norm = math.lgamma((_DEGREES + 1) / 2) - math.lgamma(_DEGREES / 2) - 0.5 * math.log(_DEGREES * math.pi)
    return np.asarray(np.log(np.nanmean(np.exp(log_each), axis=0)) + norm - math.log(scale))


def _blocks(runs: Runs, boot: BootstrapResult, splits: Sequence[Split]) -> NDArray[np.int64]:
    """The block of each held-out run, (m,), 0, 1, ...; the same run in another split is in another."""
    found, so_far = [], 0
    for split in splits:
        held = np.flatnonzero(split.masks.any(axis=0))
        if split.kind in ("flops", "tokens"):
            members = np.floor(np.log2(getattr(runs, split.kind))).astype(np.int64)
        elif split.kind in runs.groups:
            members = members_of(runs, split.kind)
        else:
            members = np.arange(len(runs)) if boot.members is None else boot.members
        numbers = np.unique(members[held], return_inverse=True)[1]
        found.append(numbers + so_far)
        so_far += int(numbers.max()) + 1
    return np.concatenate(found)


def _shares(blocks: NDArray[np.int64], weights: Floats, seed: int) -> Floats:
    """How much each held-out run counts in each draw, (B, m): blocks at random, their runs by weight."""
    drawn = philox(seed).exponential(size=(_DRAWS, int(blocks.max()) + 1))
    totals = np.maximum(np.bincount(blocks, weights), np.finfo(float).tiny)
    counts = drawn[:, blocks] * weights / totals[blocks]
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def law_weights(log_density: Floats, shares: Floats, blocks: int, method: str) -> Floats:
    """The weights (K,), averaged over the draws.

    Args:
        log_density: ln p_ik, (m, K).
        shares: (B, m), zero or more, with a sum of 1 in every row.
        blocks: G.
        method: out of `METHODS`.
    """
    if method == "equal":
        return np.full(log_density.shape[1], 1 / log_density.shape[1])
    if method == "stacking":
        return np.asarray(stacking_weights(log_density, shares).mean(axis=0))
    logs = blocks * (shares @ log_density)
    found = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray((found / found.sum(axis=1, keepdims=True)).mean(axis=0))


def stacking_weights(log_density: Floats, shares: Floats) -> Floats:
    """The weights (B, K) that maximise the mean log density of the mixture, for each row of shares (B, m).

    By expectation maximisation, which does not leave the simplex. With g_k the mean of p_ik / sum_j w_j p_ij,
    max g - 1 bounds how far the mean log density is below its maximum, and says when to stop.

    Args:
        log_density: ln p_ik, (m, K).
        shares: zero or more, with a sum of 1 in every row.
    """
    relative = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    weights = np.full((len(shares), log_density.shape[1]), 1 / log_density.shape[1])
    for _ in range(_STEPS):
        gain = (shares / (weights @ relative.T)) @ relative
        if gain.max() - 1 < _TOLERANCE:
            break
        weights = weights * gain
    return weights
