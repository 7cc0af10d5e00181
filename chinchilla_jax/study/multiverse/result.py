"""What a multiverse found: one answer for each specification, with its interval."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.cards import Card, ShownInNotebooks
from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax._util.labels import NATS, label_of, percent_text, quantity_label, quantity_text
from chinchilla_jax._util.text import count_text, flops_text, list_text
from chinchilla_jax.analysis import MultiverseAnswer, PooledInterval, curve_facts, multiverse_answer
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.planning.plausibility import ratio_doubt
from chinchilla_jax.solvers import Status
from chinchilla_jax.study.multiverse.fits import JobResult
from chinchilla_jax.study.multiverse.options import DIMENSIONS
from chinchilla_jax.study.multiverse.quantities import QUANTITIES, SUBJECTS, of_answers
from chinchilla_jax.study.multiverse.specifications import Choices, Job

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
_MANY_FAILED = 0.1  # of the resamples of a specification, above which its interval is doubtful


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MultiverseResult(ShownInNotebooks):
    """The answers of every specification.

    Attributes:
        data: name of the table.
        n_runs: all of its runs.
        flops: budgets (FLOP), (F,).
        resamples: of each specification, R.
        seed: of the resamples.
        level: mass of the intervals.
        counting: the counting in which N is stated in every answer, whatever the analysis counted by.
        notes: what a reader must know of the choices, one sentence each.
        default: number of the specification that `cj.bootstrap` makes of the table; None where it is not
            among them.
        options: the options of each dimension.
        answers: gives those of a job.
        loss_unit: unit of the losses, `Runs.loss_unit`.

    Example:
        >>> found = cj.multiverse(runs, flops=1e24, laws=["chinchilla"], objectives=["squared"], rows=["all"],
        ...     schemes=["pairs"], resamples=20)
        >>> found
        <MultiverseResult of chinchilla: 2 specifications x 20 resamples, 0 without an estimate>
        >>> found.draws("tokens_per_param").shape
        (2, 20)
    """

    data: str
    n_runs: int
    flops: Floats
    resamples: int
    seed: int
    level: float
    counting: str
    notes: tuple[str, ...]
    default: int | None
    options: Choices
    answers: Callable[[Job], JobResult]
    loss_unit: str = NATS

    def __len__(self) -> int:
        """Number of specifications."""
        return len(self.options)

    def __repr__(self) -> str:
        """What a reader at a prompt wants to know."""
        return (
            f"<MultiverseResult of {self.data}: {count_text(len(self), 'specification')} x "
            f"{self.resamples:,} resamples, {self.n_failed:,} without an estimate>"
        )

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """The names of the options by dimension: law, objective, delta, counting, cost, rows, scheme."""
        return self.options.names()

    @functools.cached_property
    def specifications(self) -> pd.DataFrame:
        """One row per specification: its number, then its option in each dimension; delta None for none."""
        return self.options.frame()

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row per specification, budget and quantity.

        Columns: specification, law, objective, delta, counting, cost, rows, scheme; n_runs, flops; quantity
        ("tokens_per_param", "params", "tokens" or "loss", of the optimum), estimate (of the point fit), low,
        median, high (of the resamples, percentiles); status (of the point fit), n_converged, n_failed
        (resamples), identified (whether the point fit is certified and has an optimum), doubt ("" for none).
        Numbers are NaN where there is no estimate.
        """
        import pandas as pd

        every: dict[str, Any] = {}
        for job, result in self._results():
            _put(every, self._of_job(job, result), job.specifications.ravel(), len(self))
        count = len(self.flops) * len(QUANTITIES)
        named = self.specifications.loc[self.specifications.index.repeat(count)].reset_index(drop=True)
        numbers = pd.DataFrame({name: values.reshape(-1) for name, values in every.items()})
        columns = [
            "specification", *DIMENSIONS, "n_runs", "flops", "quantity", "estimate", "low", "median", "high",
            "status", "n_converged", "n_failed", "identified", "doubt",
        ]  # fmt: skip
        return pd.concat([named, numbers], axis=1)[columns]

    def draws(self, quantity: str = "tokens_per_param", flops: float | None = None) -> Floats:
        """The resamples of every specification, (n_specifications, R); NaN where a fit is not certified.

        Args:
            quantity: "tokens_per_param", "params", "tokens" or "loss".
            flops: one of the budgets; None where there is one.

        Raises:
            UsageError: there is no such quantity or budget.
        """
        return self._all(quantity, flops)[:, 1:]

    def estimates(self, quantity: str = "tokens_per_param", flops: float | None = None) -> Floats:
        """The point estimates, (n_specifications,); NaN where there is none. Arguments as for `draws`."""
        place = self.place(flops)
        rows = self.table[self.table["quantity"] == _known(quantity)]
        return np.asarray(rows["estimate"].to_numpy().reshape(len(self), -1)[:, place], np.float64)

    def answer(
        self,
        quantity: str = "tokens_per_param",
        flops: float | None = None,
        *,
        reference: float | None = None,
    ) -> MultiverseAnswer:
        """One answer over all specifications: what moves it, its interval, its sentence and its figure.

        Args:
            quantity: "tokens_per_param", "params", "tokens" or "loss".
            flops: one of the budgets; None where there is one.
            reference: a value that intervals may exclude, such as 20 tokens per parameter; None for the
                answer of the default specification.

        Raises:
            UsageError: there is no such quantity or budget.
            DataError: when its numbers are asked for, and no specification has an estimate.
        """
        budget = float(self.flops[self.place(flops)])
        at = f"at {flops_text(budget)} FLOP"
        label = f"optimal_{_known(quantity)}"
        return multiverse_answer(
            self.specifications[list(DIMENSIONS)], self.estimates(quantity, budget),
            self.draws(quantity, budget), default=self.default, reference=reference, level=self.level,
            nested={"delta": "objective"}, subject=f"{SUBJECTS[quantity]} {at}",
            label=f"{quantity_label(label, self.loss_unit)} {at}", is_count=label_of(label).is_count,
        )  # fmt: skip

    def has_answer(self, flops: float | None = None) -> bool:
        """Whether any specification has an estimate at a budget, so that there is an `answer`."""
        return bool(np.isfinite(self.estimates(flops=flops)).any())

    def effects(self, quantity: str = "tokens_per_param", flops: float | None = None) -> pd.DataFrame:
        """How much of the variance between specifications each choice makes: `analysis.choice_effects`."""
        return self.answer(quantity, flops).effects

    def interval(self, quantity: str = "tokens_per_param", flops: float | None = None) -> PooledInterval:
        """The interval over choices and resampling together, see `analysis.pooled_interval`."""
        return self.answer(quantity, flops).interval

    def sentence(self, quantity: str = "tokens_per_param", flops: float | None = None) -> str:
        """What the specifications say of a quantity, which choice moves it, and what resampling adds."""
        return self.answer(quantity, flops).sentence

    def plot(
        self,
        quantity: str = "tokens_per_param",
        flops: float | None = None,
        *,
        axes: Sequence[Axes] | None = None,
    ) -> tuple[Axes, Axes, Axes]:
        """Draw the specification curve, as `plots.specification_curve` does."""
        return self.answer(quantity, flops).plot(axes=axes)

    def place(self, flops: float | None) -> int:
        """The position of a budget.

        Raises:
            UsageError: it is none of the multiverse's.
        """
        asked = ", ".join(f"{each:g}" for each in self.flops)
        if flops is None:
            if len(self.flops) > 1:
                raise UsageError(f"this multiverse has several budgets; give one of flops = {asked}")
            return 0
        found = np.flatnonzero(np.isclose(self.flops, flops, rtol=1e-12))
        if not len(found):
            raise UsageError(f"flops = {short(flops)} is no budget of this multiverse; it has {asked}")
        return int(found[0])

    @functools.cached_property
    def n_failed(self) -> int:
        """How many specifications have no estimate at some budget."""
        return int((~self.table["identified"].to_numpy().reshape(len(self), -1)).any(axis=1).sum())

    def failures(self) -> pd.DataFrame:
        """Why specifications have no estimate: doubt and n, the most frequent first."""
        return _counted(self.table[~self.table["identified"]])

    def _results(self) -> Iterator[tuple[Job, JobResult]]:
        for job in self.options.jobs():
            yield job, self.answers(job)

    def _all(self, quantity: str, flops: float | None) -> Floats:
        """Point fits and resamples, (n_specifications, 1 + R)."""
        name, place = _known(quantity), self.place(flops)
        found = np.empty((len(self), 1 + self.resamples))
        for job, result in self._results():
            found[job.specifications.ravel()] = of_answers(result.answers, name)[:, place]
        return found

    def _of_job(self, job: Job, result: JobResult) -> dict[str, NDArray[Any]]:
        """The columns of `table` but the names of the options, (S, F, quantities) each."""
        facts, shape = result.facts, (job.specifications.size, len(self.flops), len(QUANTITIES))
        values = {name: of_answers(result.answers, name) for name in QUANTITIES}
        ratio = values["tokens_per_param"][..., 0]
        has_answer = (ratio > 0) & np.isfinite(ratio)
        certified = np.array([Status[name].certified for name in facts["status"]])
        failed = np.array(facts["n_failed"])
        columns: dict[str, NDArray[Any]] = {
            name: np.empty(shape) for name in ("estimate", "low", "median", "high")
        }
        for place, name in enumerate(QUANTITIES):
            columns["estimate"][..., place] = np.where(has_answer, values[name][..., 0], np.nan)
            limits = low_median_high(np.moveaxis(values[name][..., 1:], -1, 0), self.level)
            for end, limit in zip(("low", "median", "high"), limits, strict=True):
                columns[end][..., place] = np.where(certified[:, None], limit, np.nan)
        doubts = np.array(
            [
                [
                    self._doubt(facts, spec, float(each) if has else None)
                    for each, has in zip(*row, strict=True)
                ]
                for spec, row in enumerate(zip(ratio, has_answer, strict=True))
            ],
            object,
        ).reshape(shape[:2])
        of_specification = {
            "n_runs": np.array(facts["n_runs"]),
            "status": np.array(facts["status"], object),
            "n_converged": self.resamples - failed,
            "n_failed": failed,
        }
        columns |= {
            name: np.broadcast_to(each[:, None, None], shape) for name, each in of_specification.items()
        }
        columns["flops"] = np.broadcast_to(self.flops[None, :, None], shape)
        columns["quantity"] = np.broadcast_to(np.array(QUANTITIES, object), shape)
        columns["identified"] = np.broadcast_to(has_answer[..., None], shape)
        columns["doubt"] = np.broadcast_to(doubts[..., None], shape)
        return columns

    def _doubt(self, facts: Mapping[str, Sequence[Any]], spec: int, ratio: float | None) -> str:
        """What makes an answer of so many tokens per parameter hard to believe; "" for nothing."""
        if facts["reason"][spec] or ratio is None:
            return facts["reason"][spec] or "no compute-optimal point"
        if facts["n_failed"][spec] > _MANY_FAILED * self.resamples:
            return f"{facts['n_failed'][spec]:,} of {self.resamples:,} resamples have no certified fit"
        return ratio_doubt(ratio) or facts["warning"][spec]

    def _card(self) -> Card:
        rows = [
            (name, str(len(found)), list_text(list(found), 6))
            for name, found in self.choices.items()
            if found
        ]
        said = [self.range_text("tokens_per_param", place) for place in range(len(self.flops))]
        title = f"Multiverse of {self.data}: {len(self):,} specifications x {self.resamples:,} resamples"
        return Card(title, ("choice", "options", "names"), rows, [*said, self.failed_text, *self.notes])

    def range_text(self, quantity: str, place: int) -> str:
        """The span of the estimates of a quantity at a budget, in a sentence."""
        budget = self.flops[place]
        found = self.estimates(quantity, budget)
        label, at = quantity_label(quantity, self.loss_unit), f"at {flops_text(budget)} FLOP"
        if not np.isfinite(found).any():
            return f"{label} {at}: no specification has an estimate."
        facts = curve_facts(found, level=self.level)
        texts = [
            quantity_text(quantity, each)
            for each in (facts.lowest, facts.low, facts.median, facts.high, facts.highest)
        ]
        return (
            f"{label} {at}: {texts[0]} to {texts[4]}, median {texts[2]}, {percent_text(self.level)} of the "
            f"specifications from {texts[1]} to {texts[3]}."
        )

    @property
    def failed_text(self) -> str:
        """How many specifications have no estimate, or a doubtful one, and mostly why."""
        said = []
        if self.n_failed:
            why = self.failures()
            said.append(
                f"{self.n_failed:,} of {len(self):,} specifications ({self.n_failed / len(self):.1%}) have "
                f"no estimate, {_mostly(why)}"
            )
        else:
            said.append("Every specification has an estimate.")
        doubtful = _counted(self.table[self.table["identified"] & (self.table["doubt"] != "")])
        if len(doubtful):
            said.append(f"{doubtful['n'].sum():,} have a doubtful one, {_mostly(doubtful)}")
        return " ".join(said)


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """How many specifications have each doubt, the most frequent first."""
    once = rows.drop_duplicates("specification")
    return once.groupby("doubt", sort=False).size().sort_values(ascending=False).reset_index(name="n")


def _mostly(why: pd.DataFrame) -> str:
    """The most frequent doubt, with how many have it, and a full stop."""
    doubt = str(why["doubt"].iloc[0]).removesuffix(".")
    return f"{int(why['n'].iloc[0]):,} of them because: {doubt}."


def _known(quantity: str) -> str:
    if quantity not in QUANTITIES:
        raise unknown_name("quantity", quantity, QUANTITIES)
    return quantity


def _put(
    every: dict[str, Any], part: Mapping[str, NDArray[Any]], places: NDArray[np.intp], count: int
) -> None:
    """Put the columns of a job into those of all specifications."""
    for name, values in part.items():
        if name not in every:
            every[name] = np.empty((count, *values.shape[1:]), values.dtype)
        every[name][places] = values
