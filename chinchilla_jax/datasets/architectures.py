"""Table A9 of Hoffmann et al. 2022 (arXiv:2203.15556): the architectures behind the Chinchilla runs.

| code                      | shape | unit                                             |
|---------------------------|-------|--------------------------------------------------|
| reported_params           | (50,) | parameters, whole millions, int64                |
| architecture.*            | (50,) | widths and counts, int64                         |
| params (argument of rows) | (n,)  | parameters as read off Figure 4                  |
"""

from __future__ import annotations

import csv
import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import DataError
from chinchilla_jax.datasets.catalogue import embedded_bytes
from chinchilla_jax.datasets.counting import Architecture, round_to_millions

if TYPE_CHECKING:
    import pandas as pd

# Stated for all 50 models by Schaeffer et al. 2025 (arXiv:2509.23963); Table A9 has no such column.
CHINCHILLA_VOCABULARY = 32_168


@dataclasses.dataclass(frozen=True)
class ArchitectureTable:
    """Architectures with the parameter counts reported for them, one entry per model.

    Attributes:
        reported_params: counts as reported (whole millions), int64, shape (m,), read-only.
        architecture: the same models' dimensions, int64 arrays of shape (m,); one vocabulary for all.
    """

    reported_params: NDArray[np.int64]
    architecture: Architecture

    def __len__(self) -> int:
        """Number of models."""
        return len(self.reported_params)

    def rows(self, params: ArrayLike) -> NDArray[np.int64]:
        """Which model each parameter count belongs to.

        A count belongs to the one model whose reported count it equals after rounding to whole millions. That
        is exact for all 245 embedded runs; no nearest match is ever taken.

        Args:
            params: counts, shape (n,).

        Returns:
            Positions in this table, shape (n,).

        Raises:
            DataError: a count matches no model.
        """
        counts = np.asarray(params, dtype=np.float64)
        order = np.argsort(self.reported_params)
        ordered = self.reported_params[order]
        wanted = round_to_millions(counts)
        found = np.clip(np.searchsorted(ordered, wanted), 0, len(self) - 1)
        unmatched = np.flatnonzero(ordered[found] != wanted)
        if unmatched.size:
            raise DataError(
                f"{unmatched.size} of {counts.size} parameter counts (first {counts[unmatched[0]]:g}) match "
                "no reported count of Table A9 in whole millions; join only the embedded Chinchilla runs"
            )
        return order[found]

    def to_frame(self) -> pd.DataFrame:
        """One row per model: reported_params (count) and the dimensions, vocab_size included."""
        import pandas as pd

        return pd.DataFrame(
            {"reported_params": self.reported_params, **dataclasses.asdict(self.architecture)}
        )


@functools.cache
def chinchilla_architectures() -> ArchitectureTable:
    """The 50 models of Table A9 (Hoffmann et al. 2022), with the vocabulary of 32,168."""
    lines = embedded_bytes("chinchilla_architectures").decode().splitlines()
    models = list(csv.DictReader(lines))
    columns = {name: np.array([int(model[name]) for model in models]) for name in models[0]}
    reported = columns.pop("reported_params_millions") * 1_000_000
    reported.setflags(write=False)
    return ArchitectureTable(reported, Architecture(**columns, vocab_size=CHINCHILLA_VOCABULARY))
