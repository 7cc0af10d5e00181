"""Options of the commands that minimise other things than Huber, and weight the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax.cli.options import read_columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chinchilla_jax import Runs
    from chinchilla_jax.laws.form_objectives import FormObjective

ObjectiveOption: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="What is minimised: huber, squared or asymmetric.")
]
DeltaOption: TypeAlias = Annotated[
    float, typer.Option(metavar="X", help="Half-width of huber's quadratic zone.")
]
PenaltyOption: TypeAlias = Annotated[
    float, typer.Option(metavar="X", help="Penalty of an overestimate under asymmetric.")
]
WeightsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Column of DATA that says how much each run counts.", show_default=False
    ),
]
SchemeOption: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="How to resample: pairs, cluster or bayesian.")
]


def read_objective(name: str, delta: float, penalty: float) -> FormObjective:
    """The objective that --objective, --delta and --penalty name."""
    from chinchilla_jax import Huber
    from chinchilla_jax.fitting.forms import AsymmetricError, Squared

    if name == Huber.name:
        return Huber(delta)
    if name == Squared.name:
        return Squared()
    if name == AsymmetricError.name:
        return AsymmetricError(penalty=penalty)
    raise unknown_name("objective", name, (Huber.name, Squared.name, AsymmetricError.name))


def read_weights(
    data: str,
    weights: str | None,
    drop_highest_loss: int | None,
    column: list[str] | None,
    experiment: str | None,
    runs: Runs,
) -> NDArray[np.float64] | None:
    """The weights of the runs that --weights names, checked against the runs; None without it."""
    if weights is None:
        return None
    from chinchilla_jax.datasets.weights import load_weights
    from chinchilla_jax.fitting.form_fitting import check_weights

    found = load_weights(
        data,
        weights,
        drop_highest_loss=drop_highest_loss,
        columns=read_columns(column),
        experiment=experiment,
    )
    return check_weights(found, len(runs))
