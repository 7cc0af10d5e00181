"""What every resampling scheme gives: the contract of schemes.py."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from chinchilla_jax._util.validation import seed_number
from chinchilla_jax.bootstrapping.weights import checked_ids, leave_one_out
from chinchilla_jax.solvers.drawn import Drawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.solvers.drawn import Row, Weights


class Nested(NamedTuple):
    """Resamples of resamples: counts of m units, the runs or groups of them, are drawn again.

    Attributes:
        counts: of resample ids (R,) and a seed, how often each unit is drawn, (R, m).
        unit_of: unit of each run, (n,).
    """

    counts: Callable[[NDArray[np.integer], int], NDArray[np.uint8]]
    unit_of: NDArray[np.int64]


class Scheme(abc.ABC):
    """A way to resample; frozen values with a name."""

    name: ClassVar[str]
    quantiles: ClassVar[bool] = True
    """Whether quantiles of the resamples mean anything; of a jackknife only the spread does."""
    has_jackknife: ClassVar[bool] = False
    """Whether fits without each run, or group of runs, go with it: what BCa intervals need."""

    @abc.abstractmethod
    def weights(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> NDArray[np.generic]:
        """Weights (R, n) of these resamples, each row a function of its id and the seed alone.

        Schemes that draw errors (drawn_errors.py) have none and raise `UsageError`.
        """

    def row_of(self, runs: Runs) -> Row | None:
        """How a device draws the same rows for itself; None where it cannot, see solvers/drawn.py."""
        return None

    def drawn(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> Weights:
        """`weights`, left to the device where it can draw them."""
        row = self.row_of(runs)
        if row is None:
            return self.weights(runs, resample_ids, seed)
        return Drawn(row, checked_ids(resample_ids), seed_number(seed))

    def factor(self, n_runs: int, size: int = 5) -> float:
        """By what deviations from the point are multiplied, for a law of `size` parameters."""
        return 1.0

    def keeps_spread(self, n_runs: int) -> bool:
        """Whether resamples of so many runs are distributed as the estimate is, without a factor."""
        return self.factor(n_runs) == 1 and self.quantiles

    def without_each(self, runs: Runs) -> NDArray[np.uint8]:
        """Weights (m, n) without each run, or group of runs, in turn."""
        return leave_one_out(len(runs))

    @property
    def text(self) -> str:
        """The scheme in a line: "pairs", "cluster by run"."""
        return self.name

    @property
    def has_nested(self) -> bool:
        """Whether there are resamples of resamples: what studentised intervals need."""
        return False

    def nested(self, runs: Runs) -> Nested:
        """How resamples of resamples are drawn, where there are any."""
        raise NotImplementedError

    def fixed(self, runs: Runs) -> Scheme:
        """What draws the same for the runs of another table in the same order, whatever their counts."""
        return self

    def completed(self, n_runs: int, size: int, weights: NDArray[np.float64] | None = None) -> Scheme:
        """The scheme with settings that depend on the numbers of runs and of parameters filled in.

        Args:
            n_runs: of the table.
            size: parameters of the law.
            weights: of the runs, (n,); those without weight are drawn, and do not count.
        """
        return self

    def count(self, runs: Runs, resamples: int) -> int:
        """How many resamples there are when `resamples` are asked for."""
        return resamples


def scheme_record(scheme: Scheme | str) -> str | dict[str, Any]:
    """A scheme by its name or, where it was given settings, with them: plain values, as JSON has them."""
    if isinstance(scheme, str):
        return scheme
    fields: dict[str, Any] = dataclasses.asdict(scheme) if dataclasses.is_dataclass(scheme) else {}
    plain = {name: np.asarray(value).tolist() for name, value in fields.items() if value is not None}
    return {"scheme": scheme.name, **plain}
