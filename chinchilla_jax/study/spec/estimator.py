"""The fields of a spec about how it fits: objective, solver, precision, engine, scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import UsageError, short, unknown_name
from chinchilla_jax.laws import (
    AsymmetricError,
    Chinchilla,
    Huber,
    HuberScale,
    Law,
    Objective,
    read_law,
    read_objective,
)
from chinchilla_jax.laws.objectives import is_unresolved
from chinchilla_jax.solvers import check_solver
from chinchilla_jax.solvers.base import ENGINES
from chinchilla_jax.solvers.counted import BOUNDARIES
from chinchilla_jax.solvers.dispatch import has_kernel
from chinchilla_jax.study.spec.fields import field
from chinchilla_jax.study.spec.law import refuse_code

if TYPE_CHECKING:
    from chinchilla_jax.study.spec.study_spec import StudySpec

CHOICES = {
    "precision": ("mixed", "float64", "float32"),
    "engine": ENGINES,
    # Those that are weights on the same runs, and need no correction for their size.
    "scheme": ("pairs", "bayesian", "cluster", "auto"),
    "boundary": BOUNDARIES,
}


def check_estimator(spec: StudySpec) -> Objective:
    """The objective, if it can be minimised by the solver with its precision and engine.

    Raises:
        FieldError: a field of the estimator has no meaning, alone or beside another.
    """
    for name, allowed in CHOICES.items():
        with field(name):
            if getattr(spec, name) not in allowed:
                raise unknown_name(name, getattr(spec, name), allowed)
    given = {name: getattr(spec, name) for name in ("delta", "penalty") if getattr(spec, name) is not None}
    law = read_law(spec.law)
    with field("objective"):
        refuse_code("objective", spec.objective)
        read_objective(spec.objective)
    with field(*list(given)[-1:]):
        objective = read_objective(spec.objective, **given)
        if is_unresolved(objective):
            raise UsageError(
                "delta is 'auto': all conditions of a study share one number; give the one that "
                "fit(..., delta='auto') finds"
            )
    with field("solver"):
        check_solver(spec.solver, law, objective)
    general = isinstance(objective, AsymmetricError)
    for name in ("precision", "engine"):
        default = CHOICES[name][0]
        if getattr(spec, name) != default and (spec.solver != "newton" or general):
            what = f"objective {spec.objective!r}" if general else f"solver {spec.solver!r}"
            hint = "leave it out" if general else "leave it out, or use 'newton'"
            with field(name):
                raise UsageError(
                    f"{name} {getattr(spec, name)!r} is not for {what}, which has its own; {hint}"
                )
    lanes = has_kernel(law, objective)
    with field("engine"):
        if spec.engine == "lanes" and not lanes:
            raise UsageError(f"engine 'lanes' does not fit {law.name}; leave it out")
    with field("reproducible"):
        if not isinstance(spec.reproducible, bool):
            raise UsageError(f"reproducible is {short(spec.reproducible)}; give true or false")
        if spec.reproducible and (spec.engine == "xla" or spec.solver != "newton" or not lanes):
            what = "engine 'xla'" if spec.engine == "xla" else f"solver {spec.solver!r}"
            what = what if lanes else f"objective {spec.objective!r}" if general else f"law {law.name!r}"
            raise UsageError(f"reproducible is for what the CPU kernel fits, not {what}; leave it out")
    return objective


def point_estimators(estimator: Objective, law: Law) -> tuple[Objective, ...]:
    """The objectives of the point fits of a study: of the five-parameter law for the two of Huber both."""
    if not isinstance(law, Chinchilla):
        return (estimator,)
    if isinstance(estimator, Huber):
        return estimator, HuberScale(estimator.down)
    if isinstance(estimator, HuberScale):
        return Huber(estimator.delta), estimator
    return (estimator,)
