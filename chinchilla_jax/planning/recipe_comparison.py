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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.cards import Card, ShownInNotebooks, frame_card
from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.labels import percent_text
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.text import flops_text, list_text
from chinchilla_jax._util.validation import positive_array, resample_count, seed_number
from chinchilla_jax.datasets.load import require_reading
from chinchilla_jax.datasets.repeats import best_of_option
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.compute_only import ComputeOnly
from chinchilla_jax.planning.multipliers import five_parameter, require_frontier
from chinchilla_jax.planning.plausibility import compute_doubt
from chinchilla_jax.planning.recipe_draws import DrawOptions, RecipeLaws, draw_recipes
from chinchilla_jax.planning.recipe_ranking import rankings
from chinchilla_jax.planning.recipe_sharing import SharingTest, read_share
from chinchilla_jax.planning.recipe_tables import (
    Frontiers,
    crossing_table,
    curve_table,
    loss_table,
    multiplier_table,
    parameter_table,
    place_table,
    tests_of_sharing,
)
from chinchilla_jax.planning.recipes import (
    along_6nd,
    check_recipes,
    comparability_warnings,
    is_compute_only,
    load_recipe,
    read_recipes,
    split_recipes,
)

if TYPE_CHECKING:
    from typing import Unpack

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.load import Reading
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.laws.objectives import Delta

    Floats = NDArray[np.float64]

_CURVE = 41  # budgets of the curve
_BEYOND = 10.0  # times the largest run, where no budget is asked for


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(ShownInNotebooks):
    """Recipes against a baseline. Multipliers above 1 are better than it.

    Attributes:
        table: recipe, flops; multiplier (how many times the compute the baseline needs for the same loss),
            low, high; adjusted_low, adjusted_high (simultaneous over the whole table); better (share of the
            resamples in which the recipe is); loss, baseline_loss (compute-optimal, nats per token),
            difference, difference_low, difference_high.
        curve: recipe, flops, multiplier, low, high, band_low, band_high.
        losses: compute-optimal losses of every recipe: recipe, flops, loss, low, high.
        crossings: where the better recipe changes first, within the range of the curve: recipe, flops, low,
            high (of the first crossing of the resamples that cross), share (of the resamples that do), doubt
            (that the interval leaves out the estimate).
        places: at fixed runs: recipe, params, tokens, loss, difference with low and high; same_ratio, the
            multiplier at the same tokens per parameter, and same_size, that at the same size, each with low
            and high. None where none are asked for.
        ranking: flops, recipe, loss, p_best, p_second (probabilities, less what choosing the best adds, yet
            too large for the first of recipes that differ by less than their errors), may_be_best; None for
            two recipes.
        leads: flops, best, second, lead (multiplier of the best over the second), corrected (less what
            choosing the best adds to it), low, high; None for two recipes.
        parameters: recipe, parameter, estimate, baseline, difference with low and high.
        sharing: whether the data reject common parameters, see `SharingTest`; empty where they are shared, or
            the law has no exponents.
        baseline: its name.
        level: mass of the intervals.
        laws: the laws behind it.
        runs: of each recipe.
        compute: of the runs of each recipe (FLOP), as budgets count it: 6 N D, but for the law compute_only
            that of the tables.
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
    compute: dict[str, Floats]
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        """The first row in words."""
        return f"<Comparison: {self.sentences[0]}>"

    @written_in("chinchilla_jax.plots", "comparison")
    def plot(self, *, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
        """Draw multipliers and losses, as `chinchilla_jax.plots.comparison` does."""
        raise NotImplementedError

    def _card(self) -> Card:
        numbers = dict.fromkeys(("multiplier", "low", "high", "better"), "number")
        notes = [
            f"multiplier: how many times the compute {self.baseline} needs for the same loss",
            f"low and high: {percent_text(self.level)} interval",
            *filter(None, dict.fromkeys(self.doubts)),
            *self.warnings,
        ]
        columns = {"recipe": "text", "flops": "flops", **numbers}
        return frame_card(f"Recipes against {self.baseline}", self.table, columns, notes)

    @property
    def loss_unit(self) -> str:
        """The unit of the losses of the baseline, `Runs.loss_unit`."""
        return self.runs[self.baseline].loss_unit

    @property
    def along_6nd(self) -> bool:
        """Whether budgets are 6 N D, and not the FLOP of the tables."""
        return five_parameter(self.laws.points[self.baseline]) is not None

    @property
    def counted_runs(self) -> dict[str, Runs]:
        """The runs of each recipe with the compute that budgets count, as figures show them."""
        return {name: dataclasses.replace(runs, flops=self.compute[name]) for name, runs in self.runs.items()}

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
                f"{row['recipe']} at {flops_text(row['flops'])} FLOP: {verdict}, {self.baseline} needs "
                f"{row['multiplier']:.3g} times the compute ({self.level:.0%} interval {row['low']:.3g} to "
                f"{row['high']:.3g})"
            )
        return found

    @property
    def doubts(self) -> list[str]:
        """What makes each row of `table` hard to believe; "" for most."""
        largest = {name: float(flops.max()) for name, flops in self.compute.items()}
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


@reporting
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
    progress: ProgressLike = "auto",
    **reading: Unpack[Reading],
) -> Comparison:
    """How many times the compute recipes save over a baseline, with intervals.

    The losses must be of one validation set and one tokenizer.

    Args:
        *tables: two or more: `Runs`, or anything that `load_runs` takes; or one, with `by`.
        flops: budgets (FLOP) of the table, in 6 N D, or for the law compute_only in the FLOP of the tables;
            None for the compute of the largest run of all and ten times that.
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
        progress: as for `bootstrap`; a function is called with the number of fits just finished.
        **reading: how tables are read: keywords of `load_runs`, for all of them.

    Raises:
        DataError: a table cannot be read.
        NoEstimateError: a recipe has no certified fit.
        UsageError: a table has too few runs, two are the same, their compute does not overlap, there is no
            such baseline, or another argument is invalid.

    Example:
        >>> better = dataclasses.replace(runs, loss=runs.loss * 0.98, name="better")
        >>> cj.compare(runs, better, flops=1e22, resamples=50)
        <Comparison: better at 1e22 FLOP: better than chinchilla, chinchilla needs 2.15 times the compute (80%
        interval 1.94 to 2.38)>
    """
    central_tails(level)
    count, seed = resample_count("resamples", resamples), seed_number(seed)
    share = read_share(share)
    recipes = _read(tables, names, by, pair, reading)
    law, notes = _law(read_law(law), recipes, by)
    if len(places) and isinstance(law, ComputeOnly):
        raise UsageError("compare: places are for laws of params and tokens, such as chinchilla")
    counted, said = (recipes, []) if isinstance(law, ComputeOnly) else along_6nd(recipes)
    check_recipes(counted)
    first = next(iter(recipes)) if baseline is None else baseline
    if first not in recipes:
        raise unknown_name("baseline", first, list(recipes))
    recipes, counted = ({first: each[first], **each} for each in (recipes, counted))
    budgets = _budgets(counted, flops)
    options = DrawOptions(
        law=law, resamples=count, seed=seed, objective=objective, delta=delta, scheme=scheme
    )
    advance = started(progress, "compare", count * len(recipes))
    laws = draw_recipes(recipes, options, pair=pair, share=share, progress=advance)
    found = Frontiers.of(laws)
    curve = _curve_budgets(counted, budgets)
    ranking, leads = (None, None) if len(recipes) == 2 else rankings(found, budgets, level)
    return Comparison(
        table=multiplier_table(found, budgets, level),
        curve=curve_table(found, curve, level),
        losses=loss_table(found, curve, level),
        crossings=crossing_table(found, curve, level),
        places=place_table(laws, places, level) if len(places) else None,
        ranking=ranking,
        leads=leads,
        parameters=parameter_table(laws, level),
        sharing=tests_of_sharing(laws),
        baseline=first,
        level=float(level),
        laws=laws,
        runs=recipes,
        compute={name: runs.flops for name, runs in counted.items()},
        warnings=(*notes, *said, *comparability_warnings(recipes), *found.warnings, *laws.warnings),
    )


def _read(
    tables: Sequence[Runs | TableLike],
    names: Sequence[str] | None,
    by: str | None,
    pair: str | None,
    reading: Reading,
) -> dict[str, Runs]:
    from chinchilla_jax.datasets import Runs

    require_reading(reading, "compare", *tables)
    own = {"groups": (), **reading}
    groups = [*own.pop("groups"), *([] if pair in (None, "none") else [pair])]  # type: ignore[misc]
    if by is not None:
        if len(tables) != 1:
            raise UsageError(f"compare: by splits one table, and {len(tables)} are given; leave out by")
        table: Any = tables[0]
        return split_recipes(
            table if isinstance(table, Runs) else load_recipe(table, groups=(by, *groups), **own), by
        )
    return read_recipes(tables, names, groups, **own)


def _law(law: Law, recipes: dict[str, Runs], by: str | None) -> tuple[Law, list[str]]:
    """The law to compare by, and what a reader must know of the choice.

    Raises:
        UsageError: the law has no lowest loss for a budget.
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
        kept = best_of_option("flops", *([] if by is None else [by]))
        notes.append(
            f"{law.name} is the law of the best run of each budget: keep these ({kept}), or losses of other "
            "runs raise it"
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
