"""Laws of several recipes with a common part: fitted together, or tested for whether the data reject it.

| code      | symbol  | shape  | meaning                                                                 |
|-----------|---------|--------|-------------------------------------------------------------------------|
| recipe    | g       | (n,)   | number of the recipe of each run; to the law, a variable 0 or 1 for each |
| weights   |         | (R, n) | resamples, drawn within each recipe                                     |
| deviation | d_r - d | (R, k) | differences of parameters from the baseline's, less the point           |
| statistic | W       | ()     | d' V^-1 d, V the covariance of the deviations                           |

    L(N, D) = E + a_g (N / N_0)^-alpha + b_g (D / D_0)^-beta,   N_0 = 3e8, D_0 = 1e10

with alpha and beta common to all recipes, and E too or not. Amplitudes at a typical place are less entangled
with the exponents than A_g = a_g N_0^alpha is.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.bootstrapping import weights as resample
from chinchilla_jax.bootstrapping.few_groups import COUNTED_RUNS
from chinchilla_jax.bootstrapping.resample_fits import fit_resamples
from chinchilla_jax.fitting.point_fit import fit
from chinchilla_jax.laws.own_law import from_function
from chinchilla_jax.laws.parameters import non_negative, positive
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.planning.recipes import stacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chinchilla_jax.bootstrapping.result import BootstrapResult
    from chinchilla_jax.datasets import Runs
    from chinchilla_jax.laws import Law, Objective
    from chinchilla_jax.laws.objectives import Delta

    Floats = NDArray[np.float64]

SHARED: Mapping[str, tuple[str, ...]] = {"exponents": ("alpha", "beta"), "all": ("E", "alpha", "beta")}
"""What recipes may have in common, by the name of the choice."""
SHARED_WORDS: Mapping[str, str] = {"exponents": "the exponents", "all": "the exponents and E"}
TESTED: Mapping[str, tuple[str, ...]] = {
    "exponents": ("alpha", "beta"),
    "E": ("E",),
    "exponents and E": ("E", "alpha", "beta"),
}
_PLACE = (3e8, 1e10)  # N_0, D_0


@functools.cache
def joint_law(count: int, share: str) -> Law:
    """The law of `count` recipes with the common parameters of a choice, compiled once."""

    def predict(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        import jax.numpy as jnp

        def of(name: str) -> Any:
            if name in p:
                return p[name]
            return sum(x[f"recipe_{g}"] * p[f"{name}_{g}"] for g in range(count))

        of_params = of("a") * jnp.exp(-p["alpha"] * (jnp.log(x["params"]) - math.log(_PLACE[0])))
        of_tokens = of("b") * jnp.exp(-p["beta"] * (jnp.log(x["tokens"]) - math.log(_PLACE[1])))
        return of("E") + of_params + of_tokens

    own = {"a": positive(0.4, low=0.05, high=3.0), "b": positive(0.4, low=0.05, high=3.0)}
    floor = non_negative(1.7, low=0.3, high=2.5)
    kinds = {name: positive(0.35, low=0.1, high=0.8) for name in ("alpha", "beta")}
    if "E" in SHARED[share]:
        kinds["E"] = floor
    else:
        own["E"] = floor
    kinds |= {f"{name}_{g}": kind for name, kind in own.items() for g in range(count)}
    variables = ("params", "tokens", *(f"recipe_{g}" for g in range(count)))
    return from_function(predict, kinds, variables=variables, name=f"shared_{share}", exchangeable=True)


def bootstrap_jointly(
    tables: Mapping[str, Runs],
    share: str,
    *,
    resamples: int,
    seed: int,
    objective: Objective | str = "huber",
    delta: Delta | None = None,
    progress: Callable[[int], None] | None = None,
) -> BootstrapResult:
    """A bootstrap of `joint_law` on all tables together, each resampled by itself.

    Args:
        tables: the runs of each recipe.
        share: a name in `SHARED`.
        resamples: R.
        seed: of the resamples.
        objective: what is minimised.
        delta: half-width of its zone.
        progress: called with the number of fits just finished.

    Raises:
        UsageError: an argument is invalid.
    """
    law = joint_law(len(tables), share)
    every = list(tables.values())
    recipe = np.repeat(np.arange(len(every)), [len(runs) for runs in every])
    own_runs = {f"recipe_{g}": (recipe == g).astype(np.float64) for g in range(len(every))}
    together = stacked(tables, own_runs)
    point = fit(together, law, objective=objective, delta=delta)
    ids = np.arange(resamples, dtype=np.int32)
    common = len(SHARED[share])
    own = (law.size - common) / len(every)
    drawn = []
    for i, runs in enumerate(every):
        stream_seed = (seed + i) % 2**32
        if len(runs) >= COUNTED_RUNS:
            drawn.append(resample.resample_weights(len(runs), ids, stream_seed).astype(np.float64))
        else:
            # A table estimates as much of the common parameters as it has of the runs.
            spread = resample.concentration(len(runs), own + common * len(runs) / len(together))
            drawn.append(
                resample.dirichlet_weights(len(runs), ids, stream_seed, spread, stream=resample.BAYESIAN)
            )
    weights = np.concatenate(drawn, axis=1)
    return fit_resamples(together, weights=weights, point=point, on_progress=progress)


def laws_of_recipe(laws: Any, recipe: int) -> ScalingLaw:
    """The five-parameter law(s) of one recipe, from laws of `joint_law`."""
    found = laws.as_dict()
    own = {name: found[name] if name in found else found[f"{name}_{recipe}"] for name in ("a", "b", "E")}
    alpha, beta = found["alpha"], found["beta"]
    with np.errstate(over="ignore"):
        return ScalingLaw(
            E=own["E"],
            A=own["a"] * np.exp(alpha * math.log(_PLACE[0])),
            B=own["b"] * np.exp(beta * math.log(_PLACE[1])),
            alpha=alpha,
            beta=beta,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharingTest:
    """Whether the data reject that all recipes have some parameters in common.

    Attributes:
        shared: what: a name in `TESTED`.
        statistic: W.
        degrees: number of differences.
        p: share of the resamples whose differences are as far from the point's as these are from zero.
    """

    shared: str
    statistic: float
    degrees: int
    p: float


def sharing_tests(
    points: list[ScalingLaw], laws: list[ScalingLaw], counted: NDArray[np.bool_]
) -> list[SharingTest]:
    """Wald tests that recipes have parameters in common, from their separate fits.

    Args:
        points: of each recipe, the baseline first.
        laws: of each, (R,), paired by resample.
        counted: resamples that count for all, (R,).
    """
    found = []
    for shared, names in TESTED.items():
        at = np.array([getattr(law, n) - getattr(points[0], n) for law in points[1:] for n in names])
        draws = np.stack(
            [np.asarray(getattr(law, n) - getattr(laws[0], n)) for law in laws[1:] for n in names], axis=1
        )[counted]
        deviations = draws - at
        scale = deviations.std(axis=0)
        if len(draws) <= 10 * len(at) or not (scale > 0).all():
            continue
        inverse = np.linalg.pinv(np.cov(deviations / scale, rowvar=False).reshape(len(at), len(at)))

        def squared(values: Floats, inverse: Floats = inverse, scale: Floats = scale) -> Floats:
            scaled = values / scale
            return np.asarray(np.einsum("...j,jk,...k->...", scaled, inverse, scaled))

        statistic = float(squared(at))
        p = float((1 + np.sum(squared(deviations) >= statistic)) / (1 + len(deviations)))
        found.append(SharingTest(shared=shared, statistic=statistic, degrees=len(at), p=p))
    return found


def read_share(share: object) -> str:
    """The choice of what is shared: "auto", "none", or a name in `SHARED`.

    Raises:
        UsageError: it is none of them.
    """
    known = ("auto", "none", *SHARED)
    if not isinstance(share, str) or share not in known:
        raise UsageError(f"compare: share is {share!r}; give {', '.join(known)}")
    return share
