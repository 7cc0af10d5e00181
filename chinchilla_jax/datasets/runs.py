"""A set of training runs, the value that the rest of the package works on.

| code   | symbol | shape | unit                     |
|--------|--------|-------|--------------------------|
| params | N      | (n,)  | parameters (plain count) |
| tokens | D      | (n,)  | training tokens (count)  |
| flops  | C      | (n,)  | training FLOP            |
| loss   | L      | (n,)  | nats per token           |
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chinchilla_jax._util.cards import Card, ShownInNotebooks
from chinchilla_jax._util.errors import DataError, DataWarning, UsageError, short
from chinchilla_jax._util.labels import COUNTING_NAMES, quantity_label, quantity_text
from chinchilla_jax._util.text import count_text, list_text
from chinchilla_jax._util.user_warning import warn_user
from chinchilla_jax._util.validation import require_type, whole_number
from chinchilla_jax.datasets.provenance import Source
from chinchilla_jax.laws.compute import FLOPS_PER_PARAM_TOKEN, SIX_ND, Cost, training_flops

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = ("params", "tokens", "flops", "loss")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Runs(ShownInNotebooks):
    """n training runs, as four read-only float64 arrays of shape (n,).

    Two of params, tokens and flops are enough: the third is then computed from C = 6 N D.

    The arrays are copied on construction, so a `Runs` never changes. Values are not checked here: a
    perturbation may make a count zero or negative, and the solver reports such runs as INVALID. `load_runs`
    checks the tables of users.

    Attributes:
        params: parameters N (count), shape (n,).
        tokens: training tokens D (count), shape (n,).
        flops: training compute C (FLOP), shape (n,). Usually 6 N D; as in the table where it gives them.
        loss: final loss L (nats per token, or `loss_unit`), shape (n,).
        name: where the runs come from: an embedded table's name or a file's name.
        counting: how `params` was counted: "as_given", "as_plotted", "reported", "standard" or
            "best_fit", or a name out of the `countings` and `losses` of `load_runs`.
        groups: further columns that say which runs belong together, such as {"run": names}: texts, shape (n,)
            each, "" where a cell is empty. They say how to resample and change no fit, so they are not part
            of `data_hash`, nor of `==`.
        labels: further columns with few different cells, such as {"corpus": names}, shape (n,) each: `fit`
            says which of them explains its residuals. Like `groups`, they change no fit.
        rows: what identifies each run in its table, (n,): the line of a file or the index label of a
            DataFrame; None for runs that were not read from one.
        row_word: the word for it: "row", "index" or "file".
        centre: the count (parameters) around which a systematic bias of the counts turns; None for the
            geometric mean of `params`. A study whose spec leaves runs out sets it to the geometric mean over
            the whole table. Not compared by `==`.
        variables: what else a law may predict the loss from, by name, such as {"unique_tokens": counts}:
            numbers in plain units, shape (n,) each. Part of `data_hash` where there are any, and of `==`.
        source: what was read of the table: columns, units, rows left out. Empty for runs made from arrays.
            Not compared by `==`.
        derived: which of params, tokens and flops was not given and computed from C = 6 N D; "" for none.
            Not compared by `==`.

    Raises:
        DataError: an array is not one-dimensional, not numeric, or the lengths differ.
        UsageError: the loss is not given, or only one of params, tokens and flops.

    Example:
        >>> cj.Runs(params=[1e8, 1e9], tokens=[2e9, 2e10], loss=[3.1, 2.6])
        <Runs '' (as_given): 2 runs, params 100M to 1B, tokens 2B to 20B, flops 1.2e18 to 1.2e20, loss 2.6
        to 3.1>
    """

    params: NDArray[np.float64] = None  # type: ignore[assignment]
    tokens: NDArray[np.float64] = None  # type: ignore[assignment]
    flops: NDArray[np.float64] = None  # type: ignore[assignment]
    loss: NDArray[np.float64] = None  # type: ignore[assignment]
    name: str = ""
    counting: str = "as_given"
    groups: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    rows: NDArray[Any] | None = None
    row_word: str = "row"
    centre: float | None = None
    variables: Mapping[str, NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    source: Source = dataclasses.field(default_factory=Source)
    derived: str = ""

    def __post_init__(self) -> None:
        """Replace the arrays by read-only copies, compare their lengths, and compute the missing one."""
        given = {name: values for name in QUANTITIES if (values := getattr(self, name)) is not None}
        missing = _require_enough(given)
        arrays = {quantity: _read_only(quantity, values) for quantity, values in given.items()}
        lengths = {quantity: len(array) for quantity, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{quantity} {length}" for quantity, length in lengths.items())
            raise DataError(f"Runs: arrays of different lengths ({found}); give one value per run in each")
        if missing:
            object.__setattr__(self, "derived", missing)
            arrays[missing] = _read_only(missing, third_quantity(missing, arrays))
        for quantity, array in arrays.items():
            object.__setattr__(self, quantity, array)
        remedy = "give numbers by the name of a variable, such as {'unique_tokens': [...]}"
        require_type("Runs: variables", self.variables, Mapping, remedy)
        variables = {name: _variable(name, values, len(self)) for name, values in self.variables.items()}
        object.__setattr__(self, "variables", variables)
        for name in ("groups", "labels"):
            remedy = f"give labels by the name of a column, such as {{'{name[:-1]}': [...]}}"
            require_type(f"Runs: {name}", getattr(self, name), Mapping, remedy)
        groups = {name: _labels(name, labels, len(self)) for name, labels in self.groups.items()}
        object.__setattr__(self, "groups", groups)
        # `dataclasses.replace` may give the arrays another length: then these runs are not the table's rows.
        shape = (len(self),)
        labels = {
            name: _labels(name, each, len(self))
            for name, each in self.labels.items()
            if np.shape(each) == shape
        }
        rows = None if self.rows is None or np.shape(self.rows) != shape else self.rows
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "rows", None if rows is None else _labels("rows", rows, len(self)))

    def __len__(self) -> int:
        """Number of runs."""
        return len(self.params)

    def __repr__(self) -> str:
        """Name and ranges; the arrays would fill a screen."""
        ranges = "".join(
            f", {quantity} {quantity_text(quantity, values.min())} to {quantity_text(quantity, values.max())}"
            for quantity in QUANTITIES
            if (values := getattr(self, quantity)).size
        )
        read = "".join(f"; {line}" for line in self.read_lines)
        return f"<Runs {self.name!r} ({self.counting}): {len(self)} runs{ranges}{read}>"

    @property
    def loss_unit(self) -> str:
        """The unit of `loss`: nats per token, unless the table's could not be converted ("bits per byte")."""
        return self.source.loss_unit

    def _card(self) -> Card:
        found = {name: getattr(self, name) for name in QUANTITIES} | dict(self.variables)
        rows = [
            (
                quantity_label(name, self.loss_unit),
                *(quantity_text(name, float(each)) for each in np.quantile(values, [0, 0.5, 1])),
            )
            for name, values in found.items()
            if len(self)
        ]
        groups = [f"groups: {list_text([short(name) for name in self.groups], 6)}"] if self.groups else []
        title = f"{self.name or 'Runs'}: {count_text(len(self), 'run')}"
        if self.counting in COUNTING_NAMES and self.counting != "as_given":
            title += f", parameters {COUNTING_NAMES[self.counting]}"
        return Card(title, ("", "lowest", "median", "highest"), rows, [*groups, *self.read_lines])

    def __eq__(self, other: object) -> bool:
        """Equal bit for bit, name and counting included."""
        if not isinstance(other, Runs):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        """Agrees with `==`."""
        return hash(self._identity())

    def _identity(self) -> tuple[str, str, str]:
        return self.name, self.counting, self.data_hash

    @property
    def data_hash(self) -> str:
        """SHA-256 (hex) of params, tokens, flops and loss, in this order, as little-endian float64 bytes.

        Variables follow in the order of their names, each after its name.
        """
        digest = hashlib.sha256()
        for quantity in QUANTITIES:
            digest.update(getattr(self, quantity).astype("<f8").tobytes())
        for name in sorted(self.variables):
            digest.update(name.encode() + self.variables[name].astype("<f8").tobytes())
        return digest.hexdigest()

    @property
    def read_lines(self) -> tuple[str, ...]:
        """What was read of a user's own table, one sentence each; none for an embedded one."""
        from chinchilla_jax.datasets.catalogue import is_embedded

        return () if is_embedded(self) else self.source.lines

    @property
    def active(self) -> NDArray[np.float64]:
        """Parameters that a token passes through, (n,)."""
        shown = self.params * (1 - self.variables.get("sparsity", 0.0))
        return np.asarray(self.variables.get("params_active", shown))

    @property
    def cost(self) -> Cost:
        """What training costs by the runs' own FLOP; 6 N D where these are 6 N D or were derived from it.

        N are the parameters that a token passes through, where the runs tell them apart (`params_active`, or
        `sparsity`).

        Warns:
            DataWarning: no cost follows from the FLOP, and 6 N D is taken.
        """
        from chinchilla_jax.datasets.catalogue import is_embedded
        from chinchilla_jax.laws.measured_cost import fit_cost

        columns = self.source.columns
        if self.derived or is_embedded(self) or (columns and not set(QUANTITIES) <= set(columns)):
            return SIX_ND
        counts = np.stack([self.active, self.tokens])
        if not counts.size or not np.all((counts > 0) & np.isfinite(counts)):
            return SIX_ND
        (params, tokens), flops = counts, self.flops
        if bad := bad_flops(self):
            taken = "6 N D is taken for what training costs; correct it"
            warn_user(f"{self.name or 'Runs'}: {bad}; {taken}", DataWarning)
            return SIX_ND
        return fit_cost(params, tokens, flops, f"the FLOP of {len(self)} runs")

    def with_params(self, params: ArrayLike, counting: str | None = None) -> Runs:
        """The same runs with other parameter counts.

        Tokens, compute and loss are unchanged: recounting a model does not change what it was trained on.
        (The robustness study, arXiv:2509.23963, does the same for its recounts and perturbations.) `centre`
        becomes None, since it was one of the old counts.

        Args:
            params: new counts, shape (n,); any finite or non-finite values.
            counting: how they were counted; None keeps the present one.
        """
        kept = self.counting if counting is None else counting
        return dataclasses.replace(self, params=params, counting=kept, centre=None)  # type: ignore[arg-type]

    def take(self, index: ArrayLike) -> Runs:
        """The runs at these positions, in this order; a position may occur several times.

        Args:
            index: positions, or one bool for each run, as NumPy indexes.
        """
        chosen: Any = np.asarray(index)
        return dataclasses.replace(
            self,
            **{quantity: getattr(self, quantity)[chosen] for quantity in QUANTITIES},
            groups={name: _taken(labels, chosen) for name, labels in self.groups.items()},
            labels={name: _taken(labels, chosen) for name, labels in self.labels.items()},
            variables={name: values[chosen] for name, values in self.variables.items()},
            rows=None if self.rows is None else _taken(self.rows, chosen),
        )

    def name_row(self, position: int) -> str:
        """Where the run at this position is in its table: "row 7"; "run 7" for runs without a table."""
        return f"run {position + 1}" if self.rows is None else f"{self.row_word} {self.rows[position]}"

    def drop_highest_loss(self, k: int) -> Runs:
        """The runs without the `k` of highest loss, in their present order.

        Among runs of equal loss, later ones go first.

        Raises:
            UsageError: `k` is not a whole number from 0 to n - 1.
        """
        most = max(len(self) - 1, 0)
        remedy = f"there are {len(self)} runs, leave out a whole number from 0 to {most}"
        count = whole_number("drop_highest_loss", k, high=most, remedy=remedy)
        kept = np.sort(np.argsort(self.loss, kind="stable")[: len(self) - count])
        return self.take(kept)

    def to_frame(self) -> pd.DataFrame:
        """A new DataFrame, one row per run: params, tokens, flops, loss, variables (float64; plain units)."""
        import pandas as pd

        columns = {quantity: getattr(self, quantity) for quantity in QUANTITIES} | dict(self.variables)
        return pd.DataFrame({name: values.copy() for name, values in columns.items()})


def bad_flops(runs: Runs) -> str:
    """Which run has FLOP that are no positive number, as in "row 7: flops is 0"; "" for none."""
    bad = np.flatnonzero(~((runs.flops > 0) & np.isfinite(runs.flops)))
    return f"{runs.name_row(int(bad[0]))}: flops is {runs.flops[bad[0]]:g}" if bad.size else ""


def third_quantity(name: str, arrays: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Params, tokens or flops, (n,), from the other two by C = 6 N D.

    Args:
        name: which.
        arrays: the other two by name, (n,) each.
    """
    with np.errstate(all="ignore"):
        if name == "flops":
            return training_flops(arrays["params"], arrays["tokens"])
        other = arrays["tokens" if name == "params" else "params"]
        return arrays["flops"] / (FLOPS_PER_PARAM_TOKEN * other)


def _require_enough(given: Mapping[str, object]) -> str:
    """The one of params, tokens and flops that is not given, or ""."""
    missing = [name for name in QUANTITIES if name not in given]
    if "loss" in missing or len(missing) > 1:
        raise UsageError(
            f"Runs: {' and '.join(missing)} missing; give the loss and two of params, tokens and flops, as "
            "arrays of one value per run"
        )
    return missing[0] if missing else ""


def _taken(labels: NDArray[Any], chosen: Any) -> NDArray[Any]:
    found = np.array(labels[chosen])
    found.setflags(write=False)
    return found


def _labels(name: str, values: ArrayLike, n_runs: int) -> NDArray[np.str_]:
    """Labels as text; numbers, None and NaN too."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "U" and values.shape == (n_runs,):
        if not values.flags.writeable:
            return values  # those of other runs
        values = values.tolist()
    given = np.asarray(values, dtype=object)
    if given.shape != (n_runs,):
        raise DataError(
            f"Runs: group {short(name)} has shape {given.shape}; give one label for each of {n_runs} runs"
        )
    texts = ["" if each is None or each != each else str(each).strip() for each in given.tolist()]
    labels = np.array(texts, dtype=np.str_)
    labels.setflags(write=False)
    return labels


def _variable(name: str, values: ArrayLike, n_runs: int) -> NDArray[np.float64]:
    if name in QUANTITIES:
        raise UsageError(f"Runs: {name} is no further variable; give it as {name}=")
    found = _read_only(name, values)
    if len(found) != n_runs:
        raise DataError(
            f"Runs: variable {short(name)} has {len(found)} values; give one for each of {n_runs} runs"
        )
    return found


def _read_only(quantity: str, values: ArrayLike) -> NDArray[np.float64]:
    if np.iscomplexobj(values):
        raise DataError(f"Runs: {quantity} holds complex numbers; give real numbers")
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"Runs: {quantity} cannot be read as numbers ({short(values)}); give one number per run"
        ) from None
    if array.ndim != 1:
        raise DataError(f"Runs: {quantity} has shape {array.shape}; give one value per run, shape (n,)")
    array.setflags(write=False)
    return array
