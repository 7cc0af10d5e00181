"""What others do, written here anew in NumPy and SciPy: no code of theirs.

As papers and documentation describe it; what these leave out and their source was read for is named. Where
something is open, the faster or more exact way is taken.

    vpnls            Variable projection (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10): given the exponents
                     the law is linear in E, A and B, so that only the exponents are searched. As documented
                     by github.com/Open-Athena/vpnls (Czech et al. 2026, arXiv:2603.22339): least squares of
                     the loss, exponents on a grid of 0.01; then L-BFGS-B over both, with the gradient that
                     the envelope theorem gives. Their range, 0.01 to 0.99, is from its source. Here the grid
                     is a few matrix products.
    curve_fit        SciPy's, on the formula as it is printed: Levenberg-Marquardt with differences.
    grid of starts   L-BFGS from every start of a grid, the best end kept. Hoffmann et al. 2022
                     (arXiv:2203.15556, appendix D.3): 4,500 starts; here with a gradient by hand. The
                     `chinchilla` toolkit (github.com/kyo-takano/chinchilla, its README): 3,125 starts of
                     (E, A, B, alpha, beta). From its source: SciPy's L-BFGS, coordinates divided by the
                     grid's spans, gradient by differences; its documentation also names BFGS as an
                     alternative. With its log-Huber loss, not its default, in a unit in which L-BFGS does
                     not stop early.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
from _scipy_fits import Table, minimise
from scipy import optimize

EXPONENTS = np.arange(1, 100) / 100
TOOLKIT_GRID = np.array(
    list(
        itertools.product(
            np.linspace(1.1, 1.5, 5), *[np.linspace(200, 1000, 5)] * 2, *[np.linspace(0.1, 0.5, 5)] * 2
        )
    )
)
"""Starts (3125, 5): E, A, B, alpha, beta."""


@dataclasses.dataclass(frozen=True)
class Losses:
    """The data of one resample for least squares of the loss.

    Attributes:
        params, tokens: (n,), in millions and billions.
        loss: (n,).
        weights: (n,), float64.
    """

    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    weights: np.ndarray

    @classmethod
    def drawn(cls, params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, weights: np.ndarray) -> Losses:
        """A resample without the runs that it has not drawn."""
        there = weights > 0
        return cls(params[there], tokens[there], loss[there], weights[there])


# E, A, B, alpha, beta; A and B for millions of parameters and billions of tokens
Fitted = tuple[float, int, np.ndarray]


def variable_projection_grid(task: Losses) -> Fitted:
    """Objective, grid points and the best law of the grid."""
    w = task.weights / task.weights.sum()
    of_params = task.params[:, None] ** -EXPONENTS
    of_tokens = task.tokens[:, None] ** -EXPONENTS
    mean_params, mean_tokens, mean_loss = w @ of_params, w @ of_tokens, w @ task.loss
    of_params, of_tokens, loss = of_params - mean_params, of_tokens - mean_tokens, task.loss - mean_loss
    # The 2 x 2 normal equations of A and B at every pair of exponents; E takes up the means.
    pp, tt = (w @ of_params**2)[:, None], (w @ of_tokens**2)[None]
    pt = (of_params * w[:, None]).T @ of_tokens
    pl, tl = ((w * loss) @ of_params)[:, None], ((w * loss) @ of_tokens)[None]
    determinant = pp * tt - pt**2
    with np.errstate(all="ignore"):
        a, b = (tt * pl - pt * tl) / determinant, (pp * tl - pt * pl) / determinant
        e = mean_loss - a * mean_params[:, None] - b * mean_tokens
        squares = w @ loss**2 - a * pl - b * tl
    admissible = (a > 0) & (b > 0) & (e > 0) & (determinant > 1e-12 * pp * tt)
    best = np.argmin(np.where(admissible, squares, np.inf))
    i, j = np.unravel_index(best, squares.shape)
    law = np.array([e[i, j], a[i, j], b[i, j], EXPONENTS[i], EXPONENTS[j]])
    return squared_error(law, task), squares.size, law


def variable_projection(task: Losses) -> Fitted:
    """From the best law of the grid: L-BFGS-B over both exponents, E, A and B by least squares within."""
    root, unit = np.sqrt(task.weights), task.weights.sum()
    log_params, log_tokens, y = np.log(task.params), np.log(task.tokens), root * task.loss
    design = np.empty((len(y), 3))
    design[:, 0] = root

    def projected(exponents: np.ndarray) -> np.ndarray:
        design[:, 1] = root * np.exp(-exponents[0] * log_params)
        design[:, 2] = root * np.exp(-exponents[1] * log_tokens)
        return np.linalg.lstsq(design, y)[0]

    def both(exponents: np.ndarray) -> tuple[float, np.ndarray]:
        linear = projected(exponents)
        residual = design @ linear - y
        # At their optimum E, A and B add nothing to the derivative.
        slopes = -linear[1:] * np.stack([log_params, log_tokens], axis=1) * design[:, 1:]
        return 0.5 * residual @ residual / unit, residual @ slopes / unit

    start = variable_projection_grid(task)[2][3:]
    options = {"ftol": 1e-15, "gtol": 1e-15, "maxiter": 10_000}
    limits = [(EXPONENTS[0], EXPONENTS[-1])] * 2
    found = optimize.minimize(both, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    law = np.concatenate([projected(found.x), found.x])
    return squared_error(law, task), found.nit, law


def curve_fit(task: tuple[np.ndarray, Losses]) -> Fitted:
    """Levenberg-Marquardt from one law; NaN where SciPy gives up."""
    start, table = task
    sigma = 1 / np.sqrt(table.weights)

    def formula(runs: Any, e: Any, a: Any, b: Any, alpha: Any, beta: Any) -> Any:
        return e + a / runs[0] ** alpha + b / runs[1] ** beta

    runs = np.stack([table.params, table.tokens])
    with np.errstate(all="ignore"):
        try:
            law, *_, info, _, _ = optimize.curve_fit(
                formula, runs, table.loss, p0=start, sigma=sigma, full_output=True, maxfev=10_000
            )
        except RuntimeError:
            return np.nan, 10_000, np.full(5, np.nan)
    return squared_error(law, table), info["nfev"], law


def squared_error(law: np.ndarray, table: Losses) -> float:
    """Half the weighted sum of squares of the residuals of the loss."""
    e, a, b, alpha, beta = law
    residual = e + a * table.params**-alpha + b * table.tokens**-beta - table.loss
    return float(0.5 * table.weights @ residual**2)


def from_start(task: tuple[np.ndarray, Table]) -> Fitted:
    """L-BFGS from one start of the published grid, in the coordinates of `_scipy_fits`; Huber's sum."""
    start, table = task
    found = minimise(start, table, "L-BFGS-B", gtol=1e-8)
    return found.fun * table.unit, found.nit, found.x


def from_toolkit_start(task: tuple[np.ndarray, Table]) -> Fitted:
    """L-BFGS with differences from one start of `TOOLKIT_GRID`; the columns are plain logarithms."""
    start, table = task
    spans = np.ptp(TOOLKIT_GRID, axis=0)

    def objective(scaled: np.ndarray) -> float:
        e, a, b, alpha, beta = scaled * spans
        predicted = e + a * np.exp(-alpha * table.columns[0]) + b * np.exp(-beta * table.columns[1])
        residual = np.log(predicted) - table.log_loss
        psi = np.minimum(np.maximum(residual, -table.delta), table.delta)
        return table.weights @ (psi * (residual - 0.5 * psi)) / table.unit

    with np.errstate(all="ignore"):
        found = optimize.minimize(objective, start / spans, method="L-BFGS-B")
    return found.fun * table.unit, found.nit, found.x * spans
