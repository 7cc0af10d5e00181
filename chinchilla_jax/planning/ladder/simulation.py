"""Progressive scaling on a known law with noise: how far off is the optimum it ends with.

| code        | symbol | shape      | unit                                                              |
|-------------|--------|------------|-------------------------------------------------------------------|
| target      |        | ()         | the true law                                                      |
| replicas    | R      |            | independent repetitions of the whole loop                         |
| params, ... | N, D   | (R, n)     | runs of each replica: seeds first, then one per scaling step      |
| noise       |        | (R,)       | what is added to the loss of one run of every replica             |
| error       |        | (R,)       | ln of estimated over true optimal size at the last budget         |

All replicas are fitted by the certified solver of the bootstrap in the same calls. Its lanes share their
runs, so a group of replicas is put into one table, and a lane weighs the runs of its own replica with one and
all others with nought: exactly the fit of that replica, at the price of the group's size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, short, whole_number
from chinchilla_jax.datasets import Runs
from chinchilla_jax.intervals.quantiles import low_median_high
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.laws.published_grid import grid_starts
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022, PARAMETERS, ScalingLaw
from chinchilla_jax.planning.allocation import allocation
from chinchilla_jax.planning.frontier import compute_overhead
from chinchilla_jax.planning.law_sample import has_optimum, positive
from chinchilla_jax.solvers import SolverOptions, Status

if TYPE_CHECKING:
    import pandas as pd

Noise: TypeAlias = Callable[[np.random.Generator, int], Any]
_GROUP = 8  # replicas per table: more cost more than they save
_STARTS = 4
_LEAST_RUNS = 6


def normal_noise(scale: float) -> Noise:
    """Normal noise of mean 0 and standard deviation `scale` (nats per token) on the loss."""
    width = _not_negative("scale", scale)
    return lambda generator, count: width * generator.standard_normal(count)


def exponential_noise(mean: float) -> Noise:
    """Exponential noise of this mean (nats per token): training is never better than the law."""
    width = _not_negative("mean", mean)
    return lambda generator, count: width * generator.standard_exponential(count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """One way to go about progressive scaling, to be simulated.

    The defaults are those that the `chinchilla` toolkit documents (github.com/kyo-takano/chinchilla): 401
    seeds of 1e15 to 1e16 FLOP and 10 to 100 tokens per parameter, one step of factor 10, the published law
    of Hoffmann et al. 2022, exponential noise of mean 0.1.

    Attributes:
        flops_range: compute of the seeds (FLOP), log-uniform.
        ratio_range: tokens per parameter of the seeds, log-uniform.
        seeds: number of seed runs, 6 or more.
        steps: scaling steps, each at `factor` times the largest budget so far; 0 or more.
        factor: above 1.
        target: the true law.
        noise: a function of (generator, count) that gives what is added to `count` losses; see
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
        """Check everything before hundreds of fits."""
        for name in ("flops_range", "ratio_range"):
            low, high = (positive(name, value, "give two positive limits") for value in getattr(self, name))
            if low >= high:
                raise UsageError(f"{name} is {low:g} to {high:g}; give a lower limit below the upper one")
        if whole_number("seeds", self.seeds) < _LEAST_RUNS:
            raise UsageError(f"seeds is {self.seeds}; a fit of five parameters needs {_LEAST_RUNS} or more")
        whole_number("steps", self.steps)
        if positive("factor", self.factor, "give a number above 1") <= 1:
            raise UsageError(f"factor is {self.factor:g}; the next budget is larger, give a number above 1")
        if self.target.shape or not has_optimum(self.target):
            raise UsageError(f"target is {short(self.target)}; give a single law that has an optimum")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """What became of the replicas of one scenario.

    Attributes:
        scenario: what was simulated.
        laws: the last fit of each replica, (R,); NaN-free where `counted`.
        counted: replicas whose every fit was certified and had an optimum, (R,).
        flops: the budget at which the error is taken, (R,).
        spent: training compute of all runs of a replica (FLOP), (R,).
        params, tokens: estimated optimum at that budget, (R,); NaN where not counted.
        error: ln(params / true optimal params), (R,).
        overhead: compute wasted by training the estimated optimum, under the true law, (R,).
        loss_error: loss predicted at the estimated optimum less the true loss there, (R,).
    """

    scenario: Scenario
    laws: ScalingLaw
    counted: NDArray[np.bool_]
    flops: NDArray[np.float64]
    spent: NDArray[np.float64]
    params: NDArray[np.float64]
    tokens: NDArray[np.float64]
    error: NDArray[np.float64]
    overhead: NDArray[np.float64]
    loss_error: NDArray[np.float64]

    def summary(self, level: float = 0.8) -> pd.DataFrame:
        """Rows params_error, overhead, loss_error, alpha_error, beta_error; columns low, median, high, n.

        params_error is estimated over true size less 1; n the replicas that counted.
        """
        import pandas as pd

        kept, target = self.counted, self.scenario.target
        columns = {
            "params_error": np.expm1(self.error[kept]),
            "overhead": self.overhead[kept],
            "loss_error": self.loss_error[kept],
            "alpha_error": np.asarray(self.laws.alpha)[kept] - target.alpha,
            "beta_error": np.asarray(self.laws.beta)[kept] - target.beta,
        }
        rows = []
        for name, values in columns.items():
            limits = low_median_high(values, level) if kept.any() else np.full(3, np.nan)
            rows.append((name, *limits, int(kept.sum())))
        return pd.DataFrame(rows, columns=["quantity", "low", "median", "high", "n"])

    def described(self, name: str, level: float = 0.8) -> pd.DataFrame:
        """`summary` with what was simulated, under a name: the rows of `compare`."""
        table, scenario = self.summary(level), self.scenario
        settings = {
            "scenario": name,
            "seeds": scenario.seeds,
            "flops_low": scenario.flops_range[0],
            "flops_high": scenario.flops_range[1],
            "factor": scenario.factor,
            "steps": scenario.steps,
            "spent": float(np.median(self.spent)),
        }
        described = table.assign(**settings)[[*settings, *table.columns]]
        return described.assign(replicas=len(self.counted))


def simulate(
    scenario: Scenario, *, replicas: int = 400, seed: int = 0, flops: float | None = None
) -> SimulationResult:
    """Run the loop `replicas` times on the known law.

    Args:
        scenario: what to simulate.
        replicas: how many, 1 or more.
        seed: replica i depends on (seed, i) alone, however many there are.
        flops: budget (FLOP) at which the error of the optimum is taken; None for the next one, the factor
            times the largest trained.

    Raises:
        UsageError: an argument is out of range, or the noise gives no usable loss.
    """
    if whole_number("replicas", replicas) < 1:
        raise UsageError("replicas = 0: give 1 or more")
    whole_number("seed", seed)
    fixed = None if flops is None else positive("flops", flops, "give a budget such as 1e20")
    parts = [
        _Group(scenario, range(first, min(first + _GROUP, replicas)), seed).run()
        for first in range(0, replicas, _GROUP)
    ]
    theta = np.concatenate([part[0] for part in parts])
    counted = np.concatenate([part[1] for part in parts])
    budgets = np.concatenate([part[2] for part in parts])
    laws = ScalingLaw(**{name: theta[:, i] for i, name in enumerate(PARAMETERS)})
    at = scenario.factor * budgets if flops is None else np.full(replicas, fixed, dtype=np.float64)
    target = scenario.target
    usable = _usable(laws, counted)
    found = allocation(usable, "flops", at)
    params, tokens = (np.where(counted, found[name], np.nan) for name in ("params", "tokens"))
    safe_n, safe_d = np.where(counted, params, 1e9), np.where(counted, tokens, 1e9)
    predicted = np.where(counted, found["loss"], np.nan)
    best = np.asarray(target.optimal(at)[0])
    return SimulationResult(
        scenario=scenario,
        laws=laws,
        counted=counted,
        flops=at,
        spent=np.concatenate([part[3] for part in parts]),
        params=params,
        tokens=tokens,
        error=np.log(params / best),
        overhead=np.where(counted, compute_overhead(target, safe_n, safe_d), np.nan),
        loss_error=predicted - np.where(counted, np.asarray(target.loss(safe_n, safe_d)), np.nan),
    )


def compare(
    scenarios: dict[str, Scenario],
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

    frames = [
        simulate(scenario, replicas=replicas, seed=seed, flops=flops).described(name, level)
        for name, scenario in scenarios.items()
    ]
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
        self.runs = scenario.seeds + scenario.steps
        shape = (self.count, self.runs)
        # Steps not yet taken stand in the table with harmless numbers and weigh nothing.
        self.params, self.tokens, self.loss = np.ones(shape), np.ones(shape), np.ones(shape)
        low_high = np.log([scenario.flops_range, scenario.ratio_range])
        for row, generator in enumerate(self.generators):
            uniform = generator.random((scenario.seeds, 2))
            flops, ratio = np.exp(low_high[:, 0] + uniform * (low_high[:, 1] - low_high[:, 0])).T
            n = np.sqrt(flops / (FLOPS_PER_PARAM_TOKEN * ratio))
            self._train(row, slice(0, scenario.seeds), n, ratio * n)
        for array in (self.params, self.tokens, self.loss):
            array[:, scenario.seeds :] = array[:, :1]

    def run(self) -> tuple[NDArray[Any], ...]:
        """Last laws (R, 5), counted (R,), largest budget trained (R,), and all that was spent (R,)."""
        counted = np.ones(self.count, np.bool_)
        for step in range(self.scenario.steps + 1):
            done = self.scenario.seeds + step
            law, certified = self._fit(done)
            counted &= certified & has_optimum(law)
            budgets = self._largest(done)
            if step == self.scenario.steps:
                break
            flops = self.scenario.factor * budgets
            for row in np.flatnonzero(counted):
                n, d = law[int(row)].optimal(flops[row])
                self._train(int(row), slice(done, done + 1), np.array([n]), np.array([d]))
        fields = [np.asarray(getattr(law, name)) for name in PARAMETERS]
        spent = FLOPS_PER_PARAM_TOKEN * (self.params * self.tokens).sum(axis=1)
        return np.stack(fields, axis=1), counted, budgets, spent

    def _train(self, row: int, place: slice, n: NDArray[np.float64], d: NDArray[np.float64]) -> None:
        added = np.asarray(self.scenario.noise(self.generators[row], len(n)), dtype=np.float64)
        fits = added.shape in ((), (len(n),))
        loss = np.asarray(self.scenario.target.loss(n, d)) + (added if fits else np.nan)
        if not (np.isfinite(loss) & (loss > 0)).all():
            raise UsageError(
                f"the noise gave {short(added)} for {len(n)} losses; give {len(n)} numbers that leave every "
                "loss positive"
            )
        self.params[row, place], self.tokens[row, place], self.loss[row, place] = n, d, loss

    def _largest(self, done: int) -> NDArray[np.float64]:
        return FLOPS_PER_PARAM_TOKEN * (self.params * self.tokens)[:, :done].max(axis=1)

    def _fit(self, done: int) -> tuple[ScalingLaw, NDArray[np.bool_]]:
        """The best of a few starts for every replica, over its first `done` runs."""
        from chinchilla_jax.solvers.batch import solve_newton

        # A group that is not full is filled up, so that all groups share one compiled program.
        n, d, loss = (_filled(array).ravel() for array in (self.params, self.tokens, self.loss))
        design = Design.from_runs(Runs(n, d, FLOPS_PER_PARAM_TOKEN * n * d, loss))
        weights = np.zeros((self.count, _GROUP, self.runs), np.uint8)
        weights[np.arange(self.count), np.arange(self.count), :done] = 1
        starts = design.theta_from_logs(grid_starts(_STARTS))
        solution = solve_newton(
            design,
            np.repeat(weights.reshape(self.count, -1), _STARTS, axis=0),
            np.tile(starts, (self.count, 1)),
            objective=Huber(),
            options=SolverOptions(wide_start=True, max_steps=100),
        )
        value = np.where(np.isfinite(solution.objective_value), solution.objective_value, np.inf)
        value, status = value.reshape(self.count, _STARTS), solution.status.reshape(self.count, _STARTS)
        lowest = value.min(axis=1, keepdims=True)
        # Among starts that reached the same lowest value, one that holds the certificate.
        rank = np.where(value <= lowest * (1 + 1e-9), status, np.iinfo(np.int8).max)
        best = rank.argmin(axis=1)
        chosen = np.arange(self.count)
        law = design.law(solution.theta.reshape(self.count, _STARTS, 5)[chosen, best])
        return law, status[chosen, best] == Status.CONVERGED


def _filled(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([array, np.repeat(array[:1], _GROUP - len(array), axis=0)])


def _usable(laws: ScalingLaw, counted: NDArray[np.bool_]) -> ScalingLaw:
    """The laws, with 1 in every field of those that do not count."""
    return ScalingLaw(**{name: np.where(counted, getattr(laws, name), 1.0) for name in PARAMETERS})


def _not_negative(what: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < np.inf:
        raise UsageError(f"{what} of the noise is {short(value)}; give 0 or more nats per token")
    return float(value)


def scenario_grid(base: Scenario, **values: Any) -> Iterator[tuple[str, Scenario]]:
    """(name, scenario) for every value of one field of `base` at a time."""
    for name, every in values.items():
        for value in every:
            yield f"{name}={value}", dataclasses.replace(base, **{name: value})
