"""What a person is asked about the columns of a table, with the options that answer it.

What is proposed can be followed to the letter: the columns exist, and their numbers are possible ones.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping, Sequence

from chinchilla_jax._util.errors import DataError, short
from chinchilla_jax._util.text import list_text, visible
from chinchilla_jax.datasets.cells import NUMBER
from chinchilla_jax.datasets.meaning import (
    ALIASES,
    QUANTITY_OF,
    Meaning,
    names_something_else,
    normalise,
    quantity_of,
)
from chinchilla_jax.datasets.possible import possible_unit

_MOST_OPTIONS = 4
_LONGEST, _MOST_SPELLED = 60, 1000  # letters and columns that are searched for misspellings
Cells = Callable[[int], Sequence[object]]


def require_one(
    header: Sequence[str],
    where: str,
    quantity: str,
    plain: Sequence[int],
    free: Mapping[int, Meaning],
    by_option: bool,
) -> None:
    """Refuse a silent choice: that is how a fit ends up on the wrong column."""
    names = [header[place].strip() for place in plain]
    if len(set(names)) < len(names):
        both = " and ".join(f"{short(header[place])} (column {place + 1})" for place in plain)
        raise DataError(f"{where}: columns {both}: the header is duplicated; delete or rename one of them")
    rivals = [place for place, meaning in free.items() if _is_rival(meaning, free[plain[0]])]
    if len(plain) + len(rivals) > 1:
        named = [header[place].strip() for place in (*plain, *rivals)]
        choose = (
            f"choose with {_options(quantity, named)} (columns={{{quantity!r}: ...}} in load_runs and specs)"
        )
        raise DataError(
            f"{where}: {_several(len(named))} columns may hold {quantity}: "
            f"{list_text([short(name) for name in named], 8)}; "
            f"{choose if by_option else 'keep the one to use, and delete or rename the others'}"
        )


def _is_rival(other: Meaning, chosen: Meaning) -> bool:
    """Whether a variant means enough to many that the plain name cannot be taken without a question."""
    if other.plain or other.quantity != chosen.quantity:
        return False
    return other.active or (other.split == "eval" and chosen.split != "eval")


def missing_message(
    header: Sequence[str],
    where: str,
    missing: Sequence[str],
    free: Mapping[int, Meaning],
    cells: Cells | None,
    by_option: bool,
) -> str:
    """What is missing, what the table has, and which of its columns may hold it.

    Args:
        header: column names.
        where: the table's name.
        missing: the quantities that no column certainly holds, at least one.
        free: columns that speak of a quantity, by position.
        cells: as for `columns.match_columns`.
        by_option: likewise.
    """
    if header and all(NUMBER.fullmatch(name.strip()) for name in header):
        return f"{where}: row 1 holds numbers, not column names; add a header line such as params,tokens,loss"
    if len(header) == 1 and quantity_of(header[0]) is None:  # several names in one
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
    remedy = _remedy(missing, _proposals(header, missing, free, cells), by_option)
    return f"{where}: found no {absent}{also}; the table has {listed}{more}; {remedy}"


def _proposals(
    header: Sequence[str], missing: Sequence[str], free: Mapping[int, Meaning], cells: Cells | None
) -> dict[str, list[tuple[str, str]]]:
    """Names of columns that may hold a missing quantity, each with the unit to pass, "" for none."""
    found: dict[str, list[tuple[str, str]]] = {}
    for place, name in enumerate(header):
        if not name.isprintable() or not normalise(name):  # it cannot be typed
            continue
        meaning = free.get(place)
        if meaning is None and place < _MOST_SPELLED:
            meaning = _misspelt(name)
        if meaning is None or meaning.quantity not in missing:
            continue
        unit = "" if cells is None else possible_unit(meaning, cells(place))
        if unit is not None:
            found.setdefault(meaning.quantity, []).append((name.strip(), unit))
    return found


def _misspelt(name: str) -> Meaning | None:
    if len(name) > _LONGEST or names_something_else(name):
        return None
    near = difflib.get_close_matches(normalise(name), _LONG_ALIASES, n=1, cutoff=0.8)
    return Meaning(QUANTITY_OF[near[0]], False) if near else None


# Without those too short for a misspelling to be recognised.
_LONG_ALIASES = [name for name in QUANTITY_OF if len(name) > 3]


def _remedy(
    missing: Sequence[str], proposed: Mapping[str, Sequence[tuple[str, str]]], by_option: bool
) -> str:
    # Two of params, tokens and flops are enough.
    unnamed = [quantity for quantity in missing if quantity != "loss" and quantity not in proposed]
    unnamed = unnamed[: max(len(unnamed) - 1, 0)]
    if "loss" in missing and "loss" not in proposed:
        unnamed.append("loss")
    if proposed and not by_option:
        renamed = ", ".join(f"{short(columns[0][0])} to {quantity}" for quantity, columns in proposed.items())
        return f"if these hold them, rename {renamed}"
    if proposed:
        several = any(len(columns) > 1 for columns in proposed.values())
        told = (" and " if several else " ").join(
            _alternatives([_option(quantity, name, unit) for name, unit in columns])
            for quantity, columns in proposed.items()
        )
        rest = f" and {_placeholders(unnamed)} for the rest" if unnamed else ""
        return f"if these hold them, pass {told}{rest} (columns=... in load_runs and specs)"
    others = "; ".join(f"{quantity}: {', '.join(ALIASES[quantity][1:4])}" for quantity in missing)
    told = f"pass {_placeholders(unnamed)}, or rename" if by_option else "rename"
    python = "; columns=... in load_runs and specs" if by_option else ""
    return (
        f"{told} the {'columns' if len(unnamed) > 1 else 'column'} "
        f"(recognised names: {others}{python}); of params, tokens and flops, C = 6 N D gives the third"
    )


def _option(quantity: str, name: str, unit: str = "") -> str:
    """An option as it is typed, quoted for a shell."""
    told = f"--column {shlex.quote(f'{quantity}={visible(name)}')}"
    return f"{told} --unit {quantity}={unit}" if unit else told


def _options(quantity: str, names: Sequence[str]) -> str:
    return _alternatives([_option(quantity, name) for name in names])


def _alternatives(options: Sequence[str]) -> str:
    return " or ".join([*options[:_MOST_OPTIONS], *(["another"] if len(options) > _MOST_OPTIONS else [])])


def _placeholders(quantities: Sequence[str]) -> str:
    return " ".join(f"--column {quantity}=NAME" for quantity in quantities)


def _several(number: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(number, str(number))
