"""Order statistics of many lines at many places, without sorting all lines at every place.

| code      | symbol    | shape  | meaning                                                      |
|-----------|-----------|--------|--------------------------------------------------------------|
| slope     | s         | (n,)   | of each line                                                 |
| intercept | b         | (n,)   | of each line                                                 |
| x         | x         | (k,)   | places                                                       |
| ranks     | r         | (p,)   | places in the order, 0 for the lowest of the n values        |
| chord_*   | L(x), U(x)| (k, g) | chords below and above which a line cannot matter            |

At both ends of a stretch of places the n values are sorted, and chords are drawn from end to end: L between
the values some ranks below r, U between those some ranks above. A line that is below L at both ends is below
L between them too, since both are straight; likewise above U. Only the other lines are evaluated and ordered
at the places in between. Wherever their order statistic lies between L and U, it is that of all lines; the
remaining places are computed with all lines. The result is that of the full sort, bit for bit.

Lines change places where they cross, most of them about where the values spread least: there the ends are
close together, elsewhere far apart.

Where the CPU kernel is in the process, its `lines` does the same in 0.4 of the time, and in one call that
releases the GIL: the threads of a study would wait for each other at these many small operations.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.blocks import LONG

if TYPE_CHECKING:
    from chinchilla_jax.solvers.lane_kernel.kernel import Kernel

Floats = NDArray[np.float64]

_SORTED = 3000  # lines, for which sorting is faster than several partitions
_EPSILON = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)
_BUFFER = 16384  # numbers evaluated at once, 128 KiB: they stay in the cache


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stretches:
    """How the places are divided; no choice changes the result.

    The defaults are measured with 4,000 resamples at 201 budgets: 6 to 8 stretches and margins of 1.5 to 3%
    differ by a tenth of the time.

    Attributes:
        count: number of stretches.
        margin: ranks between r and a chord, as a share of the lines.
        least_inside: places within a stretch from which on choosing lines pays.
        least_places: places from which on stretches pay.
        least_lines: lines from which on stretches pay.
    """

    count: int = 7
    margin: float = 0.02
    least_inside: int = 4
    least_places: int = 64
    least_lines: int = 1500


_MEASURED = Stretches()


def line_order_statistics(
    slope: Floats,
    intercept: Floats,
    x: Floats,
    ranks: Sequence[int] | NDArray[np.int64],
    *,
    stretches: Stretches = _MEASURED,
) -> Floats:
    """The values of given ranks among `slope * x + intercept`, at each x.

    Args:
        slope: finite, shape (n,).
        intercept: may be +inf or -inf, not NaN; shape (n,).
        x: finite, in any order, shape (k,).
        ranks: between 0 and n - 1, rising, shape (p,).
        stretches: how to divide the places, without the kernel.

    Returns:
        Shape (p, k): `np.sort(slope * x + intercept)[rank]` for each rank and x.
    """
    finite = np.isfinite(intercept)
    lowest = 0
    if not finite.all():
        lowest = int(np.count_nonzero(intercept == -np.inf))
        slope, intercept = slope[finite], intercept[finite]
    relative = np.asarray(ranks) - lowest
    inside = (relative >= 0) & (relative < slope.size)
    wanted = relative[inside]
    if not wanted.size or not x.size:
        return _beyond(relative, x)
    rising = bool((x[1:] > x[:-1]).all())
    places, back = (x, slice(None)) if rising else np.unique(x, return_inverse=True)
    kernel = _loaded_kernel()
    if kernel is not None and stretches == _MEASURED and slope.size <= LONG:
        found = kernel.order_lines(slope, intercept, places, wanted)
    elif places.size < stretches.least_places or slope.size < stretches.least_lines:
        found = np.empty((len(wanted), places.size))
        buffer = np.empty(max(_BUFFER, slope.size))
        _evaluate(slope, intercept, places, wanted.tolist(), found, buffer)
    else:
        found = _by_stretches(slope, intercept, places, wanted.tolist(), stretches)
    found = found[:, back]
    if inside.all():
        return found
    out = _beyond(relative, x)
    out[inside] = found
    return out


def _beyond(ranks: NDArray[np.int64], x: Floats) -> Floats:
    """The infinity of each rank (p,) that is not among the finite lines, at every place; (p, k)."""
    return np.where(ranks < 0, -np.inf, np.inf)[:, None].repeat(x.size, axis=1)


def _loaded_kernel() -> Kernel | None:
    """The compiled kernel if something has loaded it: to do so for this would take longer than to sort."""
    loading = sys.modules.get("chinchilla_jax.solvers.lane_kernel.loading")
    return None if loading is None else loading.loaded_kernel()


def _by_stretches(
    slope: Floats, intercept: Floats, x: Floats, ranks: list[int], stretches: Stretches
) -> Floats:
    """`line_order_statistics` of finite lines at rising places."""
    n = slope.size
    largest = max(slope.max(), -slope.min()) * max(x[-1], -x[0]) + max(intercept.max(), -intercept.min())
    if not np.isfinite(largest):  # no chord bounds values beyond float64
        found = np.empty((len(ranks), x.size))
        _evaluate(slope, intercept, x, ranks, found, np.empty(max(_BUFFER, n)))
        return found
    ends = _ends(slope, intercept, x, stretches.count)
    # Neighbouring ranks, such as those between which a quantile lies, share their lines.
    starts = [i for i, rank in enumerate(ranks) if i == 0 or rank - ranks[i - 1] > 1]
    stops = [*starts[1:], len(ranks)]
    margin = max(int(stretches.margin * n), 1)
    lowest = [max(ranks[start] - margin, 0) for start in starts]
    highest = [min(ranks[stop - 1] + margin, n - 1) for stop in stops]
    needed = sorted({*ranks, *lowest, *highest})
    buffer = np.empty(max(_BUFFER, n if n > LONG else ends.size * n))
    at_ends = np.empty((len(needed), ends.size))
    if n > LONG:
        _evaluate(slope, intercept, x[ends], needed, at_ends, buffer)
    else:
        in_order = _values(slope, intercept, x[ends], buffer)
        in_order.sort(axis=1)
        at_ends[:] = in_order[:, needed].T
    out = np.full((len(ranks), x.size), np.nan)
    out[:, ends] = at_ends[np.searchsorted(needed, ranks)]
    # Rounding moves a value, or a chord, by a few units in the last place of the largest number on its way.
    rounding = 16 * _EPSILON * largest + _TINY
    low = at_ends[np.searchsorted(needed, lowest)].T - rounding
    high = at_ends[np.searchsorted(needed, highest)].T + rounding
    beyond_low, beyond_high = (low - rounding)[..., None], (high + rounding)[..., None]

    near_low, near_high, other = np.empty((3, len(starts), n), dtype=np.bool_)
    for left, (i, j) in enumerate(itertools.pairwise(ends.tolist())):
        if j - i - 1 < stretches.least_inside:
            continue
        at_end = _values(slope, intercept, x[[i]], buffer)
        np.greater_equal(at_end, beyond_low[left], out=near_low)
        np.less_equal(at_end, beyond_high[left], out=near_high)
        at_end = _values(slope, intercept, x[[j]], buffer)
        near_low |= np.greater_equal(at_end, beyond_low[left + 1], out=other)
        near_high |= np.less_equal(at_end, beyond_high[left + 1], out=other)
        near_high &= near_low
        for group, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            below = n - int(np.count_nonzero(near_low[group]))
            chosen = near_high[group].nonzero()[0]
            # At most `lowest` lines are below L at an end, so these are ranks among the chosen.
            among = [rank - below for rank in ranks[start:stop]]
            found = out[start:stop, i + 1 : j]
            _evaluate(slope[chosen], intercept[chosen], x[i + 1 : j], among, found, buffer)

    before = np.searchsorted(ends[1:-1], np.arange(x.size), side="right")
    after = before + 1
    t = ((x - x[ends[before]]) / (x[ends[after]] - x[ends[before]]))[:, None]
    first, last = out[starts].T, out[[stop - 1 for stop in stops]].T
    chord_low, chord_high = (at[before] + (at[after] - at[before]) * t for at in (low, high))
    others = (~((first >= chord_low) & (last <= chord_high)).all(axis=1)).nonzero()[0]
    if others.size:
        found = np.empty((len(ranks), others.size))
        _evaluate(slope, intercept, x[others], ranks, found, buffer)
        out[:, others] = found
    return out


def _ends(slope: Floats, intercept: Floats, x: Floats, count: int) -> NDArray[np.intp]:
    """Indices of the places where the stretches begin and end."""
    some = slice(None, None, slope.size // LONG + 1)  # enough to place the ends, which change no result
    slope, intercept = slope[some], intercept[some]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        s, b = slope - slope.mean(), intercept - intercept.mean()
        ss, sb, bb = s @ s, s @ b, b @ b
        # The spread of the values at x is proportional to the root of (x - centre)^2 + width^2.
        centre = -sb / ss
        scale = np.arcsinh((x - centre) / np.sqrt(bb / ss - centre**2))
    if not np.isfinite(scale).all():  # parallel lines, lines through one point, or numbers beyond float64
        scale = x
    inner = np.searchsorted(scale, np.linspace(scale[0], scale[-1], count + 1)[1:-1])
    return np.array(sorted({0, x.size - 1}.union(inner.tolist())))


def _evaluate(
    slope: Floats, intercept: Floats, x: Floats, ranks: list[int], out: Floats, buffer: Floats
) -> None:
    """Evaluate these lines at every place, block by block, and put the order statistics into `out`."""
    places = buffer.size // slope.size
    for start in range(0, x.size, places):
        part = slice(start, start + places)
        _select(_values(slope, intercept, x[part], buffer), ranks, out[:, part])


def _values(slope: Floats, intercept: Floats, x: Floats, buffer: Floats) -> Floats:
    values = buffer[: x.size * slope.size].reshape(x.size, slope.size)
    np.multiply(x[:, None], slope, out=values)
    values += intercept
    return values


def order_statistics(values: Floats, ranks: Sequence[int]) -> Floats:
    """The values of rising `ranks`, (p,), among `values` (n,), which are reordered."""
    found = np.empty((len(ranks), 1))
    if ranks:
        _select(values[None], list(ranks), found)
    return found[:, 0]


def _select(rows: Floats, ranks: list[int], out: Floats) -> None:
    """Put the values of rising `ranks` in each row, (k, n), into `out`, (p, k); the rows are reordered.

    Partitions at the middle rank, then each side at its own: NumPy is fast at one rank and slow at several.
    """
    if len(ranks) == 1 and ranks[0] in (0, rows.shape[1] - 1):
        (np.minimum if ranks[0] == 0 else np.maximum).reduce(rows, axis=1, out=out[0])
        return
    if len(ranks) > 2 and rows.shape[1] < _SORTED:
        rows.sort(axis=1)
        out[:] = rows[:, ranks].T
        return
    middle = len(ranks) // 2
    rank = ranks[middle]
    rows.partition(rank, axis=1)
    out[middle] = rows[:, rank]
    if middle:
        _select(rows[:, :rank], ranks[:middle], out[:middle])
    if middle + 1 < len(ranks):
        rest = [other - rank - 1 for other in ranks[middle + 1 :]]
        _select(rows[:, rank + 1 :], rest, out[middle + 1 :])
