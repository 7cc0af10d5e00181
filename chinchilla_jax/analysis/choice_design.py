"""The finite design of a multiverse: which option each analysis took, and the variance that choices explain.

| code      | symbol     | shape  | meaning                                                                  |
|-----------|------------|--------|--------------------------------------------------------------------------|
| values    | y_s        | (n,)   | the answer of analysis s, or its logarithm                               |
| codes     | x_si       | (n, d) | the option that analysis s took in choice i, as a number                 |
| explained | c(u)       | ()     | Var(E[y given x_u]) over the n analyses, each of weight 1/n              |
| within    |            | d sets | the choices that must be known before a choice has a meaning             |

The n analyses are the whole population, not a sample of it: E[y given x_u] is the plain mean over the
analyses that agree in the choices u, so that c(u) needs no model, no estimator and no balance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import DataError, UsageError, short, unknown_name
from chinchilla_jax._util.validation import real_array

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

SCALES = ("auto", "log", "linear")
_MOST_CHOICES = 16  # with more than one option: 2^16 subsets take a minute
_ROUNDING = 1e-24  # of the mean square, below which a variance is that of rounding errors


def scale_of(values: Floats, scale: str) -> str:
    """The scale "log" or "linear": under "auto" the logarithm where every finite value is positive.

    Raises:
        UsageError: an unknown scale, or logarithms asked of a value that has none.
    """
    if scale not in SCALES:
        raise unknown_name("scale", scale, SCALES)
    positive = bool((values[np.isfinite(values)] > 0).all())
    if scale == "log" and not positive:
        raise UsageError("scale='log': some answers are zero or negative; give scale='linear' or 'auto'")
    return ("log" if positive else "linear") if scale == "auto" else scale


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """One choice of the analyst.

    Attributes:
        name: the column of the table of choices.
        codes: the option of each analysis, (n,); -1 where the choice does not apply.
        options: the options that analyses with an answer took, by code.
        parent: the choice that decides whether this one applies; "" for none.
    """

    name: str
    codes: Codes
    options: tuple[Any, ...]
    parent: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceDesign:
    """The analyses that have an answer.

    Attributes:
        choices: in the order of the table, those with one option included.
        values: y, (n,), on the scale.
        scale: "log" or "linear".
        n_left_out: how many analyses have no finite answer, and are in no number.
    """

    choices: tuple[Choice, ...]
    values: Floats
    scale: str
    n_left_out: int

    def explained(self, names: frozenset[str]) -> float:
        """c(u): the variance of y that knowing these choices explains."""
        centred = self.values - self.values.mean()
        group = self.groups(names)
        sums, counts = np.bincount(group, weights=centred), np.bincount(group)
        return float(np.sum(sums[counts > 0] ** 2 / counts[counts > 0]) / len(centred))

    @property
    def variance(self) -> float:
        """Var(y); 0 where the answers differ by rounding errors alone."""
        variance = float(np.var(self.values))
        return variance if variance > _ROUNDING * float(np.mean(self.values**2)) else 0.0

    def groups(self, names: frozenset[str]) -> Codes:
        """A number for each analysis, (n,), equal where two agree in all of these choices."""
        group = np.zeros(len(self.values), dtype=np.int64)
        for choice in self.choices:
            if choice.name in names:
                group = group * (len(choice.options) + 1) + choice.codes + 1
                if group.max(initial=0) > 8 * len(group):
                    group = np.unique(group, return_inverse=True)[1].reshape(-1)
        return group

    def above(self, name: str) -> frozenset[str]:
        """The choices within which a choice lies: its parent, the parent of that, ..."""
        parents = {choice.name: choice.parent for choice in self.choices}
        found: list[str] = []
        while parents[name]:
            name = parents[name]
            found.append(name)
        return frozenset(found)

    def below(self, name: str) -> frozenset[str]:
        """The choices that lie within a choice."""
        return frozenset(each.name for each in self.choices if name in self.above(each.name))

    def varied(self) -> list[str]:
        """The choices in which the analyses differ.

        Raises:
            UsageError: too many for an exact sum over their subsets.
        """
        names = [each.name for each in self.choices if len(np.unique(each.codes)) > 1]
        if len(names) > _MOST_CHOICES:
            raise UsageError(
                f"{len(names)} choices have more than one option; leave columns out until at most "
                f"{_MOST_CHOICES} have"
            )
        return names


def read_design(
    choices: pd.DataFrame,
    estimates: ArrayLike,
    *,
    scale: str = "auto",
    nested: Mapping[str, str] | None = None,
) -> ChoiceDesign:
    """Check a table of choices and its answers.

    Args:
        choices: one row per analysis and one column per choice; a missing cell where a choice does not apply.
        estimates: the answers, (n,); NaN or infinite where an analysis has none.
        scale: "log", "linear", or "auto": the logarithm where every finite answer is positive.
        nested: from a choice to the one within which it lies; None to find them by the missing cells.

    Raises:
        DataError: no table of choices, another number of answers, or no finite answer.
        UsageError: an unknown scale or name, or choices that lie within each other.
    """
    import pandas as pd

    if not isinstance(choices, pd.DataFrame):
        raise DataError(f"choices is {short(choices)}; give a DataFrame with one row per analysis")
    answers = real_array("estimates", estimates).reshape(-1)
    if len(answers) != len(choices):
        raise DataError(
            f"choices has {len(choices)} rows and estimates {len(answers)}; give one for each row"
        )
    kind = scale_of(answers, scale)
    usable = np.isfinite(answers)
    if not usable.any():
        raise DataError("estimates: no analysis has a finite answer; see their statuses")
    columns = [str(name) for name in choices.columns]
    tables = {name: pd.factorize(choices.iloc[:, i]) for i, name in enumerate(columns)}
    parents = _parents({name: codes for name, (codes, _) in tables.items()}, nested)
    found = []
    for name, (codes, options) in tables.items():
        kept = codes[usable].astype(np.int64)
        present = np.unique(kept[kept >= 0])
        renumbered = np.where(kept >= 0, np.searchsorted(present, np.maximum(kept, 0)), -1)
        taken = tuple(list(options)[code] for code in present)
        found.append(Choice(name=name, codes=renumbered, options=taken, parent=parents.get(name, "")))
    values = answers[usable]
    return ChoiceDesign(
        choices=tuple(found),
        values=np.log(values) if kind == "log" else values,
        scale=kind,
        n_left_out=int(np.sum(~usable)),
    )


def _parents(codes: Mapping[str, NDArray[Any]], nested: Mapping[str, str] | None) -> dict[str, str]:
    """The choice within which each nested one lies."""
    if nested is None:
        return dict(_found_parents(codes))
    for pair in nested.items():
        for name in pair:
            if name not in codes:
                raise unknown_name("choice", name, codes)
    for name in nested:
        seen = [name]
        while seen[-1] in nested:
            seen.append(nested[seen[-1]])
            if seen[-1] in seen[:-1]:
                raise UsageError(f"nested: {' in '.join(seen)}; a choice cannot lie within itself")
    return dict(nested)


def _found_parents(codes: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str]]:
    """Nested choices with the first choice that decides where their cells are missing.

    All analyses count here, those without an answer too: or a failure would look like a rule.
    """
    for name, own in codes.items():
        missing = own < 0
        if not missing.any() or missing.all():
            continue
        for parent, other in codes.items():
            if parent != name and (other >= 0).all() and _decides(other, missing):
                yield name, parent
                break


def _decides(codes: NDArray[Any], missing: NDArray[np.bool_]) -> bool:
    """Whether each option has either all or none of the missing cells, and more than one row."""
    counts, hits = np.bincount(codes), np.bincount(codes, weights=missing)
    return bool(np.all((hits == 0) | (hits == counts)) and counts.max() > 1)


def orders(
    names: Sequence[str], above: Mapping[str, frozenset[str]]
) -> Iterator[tuple[frozenset[str], str, float]]:
    """Sets of known choices, the choice learned next, and the share of all permitted orders that do so.

    An order is permitted if every choice comes after those within which it lies. The shares of a choice sum
    to 1. Without nesting they are |u|! (d - |u| - 1)! / d!, Shapley's weights.
    """
    bits = {name: 1 << i for i, name in enumerate(names)}
    needed = {name: sum(bits[each] for each in above[name] if each in bits) for name in names}
    full = (1 << len(names)) - 1

    def addable(known: int) -> list[str]:
        return [name for name in names if not known & bits[name] and needed[name] & ~known == 0]

    ways = {0: 1}  # to reach a set
    for known in range(full):  # every subset comes before its supersets
        if known in ways:
            for name in addable(known):
                ways[known | bits[name]] = ways.get(known | bits[name], 0) + ways[known]
    rest = {full: 1}  # to go on from a set
    for known in sorted(ways, reverse=True)[1:]:
        rest[known] = sum(rest[known | bits[name]] for name in addable(known))
    for known in ways:
        members = frozenset(name for name in names if known & bits[name])
        for name in addable(known):
            yield members, name, ways[known] * rest[known | bits[name]] / ways[full]
