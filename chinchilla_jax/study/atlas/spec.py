"""The atlas: the published robustness study on every embedded table that determines the law.

| code    | symbol      | shape | unit                                                                     |
|---------|-------------|-------|--------------------------------------------------------------------------|
| share   |             | ()    | smallest model of the table over that of chinchilla                      |
| spread  |             | ()    | standard deviation of ln N in the table over that in chinchilla          |

Sizes of perturbations, from those of the paper (Schaeffer et al. 2025, arXiv:2509.23963) in the units of each
table, so that for chinchilla they are the paper's own:

| family           | size                              | why                                               |
|------------------|-----------------------------------|---------------------------------------------------|
| multiplicative   | c as in the paper                 | has no unit                                       |
| additive         | c of the paper times `share`      | the smallest model bears most, and stays positive |
| systematic bias  | s as in the paper                 | has no unit, and turns around the table's mean    |
| log-normal noise | sigma of the paper times `spread` | its effect depends on sigma over that of ln N     |

and for all families the sizes of the documented miscount (`perturbations.documented_sizes`), which the paper
does not have.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.validation import seed_number, whole_number
from chinchilla_jax.datasets import load_runs
from chinchilla_jax.laws.compute import training_flops
from chinchilla_jax.perturbations import FAMILIES, documented_sizes
from chinchilla_jax.study.spec.data import load_study_runs, study_reading
from chinchilla_jax.study.spec.paper import paper_study
from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.spec.sweeps import Sweep

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs

_DIGITS = 4  # of sizes and budgets that follow from a table
_PER_DECADE = 4  # budgets of the table of tokens per parameter
BEYOND = 10.0
"""How far beyond the largest run prescriptions go, as a factor in compute."""

_THREE_COUNTS: Mapping[str, str] = MappingProxyType(
    {
        "total": "params",
        "without_input_embedding": "params_without_input_embedding",
        "non_embedding": "params_non_embedding",
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtlasTable:
    """How one table is studied.

    Attributes:
        data: name of the embedded table.
        delta: of Huber's zone: what `fit` decides from the residuals of the runs, so that both give one
            answer; 1e-3 for tables that were published with it.
        countings: columns that count the parameters, the plain one first; empty for the counts that the
            catalogue knows.
        cluster: the groups that are resampled together, where they are not left to scheme "auto": as that
            would choose for a table of your own.
        caveat: what a reader has to know about the answer.
    """

    data: str
    delta: float = 1e-3
    countings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cluster: str | None = None
    caveat: str


TABLES: Mapping[str, AtlasTable] = MappingProxyType(
    {
        "chinchilla": AtlasTable(
            data="chinchilla",
            cluster="params",
            caveat="Read off a figure. Runs of one size err together and are resampled together; the paper "
            "resampled runs one by one.",
        ),
        "llama3": AtlasTable(
            data="llama3",
            cluster="flops",
            caveat="Read off a figure, losses in its own unit; one count of parameters. Runs of one "
            "budget are resampled together.",
        ),
        "gadre_c4": AtlasTable(
            data="gadre_c4",
            delta=0.0222,
            countings=_THREE_COUNTS,
            cluster="params",
            caveat="Six sizes. The three corpora share sizes, settings and the validation loss on C4, so "
            "they are not three independent tables.",
        ),
        "gadre_redpajama": AtlasTable(
            data="gadre_redpajama",
            delta=0.0117,
            countings=_THREE_COUNTS,
            caveat="Trained on RedPajama, validated on C4; see gadre_c4.",
        ),
        "gadre_refinedweb": AtlasTable(
            data="gadre_refinedweb",
            delta=0.0192,
            countings=_THREE_COUNTS,
            caveat="Trained on RefinedWeb, validated on C4; see gadre_c4.",
        ),
        "gemstones": AtlasTable(
            data="gemstones",
            delta=0.0141,
            countings=_THREE_COUNTS,
            caveat="Twenty shapes; the rows of a shape share the trunk of its training and are resampled "
            "together. The loss depends on width and depth too, which the law does not know.",
        ),
        "olmo_ladder": AtlasTable(
            data="olmo_ladder",
            delta=0.00771,
            countings=_THREE_COUNTS,
            caveat="Without the two targets, which end on another data mix. Five runs were made twice "
            "and are resampled with their repeats. Compute is 6 N D, not the logged FLOP.",
        ),
        "datablations": AtlasTable(
            data="datablations",
            delta=0.0247,
            caveat="One epoch only; one count of parameters. Seeds of a configuration are resampled "
            "together; two configurations are 0.3 above their neighbours.",
        ),
    }
)
"""The tables of the atlas by name.

The others hardly determine the five-parameter law, or another: a quarter of the resamples of QuEST's eight
runs near two ratios has no certified fit, and routed or repeated runs have laws of further variables.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtlasSpec:
    """Which tables an atlas has, and how large it is.

    Attributes:
        tables: names out of `TABLES`, in the order of the results.
        resamples: bootstrap fits per condition.
        seed: of the resamples and of the noise.

    Raises:
        UsageError: a field cannot be used.

    Example:
        >>> cj.AtlasSpec(tables=("gemstones",), resamples=200).studies()["gemstones"].scheme
        'auto'
    """

    tables: tuple[str, ...] = tuple(TABLES)
    resamples: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        if isinstance(self.tables, str) or not self.tables:
            raise UsageError(f"tables is {short(self.tables)}; give names out of: {', '.join(TABLES)}")
        for name in self.tables:
            if name not in TABLES:
                raise unknown_name("table of the atlas", name, TABLES)
        if len(set(self.tables)) < len(self.tables):
            raise UsageError(f"tables is {short(list(self.tables), 80)}; list each name once")
        object.__setattr__(self, "tables", tuple(self.tables))
        object.__setattr__(self, "resamples", whole_number("resamples", self.resamples, low=2))
        object.__setattr__(self, "seed", seed_number(self.seed))

    def studies(self) -> dict[str, StudySpec]:
        """The study of each table, by its name."""
        return {
            name: dataclasses.replace(_table_study(name), resamples=self.resamples, seed=self.seed)
            for name in self.tables
        }


def atlas_study(
    resamples: int = 4000, seed: int = 0, tables: tuple[str, ...] | list[str] | None = None
) -> AtlasSpec:
    """The atlas: the published robustness study (`paper_study`) on every embedded table that suits it.

    Args:
        resamples: bootstrap fits per condition; 4,000 in the paper.
        seed: of the resamples and of the noise.
        tables: names out of `study.atlas.TABLES`; None for all.

    Raises:
        UsageError: an argument cannot be used.

    Example:
        >>> spec = cj.atlas_study(resamples=200, tables=["olmo_ladder"])
        >>> spec.studies()["olmo_ladder"].n_conditions
        246
    """
    return AtlasSpec(
        tables=tuple(TABLES) if tables is None else tuple(tables), resamples=resamples, seed=seed
    )


def plain_runs(spec: StudySpec, count: str | None = None) -> Runs:
    """The runs of a study as its sweeps perturb them, without the measurements that decide its scheme.

    Args:
        spec: the study.
        count: one of its interpretations; None for the first, which is perturbed.
    """
    return load_study_runs(spec, study_reading(spec, spec.interpretations[0] if count is None else count))


def count_difference(spec: StudySpec) -> float:
    """Largest relative difference of another count of a model from the first; NaN for a single count."""
    first = plain_runs(spec).params
    others = [plain_runs(spec, name).params for name in spec.interpretations[1:]]
    return max((float(np.abs(1 - other / first).max()) for other in others), default=math.nan)


def documented(runs: Runs, family: str) -> tuple[float, ...]:
    """The sizes of a family that amount to the documented miscount, without that of no noise."""
    found = documented_sizes(runs, family)
    assert found is not None
    return tuple(_rounded(size) for size in found if size != FAMILIES[family].neutral)


@functools.cache
def _table_study(name: str) -> StudySpec:
    table = TABLES[name]
    fields: dict[str, Any] = {
        "data": table.data,
        "countings": dict(table.countings),
        "interpretations": paper_study().interpretations if table.data == "chinchilla" else (),
        "delta": table.delta,
        "scheme": "auto" if table.cluster is None else "cluster",
        "cluster": table.cluster,
    }
    runs = plain_runs(StudySpec(**fields))
    return StudySpec(**fields, sweeps=scaled_sweeps(runs), flops=budgets(runs))


def scaled_sweeps(runs: Runs) -> tuple[Sweep, ...]:
    """The sweeps of the paper in the units of a table, with the sizes of the documented miscount added.

    Args:
        runs: of the table, under its plain count.
    """
    share, spread = _units(runs)
    found = []
    for sweep in paper_study().sweeps:
        assert isinstance(sweep, Sweep)
        unit = {"additive": share, "log_normal_noise": spread}.get(sweep.family, 1.0)
        sizes = set(sweep.values) if unit == 1.0 else {_rounded(unit * size) for size in sweep.values}
        values = tuple(sizes | set(documented(runs, sweep.family)))
        found.append(Sweep(family=sweep.family, values=values, repeats=sweep.repeats))
    return tuple(found)


def _units(runs: Runs) -> tuple[float, float]:
    """`share` and `spread` of a table; 1 for chinchilla under the count that the paper perturbs."""
    reference = load_runs("chinchilla", params=paper_study().interpretations[0])
    return (
        float(runs.params.min() / reference.params.min()),
        float(np.log(runs.params).std() / np.log(reference.params).std()),
    )


def largest_compute(runs: Runs) -> float:
    """Training compute of the largest run, as 6 N D, in four digits (FLOP)."""
    return _rounded(float(training_flops(runs.params, runs.tokens).max()))


def budgets(runs: Runs) -> tuple[float, ...]:
    """Budgets for the tokens per parameter: from the smallest run to ten times the compute of the largest."""
    compute = training_flops(runs.params, runs.tokens)
    least, largest = float(compute.min()), largest_compute(runs)
    first, last = (math.log10(end) * _PER_DECADE for end in (least, BEYOND * largest))
    grid = {_rounded(10 ** (step / _PER_DECADE)) for step in range(math.ceil(first), math.floor(last) + 1)}
    return tuple(sorted(grid | {largest, _rounded(BEYOND * largest)}))


def swept_sizes(spec: StudySpec, family: str) -> tuple[float, ...]:
    """The sizes of a family without those of the documented miscount alone."""
    own = set(documented(plain_runs(spec), family))
    (sweep,) = (each for each in spec.sweeps if each.family == family)
    assert isinstance(sweep, Sweep)
    return tuple(value for value in sweep.values if value not in own)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
