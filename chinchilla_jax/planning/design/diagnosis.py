"""What the design of a table can tell: how sizes and tokens vary, and where information about a target is.

| code        | symbol | shape | meaning                                                                     |
|-------------|--------|-------|-----------------------------------------------------------------------------|
| correlation |        | ()    | of ln N and ln D over the runs                                              |
| condition   |        | ()    | of the derivatives by the parameters, columns scaled to length one          |
| leverage    | h_i    | (n,)  | share of its own error that the law follows; p in sum                       |
| without     |        | (n,)  | width without a run over that with it, as expected of its size and tokens   |
| gain        |        | (m,)  | share of the width that one run more at a place takes away                  |

Which runs could have been left out: those whose loss widens the target least for their FLOP, one by one,
until the width has grown by a twentieth. Expected widths: no run is dispensable for its large residual.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.text import list_text, scaled_number
from chinchilla_jax.fitting.linear_errors import LinearErrors
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.compute import training_flops, usual_budget
from chinchilla_jax.planning.design.asking import ask, reading_of
from chinchilla_jax.planning.design.candidates import Limits
from chinchilla_jax.planning.design.question import Question
from chinchilla_jax.planning.design.targets import one_target, read_targets
from chinchilla_jax.planning.prediction_places import Places

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.planning.design.targets import Reading, Target

    Floats = NDArray[np.float64]

_WIDER = 1.05  # factor up to which runs are left out
_STEPS = 36  # sizes, and token counts, of the map
_NAMED = 20  # runs of a sentence at most
_BEYOND = 4.0  # factor beyond the runs, either way


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TableDiagnosis:
    """What the design of a table can tell about the first target.

    Attributes:
        correlation: of ln N and ln D.
        condition: of the scaled derivatives; inf where they lack rank.
        runs: one row per run: row (its name in the table), params, tokens, flops, leverage, without,
            left_out (whether it is among those that could have been).
        saved: share of the table's FLOP in these.
        map: one row per place of a grid: params, tokens, flops, gain.
        question: what was asked.
    """

    correlation: float
    condition: float
    runs: pd.DataFrame
    saved: float
    map: pd.DataFrame
    question: Question

    @written_in("chinchilla_jax.plots", "information_map")
    def plot(self, chosen: pd.DataFrame | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw where one run more helps most, as `chinchilla_jax.plots.information_map` does."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """The sentence; the numbers are in the tables."""
        return f"<TableDiagnosis: {self.sentence}>"

    @property
    def sentence(self) -> str:
        """What it comes to, on one line."""
        best = self.map.loc[self.map["gain"].idxmax()]
        count = int(self.runs["left_out"].sum())
        return (
            f"correlation of ln params and ln tokens {self.correlation:.2f}, condition number "
            f"{self.condition:.3g}; {count} of {len(self.runs)} runs with {self.saved:.0%} of the FLOP could "
            f"have been left out for an interval of {self.question.targets[0].label} wider by "
            f"{_WIDER - 1:.0%}; one run more says most at {scaled_number(best['params'], 2)} parameters and "
            f"{scaled_number(best['tokens'], 2)} tokens ({best['gain']:.0%} of the width)"
        )

    @property
    def left_out_sentence(self) -> str:
        """Which runs could have been left out, on one line."""
        names = self.runs["row"][self.runs["left_out"]].tolist()
        return (
            f"could have been left out: {list_text(names, most=_NAMED)}" if names else "every run is needed"
        )


def diagnose_design(data: Runs | TableLike, law: Any = "chinchilla", **given: Any) -> TableDiagnosis:
    """How well the sizes and tokens of a table determine a target, to first order.

    Args:
        data: n runs, or a table of them: anything that `load_runs` takes.
        law: a law or its name.
        **given: target, flops, level, resamples, ... as for `next_runs`.

    Raises:
        DataError: the table cannot be read.
        UsageError: an argument has no meaning, or the law has no such target.
        NoEstimateError: the fit is not certified, or most of the laws lack the target.
    """
    target, flops = given.get("target", "tokens_per_param"), given.get("flops")
    against = given.get("against") is not None
    # Before anything is fitted; the usual budget is one.
    one_target("a diagnosis", read_targets(target, read_law(law), 1.0 if flops is None else flops, against))
    return diagnosis_of(ask(data, law, candidates=_grid, **given))


def diagnose_bootstrap(
    boot: BootstrapResult, *, target: str | Target = "tokens_per_param", flops: float | None = None,
    level: float = 0.8,
) -> TableDiagnosis:  # fmt: skip
    """The same of a bootstrap that is at hand: only derivatives are computed, no law is fitted.

    Args:
        boot: of the runs.
        target: as for `next_runs`.
        flops: the budget of a target that names none, as there.
        level: mass of the intervals.

    Raises:
        UsageError: the bootstrap does not carry its runs, or the law has no such target.
        NoEstimateError: the fit is not certified, or most of the laws lack the target.
    """
    runs = boot.runs
    if runs is None:
        raise UsageError(
            "diagnose_bootstrap: the fits of a study do not carry their runs; bootstrap the table"
        )
    budget = usual_budget(runs.name, training_flops(runs.params, runs.tokens)) if flops is None else flops
    targets = (one_target("a diagnosis", read_targets(target, boot.point.model, budget, against=False)),)
    return _diagnosis(boot, runs, reading_of(boot), targets, level)


def diagnosis_of(asked: Question) -> TableDiagnosis:
    """The same of a question that was asked of the table, whatever its candidates."""
    return _diagnosis(asked.boot, asked.runs, asked.reading, asked.targets, asked.level)


def _diagnosis(
    boot: BootstrapResult, runs: Runs, reading: Reading, targets: tuple[Target, ...], level: float
) -> TableDiagnosis:
    import pandas as pd

    question = Question.of(boot, runs, reading, targets, _grid(runs), Limits(), math.inf, level)
    point = boot.point
    errors = LinearErrors.of(question.problem, point.weights, point.theta)
    now = question.widths(())[0]
    view = question.expected
    without = np.sqrt(view.variances_without_each()[:, 0] / view.variances(view.start)[0])
    left_out = _dispensable(question)
    places = question.places
    return TableDiagnosis(
        correlation=float(np.corrcoef(np.log(runs.params), np.log(runs.tokens))[0, 1]),
        condition=math.inf if errors is None else errors.condition,
        runs=pd.DataFrame(
            {
                "row": [runs.name_row(i) for i in range(len(runs))], "params": runs.params,
                "tokens": runs.tokens, "flops": runs.flops,
                "leverage": np.full(len(runs), np.nan) if errors is None else errors.leverage,
                "without": without, "left_out": left_out,
            }
        ),
        saved=float(runs.flops[left_out].sum() / runs.flops.sum()),
        map=pd.DataFrame(
            {"params": places.params, "tokens": places.tokens, "flops": places.flops,
             "gain": 1 - question.width_with_each(()) / now}
        ),
        question=question,
    )  # fmt: skip


def _grid(runs: Runs) -> Places:
    """A rectangle of sizes and tokens around the runs."""
    sizes, tokens = (
        np.geomspace(values.min() / _BEYOND, values.max() * _BEYOND, _STEPS)
        for values in (runs.params, runs.tokens)
    )
    params, of_tokens = (each.ravel() for each in np.meshgrid(sizes, tokens, indexing="ij"))
    return Places(params=params, tokens=of_tokens, flops=np.asarray(runs.cost.flops(params, of_tokens)))


def _dispensable(question: Question) -> NDArray[np.bool_]:
    """Runs that could have been left out, (n,)."""
    view, flops = question.expected, question.runs.flops
    limit = 2 * np.log(_WIDER) + np.log(view.variances(view.start)[0])
    kept = np.ones(len(flops), bool)
    while kept.sum() > view.runs.shape[1] + 1:
        rows = np.flatnonzero(kept)
        left = view.take(kept)
        with np.errstate(divide="ignore"):
            after = np.log(left.variances_without_each()[:, 0])
        now = np.log(left.variances(left.start)[0])
        price = np.where(after <= limit, np.maximum(after - now, 1e-12) / flops[rows], np.inf)
        if not np.isfinite(price).any():
            break
        kept[rows[np.argmin(price)]] = False
    return ~kept
