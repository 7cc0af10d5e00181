"""How well a sweep would answer: the width of its answer, to first order and simulated, under each prior.

| code      | shape | meaning                                                                           |
|-----------|-------|-----------------------------------------------------------------------------------|
| priors    | (P,)  | laws of which one may be true: a published one, or several for a range            |
| noise     | ()    | standard deviation of the log loss of a run                                       |
| linear    | ()    | width of the target's interval to first order, geometric mean over the priors     |
| simulated | ()    | the same of the estimates from simulated tables of each prior                     |
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.datasets import Runs
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.planning.design.exchange import Exchange
from chinchilla_jax.planning.design.information import View
from chinchilla_jax.planning.design.sweeps import Sweep
from chinchilla_jax.planning.design.targets import Reading, Target
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.solvers import Problem, SolverOptions
from chinchilla_jax.solvers.requests import Asking, Request, side_by_side
from chinchilla_jax.solvers.status import is_certified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.scaling_law import ScalingLaw
    from chinchilla_jax.solvers import Solution

    Floats = NDArray[np.float64]

_EFFICIENT = 1.345  # delta over the noise
_LOSS = 0.05  # of precision of Huber's estimator at this delta
_LEAST_DETERMINED = 0.9  # share of the simulated tables that must determine the target
_GROUPS = 8  # of tables, between which the Monte-Carlo error is measured

LEAST_TABLES = math.ceil(2 * _GROUPS / _LEAST_DETERMINED)
"""Simulated tables, below which a width is not measured even where the least share determines it."""


class Judge:
    """Widths of designs under the priors."""

    def __init__(
        self, laws: Sequence[ScalingLaw], target: Target, noise: float, level: float, tables: int, seed: int
    ) -> None:
        """See `new_design`; `tables` are those of each prior."""
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
        width = width_between(known, low, high)
        parts = [width_between(part, low, high) for part in np.array_split(known, _GROUPS)]
        return width, float(np.std(parts, ddof=1) / math.sqrt(_GROUPS)), share


def width_between(values: Floats, low: float, high: float) -> float:
    """From one quantile to another, estimated so that it is not narrower the fewer the values are."""
    return float(np.diff(np.quantile(values, [low, high], method="median_unbiased"))[0])


def _design(law: ScalingLaw, places: Sweep, units: Sweep) -> Design:
    """Places with the losses of a law, in the standardised units of some runs."""
    loss = np.asarray(law.loss(places.params, places.tokens))
    made = CHINCHILLA.design(Runs(params=places.params, tokens=places.tokens, loss=loss))
    of = CHINCHILLA.design(Runs(params=units.params, tokens=units.tokens, loss=np.ones(len(units))))
    u, v = of.standardised(np.log(places.params), np.log(places.tokens))
    return dataclasses.replace(
        made, log_params=u, log_tokens=v, params_location=of.params_location,
        params_scale=of.params_scale, tokens_location=of.tokens_location, tokens_scale=of.tokens_scale,
    )  # fmt: skip
