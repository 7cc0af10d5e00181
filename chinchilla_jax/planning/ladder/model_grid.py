"""The model of a grid whose size is nearest to a wanted one.

| code   | what                                                                                |
|--------|-------------------------------------------------------------------------------------|
| grid   | name of a dimension to its possible values                                          |
| size   | parameters of a configuration, a function of its dimensions by name                 |

Distance is in the ratio of sizes: 2 N is as far from N as N/2. Of equal distances the first in the grid wins.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError, UsageError, short, unknown_name
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.datasets.architectures import CHINCHILLA_VOCABULARY
from chinchilla_jax.datasets.counting import Architecture, standard

SizeFunction = Callable[..., float]
_MOST = 2_000_000  # configurations
_DIMENSIONS = ("d_model", "ffw_size", "kv_size", "n_heads", "n_layers", "vocab_size")


def read_grid(path: str) -> dict[str, list[Any]]:
    """A grid out of a JSON file: an object of lists.

    Raises:
        DataError: the file cannot be read, or is not JSON.
        UsageError: it holds something else.
    """
    try:
        with open(path, encoding="utf-8") as file:
            grid = json.load(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    if not isinstance(grid, dict) or not all(isinstance(values, list) for values in grid.values()):
        raise UsageError(f'{path}: give an object of lists, such as {{"d_model": [512, 1024], ...}}')
    return grid


class ModelGrid:
    """A grid of configurations with their sizes, counted once.

    Args:
        grid: dimension to values, at least one of each.
        size: parameters of a configuration given by keyword; None counts transformers by
            `counting.standard`.

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
        self._values = {name: list(values) for name, values in grid.items()}
        if size is None:
            self._sizes = _transformer_sizes(self._values)
        else:
            every = itertools.product(*self._values.values())
            self._sizes = np.array([_called(size, dict(zip(grid, each, strict=True))) for each in every])

    def nearest(self, params: float, least: float = 0.0) -> tuple[dict[str, Any], float]:
        """(configuration, its size) nearest to a size, among those with at least `least` parameters.

        Raises:
            UsageError: all are smaller than `least`.
        """
        distance = np.abs(np.log(self._sizes / params))
        place = int(np.where(self._sizes >= least, distance, np.inf).argmin())
        if self._sizes[place] < least:
            raise UsageError(
                f"the grid's largest model has {self._sizes.max():.4g} parameters, and one of {least:.4g} or "
                "more is needed; give a grid with larger models"
            )
        where = np.unravel_index(place, [len(values) for values in self._values.values()])
        config = {name: self._values[name][i] for name, i in zip(self._values, where, strict=True)}
        return config, float(self._sizes[place])


def _transformer_sizes(grid: Mapping[str, list[Any]]) -> NDArray[np.float64]:
    """`standard` for the whole grid; ffw_size is 4 d_model and kv_size d_model / n_heads unless given."""
    for name in grid:
        if name not in _DIMENSIONS:
            raise unknown_name("dimension", name, _DIMENSIONS)
    for name in ("d_model", "n_heads", "n_layers"):
        if name not in grid:
            raise UsageError(f"the grid lacks {name}: transformers need d_model, n_heads and n_layers")
    mesh = np.meshgrid(*grid.values(), indexing="ij")
    given = {name: values.ravel() for name, values in zip(grid, mesh, strict=True)}
    defaults = {
        "ffw_size": 4 * given["d_model"],
        "kv_size": np.maximum(given["d_model"] // given["n_heads"], 1),
        "vocab_size": CHINCHILLA_VOCABULARY,
    }
    return np.asarray(standard(Architecture(**{**defaults, **given})), dtype=np.float64)


def _called(size: SizeFunction, config: dict[str, Any]) -> float:
    try:
        found = size(**config)
    except Exception as error:
        raise UsageError(
            f"the size function fails on {short(config, 80)} ({type(error).__name__}: {error}); give one "
            "that takes the grid's dimensions by name"
        ) from error
    return positive_number(f"the size of {short(config, 80)}", found, remedy="give a positive number")
