"""The designs, errors and truths on which intervals are judged: one `Row` each, see `rows`.

Errors are of the log loss. Unless a row says otherwise they are normal with a standard deviation of 0.5%,
every run on its own. Residuals of the fitted Chinchilla runs have a robust standard deviation of 0.47%.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import chinchilla_jax as cj
from chinchilla_jax.analysis.coverage_noise import Noise
from chinchilla_jax.bootstrapping.schemes import Cluster
from chinchilla_jax.laws.objectives import huber_location
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

NOISE = 0.005
SEEDS = 3
# A law whose irreducible loss these runs hardly show: a third of the resamples fit best without any.
LOW_FLOOR = cj.ScalingLaw(E=0.3, A=30.0, B=70.0, alpha=0.15, beta=0.16)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A design with its truth and its errors.

    Attributes:
        name: in the tables.
        params, tokens: the design, (n,).
        law: the truth.
        draw: errors of the log loss (n,), from a generator and the number of the data set.
        members: runs that share part of their errors have the same number, (n,); None where none do.
    """

    name: str
    params: Floats
    tokens: Floats
    law: cj.ScalingLaw
    draw: Draw
    members: NDArray[np.int64] | None = None

    @property
    def flops(self) -> float:
        """The budget to prescribe for: ten times the largest."""
        return 10 * float(6 * np.max(self.params * self.tokens))

    def data_set(self, number: int, seed: int) -> cj.Runs:
        """The simulated table of that number, as a user would load it."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode()), number])
        errors = self.draw(rng, number)
        loss = np.asarray(self.law.loss(self.params, self.tokens)) * np.exp(errors)
        flops = 6 * self.params * self.tokens
        return cj.Runs(self.params, self.tokens, flops, loss, name=f"{self.name} {number}")


def isoflop(budgets: int, sizes: int, law: cj.ScalingLaw = BESIROGLU_2024) -> tuple[Floats, Floats]:
    """Sizes from a quarter of to four times the optimal one, at budgets from 10^18 to 10^21 FLOP."""
    flops = np.geomspace(1e18, 1e21, budgets)
    optimal = np.asarray(law.optimal(flops)[0])
    params = (optimal[:, None] * np.geomspace(0.25, 4, sizes)).ravel()
    return params, np.repeat(flops, sizes) / (6 * params)


def grid(sizes: int, counts: int) -> tuple[Floats, Floats]:
    """Every one of the sizes (50M to 2B) with every one of the token counts (1B to 40B)."""
    params, tokens = np.geomspace(5e7, 2e9, sizes), np.geomspace(1e9, 4e10, counts)
    return np.repeat(params, counts), np.tile(tokens, sizes)


def normal(size: Floats | float = NOISE, n: int | None = None) -> Draw:
    """Normal errors of that standard deviation, a number or (n,)."""
    return lambda rng, _: np.asarray(size * rng.standard_normal(n or np.size(size)))


def shared(members: NDArray[np.int64], correlation: float, size: float = NOISE) -> Draw:
    """Normal errors with a part common to each group."""
    count = int(members.max()) + 1

    def draw(rng: np.random.Generator, _: int) -> Floats:
        common, own = rng.standard_normal(count)[members], rng.standard_normal(len(members))
        return np.asarray(size * (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own))

    return draw


def falling(values: Floats) -> Floats:
    """Standard deviations from 1% at the smallest value to 0.3% at the largest, a power of the value."""
    place = np.log(values / values.min()) / np.log(values.max() / values.min())
    return np.asarray(0.01 * 0.3**place)


def outliers(n: int) -> Draw:
    """One run in twenty has an error ten times as large."""
    return lambda rng, _: NOISE * rng.standard_normal(n) * np.where(rng.uniform(size=n) < 0.05, 10.0, 1.0)


def heavy(n: int) -> Draw:
    """Student's t with 2 degrees of freedom, quartiles as of normal errors."""
    return lambda rng, _: NOISE * 0.6745 / 0.8165 * rng.standard_t(2, size=n)


def _chinchilla(correlation: float) -> Row:
    """The 240 runs: their own counts, law and residuals, with that correlation within a size."""
    runs, point = _chinchilla_fit()
    members = Cluster("params").members(runs)
    errors = -(point.residuals - huber_location(point.residuals, 1e-3))
    noise = Noise(errors=errors, shared=((members, correlation),))
    return Row(
        name=f"chinchilla, correlation {correlation:g}",
        params=runs.params,
        tokens=runs.tokens,
        law=point.law,
        draw=lambda _, number: noise.drawn(np.array([number]), 0)[0],
        members=members if correlation else None,
    )


@functools.cache
def _chinchilla_fit() -> tuple[cj.Runs, cj.FitResult]:
    runs = cj.load_runs("chinchilla", params="standard", drop_highest_loss=5)
    return runs, cj.fit(runs, starts=64)


def _plain(name: str, design: tuple[Floats, Floats], draw: Callable[[int], Draw], **more: object) -> Row:
    params, tokens = design
    fields = {"law": BESIROGLU_2024, **more}
    return Row(name=name, params=params, tokens=tokens, draw=draw(len(params)), **fields)  # type: ignore[arg-type]


def rows() -> dict[str, Row]:
    """Every row by name."""
    standard = functools.partial(normal, NOISE)
    forty = isoflop(5, 8)
    seeds = tuple(np.repeat(column, SEEDS) for column in isoflop(4, 5))
    configurations = np.repeat(np.arange(20), SEEDS)
    sizes = np.repeat(np.arange(8), 5)
    found = [
        _plain("isoflop, 12 runs", isoflop(3, 4), standard),
        _plain("isoflop, 20 runs", isoflop(4, 5), standard),
        _plain("isoflop, 40 runs", forty, standard),
        _plain("grid, 20 runs", grid(5, 4), standard),
        _plain("grid, 40 runs", grid(8, 5), standard),
        _plain("errors fall with size", forty, lambda n: normal(falling(forty[0]))),
        _plain("errors fall with compute", forty, lambda n: normal(falling(forty[0] * forty[1]))),
        _plain("5% outliers", forty, outliers),
        _plain("t, 2 degrees", forty, heavy),
        _plain(
            "three seeds each",
            (seeds[0], seeds[1]),
            lambda n: shared(configurations, 0.7),
            members=configurations,
        ),
        _plain("effect of a size", grid(8, 5), lambda n: shared(sizes, 0.7), members=sizes),
        _chinchilla(0.0),
        _chinchilla(0.15),
        _chinchilla(0.3),
        _plain("E at the boundary", isoflop(5, 8, LOW_FLOOR), lambda n: normal(0.01, n), law=LOW_FLOOR),
    ]
    return {row.name: row for row in found}
