"""All figures of a study, drawn one by one or written to files."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from chinchilla_jax.analysis.joint_maps import StudyFits, pairs_of_families
from chinchilla_jax.analysis.joint_maps import joint_map as joint_map_table
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.compute import usual_budget
from chinchilla_jax.plots.joint_map_figure import joint_map
from chinchilla_jax.plots.parameters_by_counting_figure import (
    parameters_by_counting,
    parameters_by_counting_table,
    published_parameters,
)
from chinchilla_jax.plots.parameters_by_family_figure import parameters_by_family, parameters_by_family_table
from chinchilla_jax.plots.perturbation_schematics import perturbation_table, perturbations
from chinchilla_jax.plots.relative_error_figure import (
    RULES,
    relative_error,
    relative_error_table,
    relative_error_table_of,
)
from chinchilla_jax.plots.save import figure_of, save_figures
from chinchilla_jax.plots.sweeps import SWEEPS
from chinchilla_jax.plots.tables import StudyTables, countings, families
from chinchilla_jax.plots.tokens_per_param_by_counting_figure import (
    tokens_per_param_by_counting,
    tokens_per_param_by_counting_table,
)
from chinchilla_jax.plots.tokens_per_param_by_family_figure import (
    tokens_per_param_by_family,
    tokens_per_param_by_family_table,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws import Law

_LEAST_SIZES = 3  # of either family in a joint map


def study_figures(
    study: StudyTables, *, method: str = "percentile", level: float | None = None
) -> Iterator[tuple[str, Figure]]:
    """Yield (name, figure) for every figure that the study has tables for.

    Names, in this order: relative_error, parameters_by_counting, tokens_per_param_by_counting,
    perturbations, for each family parameters_<family> and tokens_per_param_<family>, and for each product of
    two families joint_<first>_<second>. Left out are: relative_error (about the models of Table A9, or of a
    table with several countings) where no count comes from a formula or another column; the by-counting
    figures without an unperturbed condition; perturbations without families; prescriptions of a law that
    makes none; families that have no axis in `sweeps.SWEEPS`; products with fewer than three sizes of either
    family, which make no map.

    Args:
        study: see `StudyTables`.
        method: of the intervals: "percentile", "gaussian" or "besiroglu2024".
        level: share of the resamples inside an interval; None for 0.8 or the nearest level of the study.

    Raises:
        UsageError: the study has no such method or level.
    """
    for name, draw in figure_makers(study, method=method, level=level).items():
        figure = draw()
        if figure is not None:
            yield name, figure


def figure_makers(
    study: StudyTables, *, method: str = "percentile", level: float | None = None
) -> dict[str, Callable[[], Figure | None]]:
    """What draws each figure of `study_figures`, by its name; None where there is nothing to show."""
    chosen: dict[str, Any] = {"method": method, "level": level}
    optimum = _model(study).has_optimum
    makers: dict[str, Callable[[], Figure | None]] = {}
    if set(RULES) & set(study.conditions["params"].astype(str)):
        makers["relative_error"] = lambda: figure_of(relative_error(relative_error_table()))
    elif hasattr(study, "counted_runs"):
        makers["relative_error"] = functools.partial(_own_relative_error, study.counted_runs)
    if len(countings(study)):
        makers["parameters_by_counting"] = lambda: parameters_by_counting(
            parameters_by_counting_table(study, **chosen), _published_for(study)
        )
        if optimum:
            makers["tokens_per_param_by_counting"] = lambda: figure_of(
                tokens_per_param_by_counting(tokens_per_param_by_counting_table(study, **chosen))
            )
    known = [family for family in families(study) if family in SWEEPS]
    if known:
        makers["perturbations"] = lambda: perturbations(perturbation_table(study, known))
    for family in known:
        makers[f"parameters_{family}"] = functools.partial(_parameters, study, family, chosen)
        if optimum:
            makers[f"tokens_per_param_{family}"] = functools.partial(_tokens_per_param, study, family, chosen)
    maps = functools.cache(lambda: _joint_maps(study, level))
    for pair in pairs_of_families(study, _LEAST_SIZES) if optimum else ():
        makers["_".join(("joint", *pair))] = functools.partial(_joint, study, maps, pair)
    return makers


def _parameters(study: StudyTables, family: str, chosen: dict[str, Any]) -> Figure:
    return parameters_by_family(parameters_by_family_table(study, family, **chosen))


def _tokens_per_param(study: StudyTables, family: str, chosen: dict[str, Any]) -> Figure:
    return figure_of(tokens_per_param_by_family(tokens_per_param_by_family_table(study, family, **chosen)))


def _joint_maps(study: Any, level: float | None) -> pd.DataFrame:
    """Their intervals are percentiles of the fits, whatever the method of the other figures."""
    return joint_map_table(
        cast(StudyFits, study),
        flops=usual_budget(study.spec.data, study.runs().flops),
        level=0.8 if level is None else level,
    )


def _joint(study: Any, maps: Callable[[], pd.DataFrame], pair: tuple[str, str]) -> Figure:
    rows = maps()
    of_pair = (rows["first_family"] == pair[0]) & (rows["second_family"] == pair[1])
    return joint_map(rows[of_pair], runs=study.runs())


def save_study_figures(
    study: StudyTables,
    out_dir: str | os.PathLike[str],
    *,
    method: str = "percentile",
    level: float | None = None,
    dpi: float = 200,
    formats: Sequence[str] = ("png", "pdf"),
) -> list[Path | str]:
    """Write `study_figures` to `out_dir` in every format; the same tables give the same files.

    Args:
        study: see `StudyTables`.
        out_dir: a path or URL, created if missing; existing files of the same name are replaced.
        method: see `study_figures`.
        level: see `study_figures`.
        dpi: resolution of PNG files, dots per inch.
        formats: any of "png", "pdf" and "svg".

    Returns:
        The files, in the order of the figures: paths, or URLs.

    Raises:
        UsageError: an unknown format, or the study has no such method or level.
    """
    drawn = study_figures(study, method=method, level=level)
    return save_figures(drawn, out_dir, dpi=dpi, formats=formats)


def _own_relative_error(counted_runs: Callable[[], dict[str, Runs]]) -> Figure | None:
    """The counts of a table of the user's own against each other; None for fewer than two."""
    counts = counted_runs()
    if not counts:
        return None
    errors = relative_error_table_of(counts)
    return figure_of(relative_error(errors, plain=next(iter(counts)))) if len(errors) else None


def _published_for(study: StudyTables) -> pd.DataFrame | None:
    """The published fits; None where the study is of other runs, or of another law."""
    same = study.spec.data == "chinchilla" and _model(study).name == "chinchilla"
    return published_parameters() if same else None


def _model(study: StudyTables) -> Law:
    """The law of the study; the five-parameter law where its spec does not say."""
    return read_law(getattr(study.spec, "law", "chinchilla"))
