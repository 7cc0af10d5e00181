"""What each miscount should do to a fit, in closed form.

| code     | symbol | shape  | meaning                                                                     |
|----------|--------|--------|-----------------------------------------------------------------------------|
| mean     | m      | ()     | mean of ln N over the runs; mu = e^m unless the runs name another centre    |
| variance | t^2    | ()     | variance of ln N over the runs that ln D does not explain                   |
| pivot    | N_p    | ()     | parameters at which an additive error sets the exponent (see below)         |
| response | g      | (5,)   | d(ln A, ln B, E, alpha, beta)/dc of an additive error c, at c = 0           |
| s_i, t_i |        | (n,)   | share of the parameter and of the token term in the predicted loss of run i |

Multiplicative, N~ = c N, and systematic bias, N~ = mu (N/mu)^s, are exact (see `identities.py`):
alpha~ = alpha, A~ = A c^alpha; and alpha~ = alpha/s, A~ = A mu^((1-s) alpha/s); E, B and beta stay.

Additive, N~ = N + c. The term A (N~ - c)^-alpha is no power of N~: its local exponent is alpha (N + c)/N, and
one exponent must stand for all. To first order the fit absorbs what the counts do to the residuals,
dr_i = -alpha s_i c/N_i, by the least-squares step of its Jacobian J:  g = alpha J^+ (s/N).  From it

    alpha~ = alpha (1 + c/N_p), N_p = alpha/g_alpha                       (the exponent local to N_p)
    ln A~ - alpha~ ln(N_p + c) = ln A - alpha ln N_p + c v                (the term at N_p; v by g)
    E, ln B and beta: linear in c by g.

The shape of the objective does not enter: where errors have one law, the expected Hessian of any M-estimator
is proportional to J'J (Huber 1964, doi:10.1214/aoms/1177703732).

Log-normal noise, x = ln N + delta. Let ln N be normal, with variance t^2 around its regression on ln D. Given
x (and D), ln N is normal around m + lambda (x - m) with

    lambda = t^2 / (t^2 + sigma^2)

(the reliability ratio of errors in variables: Fuller 1987, Measurement Error Models, section 1.1). L falls in
N, so that the median of L given x is the loss at the median of N given x: E + A e^(-alpha (1 - lambda) m)
x-term, which is a scaling law again with

    alpha~ = lambda alpha,  A~ = A mu^(-(1 - lambda) alpha),  E, B, beta unchanged:

exact for the conditional median, what an objective with a narrow quadratic zone estimates, when ln N is
normal and uncorrelated with ln D. It is the bias with s = 1/lambda: in its mean effect, noise is a bias.

Tokens. The law is the same with N and D, A and B, alpha and beta exchanged, and so is every form above: a
factor c gives B~ = B c^beta, noise attenuates beta by the reliability of ln D given ln N, an amount acts at
a pivot D_p. These are the same functions, on the exchanged runs.

Losses. A factor c gives c E, c A, c B: every log residual stays. An offset c gives E + c: exact for losses
without noise, and otherwise right where the residuals r are small, since r~ = r L/(L + c) to first order
changes what each run weighs and not where the residuals vanish. Noise moves nothing but the scatter: it is
symmetric in the logarithm that is fitted.

Coupled, D~ = C/(6 N~): D~ = D exp(d) with d = ln(N/N~), where the tokens were C/(6 N) before. A factor c is
exact: A c^alpha and B c^-beta. Otherwise the mean of d is a factor of the tokens, and what is left of d the
fit absorbs by its least-squares step J^+ (beta t d), to first order; then the form of the parameters. Coupled
noise errs in both counts at once and has no closed form here.

Tokens per parameter at C FLOP are (C/6)^((alpha-beta)/(alpha+beta)) G^-2 with
G = (alpha A / (beta B))^(1/(alpha+beta)), so that they are multiplied by

    c^(-2 alpha/(alpha+beta))  under N~ = c N,      c^(2 beta/(alpha+beta))  under D~ = c D,
    c^-2                       under both coupled,  1                        under a factor or offset of L

at every C. The coupled one needs no law: at each C the best N is called c N, and the best D becomes D/c.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.beyond_float64 import beyond_float64
from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax.laws.scaling_law import ScalingLaw
from chinchilla_jax.perturbations import FAMILIES, Family, bias_centre

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs

CLOSED_FORMS = tuple(name for name, each in FAMILIES.items() if not (each.coupled and each.random))
"""The families with a closed form: all but coupled noise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Theory:
    """The closed forms for one design, around one fit. Made by `theory_of`.

    Attributes:
        mean: m, mean of ln N.
        log_centre: ln mu, around which a systematic bias turns: m, unless the runs name another centre.
        variance: t^2, of ln N given ln D.
        smallest: smallest count: an additive error must stay above minus this.
        runs: the unperturbed runs.
        law: fitted to them.
    """

    mean: float
    log_centre: float
    variance: float
    smallest: float
    runs: Runs
    law: ScalingLaw

    @functools.cached_property
    @beyond_float64()
    def response(self) -> NDArray[np.float64]:
        """g, shape (5,), of (ln A, ln B, E, alpha, beta).

        Raises:
            UsageError: the law fits these runs so badly that their parameters do not determine it.
        """
        of_params, _ = self.law.terms(self.runs.params, self.runs.tokens)
        share = of_params / np.asarray(self.law.loss(self.runs.params, self.runs.tokens))
        # Per million parameters, so that the numbers are near 1.
        return _absorbed(self.runs, self.law, self.law.alpha * share / self.runs.params * 1e6) / 1e6

    @functools.cached_property
    @beyond_float64()
    def pivot(self) -> float:
        """N_p (parameters, count); NaN where an additive error does not move the exponent."""
        return float(np.divide(self.law.alpha, self.response[3]))

    @functools.cached_property
    def mirror(self) -> Theory:
        """The closed forms of the tokens: those of the runs with parameters and tokens exchanged."""
        runs = dataclasses.replace(self.runs, params=self.runs.tokens, tokens=self.runs.params, centre=None)
        return theory_of(runs, _exchanged(self.law))

    def reliability(self, sigma: float) -> float:
        """Lambda, the factor by which noise of this standard deviation attenuates the exponent."""
        ratio = sigma / math.sqrt(self.variance)
        return 1 / (1 + ratio * ratio)

    @beyond_float64()
    def predict(self, family: str, size: float, laws: ScalingLaw) -> ScalingLaw:
        """The laws that fits to miscounted runs should give, from those of the runs as they are.

        Args:
            family: of the perturbation.
            size: of the perturbation: c, s or sigma.
            laws: fitted to the unperturbed runs, any shape.

        Returns:
            Laws of the same shape. A parameter beyond float64 is infinite or 0; NaN where there is no law of
            this form.

        Raises:
            UsageError: an unknown family, one without a closed form, or a size outside its range.
        """
        if family not in FAMILIES:
            raise unknown_name("family", family, FAMILIES)
        made = FAMILIES[family]
        made(size)  # refuses what is out of range
        if made.coupled:
            return self._coupled(made, size, laws)
        if made.of == "loss":
            return self._of_losses(made, size, laws)
        if made.of == "tokens":
            return _exchanged(self.mirror._of_params(made.form, size, _exchanged(laws)))
        return self._of_params(made.form, size, laws)

    def _of_params(self, form: str, size: float, laws: ScalingLaw) -> ScalingLaw:
        if form == "additive":
            return self._additive(size, laws)
        s, shift = 1.0, 0.0
        if form == "multiplicative":
            if size <= 0:
                raise UsageError(f"theory: a factor of {size!r} leaves no counts")
            shift = math.log(size)
        else:
            reliability = 1.0 if form == "systematic_bias" else self.reliability(size)
            if reliability < 1e-12:
                raise UsageError(f"theory: noise of {size!r} leaves nothing of the counts; use a smaller one")
            s = size if form == "systematic_bias" else 1 / reliability
            # The errors of noise are around the mean of these runs, whatever a bias turns around.
            shift = (1 - s) * (self.log_centre if form == "systematic_bias" else self.mean)
        alpha = np.asarray(laws.alpha) / s
        A = np.exp(np.log(laws.A) + alpha * shift)
        if not np.all(np.isfinite(alpha) | ~np.isfinite(laws.alpha)):
            raise UsageError(f"theory: an exponent divided by {s!r} overflows; use a larger one")
        return ScalingLaw(E=laws.E, A=A, B=laws.B, alpha=alpha, beta=laws.beta)

    def _of_losses(self, made: Family, size: float, laws: ScalingLaw) -> ScalingLaw:
        if made.form == "multiplicative":
            if size <= 0:
                raise UsageError(f"theory: a factor of {size!r} leaves no losses")
            before = np.stack([np.asarray(laws.E), np.asarray(laws.A), np.asarray(laws.B)])
            E, A, B = after = size * before
            if not np.all(np.isfinite(after) | ~np.isfinite(before)):
                raise UsageError(f"theory: a factor of {size!r} on the losses overflows; use a smaller one")
            return dataclasses.replace(laws, E=E, A=A, B=B)
        if made.form == "additive":
            E = np.asarray(laws.E) + size
            if not self.runs.loss.min() + size > 0 or np.any(E < 0):
                raise UsageError(f"theory: an offset of {size!r} leaves losses or a floor below zero")
            return dataclasses.replace(laws, E=E)
        return laws

    def _coupled(self, made: Family, size: float, laws: ScalingLaw) -> ScalingLaw:
        if made.random:
            raise UsageError(f"theory: {made.name} has no closed form; allowed: {', '.join(CLOSED_FORMS)}")
        tokens = made(size).apply(self.runs).tokens
        if not np.all((tokens > 0) & np.isfinite(tokens)):
            raise UsageError(f"theory: {made.name} of {size!r} leaves counts that are not positive")
        d = np.log(tokens) - np.log(self.runs.tokens)
        factor, rest = float(d.mean()), d - d.mean()
        _, of_tokens = self.law.terms(self.runs.params, self.runs.tokens)
        share = of_tokens / np.asarray(self.law.loss(self.runs.params, self.runs.tokens))
        log_a, log_b, floor, alpha, beta = _absorbed(self.runs, self.law, self.law.beta * share * rest)
        moved = ScalingLaw(
            E=np.asarray(laws.E) + floor,
            A=np.exp(np.log(laws.A) + log_a),
            B=np.exp(np.log(laws.B) + log_b + (np.asarray(laws.beta) + beta) * factor),
            alpha=np.asarray(laws.alpha) + alpha,
            beta=np.asarray(laws.beta) + beta,
        )
        return self._of_params(made.form, size, moved)

    def _additive(self, c: float, laws: ScalingLaw) -> ScalingLaw:
        if not -self.smallest < c < math.inf:
            raise UsageError(f"theory: adding {c!r} leaves counts that are not positive")
        log_a, log_b, floor, exponent, beta = self.response
        log_pivot = np.log(self.pivot)
        growth = 1 + c / self.pivot
        # An error below minus the pivot has turned the exponent round: no law of this form.
        log_moved = np.log(self.pivot + c) if growth > 0 else math.nan
        alpha = np.asarray(laws.alpha) * growth
        at_pivot = np.log(laws.A) - np.asarray(laws.alpha) * log_pivot
        drift = log_a - exponent * log_pivot - exponent  # of the term at the pivot; exponent = alpha/pivot
        return ScalingLaw(
            E=np.asarray(laws.E) + c * floor,
            A=np.exp(at_pivot + c * drift + alpha * log_moved),
            B=np.exp(np.log(laws.B) + c * log_b),
            alpha=alpha,
            beta=np.asarray(laws.beta) + c * beta,
        )


def theory_of(runs: Runs, law: ScalingLaw) -> Theory:
    """The closed forms for these runs, around the law fitted to them.

    Raises:
        UsageError: counts are not positive, all models are of one size, or the law is not a single finite
            one.
    """
    if not (np.all(runs.params > 0) and np.all(runs.tokens > 0)):
        raise UsageError(f"theory: {runs.name} has counts that are not positive")
    if not (
        isinstance(law, ScalingLaw)
        and not law.shape
        and np.isfinite(list(map(float, law.as_dict().values()))).all()
    ):
        raise UsageError(
            f"theory: {law!r}; give the single five-parameter law fitted to the runs, all of it finite"
        )
    log_n, log_d = np.log(runs.params), np.log(runs.tokens)
    explained = np.stack([np.ones_like(log_d), log_d], axis=1)
    rest = log_n - explained @ np.linalg.lstsq(explained, log_n, rcond=None)[0]
    variance = float(np.mean(rest**2))
    if variance < 1e-12:
        raise UsageError(f"theory: the sizes of {runs.name} do not vary apart from the tokens")
    return Theory(
        mean=float(log_n.mean()),
        log_centre=math.log(bias_centre(runs)),
        variance=variance,
        smallest=float(runs.params.min()),
        runs=runs,
        law=law,
    )


def _absorbed(runs: Runs, law: ScalingLaw, moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least-squares step J^+ moved of (ln A, ln B, E, alpha, beta), shape (5,), at this law.

    Args:
        runs: n of them.
        law: fitted to them.
        moved: by how much every log residual falls, (n,).

    Raises:
        UsageError: a column of J is 0 or beyond float64.
    """
    log_n, log_d = np.log(runs.params), np.log(runs.tokens)
    loss = np.asarray(law.loss(runs.params, runs.tokens))
    of_params, of_tokens = (term / loss for term in law.terms(runs.params, runs.tokens))
    # Centred and scaled columns, or the least squares lose ten digits.
    n_mean, d_mean = log_n.mean(), log_d.mean()
    columns = np.stack(
        [of_params, of_tokens, 1 / loss, -(log_n - n_mean) * of_params, -(log_d - d_mean) * of_tokens],
        axis=1,
    )
    scale = np.linalg.norm(columns, axis=0)
    if not (np.all(scale > 0) and np.isfinite(columns / scale).all() and np.isfinite(moved).all()):
        raise UsageError(
            f"theory: {runs.name} says nothing about a parameter of {law!r}; give the law fitted to the runs"
        )
    centred = np.linalg.lstsq(columns / scale, moved, rcond=None)[0] / scale
    return centred + np.array([centred[3] * n_mean, centred[4] * d_mean, 0, 0, 0])


def _exchanged(law: ScalingLaw) -> ScalingLaw:
    """The law with parameters and tokens exchanged."""
    return ScalingLaw(E=law.E, A=law.B, B=law.A, alpha=law.beta, beta=law.alpha)
