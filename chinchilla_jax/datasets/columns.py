"""Which column of a table holds which quantity: the names that people give to N, D, C and L.

Column names are compared without case, spaces, underscores, hyphens and punctuation, so "Model Size",
"model_size" and "MODEL-SIZE" are one name. Names whose meaning would be a guess are left out on purpose:
"non-embedding params" is another count than N, and "params (M)" another unit.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from chinchilla_jax._util.errors import DataError, UsageError, closest, short, unknown_name
from chinchilla_jax.datasets.cells import NUMBER
from chinchilla_jax.datasets.runs import QUANTITIES

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "params": (
            "params", "N", "Model Size", "parameters", "n_params", "num_params", "param", "n_parameters",
            "num_parameters", "param_count", "parameter_count", "params_count", "number of parameters",
            "model_params", "model_parameters", "total_params", "total_parameters",
        ),
        "tokens": (
            "tokens", "D", "Training Tokens", "train_tokens", "n_tokens", "num_tokens", "token_count",
            "number of tokens", "tokens_seen", "total_tokens", "num_training_tokens", "num_train_tokens",
        ),
        "flops": (
            "flops", "C", "Training FLOP", "flop", "training_flops", "train_flops", "train_flop", "compute",
            "budget", "training_compute", "train_compute", "compute_budget", "flop_budget", "flops_budget",
            "total_flops", "total_compute",
        ),
        "loss": (
            "loss", "L", "final_loss", "Training Loss", "train_loss", "val_loss", "validation_loss",
            "valid_loss", "test_loss", "eval_loss", "final_train_loss", "final_val_loss",
            "final_training_loss",
        ),
    }
)  # fmt: skip


def normalise(name: str) -> str:
    """`name` without case and without anything that is not a letter or a digit."""
    return "".join(character for character in name.casefold() if character.isalnum())


_QUANTITY_OF = {normalise(alias): quantity for quantity, aliases in ALIASES.items() for alias in aliases}


# The section in which an experiment tracker keeps a value does not say what the value is.
_PLACE = re.compile(r"^(config|summary|metrics)[./]", re.IGNORECASE)


def quantity_of(name: str) -> str | None:
    """The quantity ("params", "tokens", "flops" or "loss") that a column of this name holds, or None."""
    return _QUANTITY_OF.get(normalise(_PLACE.sub("", name.strip())))


def match_columns(
    header: Sequence[str],
    where: str,
    columns: Mapping[str, str] | None = None,
    *,
    quantities: Sequence[str] = QUANTITIES,
) -> dict[str, int]:
    """Position of the column of each quantity.

    Args:
        header: column names in the order of the table.
        where: the table's name in messages.
        columns: quantity to the name of the column that holds it, where the name alone does not tell; "" for
            a quantity that is not to be read, although the table has it.
        quantities: which to look for; columns of others are ignored. Of params, tokens and flops two are
            enough.

    Returns:
        Quantity to column position.

    Raises:
        DataError: a column is missing, or two columns hold the same quantity.
        UsageError: `columns` names an unknown quantity or a column that the table does not have.
    """
    columns = read_columns(columns)
    quantities = [quantity for quantity in quantities if columns.get(quantity) != ""]
    columns = {quantity: name for quantity, name in columns.items() if name}
    positions = {quantity: [place] for quantity, place in _chosen(header, where, columns).items()}
    taken = {found[0] for found in positions.values()}
    told = set(positions)
    for position, name in enumerate(header):
        quantity = quantity_of(name)
        if quantity is None or quantity not in quantities:
            continue
        if quantity not in told and position not in taken:
            positions.setdefault(quantity, []).append(position)
    # A silent choice between two candidates is how a fit ends up on the wrong column.
    for quantity, found in positions.items():
        if len(found) > 1:
            named = " and ".join(f"{short(header[position])} (column {position + 1})" for position in found)
            twice = (
                "the header is duplicated"
                if len({header[p] for p in found}) == 1
                else f"both mean {quantity}"
            )
            raise DataError(
                f"{where}: columns {named}: {twice}; keep the one to use and delete or rename the rest, "
                f"or choose it with columns={{{quantity!r}: ...}} (on the command line --column "
                f"{quantity}=NAME)"
            )
    missing = [quantity for quantity in quantities if quantity not in positions]
    counts = [quantity for quantity in missing if quantity != "loss"]
    if len(counts) < 2:  # two of three are enough
        missing = [quantity for quantity in missing if quantity == "loss"]
    if missing:
        raise DataError(_missing_message(header, where, missing))
    return {quantity: found[0] for quantity, found in positions.items()}


def read_columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    """The argument `columns` of `match_columns`, checked.

    Raises:
        UsageError: it is no mapping from quantities to names, or leaves out the loss.
    """
    if columns is None:
        return {}
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns.values()):
        raise UsageError(
            f"columns is {short(columns)}; give the name of a column for each quantity, such as "
            "{'loss': 'val/loss'}"
        )
    for quantity, name in columns.items():
        if quantity not in QUANTITIES:
            raise unknown_name("quantity in columns", quantity, QUANTITIES)
        if quantity == "loss" and not name:
            raise UsageError("columns: the loss cannot be left out; name its column, such as 'val/loss'")
    return dict(columns)


def _chosen(header: Sequence[str], where: str, columns: Mapping[str, str]) -> dict[str, int]:
    positions = {}
    names = [name.strip() for name in header]
    for quantity, name in columns.items():
        if names.count(name) != 1:
            near = closest(name, names)
            hint = f"did you mean {near!r}?" if near else f"the table has {', '.join(map(short, names[:8]))}"
            found = "two columns are" if name in names else "no column is"
            raise UsageError(f"{where}: {found} named {short(name)}; {hint}")
        positions[quantity] = names.index(name)
    return positions


def _missing_message(header: Sequence[str], where: str, missing: Sequence[str]) -> str:
    if header and all(NUMBER.fullmatch(name.strip()) for name in header):
        return f"{where}: row 1 holds numbers, not column names; add a header line such as params,tokens,loss"
    if len(header) == 1:
        return f"{where}: a single column, {short(header[0])}; separate columns by commas, semicolons or tabs"
    counts = [quantity for quantity in missing if quantity != "loss"]
    absent = {
        0: "column for loss",
        2: f"column for {' or '.join(counts)}",
        3: "columns for params, tokens or flops (two are needed)",
    }[len(counts)]
    also = ", and none for loss" if counts and "loss" in missing else ""
    listed = ", ".join(short(name) for name in header[:8])
    more = f" and {len(header) - 8} more" if len(header) > 8 else ""
    return f"{where}: found no {absent}{also}; the table has {listed}{more}; {_remedy(header, missing)}"


def _aliases(quantities: Sequence[str]) -> list[str]:
    """Names of these quantities, without those too short for a misspelling to be recognised."""
    return [name for name, quantity in _QUANTITY_OF.items() if quantity in quantities and len(name) > 2]


# Words that tell what a column holds although its whole name is not one of the `ALIASES`.
_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "params": ("param", "params", "parameter", "parameters"),
        "tokens": ("token", "tokens", "toks"),
        "flops": ("flop", "flops", "compute"),
        "loss": ("loss", "nll", "xent", "ce", "perplexity", "ppl"),
    }
)


def _meant(name: str, missing: Sequence[str]) -> str | None:
    """The missing quantity that a column of this name may hold, by its spelling or a word in it."""
    near = _QUANTITY_OF.get(closest(normalise(name), _aliases(missing)) or "")
    words = [normalise(word) for word in re.split(r"[\W_]+", name)]
    return near or next(
        (
            quantity
            for quantity in missing
            if normalise(name).startswith(quantity) or set(words) & set(_WORDS[quantity])
        ),
        None,
    )


def _remedy(header: Sequence[str], missing: Sequence[str]) -> str:
    # A name with a control character cannot be typed.
    free = [name for name in header if name.isprintable() and normalise(name) and quantity_of(name) is None]
    meant: dict[str, str] = {}
    for name in free:
        quantity = _meant(name, missing)
        if quantity:
            meant.setdefault(quantity, name)
    # Two of params, tokens and flops are enough.
    unnamed = [quantity for quantity in missing if quantity != "loss" and quantity not in meant]
    unnamed = unnamed[: max(len(unnamed) - 1, 0)]
    if "loss" in missing and "loss" not in meant:
        unnamed.append("loss")
    if meant:
        # Quoted for a shell.
        told = " ".join(f"--column {shlex.quote(f'{quantity}={name}')}" for quantity, name in meant.items())
        rest = f" and {_options(unnamed)} for the rest" if unnamed else ""
        return f"if these hold them, in plain counts and nats, pass {told}{rest} (columns=... in Python)"
    others = "; ".join(f"{quantity}: {', '.join(ALIASES[quantity][1:4])}" for quantity in missing)
    return (
        f"pass {_options(unnamed)}, or rename the {'columns' if len(unnamed) > 1 else 'column'} "
        f"(recognised names: {others}); of params, tokens and flops, C = 6 N D gives the third"
    )


def _options(quantities: Sequence[str]) -> str:
    return " ".join(f"--column {quantity}=NAME" for quantity in quantities)
