"""The runs as a solver sees them: standardised logarithms.

Notation
    log_params      u_i      (ln N_i - mean) / sd over the runs; (n,)
    log_tokens      v_i      (ln D_i - mean) / sd; (n,)
    log_loss        y_i      ln L_i, L_i in nats per token; (n,)
    further                  what else a law asks of the runs, in its own unit; (n,) each
    *_location, *_scale      mean and sd of ln N and of ln D; ()

Centring takes the condition number of the Hessian from about 1e11 to something float32 can live with;
dividing by the standard deviation makes every threshold and start free of units.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chinchilla_jax._util.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class RunColumns(Protocol):
    """What is read of a table of runs: counts, losses and further variables, each (n,)."""

    @property
    def params(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def tokens(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def flops(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def variables(self) -> Mapping[str, NDArray[np.float64]]: ...  # noqa: D102
    @property
    def loss(self) -> NDArray[np.float64]: ...  # noqa: D102
    def __len__(self) -> int: ...  # noqa: D105


FLOOR = 2  # position of E in the theta of the five-parameter law and its relatives
LARGEST_EXPONENT = 12.0  # standardised; beyond it a term touches the smallest runs only


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """Standardised runs. `valid` is False where a count or loss is not positive and finite: no fit then."""

    log_params: NDArray[np.float64]
    log_tokens: NDArray[np.float64]
    log_loss: NDArray[np.float64]
    params_location: float
    params_scale: float
    tokens_location: float
    tokens_scale: float
    further: tuple[NDArray[np.float64], ...] = ()
    valid: bool = True

    @classmethod
    def from_runs(cls, runs: RunColumns, further: Sequence[str] = ()) -> Design:
        """Standardise `runs`, with these variables beside params and tokens.

        Raises:
            UsageError: the runs do not have one of them.
        """
        others = tuple(_variable(runs, name) for name in further)
        counts = np.stack([runs.params, runs.tokens, runs.loss])
        if not (np.all(np.isfinite(counts)) and np.all(counts > 0)):
            blank = np.zeros(len(runs))
            return cls(
                log_params=blank, log_tokens=blank, log_loss=blank, params_location=0.0, params_scale=1.0,
                tokens_location=0.0, tokens_scale=1.0, further=others, valid=False,
            )  # fmt: skip
        logs = np.log(counts)
        location = logs.mean(axis=1)
        scale = logs.std(axis=1)
        # All runs of one size: any scale serves, the fit ends as UNIDENTIFIED by its singular Hessian.
        scale = np.where(scale > 1e-12, scale, 1.0)
        return cls(
            log_params=(logs[0] - location[0]) / scale[0],
            log_tokens=(logs[1] - location[1]) / scale[1],
            log_loss=logs[2],
            params_location=float(location[0]),
            params_scale=float(scale[0]),
            tokens_location=float(location[1]),
            tokens_scale=float(scale[1]),
            further=others,
            valid=all(bool(np.isfinite(values).all()) for values in others),
        )

    @classmethod
    def of_units(cls, units: Sequence[float]) -> Design:
        """The standardised units of some runs, see `units`, without the runs."""
        none = np.zeros(0)
        params_location, params_scale, tokens_location, tokens_scale = units
        return cls(
            log_params=none, log_tokens=none, log_loss=none, params_location=params_location,
            params_scale=params_scale, tokens_location=tokens_location, tokens_scale=tokens_scale,
        )  # fmt: skip

    @property
    def units(self) -> tuple[float, float, float, float]:
        """Mean and sd of ln N and of ln D: the units that coordinates are in."""
        return self.params_location, self.params_scale, self.tokens_location, self.tokens_scale

    def standardised(
        self, log_params: NDArray[np.float64], log_tokens: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ln N and ln D of any places, in these units."""
        u = (log_params - self.params_location) / self.params_scale
        v = (log_tokens - self.tokens_location) / self.tokens_scale
        return u, v

    @classmethod
    def stacked(cls, designs: Sequence[Design], index: NDArray[np.intp]) -> Design:
        """For every lane its own runs: columns (R, n), locations and scales (R,); for laws that `stack`.

        Args:
            designs: tables of n runs each.
            index: (R,) the table of each lane.
        """
        names = [field.name for field in dataclasses.fields(cls) if field.name != "further"]
        fields: dict[str, Any] = {
            name: np.array([getattr(each, name) for each in designs])[index] for name in names
        }
        further = zip(*(each.further for each in designs), strict=True)
        return cls(**fields, further=tuple(np.array(values)[index] for values in further))

    def __len__(self) -> int:
        """Number of runs."""
        return int(self.log_loss.shape[-1])

    @property
    def params(self) -> NDArray[np.float64]:
        """Parameters (count) of the runs, (n,)."""
        return np.exp(self.params_location + self.params_scale * self.log_params)

    @property
    def tokens(self) -> NDArray[np.float64]:
        """Training tokens (count) of the runs, (n,)."""
        return np.exp(self.tokens_location + self.tokens_scale * self.log_tokens)

    @property
    def places(self) -> tuple[NDArray[np.float64], ...]:
        """What a law predicts the loss of each run from: u, v and the further variables, (n,) each."""
        return self.log_params, self.log_tokens, *self.further

    @functools.cached_property
    def columns(self) -> NDArray[np.float64]:
        """Standardised log params, log tokens, and log loss as one array (3, n)."""
        return np.stack([self.log_params, self.log_tokens, self.log_loss])

    @functools.cached_property
    def first_of_equal(self) -> NDArray[np.intp]:
        """For every run the first one with the same size, tokens, further variables and loss, (n,)."""
        columns = np.stack([*self.places, self.log_loss])
        _, first, group = np.unique(columns, axis=1, return_index=True, return_inverse=True)
        return np.asarray(first[group.reshape(-1)])

    @functools.cached_property
    def line_spreads(self) -> tuple[float, float]:
        """How far the runs lie off a line of ln D in ln N, all and without one; see separation.py."""
        from chinchilla_jax.laws.separation import line_spreads

        whole, without = line_spreads(self, np.ones((1, len(self)), bool))
        return float(whole[0]), float(without[0])

    @functools.cached_property
    def groups(self) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]:
        """By size, by token count, by place: the group of each run (n,), and group sizes, largest first."""
        sizes, tokens, *others = (np.unique(column, return_inverse=True)[1] for column in self.places)
        places = sizes
        for group in (tokens, *others):
            places = np.unique(places * len(self) + group, return_inverse=True)[1]
        groups = (sizes, tokens, places)
        return tuple((group, np.sort(np.bincount(group))[::-1]) for group in groups)


def _variable(runs: RunColumns, name: str) -> NDArray[np.float64]:
    if name == "flops":
        return runs.flops
    try:
        return runs.variables[name]
    except KeyError:
        has = ", ".join(runs.variables) or "none"
        raise UsageError(
            f"the law needs {name} of every run, and the runs have no such variable ({has}); give "
            f"load_runs(..., variables=[{name!r}]), or Runs(..., variables={{{name!r}: [...]}})"
        ) from None
