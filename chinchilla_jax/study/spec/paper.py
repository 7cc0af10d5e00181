"""The published robustness study as a spec."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chinchilla_jax.study.spec.study_spec import StudySpec
from chinchilla_jax.study.spec.sweeps import Sweep


def paper_study(resamples: int = 4000, seed: int = 0) -> StudySpec:
    """The robustness study of Schaeffer et al. 2025 (arXiv:2509.23963): 224 conditions.

    Its 221 (the unperturbed standard count and four families) and the three other interpretations of the
    count. Resamples whose best E is 0 are left out of the intervals, as published.

    Args:
        resamples: bootstrap fits per condition; 4,000 in the paper.
        seed: of the resamples and of the noise.

    Example:
        >>> spec = cj.paper_study(resamples=1000)
        >>> spec.resamples
        1000
    """
    shifts = np.logspace(6.6, 7.6, 5)
    return StudySpec(
        data="chinchilla",
        interpretations=("standard", "reported", "best_fit", "as_plotted"),
        sweeps=(
            Sweep(family="multiplicative", values=_floats(np.logspace(-3, 3, 11))),
            Sweep(family="additive", values=_floats([*-shifts, 0.0, *shifts])),
            Sweep(family="systematic_bias", values=_floats(np.logspace(-0.5, 0.5, 11))),
            Sweep(family="log_normal_noise", values=_floats([0.0, *np.logspace(-0.5, 0.5, 10)]), repeats=17),
        ),
        boundary="drop",
        resamples=resamples,
        seed=seed,
    )


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
