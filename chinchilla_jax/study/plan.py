"""From a spec to its conditions and pieces of work: what is fitted, in which order, under which name.

A piece is one condition on one block of resamples. Blocks are the same for every condition, and a function of
the plan alone: neither of who computes them nor of when. They begin at multiples of one length, and a study
that is given more resamples keeps the blocks it has.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.datasets import Runs
from chinchilla_jax.perturbations import Identity, Perturbation
from chinchilla_jax.study.spec import StudySpec, available_interpretations

# Raised when a change to solvers, starts, resampling or perturbations changes a number that a piece holds:
# older pieces are then not taken for newer ones.
NUMERICS = 3

# Resamples of a block. On two cores 0.3 to 1 s of work: long beside the millisecond that a file costs, short
# enough to lose. The 4,000 of the literature are one block.
_LENGTH = 4000
_MOST_WEIGHTS = 2**26  # of a block, in bytes: blocks of a large table are shorter
_LEAST_LENGTH = 125


@dataclasses.dataclass(frozen=True, order=True)
class Block:
    """Resamples `first` to `stop` - 1."""

    first: int
    stop: int

    def __len__(self) -> int:
        """How many."""
        return self.stop - self.first


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """One set of runs to fit: an interpretation of the counts, perhaps perturbed.

    Attributes:
        id: its name in every table: the perturbation's, such as "multiplicative=0.001" or
            "log_normal_noise=0.31622776601683794#3", or "identity"; then "@" and the interpretation, unless
            that is the plain one of the data ("standard" for "chinchilla").
        family: "identity", or the family of the perturbation; "composition" for two of them.
        value: size of the perturbation in the unit of its family; 0.0 for "identity", which has no size, NaN
            for a composition, whose id has both.
        repeat: which draw, for random families; otherwise 0.
        params: the interpretation of the parameter count.
        perturbation: what to apply to the runs.
    """

    id: str
    family: str
    value: float
    repeat: int
    params: str
    perturbation: Perturbation

    def apply(self, runs: Runs, *, seed: int) -> Runs:
        """`runs`, counted as `params` says, with the perturbation applied."""
        return self.perturbation.apply(runs, seed)


def plan_conditions(spec: StudySpec) -> tuple[Condition, ...]:
    """Every condition of `spec`, in the order of the tables.

    The interpretations come first, unperturbed, then each sweep by rising value and repeat. Sweeps perturb
    the first interpretation.
    """
    plain = available_interpretations(spec.data)[0]

    def condition(perturbation: Perturbation, params: str, repeat: int = 0) -> Condition:
        return Condition(
            id=perturbation.condition + ("" if params == plain else f"@{params}"),
            family=perturbation.family,
            value=perturbation.value,
            repeat=repeat,
            params=params,
            perturbation=perturbation,
        )

    unperturbed = [condition(Identity(), params) for params in spec.interpretations]
    perturbed = [
        condition(perturbation, spec.interpretations[0], repeat)
        for sweep in spec.sweeps
        for perturbation, repeat in sweep.perturbations()
    ]
    return (*unperturbed, *perturbed)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A unit of work: one condition on one block of resamples.

    Attributes:
        index: of the condition in the plan.
        condition: what is fitted.
        block: on which resamples.
        key: hex digits, a hash of all that its numbers depend on.
    """

    index: int
    condition: Condition
    block: Block
    key: str

    @property
    def stem(self) -> str:
        """How the name of its file begins; in the order of the plan."""
        return f"part-{self.index:05d}-{self.block.first:010d}-{self.key}"


def plan_blocks(resamples: int, n_runs: int, kept: Sequence[Block] = ()) -> tuple[Block, ...]:
    """Blocks that cover resamples 0 to `resamples` - 1.

    Args:
        resamples: how many.
        n_runs: runs of the table; many runs make shorter blocks.
        kept: the blocks of a shorter plan, which stay as they are.
    """
    length = _LENGTH
    while length * n_runs > _MOST_WEIGHTS and length > _LEAST_LENGTH:
        length //= 2
    blocks = list(kept)
    first = blocks[-1].stop if blocks else 0
    while first < resamples:
        stop = min((first // length + 1) * length, resamples)
        blocks.append(Block(first, stop))
        first = stop
    return tuple(blocks)


def plan_pieces(
    spec: StudySpec, data_hashes: Mapping[str, str], blocks: Sequence[Block], numerics: int = NUMERICS
) -> tuple[Piece, ...]:
    """Every piece of `spec`, in the order of the tables.

    Args:
        spec: the study.
        data_hashes: hash of the unperturbed runs, by interpretation.
        blocks: of resamples.
        numerics: of the version that fits, or has fitted, them.
    """
    shared = {
        "numerics": numerics,
        "seed": spec.seed,
        "delta": spec.delta,
        "objective": spec.objective,
        "solver": spec.solver,
        "precision": spec.precision,
        "scheme": spec.scheme,
    }
    pieces = []
    for index, condition in enumerate(plan_conditions(spec)):
        for block in blocks:
            fields = shared | {
                "data": data_hashes[condition.params],
                "condition": condition.id,
                "block": [block.first, block.stop],
            }
            key = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
            pieces.append(Piece(index, condition, block, key))
    return tuple(pieces)


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count` parts of a study, which have no piece in common.

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
        """Read "3/40"."""
        number, slash, count = text.partition("/")
        if not (slash and number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
            raise UsageError(f"shard {short(text)}; give I/N with I from 1 to N, such as 3/40")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        """As it is read."""
        return f"{self.number}/{self.count}"

    def of(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces of this part: whole conditions, as long as there are enough of them."""
        conditions = len({piece.index for piece in pieces})
        return [
            piece
            for number, piece in enumerate(pieces)
            if (piece.index if conditions >= self.count else number) % self.count == self.number - 1
        ]
