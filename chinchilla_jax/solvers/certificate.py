"""Is this an optimum? Certificates in NumPy, what they mean for any law, and whether the runs determine it.

`certify` is for Huber fits of the five-parameter law, with derivatives of its own that share no code with the
engines. It judges every lane of the quasi-Newton solvers of other libraries, which have no certificate, and
the engines' delicate lanes (five_parameter.py); the tests judge all lanes of the engines by it. `judge` and
`identifiable` are for any law.

Notation (R lanes, n runs; theta, u, v as in laws/chinchilla.py)
    w               weights; (R, n)
    psi, zone       derivative of the Huber loss at the residual, and 1 where it is quadratic; (R, n)
    J               derivative of the residuals, `Chinchilla.jacobian`; (R, n, 5)
    s, t            shares of the parameter and the token term in the predicted loss, J[..., 0] and J[..., 1]
    g, H            gradient (R, 5) and Hessian (R, 5, 5) of the objective
    H = sum_i w_i [ zone_i J_i J_i' + psi_i (s_i c_i c_i' + t_i d_i d_i' - J_i J_i') ],
        c = (1, 0, 0, -u, 0), d = (0, 1, 0, 0, -v), since the predicted loss is a sum of exponentials

The decrement does not depend on the coordinates at an optimum: a change of coordinates adds terms in g.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from chinchilla_jax.laws.design import FLOOR, LARGEST_EXPONENT
from chinchilla_jax.laws.scaling_law import log_terms
from chinchilla_jax.laws.separation import ON_LINE, most_near_line, spread_without_one
from chinchilla_jax.solvers.drawn import Drawn
from chinchilla_jax.solvers.status import Status
from chinchilla_jax.solvers.thresholds import LARGEST_ZONE, SMALLEST_VALUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.design import Design
    from chinchilla_jax.laws.law import Law
    from chinchilla_jax.solvers.batch import Batch

# Relative to the unit diagonal that the Hessian is scaled to: an eigenvalue below this counts as zero.
SINGULAR = 1e-11
SHIFT = 1e-7
_SURELY = 0.999  # fraction of the tolerance, for rounding: of eigenvalues beyond `SINGULAR`, 1e-4 at most
VANISHING = 1e-10  # share of a term, at its largest, below which it has no influence left
_LOG_VANISHING = math.log(VANISHING)
# Lanes times runs of a chunk: arrays that stay in the second-level cache and are not mapped anew by every
# operation. And what the lanes are a multiple of: products of matrices sum odd rows at the end otherwise.
_NUMBERS, _LEAST_LANES = 12_000, 16


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Optimality:
    """What the derivatives at R points say.

    Attributes:
        objective_value: (R,).
        gradient: (R, p) with respect to theta; zeros where something is not finite.
        decrement: (R,) 1/2 g' H^-1 g relative to the objective; inf where H is not positive definite or
            something is not finite.
        definite: (R,) H is positive definite, by more than rounding and the gradient left can account for.
        stationary: (R,) the gradient is as small as at an optimum, directions without curvature left aside.
        flat: (R,) stationary, and H is positive semidefinite but singular: an optimum, one of many.
        held: (R,) a bounded coordinate (E) is zero and pushed further down; g and H are those without it.
        vanished: (R,) a term of the law has no influence on any run.
    """

    objective_value: NDArray[np.float64]
    gradient: NDArray[np.float64]
    decrement: NDArray[np.float64]
    definite: NDArray[np.bool_]
    stationary: NDArray[np.bool_]
    flat: NDArray[np.bool_]
    held: NDArray[np.bool_]
    vanished: NDArray[np.bool_]

    def overwrite(self, lanes: NDArray[np.intp], other: Optimality, rows: NDArray[np.bool_]) -> None:
        """Put the rows `rows` of `other` in place of `lanes` here."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[lanes] = getattr(other, field.name)[rows]


def derivatives(
    design: Design, weights: NDArray[Any], theta: NDArray[np.float64], delta: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Objective value (R,), gradient (R, 5), Hessian (R, 5, 5) at `theta` (R, 5), `weights` (R or 1, n)."""
    u, v = design.log_params, design.log_tokens
    a, b, floor, alpha, beta = theta.T[..., None]
    of_params, of_tokens = (np.exp(term) for term in log_terms(a, b, alpha, beta, u, v))
    loss = of_params + of_tokens + floor
    residual = np.log(loss) - design.log_loss
    s, t, of_floor = of_params / loss, of_tokens / loss, 1.0 / loss
    weights = np.asarray(weights, dtype=np.float64)
    psi = np.clip(residual, -delta, delta)
    zone = (np.abs(residual) <= delta).astype(np.float64)
    pull, hold = weights * psi, weights * (zone - psi)
    value = np.sum(pull * (residual - 0.5 * psi), axis=1)
    along_u, along_v = np.stack([np.ones_like(u), -u, u * u], 1), np.stack([np.ones_like(v), -v, v * v], 1)
    # J is (s, t, 1/L, -u s, -v t): every entry is a sum over the runs of a share, or of a product of two,
    # times powers of u and v. As products of matrices these take a tenth of the time of J_i J_i'.
    hold_s, hold_t = hold * s, hold * t
    both = (hold_s * t) @ np.stack([np.ones_like(u), -u, -v, u * v], axis=1)
    g_s, g_t = (pull * s) @ along_u, (pull * t) @ along_v
    ss, tt = g_s + (hold_s * s) @ along_u, g_t + (hold_t * t) @ along_v
    s_floor, t_floor = (hold_s * of_floor) @ along_u[:, :2], (hold_t * of_floor) @ along_v[:, :2]
    floors = np.sum(hold * of_floor * of_floor, axis=1)
    gradient = np.stack([g_s[:, 0], g_t[:, 0], np.sum(pull * of_floor, axis=1), g_s[:, 1], g_t[:, 1]], axis=1)
    upper = {
        (0, 0): ss[:, 0], (0, 1): both[:, 0], (0, 2): s_floor[:, 0], (0, 3): ss[:, 1], (0, 4): both[:, 2],
        (1, 1): tt[:, 0], (1, 2): t_floor[:, 0], (1, 3): both[:, 1], (1, 4): tt[:, 1],
        (2, 2): floors, (2, 3): s_floor[:, 1], (2, 4): t_floor[:, 1],
        (3, 3): ss[:, 2], (3, 4): both[:, 3],
        (4, 4): tt[:, 2],
    }  # fmt: skip
    hessian = np.empty((len(value), 5, 5))
    for (j, k), entry in upper.items():
        hessian[:, j, k] = hessian[:, k, j] = entry
    return value, gradient, hessian


def certify(
    design: Design,
    weights: NDArray[Any],
    theta: NDArray[np.float64],
    delta: float,
    *,
    tolerance: float = 1e-12,
) -> Optimality:
    """Newton decrement and definiteness of the Hessian at `theta`, in float64.

    Args:
        design: the runs, valid.
        weights: (R, n) or (1, n).
        theta: (R, 5) internal coordinates.
        delta: half-width of the quadratic zone.
        tolerance: decrement at which a point is certified; a tenth of it counts as stationary.
    """
    theta = np.asarray(theta, dtype=np.float64)
    parts = [
        _certify(design, part, theta[lanes], delta, tolerance)
        for lanes, part in _in_chunks(design, weights, len(theta))
    ]
    if not parts:
        return _certify(design, np.ones((0, len(design))), theta, delta, tolerance)
    names = [field.name for field in dataclasses.fields(Optimality)]
    return Optimality(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def surely_certified(
    design: Design, weights: NDArray[Any], theta: NDArray[np.float64], delta: float, tolerance: float
) -> NDArray[np.bool_]:
    """Lanes of which `certify` says that H is definite and the decrement small; not all such; (R,).

    By a factorisation in place of eigenvalues, in half the time. With H scaled to a unit diagonal and less a
    shift beyond what `certify` asks of the eigenvalues, and g scaled so that the tolerance is 1,
    [[H, g], [g', 1]] is positive definite where H is and g' H^-1 g < 1.
    """
    sure = np.zeros(len(theta), bool)
    for lanes, part in _in_chunks(design, weights, len(theta)):
        value, gradient, hessian, finite, _ = _of_free(design, part, theta[lanes], delta)
        size, scaled = _unit_diagonal(hessian)
        slope = gradient / size
        most = _SURELY * 2.0 * tolerance * _scale(value, part, delta)
        both = np.zeros((len(value), 6, 6))
        both[:, :5, :5], both[:, 5, 5] = scaled, 1.0
        both[:, 5, :5] = slope / np.sqrt(most)[:, None]
        diagonal = np.einsum("rjj->rj", both)
        diagonal[:, :5] -= (2.0 * SINGULAR + 2.0 * np.abs(slope / size).max(axis=1))[:, None]
        try:
            np.linalg.cholesky(both)  # reads the lower triangle
            sure[lanes] = finite
        except np.linalg.LinAlgError:  # of at least one lane: eigenvalues tell of which
            continue
    return sure


def _in_chunks(design: Design, weights: NDArray[Any], count: int) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Chunks of `count` lanes, and their weights out of (R, n) or (1, n)."""
    length = max(_NUMBERS // len(design) // _LEAST_LANES, 1) * _LEAST_LANES
    for first in range(0, count, length):
        lanes = slice(first, first + length)
        yield lanes, weights if len(weights) == 1 else weights[lanes]


def _of_free(
    design: Design, weights: NDArray[Any], theta: NDArray[np.float64], delta: float
) -> tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]
]:
    """`derivatives`, 0 and 1 in place of what is not finite or is held at a bound; finite and held."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        value, gradient, hessian = derivatives(design, weights, theta, delta)
    finite = np.isfinite(value) & np.isfinite(gradient).all(axis=1) & np.isfinite(hessian).all(axis=(1, 2))
    held = finite & (theta[:, FLOOR] <= 0) & (gradient[:, FLOOR] >= 0)
    gradient = np.where(finite[:, None], gradient, 0.0)
    hessian = np.where(finite[:, None, None], hessian, np.eye(5))
    gradient[held, FLOOR] = 0.0
    hessian[held, FLOOR, :] = hessian[held, :, FLOOR] = 0.0
    hessian[held, FLOOR, FLOOR] = 1.0
    return value, gradient, hessian, finite, held


def _unit_diagonal(hessian: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Roots of the diagonal of H (R, 5), and H (R, 5, 5) divided by them.

    So that "safely definite" does not depend on units; a zero row stays a zero eigenvalue.
    """
    diagonal = np.abs(np.einsum("rjj->rj", hessian))
    size = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    return size, hessian / (size[:, :, None] * size[:, None, :])


def _scale(value: NDArray[np.float64], weights: NDArray[Any], delta: float) -> NDArray[np.float64]:
    """What decrements are relative to, (R,): the objective, where it is not rounding."""
    total = np.broadcast_to(np.sum(weights, axis=1, dtype=np.float64), value.shape)
    zone = min(delta, LARGEST_ZONE)
    return np.maximum(value, SMALLEST_VALUE * total * zone * zone)


def _certify(
    design: Design, weights: NDArray[Any], theta: NDArray[np.float64], delta: float, tolerance: float
) -> Optimality:
    value, gradient, hessian, finite, held = _of_free(design, weights, theta, delta)
    size, scaled = _unit_diagonal(hessian)
    eigenvalues, eigenvectors = np.linalg.eigh(scaled)
    along = np.einsum("rjk,rj->rk", eigenvectors, gradient / size)
    # Along a curved valley floor H picks up the gradient: curvature no larger than that proves nothing.
    borrowed = np.max(np.abs(gradient) / size**2, axis=1)
    positive = finite & (eigenvalues[:, 0] > SINGULAR)
    definite = positive & (eigenvalues[:, 0] > borrowed)
    divisor = np.where(positive[:, None], eigenvalues, 1.0)
    scale = _scale(value, weights, delta)
    decrement = np.where(positive, 0.5 * np.sum(along**2 / divisor, axis=1) / scale, np.inf)
    lifted = np.maximum(eigenvalues, 0.0) + SHIFT
    stationary = finite & (0.5 * np.sum(along**2 / lifted, axis=1) / scale <= 0.1 * tolerance)
    return Optimality(
        objective_value=value,
        gradient=gradient,
        decrement=decrement,
        definite=definite,
        stationary=stationary,
        flat=stationary & ~definite & (eigenvalues[:, 0] > -SHIFT),
        held=held,
        vanished=vanished(log_weaker_term(design, theta)),
    )


def judge(law: Law, theta: NDArray[np.float64], found: Optimality, tolerance: float) -> NDArray[np.int8]:
    """Status (R,) int8 of points of any law with these certificates.

    CONVERGED means certified: decrement at most `tolerance`, H positive definite, no coordinate at its bound,
    and every term still there. BOUNDARY is the same at a bound, with g and H of the other coordinates. A
    stationary point with a singular H or without a term is UNIDENTIFIED; so is an exponent that has run off.
    Anything else is MAX_STEPS: not certified, whatever the solver believes.

    Args:
        law: what was fitted.
        theta: (R, p).
        found: what the derivatives say there.
        tolerance: decrement at which a point is certified.
    """
    certified = found.definite & (found.decrement <= tolerance)
    escaped = np.abs(theta[:, list(law.exponents)]).max(axis=1, initial=0.0) > LARGEST_EXPONENT
    # Without noise the gradient at a bound is rounding of either sign: the bound itself tells, not `held`.
    at_bound = found.held | (theta[:, list(law.bounded)] <= 0).any(axis=1)
    unidentified = escaped | found.flat | ((certified | found.stationary) & found.vanished)
    unidentified |= found.stationary & ~certified & at_bound
    optimum = np.where(at_bound, Status.BOUNDARY, Status.CONVERGED)
    return np.where(unidentified, Status.UNIDENTIFIED, np.where(certified, optimum, Status.MAX_STEPS)).astype(
        np.int8
    )


def identifiable(
    law: Law, design: Design, weights: NDArray[Any], spread: NDArray[np.float64] | None = None
) -> NDArray[np.bool_]:
    """Whether the runs with a weight could determine the law: enough sizes, token counts and places.

    On a line of ln D in ln N the terms of a law exchange places, and off it by one run they are what that run
    says (laws/separation.py; `spread`, if it is known already, is `spread_without_one`).

    A whole curve of (A, alpha, E) with one objective passes through two sizes, and an optimum found there in
    rounding errors proves nothing. Runs of one size and one token count are one place, however many they are.
    Times the loss, each derivative of an additive law is a function of the size plus one of the token count:
    places on which such sums have fewer dimensions than the law has parameters leave a curve as well. A
    resample of a small table can be of that kind; (R,) or (1,).
    """
    used = np.asarray(weights) > 0
    count = np.count_nonzero(used, axis=1)
    enough = count >= law.size
    if law.exchangeable:
        enough &= (spread_without_one(design, used) if spread is None else spread) > ON_LINE
    sizes_needed, tokens_needed, together = law.least
    most_lacking = _most_lacking(law)
    sizes, tokens, places = (group for group, _ in design.groups)
    for lane in np.flatnonzero(enough & (count <= _in_few_groups(law, design))):
        row = used[lane]
        n_sizes, n_tokens = len(np.unique(sizes[row])), len(np.unique(tokens[row]))
        _, first = np.unique(places[row], return_index=True)
        enough[lane] = (
            n_sizes >= sizes_needed
            and n_tokens >= tokens_needed
            and n_sizes + n_tokens >= together
            and len(first) >= law.size
        )
        if enough[lane] and len(first) <= most_lacking:
            one = np.flatnonzero(row)[first]
            incidence = np.hstack([group[one, None] == group[one] for group in (sizes, tokens)])
            enough[lane] = np.linalg.matrix_rank(incidence.astype(np.float64)) >= law.size
    return enough


def _most_lacking(law: Law) -> int:
    """The most places with fewer dimensions than p: a rectangle with p - 2 of them, and one place apart."""
    return (law.size - 1) // 2 * (law.size // 2) + 1 if law.additive else 0


def _in_few_groups(law: Law, design: Design) -> int:
    """How many runs may be in too few groups: more are in as many as it takes.

    More runs than the largest k - 1 groups hold are in k groups or more.
    """
    sizes_needed, tokens_needed, together = law.least
    most_needed = max(sizes_needed, tokens_needed, together - min(sizes_needed, tokens_needed))
    needed = (most_needed, most_needed, max(law.size, _most_lacking(law)) + 1)
    return max(int(held[: k - 1].sum()) for (_, held), k in zip(design.groups, needed, strict=True))


def doubtful_runs(law: Law, design: Design) -> int:
    """The most runs with a weight that may leave the law undetermined: `identifiable` is true of more."""
    near_line = most_near_line(design) if law.exchangeable else 0
    return max(_in_few_groups(law, design), law.size - 1, near_line)


def undetermined(batch: Batch) -> NDArray[np.bool_]:
    """Lanes whose runs with a weight do not determine the law, (R,); see `identifiable`.

    Where a device draws the weights, only rows with few runs are looked at.
    """
    found = np.zeros(len(batch), bool)
    used = batch.weights.facts(batch.row)[1] if isinstance(batch.weights, Drawn) else None
    for problem, mine in batch.data_sets():
        law, design = problem.law, problem.design
        if used is None:
            found[mine] = ~identifiable(law, design, batch[mine].own)
            continue
        lanes = np.arange(len(batch))[mine][used[mine] <= doubtful_runs(law, design)]
        if len(lanes):
            found[lanes] = ~identifiable(law, design, batch[lanes].rows)
    return found


def degenerate(batch: Batch, theta: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the law at theta (R, p) has run off, lost a term, overflows, or rests on too few runs; (R,)."""
    law = batch.law
    escaped = np.abs(theta[:, list(law.exponents)]).max(axis=1, initial=0.0) > LARGEST_EXPONENT
    shares = np.abs(batch.jacobian(theta)[..., list(law.amplitudes)])
    largest = np.where((batch.rows > 0)[..., None], shares, 0.0).max(axis=1)
    found = np.asarray(escaped | ~(largest.min(axis=1, initial=np.inf) >= VANISHING))
    for problem, lanes in batch.data_sets():
        design, weights = problem.design, batch[lanes].own
        found[lanes] |= overflows(law, design, theta[lanes]) | ~identifiable(law, design, weights)
    return found


def overflows(law: Law, design: Design, theta: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a natural parameter at theta (R, p) is beyond float64; (R,)."""
    with np.errstate(all="ignore"):
        natural = np.stack(list(law.natural(theta, design).values()), axis=-1)
    return np.asarray(~np.isfinite(natural).all(axis=1))


def log_weaker_term(design: Design, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ln of the parameter or the token term where it is largest, relative to the rest; the weaker one; (R,).

    The rest is E and the other term where that is smallest, so that a share can be no larger than this.
    """
    u, v = design.log_params, design.log_tokens
    return log_weaker_by_range(np.array([u.min(), u.max(), v.min(), v.max()]), theta)


def log_weaker_by_range(ranges: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """`log_weaker_term` by the smallest and largest log params and log tokens, (4,) or (4, R)."""
    a, b, floor, alpha, beta = theta.T
    u_least, u_most, v_least, v_most = ranges
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        of_params, of_tokens = (
            (a - alpha * u_least, a - alpha * u_most),
            (b - beta * v_least, b - beta * v_most),
        )
        log_floor = np.log(floor)
        weaker = [
            np.maximum(*term) - np.logaddexp(log_floor, np.minimum(*other))
            for term, other in ((of_params, of_tokens), (of_tokens, of_params))
        ]
        return np.minimum(*weaker)


def vanished(log_weaker: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the parameter or the token term is negligible beside the rest at every run; (R,)."""
    return log_weaker < _LOG_VANISHING
