"""Ways to resample, as weights on the same runs: a fit of any scheme is one lane of the solver.

Notation
    n, p         runs, parameters of the law
    weights      w_ri, of run i in resample r; (R, n)
    factor       by what deviations from the point are multiplied to have the spread of the estimate itself

| scheme      | weights                                       | factor                  | source             |
|-------------|-----------------------------------------------|-------------------------|--------------------|
| `Pairs`     | counts of n draws with replacement            | 1                       | Efron 1979         |
| `Cluster`   | counts or Dirichlet weights of whole clusters | 1                       | DH 1997, 3.8       |
| `Bayesian`  | n times Dirichlet(c, ..., c)                  | 1                       | Rubin 1981         |
| `MOutOfN`   | counts of m draws with replacement            | sqrt((m - p) / (n - p)) | Bickel et al. 1997 |
| `Jackknife` | all runs but one                              | (n - 1) / sqrt(n)       | ET 1993, 11        |
| `DeleteD`   | all runs but d, drawn without replacement     | sqrt((n - d) / d)       | Shao & Wu 1989     |
| `Wild`      | (none: losses, see drawn_errors.py)           | 1                       | Liu 1988           |
| `Residual`  | (none: losses, see drawn_errors.py)           | 1                       | Efron 1979         |

DH: Davison & Hinkley, Bootstrap Methods and their Application. ET: Efron & Tibshirani, An Introduction to the
Bootstrap.

Small tables. The fit takes up p of n errors, so that residuals are smaller than errors, the more so where a
run has leverage. `Wild` and `Residual` therefore draw from residuals of the laws fitted without each run
(left_out.py), `Bayesian` has weights that vary more, and a resample of m runs is counted as having m - p.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chinchilla_jax._util.errors import UsageError, unknown_name
from chinchilla_jax._util.validation import positive_number, seed_number, whole_number
from chinchilla_jax.bootstrapping import weights as resample
from chinchilla_jax.bootstrapping.cluster import Cluster as Cluster
from chinchilla_jax.bootstrapping.drawn_errors import DrawnErrors
from chinchilla_jax.bootstrapping.drawn_errors import Residual as Residual
from chinchilla_jax.bootstrapping.drawn_errors import Wild as Wild
from chinchilla_jax.bootstrapping.random_bits import bits_row, random_bits
from chinchilla_jax.bootstrapping.scheme import Nested
from chinchilla_jax.bootstrapping.scheme import Scheme as Scheme
from chinchilla_jax.solvers.drawn import Row

if TYPE_CHECKING:
    from chinchilla_jax.datasets import Runs

_LEAST_DRAWS = 25  # of `MOutOfN`: five for each parameter of the five-parameter law
_FEWEST_DRAWS = 6  # that may be asked for


@dataclasses.dataclass(frozen=True)
class Pairs(Scheme):
    """Runs drawn with replacement, loss and counts together.

    Example:
        >>> cj.bootstrap(runs, resamples=20, scheme=cj.Pairs()).scheme.name
        'pairs'
    """

    name: ClassVar[str] = "pairs"
    has_jackknife: ClassVar[bool] = True

    def weights(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        return resample.resample_weights(len(runs), resample_ids, seed)

    def row_of(self, runs: Runs) -> Row:
        """See `Scheme.row_of`."""
        return resample.counted(len(runs), len(runs), resample.PAIRS)

    @property
    def has_nested(self) -> bool:
        """See `Scheme.has_nested`."""
        return True

    def nested(self, runs: Runs) -> Nested:
        """See `Scheme.nested`."""
        return Nested(lambda ids, seed: self.weights(runs, ids, seed), np.arange(len(runs)))


@dataclasses.dataclass(frozen=True)
class Bayesian(Scheme):
    """Weights n Dirichlet(c, ..., c): every run stays in, more or less, so every resample determines a law.

    Rubin 1981 has c = 1. On few runs its intervals are too narrow: 80% ones cover 57 on 12 runs and 67 on 20.
    A smaller c makes the weights vary more.

    Attributes:
        concentration: c, positive; None for `weights.concentration` of n runs and p parameters.

    Example:
        >>> boot = cj.bootstrap(runs, resamples=20, scheme="bayesian")
        >>> float(round(boot.weights(0).sum(), 6))
        240.0
    """

    name: ClassVar[str] = "bayesian"
    has_jackknife: ClassVar[bool] = True
    concentration: float | None = None

    def __post_init__(self) -> None:
        """Refuse a concentration that has no meaning."""
        if self.concentration is not None:
            remedy = "give a positive number such as 1"
            positive_number("Bayesian: concentration", self.concentration, remedy=remedy)

    def completed(self, n_runs: int, size: int, weights: NDArray[np.float64] | None = None) -> Bayesian:
        """With its concentration."""
        if self.concentration is not None:
            return self
        return Bayesian(concentration=resample.concentration(resample.used_runs(n_runs, weights), size))

    def weights(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> NDArray[np.float64]:
        """Weights (R, n), see `Scheme.weights`; c is 1 where it is None."""
        concentration = 1.0 if self.concentration is None else self.concentration
        return resample.dirichlet_weights(
            len(runs), resample_ids, seed, concentration, stream=resample.BAYESIAN
        )


@dataclasses.dataclass(frozen=True)
class MOutOfN(Scheme):
    """m draws with replacement, m below n: right also where the bootstrap of size n is not.

    Attributes:
        m: draws per resample, 6 or more; None for n^(3/4), rounded up, but at least 25 (or n). Laws of fewer
            runs are spread too widely for the factor: on 240 runs, 80% intervals of 39 cover 83 to 85%, of
            62 they cover 81 to 84%. Where some runs have weight 0, n are the others, and more are drawn, so
            that about m of them are.
        used: how many runs have a weight, which `bootstrap` fills in; None for all.

    Example:
        >>> boot = cj.bootstrap(runs, resamples=20, scheme=cj.MOutOfN(m=60))
        >>> float(boot.weights(0).sum())
        60.0
    """

    name: ClassVar[str] = "m_out_of_n"
    m: int | None = None
    used: int | None = None

    def __post_init__(self) -> None:
        """Refuse a size that has no meaning."""
        if self.m is not None:
            whole_number("MOutOfN: m", self.m, low=_FEWEST_DRAWS)

    def completed(self, n_runs: int, size: int, weights: NDArray[np.float64] | None = None) -> MOutOfN:
        """Where some runs have weight 0, with the number of the others and a size that counts these."""
        used = resample.used_runs(n_runs, weights)
        if used == n_runs:
            return self
        m = self.m
        if m is None and n_runs >= _FEWEST_DRAWS:  # of fewer runs all are drawn anyway
            m = -(-self.size(used) * n_runs // used)
        return MOutOfN(m=m, used=used)

    def size(self, n_runs: int) -> int:
        """Draws per resample."""
        return max(math.ceil(n_runs ** (3 / 4)), min(n_runs, _LEAST_DRAWS)) if self.m is None else int(self.m)

    def weights(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        return self.row_of(runs).rows(resample.checked_ids(resample_ids), seed_number(seed))

    def row_of(self, runs: Runs) -> Row:
        """See `Scheme.row_of`."""
        if self.size(len(runs)) > len(runs):
            raise UsageError(
                f"MOutOfN: m = {self.size(len(runs))} of {len(runs)} runs; give at most as many as there are"
            )
        return resample.counted(self.size(len(runs)), len(runs), resample.M_OUT_OF_N)

    def factor(self, n_runs: int, size: int = 5) -> float:
        """See the table of the module."""
        # A law of m runs has the variance of m - p. A table too small for this is resampled at its own size.
        used = n_runs if self.used is None else self.used
        drawn = max(self.size(n_runs) * used / n_runs - size, 1)
        return math.sqrt(drawn / max(used - size, drawn))


@dataclasses.dataclass(frozen=True)
class Jackknife(Scheme):
    """Every run left out once: n fits, whatever number of resamples is asked for.

    Example:
        >>> boot = cj.bootstrap(runs, scheme="jackknife")
        >>> len(boot.steps) == len(runs)
        True
    """

    name: ClassVar[str] = "jackknife"
    quantiles: ClassVar[bool] = False

    def weights(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        return resample.leave_one_out(len(runs))[resample_ids]

    def factor(self, n_runs: int, size: int = 5) -> float:
        """See the table of the module."""
        # The standard deviation of the fits has 1/(n - 1), the jackknife's (n - 1)/n of the sum of squares.
        return (n_runs - 1) / math.sqrt(n_runs)

    def count(self, runs: Runs, resamples: int) -> int:
        """One for each run."""
        return len(runs)


@dataclasses.dataclass(frozen=True)
class DeleteD(Scheme):
    """d runs left out, drawn independently each time.

    Attributes:
        d: how many; None for a fifth of the runs, rounded up.

    Example:
        >>> boot = cj.bootstrap(runs, resamples=20, scheme=cj.DeleteD(d=100))
        >>> float(boot.weights(0).sum())
        140.0
    """

    name: ClassVar[str] = "delete_d"
    d: int | None = None

    def __post_init__(self) -> None:
        """Refuse a size that has no meaning."""
        if self.d is not None:
            whole_number("DeleteD: d", self.d, low=1)

    def size(self, n_runs: int) -> int:
        """How many runs are left out; at least six stay."""
        d = math.ceil(n_runs / 5) if self.d is None else int(self.d)
        if n_runs - d < 6:
            raise UsageError(f"DeleteD: d = {d} leaves {n_runs - d} of {n_runs} runs; leave 6 or more")
        return d

    def weights(self, runs: Runs, resample_ids: NDArray[np.integer], seed: int) -> NDArray[np.uint8]:
        """Weights (R, n), see `Scheme.weights`."""
        return self.row_of(runs).rows(resample.checked_ids(resample_ids), seed_number(seed))

    def row_of(self, runs: Runs) -> Row:
        """See `Scheme.row_of`."""
        return Row(_deleted_row, _deleted_rows, (len(runs), self.size(len(runs))), len(runs))

    def factor(self, n_runs: int, size: int = 5) -> float:
        """See the table of the module."""
        return math.sqrt((n_runs - self.size(n_runs)) / self.size(n_runs))


def _deleted_rows(n_runs: int, d: int, ids: NDArray[np.uint32], seed: int) -> NDArray[np.uint8]:
    """Weights (R, n) of resamples of `DeleteD`."""
    bits = random_bits(n_runs, ids, seed, resample.DELETE)
    # Ties of 32-bit numbers are broken by position: one in 10^5 resamples of 240 runs has any.
    left_out = np.argsort(bits, axis=1, kind="stable")[:, :d]
    weights = np.ones((len(bits), n_runs), np.uint8)
    np.put_along_axis(weights, left_out, np.uint8(0), axis=1)
    return weights


def _deleted_row(n_runs: int, d: int, seed: Any, identity: Any) -> Any:
    """Weights (n,) of one resample of `DeleteD`, in JAX."""
    import jax.numpy as jnp

    order = jnp.argsort(bits_row(n_runs, resample.DELETE, seed, identity), stable=True)
    return jnp.ones(n_runs, jnp.uint8).at[order[:d]].set(0)


def read_scheme(scheme: Scheme | str) -> Scheme:
    """The scheme, or the one of that name.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(scheme, Scheme):
        return scheme
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise unknown_name("scheme", scheme, SCHEMES)
    kind: type[Scheme] = SCHEMES[scheme]
    return kind()


def require_weights(scheme: Scheme, n_runs: int, caller: str) -> None:
    """Refuse a scheme that is not weights on as many runs, with the spread of the estimate itself.

    Raises:
        UsageError: it is one.
    """
    if isinstance(scheme, DrawnErrors) or not scheme.keeps_spread(n_runs):
        raise UsageError(
            f"{caller}: scheme {scheme.name!r} does not weight as many runs; use 'pairs', 'cluster' or "
            "'bayesian'"
        )


SCHEMES = {
    kind.name: kind for kind in (Pairs, Cluster, Residual, Wild, Bayesian, MOutOfN, Jackknife, DeleteD)
}
"""The schemes by name; each is usable without arguments."""
