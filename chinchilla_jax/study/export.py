"""Bootstrap fits as an xarray Dataset, for arviz.

| code  | symbol               | dims          | unit                                     |
|-------|----------------------|---------------|------------------------------------------|
| E     | E                    | (chain, draw) | nats per token                           |
| A     | A                    | (chain, draw) | nats per token, params^alpha             |
| B     | B                    | (chain, draw) | nats per token, tokens^beta              |
| alpha, beta | alpha, beta    | (chain, draw) | pure numbers                             |

Resamples are independent draws and not a Markov chain: there is one chain, and arviz's diagnostics of mixing
(r_hat, effective sample size) do not apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.bootstrapping.result import BootstrapResult
from chinchilla_jax.solvers.counted import counted_rows
from chinchilla_jax.study.result import Study

if TYPE_CHECKING:
    import xarray


def to_arviz(source: BootstrapResult | Study, condition: str | None = None) -> xarray.Dataset:
    """The certified bootstrap fits of one condition, for `arviz.summary`, `arviz.plot_pair` and the like.

    Args:
        source: a bootstrap, or a study with its condition.
        condition: an id from `study.conditions`; for a study only.

    Returns:
        Variables E, A, B, alpha, beta (or the parameters of another law) with dimensions chain (one) and draw
        (the resamples that count, labelled by their ids); attributes condition, n_converged, n_failed. The
        others are left out.

    Raises:
        UsageError: a condition for a bootstrap, none for a study, or one that the study does not have.
        ImportError: xarray is not installed; it comes with arviz.

    Example:
        >>> cj.to_arviz(boot).sizes["draw"]
        200
    """
    try:
        import xarray
    except ImportError as error:
        raise ImportError("to_arviz needs xarray: pip install 'chinchilla-jax[arviz]'") from error
    if isinstance(source, Study):
        if condition is None:
            raise UsageError("to_arviz: a study has many conditions; name one, such as 'identity'")
        fits, boundary = source.fits(condition), source.spec.boundary
        parameters = source.spec.model.parameters
    elif isinstance(source, BootstrapResult):
        if condition is not None:
            raise UsageError(f"to_arviz: condition={short(condition)} is for a study; leave it out")
        fits, boundary = source.to_frame(), source.boundary
        parameters = source.point.model.parameters
    else:
        raise UsageError(f"to_arviz: {short(source)} is neither a bootstrap nor a study")
    certified = fits[counted_rows(fits["status"], boundary)]
    values = {
        name: (("chain", "draw"), certified[name].to_numpy(dtype=np.float64)[None]) for name in parameters
    }
    return xarray.Dataset(
        values,
        coords={"chain": [0], "draw": certified["resample"].to_numpy(dtype=np.int64)},
        attrs={
            "condition": condition or "",
            "n_converged": len(certified),
            "n_failed": len(fits) - len(certified),
            "creation_library": "chinchilla_jax",
        },
    )
