"""A ladder of runs: seed runs, then fit, propose the next run at a larger budget, append its loss, repeat.

The procedure of the `chinchilla` toolkit (github.com/kyo-takano/chinchilla), with proposals that have
intervals and a store that survives a crash between proposal and append.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from chinchilla_jax._util.errors import DataError, UsageError
from chinchilla_jax._util.labels import HEADLINE
from chinchilla_jax._util.validation import positive_number, resample_count, seed_number
from chinchilla_jax.datasets import Runs
from chinchilla_jax.datasets.runs import QUANTITIES
from chinchilla_jax.datasets.validation import require_fittable
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, training_flops
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.frontier import flops_for_params
from chinchilla_jax.planning.ladder.model_grid import ModelGrid, SizeFunction
from chinchilla_jax.planning.ladder.narrowing import Narrowing, narrowest_run
from chinchilla_jax.planning.ladder.run_store import Run, RunStore
from chinchilla_jax.planning.ladder.seeding import LEAST_RUNS, Seeding
from chinchilla_jax.planning.law_sample import LawSample
from chinchilla_jax.planning.plans import plan
from chinchilla_jax.solvers import SolverOptions

# Kept beside the settings: what counts the parameters of the grid's models.
_SIZE, _BUILT_IN, _OWN = "size", "built-in", "own"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LadderSettings(Seeding):
    """How a ladder is climbed; kept in its database. The fields of `Seeding`, and those below.

    Attributes:
        seed: of the sampling; seed run i depends on (seed, i) alone.
        resamples: of the bootstrap behind a proposal's intervals.
        level: mass of these intervals.
        grid: dimensions of the models to choose from; None for any size.

    Raises:
        UsageError: a value is out of range.
    """

    ratio_range: tuple[float, float] = (5.0, 100.0)
    seeds: int = 50
    factor: float = 2.0
    seed: int = 0
    resamples: int = 1000
    level: float = 0.8
    grid: Mapping[str, Sequence[Any]] | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        seed_number(self.seed)
        central_tails(self.level)
        resample_count("resamples", self.resamples)


class Ladder:
    """A study in a database; made by `create` or `open`.

    `next` gives the run to train, `append` takes its loss.

    Attributes:
        store: the database.
        settings: how the ladder is climbed.
    """

    def __init__(
        self, store: RunStore, settings: LadderSettings, *, size: SizeFunction | None = None
    ) -> None:
        """Use `create` or `open`."""
        self.store = store
        self.settings = settings
        self._lacks_size = size is None and store.settings.get(_SIZE) == _OWN
        searched = settings.grid is not None and not self._lacks_size
        self._grid = ModelGrid(settings.grid, size) if searched and settings.grid is not None else None

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        settings: LadderSettings,
        *,
        size: SizeFunction | None = None,
    ) -> Self:
        """Make a new database.

        Args:
            path: of the SQLite file, which must not exist.
            settings: kept in it.
            size: parameters of a configuration of `settings.grid`; None counts transformers. A function
                cannot be kept in the file: give it to `open` too.

        Raises:
            UsageError: the file exists, or the grid cannot be used.
        """
        if settings.grid is not None:
            ModelGrid(settings.grid, size)  # refused before a file is made
        kept = dataclasses.asdict(settings) | {_SIZE: _BUILT_IN if size is None else _OWN}
        return cls(RunStore.create(path, kept), settings, size=size)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, size: SizeFunction | None = None) -> Self:
        """Open a database.

        Args:
            path: of the SQLite file.
            size: as given to `create`; without it, `next` refuses to choose a model.

        Raises:
            DataError: there is none at the path, or it is something else.
        """
        store = RunStore(path)
        found = {name: value for name, value in store.settings.items() if name != _SIZE}
        try:
            settings = LadderSettings(**found)
        except (TypeError, UsageError) as error:
            raise DataError(f"{path}: its settings cannot be used ({error})") from None
        return cls(store, settings, size=size)

    def next(
        self,
        *,
        another: bool = False,
        target: str | None = None,
        laws: LawSample | None = None,
        options: SolverOptions | None = None,
    ) -> Run:
        """The run to train next; it is in the database when this returns.

        An open proposal is returned again. Otherwise, while there are fewer than `settings.seeds` runs, a
        seed run is sampled; after that the law is fitted, and the largest budget so far times
        `settings.factor` is spent at its optimum.

        Args:
            another: propose a further run although some are open, to train several at a time.
            target: propose the run of up to that budget which narrows this most, as for `next_runs`; None for
                the optimum at that budget.
            laws: the laws to go by; None bootstraps them from the runs that are done.
            options: as for `bootstrap`.

        Raises:
            UsageError: too few runs have their loss for a fit, or the grid has no model large enough for a
                larger budget.
        """
        with self.store.transaction() as inside:
            runs = inside.runs()
            waiting = _open(runs)
            if waiting and not another:
                return waiting[0]
            if len(runs) < self.settings.seeds:
                # Sampled by the number of runs, so that the same seed leads to the same runs.
                return inside.put(self.seed_run(len(runs)))
        # The fit takes long; the file is not locked meanwhile.
        sample = laws or self.fit(options)
        narrowing = None if target is None else self._narrowing(target, options)
        with self.store.transaction() as inside:
            runs = inside.runs()
            waiting = _open(runs)
            if waiting and not another:  # another process was faster
                return waiting[0]
            budgets = [run.flops for run in runs if run.loss is not None]
            if not budgets:
                raise UsageError(
                    f"{self.store.path}: no run has its loss yet; append the losses of the seed runs first"
                )
            proposed = self.scaled_run(sample, max(budgets))
            return inside.put(proposed if narrowing is None else self._narrowed(proposed, narrowing))

    def append(
        self, loss: float, *, run: int | None = None, params: float | None = None, tokens: float | None = None
    ) -> Run:
        """Close an open run with its loss.

        Args:
            loss: final loss (nats per token).
            run: its number; None for the only open one.
            params: the model's true size, if it differs from the proposal.
            tokens: its true training tokens, if they differ.

        Returns:
            The closed run; flops is 6 N D of the true counts.

        Raises:
            UsageError: no such run is open, several are and `run` does not choose, or a number is not
                positive.
        """
        value = positive_number("loss", loss, remedy="give nats per token such as 2.5")
        with self.store.transaction() as inside:
            found = self._to_close(inside.runs(), run)
            n = found.params if params is None else positive_number("params", params)
            d = found.tokens if tokens is None else positive_number("tokens", tokens)
            flops = found.flops if params is None and tokens is None else training_flops(n, d)
            return inside.put(dataclasses.replace(found, params=n, tokens=d, flops=flops, loss=value))

    def fit(self, options: SolverOptions | None = None) -> LawSample:
        """The laws of a bootstrap of the runs that are done.

        Args:
            options: as for `bootstrap`.

        Raises:
            UsageError: too few of them, or no certified law with an optimum.
            NoEstimateError: the fit of all of them is not certified.
        """
        from chinchilla_jax.bootstrapping.bootstrap import bootstrap

        runs = self._done()
        result = bootstrap(runs, resamples=self.settings.resamples, seed=self.settings.seed, options=options)
        return LawSample.from_bootstrap(result, f"{self.store.path.name}, {len(runs)} runs")

    def _done(self) -> Runs:
        """The runs that are done, if they can be fitted."""
        done = [run for run in self.store.runs() if run.loss is not None]
        if len(done) < LEAST_RUNS:
            raise UsageError(f"{self.store.path}: {len(done)} runs have their loss; a fit needs {LEAST_RUNS}")
        rows = np.array([[getattr(run, quantity) for quantity in QUANTITIES] for run in done])
        params, tokens, flops, loss = rows.T
        runs = Runs(params, tokens, flops, loss, name=self.store.path.name)
        require_fittable(runs, str(self.store.path))
        return runs

    def _narrowing(self, target: str, options: SolverOptions | None) -> Narrowing:
        """What narrows a target most among the runs that the factor allows."""
        done, settings = self._done(), self.settings
        return narrowest_run(
            done, target, settings.factor * float(done.flops.max()), level=settings.level,
            resamples=settings.resamples, seed=settings.seed, options=options,
        )  # fmt: skip

    def _narrowed(self, proposed: Run, narrowing: Narrowing) -> Run:
        """A proposal with the size and tokens that narrow a target, of the grid where there is one."""
        config, params = self._nearest(narrowing.params)
        tokens = min(narrowing.tokens, proposed.flops / (FLOPS_PER_PARAM_TOKEN * params))
        return dataclasses.replace(
            proposed, params=params, tokens=tokens, flops=training_flops(params, tokens), config=config,
            proposal={**(proposed.proposal or {}), "narrows": narrowing.gain},
        )  # fmt: skip

    def seed_run(self, index: int) -> Run:
        """Seed run `index` (from 0), not yet stored: log-uniform in compute and in tokens per parameter."""
        key = np.random.SeedSequence([self.settings.seed, index])
        uniform = np.random.Generator(np.random.Philox(key)).random((1, 2))
        flops, ratio = (float(each[0]) for each in self.settings.seed_runs(uniform))
        config, params = self._nearest(math.sqrt(flops / (FLOPS_PER_PARAM_TOKEN * ratio)))
        tokens = flops / (FLOPS_PER_PARAM_TOKEN * params)
        return Run(stage="seed", params=params, tokens=tokens, flops=flops, config=config)

    def scaled_run(self, sample: LawSample, largest: float) -> Run:
        """The optimum at the next budget after `largest` (FLOP), with its intervals; not yet stored.

        With a grid, the size is that of the nearest configuration, and the tokens are those for which this
        size is optimal. Configurations that would not grow the budget by the root of the factor are skipped:
        in a coarse grid the nearest can be the one just trained, every time.

        Raises:
            UsageError: the grid has no model that large.
        """
        one, _ = sample.five_parameter("a ladder")
        made = plan(sample, level=self.settings.level, cost="6nd", flops=self.settings.factor * largest)
        proposal: dict[str, Any] = made.table.set_index("quantity").to_dict("index")
        least = float(np.asarray(sample.point.optimal(math.sqrt(self.settings.factor) * largest)[0]))
        config, params = self._nearest(proposal["params"][HEADLINE], least)
        tokens = proposal["tokens"][HEADLINE] if config is None else tokens_for_params(one, params)
        for quantity, doubt in made.doubts.items():
            proposal[quantity]["doubt"] = doubt
        proposal |= {"level": made.level, "laws": len(sample), "source": sample.source}
        flops = training_flops(params, tokens)
        return Run(
            stage="scaled", params=params, tokens=tokens, flops=flops, config=config, proposal=proposal
        )

    def _to_close(self, runs: Sequence[Run], number: int | None) -> Run:
        waiting = _open(runs)
        if number is None:
            if len(waiting) != 1:
                listed = ", ".join(str(each.run) for each in waiting)
                found = (
                    f"runs {listed} are open; choose one" if waiting else "no run is open; propose one first"
                )
                raise UsageError(f"{self.store.path}: {found}")
            return waiting[0]
        run = next((each for each in runs if each.run == number), None)
        if run is None:
            raise UsageError(f"{self.store.path}: no run {number}; there are {len(runs)}")
        if run.loss is not None:
            raise UsageError(f"{self.store.path}: run {number} has its loss already ({run.loss:g})")
        return run

    def _nearest(self, params: float, least: float = 0.0) -> tuple[dict[str, Any] | None, float]:
        if self._lacks_size:
            raise UsageError(
                f"{self.store.path}: its models are counted by a size function of its own, which no file can "
                "hold; continue in Python with Ladder.open(path, size=...)"
            )
        return (None, params) if self._grid is None else self._grid.nearest(params, least)


def _open(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.loss is None]


def tokens_for_params(law: ScalingLaw, params: float) -> float:
    """The tokens for which a model of this true size is compute-optimal (count).

    Raises:
        UsageError: the size is not positive, or its tokens are less than one or beyond float64.
    """
    size = positive_number("params", params, remedy="give the model's true size")
    tokens = float(flops_for_params(law, size)) / (FLOPS_PER_PARAM_TOKEN * size)
    if not 1 <= tokens < math.inf:
        raise UsageError(
            f"a model of {size:g} parameters would be optimal on {tokens:g} tokens; give another size"
        )
    return tokens
