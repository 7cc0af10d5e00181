"""The conditions of a study: which sets of runs are fitted, in which order, under which names."""

from __future__ import annotations

import dataclasses

from chinchilla_jax.datasets import Runs
from chinchilla_jax.perturbations import Identity, Perturbation
from chinchilla_jax.study.spec.own_table import available_interpretations
from chinchilla_jax.study.spec.study_spec import StudySpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """One set of runs to fit: the parameters counted in one way, perhaps perturbed.

    Attributes:
        id: its name in every table: the perturbation's, such as "multiplicative=0.001" or
            "log_normal_noise=0.31622776601683794#3", or "identity"; then "@" and the interpretation, unless
            that is the plain one of the data ("standard" for "chinchilla").
        family: "identity", or the family of the perturbation; "composition" for two of them.
        value: size of the perturbation in the unit of its family; 0.0 for "identity", which has no size, NaN
            for a composition, whose id has both.
        repeat: which draw, for random families; otherwise 0.
        params: how the parameters are counted (an interpretation of the spec).
        perturbation: what to apply to the runs.
    """

    id: str
    family: str
    # Left out of comparisons: NaN is unequal to itself, and the id has the sizes.
    value: float = dataclasses.field(compare=False)
    repeat: int
    params: str
    perturbation: Perturbation

    def apply(self, runs: Runs, *, seed: int) -> Runs:
        """`runs`, counted as `params` says, with the perturbation applied."""
        return self.perturbation.apply(runs, seed)


def plan_conditions(spec: StudySpec) -> tuple[Condition, ...]:
    """Every condition of `spec`, in the order of the tables.

    The interpretations come first, unperturbed, then each sweep by rising value and repeat. Sweeps perturb
    the first interpretation.
    """
    plain = available_interpretations(spec.data, spec.several)[0]

    def condition(perturbation: Perturbation, params: str, repeat: int = 0) -> Condition:
        return Condition(
            id=perturbation.condition + ("" if params == plain else f"@{params}"),
            family=perturbation.family,
            value=perturbation.value,
            repeat=repeat,
            params=params,
            perturbation=perturbation,
        )

    unperturbed = [condition(Identity(), params) for params in spec.interpretations]
    perturbed = [
        condition(perturbation, spec.interpretations[0], repeat)
        for sweep in spec.sweeps
        for perturbation, repeat in sweep.perturbations()
    ]
    return (*unperturbed, *perturbed)
