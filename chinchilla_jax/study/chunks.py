"""From a spec to its chunks, the units of work; they do not depend on who computes them, or when.

A chunk is one condition on one range of resamples. The ranges are the same for every condition. They begin at
multiples of one length, and a study that is given more resamples keeps the ranges that it has.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.limits import CHUNKS
from chinchilla_jax.laws import Chinchilla, OwnLaw
from chinchilla_jax.study.numerics import STUDIES
from chinchilla_jax.study.spec.conditions import Condition, plan_conditions
from chinchilla_jax.study.spec.study_spec import StudySpec

# Resamples of a chunk. On two cores 0.3 to 1 s of work: long beside the millisecond that a file costs, short
# enough to lose. The 4,000 of the literature are one chunk.
_LENGTH = 4000
_MOST_WEIGHTS = 2**26  # of a chunk, in bytes: ranges for a large table are shorter
_LEAST_LENGTH = 125


@dataclasses.dataclass(frozen=True, order=True)
class ResampleRange:
    """Resamples `first` to `stop` - 1."""

    first: int
    stop: int

    def __len__(self) -> int:
        """Number of resamples."""
        return self.stop - self.first


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A unit of work: one condition on one range of resamples.

    Attributes:
        index: of the condition in the study.
        condition: what is fitted.
        resamples: on which resamples.
        numerics: of the versions that compute it, see `numerics.STUDIES`.
        key: hex digits, a hash of everything that the numbers depend on.
    """

    index: int
    condition: Condition
    resamples: ResampleRange
    numerics: int
    key: str

    @property
    def stem(self) -> str:
        """How the name of its file begins; sorts in the order of the conditions."""
        return f"part-{self.index:05d}-{self.resamples.first:010d}-{self.key}"


def plan_ranges(resamples: int, n_runs: int, kept: Sequence[ResampleRange] = ()) -> tuple[ResampleRange, ...]:
    """Ranges that cover resamples 0 to `resamples` - 1.

    Args:
        resamples: how many.
        n_runs: runs of the table; many runs make shorter ranges.
        kept: the ranges of a study with fewer resamples, which stay as they are.
    """
    length = _LENGTH
    while length * n_runs > _MOST_WEIGHTS and length > _LEAST_LENGTH:
        length //= 2
    ranges = list(kept)
    first = ranges[-1].stop if ranges else 0
    while first < resamples:
        stop = min((first // length + 1) * length, resamples)
        ranges.append(ResampleRange(first, stop))
        first = stop
    return tuple(ranges)


def require_chunks(spec: StudySpec, ranges: Sequence[ResampleRange]) -> None:
    """Refuse more chunks than `_util.limits.CHUNKS` allows.

    Raises:
        UsageError: there are more.
    """
    CHUNKS.require(
        f"{spec.n_conditions:,} conditions in {len(ranges):,} ranges of resamples",
        spec.n_conditions * len(ranges),
    )


def plan_chunks(
    spec: StudySpec,
    data_hashes: Mapping[str, str],
    ranges: Sequence[ResampleRange],
    numerics: int | None = None,
) -> tuple[Chunk, ...]:
    """Every chunk of `spec`, in the order of the tables.

    Args:
        spec: the study.
        data_hashes: `StudyData.hash` by interpretation.
        ranges: of resamples.
        numerics: of the study, as its record has it; None for a new study.

    Raises:
        UsageError: there are more than `_util.limits.CHUNKS` allows.
    """
    require_chunks(spec, ranges)
    if numerics is None:
        numerics = STUDIES.since(spec.law)
    shared: dict[str, Any] = {
        "numerics": numerics,
        "seed": spec.seed,
        "delta": spec.delta,
        "objective": spec.objective,
        "solver": spec.solver,
        "precision": spec.precision,
        "scheme": spec.scheme,
    }
    if spec.engine != "auto":  # which leaves open what computes each chunk
        shared["engine"] = spec.engine
    if not isinstance(spec.model, Chinchilla):
        shared["law"] = spec.law.fingerprint if isinstance(spec.law, OwnLaw) else spec.law
    if spec.reproducible:
        shared["reproducible"] = True
    for name in ("penalty", "cluster"):
        if getattr(spec, name) is not None:
            shared[name] = getattr(spec, name)
    chunks = []
    for index, condition in enumerate(plan_conditions(spec)):
        for resamples in ranges:
            fields = shared | {
                "data": data_hashes[condition.params],
                "condition": condition.id,
                "block": [resamples.first, resamples.stop],
            }
            key = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
            chunks.append(Chunk(index, condition, resamples, numerics, key))
    return tuple(chunks)


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count` parts of a study, which have no chunk in common.

    Raises:
        UsageError: not 1 <= number <= count.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        """Check both."""
        if not (isinstance(self.number, int) and isinstance(self.count, int)):
            raise UsageError(f"shard {short(self.number)}/{short(self.count)}; give two whole numbers")
        if not 1 <= self.number <= self.count:
            raise UsageError(f"shard {self.number}/{self.count}; give I/N with I from 1 to N, such as 3/40")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "3/40".

        Raises:
            UsageError: not of this form.
        """
        number, slash, count = text.partition("/")
        if not (slash and number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
            raise UsageError(f"shard {short(text)}; give I/N with I from 1 to N, such as 3/40")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        """Such as "3/40"."""
        return f"{self.number}/{self.count}"

    def of(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """The chunks of this part: whole conditions, as long as there are enough of them."""
        conditions = len({chunk.index for chunk in chunks})
        return [
            chunk
            for number, chunk in enumerate(chunks)
            if (chunk.index if conditions >= self.count else number) % self.count == self.number - 1
        ]
