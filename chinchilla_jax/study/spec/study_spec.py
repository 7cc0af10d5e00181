"""What a study is: data, conditions, estimator, resamples. A value to compare, to store and to read back.

| code              | symbol | shape | unit                                             |
|-------------------|--------|-------|--------------------------------------------------|
| resamples         | R      | ()    | bootstrap fits per condition                     |
| levels            |        | (k,)  | share of the resamples that an interval covers   |
| flops             | C      | (m,)  | training FLOP at which prescriptions are wanted  |
| delta             | delta  | ()    | half-width of Huber's quadratic zone, log loss   |
| penalty           |        | ()    | cost of an overestimate over an underestimate    |
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.validation import positive_number, seed_number, whole_number
from chinchilla_jax.datasets import dataset_info, figure_names
from chinchilla_jax.datasets.interpretations import Interpretations
from chinchilla_jax.datasets.row_choice import RowChoice
from chinchilla_jax.datasets.units import read_units
from chinchilla_jax.intervals.tokens_per_param import COMPUTE_GRID
from chinchilla_jax.laws import Law, Objective, read_law, read_objective
from chinchilla_jax.laws.own_law import recorded
from chinchilla_jax.study.spec.estimator import check_estimator, point_estimators
from chinchilla_jax.study.spec.fields import FieldError, field, increasing, number_list, set_fields
from chinchilla_jax.study.spec.law import columns_for, read_study_law, stored_law
from chinchilla_jax.study.spec.own_table import (
    by_quantity,
    column_names,
    read_data,
    read_interpretations,
    require_name,
    require_own,
)
from chinchilla_jax.study.spec.ranges import expand_ranges
from chinchilla_jax.study.spec.size import require_size
from chinchilla_jax.study.spec.sweeps import Product, Sweep, read_sweeps
from chinchilla_jax.study.spec.toml_file import TomlFile

_DEFAULT_FLOPS = tuple(float(c) for c in COMPUTE_GRID)
_LAW = "chinchilla"
_BEFORE_BOUNDARY = "drop"  # what studies did that were written before there was a choice
_LEFT_OUT = {
    "law": _LAW,
    "engine": "auto",
    "reproducible": False,
    "final": False,
    "all_states": False,
    "drop_missing": False,
    "ignore_flags": False,
}  # of a spec as plain values
_ROWS = tuple(each.name for each in dataclasses.fields(RowChoice))


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class StudySpec:
    """A robustness study: every condition is fitted on the same resamples of the same runs.

    Attributes:
        data: an embedded name (see `dataset_names`) or the path of a table that `load_runs` reads, kept as
            written. As in `load_runs`, an embedded name wins over a file of that name.
        columns: which column holds which quantity, or which further variable of the law, such as {"loss":
            "val/loss", "unique_tokens": "U"}, for a table whose column names do not say; kept as sorted
            pairs.
        units: in which units columns are, such as {"flops": "PF-days"}, as `load_runs` takes them.
        bytes_per_token: of the text that a loss in bits per byte is of, for one in nats per token.
        experiment: which rows to use of a table whose column "experiment" names several; None for all.
        where: conditions that a row must meet to be read, all of them, for a table of your own.
        best_of: keep the row of lowest loss of those that agree in these columns, as `load_runs` does.
        final: whether to keep the last row of each run only.
        groups: columns that say which rows belong together, for scheme "auto" and for `final`.
        all_states: whether to keep runs that did not finish according to the table.
        drop_missing: whether to leave out rows without a loss, or another value that is read.
        ignore_flags: whether to keep rows that the table itself marks as outliers or to exclude.
        countings: columns of a table of your own that count the parameters, by a name for each, the plain one
            first, such as {"total": "params", "non_embedding": "params_non_embedding"}: each is an
            interpretation. Kept as pairs.
        losses: columns of losses by name, likewise; with both, each pair is one, such as "total+c4".
        interpretations: parameter counts to fit unperturbed; the sweeps perturb the first.
            "chinchilla" has "standard", "reported", "best_fit" and "as_plotted", "llama3" has "as_plotted", a
            table of your own has "as_given", or its `countings` and `losses`. Empty: the first of these, or
            all of your own.
        sweeps: the perturbations, `Sweep` or `Product`, in the order of the tables.
        weights: name of the column with the weights of the runs, for a table of your own; None for all the
            same. Resamples count a run by the number of its draws times its weight.
        law: the law that is fitted: a name out of `laws.LAWS`, of which "chinchilla" is the five-parameter
            law, or one of `laws.from_function`, in Python only. The tables have its parameters. A directory
            keeps the fingerprint of a function, and is resumed with the same one.
        objective: what the bootstrap minimises, by the name of a built-in objective. Point fits are of the
            same one; under the five-parameter law, for "huber" and "huber_scale", of both.
        delta: half-width of the quadratic zone of "huber" and "huber_scale". None: 1e-3 for these.
        penalty: of an overestimate under "asymmetric". None: 10 for this.
        solver: "newton", "optax-lbfgs", "jaxopt-lbfgs" or "jaxopt-bfgs".
        precision: of "newton": "mixed", "float64" or "float32", see `SolverOptions`; "mixed" for the other
            solvers, which have their own.
        engine: what runs "newton": "lanes" (compiled for CPUs), "xla" (any device), or "auto" for whichever
            suits each machine; the other solvers have "auto". They agree to rounding, not bit for bit, so a
            study that names one is another study than the same with "auto".
        reproducible: whether the tables have the same bits on every x86-64 Linux machine with the same
            versions, for a third more time; see `_util/reproducible.py`. For "newton" by "lanes".
        scheme: how resamples are drawn: "pairs", runs with replacement (Efron 1979); "bayesian", Dirichlet
            weights (Rubin 1981); "cluster", whole groups of runs with replacement; "auto", "cluster" where
            the residuals of the unperturbed runs are correlated within groups, else "pairs".
        cluster: the groups of "cluster", for a table of your own any of its columns, or "params" (model
            sizes), "flops" (budgets) or "replicates". None stands for "params".
        boundary: "keep" to count resamples whose best E is 0 in the intervals; "drop" to leave them out, as
            published studies do, which selects those with a larger E.
        resamples: bootstrap fits per condition, at least 2.
        seed: of the resamples and of random perturbations, from 0 to 2^32 - 1.
        levels: of the intervals and bands in the summary tables, each in (0, 1).
        flops: training compute (FLOP) of the tokens-per-parameter table; default 10^18 to 10^28 in steps of
            0.05 decades.
        drop_highest_loss: runs of highest loss to leave out. None: 5 for "chinchilla", otherwise 0.
        rounded: whether "standard" and "best_fit" counts are rounded to whole millions, as in
            arXiv:2509.23963.

    Defaults that depend on the data are filled in, so two specs are equal if and only if they mean the same.

    Raises:
        UsageError: a field cannot be used, or the study is larger than `_util.limits` allows; one line with
            the field, what was found and what is allowed.

    Example:
        >>> spec = cj.StudySpec(data="chinchilla", resamples=100, flops=(1e21, 1e24))
        >>> spec.data, spec.resamples
        ('chinchilla', 100)
    """

    data: str = "chinchilla"
    columns: tuple[tuple[str, str], ...] = ()
    units: tuple[tuple[str, str], ...] = ()
    bytes_per_token: float | None = None
    experiment: str | None = None
    where: tuple[str, ...] = ()
    best_of: tuple[str, ...] = ()
    final: bool = False
    groups: tuple[str, ...] = ()
    all_states: bool = False
    drop_missing: bool = False
    ignore_flags: bool = False
    countings: tuple[tuple[str, str], ...] = ()
    losses: tuple[tuple[str, str], ...] = ()
    interpretations: tuple[str, ...] = ()
    sweeps: tuple[Sweep | Product, ...] = ()
    weights: str | None = None
    law: str | Law = _LAW
    objective: str = "huber"
    delta: float | None = None
    penalty: float | None = None
    solver: str = "newton"
    precision: str = "mixed"
    engine: str = "auto"
    reproducible: bool = False
    scheme: str = "pairs"
    cluster: str | None = None
    boundary: str = "keep"
    resamples: int = 4000
    seed: int = 0
    levels: tuple[float, ...] = (0.8,)
    flops: tuple[float, ...] = _DEFAULT_FLOPS
    drop_highest_loss: int | None = None
    rounded: bool = True

    def __repr__(self) -> str:
        """Data, resamples and the fields that are not as usual; every field is an attribute."""
        said = [
            f"{each.name}={short(getattr(self, each.name))}"
            for each in dataclasses.fields(self)
            if each.name in ("data", "resamples") or getattr(self, each.name) != each.default
        ]
        return f"<StudySpec {', '.join(said)}>"

    def __post_init__(self) -> None:
        """Check every field and fill in what depends on the data."""
        with field("data"):
            data = read_data(self.data)
        embedded = data in figure_names()
        with field("law"):
            law = read_study_law(self.law, data)
        with field("columns"):
            columns = by_quantity("columns", self.columns, columns_for(law), "the name of a column")
            require_own("columns", columns, data)
        with field("units"):
            units = by_quantity("units", self.units, read_units, "the name of a unit")
            require_own("units", units, data)
        with field("bytes_per_token"):
            bytes_per_token = self.bytes_per_token
            if bytes_per_token is not None:
                bytes_per_token = positive_number("bytes_per_token", bytes_per_token)
            require_own("bytes_per_token", bytes_per_token, data)
        for name in ("experiment", "weights", "cluster"):
            with field(name):
                require_name(name, getattr(self, name), self.scheme, data)
        with field("groups"):
            groups = column_names("groups", self.groups)
        choice = self._row_choice()
        for name in (*choice.given, "groups"):
            with field(name):
                require_own(name, name in choice.given or groups, data)
        objective = check_estimator(self)
        with field("rounded"):
            if not isinstance(self.rounded, bool):
                raise UsageError(f"rounded is {short(self.rounded)}; give true or false")
        drop = self.drop_highest_loss
        with field("drop_highest_loss"):
            if drop is None:
                drop = dataset_info(data).drop_highest_loss if embedded else 0
            drop = whole_number("drop_highest_loss", drop)
        with field("resamples"):
            resamples = whole_number("resamples", self.resamples, low=2)
        with field("seed"):
            seed = seed_number(self.seed)
        with field("levels"):
            levels = increasing("levels", number_list("levels", self.levels, low=0.0, high=1.0))
        with field("flops"):
            flops = increasing("flops", number_list("flops", self.flops, low=0.0))
        several = self._several(data)
        interpretations = read_interpretations(data, self.interpretations, several)
        with field("sweeps"):
            sweeps = read_sweeps(self.sweeps)
        set_fields(
            self,
            data=data,
            columns=columns,
            units=units,
            bytes_per_token=bytes_per_token,
            where=choice.where,
            best_of=choice.best_of,
            groups=groups,
            countings=tuple(several.countings.items()),
            losses=tuple(several.losses.items()),
            interpretations=interpretations,
            sweeps=sweeps,
            delta=getattr(objective, "delta", None),
            penalty=getattr(objective, "penalty", None),
            resamples=resamples,
            seed=seed,
            levels=levels,
            flops=flops,
            drop_highest_loss=drop,
        )
        require_size(self)

    def _row_choice(self) -> RowChoice:
        """Which rows are read; each choice is checked by itself, for the place of its error."""
        found = RowChoice(experiment=self.experiment)
        for name in ("where", "best_of", "all_states", "drop_missing", "final", "ignore_flags"):
            with field(name):
                found = dataclasses.replace(found, **{name: getattr(self, name)})
        return found

    def _several(self, data: str) -> Interpretations:
        found = Interpretations()
        for name in ("countings", "losses"):
            with field(name):
                found = dataclasses.replace(found, **{name: getattr(self, name)})
                require_own(name, getattr(found, name), data)
        return found

    @property
    def several(self) -> Interpretations:
        """The countings and losses of a table of your own."""
        return Interpretations(countings=dict(self.countings), losses=dict(self.losses))

    @property
    def n_conditions(self) -> int:
        """How many conditions the study has; they are counted, not made."""
        return len(self.interpretations) + sum(sweep.size for sweep in self.sweeps)

    @property
    def model(self) -> Law:
        """The law that is fitted, as a value."""
        return read_law(self.law)

    @property
    def reading(self) -> dict[str, Any]:
        """How the table is read: what `load_runs` takes for a table of your own."""
        columns = dict(self.columns)
        variables = {name: columns.pop(name, name) for name in self.model.columns}
        return {
            "columns": columns or None,
            "variables": variables,
            "units": dict(self.units) or None,
            "bytes_per_token": self.bytes_per_token,
            "countings": dict(self.countings) or None,
            "losses": dict(self.losses) or None,
            **{name: getattr(self, name) for name in (*_ROWS, "groups")},
        }

    @property
    def fitting_engine(self) -> str:
        """What solvers are told; only the CPU kernel has a reproducible mode."""
        return "lanes" if self.reproducible else self.engine

    @property
    def estimator(self) -> Objective:
        """The objective that the bootstrap minimises, as a value."""
        return read_objective(self.objective, delta=self.delta, penalty=self.penalty)

    @property
    def point_estimators(self) -> tuple[Objective, ...]:
        """The objectives of the point fits."""
        return point_estimators(self.estimator, self.model)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> StudySpec:
        """A spec from plain values, as `to_dict` gives them or as a TOML file holds them.

        Lists of numbers may hold ranges: `{"logspace": [first, last, count]}` (exponents of
        ten) or `linspace`, with `"negative": True` for their negatives.

        Raises:
            UsageError: an unknown field (with the nearest spelling), or one that cannot be used.
        """
        known = [each.name for each in dataclasses.fields(cls)]
        values = dict(fields)
        if not isinstance(values.get("law", _LAW), str | Law):
            with field("law"):
                raise UsageError(f"law is {short(values['law'])}; give the name of a built-in law")
        for name in values:
            if name not in known:
                with field(name):
                    raise unknown_name("field", name, known)
        for name in ("levels", "flops"):
            if name in values:
                with field(name):
                    values[name] = expand_ranges(values[name])
        return cls(**values)

    @classmethod
    def from_record(cls, fields: Mapping[str, Any]) -> StudySpec:
        """A spec as a study directory holds it, of an earlier version too.

        A law of the user's own has no function there, see `laws.own_law.recorded`.

        Raises:
            UsageError: as `from_dict`.
        """
        values = {"boundary": _BEFORE_BOUNDARY} | dict(fields)
        if isinstance(values.get("law"), dict):
            values["law"] = recorded(values["law"])
        return cls.from_dict(values)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], *, law: Law | str | None = None) -> StudySpec:
        """Read a spec from a TOML file with the fields of this class; `sweeps` is an array of tables.

        Lists of numbers may hold ranges, see `from_dict`.

        Args:
            path: the file, or its URL.
            law: in place of the one that the file names.

        Raises:
            UsageError: one line with the file, the line, the field, what was found and what is allowed.
        """
        file = TomlFile(path)
        try:
            return cls.from_dict(file.fields | ({} if law is None else {"law": law}))
        except FieldError as error:
            raise UsageError(f"{file.locate(error.place)}{error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, for JSON; every default spelled out.

        What a study does not have is left out (`columns`, `experiment`, `where`, `weights`, `delta`...), and
        so are those of `_LEFT_OUT` at their defaults.
        """
        fields = {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, ())}
        fields["law"] = stored_law(self.law)
        for name, default in _LEFT_OUT.items():
            if fields[name] == default:
                del fields[name]
        lists: dict[str, Any] = {
            name: list(value) for name, value in fields.items() if isinstance(value, tuple)
        }
        for name in ("columns", "units", "countings", "losses"):
            if fields.get(name):
                lists[name] = dict(getattr(self, name))
        return fields | lists | {"sweeps": [sweep.to_dict() for sweep in self.sweeps]}
