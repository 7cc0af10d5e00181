"""Progressive scaling: seed runs, fit, propose the next run at a larger budget, append its loss, repeat.

The procedure of the `chinchilla` toolkit (github.com/kyo-takano/chinchilla), with proposals that carry
intervals and a store that survives a crash between proposal and append.

| code          | symbol | unit                                                                   |
|---------------|--------|------------------------------------------------------------------------|
| flops_range   | C      | FLOP; seeds are log-uniform in it                                      |
| ratio_range   | D/N    | tokens per parameter; seeds are log-uniform in it                      |
| factor        |        | next budget over the largest budget so far                             |
| seeds         |        | how many runs are sampled before the law is fitted                     |
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from chinchilla_jax._util.errors import DataError, UsageError, whole_number
from chinchilla_jax.datasets import Runs
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.allocation import QUANTITIES, plan
from chinchilla_jax.planning.frontier import flops_for_params
from chinchilla_jax.planning.ladder.search import ConfigGrid, SizeFunction
from chinchilla_jax.planning.ladder.store import Run, RunStore
from chinchilla_jax.planning.law_sample import LawSample, positive

_LEAST_RUNS = 6  # as many as the law can be fitted to
# Kept beside the settings: who counts the parameters of the grid's models.
_SIZE, _BUILT_IN, _OWN = "size", "built-in", "own"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgressiveSettings:
    """How a progressive study goes on; kept in its database.

    Attributes:
        flops_range: lowest and highest compute of the seeds (FLOP).
        ratio_range: lowest and highest tokens per parameter of the seeds.
        seeds: number of seed runs, 6 or more.
        factor: next budget over the largest so far, above 1.
        seed: of the sampling; seed run i depends on (seed, i) alone.
        resamples: of the bootstrap behind a proposal's intervals.
        level: mass of these intervals.
        grid: dimensions of the models to choose from; None for any size.

    Raises:
        UsageError: a value is out of range.
    """

    flops_range: tuple[float, float]
    ratio_range: tuple[float, float] = (5.0, 100.0)
    seeds: int = 50
    factor: float = 2.0
    seed: int = 0
    resamples: int = 1000
    level: float = 0.8
    grid: Mapping[str, Sequence[Any]] | None = None

    def __post_init__(self) -> None:
        """Check everything before a file is made."""
        for name in ("flops_range", "ratio_range"):
            low, high = (positive(name, value, "give two positive limits") for value in getattr(self, name))
            if low >= high:
                raise UsageError(f"{name} is {low:g} to {high:g}; give a lower limit below the upper one")
            object.__setattr__(self, name, (low, high))
        if whole_number("seeds", self.seeds) < _LEAST_RUNS:
            raise UsageError(
                f"seeds is {self.seeds}; the law has five parameters, give {_LEAST_RUNS} or more"
            )
        if positive("factor", self.factor, "give a number above 1 such as 2") <= 1:
            raise UsageError(f"factor is {self.factor:g}; the next budget is larger, give a number above 1")
        whole_number("seed", self.seed)
        central_tails(self.level)
        if whole_number("resamples", self.resamples) < 2:
            raise UsageError(f"resamples is {self.resamples}; give 2 or more")


class ProgressiveScaling:
    """A progressive study in a database.

    Made by `create` or `open`. `next` gives the run to train, `append` takes its loss.

    Attributes:
        store: the database.
        settings: how it goes on.
    """

    def __init__(
        self, store: RunStore, settings: ProgressiveSettings, *, size: SizeFunction | None = None
    ) -> None:
        """Use `create` or `open`."""
        self.store = store
        self.settings = settings
        self._configs = None
        self._lacks_size = size is None and store.settings().get(_SIZE) == _OWN
        if settings.grid is not None and not self._lacks_size:
            self._configs = ConfigGrid(settings.grid, size)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        settings: ProgressiveSettings,
        *,
        size: SizeFunction | None = None,
    ) -> Self:
        """Make a new database.

        Args:
            path: of the SQLite file, which must not exist.
            settings: kept in it.
            size: parameters of a configuration of `settings.grid`; None for the transformer counter. A
                function cannot be kept in the file: give it to `open` too.

        Raises:
            UsageError: the file exists, or the grid cannot be used.
        """
        if settings.grid is not None:
            ConfigGrid(settings.grid, size)  # what cannot be counted is refused before a file is made
        kept = dataclasses.asdict(settings) | {_SIZE: _BUILT_IN if size is None else _OWN}
        return cls(RunStore.create(path, kept), settings, size=size)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, size: SizeFunction | None = None) -> Self:
        """Go on with a database.

        Args:
            path: of the SQLite file.
            size: as given to `create`; without it `next` refuses to choose a model by another count.

        Raises:
            DataError: there is none at the path, or it is something else.
        """
        store = RunStore(path)
        found = {name: value for name, value in store.settings().items() if name != _SIZE}
        try:
            settings = ProgressiveSettings(**found)
        except (TypeError, UsageError) as error:
            raise DataError(f"{path}: its settings cannot be used ({error})") from None
        return cls(store, settings, size=size)

    def next(self, *, another: bool = False, laws: LawSample | None = None) -> Run:
        """The run to train next; it is in the database when this returns.

        An open proposal (made before a crash, say) is returned again. Otherwise a seed run is sampled while
        there are fewer than `settings.seeds` runs, and after that the law is fitted and the largest
        budget so far times `settings.factor` is spent at its optimum.

        Args:
            another: propose a further run although some are open, to train several at a time.
            laws: the laws to go by; None to bootstrap them from the runs that are done.

        Raises:
            UsageError: the law cannot be fitted, since too few runs have their loss, or the grid has no
                model large enough for a larger budget.
        """
        with self.store.transaction() as inside:
            runs = inside.runs()
            waiting = [run for run in runs if run.loss is None]
            if waiting and not another:
                return waiting[0]
            if len(runs) < self.settings.seeds:
                # Sampled by the number of runs, so that the same seed leads to the same runs.
                return inside.add(self.seed_run(len(runs)))
        # The fit takes long, and nobody should wait for the file during it.
        sample = laws or self.fit()
        with self.store.transaction() as inside:
            waiting = [run for run in inside.runs() if run.loss is None]
            if waiting and not another:  # somebody else was faster
                return waiting[0]
            done = [run for run in inside.runs() if run.loss is not None]
            if not done:
                raise UsageError(
                    f"{self.store.path}: no run has its loss yet; append the seeds' losses first"
                )
            return inside.add(self.scaled_run(sample, max(run.flops for run in done)))

    def append(
        self, loss: float, *, run: int | None = None, params: float | None = None, tokens: float | None = None
    ) -> Run:
        """Give an open run its loss (nats per token); the only open one unless `run` says which.

        Raises:
            UsageError: no run is open, several are and `run` does not choose, or a number is not positive.
        """
        if run is None:
            waiting = [each.run for each in self.store.runs() if each.loss is None]
            if len(waiting) != 1:
                raise UsageError(
                    f"{self.store.path}: runs {', '.join(map(str, waiting))} are open; say which one it is"
                    if waiting
                    else f"{self.store.path}: no run is open; ask for the next one first"
                )
            run = waiting[0]
        return self.store.append(run, loss, params=params, tokens=tokens)

    def done(self) -> Runs:
        """The runs that have their loss."""
        runs = [run for run in self.store.runs() if run.loss is not None]
        columns = {
            name: [getattr(run, name) for run in runs] for name in ("params", "tokens", "flops", "loss")
        }
        return Runs(**columns, name=self.store.path.name)  # type: ignore[arg-type]

    def fit(self) -> LawSample:
        """The laws of a bootstrap of the runs that are done.

        Raises:
            UsageError: too few of them, or no certified law with an optimum.
        """
        from chinchilla_jax.bootstrapping.bootstrap import bootstrap
        from chinchilla_jax.datasets.validation import require_fittable

        runs = self.done()
        if len(runs) < _LEAST_RUNS:
            raise UsageError(
                f"{self.store.path}: {len(runs)} runs have their loss; a fit needs {_LEAST_RUNS}"
            )
        require_fittable(runs, str(self.store.path))
        result = bootstrap(runs, resamples=self.settings.resamples, seed=self.settings.seed)
        status = result.point.status.name
        doubt = "" if status == "CONVERGED" else f", point fit {status}"
        return LawSample.from_bootstrap(result, f"{self.store.path.name}, {len(runs)} runs{doubt}")

    def seed_run(self, index: int) -> Run:
        """Seed run `index` (from 0): log-uniform in compute and in tokens per parameter; not yet stored."""
        low_high = np.log([self.settings.flops_range, self.settings.ratio_range])
        key = np.random.SeedSequence([self.settings.seed, index])
        uniform = np.random.Generator(np.random.Philox(key)).random(2)
        flops, ratio = np.exp(low_high[:, 0] + uniform * (low_high[:, 1] - low_high[:, 0]))
        params = math.sqrt(flops / (FLOPS_PER_PARAM_TOKEN * ratio))
        config, size = self._nearest(params)
        tokens = float(flops) / (FLOPS_PER_PARAM_TOKEN * size)
        return Run(run=0, stage="seed", params=size, tokens=tokens, flops=float(flops), config=config)

    def scaled_run(self, sample: LawSample, largest: float) -> Run:
        """The optimum at the next budget, with its intervals; not yet stored.

        With a grid the size is that of the nearest configuration, and the tokens are those for which this
        size is optimal. Configurations that would not grow the budget by the root of the factor are passed
        over: in a coarse grid the nearest can be the one just trained, again and again.

        Raises:
            UsageError: the grid has no model that large.
        """
        made = plan(sample, level=self.settings.level, flops=self.settings.factor * largest)
        table = made.table.set_index("quantity")
        least = float(np.asarray(sample.point.optimal(math.sqrt(self.settings.factor) * largest)[0]))
        config, params = self._nearest(float(table.loc["params", "point"]), least)
        tokens = (
            float(table.loc["tokens", "point"]) if config is None else tokens_for_params(sample.point, params)
        )
        proposal: dict[str, Any] = {
            quantity: {name: float(table.loc[quantity, name]) for name in ("point", "low", "median", "high")}
            for quantity in QUANTITIES
        }
        proposal |= {"level": made.level, "laws": len(sample), "source": sample.source}
        flops = FLOPS_PER_PARAM_TOKEN * params * tokens
        return Run(
            run=0, stage="scaled", params=params, tokens=tokens, flops=flops, config=config, proposal=proposal
        )

    def _nearest(self, params: float, least: float = 0.0) -> tuple[dict[str, Any] | None, float]:
        if self._lacks_size:
            raise UsageError(
                f"{self.store.path}: its models are counted by a size function of its own, which no file can "
                "hold; go on in Python with ProgressiveScaling.open(path, size=...)"
            )
        return (None, params) if self._configs is None else self._configs.nearest(params, least)


def tokens_for_params(law: ScalingLaw, params: float) -> float:
    """The tokens for which a model of this true size is compute-optimal (count).

    Raises:
        UsageError: the size is not positive, or its tokens are less than one or beyond float64.
    """
    size = positive("params", params, "give the model's true size")
    tokens = float(flops_for_params(law, size)) / (FLOPS_PER_PARAM_TOKEN * size)
    if not 1 <= tokens < math.inf:
        raise UsageError(
            f"a model of {size:g} parameters would be optimal on {tokens:g} tokens; give another size"
        )
    return tokens
