"""Tables that are kept and handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def handed_out(kept: pd.DataFrame) -> pd.DataFrame:
    """A table like `kept`, which no change of it reaches.

    From version 3 on, pandas copies a shallow copy on its first change; before, both had the same memory.
    """
    from pandas import __version__ as version

    return kept.copy(deep=int(version.split(".")[0]) < 3)
