"""The run that narrows an answer most among those that the ladder's factor allows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.text import flops_text
from chinchilla_jax.planning.design.asking import ask
from chinchilla_jax.planning.design.candidates import Limits

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.solvers import SolverOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Narrowing:
    """What to train for an answer.

    Attributes:
        params: parameters (count).
        tokens: training tokens (count).
        gain: target (as text), width (of its interval, to first order, on the scale of the target) and after
            (with this run).
    """

    params: float
    tokens: float
    gain: dict[str, Any]


def narrowest_run(
    runs: Runs,
    target: str,
    largest: float,
    *,
    level: float = 0.8,
    resamples: int = 1000,
    seed: int = 0,
    options: SolverOptions | None = None,
) -> Narrowing:
    """The best single run to first order, see `planning.design`.

    Args:
        runs: those that are done.
        target: what to narrow, as for `next_runs`; its budget is `largest` where it names none.
        largest: most that the run may cost, 6 N D (FLOP).
        level: mass of the interval.
        resamples: of the bootstrap of the runs.
        seed: of the resamples.
        options: of the fits.

    Raises:
        UsageError: no run narrows it, or the target has no meaning.
    """
    limits = Limits(largest=largest)
    question = ask(
        runs, target=target, flops=largest, allowance=largest, limits=limits, level=level,
        resamples=resamples, seed=seed, cost="6nd", options=options,
    )  # fmt: skip
    chosen = question.plain.choose(largest, 1)
    if not chosen:
        raise UsageError(
            f"no run of up to {flops_text(largest)} FLOP narrows {target}; leave it out, or take another"
        )
    place = question.places.take(np.array(chosen, np.intp))
    return Narrowing(
        params=float(place.params[0]),
        tokens=float(place.tokens[0]),
        gain={
            "target": question.targets[0].text,
            "width": float(question.widths(())[0]),
            "after": float(question.widths(chosen)[0]),
        },
    )
