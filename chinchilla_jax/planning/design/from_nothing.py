"""A sweep from nothing: how well each kind of design would answer, and at what cost, before any run is made.

| code      | shape | meaning                                                                           |
|-----------|-------|-----------------------------------------------------------------------------------|
| priors    | (P,)  | laws of which one may be true: a published one, or several for a range            |
| noise     | ()    | standard deviation of the log loss of a run                                       |
| linear    | ()    | width of the target's interval to first order, geometric mean over the priors     |
| simulated | ()    | the same of the estimates from simulated tables of each prior                     |

The best design begins with the IsoFLOP one and exchanges its runs for candidates while that narrows the mean
over the priors. A design on a line D = k N^s does not determine the law, whatever its size: its width is
infinite to first order.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.validation import positive_number, resample_count, seed_number
from chinchilla_jax.datasets import Runs
from chinchilla_jax.datasets.reading import read_table
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022, ScalingLaw
from chinchilla_jax.planning.design.exchange import Exchange
from chinchilla_jax.planning.design.information import View
from chinchilla_jax.planning.design.sweeps import (
    Sweep,
    candidates_of,
    grid_sweep,
    isoflop_sweep,
    ladder_sweep,
)
from chinchilla_jax.planning.design.targets import Reading, Target, read_targets
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.solvers import Problem, SolverOptions
from chinchilla_jax.solvers.requests import Asking, Request, side_by_side
from chinchilla_jax.solvers.status import is_certified

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.solvers import Solution

    Floats = NDArray[np.float64]

PARTS = (0.1, 0.3, 1.0)
"""Shares of the allowance at which each design is judged."""
_EFFICIENT = 1.345  # delta over the noise
_LOSS = 0.05  # of precision of Huber's estimator at this delta
_LEAST_DETERMINED = 0.9  # share of the simulated tables that must determine the target
_GROUPS = 8  # of tables, between which the Monte-Carlo error is measured


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class NewDesign:
    """Designs beside each other.

    Attributes:
        table: one row per design and share of the allowance: design, share, runs, flops, linear, simulated,
            error (Monte-Carlo), determined (share of the simulated tables that determine the target).
        runs: the runs of each design at the whole allowance: design, params, tokens, flops, tokens_per_param.
        target: what is to be known.
        level: mass of the intervals.
        noise: standard deviation of the log loss of a run.
    """

    table: pd.DataFrame
    runs: pd.DataFrame
    target: Target
    level: float
    noise: float

    def __repr__(self) -> str:
        """The sentence; the numbers are in the tables."""
        return f"<NewDesign: {self.sentence}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `runs` as CSV, to be edited and judged again as `sweep`.

        Raises:
            UsageError: the file cannot be written.
        """
        target = Path(path)
        try:
            with atomic_write(target) as stream:
                self.runs.to_csv(stream, index=False)
        except OSError as error:
            raise UsageError(f"{target}: cannot be written ({error.strerror}); check the folder") from None

    @property
    def sentence(self) -> str:
        """Which design is best at the whole allowance, on one line."""
        whole = self.table[self.table["share"] == 1.0]
        known = whole[np.isfinite(whole["simulated"])]
        if not len(known):
            return f"no design determines {self.target.text} for this allowance"
        best = known.loc[known["simulated"].idxmin()]
        others = [
            f"{row['design']} {row['simulated']:.3g}"
            for row in known.to_dict("records")
            if row["design"] != best["design"]
        ]
        scale = "log " if self.target.log else ""
        beside = f" ({', '.join(others)})" if others else ""
        return (
            f"{best['runs']} runs of the {best['design']} design give {self.target.text} an interval of "
            f"{scale}width {best['simulated']:.3g}{beside}, for {best['flops']:.3g} FLOP"
        )


def new_design(
    *,
    largest: float,
    allowance: float,
    priors: ScalingLaw | Sequence[ScalingLaw] = (HOFFMANN_2022, BESIROGLU_2024),
    target: str | Target = "tokens_per_param",
    flops: float | None = None,
    noise: float = 0.005,
    sweep: TableLike | None = None,
    level: float = 0.8,
    tables: int = 200,
    seed: int = 0,
) -> NewDesign:
    """IsoFLOP, grid, ladder and exchanged designs beside each other, before any run is made.

    Args:
        largest: most that one run may cost (FLOP).
        allowance: what all may cost together.
        priors: laws of which one may be true.
        target: what is to be known, as for `next_runs`.
        flops: the budget of a target that names none; None for ten times `largest`.
        noise: standard deviation of the log loss of a run.
        sweep: a table of params and tokens to judge beside them: one's own plan.
        level: mass of the intervals.
        tables: simulated tables for each design and prior.
        seed: of their errors.

    Raises:
        DataError: the sweep cannot be read.
        UsageError: an argument has no meaning.
    """
    import pandas as pd

    largest = positive_number("largest", largest, remedy="give FLOP such as 1e20")
    allowance = positive_number("allowance", allowance, remedy="give FLOP such as 1e21")
    if allowance < largest:
        raise UsageError(
            f"allowance {allowance:g} FLOP is less than the largest run costs ({largest:g}); allow more, or "
            "give a smaller largest run"
        )
    noise, tables, seed = positive_number("noise", noise), resample_count("tables", tables), seed_number(seed)
    central_tails(level)
    laws = [priors] if isinstance(priors, ScalingLaw) else list(priors)
    if not laws:
        raise UsageError("new_design: no prior law; give one, such as hoffmann2022")
    (asked,) = read_targets(target, CHINCHILLA, 10 * largest if flops is None else flops, False)
    judge = _Judge(laws, asked, noise, level, tables, seed)
    rows, runs = [], []
    for share in PARTS:
        part = share * allowance
        designs = _designs(laws[0], min(largest, part), part, judge)
        for name, each in designs.items():
            rows.append((name, share, len(each), each.cost, *judge.widths(each)))
            if share == 1.0:
                runs.append((name, each))
    if sweep is not None:
        own = _read_sweep(sweep)
        rows.append(("yours", 1.0, len(own), own.cost, *judge.widths(own)))
        runs.append(("yours", own))
    columns = ["design", "share", "runs", "flops", "linear", "simulated", "error", "determined"]
    frames = [
        pd.DataFrame(
            {"design": name, "params": each.params, "tokens": each.tokens, "flops": each.flops,
             "tokens_per_param": each.tokens / each.params}
        )
        for name, each in runs
    ]  # fmt: skip
    return NewDesign(
        table=pd.DataFrame(rows, columns=columns),
        runs=pd.concat(frames, ignore_index=True),
        target=asked,
        level=level,
        noise=noise,
    )


def _designs(law: ScalingLaw, largest: float, allowance: float, judge: _Judge) -> Mapping[str, Sweep]:
    isoflop = isoflop_sweep(law, largest, allowance)
    return {
        "isoflop": isoflop,
        "grid": grid_sweep(largest, allowance),
        "ladder": ladder_sweep(largest, allowance),
        "exchanged": judge.exchanged(isoflop, candidates_of(law, largest), allowance),
    }


def _read_sweep(sweep: TableLike) -> Sweep:
    """Params and tokens of a plan; a table of runs needs a loss, which a plan does not have yet."""
    from chinchilla_jax.datasets.columns import match_table
    from chinchilla_jax.datasets.foreign import unpack
    from chinchilla_jax.datasets.quantities import read_quantities
    from chinchilla_jax.datasets.validation import require_rows

    table = unpack(read_table(sweep, "new_design"))
    require_rows(table, "add a row per run")
    counts = read_quantities(table, match_table(table, quantities=("params", "tokens"), by_option=False))
    return Sweep(np.asarray(counts["params"]), np.asarray(counts["tokens"]))


class _Judge:
    """Widths of designs under the priors."""

    def __init__(
        self, laws: Sequence[ScalingLaw], target: Target, noise: float, level: float, tables: int, seed: int
    ) -> None:
        self.laws, self.target, self.noise, self.level = laws, target, noise, level
        self.tables, self.seed = tables, seed
        sample = LawSample(laws=laws[0].map(np.atleast_1d), point=laws[0], source="prior")
        self.reading = Reading(sample=sample)

    def exchanged(self, start: Sweep, candidates: Sweep, allowance: float) -> Sweep:
        """A design of as many runs, exchanged for candidates that tell more, within the allowance."""
        both = Sweep(
            np.concatenate([candidates.params, start.params]),
            np.concatenate([candidates.tokens, start.tokens]),
        )
        exchange = Exchange(
            views=[self._view(law, both, start) for law in self.laws], shares=np.ones(1), costs=both.flops
        )
        first = range(len(candidates), len(both))
        chosen = list(exchange.improved(first, allowance))
        return Sweep(both.params[chosen], both.tokens[chosen])

    def widths(self, sweep: Sweep) -> tuple[float, float, float, float]:
        """Linear, simulated, its Monte-Carlo error, and the share of tables with the target."""
        logs = []
        for law in self.laws:
            view = self._view(law, sweep, sweep)
            info = view.after(range(len(sweep)))
            rank = np.linalg.matrix_rank(view.places, tol=1e-8 * np.linalg.norm(view.places))
            full = rank == view.places.shape[1]
            logs.append(0.5 * math.log(view.variances(info)[0]) if full else math.inf)
        scale = 2 * NormalDist().inv_cdf((1 + self.level) / 2) * self.noise / math.sqrt(1 - _LOSS)
        linear = scale * math.exp(np.mean(logs)) if np.isfinite(logs).all() else math.inf
        found = [self._simulated(law, sweep) for law in self.laws]
        determined = float(np.mean([share for _, _, share in found]))
        if determined < _LEAST_DETERMINED:
            return linear, math.inf, math.nan, determined
        widths = np.array([width for width, _, _ in found])
        errors = np.array([error for _, error, _ in found]) / widths
        width = float(np.exp(np.log(widths).mean()))
        return linear, width, width * float(np.sqrt(np.sum(errors**2))) / len(widths), determined

    def _view(self, law: ScalingLaw, places: Sweep, units: Sweep) -> View:
        """Places as candidates of a table without runs."""
        design = _design(law, places, units)
        theta = CHINCHILLA.internal(law.as_dict(), design)
        jacobian = CHINCHILLA.jacobian(theta, design)
        aims = self.reading.gradients([self.target], lambda rows: CHINCHILLA.fitted(rows, design), theta)
        none = np.zeros((0, jacobian.shape[1]))
        alone = np.full(len(places), -1, np.int64)
        empty = np.zeros(0)
        return View.of(none, jacobian, aims, empty, empty, empty, alone[:0], alone, 0.0)

    def _simulated(self, law: ScalingLaw, sweep: Sweep) -> tuple[float, float, float]:
        """Width of the estimates, its Monte-Carlo error, and the share of tables with the target."""
        low, high = central_tails(self.level)
        design = _design(law, sweep, sweep)
        theta = CHINCHILLA.internal(law.as_dict(), design)
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, len(sweep)])))
        errors = self.noise * generator.standard_normal((self.tables, len(sweep)))
        objective = Huber(_EFFICIENT * self.noise)

        def fit(own: Floats) -> Asking[Solution]:
            made = dataclasses.replace(design, log_loss=design.log_loss + own)
            found = yield Request(
                problem=Problem(law=CHINCHILLA, design=made, objective=objective),
                weights=np.ones((1, len(sweep))), starts=[theta[None]],
                options=SolverOptions(wide_start=True),
            )  # fmt: skip
            return found

        ends = side_by_side([fit(own) for own in errors])
        certified = np.array([bool(is_certified(end.status)[0]) for end in ends])
        laws = CHINCHILLA.fitted(np.concatenate([end.theta for end in ends]), design)
        values = np.where(certified, self.reading.values(self.target, laws), np.nan)
        known = values[np.isfinite(values)]
        share = len(known) / self.tables
        if len(known) < 2 * _GROUPS:
            return math.nan, math.nan, share
        width = float(np.diff(np.quantile(known, [low, high]))[0])
        parts = [np.diff(np.quantile(part, [low, high]))[0] for part in np.array_split(known, _GROUPS)]
        return width, float(np.std(parts, ddof=1) / math.sqrt(_GROUPS)), share


def _design(law: ScalingLaw, places: Sweep, units: Sweep) -> Design:
    """Places with the losses of a law, in the standardised units of some runs."""
    loss = np.asarray(law.loss(places.params, places.tokens))
    made = CHINCHILLA.design(Runs(params=places.params, tokens=places.tokens, loss=loss))
    of = CHINCHILLA.design(Runs(params=units.params, tokens=units.tokens, loss=np.ones(len(units))))
    logs = [
        (np.log(values) - location) / scale
        for values, location, scale in (
            (places.params, of.params_location, of.params_scale),
            (places.tokens, of.tokens_location, of.tokens_scale),
        )
    ]
    return dataclasses.replace(
        made, log_params=logs[0], log_tokens=logs[1], params_location=of.params_location,
        params_scale=of.params_scale, tokens_location=of.tokens_location, tokens_scale=of.tokens_scale,
    )  # fmt: skip
