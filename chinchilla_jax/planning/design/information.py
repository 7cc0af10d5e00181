"""What runs say about targets, to first order: the variance of each target after any choice of candidates.

| code     | symbol | shape  | meaning                                                                     |
|----------|--------|--------|-----------------------------------------------------------------------------|
| runs     | J      | (n, q) | derivatives of the log losses of the runs by the parameters                 |
| places   | J_c    | (m, q) | the same of the candidates                                                  |
| aims     | g      | (T, q) | derivatives of the targets                                                  |
| weights  | w      | (n,)   | of the runs                                                                 |
| scores   | s      | (n,)   | psi_i / (1 - h_i) over the root of E psi^2, h the leverage                  |
| slopes   | d      | (n,)   | psi'_i over E psi'                                                          |
| members  |        | (n,)   | group of each run, within which errors have correlation rho; -1 for none    |
| spreads  | s_c    | (m,)   | errors of the candidates over those of the runs, see unequal_noise.py       |
| prior    | K      | (q,)   | what is known of the parameters beforehand; 0 for those of the law          |
| noise    | tau    | ()     | what an error is worth in standard deviations of a least-squares fit        |
| M, S     |        | (q, q) | J' W d J + K, and the sum of outer products of the scores over groups, + K  |

The variance of a target is tau^2 g' M^-1 S M^-1 g: the sandwich H^-1 S H^-1 of an M-estimator, with tau^2 =
E psi^2 / (E psi')^2 (Huber & Ronchetti 2009, Robust Statistics, 2nd ed., section 7.6). S of the runs is that
of their own scores, group by group, and corrected for leverage (MacKinnon & White 1985, Journal of
Econometrics 29:305, HC3; Liang & Zeger 1986, Biometrika 73:13): what the bootstrap of the same runs sees. A
candidate adds what is expected of it: J_c J_c' to M, s_c^2 J_c J_c' to S, and its covariance with its group
to S, so that a second run of one size is worth less where sizes err together.

A law holds only so far. A view that bends has a smooth term more, quadratic in ln N and ln D and of the size
of an error at the edge of what is considered: parameters of their own, whose prior has that size
(DuMouchel & Jones 1994, Technometrics 36:37). What candidates far out gain under the law alone, they lose
here.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.bootstrapping.column_space import orthonormal_basis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Members = NDArray[np.int64]

_MOST_LEVERAGE = 0.9  # above which a run alone determines part of the law
_LEAST_LEFT = 1e-9  # of 1 less the leverage, below which a run cannot be left out
_RIDGE = 1e-13  # of the scaled M, against rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Information:
    """M and S after some runs.

    Attributes:
        M: (q, q), and
        S: (q, q), in the units of the view.
        sums: sum of w J over each group, times the spread of new runs, by its number.
    """

    M: Floats
    S: Floats
    sums: dict[int, Floats]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Runs, candidates and targets as one law sees them.

    Columns are scaled to length one over the runs, or over the candidates where there are no runs.

    Attributes:
        runs: see the head of this file; the same for the others.
        places: J_c.
        aims: g.
        weights: w.
        scores: s.
        slopes: d.
        members: of the runs.
        place_members: of the candidates; -1 for those that err by themselves.
        correlation: rho.
        prior: K.
        spreads: s_c; None for those of the runs.
    """

    runs: Floats
    places: Floats
    aims: Floats
    weights: Floats
    scores: Floats
    slopes: Floats
    members: Members
    place_members: Members
    correlation: float
    prior: Floats
    spreads: Floats | None = None

    @classmethod
    def of(
        cls,
        runs: Floats,
        places: Floats,
        aims: Floats,
        weights: Floats,
        scores: Floats,
        slopes: Floats,
        members: Members,
        place_members: Members,
        correlation: float,
        prior: Floats | None = None,
        spreads: Floats | None = None,
    ) -> View:
        """That of unscaled derivatives."""
        rows = np.sqrt(weights)[:, None] * runs if len(runs) else places
        length = np.linalg.norm(rows, axis=0)
        length = np.where(length > 0, length, 1.0)
        prior = np.zeros(runs.shape[1]) if prior is None else prior / length**2
        return cls(
            runs=runs / length, places=places / length, aims=aims / length, weights=weights, scores=scores,
            slopes=slopes, members=members, place_members=place_members, correlation=correlation, prior=prior,
            spreads=spreads,
        )  # fmt: skip

    @functools.cached_property
    def start(self) -> Information:
        """The information of the runs alone."""
        weighted = self.weights[:, None] * self.runs
        M = self.runs.T @ (self.slopes[:, None] * weighted) + np.diag(self.prior + _RIDGE)
        single = self.members < 0
        scored = self.scores[:, None] * weighted
        parts = [scored[single]]
        sums: dict[int, Floats] = {}
        for group in np.unique(self.members[~single]).tolist():
            of = self.members == group
            parts.append(scored[of].sum(axis=0)[None])
            sums[group] = weighted[of].sum(axis=0)
        rows = np.concatenate(parts)
        return Information(M, rows.T @ rows + np.diag(self.prior + _RIDGE), sums)

    def add(self, info: Information, place: int) -> Information:
        """With one run at a candidate."""
        j = self.places[place]
        group = int(self.place_members[place])
        noisy = j if self.spreads is None else self.spreads[place] * j
        M, S, sums = info.M + np.outer(j, j), info.S + np.outer(noisy, noisy), info.sums
        if self.correlation and group >= 0:
            before = sums.get(group, np.zeros_like(j))
            S = S + self.correlation * (np.outer(before, noisy) + np.outer(noisy, before))
            sums = {**sums, group: before + noisy}
        return Information(M, S, sums)

    def after(self, chosen: Sequence[int]) -> Information:
        """With runs at these candidates."""
        info = self.start
        for place in chosen:
            info = self.add(info, int(place))
        return info

    def variances(self, info: Information) -> Floats:
        """Of the targets, in units of tau^2; (T,)."""
        y = np.linalg.solve(info.M, self.aims.T).T
        return np.asarray(np.einsum("ti,ij,tj->t", y, info.S, y))

    def variances_without_each(self) -> Floats:
        """Of the targets without each run in turn, in units of tau^2, (n, T); inf where it is needed.

        For runs that err independently.
        """
        info, j = self.start, self.runs
        size = np.sqrt(self.weights * self.slopes)
        scaled = size[:, None] * j
        solved = np.linalg.solve(info.M, np.concatenate([self.aims, scaled]).T).T
        x, z = solved[: len(self.aims)], solved[len(self.aims) :]
        left = 1 - np.einsum("ni,ni->n", scaled, z)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = x[None] + z[:, None, :] * (scaled @ x.T / left[:, None])[:, :, None]
            own = (self.scores * self.weights)[:, None] * np.einsum("nti,ni->nt", y, j)
            found = np.einsum("nti,ij,ntj->nt", y, info.S, y) - own**2
        return np.where((left > _LEAST_LEFT)[:, None], found, np.inf)

    def take(self, kept: NDArray[np.bool_]) -> View:
        """Of these runs only, (n,)."""
        names = ("runs", "weights", "scores", "slopes", "members")
        return dataclasses.replace(self, **{name: getattr(self, name)[kept] for name in names})

    def variances_with_each(self, info: Information) -> Floats:
        """Of the targets with one run more at each candidate in turn, in units of tau^2; (m, T)."""
        j = self.places
        solved = np.linalg.solve(info.M, np.concatenate([self.aims, j]).T).T
        x, z = solved[: len(self.aims)], solved[len(self.aims) :]
        leverage = np.einsum("ci,ci->c", j, z)
        passed = j @ x.T  # (m, T)
        share = passed / (1 + leverage)[:, None]
        y = x[None] - z[:, None, :] * share[:, :, None]  # (m, T, q)
        own = np.einsum("cti,ci->ct", y, j)
        if self.spreads is not None:
            own = own * self.spreads[:, None]
        found = np.einsum("cti,ij,ctj->ct", y, info.S, y) + own**2
        if self.correlation and info.sums:
            before = np.zeros_like(j)
            for group, total in info.sums.items():
                before[self.place_members == group] = total
            found += 2 * self.correlation * own * np.einsum("cti,ci->ct", y, before)
        return np.asarray(found)


def scores_of(psi: Floats, weights: Floats, jacobian: Floats) -> Floats:
    """S of runs (n,) with these psi, weights and derivatives (n, p); zero for runs without weight."""
    size = jacobian.shape[1]
    basis = orthonormal_basis(np.sqrt(weights)[:, None] * jacobian)
    leverage = np.minimum(np.sum(basis**2, axis=1), _MOST_LEVERAGE)
    kept = weights > 0
    mean = float(psi[kept] @ (weights[kept] * psi[kept])) / float(weights[kept].sum())
    square = mean * kept.sum() / max(kept.sum() - size, 1)
    return np.where(kept, psi / (1 - leverage), 0.0) / np.sqrt(square) if square > 0 else np.zeros_like(psi)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Influences:
    """Psi and its slope at the residuals of a fit; n runs.

    Attributes:
        psi: (n,).
        slopes: psi' over its mean, (n,).
        noise: tau.
    """

    psi: Floats
    slopes: Floats
    noise: float

    @classmethod
    def of(cls, residuals: Floats, down: float, up: float, weights: Floats, size: int) -> Influences:
        """Of residuals (n,) under Huber's psi, which is linear from -down to up.

        A slope is that of a shift of the residual as wide as a kernel estimate of the density asks for
        (Silverman 1986, eq. 3.31), since few residuals lie within a narrow zone; the sum of slopes times J J'
        is then the Hessian that Powell 1991 proposes for quantiles.

        Args:
            residuals: as the objective counts them.
            down: how far the zone reaches below zero, and
            up: above.
            weights: (n,), mean 1.
            size: parameters fitted.
        """
        kept = weights > 0
        share = weights / weights.sum()
        middle = np.clip(residuals, *np.quantile(residuals[kept], [0.02, 0.98]))
        spread = float(np.sqrt(share @ middle**2))
        psi = np.clip(residuals, -down, up)
        if not spread > 0:
            return cls(psi=psi, slopes=np.ones_like(psi), noise=0.0)
        h = 0.9 * spread * kept.sum() ** -0.2
        slopes = (np.clip(residuals + h, -down, up) - np.clip(residuals - h, -down, up)) / (2 * h)
        mean, square = float(share @ slopes), float(share @ psi**2)
        degrees = kept.sum() / max(kept.sum() - size, 1)
        return cls(psi=psi, slopes=slopes / mean, noise=float(np.sqrt(square * degrees)) / mean)


def bent(runs: Floats, places: Floats, at_runs: Floats, at_places: Floats) -> tuple[Floats, Floats]:
    """Quadratic terms in (u, v), less what the law takes up of them, scaled to one at their largest.

    Args:
        runs: derivatives of the log losses of the runs, (n, p), and
        places: of the candidates, (m, p).
        at_runs: u and v of the runs, (n, 2), and
        at_places: of the candidates, (m, 2).

    Returns:
        The terms at the runs, (n, 3), and at the candidates, (m, 3).
    """
    u, v = np.concatenate([at_runs, at_places]).T
    terms = np.stack([u**2, u * v, v**2], axis=1)
    basis = np.linalg.qr(np.concatenate([runs, places]))[0]
    terms = terms - basis @ (basis.T @ terms)
    largest = np.abs(terms).max(axis=0)
    terms = terms / np.where(largest > 1e-9, largest, 1.0)
    return terms[: len(at_runs)], terms[len(at_runs) :]
