"""A run under way against the law: where its losses are among those of new runs that end there."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.text import scaled_number
from chinchilla_jax._util.validation import positive_number
from chinchilla_jax.datasets.columns import match_table
from chinchilla_jax.datasets.foreign import unpack
from chinchilla_jax.datasets.meaning import quantity_of
from chinchilla_jax.datasets.quantities import read_columns, read_quantities
from chinchilla_jax.datasets.reading import read_table
from chinchilla_jax.datasets.validation import require_rows
from chinchilla_jax.laws.measured_cost import asked_cost
from chinchilla_jax.planning.prediction import Prediction, loss_texts, predict, share_below
from chinchilla_jax.planning.prediction_places import Places, needed_variables, priced_counts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Cost
    from chinchilla_jax.planning.calibration import Calibration

    Floats = NDArray[np.float64]

VERDICTS = ("below", "inside", "above")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Against:
    """Losses of a run under way, beside what runs of its size end at.

    Attributes:
        table: `Prediction.table`, a row for each row of the run, and observed (its loss), share (of new runs
            that would be below it) and verdict: "below", "inside" or "above" the interval of a new run.
        prediction: at the same places.
    """

    table: pd.DataFrame
    prediction: Prediction

    def __repr__(self) -> str:
        """The sentence."""
        return f"<Against: {self.sentence}>"

    @written_in("chinchilla_jax.plots", "prediction")
    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the run in the predicted band, as `chinchilla_jax.plots.prediction` does."""
        raise NotImplementedError

    @property
    def sentence(self) -> str:
        """Where the last loss is."""
        last = self.table.iloc[-1]
        where = {"inside": "within", "above": "above", "below": "below"}[str(last["verdict"])]
        low, high, observed = loss_texts(last.to_dict())[1]
        return (
            f"after {scaled_number(float(last['tokens']), 4)} tokens the loss is {observed}, {where} the "
            f"{self.prediction.level:.0%} interval of a run that ends there ({low} to {high}); "
            f"{last['share']:.1%} of such runs are below it"
        )


def predict_against(
    boot: BootstrapResult,
    run: TableLike,
    *,
    params: float | None = None,
    level: float = 0.8,
    seed: int = 0,
    calibration: Calibration | None = None,
    cost: Cost | str | None = None,
) -> Against:
    """The losses of a run under way against the law.

    The law describes runs that have ended: before its learning rate has decayed, the losses of a run that
    goes well are above the interval, and come down to it at the end.

    Args:
        boot: a bootstrap of a law of params and tokens.
        run: a table of the run: tokens (or flops) and loss, a row for each evaluation; params too, unless
            given.
        params: size of the run (parameters), for a table without a column for it.
        level: mass of the intervals.
        seed: of the errors of new runs.
        calibration: as for `predict`; the share of runs below is without it.
        cost: as for `predict`.

    Raises:
        DataError: the table cannot be read.
        UsageError: the law needs further variables.
    """
    if needed_variables(boot.point.model):
        raise UsageError(
            f"predict: law {boot.point.model.name} needs further variables of the run; use a law of "
            "params and tokens, or give a table of places"
        )
    priced = asked_cost(cost, boot.point.cost, "predict")
    places, losses = _read(run, params, priced)
    order = np.argsort(places.tokens, kind="stable")
    places = places.take(order)
    found = predict(boot, places, level=level, seed=seed, calibration=calibration, cost=priced)
    observed = losses[order]
    below, above = observed < found.table["new_run_low"], observed > found.table["new_run_high"]
    table = found.table.assign(
        observed=observed,
        share=share_below(boot, places, observed, seed),
        verdict=np.where(below, VERDICTS[0], np.where(above, VERDICTS[2], VERDICTS[1])),
    )
    return Against(table=table, prediction=found)


def _read(run: TableLike, params: float | None, cost: Cost) -> tuple[Places, Floats]:
    table = unpack(read_table(run, "predict"))
    require_rows(table, "add a row per evaluation")
    if params is None:
        positions = match_table(table, by_option=False)
        read = read_quantities(table, positions)
        found = {**priced_counts(read, set(positions), {}, cost), "loss": read["loss"]}
    else:
        size = positive_number("params", params, remedy="give the parameters of the run such as 7e9")
        counted = {quantity_of(name) for name in table.header}
        axis = "flops" if "flops" in counted and "tokens" not in counted else "tokens"
        positions = match_table(table, quantities=(axis, "loss"), by_option=False)
        if axis not in positions:
            raise UsageError(
                f"{table.where}: no column holds the tokens or FLOP of the run so far; name one tokens"
            )
        found = read_columns(table, positions).arrays
        found["params"] = np.full(len(found["loss"]), size)
        if axis == "flops":
            found["tokens"] = cost.tokens(found["flops"], size)
        else:
            found["flops"] = cost.flops(size, found["tokens"])
    return Places(params=found["params"], tokens=found["tokens"], flops=found["flops"]), found["loss"]
