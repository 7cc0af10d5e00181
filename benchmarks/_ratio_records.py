"""The file of ratios over commits, and what is said of a new one."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

RECORDS = Path(__file__).parent / "ratios.csv"
_COMPARED = 5  # records


@dataclasses.dataclass(frozen=True)
class Record:
    """A line of the file: the median of the rounds, and what a tenth of them lies below and above."""

    date: str
    commit: str
    processor: str
    pair: str
    ratio: float
    low: float
    high: float


def read(path: Path) -> list[Record]:
    """All records, oldest first."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [
        Record(
            date=row["date"],
            commit=row["commit"],
            processor=row["processor"],
            pair=row["pair"],
            ratio=float(row["ratio"]),
            low=float(row["low"]),
            high=float(row["high"]),
        )
        for row in rows
    ]


def append(path: Path, records: Iterable[Record]) -> None:
    """Add records; digits beyond the fourth are noise."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if new:
            writer.writerow([field.name for field in dataclasses.fields(Record)])
        for each in records:
            writer.writerow([f"{x:.4g}" if isinstance(x, float) else x for x in dataclasses.astuple(each)])


def compared_with(new: Record, records: list[Record]) -> list[Record]:
    """The last records of the pair: of this processor, or where there are none of any."""
    same = [each for each in records if each.pair == new.pair]
    here = [each for each in same if each.processor == new.processor]
    return (here or same)[-_COMPARED:]


def warning(new: Record, old: Sequence[Record], slower_if: str) -> str | None:
    """A line where a ratio lies outside what has been recorded; `slower_if` it is "higher" or "lower"."""
    if not old:
        return None
    low, high = min(each.low for each in old), max(each.high for each in old)
    if low <= new.ratio <= high:
        return None
    slower = (new.ratio > high) == (slower_if == "higher")
    where = "" if old[-1].processor == new.processor else f", on {old[-1].processor}"
    records = "1 record" if len(old) == 1 else f"{len(old)} records"
    return (
        f"warning: {new.pair} is {'slower' if slower else 'faster'}: {new.ratio:.4g}, recorded {low:.4g} to "
        f"{high:.4g} in {records} since {old[0].commit}{where}"
    )
