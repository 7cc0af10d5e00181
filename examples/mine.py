"""A law and an objective of one's own, for `--law mine.py:law` and `--objective mine.py:robust`."""

import jax.numpy as jnp

import chinchilla_jax as cj


def hoffmann(p, x):
    """Eq. 2 of Hoffmann et al. 2022, in plain units."""
    return p["E"] + p["A"] / x["params"] ** p["alpha"] + p["B"] / x["tokens"] ** p["beta"]


def cauchy(z):
    """Outliers count less than their sign."""
    return jnp.log1p(z**2 / 2)


law = cj.laws.from_function(
    hoffmann,
    {
        "E": cj.non_negative(1.7),
        "A": cj.positive(400),
        "B": cj.positive(400),
        "alpha": cj.positive(0.3),
        "beta": cj.positive(0.3),
    },
)
robust = cj.objective_from_function(cauchy)
