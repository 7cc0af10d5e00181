"""Several laws of the same runs, with a weight for each: what predicts where no law is known to be right.

Made by `analysis.stack_laws`; `planning.predict` takes it in place of a bootstrap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from chinchilla_jax.bootstrapping.result import BootstrapResult


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Ensemble:
    """Bootstraps of K laws of the same runs, and how much each law counts.

    Attributes:
        boots: of each law, all of the same resamples.
        weights: of the laws, (K,), zero or more, with a sum of 1.
        scores: mean log density that each law gives to the log losses of runs it was not fitted to, (K,).
        errors: mean absolute log error of the same runs, (K,).
        held_out: which runs these were, in words.
        weigh: the weights by another method, see `analysis.stacking.METHODS`.
        left_out: laws that are not in it, and why, one sentence each.
    """

    boots: tuple[BootstrapResult, ...]
    weights: NDArray[np.float64]
    scores: NDArray[np.float64]
    errors: NDArray[np.float64]
    held_out: str
    weigh: Callable[[str], NDArray[np.float64]]
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The weights."""
        shares = ", ".join(
            f"{name} {weight:.2f}" for name, weight in zip(self.names, self.weights, strict=True)
        )
        return f"<Ensemble of {len(self.boots)} laws, held out {self.held_out}: {shares}>"

    def reweighed(self, method: str) -> Ensemble:
        """The same fits with the weights of another method."""
        return dataclasses.replace(self, weights=self.weigh(method))

    @property
    def names(self) -> list[str]:
        """The laws."""
        return [boot.point.model.name for boot in self.boots]

    @property
    def table(self) -> pd.DataFrame:
        """One row per law: law, weight, score, error."""
        import pandas as pd

        return pd.DataFrame(
            {"law": self.names, "weight": self.weights, "score": self.scores, "error": self.errors}
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the bootstraps, each once."""
        return tuple(dict.fromkeys(warning for boot in self.boots for warning in boot.warnings))
