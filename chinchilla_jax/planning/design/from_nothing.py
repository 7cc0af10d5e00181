"""A sweep from nothing: how well each kind of design would answer, and at what cost, before any run is made.

The best design begins with the IsoFLOP one and exchanges its runs for candidates while that narrows the mean
over the priors. A design on a line D = k N^s does not determine the law, whatever its size: its width is
infinite to first order.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.atomic_write import atomic_write
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.higher_rooms import written_in
from chinchilla_jax._util.text import flops_text, width_text
from chinchilla_jax._util.validation import positive_number, resample_count, seed_number
from chinchilla_jax.datasets.reading import read_table
from chinchilla_jax.intervals.quantiles import central_tails
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022, ScalingLaw
from chinchilla_jax.planning.design.judge import LEAST_TABLES, Judge
from chinchilla_jax.planning.design.sweeps import (
    Sweep,
    candidates_of,
    grid_sweep,
    isoflop_sweep,
    ladder_sweep,
)
from chinchilla_jax.planning.design.targets import Target, one_target, read_targets

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from chinchilla_jax.datasets.reading import TableLike

PARTS = (0.1, 0.3, 1.0)
"""Shares of the allowance at which each design is judged."""


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

    @written_in("chinchilla_jax.plots", "design_costs")
    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw what designs cost and narrow, as `chinchilla_jax.plots.design_costs` does."""
        raise NotImplementedError

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
            return f"no design determines {self.target.label} for this allowance"
        best = known.loc[known["simulated"].idxmin()]
        others = [
            f"{row['design']} {width_text(row['simulated'])}"
            for row in known.to_dict("records")
            if row["design"] != best["design"]
        ]
        scale = "log " if self.target.log else ""
        beside = f" ({', '.join(others)})" if others else ""
        return (
            f"{best['runs']} runs of the {best['design']} design give {self.target.label} an interval of "
            f"{scale}width {width_text(best['simulated'])}{beside}, for {flops_text(best['flops'])} FLOP"
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
        sweep: a table of params and tokens to judge beside them: one's own plan, or several by a column
            "design", as `NewDesign.save` writes them.
        level: mass of the intervals.
        tables: simulated tables for each design and prior, `judge.LEAST_TABLES` or more.
        seed: of their errors.

    Raises:
        DataError: the sweep cannot be read.
        UsageError: an argument has no meaning, or a sweep costs more than the allowance.
    """
    import pandas as pd

    largest = positive_number("largest", largest, remedy="give FLOP such as 1e20")
    allowance = positive_number("allowance", allowance, remedy="give FLOP such as 1e21")
    if allowance < largest:
        raise UsageError(
            f"allowance {flops_text(allowance, 6)} FLOP is less than the largest run costs "
            f"({flops_text(largest, 6)}); allow more, or "
            "give a smaller largest run"
        )
    noise, tables, seed = positive_number("noise", noise), resample_count("tables", tables), seed_number(seed)
    if tables < LEAST_TABLES:
        raise UsageError(
            f"tables is {tables}, too few to measure a width and its error; give {LEAST_TABLES} or more"
        )
    central_tails(level)
    laws = [priors] if isinstance(priors, ScalingLaw) else list(priors)
    if not laws:
        raise UsageError("new_design: no prior law; give one, such as hoffmann2022")
    asked = one_target(
        "new_design", read_targets(target, CHINCHILLA, 10 * largest if flops is None else flops, False)
    )
    own = {} if sweep is None else _read_sweep(sweep, allowance)
    judge = Judge(laws, asked, noise, level, tables, seed)
    rows, runs = [], []
    for share in PARTS:
        part = share * allowance
        designs = _designs(laws[0], min(largest, part), part, judge)
        for name, each in designs.items():
            rows.append((name, share, len(each), each.cost, *judge.widths(each)))
            if share == 1.0:
                runs.append((name, each))
    for name, each in own.items():
        rows.append((name, 1.0, len(each), each.cost, *judge.widths(each)))
        runs.append((name, each))
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


def _designs(law: ScalingLaw, largest: float, allowance: float, judge: Judge) -> Mapping[str, Sweep]:
    isoflop = isoflop_sweep(law, largest, allowance)
    return {
        "isoflop": isoflop,
        "grid": grid_sweep(largest, allowance),
        "ladder": ladder_sweep(largest, allowance),
        "exchanged": judge.exchanged(isoflop, candidates_of(law, largest), allowance),
    }


def _read_sweep(sweep: TableLike, allowance: float) -> dict[str, Sweep]:
    """Plans by name; a table of runs needs a loss, which a plan does not have yet.

    Raises:
        UsageError: a plan costs more than the allowance.
    """
    from chinchilla_jax.datasets.columns import match_table
    from chinchilla_jax.datasets.foreign import unpack
    from chinchilla_jax.datasets.quantities import read_quantities
    from chinchilla_jax.datasets.validation import require_rows

    table = unpack(read_table(sweep, "new_design"))
    require_rows(table, "add a row per run")
    counts = read_quantities(table, match_table(table, quantities=("params", "tokens"), by_option=False))
    params, tokens = np.asarray(counts["params"]), np.asarray(counts["tokens"])
    plans = {"yours": Sweep(params, tokens)}
    if "design" in table.header:
        designs = np.array([str(cell) for cell in table.column(table.header.index("design"))])
        plans = {
            f"yours: {name}": Sweep(params[designs == name], tokens[designs == name])
            for name in dict.fromkeys(designs.tolist())
        }
    for name, each in plans.items():
        if each.cost > allowance * (1 + 1e-6):
            raise UsageError(
                f"new_design: the sweep ({name}) costs {flops_text(each.cost, 4)} FLOP, more than the "
                f"allowance of {flops_text(allowance, 4)}; allow more, or leave out runs"
            )
    return plans
