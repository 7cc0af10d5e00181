"""Parameters that run off: towards a limit that the runs do not tell from any large value.

Notation (B lanes, p coordinates)
    theta     where a lane ended (B, p)
    held      the coordinate that may have run off, (B,)
    P(q)      objective at its lowest over all coordinates but `held`, which is q

A solver follows a parameter that the runs do not bound until it runs out of steps, and more steps take it
further. So P is followed instead, with strides that grow: where it falls and levels off, the limit is as good
as anything that the solver found, and no finite value is an estimate. Where P rises again, or goes on
falling, nothing is claimed. This needs nothing of a law but its formula.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.text import list_text
from chinchilla_jax.laws.objectives import ZonedObjective
from chinchilla_jax.solvers.dispatch import has_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws import Design, Law
    from chinchilla_jax.solvers import Problem
    from chinchilla_jax.solvers.jax_newton.held import Profile

    Floats = NDArray[np.float64]

_FAR = 14.0  # shift of a logarithm, about a million times, over which a flat objective is flat for good
_FLAT = 1e-4  # relative change of the objective, for a stride of 1, that no table can tell from none
_FIRST, _LONGER, _LONGEST = math.log(1.4), 1.4, math.log(4.0)  # strides, in ln of how many times further
_STRIDES, _FAILURES = 24, 3  # most strides; failures in a row, each followed by half the stride
_WORSE = 1.05  # value, in that of the last stride, above which the next minimum is far
_LEVEL, _FURTHER = 2, math.log(30.0)  # level strides in a row that P ends with, and all strides together
_RISE = 3e-4  # of P from its lowest, relative, that level strides may add up to
_TRIED = 3  # parameters of a lane that are followed, one after the other
_ALONG = 0.5  # share of the logarithmic change of the held parameter from which another goes with it
_MOST = 4096  # lanes that are followed


_VERBS = {
    "inf": ("grows without limit", "grow without limit"),
    "-inf": ("falls without limit", "fall without limit"),
    "0": ("falls to zero", "fall to zero"),
    "bound": ("reaches its bound", "reach their bounds"),
}


@dataclasses.dataclass(frozen=True)
class RunOff:
    """The parameters of one lane that run off, and where to.

    Attributes:
        to: parameter to "inf", "-inf", "0" or "bound"; the one that was followed first.
        meanings: what the law is in the limit, in words, as far as it says.
    """

    to: Mapping[str, str]
    meanings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As in "R_N grows without limit"."""
        ways: dict[str, list[str]] = {}
        for name, where in self.to.items():
            ways.setdefault(where, []).append(name)
        return list_text([f"{list_text(names)} {_VERBS[to][len(names) > 1]}" for to, names in ways.items()])

    @property
    def first(self) -> str:
        """The same of the parameter that was followed."""
        return str(RunOff(dict([next(iter(self.to.items()))])))

    @property
    def sentence(self) -> str:
        """What happened and what to do."""
        them, one = ("it", next(iter(self.to))) if len(self.to) == 1 else ("them", "these")
        meaning = f"; in the limit {list_text(list(self.meanings))}" if self.meanings else ""
        return (
            f"{self}: the table does not bound {them}{meaning}; add runs that differ in what {one} "
            f"act{'s' * (len(self.to) == 1)} on, or fit a law with fewer parameters."
        )


def can_be_followed(problem: Problem) -> bool:
    """Whether `run_offs` knows the derivatives: of any law but where the kernel fits it, under any zone."""
    return isinstance(problem.objective, ZonedObjective) and not has_kernel(problem.law, problem.objective)


def run_offs(problem: Problem, weights: NDArray[Any], theta: Floats) -> list[RunOff | None]:
    """What runs off in lanes that ended without a certificate at theta (B, p), or None.

    Args:
        problem: what was fitted.
        weights: (B, n) or (1, n).
        theta: where the lanes ended.
    """
    found: list[RunOff | None] = [None] * len(theta)
    if not can_be_followed(problem):
        return found
    from chinchilla_jax.solvers.jax_newton.held import Profile

    lanes = np.flatnonzero(np.isfinite(theta).all(axis=1))[:_MOST]
    if not len(lanes):
        return found
    rows = np.broadcast_to(weights, (len(theta), weights.shape[1]))[lanes]
    units = _units(problem.law)
    with np.errstate(all="ignore"):
        candidates = _candidates(problem, Profile(problem, rows), rows, theta[lanes], units)
    left = np.arange(len(lanes))
    for held, sign in candidates:
        lane = lanes[left]
        with np.errstate(all="ignore"):
            ends, levelled = _followed(
                Profile(problem, rows[left]), theta[lane], held[left], sign[left], units
            )
        for i in np.flatnonzero(levelled):
            found[lane[i]] = _named(problem.law, problem.design, theta[lane[i]], ends[i], held[left[i]])
        left = left[~levelled]
        if not len(left):
            break
    return found


def _units(law: Law) -> Floats:
    """A typical change of each coordinate (p,); 0 where it is the logarithm of what it multiplies."""
    kinds = getattr(law, "kinds", None)
    if kinds is None:
        found = np.ones(law.size)
    else:
        found = np.array(
            [(kind.high - kind.low) / 4 if kind.kind == "real" else 1.0 for kind in kinds.values()]
        )
    found[list(law.amplitudes)] = 0.0
    return found


def _candidates(
    problem: Problem, profile: Profile, weights: Floats, theta: Floats, units: Floats
) -> list[tuple[NDArray[np.intp], Floats]]:
    """The coordinates that have most likely run off, likeliest first, and which way; (B,) each."""
    law, here = problem.law, profile.at(theta)
    # Along the direction of least curvature, downhill, those that move most in their own unit.
    gradient, _, vectors, size = profile.scaled(here)
    weakest = vectors[:, :, 0] * np.where(np.sum(vectors[:, :, 0] * gradient, axis=1) > 0, -1.0, 1.0)[:, None]
    moves = weakest / size / np.where(units > 0, np.maximum(np.abs(theta), units), 1.0)
    moves[:, list(law.bounded)] = 0.0
    held = np.argsort(-np.abs(moves), axis=1)[:, :_TRIED]
    sign = np.where(np.take_along_axis(moves, held, axis=1) < 0, -1.0, 1.0)
    # A logarithm on which nothing depends any more, far out, needs no direction.
    ways = [(int(j), way) for j in np.flatnonzero(units == 0) for way in (-1.0, 1.0)]
    if ways:
        values = [_value(problem, weights, theta)]
        for j, way in ways:
            far = theta.copy()
            far[:, j] += way * _FAR
            values.append(_value(problem, weights, far))
        change = np.nan_to_num(np.abs(np.array(values[1:]) / values[0] - 1.0), nan=np.inf)
        # Where either way is flat, on the way that it has gone.
        middle = np.array([_middle(law, j) for j, _ in ways])
        back = (theta[:, [j for j, _ in ways]] - middle).T * np.array([way for _, way in ways])[:, None] < 0
        flattest = (np.maximum(change, _FLAT) + np.where(back, _FLAT, 0.0)).argmin(axis=0)
        flat = change.min(axis=0) <= _FLAT
        held[:, 0] = np.where(flat, np.array([j for j, _ in ways])[flattest], held[:, 0])
        sign[:, 0] = np.where(flat, np.array([way for _, way in ways])[flattest], sign[:, 0])
    return list(zip(held.T, sign.T, strict=True))


def _middle(law: Law, place: int) -> float:
    """Where a logarithm begins."""
    kinds = getattr(law, "kinds", None)
    if kinds is None:
        return 0.0
    kind = kinds[law.parameters[place]]
    return float(kind.coordinate(kind.guess))


def _value(problem: Problem, weights: Floats, theta: Floats) -> Floats:
    return np.asarray(np.sum(np.where(weights > 0, problem.losses(theta), 0.0) * weights, axis=1))


def _followed(
    profile: Profile, theta: Floats, held: NDArray[np.intp], sign: Floats, units: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Where P ends (B, p), and whether it fell and levelled off there; (B,)."""
    every, unit = np.arange(len(theta)), units[held]
    here, _ = profile.minima(profile.at(theta), held)
    stride, total, best = np.full(len(theta), _FIRST), np.zeros(len(theta)), here.value
    level, failures = np.zeros(len(theta), int), np.zeros(len(theta), int)
    for _ in range(_STRIDES):
        running = ((level < _LEVEL) | (total < _FURTHER)) & (failures < _FAILURES) & np.isfinite(here.value)
        if not running.any():
            break
        factor = np.exp(stride)
        further = (factor - 1.0) * np.maximum(np.abs(here.theta[every, held]), unit)
        moved = running * sign * np.where(unit > 0, further, stride)
        # Others grow like it, or settle.
        others = tuple(moved * each / stride for each in (factor - 1.0, 1.0 - 1.0 / factor))
        there = profile.moved(here, held, moved, (moved, *others))
        there, _ = profile.minima(there, held, running & (there.value > _WORSE * here.value))
        fallen = (here.value - there.value) / np.abs(here.value)
        sound = running & (fallen >= -_FLAT * stride)
        here = here.replaced(there, sound)
        best = np.minimum(best, here.value)
        total += np.where(sound, stride, 0.0)
        level = np.where(sound, np.where(np.abs(fallen) <= _FLAT * stride, level + 1, 0), level)
        failures = np.where(sound, 0, failures + running)
        stride = np.where(sound, np.minimum(_LONGER * stride, _LONGEST), 0.5 * stride)
    # A slow rise adds up.
    return here.theta, (level >= _LEVEL) & (total >= _FURTHER) & (here.value <= best * (1.0 + _RISE))


def _named(law: Law, design: Design, theta: Floats, end: Floats, held: int) -> RunOff | None:
    """What the natural parameters did between where a lane ended and where P levelled off."""
    with np.errstate(all="ignore"):
        before, after = (
            {name: float(value) for name, value in law.natural(each, design).items()} for each in (theta, end)
        )
    moved = {name: _change(before[name], after[name]) for name in before}
    names = list(before)
    first = max(names, key=lambda name: abs(moved[name]))
    kinds = getattr(law, "kinds", None)
    if kinds is not None:
        first = names[held]
        if kinds[first].kind == "between":
            return RunOff({first: "bound"})
    others = [name for name in names if abs(moved[name]) >= max(_ALONG * abs(moved[first]), 1.0)]
    to, meanings = {}, []
    for name in [first, *(name for name in others if name != first)]:
        to[name] = "0" if moved[name] < 0 else "inf" if after[name] > 0 else "-inf"
        if (meaning := law.limits.get((name, float(to[name])))) is not None:
            meanings.append(meaning)
    return RunOff(to, tuple(meanings))


def _change(before: float, after: float) -> float:
    """Ln of how many times further from zero a parameter is."""
    if not (math.isfinite(before) and before):
        return 0.0
    if not math.isfinite(after):
        return math.inf
    return math.log(max(abs(after), 1e-300)) - math.log(abs(before))  # a quotient may underflow


def run_off_warnings(found: Mapping[int, RunOff], total: int) -> tuple[str, ...]:
    """A sentence about the lanes that run off, out of `total`; none where none does."""
    counts = Counter(each.first for each in found.values())
    if not counts:
        return ()
    ways = list_text([f"in {count:,} of {total:,} resamples {what}" for what, count in counts.most_common()])
    return (
        f"{ways}, which the table hardly bounds: the intervals are of the other resamples; add runs that "
        "differ in what such a parameter acts on, or fit a law with fewer parameters",
    )
