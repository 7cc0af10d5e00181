"""The tables of a comparison of recipes, from the frontiers of their laws; see recipe_comparison.py."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax._util.validation import positive_array
from chinchilla_jax.intervals.limits import simultaneous_tail
from chinchilla_jax.intervals.quantiles import central_tails, quantiles, quantiles_of_known
from chinchilla_jax.laws.optimum import no_optimum, no_optimum_sentence, remedy_of
from chinchilla_jax.planning.multipliers import (
    AnyFrontier,
    Frontier,
    first_crossing,
    five_parameter,
    log_multiplier,
    log_multiplier_at_ratio,
    log_multiplier_at_size,
)
from chinchilla_jax.planning.plausibility import interval_doubt
from chinchilla_jax.planning.recipe_draws import RecipeLaws
from chinchilla_jax.planning.recipe_sharing import SharingTest, sharing_tests

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frontiers:
    """Frontiers of the point fits and of the resamples that count, by recipe; the baseline is the first."""

    points: dict[str, AnyFrontier]
    draws: dict[str, AnyFrontier]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, laws: RecipeLaws) -> Frontiers:
        """The frontiers of laws.

        Raises:
            UsageError: a point fit has no compute-optimal point, or no resample has.
        """
        points = {name: Frontier.of(law) for name, law in laws.points.items()}
        for name, law in laws.points.items():
            if not points[name].sound:
                why = no_optimum(law) or "the loss of its optimum is not finite"
                raise UsageError(no_optimum_sentence(f"compare: {short(name)}", why, remedy_of(law)))
        every = {name: Frontier.of(each) for name, each in laws.laws.items()}
        sound = laws.counted & np.logical_and.reduce([each.sound for each in every.values()])
        if not sound.any():
            raise UsageError("compare: no resample has a compute-optimal point for all recipes; add runs")
        kept = np.flatnonzero(sound)
        draws = {name: each.take(kept) for name, each in every.items()}
        lost = len(sound) - len(kept)
        warnings = []
        if lost >= 0.05 * len(sound):
            warnings.append(
                f"{lost:,} of {len(sound):,} resamples do not count, because a fit is not certified or has "
                "no compute-optimal point; the intervals describe only the others"
            )
        return cls(points=points, draws=draws, warnings=tuple(warnings))

    @property
    def others(self) -> list[str]:
        """Every recipe but the baseline."""
        return list(self.points)[1:]

    def multipliers(self, name: str, log_flops: Floats) -> tuple[Floats, Floats]:
        """Ln m over the baseline: of the point fits (q,), and of the resamples (R, q)."""
        first = next(iter(self.points))
        return tuple(log_multiplier(each[first], each[name], log_flops) for each in (self.points, self.draws))  # type: ignore[return-value]


def interval(values: Floats, level: float) -> Floats:
    """Low and high of each column of (R, q), (2, q); infinities keep their place."""
    return quantiles_of_known(values, central_tails(level))


def joint_interval(values: Floats, level: float) -> Floats:
    """Percentile limits of every column that hold a share `level` of the rows of (R, q), (2, q)."""
    tail = simultaneous_tail(values, (1 - level) / 2)
    return (
        quantiles(values, (tail, 1 - tail)) if math.isfinite(tail) else np.full((2, values.shape[1]), np.nan)
    )


def multiplier_table(found: Frontiers, budgets: Floats, level: float) -> pd.DataFrame:
    """`Comparison.table`."""
    import pandas as pd

    logs = np.log(budgets)
    first = next(iter(found.points))
    every = {name: found.multipliers(name, logs) for name in found.others}
    adjusted = np.split(
        joint_interval(np.concatenate([each[1] for each in every.values()], axis=1), level), len(every), 1
    )
    frames = []
    for (name, (point, draws)), limits in zip(every.items(), adjusted, strict=True):
        loss, base = found.points[name].loss(logs), found.points[first].loss(logs)
        gaps = found.draws[name].loss(logs) - found.draws[first].loss(logs)
        low, high = np.exp(interval(draws, level))
        gap_low, gap_high = interval(gaps, level)
        columns = {
            "recipe": name, "flops": budgets, "multiplier": np.exp(point), "low": low, "high": high,
            "adjusted_low": np.exp(limits[0]), "adjusted_high": np.exp(limits[1]),
            "better": (draws > 0).mean(axis=0), "loss": loss, "baseline_loss": base,
            "difference": loss - base, "difference_low": gap_low, "difference_high": gap_high,
        }  # fmt: skip
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def curve_table(found: Frontiers, budgets: Floats, level: float) -> pd.DataFrame:
    """`Comparison.curve`."""
    import pandas as pd

    frames = []
    for name in found.others:
        point, draws = found.multipliers(name, np.log(budgets))
        (low, high), (band_low, band_high) = (
            np.exp(interval(draws, level)),
            np.exp(joint_interval(draws, level)),
        )
        columns = {"recipe": name, "flops": budgets, "multiplier": np.exp(point), "low": low, "high": high}
        frames.append(pd.DataFrame({**columns, "band_low": band_low, "band_high": band_high}))
    return pd.concat(frames, ignore_index=True)


def loss_table(found: Frontiers, budgets: Floats, level: float) -> pd.DataFrame:
    """`Comparison.losses`."""
    import pandas as pd

    frames = []
    for name, point in found.points.items():
        low, high = interval(found.draws[name].loss(np.log(budgets)), level)
        columns = {
            "recipe": name,
            "flops": budgets,
            "loss": point.loss(np.log(budgets)),
            "low": low,
            "high": high,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def crossing_table(found: Frontiers, budgets: Floats, level: float) -> pd.DataFrame:
    """`Comparison.crossings`."""
    import pandas as pd

    rows = []
    for name in found.others:
        point, draws = found.multipliers(name, np.log(budgets))
        at = first_crossing(point[None], np.log(budgets))
        every = first_crossing(draws, np.log(budgets))
        low, high = np.exp(interval(every[:, None], level))[:, 0]
        share = float(np.mean(~np.isnan(every)))
        rows.append((name, float(np.exp(at[0])), low, high, share, _crossing_doubt(np.exp(at[0]), low, high)))
    return pd.DataFrame(rows, columns=["recipe", "flops", "low", "high", "share", "doubt"])


def _crossing_doubt(estimate: float, low: float, high: float) -> str:
    """That the resamples cross elsewhere; "" where their interval holds the estimate, or there is none."""
    if math.isnan(estimate) or math.isnan(low) or not interval_doubt(estimate, low, high):
        return ""
    return "the interval is of the first crossing of the resamples that cross, and leaves out the estimate"


def place_table(laws: RecipeLaws, places: Sequence[tuple[float, float]], level: float) -> pd.DataFrame:
    """`Comparison.places`."""
    import pandas as pd

    counts = positive_array("compare: places", np.array(places, dtype=np.float64).reshape(-1, 2))
    params, tokens = counts[:, 0], counts[:, 1]
    points = {name: five_parameter(law) for name, law in laws.points.items()}
    kept = np.flatnonzero(laws.counted)
    draws = {name: five_parameter(law) for name, law in laws.laws.items()}
    first, *others = points
    frames = []
    for name in others:
        base, other, bases, drawn = points[first], points[name], draws[first], draws[name]
        if base is None or other is None or bases is None or drawn is None:
            raise UsageError("compare: places are for the five-parameter law and its special cases")
        bases, drawn = bases[kept], drawn[kept]
        gap = interval(np.asarray(drawn.loss(params, tokens)) - np.asarray(bases.loss(params, tokens)), level)
        loss = np.asarray(other.loss(params, tokens))
        columns: dict[str, Any] = {
            "recipe": name, "params": params, "tokens": tokens, "loss": loss,
            "difference": loss - np.asarray(base.loss(params, tokens)), "difference_low": gap[0],
            "difference_high": gap[1],
        }  # fmt: skip
        for way, of in (("same_ratio", log_multiplier_at_ratio), ("same_size", log_multiplier_at_size)):
            low, high = np.exp(interval(of(bases, drawn, params, tokens), level))
            point = np.exp(of(base, other, params, tokens))
            columns |= {way: point, f"{way}_low": low, f"{way}_high": high}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def parameter_table(laws: RecipeLaws, level: float) -> pd.DataFrame:
    """`Comparison.parameters`."""
    import pandas as pd

    first, *others = laws.points
    points = {name: law.as_dict() for name, law in laws.points.items()}
    draws = {name: law.as_dict() for name, law in laws.laws.items()}
    rows = []
    for name in others:
        for parameter, estimate in points[name].items():
            base = points[first][parameter]
            gaps = (np.asarray(draws[name][parameter]) - np.asarray(draws[first][parameter]))[laws.counted]
            low, high = interval(gaps[:, None], level)[:, 0]
            rows.append((name, parameter, estimate, base, estimate - base, low, high))
    columns = ["recipe", "parameter", "estimate", "baseline", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def tests_of_sharing(laws: RecipeLaws) -> tuple[SharingTest, ...]:
    """`Comparison.sharing`."""
    points = [five_parameter(law) for law in laws.points.values()]
    draws = [five_parameter(law) for law in laws.laws.values()]
    if laws.shared is not None or None in points or None in draws:
        return ()
    return tuple(sharing_tests(points, draws, laws.counted))  # type: ignore[arg-type]
