"""Rows in another unit than the rest whose numbers are possible all the same: a jump that no law explains.

A thousandth of the tokens of a run is still a number of tokens. But the run's loss is far from a law through
the other rows, and on it once the unit is mended. That is what is looked for: a row without which a law fits
far better, and a factor of a thousand, a million, ... for one of its columns that puts it back on that law.

| code     | symbol | shape  | what                                                      |
|----------|--------|--------|-----------------------------------------------------------|
| logs     |        | (2, n) | ln N and ln D of each run                                 |
| features |        | (n, 3) | 1, N^-a, D^-b at exponents of a grid, scaled to be near 1 |
| residual | r_i    | ()     | loss of a row over that of the law of the others, less 1  |
| spread   |        | ()     | of the others' residuals: their median size times 1.48    |
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import DataError, DataWarning, short
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax.datasets.quantities import Columns
from chinchilla_jax.datasets.runs import Runs
from chinchilla_jax.datasets.table import Table

Floats = NDArray[np.float64]

_EXPONENTS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.75)
_FACTORS = tuple(10.0**power for power in (-12, -9, -6, -3, 3, 6, 9, 12))
_FEWEST = 9  # runs: a law through fewer explains anything
_MANY, _FEW_ODD = 2000, 4  # of so many runs only so few rows are looked at
_FAR_AWAY = 100.0  # factor beyond the range of the others of a row that is warned of where there are fewer
# A residual is a jump from so much of the loss, and from so many spreads of the others; the second where the
# row is outside their range, which a unit makes it and training does not.
_FAR, _SPREADS = (0.12, 0.03), (15.0, 6.0)
_NEAR = 4.0  # spreads within which a mended row is explained
_EXPLAINED = 0.2  # spread of the others over that of their losses: above this, their law explains little
_VARIED = 0.02  # of the loss: losses that vary less say nothing of units
_ROUND = 0.02  # of the loss: a spread below this is that of exact tables
_AROUND = 3.0  # factor beyond the range of the others within which a mended row lies
_OUTSIDE = 5.0  # factor beyond the range of the others at which a row is outside
_ANY_LOSS = 1e50  # a loss this many times another is no loss
_MOST_ODD = 20  # rows far from the law of the others, of which some may be in another unit


@dataclasses.dataclass(frozen=True)
class _Mended:
    """The rows that are in another unit, and by which factor their column is to be multiplied."""

    quantity: str
    factor: float
    rows: tuple[int, ...]


def require_no_jump(table: Table, columns: Columns, runs: Runs) -> None:
    """Refuse rows that only another unit explains; units that were stated are not questioned.

    Raises:
        DataError: one line with the rows, the column and the factor.
    """
    given = [name for name in ("params", "tokens", "flops") if name in columns.positions]
    free = [name for name in given if name not in table.units]
    if len(given) == 3 or not free:  # three that agree with C = 6 N D are in their units
        return
    if len(runs) < _FEWEST:
        _warn_of_far_row(table, runs, given, free)
        return
    found = _wrong_rows(runs, given, free)
    if found is not None:
        values = columns.arrays[found.quantity][list(found.rows)] / columns.units[found.quantity].factor
        shown = f"{values[0]:.4g}" + (", ..." if len(values) > 1 else "")
        times = f"{found.factor:g} times more" if found.factor > 1 else f"{1 / found.factor:g} times less"
        raise DataError(
            f"{table.where}: {table.name_rows(list(found.rows))}, column "
            f"{short(table.header[columns.positions[found.quantity]])}: {shown} does not go with the loss; "
            f"{times} would, as in the other rows: another unit? correct it (or pass --unit "
            f"{found.quantity}={columns.units[found.quantity].name} if it is right)"
        )


def _warn_of_far_row(table: Table, runs: Runs, given: list[str], free: list[str]) -> None:
    """Warn of a row far from the others that another unit would put among them, where no law can tell."""
    logs: Floats = np.log(np.stack([runs.params, runs.tokens]))
    for row in range(len(runs)):
        others = np.delete(logs, row, axis=1)
        if _is_among(logs[:, row], others, _FAR_AWAY):
            continue
        for name, factor, move in _moves(given, free):
            if _is_among(logs[:, row] + move, others, _AROUND):
                ratio = runs.tokens[row] / runs.params[row]
                warn_user(
                    f"{table.where}: {table.name_rows([row])}: {ratio:.3g} tokens per parameter, far from "
                    f"the other rows; {name} in another unit (by a factor of {factor:g})?",
                    DataWarning,
                )
                return


def _wrong_rows(runs: Runs, given: list[str], free: list[str]) -> _Mended | None:
    """Rows that are each in another unit, all by one factor in one column."""
    logs: Floats = np.log(np.stack([runs.params, runs.tokens]))
    with np.errstate(all="ignore"):
        loss: Floats = runs.loss / np.median(runs.loss)
    if loss.min() < 1 / _ANY_LOSS or loss.max() > _ANY_LOSS:
        return None
    kept = np.arange(len(runs))
    odd: list[int] = []
    row, law, spread = _worst(logs, loss)
    most = min(_MOST_ODD if len(runs) <= _MANY else _FEW_ODD, max(3, len(runs) // 5))
    while len(kept) > _FEWEST and len(odd) < most:
        residual = _residual(law, logs[:, kept[row]], float(loss[kept[row]]))
        if abs(residual) < max(_FAR[1], _SPREADS[1] * spread):
            break
        odd.append(int(kept[row]))
        kept = np.delete(kept, row)
        row, law, spread = _worst(logs[:, kept], loss[kept])
    varied = float(np.std(np.log(loss[kept])))
    if varied < _VARIED or spread > _EXPLAINED * varied or not law.falls:
        return None
    found = {
        bad: mended
        for bad in odd
        if (mended := _mend(law, spread, logs[:, bad], logs[:, kept], float(loss[bad]), given, free))
    }
    if not found:
        return None
    quantity, factor = next(iter(found.values()))
    rows = sorted(bad for bad, mended in found.items() if mended == (quantity, factor))
    return _Mended(quantity, factor, tuple(rows))


@dataclasses.dataclass(frozen=True, eq=False)
class _Law:
    exponents: tuple[float, float]
    centre: Floats
    coefficients: Floats

    @property
    def falls(self) -> bool:
        """Whether the loss falls with parameters and with tokens."""
        return bool(np.all(self.coefficients[1:] >= 0))

    def predict(self, logs: Floats) -> Floats:
        return _features(logs, self.exponents, self.centre) @ self.coefficients


def _features(logs: Floats, exponents: tuple[float, float], centre: Floats) -> Floats:
    powers = [np.exp(np.clip(-a * (x - c), -50, 50)) for a, x, c in zip(exponents, logs, centre, strict=True)]
    return np.stack([np.ones_like(powers[0]), *powers], axis=-1)


def _residual(law: _Law, place: Floats, loss: float) -> float:
    predicted = float(law.predict(place[:, None])[0])
    return loss / predicted - 1 if predicted > 0 else math.inf


def _worst(logs: Floats, loss: Floats) -> tuple[int, _Law, float]:
    """The row without which a law fits the others best, that law, and the spread of the others around it.

    Leaving out row i takes e_i^2 / (1 - h_i) from the sum of squares, with leverage h_i: no fit is repeated.
    """
    n = len(loss)
    centre: Floats = np.median(logs, axis=1)
    best: tuple[float, int, tuple[float, float]] = (math.inf, 0, (0.3, 0.3))
    grid = _EXPONENTS if n <= _MANY else _EXPONENTS[1::2]
    for exponents in itertools.product(grid, grid):
        features = _features(logs, exponents, centre) / loss[:, None]
        q, _ = np.linalg.qr(features)
        e = 1 - q @ (q.T @ np.ones(n))
        leverage = np.minimum(np.sum(q * q, axis=1), 1 - 1e-9)
        without = e @ e - e * e / (1 - leverage)
        row = int(np.argmin(without))
        if without[row] < best[0]:
            best = (float(without[row]), row, exponents)
    _, row, exponents = best
    others = np.delete(np.arange(n), row)
    features = _features(logs[:, others], exponents, centre) / loss[others, None]
    coefficients: Floats = np.linalg.lstsq(features, np.ones(n - 1), rcond=None)[0].astype(np.float64)
    spread = 1.4826 * float(np.median(np.abs(features @ coefficients - 1)))
    return row, _Law(exponents, centre, coefficients), spread


def _mend(
    law: _Law, spread: float, place: Floats, others: Floats, loss: float, given: list[str], free: list[str]
) -> tuple[str, float] | None:
    """The column and factor that put a row on the law of the others; None if none does, or none need."""
    residual = _residual(law, place, loss)
    outside = not _is_among(place, others, _OUTSIDE)
    # A loss far above the law of a row among the others is that of a run that diverged.
    if abs(residual) < max(_FAR[outside], _SPREADS[outside] * spread) or not (outside or residual < 0):
        return None
    near = min(max(_NEAR * spread, _ROUND), abs(residual) / 2)
    found = []
    for name, factor, move in _moves(given, free):
        left = abs(_residual(law, place + move, loss))
        if left <= near and _is_among(place + move, others, _AROUND):
            found.append((left, name, factor))
    if not found:
        return None
    _, name, factor = min(found)
    return name, factor


def _moves(given: list[str], free: list[str]) -> Iterator[tuple[str, float, Floats]]:
    """Each column and factor with what it does to ln N and ln D, the third being computed from C = 6 N D."""
    for name, factor in itertools.product(free, _FACTORS):
        step = math.log(factor)
        if name == "params":
            move = (step, -step if "flops" in given else 0.0)
        elif name == "tokens":
            move = (-step if "flops" in given else 0.0, step)
        else:
            move = (0.0, step) if "params" in given else (step, 0.0)
        yield name, factor, np.array(move)


def _is_among(place: Floats, others: Floats, factor: float) -> bool:
    """Whether params, tokens and tokens per parameter are within those of the others, up to a factor."""
    rows = np.vstack([others, others[1] - others[0]])
    point = np.array([*place, place[1] - place[0]])
    slack = math.log(factor)
    return bool(np.all(point >= rows.min(axis=1) - slack) and np.all(point <= rows.max(axis=1) + slack))
