"""Which of several recipes is best, and by how much.

| code   | symbol | shape  | meaning                                                            |
|--------|--------|--------|--------------------------------------------------------------------|
| points | y      | (G,)   | compute-optimal losses of the recipes at one budget                |
| draws  |        | (G, R) | of the resamples                                                   |
| errors | S      | (G, G) | covariance of the resamples                                        |
| spread | tau    |        | standard deviation between the true losses of the recipes          |
| likely |        | (G, R) | draws of the true losses, given y                                  |

The recipe that looks best was chosen for that, and its share of the resamples is too large, the more the
losses are uncertain. Probabilities are therefore those of true losses that scatter between recipes by tau,
which is not known better than y says: y ~ N(m, S + tau^2 I), with flat priors of m and tau (Gelman 2006,
Bayesian Analysis 1:515). Where the recipes differ by less than their errors, the probability of the best is
still too large: tau is not known to be small. The rest of the notation is that of recipe_comparison.py.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.planning.multipliers import AnyFrontier, log_multiplier
from chinchilla_jax.planning.recipe_tables import Frontiers, interval

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SPREADS, _SEED = 60, 17


def rankings(found: Frontiers, budgets: Floats, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`Comparison.ranking` and `Comparison.leads`."""
    import pandas as pd

    names, logs = list(found.points), np.log(budgets)
    points = np.array([found.points[name].loss(logs) for name in names])
    draws = np.array([found.draws[name].loss(logs) for name in names])
    ranking, leads = [], []
    for i, budget in enumerate(budgets):
        order = np.argsort(points[:, i], kind="stable")
        drawn = np.argsort(draws[:, :, i], axis=0, kind="stable")
        likely = np.argsort(_likely(points[:, i], draws[:, :, i]), axis=0, kind="stable")
        possible = _may_be_best(points[:, i], draws[:, :, i], level)
        for g in order:
            shares = [float(np.mean(likely[rank] == g)) for rank in (0, 1)]
            ranking.append((budget, names[g], points[g, i], *shares, bool(possible[g])))
        best, second = names[order[0]], names[order[1]]
        lead = _lead(found.points, best, second, logs[i : i + 1])[0]
        draws_of_pair = _lead(found.draws, best, second, logs[i : i + 1])[:, 0]
        optimism = _optimism(found, names, drawn, logs[i])
        low, high = interval((draws_of_pair - optimism)[:, None], level)[:, 0]
        leads.append((budget, best, second, *np.exp([lead, lead - optimism, low, high])))
    return (
        pd.DataFrame(ranking, columns=["flops", "recipe", "loss", "p_best", "p_second", "may_be_best"]),
        pd.DataFrame(leads, columns=["flops", "best", "second", "lead", "corrected", "low", "high"]),
    )


def _lead(frontiers: dict[str, AnyFrontier], best: str, second: str, log_flops: Floats) -> Floats:
    return log_multiplier(frontiers[second], frontiers[best], log_flops)


def _optimism(found: Frontiers, names: list[str], drawn: NDArray[np.intp], log_flops: float) -> float:
    """By how much ln of a lead exceeds its truth because the best was chosen, as in the resamples."""
    at = np.array([log_flops])
    total, count = 0.0, 0
    for g, h in itertools.permutations(range(len(names)), 2):
        chosen = (drawn[0] == g) & (drawn[1] == h)
        if not chosen.any():
            continue
        of_draws = _lead(found.draws, names[g], names[h], at)[chosen, 0]
        of_point = _lead(found.points, names[g], names[h], at)[0]
        both = np.isfinite(of_draws) & np.isfinite(of_point)
        total += float(np.sum(of_draws[both] - of_point))
        count += int(both.sum())
    return max(total / count, 0.0) if count else 0.0


def _may_be_best(points: Floats, draws: Floats, level: float) -> NDArray[np.bool_]:
    """Which of G recipes no other beats with simultaneous confidence; points (G,), draws (G, R)."""
    pairs = list(itertools.combinations(range(len(points)), 2))
    gaps = np.array([points[g] - points[h] for g, h in pairs])
    deviations = np.array([draws[g] - draws[h] for g, h in pairs]) - gaps[:, None]
    spread = np.maximum(deviations.std(axis=1), 1e-300)
    limit = float(np.quantile(np.abs(deviations / spread[:, None]).max(axis=0), level))
    possible = np.ones(len(points), bool)
    for (g, h), gap, error in zip(pairs, gaps, spread, strict=True):
        if abs(gap) > limit * error:
            possible[g if gap > 0 else h] = False
    return possible


def _likely(points: Floats, draws: Floats) -> Floats:
    """Draws (G, R) of the true losses, drawn towards each other by as much as their errors explain."""
    count, number = draws.shape
    errors = np.cov(draws)
    one = np.ones(count)
    scale = float(np.sqrt(np.trace(errors) / count) + np.ptp(points))
    spreads = np.linspace(0.0, 3 * scale, _SPREADS + 1)[1:]
    log_weights, middles, roots = [], [], []
    for spread in spreads:
        inverse = np.linalg.inv(errors + spread**2 * np.eye(count))
        precision = float(one @ inverse @ one)
        middle = float(one @ inverse @ points) / precision
        left = points - middle
        _, log_determinant = np.linalg.slogdet(inverse)
        log_weights.append(0.5 * (log_determinant - np.log(precision) - left @ inverse @ left))
        pulled = one - spread**2 * inverse @ one  # what a change of the common mean moves
        covariance = spread**2 * np.eye(count) - spread**4 * inverse + np.outer(pulled, pulled) / precision
        middles.append(middle + spread**2 * inverse @ left)
        values, vectors = np.linalg.eigh(covariance)
        roots.append(vectors * np.sqrt(np.maximum(values, 0.0)))
    weights = np.exp(np.array(log_weights) - max(log_weights))
    generator = np.random.default_rng(_SEED)
    chosen = generator.choice(_SPREADS, size=number, p=weights / weights.sum())
    normal = generator.standard_normal((number, count))
    found = np.array(middles)[chosen] + np.einsum("rgh,rh->rg", np.array(roots)[chosen], normal)
    return np.asarray(found.T)
