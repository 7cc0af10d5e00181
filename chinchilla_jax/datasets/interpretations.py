"""Several countings and several losses of one table: each pair of columns is an interpretation of its runs.

| given                        | interpretations                                                    |
|------------------------------|--------------------------------------------------------------------|
| countings total, active      | total, active                                                      |
| losses c4, code              | c4, code                                                           |
| both                         | total+c4, total+code, active+c4, active+code                       |

The runs, their tokens and their compute are the same in all of them: recounting a model does not change what
it was trained on. Where the table gives two of params, tokens and flops only, the third follows from the
first counting. The first of all is the plain one, which sweeps perturb and others are compared with.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chinchilla_jax._util.errors import UsageError, short, unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.datasets.runs import Runs

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_TAKEN = ("as_given", "as_plotted")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interpretations:
    """The columns that can be read as params and as loss, each by a name.

    Attributes:
        countings: name to column of counts, the plain one first; empty for a single one.
        losses: name to column of losses, likewise.

    Raises:
        UsageError: a name or a column is not text, a name cannot stand in the id of a condition, or occurs
            twice.
    """

    countings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    losses: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the names."""
        for field in ("countings", "losses"):
            object.__setattr__(self, field, _columns_by_name(field, getattr(self, field)))
        both = set(self.countings) & set(self.losses)
        if both:
            raise UsageError(f"{short(min(both))} names a counting and a loss; give each a name of its own")

    def __bool__(self) -> bool:
        """Whether there is a choice, or a name for what is read."""
        return bool(self.countings or self.losses)

    @property
    def names(self) -> tuple[str, ...]:
        """The interpretations, the plain one first."""
        return tuple(self._parts)

    @property
    def _parts(self) -> dict[str, tuple[str | None, str | None]]:
        """The counting and the loss of each interpretation."""
        return {
            "+".join(part for part in (counting, loss) if part): (counting, loss)
            for counting in self.countings or (None,)
            for loss in self.losses or (None,)
            if counting or loss
        }

    def columns(self, name: str) -> tuple[dict[str, str], str | None]:
        """How an interpretation is read.

        Args:
            name: one of `names`.

        Returns:
            The columns of the plain counting and of this loss, by quantity; and the column that replaces the
            counts then, None where it is the plain one.

        Raises:
            UsageError: there is no such interpretation.
        """
        if name not in self._parts:
            raise unknown_name("interpretation", name, self.names)
        counting, loss = self._parts[name]
        found = {}
        replaced = None
        if counting is not None:
            found["params"] = next(iter(self.countings.values()))
            replaced = self.countings[counting] if self.countings[counting] != found["params"] else None
        if loss is not None:
            found["loss"] = self.losses[loss]
        return found, replaced


class CountErrors(NamedTuple):
    """How far one counting is from the plain one, over the m different models of a table.

    Attributes:
        plain: counts by the plain one, (m,).
        counts: by the other, (m,).
        percent: 100 (plain - counts)/plain, (m,): positive where the other counts fewer.
    """

    plain: NDArray[np.float64]
    counts: NDArray[np.float64]
    percent: NDArray[np.float64]


def count_errors(runs: Mapping[str, Runs]) -> dict[str, CountErrors]:
    """How far countings are from the first of them, by name; those that agree are left out.

    Args:
        runs: the same runs by the name of the counting.
    """
    first, *others = runs
    found = {}
    for name in others:
        plain, counts = np.unique(np.stack([runs[first].params, runs[name].params]), axis=1)
        percent = 100.0 * (plain - counts) / plain
        if np.any(percent != 0):
            found[name] = CountErrors(plain, counts, percent)
    return found


def relative_error_rows(runs: Mapping[str, Runs]) -> list[dict[str, Any]]:
    """`count_errors` in one row each: counting, against, mean_percent, min_percent, max_percent."""
    plain = next(iter(runs))
    return [
        {
            "counting": name,
            "against": plain,
            "mean_percent": float(each.percent.mean()),
            "min_percent": float(each.percent.min()),
            "max_percent": float(each.percent.max()),
        }
        for name, each in count_errors(runs).items()
    ]


def _columns_by_name(field: str, given: Any) -> dict[str, str]:
    what = "countings" if field == "countings" else "losses"
    example = '{"total": "params", "non_embedding": "params_non_embedding"}'
    try:
        columns = {} if given is None else dict(given)
    except (TypeError, ValueError):
        raise UsageError(f"{what} is {short(given)}; give columns by name, such as {example}") from None
    for name, column in columns.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
            raise UsageError(
                f"{what}: {short(name)} cannot be a name; give letters, digits, -, . and _, such as total"
            )
        if not isinstance(column, str) or not column:
            raise UsageError(f"{what}: {name} is {short(column)}; give the name of a column, as in {example}")
    return columns
