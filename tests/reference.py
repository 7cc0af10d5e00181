"""A slow and obvious reference: the weighted Huber objective, its derivatives, and a fit by SciPy.

Written run by run from the formulas, in coordinates that the library never uses, sharing no code with it:
    x = (ln A, ln B, ln E, alpha, beta), natural units
    r_i = ln(A N_i^-alpha + B D_i^-beta + E) - ln L_i
    f = sum_i w_i Huber_delta(r_i)
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.optimize


@dataclasses.dataclass(frozen=True)
class Problem:
    """Runs, weights (n,) and the half-width of the quadratic zone."""

    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    weights: np.ndarray
    delta: float = 1e-3

    def terms(self, x, i):
        """The three terms of the predicted loss of run i and the derivative of each term's logarithm."""
        a, b, e, alpha, beta = x
        log_n, log_d = np.log(self.params[i]), np.log(self.tokens[i])
        sizes = np.exp([a - alpha * log_n, b - beta * log_d, e])
        slopes = np.array([[1, 0, 0, -log_n, 0], [0, 1, 0, 0, -log_d], [0, 0, 1, 0, 0]], float)
        return sizes, slopes

    def value(self, x):
        total = 0.0
        for i, weight in enumerate(self.weights):
            r = np.log(self.terms(x, i)[0].sum()) - np.log(self.loss[i])
            inside = abs(r) <= self.delta
            total += weight * (0.5 * r * r if inside else self.delta * (abs(r) - 0.5 * self.delta))
        return total

    def gradient(self, x):
        total = np.zeros(5)
        for i, weight in enumerate(self.weights):
            sizes, slopes = self.terms(x, i)
            r = np.log(sizes.sum()) - np.log(self.loss[i])
            psi = r if abs(r) <= self.delta else self.delta * np.sign(r)
            total += weight * psi * (sizes / sizes.sum()) @ slopes
        return total

    def hessian(self, x):
        total = np.zeros((5, 5))
        for i, weight in enumerate(self.weights):
            sizes, slopes = self.terms(x, i)
            r = np.log(sizes.sum()) - np.log(self.loss[i])
            share = sizes / sizes.sum()
            first = share @ slopes
            second = slopes.T @ np.diag(share) @ slopes - np.outer(first, first)
            inside = abs(r) <= self.delta
            psi = r if inside else self.delta * np.sign(r)
            total += weight * (inside * np.outer(first, first) + psi * second)
        return total

    def decrement(self, x):
        """(1/2 g' H^-1 g / f, whether H is positive definite)."""
        gradient, hessian = self.gradient(x), self.hessian(x)
        # One scale for all five: ln N is about 20, and H has a condition number of 1e11 otherwise.
        size = np.sqrt(np.abs(np.diag(hessian)))
        scaled = hessian / np.outer(size, size)
        step = np.linalg.solve(scaled, gradient / size)
        definite = np.linalg.eigvalsh(scaled)[0] > 0
        return 0.5 * (gradient / size) @ step / self.value(x), definite

    def fit(self, start):
        """SciPy's BFGS from `start`, in coordinates centred and scaled so that it can work at all."""
        log_n, log_d, log_l = np.log(self.params), np.log(self.tokens), np.log(self.loss)
        to_natural = np.eye(5)
        to_natural[0, 3], to_natural[1, 4] = log_n.mean() / log_n.std(), log_d.mean() / log_d.std()
        to_natural[3, 3], to_natural[4, 4] = 1 / log_n.std(), 1 / log_d.std()

        def value_and_gradient(z):
            a, b, e, alpha, beta = to_natural @ z
            terms = np.exp(np.clip([a - alpha * log_n, b - beta * log_d, e + 0 * log_n], -300, 300))
            r = np.log(terms.sum(axis=0)) - log_l
            psi = np.clip(r, -self.delta, self.delta)
            pull = self.weights * psi * terms / terms.sum(axis=0)
            gradient = np.array(
                [pull[0].sum(), pull[1].sum(), pull[2].sum(), -pull[0] @ log_n, -pull[1] @ log_d]
            )
            return np.sum(
                self.weights * psi * (r - 0.5 * psi)
            ) / self.delta, to_natural.T @ gradient / self.delta

        z = np.linalg.solve(to_natural, np.asarray(start, float))
        for _ in range(3):  # fresh memory: curvature from beyond a kink misleads
            z = scipy.optimize.minimize(
                value_and_gradient, z, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 500}
            ).x
        return to_natural @ z


def to_logs(law, lane=None):
    """(ln A, ln B, ln E, alpha, beta) of a `ScalingLaw`, or of one lane of an array of laws."""
    law = law if lane is None else law[lane]
    return np.array([np.log(law.A), np.log(law.B), np.log(law.E), law.alpha, law.beta])
