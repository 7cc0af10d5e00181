"""Arguments that several commands share: spelled, described and given meaning once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.validation import positive_number

if TYPE_CHECKING:
    from chinchilla_jax import Runs
    from chinchilla_jax.laws.objectives import Objective

DataArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="chinchilla, llama3, or the path of a table (CSV, Parquet, JSON lines).",
        autocompletion=lambda incomplete: [n for n in ("chinchilla", "llama3") if n.startswith(incomplete)],
    ),
]
_COUNT = "as_plotted; for chinchilla also reported, standard, best_fit."
ParamsOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--params",
        "--interpretation",  # its name where --params is the size of a model to plan
        metavar="NAME",
        help=f"Count of the parameters: {_COUNT}",
    ),
]
# Where --params is the size of a model.
InterpretationOption: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help=f"Count of the parameters of DATA: {_COUNT}")
]
ResamplesOption: TypeAlias = Annotated[int, typer.Option(metavar="R", help="How many resamples to fit.")]
SeedOption: TypeAlias = Annotated[int, typer.Option(metavar="S", help="Seed of the resamples.")]
LevelOption: TypeAlias = Annotated[float, typer.Option(metavar="P", help="Probability inside an interval.")]
DropOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--drop-highest-loss",
        metavar="K",
        help="Leave out the K runs of highest loss.  [default: 5 for chinchilla, else 0]",
        show_default=False,
    ),
]
ObjectiveOption: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="What is minimised: huber or huber_scale.")
]
DeltaOption: TypeAlias = Annotated[
    float, typer.Option(metavar="X", help="Half-width of the objective's quadratic zone.")
]
SolverOption: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="newton, optax-lbfgs, jaxopt-lbfgs or jaxopt-bfgs.")
]
ColumnOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="QUANTITY=NAME",
        help="Column of DATA that holds params, tokens, flops or loss, as in loss=val/loss; may be repeated.",
        show_default=False,
    ),
]
ExperimentOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which experiment, where DATA holds several.",
        show_default=False,
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def optional(metavar: str, what: str) -> Any:
    """An option that may be left out, and whose default would say nothing."""
    return typer.Option(metavar=metavar, help=what, show_default=False)


def read_runs(
    data: str,
    params: str,
    drop_highest_loss: int | None,
    column: list[str] | None = None,
    experiment: str | None = None,
) -> Runs:
    """The runs that DATA, --params, --drop-highest-loss, --column and --experiment name."""
    from chinchilla_jax import load_runs

    return load_runs(
        data,
        params=params,
        drop_highest_loss=drop_highest_loss,
        columns=read_columns(column),
        experiment=experiment,
    )


def require_positive(option: str, values: Iterable[float]) -> None:
    """Refuse numbers that are not positive before anything is fitted.

    Raises:
        UsageError: one of `values` is not.
    """
    for value in values:
        positive_number(option, value, remedy="give a number such as 1e24")


def read_columns(given: list[str] | None, option: str = "--column") -> dict[str, str] | None:
    """Quantity to column name, from texts such as "loss=val/loss"; None where there are none."""
    columns: dict[str, str] = {}
    for text in given or ():
        quantity, equals, name = (part.strip() for part in text.partition("="))
        if not equals or not quantity or not name:
            raise UsageError(f"{option} {text!r}: give QUANTITY=NAME, such as loss=val/loss")
        if quantity in columns:
            raise UsageError(f"{option} {quantity}=...: given twice; give each quantity once")
        columns[quantity] = name
    return columns or None


def read_objective(name: str, delta: float) -> Objective:
    """The objective that --objective and --delta name."""
    from chinchilla_jax import Huber, HuberScale

    kinds = {kind.name: kind for kind in (Huber, HuberScale)}
    if name not in kinds:
        raise unknown_name("objective", name, kinds)
    return kinds[name](delta)
