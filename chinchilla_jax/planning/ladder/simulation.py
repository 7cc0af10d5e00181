"""Progressive scaling on a known law with noise: how far off is the optimum at the end?

| code        | symbol | shape      | unit                                                              |
|-------------|--------|------------|-------------------------------------------------------------------|
| target      |        | ()         | the true law                                                      |
| replicas    | R      |            | independent repetitions of the whole ladder                       |
| params, ... | N, D   | (R, n)     | runs of each replica: seeds first, then one per scaling step      |
| noise       |        | (n,)       | nats per token, added to the losses of n runs                     |
| error       |        | (R,)       | ln of estimated over true optimal size at the last budget         |

The certified solver of the bootstrap fits all replicas in the same calls. Its lanes share their runs, so a
group of replicas becomes one table, and a lane gives weight 1 to the runs of its replica and 0 to all others:
exactly the fit of that replica, at the price of the group's size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.limits import CONDITIONS, FITS, WEIGHTS
from chinchilla_jax._util.validation import (
    limited_number,
    non_negative_number,
    positive_number,
    seed_number,
)
from chinchilla_jax.datasets import Runs
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, training_flops
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022, PARAMETERS, ScalingLaw
from chinchilla_jax.planning.allocation import allocation
from chinchilla_jax.planning.frontier import compute_overhead
from chinchilla_jax.planning.ladder.seeding import Seeding
from chinchilla_jax.planning.plausibility import has_optimum
from chinchilla_jax.solvers import SolverOptions
from chinchilla_jax.solvers.counted import counted_lanes

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = NDArray[np.float64]
Noise: TypeAlias = Callable[[np.random.Generator, int], Any]
_GROUP = 8  # replicas per table; larger groups cost more than they save
_STARTS = 4


def normal_noise(scale: float) -> Noise:
    """Normal noise of mean 0 and standard deviation `scale` (nats per token) on the loss."""
    width = non_negative_number("scale of the noise", scale, remedy="give 0 or more nats per token")
    return lambda generator, count: width * generator.standard_normal(count)


def exponential_noise(mean: float) -> Noise:
    """Exponential noise of this mean (nats per token): training is never better than the law."""
    width = non_negative_number("mean of the noise", mean, remedy="give 0 or more nats per token")
    return lambda generator, count: width * generator.standard_exponential(count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario(Seeding):
    """A ladder to be simulated. The fields of `Seeding`, and those below.

    The defaults are those documented by the `chinchilla` toolkit (github.com/kyo-takano/chinchilla).

    Attributes:
        steps: scaling steps, each at `factor` times the largest budget so far; 0 or more.
        target: the true law.
        noise: a function of (generator, count) that returns what is added to `count` losses, such as
            `normal_noise` and `exponential_noise`.

    Raises:
        UsageError: a value is out of range.
    """

    flops_range: tuple[float, float] = (1e15, 1e16)
    ratio_range: tuple[float, float] = (10.0, 100.0)
    seeds: int = 401
    steps: int = 1
    factor: float = 10.0
    target: ScalingLaw = HOFFMANN_2022
    noise: Noise = dataclasses.field(default_factory=lambda: exponential_noise(0.1))

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        limited_number("steps", self.steps, CONDITIONS, low=0)
        if self.target.shape or not has_optimum(self.target):
            raise UsageError(f"target is {short(self.target)}; give a single law that has an optimum")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """The replicas of one scenario; NaN where a replica does not count.

    Attributes:
        scenario: what was simulated.
        laws: the last fit of each replica, (R,).
        counted: whether every fit of a replica is certified and has an optimum, (R,).
        flops: the budget at which the errors are taken, (R,).
        spent: training compute of all runs of a replica (FLOP), (R,).
        error: ln(estimated / true optimal params), (R,).
        overhead: compute wasted by training the estimated optimum, under the true law, (R,).
        loss_error: loss predicted at the estimated optimum less the true loss there, (R,).
    """

    scenario: Scenario
    laws: ScalingLaw
    counted: NDArray[np.bool_]
    flops: Floats
    spent: Floats
    error: Floats
    overhead: Floats
    loss_error: Floats

    def summary(self, level: float = 0.8) -> pd.DataFrame:
        """Rows params_error, overhead, loss_error, alpha_error, beta_error; columns low, median, high, n.

        params_error is estimated over true size less 1; n is the number of replicas that count.
        """
        import pandas as pd

        errors = {
            "params_error": np.expm1(self.error),
            "overhead": self.overhead,
            "loss_error": self.loss_error,
            "alpha_error": np.asarray(self.laws.alpha) - self.scenario.target.alpha,
            "beta_error": np.asarray(self.laws.beta) - self.scenario.target.beta,
        }
        n = int(self.counted.sum())
        rows = [
            (name, *(low_median_high(values[self.counted], level) if n else np.full(3, np.nan)), n)
            for name, values in errors.items()
        ]
        return pd.DataFrame(rows, columns=["quantity", "low", "median", "high", "n"])


def simulate(
    scenario: Scenario, *, replicas: int = 400, seed: int = 0, flops: float | None = None
) -> SimulationResult:
    """Climb the ladder `replicas` times on the known law.

    Args:
        scenario: what to simulate.
        replicas: how many, 1 or more.
        seed: replica i depends on (seed, i) alone.
        flops: budget (FLOP) at which the error of the optimum is taken; None for the next one, the factor
            times the largest trained.

    Raises:
        UsageError: an argument is out of range, or the noise gives an unusable loss.
    """
    runs = limited_number("replicas", replicas, FITS) * (scenario.seeds + scenario.steps)
    WEIGHTS.require(f"{replicas:,} replicas of {scenario.seeds + scenario.steps:,} runs", runs)
    seed_number(seed)
    fixed = None if flops is None else positive_number("flops", flops, remedy="give a budget such as 1e20")
    groups = [
        _Group(scenario, range(first, min(first + _GROUP, replicas)), seed)
        for first in range(0, replicas, _GROUP)
    ]
    fits = [group.run() for group in groups]
    laws = ScalingLaw(
        **{name: np.concatenate([getattr(law, name) for law, _ in fits]) for name in PARAMETERS}
    )
    counted = np.concatenate([each for _, each in fits])
    at = np.concatenate([scenario.factor * group.flops.max(axis=1) for group in groups])
    at = at if fixed is None else np.full(replicas, fixed)
    # Laws that do not count get harmless numbers.
    found = allocation(laws.map(lambda values: np.where(counted, values, 1.0)), "flops", at)
    params, tokens = (np.where(counted, found[name], 1e9) for name in ("params", "tokens"))
    target = scenario.target
    errors = {
        "error": np.log(params / np.asarray(target.optimal(at)[0])),
        "overhead": compute_overhead(target, params, tokens),
        "loss_error": found["loss"] - np.asarray(target.loss(params, tokens)),
    }
    return SimulationResult(
        scenario=scenario,
        laws=laws,
        counted=counted,
        flops=at,
        spent=np.concatenate([group.flops.sum(axis=1) for group in groups]),
        **{name: np.where(counted, values, np.nan) for name, values in errors.items()},
    )


def compare_scenarios(
    scenarios: Mapping[str, Scenario],
    *,
    replicas: int = 400,
    seed: int = 0,
    flops: float | None = None,
    level: float = 0.8,
) -> pd.DataFrame:
    """`SimulationResult.summary` of several scenarios on the same random numbers.

    Returns:
        Columns scenario, seeds, flops_low, flops_high, factor, steps, spent (median FLOP of a replica),
        quantity, low, median, high, n, replicas.
    """
    import pandas as pd

    frames = []
    for name, scenario in scenarios.items():
        result = simulate(scenario, replicas=replicas, seed=seed, flops=flops)
        table = result.summary(level)
        described = {
            "scenario": name,
            "seeds": scenario.seeds,
            "flops_low": scenario.flops_range[0],
            "flops_high": scenario.flops_range[1],
            "factor": scenario.factor,
            "steps": scenario.steps,
            "spent": float(np.median(result.spent)),
        }
        columns = [*described, *table.columns, "replicas"]
        frames.append(table.assign(**described, replicas=replicas)[columns])
    return pd.concat(frames, ignore_index=True)


class _Group:
    """A few replicas in one table: their runs, and one lane per replica and start."""

    def __init__(self, scenario: Scenario, replicas: range, seed: int) -> None:
        """Draw the seed runs of every replica, each from its own generator."""
        self.scenario, self.count = scenario, len(replicas)
        self.generators = [
            np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, replica])))
            for replica in replicas
        ]
        # Steps not yet taken hold the first run, with no weight.
        self.params, self.tokens, self.loss = np.empty((3, self.count, scenario.seeds + scenario.steps))
        for row, generator in enumerate(self.generators):
            flops, ratio = scenario.seed_runs(generator.random((scenario.seeds, 2)))
            n = np.sqrt(flops / (FLOPS_PER_PARAM_TOKEN * ratio))
            self._train(row, slice(0, scenario.seeds), n, ratio * n)
        for array in (self.params, self.tokens, self.loss):
            array[:, scenario.seeds :] = array[:, :1]

    @property
    def flops(self) -> Floats:
        """Compute of every run, (R, n)."""
        return training_flops(self.params, self.tokens)

    def run(self) -> tuple[ScalingLaw, NDArray[np.bool_]]:
        """Take every step: the last laws (R,), and whether each replica counts."""
        seeds, steps = self.scenario.seeds, self.scenario.steps
        law, counted = self._fit(seeds)
        for done in range(seeds, seeds + steps):
            budgets = self.scenario.factor * self.flops[:, :done].max(axis=1)
            for row in np.flatnonzero(counted).tolist():
                n, d = law[row].optimal(budgets[row])
                self._train(row, slice(done, done + 1), np.array([n]), np.array([d]))
            law, usable = self._fit(done + 1)
            counted &= usable
        return law, counted

    def _train(self, row: int, place: slice, n: Floats, d: Floats) -> None:
        added = np.asarray(self.scenario.noise(self.generators[row], len(n)), dtype=np.float64)
        fits = added.shape in ((), (len(n),))
        loss = np.asarray(self.scenario.target.loss(n, d)) + (added if fits else np.nan)
        if not (np.isfinite(loss) & (loss > 0)).all():
            raise UsageError(
                f"the noise gave {short(added)} for {len(n)} losses; give {len(n)} numbers that leave every "
                "loss positive"
            )
        self.params[row, place], self.tokens[row, place], self.loss[row, place] = n, d, loss

    def _fit(self, done: int) -> tuple[ScalingLaw, NDArray[np.bool_]]:
        """The best of a few starts for every replica over its first `done` runs, and whether it is usable."""
        from chinchilla_jax.solvers import Problem, Solution, solve

        # A group that is not full is filled up, so that all groups share one compiled program.
        n, d, loss = (_filled(array).ravel() for array in (self.params, self.tokens, self.loss))
        design = Design.from_runs(Runs(n, d, training_flops(n, d), loss))
        weights = np.zeros((self.count, _GROUP, self.params.shape[1]), np.uint8)
        weights[np.arange(self.count), np.arange(self.count), :done] = 1
        starts = CHINCHILLA.starts(design, _STARTS)
        solution = solve(
            Problem(law=CHINCHILLA, design=design, objective=Huber()),
            np.repeat(weights.reshape(self.count, -1), _STARTS, axis=0),
            np.tile(starts, (self.count, 1)),
            options=SolverOptions(wide_start=True, max_steps=100),
        )
        # The starts of every replica, one beside the other.
        each = solution[np.arange(self.count * _STARTS).reshape(self.count, _STARTS)]
        best = Solution.best_of([each[:, k] for k in range(_STARTS)])
        law = CHINCHILLA.fitted(best.theta, design)
        return law, counted_lanes(best.status) & has_optimum(law)


def _filled(array: Floats) -> Floats:
    return np.concatenate([array, np.repeat(array[:1], _GROUP - len(array), axis=0)])
