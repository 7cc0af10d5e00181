"""The model configuration of a grid whose size comes nearest to a wanted one.

| code   | what                                                                                |
|--------|-------------------------------------------------------------------------------------|
| grid   | name of a dimension to its possible values                                          |
| size   | parameters of a configuration, a function of the dimensions by name                 |

Nearest is in the ratio of sizes: 2 N is as far from N as N/2. Among equals the first of the grid wins. A
least size can be asked for, below which no model counts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax.datasets.counting import COUNTING_RULES, Architecture

SizeFunction = Callable[..., float]
_MOST = 2_000_000  # configurations


class ConfigGrid:
    """A grid with the size of each of its configurations, computed once.

    Args:
        grid: dimension to values, at least one of each.
        size: parameters of a configuration given by keyword; None for `transformer_size`.

    Raises:
        UsageError: the grid is empty or too large, or a size is not a positive number.
    """

    def __init__(self, grid: Mapping[str, Sequence[Any]], size: SizeFunction | None = None) -> None:
        """Count every configuration."""
        if not grid or not all(len(values) for values in grid.values()):
            raise UsageError("the grid of configurations is empty; give at least one value per dimension")
        total = math.prod(len(values) for values in grid.values())
        if total > _MOST:
            raise UsageError(f"the grid has {total:,} configurations, more than {_MOST:,}; give fewer values")
        self.names = tuple(grid)
        self._values = [list(values) for values in grid.values()]
        self._shape = tuple(len(values) for values in self._values)
        if size is None:
            sizes = np.asarray(_transformer_sizes(dict(zip(self.names, self._values, strict=True))))
        else:
            combinations = itertools.product(*self._values)
            sizes = np.array([_called(size, self.names, values) for values in combinations])
        self._order = np.argsort(sizes, kind="stable")
        self._logs = np.log(sizes[self._order])
        self._sizes = sizes

    def __len__(self) -> int:
        """Number of configurations."""
        return len(self._sizes)

    def nearest(self, params: float, least: float = 0.0) -> tuple[dict[str, Any], float]:
        """(configuration, its size) nearest to a size, among those of `least` parameters or more.

        Raises:
            UsageError: all are smaller than `least`.
        """
        wanted = math.log(params)
        first = int(np.searchsorted(self._logs, math.log(least))) if least > 0 else 0
        if first == len(self._logs):
            raise UsageError(
                f"the grid's largest model has {np.exp(self._logs[-1]):.4g} parameters, and one of "
                f"{least:.4g} or more is needed; give a grid with larger models"
            )
        right = max(int(np.searchsorted(self._logs, wanted)), first)
        near = [i for i in (right - 1, right) if first <= i < len(self._logs)]
        best = min(near, key=lambda i: abs(self._logs[i] - wanted))
        # The first of those of the same size, in the grid's own order.
        place = int(self._order[int(np.searchsorted(self._logs, self._logs[best]))])
        where = np.unravel_index(place, self._shape)
        config = {name: values[i] for name, values, i in zip(self.names, self._values, where, strict=True)}
        return config, float(self._sizes[place])


def transformer_size(rule: str = "standard") -> SizeFunction:
    """The size of a transformer by a rule of `counting.py`, as a function of its dimensions by name.

    Raises:
        UsageError: the rule is unknown.
    """
    if rule not in COUNTING_RULES:
        raise unknown_name("counting rule", rule, COUNTING_RULES)
    return lambda **dimensions: float(COUNTING_RULES[rule](_architecture(dimensions)))


def _transformer_sizes(grid: dict[str, list[Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`standard` for the whole grid at once."""
    mesh = np.meshgrid(*grid.values(), indexing="ij")
    dimensions = {name: values.ravel() for name, values in zip(grid, mesh, strict=True)}
    return np.asarray(COUNTING_RULES["standard"](_architecture(dimensions)), dtype=np.float64)


def _architecture(dimensions: Mapping[str, Any]) -> Architecture:
    """Dimensions by name; ffw_size is 4 d_model and kv_size d_model / n_heads unless given."""
    given = dict(dimensions)
    allowed = ("d_model", "ffw_size", "kv_size", "n_heads", "n_layers", "vocab_size")
    for name in given:
        if name not in allowed:
            raise unknown_name("dimension", name, allowed)
    needed = [name for name in ("d_model", "n_heads", "n_layers") if name not in given]
    if needed:
        raise UsageError(
            f"the grid lacks {needed[0]}: the transformer counter needs d_model, n_heads, n_layers"
        )
    given.setdefault("ffw_size", 4 * np.asarray(given["d_model"]))
    given.setdefault("kv_size", np.maximum(np.asarray(given["d_model"]) // np.asarray(given["n_heads"]), 1))
    given.setdefault("vocab_size", 32_168)
    return Architecture(**given)


def _called(size: SizeFunction, names: Sequence[str], values: Sequence[Any]) -> float:
    config = dict(zip(names, values, strict=True))
    try:
        found = size(**config)
    except Exception as error:
        raise UsageError(
            f"the size function fails on {short(config, 80)} ({type(error).__name__}: {error}); give one "
            "that takes the grid's dimensions by name"
        ) from error
    try:
        number = float(found)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise UsageError(f"the size of {short(config, 80)} is {short(found)}, expected a positive number")
    return number
