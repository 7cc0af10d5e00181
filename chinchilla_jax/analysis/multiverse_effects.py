"""Which choice of the analyst moves the answer most: the variance between analyses, shared among the choices.

| code  | symbol     | meaning                                                                              |
|-------|------------|--------------------------------------------------------------------------------------|
| share | Sh_i / V   | Shapley effect: the gain c(u + i) - c(u), averaged over the orders in which choices  |
|       |            | can become known; the shares sum to 1                                                |
| alone | S_i        | c(i) / V, the first-order index (Sobol 1993): what one choice explains by itself     |
| total | T_i        | 1 - c(all but i) / V, the total index (Saltelli et al. 2010,                         |
|       |            | doi:10.1016/j.cpc.2009.09.018): what remains open until the choice is known          |
| move  | exp(max m) | between two of its options, over pairs of analyses that agree in every other choice  |

c(u) is the variance that the choices u explain on the finite design (`choice_design`). In a balanced crossed
design alone and total are the textbook indices of an analysis of variance, and alone <= share <= total.

A real multiverse is not balanced: analyses fail, and some choices exist only under another (a delta belongs
to Huber's objective). First-order and total indices then neither sum to 1 nor bound each other; the Shapley
effect (Owen 2014, doi:10.1137/130936233) still splits the variance completely, into shares that are not
negative (Song, Nelson & Staum 2016, doi:10.1137/15M1048070). Choices that failures have tied together share
what they explain in common, so that an idle choice can inherit some; its `total` is 0, as is that of every
choice that the others give away.

A nested choice is never credited for the choice within which it lies. "delta is 0.001" also says "the
objective is Huber's", and plain Shapley effects would give delta half of what the objective does. So only
those orders count in which a choice follows the one it lies within: Shapley's value under precedence
constraints (Faigle & Kern 1992, doi:10.1007/BF01258278). Likewise its `alone` is beyond what the outer choice
explains, and the `total` of an outer choice includes the inner ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from chinchilla_jax._util.validation import share as read_share
from chinchilla_jax.analysis.choice_design import Choice, ChoiceDesign, orders, read_design

if TYPE_CHECKING:
    import pandas as pd

_ROUNDING = 1e-12  # of the variance


def choice_effects(
    choices: pd.DataFrame,
    estimates: ArrayLike,
    *,
    scale: str = "auto",
    nested: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """How much of the variance between n analyses each choice makes, the largest share first.

    Args:
        choices: one row per analysis, one column per choice; a missing cell where a choice does not apply.
        estimates: the answers, (n,); analyses with NaN or an infinity have none and are left out.
        scale: "log", "linear", or "auto": the logarithm where every finite answer is positive.
        nested: from a choice to the one within which it lies, such as {"delta": "objective"}; None to find
            them: a choice with missing cells lies within the first one that decides where they are.

    Returns:
        One row per choice: choice, within (the outer choice, or ""), n_options (that have an answer), share,
        alone, total (shares of the variance; 0 where all answers agree), move, lowest, highest, n_matched.

        `move` is the largest ratio of geometric means between two options (on the linear scale: difference of
        means), `lowest` to `highest`, over `n_matched` pairs that agree in all other choices, each pair being
        averaged over the choices within this one. It is NaN, between None and None, where no two analyses
        differ in this choice alone. In a balanced design it is the ratio of the options' geometric means.

        The shares sum to 1 where no two analyses made the same choices and answered differently.
        `attrs`: scale, n (analyses with an answer), n_left_out, variance (of the answer, on the scale).

    Raises:
        DataError: the arrays do not fit together, or no answer is finite.
        UsageError: an unknown scale or name of a choice, or over 16 choices that vary.

    Example:
        >>> table = pd.DataFrame({"law": ["a", "a", "b", "b"], "rows": ["all", "some", "all", "some"]})
        >>> choice_effects(table, [10.0, 10.0, 20.0, 20.0])[["choice", "share", "move"]]
          choice  share  move
        0    law    1.0   2.0
        1   rows    0.0   1.0
    """
    import pandas as pd

    design = read_design(choices, estimates, scale=scale, nested=nested)
    varied = design.varied()
    indices = _indices(design, varied)
    rows = []
    for choice in design.choices:
        share, alone, total = indices.get(choice.name, (0.0, 0.0, 0.0))
        move = _largest_move(design, choice)
        rows.append(
            {
                "choice": choice.name, "within": choice.parent, "n_options": len(choice.options),
                "share": share, "alone": alone, "total": total, **move._asdict(),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows).sort_values("share", ascending=False, kind="stable", ignore_index=True)
    table.attrs = {
        "scale": design.scale,
        "n": len(design.values),
        "n_left_out": design.n_left_out,
        "variance": design.variance,
    }
    return table


def choice_interactions(
    choices: pd.DataFrame,
    estimates: ArrayLike,
    *,
    scale: str = "auto",
    nested: Mapping[str, str] | None = None,
    least: float = 0.01,
) -> pd.DataFrame:
    """Pairs of choices whose effect together is not the sum of their effects alone, the largest first.

    Args:
        choices: as for `choice_effects`.
        estimates: as for `choice_effects`.
        scale: as for `choice_effects`.
        nested: as for `choice_effects`.
        least: leave out pairs whose share is smaller, in absolute value.

    Returns:
        first, second, share: c(ij) - c(i) - c(j) over the variance, Sobol's second-order index; of nested
        choices, beyond the choices within which they lie. It can be negative only in an unbalanced design:
        the two explain the same variance, and the design cannot tell which of them does.

    Raises:
        DataError: as for `choice_effects`.
        UsageError: as for `choice_effects`.
    """
    import pandas as pd

    smallest = read_share("least", least)
    design = read_design(choices, estimates, scale=scale, nested=nested)
    variance = design.variance
    rows = []
    for first, second in combinations(design.varied() if variance else [], 2):
        outer = (design.above(first) | design.above(second)) - {first, second}
        both, one, other, none = (
            design.explained(outer | known)
            for known in ({first, second}, {first}, {second}, frozenset[str]())
        )
        if first in design.above(second) or second in design.above(first):
            continue  # an inner choice has no effect but that within the outer one
        rows.append((first, second, (both - one - other + none) / variance))
    table = pd.DataFrame(rows, columns=["first", "second", "share"])
    table = table[table["share"].abs() >= max(smallest, _ROUNDING)]
    return table.sort_values("share", key=np.abs, ascending=False, kind="stable", ignore_index=True)


def _indices(design: ChoiceDesign, varied: list[str]) -> dict[str, tuple[float, float, float]]:
    """Share, alone and total of each choice that varies."""
    variance = design.variance
    if not variance:
        return {}
    kept: dict[frozenset[str], float] = {}

    def explained(names: frozenset[str]) -> float:
        if names not in kept:
            kept[names] = design.explained(names) / variance
        return kept[names]

    every = frozenset(varied)
    above = {name: design.above(name) & every for name in varied}
    shares = dict.fromkeys(varied, 0.0)
    for known, name, weight in orders(varied, above):
        shares[name] += weight * (explained(known | {name}) - explained(known))
    found = {}
    for name in varied:
        alone = explained(above[name] | {name}) - explained(above[name])
        total = explained(every) - explained(every - {name} - design.below(name))
        found[name] = _known_zero(shares[name]), _known_zero(alone), _known_zero(total)
    return found


def _known_zero(share: float) -> float:
    """A difference of sums, which is never below 0 but by rounding."""
    return share if share > _ROUNDING else 0.0


class _Move(NamedTuple):
    move: float
    lowest: Any
    highest: Any
    n_matched: int


def _largest_move(design: ChoiceDesign, choice: Choice) -> _Move:
    """The two options that are farthest apart, by the mean over analyses that agree in all else."""
    count = len(choice.options)
    on_log = design.scale == "log"
    if count <= 1:
        only = choice.options[0] if count else None
        return _Move(1.0 if on_log else 0.0, only, only, int(np.sum(choice.codes >= 0)))
    inner = design.below(choice.name) | {choice.name}
    others = frozenset(each.name for each in design.choices if each.name not in inner)
    applies = choice.codes >= 0
    group = np.unique(design.groups(others)[applies], return_inverse=True)[1].reshape(-1)
    cell = group * count + choice.codes[applies]
    size = count * (int(group.max(initial=-1)) + 1)
    counts = np.bincount(cell, minlength=size).reshape(-1, count)
    sums = np.bincount(cell, weights=design.values[applies], minlength=size).reshape(-1, count)
    with np.errstate(invalid="ignore"):
        means = sums / counts
    best = _Move(np.nan, None, None, 0)
    for low, high in combinations(range(count), 2):
        both = (counts[:, low] > 0) & (counts[:, high] > 0)
        if not both.any():
            continue
        apart = float(np.mean(means[both, high] - means[both, low]))
        if best.lowest is None or abs(apart) > best.move:
            ends = (low, high) if apart >= 0 else (high, low)
            best = _Move(abs(apart), choice.options[ends[0]], choice.options[ends[1]], int(both.sum()))
    return best._replace(move=float(np.exp(best.move))) if on_log else best
