"""What training costs, as an analysis counts it: the options of the dimension "cost".

| option    | C                                                                                          |
|-----------|--------------------------------------------------------------------------------------------|
| 6nd       | 6 N D                                                                                      |
| measured  | c N^a D^b, fitted to the FLOP of the runs that count, where the table has them             |
| attention | c N^a D, fitted to the FLOP of the table's architectures, attention and embedding included |

N is the count of the analysis in all three.
"""

from __future__ import annotations

import numpy as np

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax.datasets import Runs
from chinchilla_jax.datasets.architectures import chinchilla_architectures
from chinchilla_jax.datasets.catalogue import is_embedded
from chinchilla_jax.laws.compute import SIX_ND, Cost
from chinchilla_jax.planning.architecture_costs import embedded_cost
from chinchilla_jax.study.multiverse.options import COSTS, listed

SIX, MEASURED, ATTENTION = COSTS


def read_costs(given: object, runs: Runs) -> tuple[str, ...]:
    """The options of a table: those that were given, or all that it has.

    Args:
        given: names; None for all.
        runs: all runs, in the plain counting.

    Raises:
        UsageError: the table has no such cost.
    """
    offered = [SIX]
    if not runs.cost.is_6nd:
        offered.append(MEASURED)
    if has_architectures(runs):
        offered.append(ATTENTION)
    asked = offered if given is None else listed("costs", given)
    for name in asked:
        if not isinstance(name, str) or name not in COSTS:
            raise unknown_name("cost", name, COSTS)
        if name not in offered:
            if name == MEASURED:
                why = "its table has no FLOP other than 6 N D"
            elif runs.name == "chinchilla" and is_embedded(runs):
                why = "its models are found by their reported counts; list the counting as_plotted first"
            else:
                why = "the architecture of its models is known of chinchilla alone"
            raise UsageError(f"multiverse: cost {short(name)}: {why}; leave it out")
    return tuple(asked)


def has_architectures(runs: Runs) -> bool:
    """Whether the architecture of each run is known: of the embedded chinchilla, by its table's counts."""
    return runs.name == "chinchilla" and is_embedded(runs) and runs.counting in ("as_plotted", "reported")


def cost_of(option: str, runs: Runs, plotted: Runs) -> Cost:
    """What training costs by an option.

    Args:
        option: one of `COSTS` that the table has.
        runs: the runs that count, in the counting of the analysis.
        plotted: the same runs in the plain counting, by which a run finds its architecture.
    """
    if option == SIX:
        return SIX_ND
    if option == MEASURED:
        return runs.cost
    models, first = np.unique(chinchilla_architectures().rows(plotted.params), return_index=True)
    return embedded_cost(runs.params[first], models)
