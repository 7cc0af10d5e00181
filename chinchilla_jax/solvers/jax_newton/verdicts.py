"""What became of the lanes of many data sets: certificates in plain coordinates, and statuses, for any law.

Notation (R lanes; p coordinates)
    g, H        gradient (R, p) and Hessian (R, p, p) at the last accepted point, bounds left aside
    size        roots of the diagonal of H, (R, p); H / (size size') has a unit diagonal
    pivots      of that matrix, none of them negative where it is definite; (R, p)

The smallest eigenvalue of a matrix with a unit diagonal is at least the product of its pivots times
((p - 1) / p)^(p - 1): the others have a mean of at most p / (p - 1). Where that settles the matter, as for
nearly every lane of a bootstrap, no eigenvalue is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax.solvers.base import Solution
from chinchilla_jax.solvers.certificate import (
    SHIFT,
    SINGULAR,
    VANISHING,
    Optimality,
    judge,
    overflows,
    undetermined,
)
from chinchilla_jax.solvers.status import Status, is_certified
from chinchilla_jax.solvers.thresholds import LARGEST_ZONE, SMALLEST_VALUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chinchilla_jax.laws.law import Floats
    from chinchilla_jax.solvers.batch import Batch
    from chinchilla_jax.solvers.jax_newton.rounds import Ends

SAFE_STEP = 1e-10  # decrement below which the next step is taken without a look at where it leads
FAINT = 1e-6  # curvature by an amplitude, per weight, below which its term may have vanished


def verdicts(
    batch: Batch,
    ends: Ends,
    down: Floats,
    up: Floats,
    tolerance: float,
    *,
    judged: bool,
) -> Solution:
    """Solutions of R lanes that an engine left like this.

    Args:
        batch: the lanes.
        ends: where the lanes ended, as NumPy arrays.
        down: (R,) how far the objective's own zone reaches below zero.
        up: (R,) how far it reaches above.
        tolerance: decrement at which a lane is certified.
        judged: whether to ask if the runs with a weight determine the law.
    """
    law = batch.law
    theta = ends.anchor.copy()
    # The step that a certified lane would take next is free, and takes its error to rounding.
    free = (ends.status == Status.CONVERGED) & (ends.decrement <= SAFE_STEP)
    free &= np.isfinite(ends.theta).all(axis=1)
    theta[free] = ends.theta[free]
    held = np.zeros(len(theta), bool)
    for j in law.bounded:
        at_zero = (ends.anchor[:, j] <= 0) & (ends.gradient[:, j] == 0)
        theta[at_zero, j] = 0.0
        held |= at_zero
    found = _certificates(batch, ends, np.minimum(down, up), batch.totals, held, tolerance)
    status = judge(law, theta, found, tolerance)
    narrow = ends.widening <= 1 + 1e-12
    status[~narrow] = Status.MAX_STEPS
    if judged:
        lost = undetermined(batch)
        for problem, mine in batch.data_sets():
            lost[mine] |= overflows(law, problem.design, theta[mine])
        status[is_certified(status) & lost] = Status.UNIDENTIFIED
    value = ends.anchor_value.copy()
    # A lane that ran out of steps between two series has no value yet.
    unknown = np.flatnonzero(~np.isfinite(value))
    if len(unknown):
        from chinchilla_jax.laws.objectives import ZonedObjective, residual_loss

        objective = batch.objective
        losses = objective.losses if isinstance(objective, ZonedObjective) else residual_loss
        w, r = batch[unknown].rows, np.empty((len(unknown), batch.n_runs))
        for problem, mine in batch[unknown].data_sets():
            with np.errstate(all="ignore"):
                r[mine] = problem.counted(theta[unknown[mine]])
        with np.errstate(all="ignore"):
            r = np.where(w > 0, r, 0.0)
            again = np.sum(w * losses(r, down[unknown, None], up[unknown, None]), axis=1)
        value[unknown] = np.where(np.isfinite(again), again, np.inf)
    return Solution(
        theta=theta,
        objective_value=value,
        decrement=found.decrement,
        status=status,
        steps=ends.steps.astype(np.int32),
    )


def _certificates(
    batch: Batch,
    ends: Ends,
    narrowest: Floats,
    total: Floats,
    held: NDArray[np.bool_],
    tolerance: float,
) -> Optimality:
    """What g and H say at the last accepted points."""
    count, p = len(ends.status), batch.law.size
    hessian = np.empty((count, p, p))
    rows, columns = np.tril_indices(p)
    hessian[:, rows, columns] = hessian[:, columns, rows] = ends.hessian
    value, gradient = ends.anchor_value, ends.gradient
    finite = np.isfinite(value) & np.isfinite(gradient).all(axis=1) & np.isfinite(ends.hessian).all(axis=1)
    gradient = np.where(finite[:, None], gradient, 0.0)
    hessian = np.where(finite[:, None, None], hessian, np.eye(p))
    diagonal = np.abs(np.einsum("rjj->rj", hessian))
    size = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = hessian / (size[:, :, None] * size[:, None, :])
    slope = gradient / size
    zone = np.minimum(narrowest, LARGEST_ZONE)
    scale = np.maximum(np.where(finite, value, 0.0), SMALLEST_VALUE * total * zone * zone)
    scale = np.maximum(scale, 1e-300)
    # Along a curved valley floor H picks up the gradient: curvature no larger than that proves nothing.
    borrowed = np.max(np.abs(gradient) / size**2, axis=1)

    form, product = _eliminated(scaled, slope)
    least = product * ((p - 1) / p) ** (p - 1)
    sure = finite & (least > 10 * SINGULAR) & (least > 2 * borrowed)
    decrement = np.where(sure, 0.5 * form / scale, np.inf)
    definite = sure.copy()
    # The shifted form is no larger than the form.
    stationary = sure & (decrement <= 0.1 * tolerance)
    flat = np.zeros(count, bool)
    left = np.flatnonzero(~sure | ((decrement > 0.1 * tolerance) & (decrement <= tolerance)))
    if len(left):
        eigenvalues, eigenvectors = np.linalg.eigh(scaled[left])
        along = np.einsum("rjk,rj->rk", eigenvectors, slope[left])
        lowest, good = eigenvalues[:, 0], finite[left]
        positive = good & (lowest > SINGULAR)
        definite[left] = positive & (lowest > borrowed[left])
        divisor = np.where(positive[:, None], eigenvalues, 1.0)
        forms = 0.5 * np.sum(along**2 / divisor, axis=1) / scale[left]
        lifted = 0.5 * np.sum(along**2 / (np.maximum(eigenvalues, 0.0) + SHIFT), axis=1) / scale[left]
        still = good & (lifted <= 0.1 * tolerance)
        stationary[left] = still
        flat[left] = still & ~definite[left] & (lowest > -SHIFT)
        decrement[left] = np.where(positive, forms, np.where(flat[left], lifted, np.inf))
    return Optimality(
        objective_value=np.asarray(value),
        gradient=gradient,
        decrement=decrement,
        definite=definite,
        stationary=stationary,
        flat=flat,
        held=held,
        vanished=_vanished(batch, ends.anchor, diagonal, total),
    )


def _eliminated(matrix: Floats, right: Floats) -> tuple[Floats, Floats]:
    """The form right' M^-1 right and the product of the pivots, 0 where one is not positive; (R,)."""
    m, b = matrix.copy(), right.copy()
    form, product = np.zeros(len(m)), np.ones(len(m))
    for j in range(m.shape[1]):
        pivot = m[:, j, j]
        good = pivot > 0
        product = np.where(good, product * pivot, 0.0)
        inverse = 1.0 / np.where(good, pivot, 1.0)
        with np.errstate(over="ignore"):  # of a lane that ended on a slope
            form += b[:, j] ** 2 * inverse
        factor = m[:, j + 1 :, j] * inverse[:, None]
        m[:, j + 1 :, j + 1 :] -= factor[:, :, None] * m[:, j, None, j + 1 :]
        b[:, j + 1 :] -= factor * b[:, j, None]
    return form, product


def _vanished(batch: Batch, theta: Floats, diagonal: Floats, total: Floats) -> NDArray[np.bool_]:
    """Where a term of the law has no influence on any run with a weight."""
    places = list(batch.law.amplitudes)
    found = np.zeros(len(theta), bool)
    faint = ~(diagonal[:, places].min(axis=1, initial=np.inf) > FAINT * total)
    lanes = np.flatnonzero(faint & np.isfinite(theta).all(axis=1))
    for problem, mine in batch[lanes].data_sets() if len(lanes) else ():
        some = lanes[mine]
        with np.errstate(all="ignore"):
            shares = np.abs(problem.jacobian(theta[some])[..., places])
        largest = np.where((batch[some].own > 0)[..., None], shares, 0.0).max(axis=1)
        found[some] = ~(largest.min(axis=1, initial=np.inf) >= VANISHING)
    return found
