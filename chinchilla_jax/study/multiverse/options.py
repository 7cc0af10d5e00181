"""The choices of an analyst, and the options of each as names: what a multiverse crosses.

| dimension | option                         | meaning                                            |
|-----------|--------------------------------|----------------------------------------------------|
| law       | a name out of `laws.LAWS`      | what is fitted; laws of parameters and tokens alone |
| objective | a name out of `laws.OBJECTIVES` | what a fit minimises                               |
| delta     | a number, or "auto"            | half-width of the zone of huber and raw_huber      |
| counting  | a counting of the table        | which count of parameters is N                     |
| cost      | "6nd", "measured", "attention" | what training costs, see costs.py                  |
| rows      | see rows.py                    | which runs count                                   |
| scheme    | "pairs", "cluster:params", ... | how the runs are resampled                         |

What is defensible, and so the default, is a judgement; it is made here once.

- Laws: the five-parameter law, the same with one exponent (which Gadre et al. 2024 and Muennighoff et al.
  2023 fit), and the one with a power over both terms (Busbridge et al. 2025), which contains it. Not
  kaplan, which has no irreducible loss and which any wide table refutes; not fixed_floor, whose E is
  another table's; not broken and farseer, which have seven and nine parameters, more than most tables
  determine; not over_training, which is equal_exponents in other parameters. Each can be named.
- Objectives: Huber's with four widths, from nearly absolute to the one that the residuals ask for; least
  squares of the log loss, and of the loss itself. Not asymmetric, which fits the edge of the runs and so
  answers another question; not huber_scale, which is least absolute deviations, as huber at 1e-4 nearly is.
- Schemes: runs as drawn by Efron and by Rubin, and whole groups where the residuals of the table's groups
  are correlated. Schemes whose resamples do not have the spread of the estimate (the jackknife, m of n) are
  refused: their draws cannot be pooled with others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.text import list_text
from chinchilla_jax.bootstrapping.schemes import SCHEMES, Cluster, Scheme
from chinchilla_jax.laws import OBJECTIVES, Law, read_law, read_objective
from chinchilla_jax.laws.objectives import AUTO, Delta, HuberScale, Objective, ZonedObjective, is_unresolved

DIMENSIONS = ("law", "objective", "delta", "counting", "cost", "rows", "scheme")
"""The choices, in the order in which specifications are numbered: the last changes fastest."""

LAWS = ("chinchilla", "equal_exponents", "gamma")
OBJECTIVE_NAMES = ("huber", "squared", "raw_squared")
DELTAS: tuple[Delta, ...] = (1e-3, 1e-2, AUTO)
SCHEME_NAMES = ("pairs", "cluster", "bayesian", "wild", "residual")
"""Schemes whose resamples have the spread of the estimate itself."""
COSTS = ("6nd", "measured", "attention")
_OF_DELTA = ("huber", "raw_huber")


@dataclasses.dataclass(frozen=True)
class ObjectiveOption:
    """An objective with the width of its zone.

    Attributes:
        objective: what a fit minimises; its width may be "auto".
        name: its name.
        delta: the width as it was asked for, "0.001" or "auto"; None where it has none to choose.
    """

    objective: Objective
    name: str
    delta: str | None

    @classmethod
    def of(cls, objective: Objective) -> ObjectiveOption:
        """An objective that was given as a value."""
        if objective.name not in _OF_DELTA:
            return cls(objective, objective.name, None)
        width = AUTO if is_unresolved(objective) else getattr(objective, "delta", None)
        return cls(objective, objective.name, None if width is None else delta_text(width))


def delta_text(delta: Delta) -> str:
    """A width as the name of an option."""
    return delta if isinstance(delta, str) else f"{float(delta):g}"


def listed(dimension: str, given: object) -> list[Any]:
    """The options that were given for a dimension, one or more, each once.

    Raises:
        UsageError: none, or one of them twice.
    """
    values: list[Any]
    single = isinstance(given, str | int | float | Law | ZonedObjective | HuberScale | Scheme)
    values = [given] if single or not isinstance(given, Iterable) else list(given)
    if not values:
        raise UsageError(f"multiverse: {dimension} is empty; give one option or more, or leave it out")
    for place, value in enumerate(values):
        if value in values[:place]:
            raise UsageError(f"multiverse: {dimension} has {short(value)} twice; list each option once")
    return values


def read_laws(given: object) -> tuple[Law, ...]:
    """The laws, each of parameters and tokens alone, and with an optimum.

    Raises:
        UsageError: one is unknown, needs another variable, or says nothing of how a budget is divided.
    """
    laws = tuple(read_law(each) for each in listed("laws", LAWS if given is None else given))
    for law in laws:
        if len(law.variables) > 2:
            raise UsageError(
                f"multiverse: law {law.name} predicts from {list_text(law.variables[2:])} too, on which its "
                "answer would depend; give laws of params and tokens"
            )
        if not law.has_optimum:
            raise UsageError(
                f"multiverse: law {law.name} says nothing of how a budget is best divided; give laws of "
                "params and tokens"
            )
    _require_names("laws", [law.name for law in laws])
    return laws


def read_objectives(given: object, deltas: object) -> tuple[ObjectiveOption, ...]:
    """The objectives, those of a zone once for each width.

    Raises:
        UsageError: one is unknown, or widths are given and no objective has one.
    """
    asked = listed("objectives", OBJECTIVE_NAMES if given is None else given)
    widths = listed("deltas", DELTAS if deltas is None else deltas)
    found: list[ObjectiveOption] = []
    for each in asked:
        if not isinstance(each, str):
            found.append(ObjectiveOption.of(read_objective(each)))
        elif each in _OF_DELTA:
            made = [read_objective(each, delta=width) for width in widths]
            found += [
                ObjectiveOption(objective, each, delta_text(width))
                for objective, width in zip(made, widths, strict=True)
            ]
        elif each in OBJECTIVES:
            found.append(ObjectiveOption(read_objective(each), each, None))
        else:
            raise unknown_name("objective", each, OBJECTIVES)
    if deltas is not None and not any(isinstance(each, str) and each in _OF_DELTA for each in asked):
        raise UsageError(
            f"multiverse: deltas are for the objectives {' and '.join(_OF_DELTA)}; leave them out, or add one"
        )
    _require_names("objectives", [f"{each.name} {each.delta}" for each in found])
    return tuple(found)


def read_scheme_option(given: object) -> tuple[str, Scheme]:
    """A scheme and its name, from a value or a text such as "pairs" or "cluster:run".

    Raises:
        UsageError: it is neither, or its resamples have not the spread of the estimate.
    """
    if isinstance(given, Scheme):
        name = scheme_name(given)
        kind = given.name
    elif isinstance(given, str):
        kind, colon, by = given.partition(":")
        name = given
        if kind not in SCHEMES or (colon and (kind != Cluster.name or not by)):
            raise unknown_name("scheme", given, (*SCHEME_NAMES, "cluster:COLUMN"))
    else:
        raise UsageError(f"multiverse: scheme {short(given)}; give a name such as 'pairs'")
    if kind not in SCHEME_NAMES:
        raise UsageError(
            f"multiverse: the resamples of scheme {kind!r} have not the spread of the estimate, so that they "
            f"cannot be pooled with others; use {list_text(SCHEME_NAMES, conjunction='or')}"
        )
    if isinstance(given, Scheme):
        return name, given
    if colon:
        return name, Cluster(by=by)
    return (scheme_name(Cluster()), Cluster()) if kind == Cluster.name else (name, SCHEMES[kind]())


def scheme_name(scheme: Scheme) -> str:
    """The option that a scheme is: "pairs", "cluster:params"."""
    return f"{scheme.name}:{scheme.by}" if isinstance(scheme, Cluster) else scheme.name


def _require_names(dimension: str, names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(
                f"multiverse: {dimension} has two options called {short(name)}, which no table could tell "
                "apart; list each once"
            )
