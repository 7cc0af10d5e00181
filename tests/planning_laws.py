"""Laws that the tests of decisions share: hypothesis strategies, and a sample without a bootstrap."""

import numpy as np
from hypothesis import strategies as st

from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, ScalingLaw
from chinchilla_jax.planning import LawSample

single_laws = st.builds(
    ScalingLaw,
    E=st.floats(0.0, 3.0),
    A=st.floats(1.0, 1e5),
    B=st.floats(1.0, 1e5),
    alpha=st.floats(0.1, 1.0),
    beta=st.floats(0.1, 1.0),
)
budgets = st.floats(1e15, 1e28)


def spread_sample(n=200, seed=0, scale=1.0):
    """Laws around the one of Besiroglu et al. 2024, about as wide as its bootstrap; made without a fit."""
    z = scale * np.random.default_rng(seed).standard_normal((4, n))
    law = BESIROGLU_2024
    laws = ScalingLaw(
        E=law.E + 0.03 * z[0],
        A=law.A * np.exp(6.0 * 0.015 * 3 * z[1]),
        B=law.B * np.exp(20 * 0.02 * z[2]),
        alpha=law.alpha + 0.015 * z[1],
        beta=law.beta + 0.02 * z[2] + 0.002 * z[3],
    )
    sample = LawSample.from_law(laws)
    return LawSample(laws=sample.laws, point=law, source="a spread of laws")
