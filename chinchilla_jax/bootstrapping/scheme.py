"""What every resampling scheme gives: the contract of schemes.py."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chinchilla_jax.datasets import Runs


class Scheme(abc.ABC):
    """A way to resample; frozen values with a name."""

    name: ClassVar[str]
    quantiles: ClassVar[bool] = True
    """Whether quantiles of the resamples mean anything; of a jackknife only the spread does."""

    @abc.abstractmethod
    def weights(self, runs: Runs, resample_ids: NDArray[np.int64], seed: int) -> NDArray[np.generic]:
        """Weights (R, n) of these resamples, each row a function of its id and the seed alone.

        Schemes that draw errors (drawn_errors.py) have none and raise `UsageError`.
        """

    def factor(self, n_runs: int, size: int = 5) -> float:
        """By what deviations from the point are multiplied, for a law of `size` parameters: see above."""
        return 1.0

    def completed(self, n_runs: int, size: int) -> Scheme:
        """The scheme with settings that depend on the numbers of runs and of parameters filled in."""
        return self

    def count(self, runs: Runs, resamples: int) -> int:
        """How many resamples there are when `resamples` are asked for."""
        return resamples
