"""Which law would have predicted the runs that came later? Backtests of several laws, differences paired."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import NoEstimateError, UsageError
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.laws import CHINCHILLA, read_law
from chinchilla_jax.planning.backtest_rivals import difference_table
from chinchilla_jax.planning.backtesting import Backtest, backtest

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Law

_COLUMNS = ["rival", "from_decades", "n", "error", "covered_new_run", "difference", "low", "high"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawBacktests:
    """Backtests of several laws on the same windows and resamples.

    Attributes:
        backtests: by the name of the law, the reference first.
        table: one row per rival and band of distance: rival (a law), from_decades, n (predictions that the
            reference makes too), error (median of its size), covered_new_run (of all its predictions),
            difference (mean of the size of its errors less that of the reference's: positive where it is
            worse), low, high.
        left_out: laws that were not compared, and why, one sentence each.
    """

    backtests: dict[str, Backtest]
    table: pd.DataFrame
    left_out: tuple[str, ...]

    @property
    def reference(self) -> Backtest:
        """The backtest that the others are compared with."""
        return next(iter(self.backtests.values()))


def backtest_laws(
    data: Runs | TableLike,
    laws: Sequence[Law | str],
    *,
    reference: Law | str = CHINCHILLA,
    level: float = 0.8,
    seed: int = 0,
    **options: Any,
) -> LawBacktests:
    """Backtest several laws, and compare their errors run by run.

    Args:
        data: runs with the variables of all laws, or anything that `load_runs` takes.
        laws: to compare with the reference, by name or themselves.
        reference: the law that they are compared with.
        level: mass of the intervals.
        seed: of the resamples.
        **options: as for `backtest`.

    Raises:
        DataError: the table cannot be read.
        NoEstimateError: the reference has no certified fit in any window.
        UsageError: no limit leaves enough runs below it and any above, or an argument is invalid.
    """
    first, *others = dict.fromkeys(read_law(each) for each in (reference, *laws))
    runs = as_runs(data, "backtest", tuple(dict.fromkeys(n for law in (first, *others) for n in law.columns)))
    found = {first.name: backtest(runs, first, level=level, seed=seed, **options)}
    left_out = []
    for law in others:
        try:
            found[law.name] = backtest(runs, law, level=level, seed=seed, **options)
        except (NoEstimateError, UsageError) as error:
            left_out.append(f"{law.name}: {error}")
    return LawBacktests(
        backtests=found, table=_table(found, first.name, level, seed), left_out=tuple(left_out)
    )


def _table(found: dict[str, Backtest], first: str, level: float, seed: int) -> pd.DataFrame:
    keys = ["window", "row"]
    base = found[first].table
    others = {name: each for name, each in found.items() if name != first}
    losses = {
        name: base[keys].merge(each.table[[*keys, "loss"]], "left", keys)["loss"].to_numpy(np.float64)
        for name, each in others.items()
    }
    table = difference_table(base, losses, level, seed)
    held = [
        each.bands[["from_decades", "covered_new_run"]].assign(rival=name) for name, each in others.items()
    ]
    if not held:
        return table.reindex(columns=_COLUMNS)
    import pandas as pd

    return table.merge(pd.concat(held), "left", ["rival", "from_decades"])[_COLUMNS]
