"""What a question takes as its bootstrap: one that was made, a fit to make it of, or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.fitting.result import FitResult

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike


def as_bootstrap(given: BootstrapResult | FitResult | Runs | TableLike, caller: str) -> BootstrapResult:
    """The bootstrap; that of the runs of a fit, by its own law, objective and weights; or that of a table.

    The last two are made as `bootstrap` makes them where nothing else is said.

    Raises:
        DataError: a table cannot be read.
        UsageError: it is none of these, or a fit that does not have its runs.
    """
    if isinstance(given, BootstrapResult):
        return given
    if isinstance(given, FitResult):
        if given.runs is None:
            raise UsageError(f"{caller}: this fit does not carry its runs; give what cj.bootstrap returns")
        return bootstrap(
            given.runs, given.model, objective=given.objective, weights=given.weights, point=given
        )
    return bootstrap(as_runs(given, caller))
