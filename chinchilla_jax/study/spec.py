"""What a study is: data, conditions, estimator, resamples. A value to compare, to store and to read back.

| code              | symbol | shape | unit                                             |
|-------------------|--------|-------|--------------------------------------------------|
| resamples         | R      | ()    | bootstrap fits per condition                     |
| levels            |        | (k,)  | share of the resamples that an interval covers   |
| flops             | C      | (m,)  | training FLOP at which prescriptions are wanted  |
| delta             | delta  | ()    | half-width of Huber's quadratic zone, log loss   |
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chinchilla_jax import perturbations
from chinchilla_jax._util.errors import UsageError, closest, short, unknown_name
from chinchilla_jax.datasets import dataset_info, dataset_names
from chinchilla_jax.datasets.load import INTERPRETATIONS
from chinchilla_jax.datasets.runs import QUANTITIES
from chinchilla_jax.perturbations import Perturbation
from chinchilla_jax.solvers import SOLVER_NAMES
from chinchilla_jax.study.checks import increasing, numbers, whole

FAMILIES = tuple(perturbations.FAMILIES)
_LARGEST_SEED = 2**32 - 1  # as in resampling.py
_CHOICES = {
    "objective": ("huber", "huber_scale"),
    "precision": ("mixed", "float64", "float32"),
    # Those that are weights on the same runs, and need no correction for their size.
    "scheme": ("pairs", "bayesian", "cluster"),
}
# Only a perturbation that draws random numbers can be repeated.
RANDOM_FAMILIES = tuple(name for name, family in perturbations.FAMILIES.items() if family.random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """One family of perturbations at several sizes.

    Attributes:
        family: "multiplicative" (c), "additive" (c, parameters), "systematic_bias" (s), "log_normal_noise"
            (sigma); each of these with "coupled_" before it; "tokens_multiplicative" (c), "tokens_additive"
            (c, tokens), "tokens_log_normal_noise" (sigma); "loss_multiplicative" (c), "loss_offset" (c, nats
            per token), "loss_log_normal_noise" (sigma). See `perturbations.FAMILIES`.
        values: the sizes, stored in ascending order, each once.
        repeats: independent draws per size; more than 1 only for noise.

    Raises:
        UsageError: a field cannot be used, or a value is outside the range of its family.
    """

    family: str
    values: tuple[float, ...]
    repeats: int = 1

    def __post_init__(self) -> None:
        """Check and sort."""
        if self.family not in FAMILIES:
            raise unknown_name("perturbation family", self.family, FAMILIES)
        values = tuple(sorted(numbers(f"{self.family} values", self.values, at_least=1)))
        if len(set(values)) < len(values):
            double = next(a for a, b in itertools.pairwise(values) if a == b)
            raise UsageError(f"{self.family} values: {double!r} stands there twice; give each value once")
        _set(self, values=values, repeats=whole(f"{self.family} repeats", self.repeats, low=1))
        if self.repeats > 1 and self.family not in RANDOM_FAMILIES:
            raise UsageError(
                f"{self.family} repeats: {self.repeats} draws of a perturbation without randomness are all "
                f"alike; leave repeats out (it is for {', '.join(RANDOM_FAMILIES)})"
            )
        for value in values:
            self.perturbation(value)

    def perturbation(self, value: float, repeat: int = 0) -> Perturbation:
        """The perturbation of this family with size `value` and draw `repeat`.

        Raises:
            UsageError: the value is outside the range of the family.
        """
        return perturbations.FAMILIES[self.family](value, repeat)

    def perturbations(self) -> Iterator[tuple[Perturbation, int]]:
        """Every perturbation and which draw it is, by value and draw."""
        for value in self.values:
            for repeat in range(self.repeats):
                yield self.perturbation(value, repeat), repeat

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in a TOML file."""
        return {"family": self.family, "values": list(self.values), "repeats": self.repeats}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
    """Two families at every pair of their sizes, for joint maps: `first` is applied first.

    Raises:
        UsageError: both are of one family, or the second would undo the first.
    """

    first: Sweep
    second: Sweep

    def __post_init__(self) -> None:
        """Refuse a family beside itself, and tokens that are perturbed only to be recomputed."""
        if self.first.family == self.second.family:
            raise UsageError(
                f"product: {self.first.family} stands there twice; give two families, or one sweep"
            )
        first, second = (perturbations.FAMILIES[each.family] for each in (self.first, self.second))
        if first.of == "tokens" and second.coupled:
            raise UsageError(
                f"product: {second.name} computes the tokens anew, so {first.name} before it would change "
                f"nothing; put {second.name} first"
            )

    @property
    def family(self) -> str:
        """Both families, joined as in the conditions' ids."""
        return f"{self.first.family}|{self.second.family}"

    def perturbations(self) -> Iterator[tuple[Perturbation, int]]:
        """Every perturbation and which draw it is: by the first value, then the second, then draws."""
        for one, repeat in self.first.perturbations():
            for other, again in self.second.perturbations():
                yield one | other, repeat * self.second.repeats + again

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in a TOML file."""
        return {"product": [self.first.to_dict(), self.second.to_dict()]}


def _default_flops() -> tuple[float, ...]:
    from chinchilla_jax.intervals.tokens_per_param import COMPUTE_GRID

    return tuple(float(c) for c in COMPUTE_GRID)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A robustness study: every condition is fitted on the same resamples of the same runs.

    Attributes:
        data: an embedded name ("chinchilla", "llama3") or the path of a table that `load_runs` reads, kept as
            written. As in `load_runs`, an embedded name wins over a file of that name.
        columns: which column holds which quantity, such as {"loss": "val/loss"}, for a table whose names
            leave it open; kept as pairs, sorted.
        experiment: which rows of a table whose column "experiment" names several; None for all.
        interpretations: counts of the parameters to fit unperturbed; the first is the one the sweeps perturb.
            "chinchilla" has "standard", "reported", "best_fit" and "as_plotted", "llama3" has "as_plotted", a
            table of your own has "as_given". Empty: the first of these.
        sweeps: the perturbations, `Sweep` or `Product`, in the order in which they are to appear.
        objective: what the bootstrap minimises, "huber" or "huber_scale" (which needs the solver "newton");
            point fits are of both.
        delta: half-width of the quadratic zone of both estimators.
        solver: "newton", "optax-lbfgs", "jaxopt-lbfgs" or "jaxopt-bfgs".
        precision: of "newton": "mixed", "float64" or "float32", see `SolverOptions`; the other solvers have
            "mixed", which is to say their own.
        scheme: how resamples are drawn: "pairs", runs with replacement (Efron 1979); "bayesian", Dirichlet
            weights (Rubin 1981); "cluster", whole model sizes with replacement.
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
        UsageError: a field cannot be used; one line with the field, what was found and what is allowed.
    """

    data: str = "chinchilla"
    columns: tuple[tuple[str, str], ...] = ()
    experiment: str | None = None
    interpretations: tuple[str, ...] = ()
    sweeps: tuple[Sweep | Product, ...] = ()
    objective: str = "huber"
    delta: float = 1e-3
    solver: str = "newton"
    precision: str = "mixed"
    scheme: str = "pairs"
    resamples: int = 4000
    seed: int = 0
    levels: tuple[float, ...] = (0.8,)
    flops: tuple[float, ...] = dataclasses.field(default_factory=_default_flops)
    drop_highest_loss: int | None = None
    rounded: bool = True

    def __post_init__(self) -> None:
        """Check every field and fill in what depends on the data."""
        if not isinstance(self.data, str | os.PathLike) or not os.fspath(self.data):
            raise UsageError(f"data: {short(self.data)}; give an embedded name or the path of a table")
        data = os.fsdecode(self.data)
        # Path("chinchilla") is a file to load_runs, and has to stay one when only its text is stored.
        if not isinstance(self.data, str) and data in dataset_names():
            data = os.path.join(os.curdir, data)
        embedded = data in dataset_names()
        columns = _columns(self.columns)
        if self.experiment is not None and (not isinstance(self.experiment, str) or not self.experiment):
            raise UsageError(f"experiment: {short(self.experiment)}; give its name as text")
        if embedded and (columns or self.experiment is not None):
            raise UsageError(
                f"{'columns' if columns else 'experiment'}: for tables of your own; the embedded {data!r} "
                "needs none"
            )
        if self.drop_highest_loss is None:
            drop = dataset_info(data).drop_highest_loss if embedded else 0
        else:
            drop = whole("drop_highest_loss", self.drop_highest_loss, low=0)
        if self.solver not in SOLVER_NAMES:
            raise unknown_name("solver", self.solver, SOLVER_NAMES)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown_name(name, getattr(self, name), allowed)
        if self.solver != "newton" and (self.objective, self.precision) != ("huber", "mixed"):
            raise UsageError(
                f"solver {self.solver!r} minimises huber in its own precision; use 'newton' for objective "
                f"{self.objective!r} and precision {self.precision!r}"
            )
        if not isinstance(self.rounded, bool):
            raise UsageError(f"rounded: {short(self.rounded)}; give true or false")
        _set(
            self,
            data=data,
            columns=columns,
            interpretations=_interpretations(data, self.interpretations),
            sweeps=_sweeps(self.sweeps),
            delta=numbers("delta", (self.delta,), low=0.0)[0],
            resamples=whole("resamples", self.resamples, low=2),
            seed=whole("seed", self.seed, low=0, high=_LARGEST_SEED),
            levels=increasing("levels", numbers("levels", self.levels, at_least=1, low=0.0, high=1.0)),
            flops=increasing("flops", numbers("flops", self.flops, at_least=1, low=0.0)),
            drop_highest_loss=drop,
        )

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> StudySpec:
        """The inverse of `to_dict`.

        Raises:
            UsageError: an unknown field (with the nearest spelling), or one that cannot be used.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        values = dict(fields)
        for name in values:
            if name not in known:
                raise unknown_name("field", name, known)
        if "sweeps" in values:
            values["sweeps"] = _sweeps(values["sweeps"])
        return cls(**values)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> StudySpec:
        """Read a spec from a TOML file; needs pydantic.

        The fields are those of this class, and `sweeps` is an array of tables. Where numbers are listed, a
        table stands for several: `{logspace = [first, last, count]}` (exponents of ten) or `linspace`, with
        `negative = true` for their negatives.

        Raises:
            UsageError: one line with the file, the field, what was found and what is allowed.
            ImportError: pydantic is not installed.
        """
        from chinchilla_jax.study.toml_file import read_toml

        return read_toml(path)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, for JSON; every default spelled out.

        `columns` and `experiment` are left out where the table needs neither.
        """
        fields = dataclasses.asdict(self)
        for name in ("columns", "experiment"):
            if not fields[name]:
                del fields[name]
        lists: dict[str, Any] = {
            name: list(value) for name, value in fields.items() if isinstance(value, tuple)
        }
        if self.columns:
            lists["columns"] = dict(self.columns)
        return fields | lists | {"sweeps": [sweep.to_dict() for sweep in self.sweeps]}


def available_interpretations(data: str) -> tuple[str, ...]:
    """The parameter counts that `data` has, the plain one (without @ in a condition's id) first."""
    if data not in dataset_names():
        return ("as_given",)
    if data == "chinchilla":
        return ("standard", *(name for name in INTERPRETATIONS if name != "standard"))
    return ("as_plotted",)


def paper_study(resamples: int = 4000, seed: int = 0) -> StudySpec:
    """The robustness study of Schaeffer et al. 2025 (arXiv:2509.23963): 224 conditions.

    Its 221 (the unperturbed standard count and four families) and the three other interpretations of the
    count.

    Args:
        resamples: bootstrap fits per condition; 4,000 in the paper.
        seed: of the resamples and of the noise.
    """
    shifts = np.logspace(6.6, 7.6, 5)
    return StudySpec(
        data="chinchilla",
        interpretations=("standard", "reported", "best_fit", "as_plotted"),
        sweeps=(
            Sweep(family="multiplicative", values=_floats(np.logspace(-3, 3, 11))),
            Sweep(family="additive", values=_floats([*-shifts, 0.0, *shifts])),
            Sweep(family="systematic_bias", values=_floats(np.logspace(-0.5, 0.5, 11))),
            Sweep(family="log_normal_noise", values=_floats([0.0, *np.logspace(-0.5, 0.5, 10)]), repeats=17),
        ),
        resamples=resamples,
        seed=seed,
    )


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _set(record: object, **fields: object) -> None:
    for name, value in fields.items():
        object.__setattr__(record, name, value)


def _columns(given: Any) -> tuple[tuple[str, str], ...]:
    try:
        columns = {} if given is None else dict(given)
    except (TypeError, ValueError):
        columns = {None: None}
    for quantity, name in columns.items():
        if not isinstance(quantity, str) or not isinstance(name, str):
            raise UsageError(f"columns: {short(given)}; give the name of a column for each quantity")
        if quantity not in QUANTITIES:
            raise unknown_name("quantity in columns", quantity, QUANTITIES)
    return tuple(sorted(columns.items()))


def _interpretations(data: str, given: Sequence[str]) -> tuple[str, ...]:
    allowed = available_interpretations(data)
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise UsageError(f"interpretations: {short(given)}; give a list out of: {', '.join(allowed)}")
    for name in given:
        if name not in allowed:
            if name in INTERPRETATIONS and data not in dataset_names() and not os.path.exists(data):
                near = closest(data, dataset_names())
                hint = f"; did you mean {near!r}?" if near else ";"
                raise UsageError(
                    f"data: {short(data)} is no embedded table and no file{hint} give one of "
                    f"{', '.join(dataset_names())}, or a path that exists"
                )
            near = closest(name, allowed) if isinstance(name, str) else None
            hint = f"; did you mean {near!r}?" if near else ";"
            raise UsageError(
                f"interpretations: {short(name)} does not exist for data {short(data)}{hint} "
                f"allowed: {', '.join(allowed)}"
            )
    if len(set(given)) < len(given):
        raise UsageError(f"interpretations: {short(list(given), 80)} repeats a name; give each once")
    return tuple(given) or allowed[:1]


def _sweeps(given: Any) -> tuple[Sweep | Product, ...]:
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise UsageError(f"sweeps: {short(given)}; give a list of sweeps")
    sweeps = tuple(_sweep(item) for item in given)
    families = [sweep.family for sweep in sweeps]
    for family in families:
        if families.count(family) > 1:
            raise UsageError(f"sweeps: {family} stands there twice; put all its values into one sweep")
    return sweeps


def _sweep(item: Any) -> Sweep | Product:
    if isinstance(item, Sweep | Product):
        return item
    if not isinstance(item, Mapping):
        raise UsageError(f"sweeps: {short(item)} is no sweep; give Sweep(family=..., values=...)")
    if "product" in item:
        parts = item["product"]
        if len(item) > 1 or isinstance(parts, str | Mapping) or not isinstance(parts, Sequence):
            raise UsageError(f"sweeps: {short(dict(item), 80)}; a product is two sweeps and nothing else")
        factors = [_sweep(part) for part in parts]
        if len(factors) != 2 or not all(isinstance(factor, Sweep) for factor in factors):
            raise UsageError(f"sweeps: a product of {short(list(parts), 80)}; give two sweeps")
        return Product(first=factors[0], second=factors[1])  # type: ignore[arg-type]
    known = [field.name for field in dataclasses.fields(Sweep)]
    for name in item:
        if name not in known:
            raise unknown_name("field of a sweep", name, [*known, "product"])
    for name in ("family", "values"):
        if name not in item:
            raise UsageError(f"sweeps: {short(dict(item), 80)} lacks {name}; give family and values")
    return Sweep(**item)
