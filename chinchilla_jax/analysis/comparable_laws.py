"""Which laws a table can be asked about: those whose variables it has, and why others are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.text import list_text
from chinchilla_jax.laws import LAWS, Law

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs

ONLY_WHERE_NAMED = {
    "fixed_floor": "takes its irreducible loss from another table",
    "over_training": "is equal_exponents in other parameters",
    "farseer": "has nine parameters, which few tables determine, and is slow to fit",
    "compute_only": "is a law of the best run of each budget",
}
"""Laws that are compared only where a caller names them, and why."""


def comparable_laws(runs: Runs) -> tuple[list[Law], list[str]]:
    """The built-in laws that are compared unless others are named.

    Args:
        runs: n runs; `load_runs(known_variables=True)` reads the further variables that their table has.

    Returns:
        The laws whose variables the runs have, and a sentence for each of the others.
    """
    chosen: list[Law] = []
    left_out: list[str] = []
    for name, kind in LAWS.items():
        law = kind()
        missing = [column for column in law.columns if column not in runs.variables]
        if missing:
            left_out.append(f"{name} needs {list_text(missing)}, which the runs do not have")
        elif name in ONLY_WHERE_NAMED:
            left_out.append(f"{name} {ONLY_WHERE_NAMED[name]}; name it to compare it")
        else:
            chosen.append(law)
    return chosen, left_out
