"""Do runs err together? The correlation within groups of runs, and the resampling scheme that allows for it.

Resampling runs one by one is right where they err independently. Where they err together, its intervals come
out too narrow, and whole groups have to be resampled (Davison & Hinkley 1997, 3.8).

| simulated tables, 200 or 300 each, 80% intervals   | runs one by one | whole groups |
|-----------------------------------------------------|-----------------|--------------|
| 20 configurations of 3 seeds, correlation 0.6       | 65 to 69        | 80 to 84     |
| Chinchilla's runs, correlation 0.3 in sizes, alpha  | 71              | 83           |
| 10 sizes of 6 runs, correlation 0.5, alpha          | 59              | 84           |
| 5 sizes of 6 runs, correlation 0.5                  | 43 to 90        | 78 to 85     |
| 4 sizes of 6 runs, correlation 0.5                  | 45 to 83        | 71 to 83     |
| 3 sizes of 6 runs, correlation 0.5                  | 39 to 84        | 5 to 77      |
| 8 sizes of 6 runs, independent errors               | 83 to 86        | 79 to 87     |
| 5 sizes of 6 runs, independent errors               | 78 to 87        | 80 to 88     |
| 5 budgets of 8 runs, independent errors             | 80 to 82        | 79 to 86     |

(Fewer than 16 groups have real weights in the rows of 3 to 5, see few_groups.py, and counts in the others.)
Groups that are resampled without need cost little, and groups that are missed cost much: hence a p of up to
0.1 is enough to resample them. Fewer than four groups cannot stand for all that there could be.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.text import list_text
from chinchilla_jax.bootstrapping.few_groups import LEAST_GROUPS, few_groups_warning
from chinchilla_jax.bootstrapping.group_correlation import PermutedResiduals
from chinchilla_jax.bootstrapping.schemes import Cluster, Pairs, Scheme
from chinchilla_jax.datasets.groupings import (
    BUILT_IN,
    cooldown_column,
    has_budgets,
    is_finer,
    members_of,
    sizes_are_trajectories,
    trajectory_column,
)
from chinchilla_jax.fitting.unlike_rows import cut_off

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs

    Floats = NDArray[np.float64]
    Members = NDArray[np.int64]

LEVEL = 0.1
"""Up to this p, groups are resampled."""
_ARITHMETIC = 1e-11  # root mean square of residuals below which they are rounding of the arithmetic
_MOST_DIGITS = 11  # of losses whose last one is looked for
_LEAST_SHARED = 5  # runs n less groups k, below which nothing can be said about groups
_COLUMNS = ("grouping", "by", "unit", "n_groups", "runs_per_group", "icc", "F", "p", "chosen")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grouping:
    """A way to group the runs of a table, and what runs of one group have in common.

    Attributes:
        grouping: "replicates", "trajectories", "sizes", "budgets", or the name of a column.
        by: the same for `Cluster(by=...)`.
        unit: what was measured: "runs", or the means of a finer grouping that is correlated itself.
        n_groups: groups k.
        runs_per_group: how many of the unit make a group, n0 of `group_correlation.py`.
        icc: intraclass correlation of the residuals.
        F: mean square between groups over mean square within.
        p: of the permutations.
        chosen: whether these groups are resampled.
    """

    grouping: str
    by: str
    unit: str
    n_groups: int
    runs_per_group: float
    icc: float
    F: float
    p: float
    chosen: bool = False

    @property
    def is_correlated(self) -> bool:
        """Whether runs of a group err together, as far as the permutations tell."""
        return self.p <= LEVEL

    @property
    def what(self) -> str:
        """What the groups are: "sizes", "configurations", "groups by lab"."""
        if self.grouping == "replicates":
            return "configurations"
        named = self.grouping in ("trajectories", "sizes", "budgets")
        return self.grouping if named else f"groups by {self.grouping}"

    def __str__(self) -> str:
        """Such as "41 sizes (correlation 0.30, p 0.0005)"."""
        return f"{self.n_groups} {self.what} (correlation {self.icc:.2f}, p {self.p:.2g})"


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Dependence:
    """What was measured, and the scheme chosen for it.

    Attributes:
        groupings: what was measured, from the finest grouping to the coarsest.
        scheme: what resamples the runs.
        sentence: what was chosen and why, on one line.
        warnings: what limits the intervals, one sentence each.
    """

    groupings: tuple[Grouping, ...]
    scheme: Scheme
    sentence: str
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The choice and why; the numbers are in `to_frame()`."""
        return f"<Dependence: {self.sentence}>"

    def columns(self) -> dict[str, list[Any]]:
        """The columns of `to_frame` as lists, without pandas."""
        return {name: [getattr(each, name) for each in self.groupings] for name in _COLUMNS}

    def to_frame(self) -> pd.DataFrame:
        """One row per grouping: grouping, by, unit, n_groups, runs_per_group, icc, F, p, chosen."""
        import pandas as pd

        return pd.DataFrame(self.columns(), columns=list(_COLUMNS))


def measure_dependence(
    runs: Runs,
    residuals: Floats,
    *,
    derivatives: Floats | None = None,
    weights: Floats | None = None,
) -> Dependence:
    """Measure the correlation of residuals within every grouping of the runs, and choose a scheme.

    The groupings are replicates, trajectories, columns that the runs carry, sizes and budgets, as far as the
    table has them (see `datasets.groupings`). Where a grouping lies within another and is correlated, the
    other is measured on its means: seeds of one configuration say nothing about what configurations of one
    size have in common.

    Args:
        runs: n runs.
        residuals: log predicted minus log observed loss of a fit, (n,).
        derivatives: of the residuals by the law's parameters, (n, p); without them p is too large.
        weights: of the runs, (n,); runs without weight are left out of the measurement.

    Returns:
        The measurement, a function of the arguments alone. Its scheme resamples the coarsest grouping that is
        correlated (`LEVEL`) and has `LEAST_GROUPS`; otherwise it is `Pairs`.
    """
    kept = np.flatnonzero(np.isfinite(residuals) & (True if weights is None else weights > 0))
    runs = runs if len(kept) == len(runs) else runs.take(kept)
    if len(kept) and (exact := _exact_to(runs.loss, residuals[kept])):
        why = f"runs are resampled one by one, since the law is exact here: residuals are {exact}"
        return Dependence(groupings=(), scheme=Pairs(), sentence=why)
    errors = cut_off(residuals[kept]) if len(kept) else residuals[kept]
    slopes = None if derivatives is None else derivatives[kept]
    units = {"runs": PermutedResiduals(errors, slopes)} if len(kept) > 2 else {}
    found: list[Grouping] = []
    related: list[tuple[str, Members]] = []  # the groupings that are correlated, finest first
    for grouping, by, members in _candidates(runs) if units else []:
        unit, numbers = "runs", members
        for name, finer in related:
            if is_finer(finer, members):
                unit, numbers = name, members[np.unique(finer, return_index=True)[1]]
        if unit not in units:
            finer = dict(related)[unit]
            units[unit] = PermutedResiduals(
                _means(finer, errors), None if slopes is None else _means(finer, slopes)
            )
        n_groups = int(members.max()) + 1
        if len(numbers) - n_groups < _LEAST_SHARED:
            continue
        n0, icc, ratio, p = units[unit].within(numbers)
        found.append(
            Grouping(
                grouping=grouping, by=by, unit=unit, n_groups=n_groups, runs_per_group=n0, icc=icc, F=ratio,
                p=p,
            )
        )  # fmt: skip
        if found[-1].is_correlated:
            related.append((grouping, members))
    made = _choice(found, dict(related))
    checkpoints = [
        _checkpoints(each)
        for each in found
        if each.grouping == "trajectories" and (each.by in BUILT_IN or cooldown_column(runs, each.by) is None)
    ]
    return dataclasses.replace(made, warnings=(*made.warnings, *checkpoints))


def _exact_to(losses: Floats, residuals: Floats) -> str:
    """What residuals are where they are rounding of the losses and no errors of runs; "" elsewhere."""
    size = math.sqrt(float(np.mean(residuals**2)))
    if size < _ARITHMETIC:
        return f"of the size of rounding ({size:.1g})"
    for digits in range(_MOST_DIGITS):
        if np.all(np.abs(losses - np.round(losses, digits)) <= 1e-12 * losses):
            # Uniform errors of half a last digit; a fitted law leaves less of them than there was.
            rounding = 10.0**-digits / math.sqrt(12.0) * math.sqrt(float(np.mean(losses**-2.0)))
            return f"no larger than rounding of the losses to {digits} decimals" if size <= rounding else ""
    return ""


def _candidates(runs: Runs) -> list[tuple[str, str, Members]]:
    """Name, `by` and groups of every grouping that the table has, finest first; no partition twice."""
    run_column = trajectory_column(runs)
    named = [("replicates", "replicates")]
    if run_column is not None:
        named.append(("trajectories", run_column))
    elif sizes_are_trajectories(runs):
        named.append(("trajectories", "params"))
    named += [(name, name) for name in runs.groups if name != run_column and name not in BUILT_IN]
    named.append(("sizes", "params"))
    if has_budgets(runs):
        named.append(("budgets", "flops"))
    found: list[tuple[str, str, Members]] = []
    for grouping, by in named:
        members = members_of(runs, by)
        several = 2 <= int(members.max(initial=0)) + 1 <= len(runs) - _LEAST_SHARED
        if several and not any(is_finer(members, m) and is_finer(m, members) for _, _, m in found):
            found.append((grouping, by, members))
    return sorted(found, key=lambda each: -int(each[2].max()))


def _means(members: Members, values: Floats) -> Floats:
    """Means of values (n,) or (n, p) over groups, (k,) or (k, p)."""
    sums = np.zeros((int(members.max()) + 1, *values.shape[1:]))
    np.add.at(sums, members, values)
    counts = np.bincount(members)
    return sums / counts.reshape(-1, *(1,) * (values.ndim - 1))


def _choice(found: list[Grouping], members: dict[str, Members]) -> Dependence:
    related = [each for each in found if each.is_correlated]
    enough = [each for each in related if each.n_groups >= LEAST_GROUPS]
    warnings = [_too_few(each) for each in related if each not in enough]
    if not enough:
        seen = list_text([str(each) for each in found if each not in related] or ["any group of runs"])
        why = f"since residuals show no correlation within {seen}"
        if related:
            why = "since there are too few groups to resample"
        why = f"runs are resampled one by one, {why}"
        return Dependence(groupings=tuple(found), scheme=Pairs(), sentence=why, warnings=tuple(warnings))
    best = enough[-1]
    for each in enough[:-1]:
        if not is_finer(members[each.grouping], members[best.grouping]):
            warnings.append(
                f"residuals are correlated within {each} too, which lie across the {best.grouping}: no "
                f"scheme resamples both, and the intervals are too narrow; compare with --cluster {each.by}"
            )
    few = few_groups_warning(best.n_groups, best.what)
    if few is not None:
        warnings.append(few)
    return Dependence(
        groupings=tuple(dataclasses.replace(each, chosen=each is best) for each in found),
        scheme=Cluster(by=best.by),
        sentence=f"whole groups are resampled, since residuals are correlated within {best}",
        warnings=tuple(warnings),
    )


def _checkpoints(each: Grouping) -> str:
    return (
        f"the runs look like checkpoints of {each.n_groups} training runs: losses before the end of the "
        "learning-rate schedule are higher than those of runs that end there, which the law describes; keep "
        "the last checkpoint of each run, unless the learning rate was constant or annealed for each"
    )


def _too_few(each: Grouping) -> str:
    inflation = math.sqrt(max(1 + (each.runs_per_group - 1) * each.icc, 1.0))
    return (
        f"residuals are correlated within {each}, which are too few groups to resample: intervals of what "
        f"differs between them are too narrow, by a factor of about {inflation:.1f}; fit each group by "
        "itself, or add some"
    )
