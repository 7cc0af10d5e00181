"""Which recipe is better, by how many times the compute, at which budgets: `compare`.

| code           | symbol | shape     | meaning                                                             |
|----------------|--------|-----------|---------------------------------------------------------------------|
| log_flops      | ln C   | (q,)      | budgets asked for, or of the curve                                  |
| log multiplier | ln m   | (R, q)    | of a recipe over the baseline, see multipliers.py                   |
| losses         | L*     | (G, R, q) | compute-optimal losses of G recipes, the baseline first             |
| low, high      |        | (q,)      | percentile interval at one budget                                   |
| band           |        | (q,)      | percentile limits that hold a share `level` of whole curves         |
| adjusted       |        | (q,)      | the same for all recipes and all budgets asked for, at once         |

A recipe may be the best at a budget unless another is better with simultaneous confidence over all pairs (Hsu
1984, Annals of Statistics 12:1136, with the studentised maximum over the resamples). The lead of the best of
several over the second is expected to be too large, because it was chosen for being large. Its bias is that
of the resamples, whose best is chosen anew in each, and is taken off.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.text import list_text
from chinchilla_jax._util.validation import positive_array, resample_count, seed_number
from chinchilla_jax.intervals.limits import simultaneous_tail
from chinchilla_jax.intervals.quantiles import central_tails, quantiles, quantiles_of_known
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.compute_only import ComputeOnly
from chinchilla_jax.planning.multipliers import (
    Frontier,
    first_crossing,
    five_parameter,
    log_multiplier,
    log_multiplier_at_ratio,
    log_multiplier_at_size,
    require_frontier,
)
from chinchilla_jax.planning.plausibility import compute_doubt
from chinchilla_jax.planning.recipe_draws import DrawOptions, RecipeLaws, draw_recipes
from chinchilla_jax.planning.recipe_sharing import SharingTest, read_share, sharing_tests
from chinchilla_jax.planning.recipes import (
    check_recipes,
    comparability_warnings,
    is_compute_only,
    load_recipe,
    read_recipes,
    split_recipes,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.laws.objectives import Delta

    Floats = NDArray[np.float64]

_CURVE = 41  # budgets of the curve
_BEYOND = 10.0  # times the largest run, where no budget is asked for


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """Recipes against a baseline. Multipliers above 1 are better than it.

    Attributes:
        table: recipe, flops; multiplier (how many times the compute the baseline needs for the same loss),
            low, high; adjusted_low, adjusted_high (simultaneous over the whole table); better (share of the
            resamples in which the recipe is); loss, baseline_loss (compute-optimal, nats per token),
            difference, difference_low, difference_high.
        curve: recipe, flops, multiplier, low, high, band_low, band_high.
        losses: compute-optimal losses of every recipe: recipe, flops, loss, low, high.
        crossings: where the better recipe changes, within the range of the curve: recipe, flops, low, high
            (of the resamples that cross), share (of the resamples that do).
        places: at fixed runs: recipe, params, tokens, loss, difference with low and high; same_ratio, the
            multiplier at the same tokens per parameter, and same_size, that at the same size, each with low
            and high. None where none are asked for.
        ranking: flops, recipe, loss, p_best, p_second, may_be_best; None for two recipes.
        leads: flops, best, second, lead (multiplier of the best over the second), corrected (less what
            choosing the best adds to it), low, high; None for two recipes.
        parameters: recipe, parameter, estimate, baseline, difference with low and high.
        sharing: whether the data reject common parameters, see `SharingTest`; empty where they are shared, or
            the law has no exponents.
        baseline: its name.
        level: mass of the intervals.
        laws: the laws behind it.
        runs: of each recipe.
        warnings: one sentence each.
    """

    table: pd.DataFrame
    curve: pd.DataFrame
    losses: pd.DataFrame
    crossings: pd.DataFrame
    places: pd.DataFrame | None
    ranking: pd.DataFrame | None
    leads: pd.DataFrame | None
    parameters: pd.DataFrame
    sharing: tuple[SharingTest, ...]
    baseline: str
    level: float
    laws: RecipeLaws
    runs: dict[str, Runs]
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        """The first row in words."""
        return f"<Comparison: {self.sentences[0]}>"

    @property
    def sentences(self) -> list[str]:
        """What the table says, a sentence for each row."""
        found = []
        for row in self.table.to_dict("records"):
            verdict = "no clear difference"
            if row["low"] > 1:
                verdict = f"better than {self.baseline}"
            elif row["high"] < 1:
                verdict = f"worse than {self.baseline}"
            found.append(
                f"{row['recipe']} at {row['flops']:.3g} FLOP: {verdict}, {self.baseline} needs "
                f"{row['multiplier']:.3g} times the compute ({self.level:.0%} interval {row['low']:.3g} to "
                f"{row['high']:.3g})"
            )
        return found

    @property
    def doubts(self) -> list[str]:
        """What makes each row of `table` hard to believe; "" for most."""
        largest = {name: float(runs.flops.max()) for name, runs in self.runs.items()}
        found = []
        for name, flops in zip(self.table["recipe"], self.table["flops"], strict=True):
            both = max(largest[name], largest[self.baseline])
            beyond = [each for each in (self.baseline, name) if flops > largest[each] * (1 + 1e-9)]
            far = compute_doubt(float(flops), both)
            if len(beyond) == 2:
                found.append(f"beyond both tables{f': {far} of either' if far else ''}")
            else:
                found.append(f"beyond the runs of {beyond[0]}" if beyond else "")
        return found


def compare(
    *tables: Runs | TableLike,
    flops: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    by: str | None = None,
    baseline: str | None = None,
    places: Sequence[tuple[float, float]] = (),
    level: float = 0.8,
    resamples: int = 4000,
    seed: int = 0,
    law: Law | str = "chinchilla",
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    scheme: Scheme | str = "auto",
    pair: str | None = None,
    share: str = "auto",
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """How many times the compute recipes save over a baseline, with intervals.

    The losses must be of one validation set and one tokenizer.

    Args:
        *tables: two or more: `Runs`, or anything that `load_runs` takes; or one, with `by`.
        flops: budgets (FLOP) of the table; None for the compute of the largest run of all and ten times that.
        names: of the recipes; None for those of the tables.
        by: a column of labels by which one table is split into recipes.
        baseline: name of the recipe that the others are compared with; None for the first.
        places: fixed runs (params, tokens) to compare at too, for the five-parameter law.
        level: mass of the central intervals.
        resamples: resamples of each table.
        seed: of the resamples; the second table's is the next one, and so on.
        law: "chinchilla" or a restriction of it, or "compute_only" for tables of the best runs of budgets.
        objective: as for `bootstrap`.
        delta: as for `bootstrap`.
        scheme: as for `bootstrap`.
        pair: a column whose equal labels pair runs of different tables, which are then drawn together; "none"
            for independent tables; None pairs runs of equal params and tokens where their residuals are
            correlated.
        share: "none"; "exponents" or "all" (exponents and E) for recipes that have these in common; "auto"
            for all where a recipe has too few runs for a law of its own.
        progress: called with the number of fits just finished.

    Raises:
        DataError: a table cannot be read.
        NoEstimateError: a recipe has no certified fit.
        UsageError: a table has too few runs, two are the same, their compute does not overlap, there is no
            such baseline, or another argument is invalid.
    """
    central_tails(level)
    count, seed = resample_count("resamples", resamples), seed_number(seed)
    share = read_share(share)
    recipes = _read(tables, names, by, pair)
    check_recipes(recipes)
    first = next(iter(recipes)) if baseline is None else baseline
    if first not in recipes:
        raise unknown_name("baseline", first, list(recipes))
    recipes = {first: recipes[first], **recipes}
    law, notes = _law(read_law(law), recipes)
    budgets = _budgets(recipes, flops)
    options = DrawOptions(
        law=law, resamples=count, seed=seed, objective=objective, delta=delta, scheme=scheme
    )
    laws = draw_recipes(recipes, options, pair=pair, share=share, progress=progress)
    found = _Frontiers.of(laws)
    curve = _curve_budgets(recipes, budgets)
    rankings = (None, None) if len(recipes) == 2 else _rankings(found, budgets, level)
    return Comparison(
        table=_table(found, budgets, level),
        curve=_curve(found, curve, level),
        losses=_losses(found, curve, level),
        crossings=_crossings(found, curve, level),
        places=_places(laws, places, level) if len(places) else None,
        ranking=rankings[0],
        leads=rankings[1],
        parameters=_parameters(laws, level),
        sharing=_sharing(laws),
        baseline=first,
        level=float(level),
        laws=laws,
        runs=recipes,
        warnings=(*notes, *comparability_warnings(recipes), *found.warnings, *laws.warnings),
    )


def _read(
    tables: Sequence[Runs | TableLike], names: Sequence[str] | None, by: str | None, pair: str | None
) -> dict[str, Runs]:
    from chinchilla_jax.datasets import Runs

    groups = () if pair in (None, "none") else (pair,)
    if by is not None:
        if len(tables) != 1:
            raise UsageError(f"compare: by splits one table, and {len(tables)} are given; leave out by")
        table: Any = tables[0]
        return split_recipes(
            table if isinstance(table, Runs) else load_recipe(table, groups=(by, *groups)), by
        )
    return read_recipes(tables, names, groups)


def _law(law: Law, recipes: dict[str, Runs]) -> tuple[Law, list[str]]:
    """The law to compare by, and what a reader must know of the choice.

    Raises:
        UsageError: the lowest loss of the law is no power of compute.
    """
    alone = [short(name) for name, runs in recipes.items() if is_compute_only(runs)]
    notes = []
    if alone and not isinstance(law, ComputeOnly):
        law = read_law(ComputeOnly.name)
        notes.append(
            f"{list_text(alone)} {'has' if len(alone) == 1 else 'have'} compute and loss alone: all recipes "
            f"are compared by the law {law.name}"
        )
    if isinstance(law, ComputeOnly):
        notes.append(
            f"{law.name} is the law of the best run of each budget: keep these (--best-of flops), or losses "
            "of other runs raise it"
        )
    require_frontier(law)
    return law, notes


def _budgets(recipes: dict[str, Runs], flops: ArrayLike | None) -> Floats:
    if flops is None:
        largest = max(float(runs.flops.max()) for runs in recipes.values())
        return np.array([largest, _BEYOND * largest])
    return np.unique(np.atleast_1d(positive_array("compare: flops", flops)))


def _curve_budgets(recipes: dict[str, Runs], budgets: Floats) -> Floats:
    """From the least compute that two tables have in common to the largest budget asked for."""
    low = max(float(runs.flops.min()) for runs in recipes.values())
    high = max(float(budgets.max()), max(float(runs.flops.max()) for runs in recipes.values()))
    return np.geomspace(min(low, float(budgets.min())), high, _CURVE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Frontiers:
    """Frontiers of the point fits and of the resamples that count, by recipe; the baseline is the first."""

    points: dict[str, Frontier]
    draws: dict[str, Frontier]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, laws: RecipeLaws) -> _Frontiers:
        points = {name: Frontier.of(law) for name, law in laws.points.items()}
        for name, point in points.items():
            if not np.isfinite(point.gamma):
                raise UsageError(
                    f"compare: the fit of {short(name)} has no compute-optimal point; check its losses and "
                    "counts"
                )
        every = {name: Frontier.of(each) for name, each in laws.laws.items()}
        sound = laws.counted & np.logical_and.reduce([np.isfinite(each.gamma) for each in every.values()])
        if not sound.any():
            raise UsageError("compare: no resample has a compute-optimal point for all recipes; add runs")
        kept = np.flatnonzero(sound)
        draws = {
            name: Frontier(E=each.E[kept], log_k=each.log_k[kept], gamma=each.gamma[kept])
            for name, each in every.items()
        }
        lost = len(sound) - len(kept)
        warnings = []
        if lost >= 0.05 * len(sound):
            warnings.append(
                f"{lost:,} of {len(sound):,} resamples do not count, because a fit is not certified or has "
                "no compute-optimal point; the intervals describe only the others"
            )
        return cls(points=points, draws=draws, warnings=tuple(warnings))

    @property
    def others(self) -> list[str]:
        return list(self.points)[1:]

    def multipliers(self, name: str, log_flops: Floats) -> tuple[Floats, Floats]:
        """Ln m over the baseline: of the point fits (q,), and of the resamples (R, q)."""
        first = next(iter(self.points))
        return tuple(log_multiplier(each[first], each[name], log_flops) for each in (self.points, self.draws))  # type: ignore[return-value]


def _limits(values: Floats, level: float) -> Floats:
    """Low and high of each column of (R, q), (2, q); infinities keep their place."""
    return quantiles_of_known(values, central_tails(level))


def _together(values: Floats, level: float) -> Floats:
    """Percentile limits of every column that hold a share `level` of the rows of (R, q), (2, q)."""
    tail = simultaneous_tail(values, (1 - level) / 2)
    return (
        quantiles(values, (tail, 1 - tail)) if math.isfinite(tail) else np.full((2, values.shape[1]), np.nan)
    )


def _table(found: _Frontiers, budgets: Floats, level: float) -> pd.DataFrame:
    import pandas as pd

    logs = np.log(budgets)
    first = next(iter(found.points))
    every = {name: found.multipliers(name, logs) for name in found.others}
    adjusted = np.split(
        _together(np.concatenate([each[1] for each in every.values()], axis=1), level), len(every), 1
    )
    frames = []
    for (name, (point, draws)), limits in zip(every.items(), adjusted, strict=True):
        loss, base = found.points[name].loss(logs), found.points[first].loss(logs)
        gaps = found.draws[name].loss(logs) - found.draws[first].loss(logs)
        low, high = np.exp(_limits(draws, level))
        gap_low, gap_high = _limits(gaps, level)
        columns = {
            "recipe": name, "flops": budgets, "multiplier": np.exp(point), "low": low, "high": high,
            "adjusted_low": np.exp(limits[0]), "adjusted_high": np.exp(limits[1]),
            "better": (draws > 0).mean(axis=0), "loss": loss, "baseline_loss": base,
            "difference": loss - base, "difference_low": gap_low, "difference_high": gap_high,
        }  # fmt: skip
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _curve(found: _Frontiers, budgets: Floats, level: float) -> pd.DataFrame:
    import pandas as pd

    frames = []
    for name in found.others:
        point, draws = found.multipliers(name, np.log(budgets))
        (low, high), (band_low, band_high) = np.exp(_limits(draws, level)), np.exp(_together(draws, level))
        columns = {"recipe": name, "flops": budgets, "multiplier": np.exp(point), "low": low, "high": high}
        frames.append(pd.DataFrame({**columns, "band_low": band_low, "band_high": band_high}))
    return pd.concat(frames, ignore_index=True)


def _losses(found: _Frontiers, budgets: Floats, level: float) -> pd.DataFrame:
    import pandas as pd

    frames = []
    for name, point in found.points.items():
        low, high = _limits(found.draws[name].loss(np.log(budgets)), level)
        columns = {
            "recipe": name,
            "flops": budgets,
            "loss": point.loss(np.log(budgets)),
            "low": low,
            "high": high,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _crossings(found: _Frontiers, budgets: Floats, level: float) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for name in found.others:
        point, draws = found.multipliers(name, np.log(budgets))
        at = first_crossing(point[None], np.log(budgets))
        every = first_crossing(draws, np.log(budgets))
        low, high = np.exp(_limits(every[:, None], level))[:, 0]
        rows.append((name, float(np.exp(at[0])), low, high, float(np.mean(~np.isnan(every)))))
    return pd.DataFrame(rows, columns=["recipe", "flops", "low", "high", "share"])


def _rankings(found: _Frontiers, budgets: Floats, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    names, logs = list(found.points), np.log(budgets)
    points = np.array([found.points[name].loss(logs) for name in names])
    draws = np.array([found.draws[name].loss(logs) for name in names])
    ranking, leads = [], []
    for i, budget in enumerate(budgets):
        order = np.argsort(points[:, i], kind="stable")
        drawn = np.argsort(draws[:, :, i], axis=0, kind="stable")
        possible = _may_be_best(points[:, i], draws[:, :, i], level)
        for g in order:
            shares = [float(np.mean(drawn[rank] == g)) for rank in (0, 1)]
            ranking.append((budget, names[g], points[g, i], *shares, bool(possible[g])))
        best, second = names[order[0]], names[order[1]]
        lead = _lead(found.points, best, second, logs[i : i + 1])[0]
        draws_of_pair = _lead(found.draws, best, second, logs[i : i + 1])[:, 0]
        optimism = _optimism(found, names, drawn, logs[i])
        low, high = _limits((draws_of_pair - optimism)[:, None], level)[:, 0]
        leads.append((budget, best, second, *np.exp([lead, lead - optimism, low, high])))
    return (
        pd.DataFrame(ranking, columns=["flops", "recipe", "loss", "p_best", "p_second", "may_be_best"]),
        pd.DataFrame(leads, columns=["flops", "best", "second", "lead", "corrected", "low", "high"]),
    )


def _lead(frontiers: dict[str, Frontier], best: str, second: str, log_flops: Floats) -> Floats:
    return log_multiplier(frontiers[second], frontiers[best], log_flops)


def _optimism(found: _Frontiers, names: list[str], drawn: NDArray[np.intp], log_flops: float) -> float:
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


def _places(laws: RecipeLaws, places: Sequence[tuple[float, float]], level: float) -> pd.DataFrame:
    import pandas as pd

    counts = positive_array("compare: places", np.array(places, dtype=np.float64).reshape(-1, 2))
    params, tokens = counts[:, 0], counts[:, 1]
    points = {name: five_parameter(law) for name, law in laws.points.items()}
    kept = np.flatnonzero(laws.counted)
    draws = {name: five_parameter(law) for name, law in laws.laws.items()}
    first, *others = points
    frames = []
    for name in others:
        base, other, bases, drawn = points[first], points[name], draws[first], draws[name]
        if base is None or other is None or bases is None or drawn is None:
            raise UsageError("compare: places are for laws of params and tokens, such as chinchilla")
        bases, drawn = bases[kept], drawn[kept]
        gap = _limits(np.asarray(drawn.loss(params, tokens)) - np.asarray(bases.loss(params, tokens)), level)
        loss = np.asarray(other.loss(params, tokens))
        columns: dict[str, Any] = {
            "recipe": name, "params": params, "tokens": tokens, "loss": loss,
            "difference": loss - np.asarray(base.loss(params, tokens)), "difference_low": gap[0],
            "difference_high": gap[1],
        }  # fmt: skip
        for way, of in (("same_ratio", log_multiplier_at_ratio), ("same_size", log_multiplier_at_size)):
            low, high = np.exp(_limits(of(bases, drawn, params, tokens), level))
            point = np.exp(of(base, other, params, tokens))
            columns |= {way: point, f"{way}_low": low, f"{way}_high": high}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _parameters(laws: RecipeLaws, level: float) -> pd.DataFrame:
    import pandas as pd

    first, *others = laws.points
    points = {name: law.as_dict() for name, law in laws.points.items()}
    draws = {name: law.as_dict() for name, law in laws.laws.items()}
    rows = []
    for name in others:
        for parameter, estimate in points[name].items():
            base = points[first][parameter]
            gaps = (np.asarray(draws[name][parameter]) - np.asarray(draws[first][parameter]))[laws.counted]
            low, high = _limits(gaps[:, None], level)[:, 0]
            rows.append((name, parameter, estimate, base, estimate - base, low, high))
    columns = ["recipe", "parameter", "estimate", "baseline", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _sharing(laws: RecipeLaws) -> tuple[SharingTest, ...]:
    points = [five_parameter(law) for law in laws.points.values()]
    draws = [five_parameter(law) for law in laws.laws.values()]
    if laws.shared is not None or None in points or None in draws:
        return ()
    return tuple(sharing_tests(points, draws, laws.counted))  # type: ignore[arg-type]
