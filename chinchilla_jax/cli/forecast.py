"""How long the work of a command takes, said before it starts.

The costs are measured on two cores of an AMD EPYC, on tables of 60 and 240 runs (benchmarks/RESULTS.md,
"What the commands forecast"). What they do not know of a table and a law makes them up to three times too
small or too large; the bar beside the work shows how fast it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.text import count_text, duration_text

if TYPE_CHECKING:
    from chinchilla_jax.laws import Law

_WORTH_SAYING = 2.0  # seconds
_CORES = 2
_RUNS = 240  # below, time does not fall further
_KERNEL_LAW = "chinchilla"  # has the compiled kernel


class _Cost(NamedTuple):
    """Seconds to begin, and for each unit of work: by the kernel, and for each other law."""

    begin: float
    unit: float
    begin_law: float
    unit_law: float


_COSTS = MappingProxyType(
    {
        "bootstrap": _Cost(0.1, 3e-6, 1.5, 60e-6),
        "compare": _Cost(0.5, 45e-6, 3.0, 1e-3),
        "next runs": _Cost(0.1, 12e-6, 3.0, 80e-6),
        "objectives": _Cost(2.5, 0.2e-3, 3.0, 1.5e-3),
        "multiverse": _Cost(1.0, 16e-6, 3.0, 0.12e-3),
        "forms": _Cost(0.5, 0.1e-3, 1.7, 0.6e-3),
        "ensemble": _Cost(0.1, 10e-6, 1.5, 0.1e-3),
        "coverage": _Cost(0.3, 0.04, 3.0, 0.3),
        "breakdown": _Cost(0.3, 0.8, 3.0, 12.0),
        "backtest": _Cost(0.2, 0.4e-3, 2.0, 2.5e-3),
        "influence": _Cost(0.1, 1e-3, 1.8, 1e-3),
    }
)
"""By the label of the progress bar."""


def forecast_seconds(label: str, total: int, laws: Sequence[Law], n_runs: int) -> float:
    """About how long the work takes on this machine's cores.

    Args:
        label: of the progress bar.
        total: units of work, of all laws together.
        laws: that are fitted.
        n_runs: of the table.
    """
    cost, names = _COSTS[label], {law.name for law in laws}
    others = names - {_KERNEL_LAW}
    slower = max(n_runs / _RUNS, 1.0) * _CORES / available_cores()  # than where it was measured
    by_law = total / max(len(names), 1)
    seconds = len(others) * (cost.begin_law + by_law * cost.unit_law * slower)
    if _KERNEL_LAW in names:
        seconds += cost.begin + by_law * cost.unit * slower
    return seconds


def forecast_line(label: str, total: int, unit: str, laws: Sequence[Law], n_runs: int) -> str:
    """The work and about how long it takes; "" where that is too short to be said."""
    seconds = forecast_seconds(label, total, laws, n_runs)
    if seconds < _WORTH_SAYING:
        return ""
    names = dict.fromkeys(law.name for law in laws)
    under = f"under {count_text(len(names), 'law')}" if len(names) > 1 else f"under law {next(iter(names))}"
    first = "; the first time some seconds more a law, to compile" if set(names) - {_KERNEL_LAW} else ""
    return (
        f"{label}: {total:,} {unit} of {count_text(n_runs, 'run')} {under}: about {duration_text(seconds)} "
        f"on {count_text(available_cores(), 'core')}{first}"
    )
