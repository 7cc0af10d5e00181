"""Laws of several recipes, drawn together: resample r of one beside resample r of each other.

| code    | shape  | meaning                                                                     |
|---------|--------|-----------------------------------------------------------------------------|
| laws    | (R,)   | of one recipe                                                               |
| counted | (R,)   | whether resample r counts: the fits of all recipes are certified            |
| units   | (n,)   | what is drawn as a whole, in all tables at once, where they are paired      |

Tables are resampled independently, unless their runs are paired: by a column that they carry, or by
configuration (params and tokens) where the tables have the same ones and their residuals are correlated. A
difference of two laws is then as certain as the runs make it, and not as their errors apart would.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import NoEstimateError, UsageError, short
from chinchilla_jax._util.text import list_text
from chinchilla_jax.bootstrapping.auto_scheme import is_auto
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.bootstrapping.resample_fits import fit_resamples
from chinchilla_jax.fitting.goodness import goodness_of
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.fitting.problem_fit import fit_until_agreed
from chinchilla_jax.fitting.unlike_rows import with_unlike_rows
from chinchilla_jax.fitting.width import with_width
from chinchilla_jax.laws import CHINCHILLA, read_law
from chinchilla_jax.planning.recipe_pairs import paired_units, unit_weights
from chinchilla_jax.planning.recipe_sharing import SHARED_WORDS, bootstrap_jointly, laws_of_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.bootstrapping.scheme import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.fitting.result import FitResult
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.laws.objectives import Delta

    Floats = NDArray[np.float64]

FEW_RUNS = 8
"""Recipes of fewer runs share the exponents and E of the others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeLaws:
    """Laws of each recipe.

    Attributes:
        points: the point fit of each, by name.
        laws: (R,) of each.
        counted: (R,) resamples that count for all.
        shared: name of what they share, see `recipe_sharing.SHARED`; None for separate fits.
        pairing: how the tables were resampled together, in words.
        fits: the point fits behind them: one for each recipe, or the joint one by "".
        warnings: one sentence each.
    """

    points: dict[str, Any]
    laws: dict[str, Any]
    counted: NDArray[np.bool_]
    shared: str | None
    pairing: str
    fits: dict[str, FitResult]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """What is fitted and how, as `bootstrap` takes it."""

    law: Law | str = "chinchilla"
    resamples: int = 4000
    seed: int = 0
    objective: Objective | str = "huber"
    delta: Delta | None = None
    scheme: Scheme | str = "auto"


def draw_recipes(
    recipes: Mapping[str, Runs],
    options: DrawOptions,
    *,
    pair: str | None = None,
    share: str = "auto",
    progress: Callable[[int], None] | None = None,
) -> RecipeLaws:
    """Fit and resample every recipe.

    Args:
        recipes: runs by name.
        options: of the fits.
        pair: a column that pairs runs of different tables; "none" to take the tables as independent; None to
            pair by configuration where the residuals ask for it.
        share: "none", or what all recipes have in common; "auto" shares the exponents and E where a recipe
            has fewer than eight runs, or no certified fit of its own.
        progress: called with the number of fits just finished.

    Raises:
        NoEstimateError: a recipe has no certified fit.
        UsageError: an argument is invalid, or the tables lack the column.
    """
    law = read_law(options.law)
    few = [name for name, runs in recipes.items() if len(runs) < FEW_RUNS]
    if share == "auto":
        share = "all" if few and law == CHINCHILLA else "none"
        points = {} if share == "all" else _points(recipes, options)
        lost = [name for name, point in points.items() if not point.status.certified]
        if lost and law == CHINCHILLA:
            share, few = "all", lost
    else:
        points = _points(recipes, options) if share == "none" else {}
    if share != "none":
        if law != CHINCHILLA:
            raise UsageError(f"compare: recipes share parameters of the law chinchilla, not of {law.name}")
        return _shared(recipes, options, share, few, progress)
    for name, point in points.items():
        if not point.status.certified:
            raise NoEstimateError(
                f"{short(name)}: no estimate, because the point fit ended as {point.status.name}: "
                f"{point.reason}"
            )
    units, pairing = (None, "the tables are resampled independently")
    if pair != "none" and is_auto(options.scheme):
        units, pairing = paired_units(recipes, points, pair)
    elif pair not in (None, "none"):
        raise UsageError(
            "compare: paired runs are resampled by scheme 'auto'; leave one of pair and scheme out"
        )
    boots = {}
    drawn = None if units is None else unit_weights(recipes, points, units, options.resamples, options.seed)
    for i, (name, runs) in enumerate(recipes.items()):
        if drawn is None:
            boots[name] = bootstrap(
                runs, law, resamples=options.resamples, seed=(options.seed + i) % 2**32, point=points[name],
                objective=points[name].objective, scheme=options.scheme, progress=progress,
            )  # fmt: skip
        else:
            assert units is not None
            weights = drawn[:, units[name]]
            boots[name] = fit_resamples(runs, weights=weights, point=points[name], on_progress=progress)
    return _of_boots(boots, pairing)


def _points(recipes: Mapping[str, Runs], options: DrawOptions) -> dict[str, FitResult]:
    """The point fits that `bootstrap` would make."""
    found = {}
    for name, runs in recipes.items():
        problem = read_problem("compare", runs, options.law, options.objective, options.delta)
        point = fit_until_agreed(with_width(problem, None), None)
        found[name] = dataclasses.replace(
            with_unlike_rows(point, runs), read=runs.read_lines, goodness=goodness_of(point, runs)
        )
    return found


def _of_boots(boots: Mapping[str, BootstrapResult], pairing: str) -> RecipeLaws:
    for name, boot in boots.items():
        if not boot.scheme.quantiles or boot.scheme.factor(boot.point.n_runs, boot.point.model.size) != 1:
            raise UsageError(
                f"compare: resamples of scheme {boot.scheme.name!r} spread differently from estimates; use "
                "'pairs', 'cluster', 'bayesian', 'wild' or 'residual'"
            )
        if not boot.counted.any():
            raise NoEstimateError(f"{short(name)}: the fit of no resample is certified; add runs")
    warnings = [f"{short(name)}: {said}" for name, boot in boots.items() for said in boot.warnings]
    return RecipeLaws(
        points={name: boot.point.law for name, boot in boots.items()},
        laws={name: boot.laws for name, boot in boots.items()},
        counted=np.logical_and.reduce([boot.counted for boot in boots.values()]),
        shared=None,
        pairing=pairing,
        fits={name: boot.point for name, boot in boots.items()},
        warnings=tuple(warnings),
    )


def _shared(
    recipes: Mapping[str, Runs],
    options: DrawOptions,
    share: str,
    few: list[str],
    progress: Callable[[int], None] | None,
) -> RecipeLaws:
    boot = bootstrap_jointly(
        recipes, share, resamples=options.resamples, seed=options.seed, objective=options.objective,
        delta=options.delta, progress=progress,
    )  # fmt: skip
    if not boot.point.status.certified:
        raise NoEstimateError(
            f"compare: no estimate, because the joint fit ended as {boot.point.status.name}: "
            f"{boot.point.reason}"
        )
    why = f", since {list_text([short(name) for name in few])} cannot be fitted alone" if few else ""
    said = f"the recipes share {SHARED_WORDS[share]}{why}: a difference in these would show as one of A and B"
    return RecipeLaws(
        points={name: laws_of_recipe(boot.point.law, g) for g, name in enumerate(recipes)},
        laws={name: laws_of_recipe(boot.laws, g) for g, name in enumerate(recipes)},
        counted=boot.counted,
        shared=share,
        pairing="the tables are resampled independently",
        fits={"": boot.point},
        warnings=(said, *boot.point.warnings),
    )
