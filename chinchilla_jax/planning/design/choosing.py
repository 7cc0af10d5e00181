"""Which runs to train next: those that narrow an answer most for an allowance.

Two stages. Of the candidates, the best choice to first order is found by exchange (information.py,
exchange.py). It is then simulated beside what less money buys and what simple rules choose (simulation.py),
and gives way to what is narrower there by more than the error of the simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax._util.reporting import reporting, started
from chinchilla_jax._util.validation import positive_number, resample_count, whole_number
from chinchilla_jax.bootstrapping.few_groups import COUNTED_RUNS
from chinchilla_jax.bootstrapping.schemes import Bayesian
from chinchilla_jax.planning.design.answer_tables import price_table, run_table, width_table
from chinchilla_jax.planning.design.asking import ask
from chinchilla_jax.planning.design.question import Question
from chinchilla_jax.planning.design.result import NextRuns
from chinchilla_jax.planning.design.rules import rule_choices
from chinchilla_jax.planning.design.several_laws import (
    alone_name,
    law_table,
    mean_over,
    together,
    under_others,
)
from chinchilla_jax.planning.design.simulation import require_weights, simulate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from chinchilla_jax._util.reporting import ProgressLike
    from chinchilla_jax.bootstrapping.schemes import Scheme
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Cost, Law, Objective
    from chinchilla_jax.laws.objectives import Delta
    from chinchilla_jax.planning.design.candidates import Limits
    from chinchilla_jax.planning.design.steps import Steps
    from chinchilla_jax.planning.design.targets import Target
    from chinchilla_jax.planning.prediction_places import Places
    from chinchilla_jax.solvers import SolverOptions

_MOST_RUNS = 64
_PARTS = {0.5: "for half of it", 0.1: "for a tenth"}  # of the allowance, for which choices are simulated too
_CERTAIN = 2.0  # Monte-Carlo errors by which a choice is better than that to first order
_LEAST_REFITS = 50  # for a width that is less than 5% too narrow
_RESTS = 0.5  # share of the gain that rests on the law, from which it is said


@reporting
def next_runs(
    data: Runs | TableLike,
    law: Law | str = "chinchilla",
    *,
    target: str | Target | Sequence[str | Target] = "tokens_per_param",
    flops: ArrayLike | None = None,
    allowance: float,
    runs: int = 3,
    candidates: Places | TableLike | None = None,
    limits: Limits | Mapping[str, object] | None = None,
    against: Runs | TableLike | None = None,
    robust: bool = False,
    laws: Sequence[Law | str] = (),
    once: bool = False,
    steps: Steps | Mapping[str, object] | None = None,
    level: float = 0.8,
    resamples: int = 1000,
    tables: int = 64,
    refits: int = 200,
    seed: int = 0,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    weights: ArrayLike | None = None,
    scheme: Scheme | str = "auto",
    cost: Cost | str | None = None,
    variables: Mapping[str, float] | None = None,
    options: SolverOptions | None = None,
    progress: ProgressLike = "auto",
) -> NextRuns:
    """Choose the runs that narrow an interval most for an allowance.

    Args:
        data: n runs, or a table of them: anything that `load_runs` takes.
        law: a law or its name, see `laws.LAWS`.
        target: what to narrow, or several: tokens_per_param, params, tokens (of the optimum), loss or
            multiplier at a budget, loss at a place, an exponent a or b, or a parameter of the law; as text
            `NAME[@FLOP or @PARAMS,TOKENS][=WEIGHT]`.
        flops: the budget (FLOP) of targets that name none, or several: each is then a target at every one,
            and the mean of ln(width) over all targets is narrowed; `widths` has the width at each. None for
            that of Gopher and Chinchilla (5.76e23) on "chinchilla", and for the largest run on other tables.
        allowance: what the new runs may cost together (FLOP).
        runs: how many there may be.
        candidates: a table of runs to choose from, as for `predict`; None for a grid that the runs suggest.
        limits: what one run may be, see `Limits`; or its fields by name.
        against: another table, for the target multiplier; its law is taken as known.
        robust: choose by what is left if the law may bend, see information.py.
        laws: further laws that may be right: what is narrowest on average over `law` and these is chosen, and
            widths under each are in `by_law`.
        once: whether each candidate can be chosen once only.
        steps: in what steps runs come, see `Steps`; or its fields by name.
        level: mass of the intervals.
        resamples: of the bootstrap of the runs.
        tables: simulated tables for each choice, and
        refits: resamples of each.
        seed: of everything that is drawn.
        objective: as for `bootstrap`; the same for delta, weights, scheme and options.
        delta: see there.
        weights: see there.
        scheme: see there; one that weights the runs.
        cost: what training costs, as for `plan`.
        variables: the law's further variables where targets are read, by name.
        options: see there.
        progress: as for `bootstrap`; a function is called with the number of fits
            just finished, out of about `fits_of`.

    Raises:
        DataError: a table cannot be read.
        UsageError: an argument has no meaning, the law has no such target, or the allowance pays for no
            candidate.
        NoEstimateError: the fit is not certified, or most of the laws lack the target.

    Example:
        >>> asked = cj.next_runs(runs, flops=1e22, allowance=1e21, resamples=50, tables=4, refits=50)
        >>> len(asked.table)
        3
    """
    allowance = positive_number("allowance", allowance, remedy="give FLOP such as 1e20")
    most = whole_number("runs", runs, low=1, high=_MOST_RUNS)
    tables, refits = resample_count("tables", tables), resample_count("refits", refits)
    advance = started(progress, "next runs", fits_of(resamples, tables, refits, 1 + len(laws)))
    question = ask(
        data, law, target=target, flops=flops, allowance=allowance, candidates=candidates, limits=limits,
        against=against, once=once, steps=steps, level=level, resamples=resamples, seed=seed,
        objective=objective, delta=delta, weights=weights, scheme=scheme, cost=cost, variables=variables,
        options=options, progress=advance,
    )  # fmt: skip
    require_weights(question)
    questions = [
        question,
        *under_others(
            question, laws, target=target, flops=flops, against=against, resamples=resamples, seed=seed,
            objective=objective, delta=delta, weights=weights, scheme=scheme, cost=cost, variables=variables,
            options=options, progress=advance,
        ),
    ]  # fmt: skip
    return _answer(questions, allowance, most, robust, tables, refits, seed, options, advance)


def fits_of(resamples: int, tables: int, refits: int, laws: int = 1) -> int:
    """About how many fits `next_runs` makes, for a progress bar."""
    return laws * (resamples + 7 * tables * refits)


def _answer(
    questions: Sequence[Question],
    allowance: float,
    most: int,
    robust: bool,
    tables: int,
    refits: int,
    seed: int,
    options: SolverOptions | None,
    progress: Callable[[int], None] | None,
) -> NextRuns:
    import pandas as pd

    question = questions[0]
    exchange = together(questions, bend=robust)
    best = exchange.choose(allowance, most)
    if not best:
        raise UsageError(
            "next_runs: no candidate narrows the target to first order; give other candidates, or a larger "
            "allowance"
        )
    choices: dict[str, tuple[int, ...]] = {"now": (), "linear": best}
    if not robust:
        choices["if the law bends"] = together(questions, bend=True).choose(allowance, most)
    if len(questions) > 1:
        choices[alone_name(question)] = question.plain.choose(allowance, most)
    for part, name in _PARTS.items():
        if cheaper := exchange.choose(part * allowance, most):
            choices[name] = cheaper
    choices |= rule_choices(question, allowance, most)
    distinct = list(dict.fromkeys(choices.values()))
    simulated = [
        simulate(
            each, distinct, tables=tables, resamples=refits, seed=seed, options=options, progress=progress
        )
        for each in questions
    ]
    found = dict(zip(distinct, zip(*simulated, strict=True), strict=True))
    shares = question.plain.shares

    def over(name: str, other: str) -> tuple[float, float]:
        return mean_over(found[choices[name]], found[choices[other]], shares)

    # The best to first order, unless the simulation contradicts it by more than its own error.
    better = {name: over(name, "linear") for name in choices if name != "now" and not robust}
    certain = {name: mean for name, (mean, error) in better.items() if mean + _CERTAIN * error < 0}
    decided = min(certain, key=certain.__getitem__) if certain else "linear"
    chosen = choices[decided]
    rows = [
        (name, len(places), question.paid[list(places)].sum(), question.widths(places)[0],
         found[places][0].widths[0], found[places][0].errors[0], over(name, "now")[0])
        for name, places in choices.items()
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["choice", "runs", "flops", "linear", "after", "error", "weighted"])
    table["chosen"] = [places == chosen for places in choices.values()]
    rests = question.rests_on_law(chosen)
    return NextRuns(
        table=run_table(question, chosen),
        widths=width_table(question, chosen, found[()][0], found[chosen][0]),
        choices=table,
        prices=price_table(question, exchange, allowance, most, robust),
        by_law=law_table(questions, found, chosen, choices.get(alone_name(question))),
        rests_on_law=rests,
        level=question.level,
        allowance=allowance,
        n_fits=sum(each.n_fits for of in found.values() for each in of),
        boot=question.boot,
        question=question,
        chosen=chosen,
        warnings=(
            *question.boot.warnings,
            *_warnings(over(decided, "now"), rests, refits, _changes_scheme(question, distinct)),
        ),
    )


def _changes_scheme(question: Question, choices: Sequence[Sequence[int]]) -> bool:
    """Whether "auto" would resample the runs with some of these choices otherwise than without."""
    boot, most = question.boot, max(map(len, choices))
    few = isinstance(boot.scheme, Bayesian) and boot.dependence is not None
    return few and len(question.runs) + most >= COUNTED_RUNS


def _warnings(worth: tuple[float, float], rests: float, refits: int, changes: bool) -> list[str]:
    """`worth`: mean of ln of the width with the runs over that without, and its Monte-Carlo error."""
    (mean, error), found = worth, []
    if changes:
        found.append(
            f"from {COUNTED_RUNS} runs on, scheme 'auto' resamples by counts, which alone widens intervals: "
            "choices on either side are not compared alike; name a scheme"
        )
    if refits < _LEAST_REFITS:
        found.append(
            f"widths of {refits} resamples of a simulated table are too narrow; give refits (--refits) of "
            f"{_LEAST_REFITS} or more"
        )
    if not mean < 0:
        found.append("no choice narrows the target in the simulation; the allowance is better kept")
    elif not mean + _CERTAIN * error < 0:
        found.append(
            f"what the runs narrow, {-math.expm1(mean):.1%} of the width, is within twice the error of the "
            f"simulation, {error:.1%}; give more tables (--tables) to tell whether it is anything"
        )
    if rests >= _RESTS:
        found.append(
            f"{rests:.0%} of the gain rests on the law holding at the chosen sizes: where it may be off by "
            "as much as an error of a run, so much of the gain is lost; choose with robust (--robust), or "
            "limit the distance from the frontier (--off-frontier)"
        )
    return found
