"""The point fit of a law to runs or a table.

Notation: see laws/objectives.py and laws/law.py; n runs, p parameters.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from chinchilla_jax._util.validation import require_type
from chinchilla_jax.datasets.load import as_runs
from chinchilla_jax.fitting.goodness import goodness_of
from chinchilla_jax.fitting.problem import read_problem, read_weights
from chinchilla_jax.fitting.problem_fit import ask_problem_fit, fit_until_agreed
from chinchilla_jax.fitting.result import FitResult
from chinchilla_jax.fitting.unlike_rows import with_unlike_rows
from chinchilla_jax.fitting.width import ask_with_width, with_width
from chinchilla_jax.laws import read_law
from chinchilla_jax.solvers import SolverOptions, check_solver
from chinchilla_jax.solvers.requests import Asking, alone

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.datasets.load import Reading
    from chinchilla_jax.datasets.reading import TableLike
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.laws.objectives import Delta


def fit(
    data: Runs | TableLike,
    law: Law | str = "chinchilla",
    *,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    weights: ArrayLike | None = None,
    solver: str = "newton",
    starts: str | int | FitResult = "auto",
    options: SolverOptions | None = None,
    **reading: Unpack[Reading],
) -> FitResult:
    """Fit a law to runs from many starts and return the best optimum with its certificate.

    Args:
        data: n runs, or a table of them: anything that `load_runs` takes. Where they cannot determine the law
            (see `Law.least`), the fit is UNIDENTIFIED.
        law: a law or its name, see `laws.LAWS`.
        objective: an objective or its name, see `laws.OBJECTIVES`.
        delta: half-width of the zone, for an objective given by name; "auto" lets the residuals of the data
            decide. None is "auto" for "huber" and "raw_huber", and 1e-3 for them on an embedded table.
        weights: how much each run counts, (n,), zero or more; None for all the same. Only their ratios
            matter.
        solver: "newton", or for the five-parameter law and `Huber` "optax-lbfgs", "jaxopt-lbfgs" or
            "jaxopt-bfgs".
        starts: how many starts, spread over what is plausible for the law; or another fit of the same runs,
            whose distinct optima are then the starts. "auto" is all 4,500 starts of Hoffmann et al. 2022
            (arXiv:2203.15556, section D.4) where the CPU kernel fits the law, 32 elsewhere.
        options: how hard the solver tries. With the usual `max_steps`, each start takes up to 150 steps (300
            without a kernel) and, where the best start runs out of them, 600 more from where it ended
            (except for `HuberScale`). Starts that are not another fit begin with a wide quadratic zone.
        **reading: how a table is read: keywords of `load_runs`, such as columns={"loss": "val/loss"}.

    Returns:
        The fit. It is returned, not raised, when it did not converge: look at `status`.

    Raises:
        DataError: the table cannot be read.
        UsageError: an argument that has no meaning, or a pair of arguments that has none.

    Example:
        >>> cj.fit("chinchilla")
        <FitResult chinchilla E=1.817 A=477.8 B=2143 alpha=0.3473 beta=0.3672: CONVERGED, huber 0.001018, 240
        runs>
        >>> table = {"params": runs.params, "tokens": runs.tokens, "val loss": runs.loss}
        >>> cj.fit(table, objective="huber", delta=1e-3, columns={"loss": "val loss"}).status.name
        'CONVERGED'
    """
    runs = as_runs(data, "fit", read_law(law).columns, reading)
    found = alone(
        ask_fit(
            runs,
            law,
            objective=objective,
            delta=delta,
            weights=weights,
            solver=solver,
            starts=starts,
            options=options,
        )
    )
    return dataclasses.replace(found, goodness=goodness_of(found, runs), runs=runs)


def fit_among_many(
    runs: Runs,
    law: Law | str = "chinchilla",
    *,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    options: SolverOptions | None = None,
) -> FitResult:
    """The fit of a table that is one of many, from fewer starts where these agree; see `fit_until_agreed`.

    Its optimum is that of `fit` but for the last digits, unless its starts miss it; of what is said beside it
    only the judgement of the runs is there.
    """
    problem = with_width(read_problem("fit", runs, law, objective, delta), None, options)
    return fit_until_agreed(problem, None, options=options, among_many=True)


def ask_fit(
    runs: Runs,
    law: Law | str = "chinchilla",
    *,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    weights: ArrayLike | None = None,
    solver: str = "newton",
    starts: str | int | FitResult = "auto",
    options: SolverOptions | None = None,
) -> Asking[FitResult]:
    """`fit` as a procedure, see solvers/requests.py."""
    require_type("options", options, (SolverOptions, type(None)), "give SolverOptions(...)")
    problem = read_problem("fit", runs, law, objective, delta)
    check_solver(solver, problem.law, problem.objective)
    own = read_weights(weights, len(runs))
    problem = yield from ask_with_width(problem, own, options)
    found = yield from ask_problem_fit(problem, own, solver=solver, starts=starts, options=options)
    return dataclasses.replace(with_unlike_rows(found, runs), read=runs.read_lines, cost=runs.cost)
