"""Table A9 of Hoffmann et al. 2022 (arXiv:2203.15556): the architectures behind the Chinchilla runs.

| code                      | shape | unit                                             |
|---------------------------|-------|--------------------------------------------------|
| reported_params           | (50,) | parameters, whole millions, int64                |
| architecture.*            | (50,) | widths and counts, int64                         |
| params (argument of rows) | (n,)  | parameters as read off Figure 4                  |
| relative_error_percent    | (50,) | 100 (reported - counted) / reported              |

How the counting rules compare with the reported counts (`relative_error_summary()`, in whole millions as in
Schaeffer et al. 2025, arXiv:2509.23963):

- `standard`: mean 7.388%, max 15.245%, min 3.614%: the published 7.4%, 15.2%, 3.6%. Without rounding the
  max is 15.283%, which would be published as 15.3%. All 50 counts differ from the reported ones.
- `best_fit`: max 8.689%, the published 8.7%; the most negative is -3.949%, so the sign does not matter. The
  paper's text says that 6 of the 50 counts differ from the reported ones. In whole millions 21 differ: 14 by
  one million, one by two (11,452 reported, 11,450 counted), and 6 by 26 million or more (reported 664, 816,
  1018, 1266, 2007 and 13,775 million). So 6 is right for counts off by more than 0.3%, not for counts that
  differ at all. The 15 small differences have one sign (the formula is short), as the biases and norms that
  it leaves out would give.
- No rule gives a count that ends on exactly half a million, so how halves are rounded does not matter.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.errors import DataError, UsageError, unknown_name
from chinchilla_jax.datasets.catalogue import embedded_bytes
from chinchilla_jax.datasets.counting import COUNTING_RULES, MILLION, Architecture, round_to_millions

if TYPE_CHECKING:
    import pandas as pd

# Stated for all 50 models by Schaeffer et al. 2025 (arXiv:2509.23963); Table A9 has no such column.
CHINCHILLA_VOCABULARY = 32_168


@dataclasses.dataclass(frozen=True, eq=False)
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

        A count belongs to the model whose reported count it equals after rounding to whole millions. All 245
        embedded runs match exactly; the nearest model is never taken instead.

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


def relative_errors(rules: Iterable[str] | None = None, *, rounded: bool = True) -> pd.DataFrame:
    """Every model of Table A9 counted by every rule, against its reported count.

    Args:
        rules: names out of `COUNTING_RULES`; None for all.
        rounded: whether counts are rounded to whole millions first, as in arXiv:2509.23963.

    Returns:
        One row per rule and model, rule by rule in the order given: model (1 to 50, the row of Table A9),
        reported_params and params (counts), rule, relative_error_percent = 100 (reported - params)/reported,
        positive where the rule counts fewer than reported.

    Raises:
        UsageError: a rule is unknown.
    """
    import pandas as pd

    models = chinchilla_architectures()
    reported = models.reported_params
    frames = []
    for name in _known(rules):
        exact = np.asarray(COUNTING_RULES[name](models.architecture))
        params = round_to_millions(exact) if rounded else exact
        columns = {
            "model": np.arange(1, len(models) + 1),
            "reported_params": reported,
            "rule": name,
            "params": params,
            "relative_error_percent": 100.0 * (reported - params) / reported,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def relative_error_summary(rules: Iterable[str] | None = None, *, rounded: bool = True) -> pd.DataFrame:
    """`relative_errors` in one row per rule.

    Returns:
        Columns rule; mean_percent, max_percent and min_percent of the signed relative error;
        max_absolute_percent; and, always in whole millions, n_exact (models counted as reported), n_different
        (the rest) and n_beyond_two_million (those off by more than that).
    """
    import pandas as pd

    rows = []
    for name, group in relative_errors(rules, rounded=rounded).groupby("rule", sort=False):
        percent = group["relative_error_percent"]
        off = np.abs(group["reported_params"].to_numpy() - round_to_millions(group["params"].to_numpy()))
        rows.append(
            {
                "rule": name,
                "mean_percent": percent.mean(),
                "max_percent": percent.max(),
                "min_percent": percent.min(),
                "max_absolute_percent": percent.abs().max(),
                "n_exact": int((off == 0).sum()),
                "n_different": int((off > 0).sum()),
                "n_beyond_two_million": int((off > 2 * MILLION).sum()),
            }
        )
    return pd.DataFrame(rows)


def _known(rules: Iterable[str] | None) -> list[str]:
    if rules is None:
        return list(COUNTING_RULES)
    names = [rules] if isinstance(rules, str) else list(rules)
    for name in names:
        if name not in COUNTING_RULES:
            raise unknown_name("counting rule", name, COUNTING_RULES)
    if not names:
        raise UsageError(f"no counting rule given; choose from {', '.join(COUNTING_RULES)}")
    return names
