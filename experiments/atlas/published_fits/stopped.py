"""What stopped the published fit of the Gemstones: SciPy's search as they call it, and with no tolerance."""

from __future__ import annotations

import math

import numpy as np
import scipy.optimize
import scipy.special
from beside import Published, Rows, row

import chinchilla_jax as cj


def stopped(name: str, theirs: Published, runs: cj.Runs) -> Rows:
    """Where SciPy's L-BFGS-B stops from a start of their grid, as they call it, and with no tolerance.

    The start is the one that comes nearest to their figures.
    """
    delta = 1e-4
    n, d, y = (np.log(each) for each in (runs.params, runs.tokens, runs.loss))

    def value(p: np.ndarray) -> float:
        return float(scipy.special.huber(delta, _log_terms(p, n, d)[0] - y).sum())

    def gradient(p: np.ndarray) -> np.ndarray:
        of_loss, shares = _log_terms(p, n, d)
        of_params, of_tokens, floor = np.clip(of_loss - y, -delta, delta) * np.exp(shares)
        slopes = (-of_params * n, -of_tokens * d, of_params, of_tokens, floor)
        return np.array([each.sum() for each in slopes])

    exact = {"jac": gradient, "options": {"ftol": 0.0, "gtol": 1e-13, "maxiter": 10**5, "maxfun": 10**6}}
    rows = []
    for how, options in (("SciPy", {}), ("SciPy, exact", exact)):
        found = scipy.optimize.minimize(value, [0.0, 0.0, 0.0, 15.0, 0.0], method="L-BFGS-B", **options)
        note = "L-BFGS-B from alpha = beta = a = e = 0, b = 15; "
        note += "gradient given, no tolerance" if options else "SciPy's own tolerances"
        ours = {"objective": found.fun, "alpha": found.x[0], "beta": found.x[1], "B": math.exp(found.x[3])}
        rows += [row(name, f"{key}, by {how}", theirs[key], each, note=note) for key, each in ours.items()]
    return rows


def _log_terms(p: np.ndarray, n: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The runs' ln L, and the logarithms of the shares that the three terms have of L, (3, runs)."""
    alpha, beta, a, b, e = p
    terms = np.stack([a - alpha * n, b - beta * d, np.full(len(n), e)])
    of_loss = scipy.special.logsumexp(terms, axis=0)
    return of_loss, terms - of_loss
