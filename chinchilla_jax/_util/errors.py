"""Errors of one line each: what was found, where, and what to do about it.

The command line prints the message alone and exits with code 2 for `DataError` and `UsageError`. Both are
also `ValueError`, so code that does not import this package can catch them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable


class ChinchillaError(Exception):
    """Base of every error this package raises on purpose; its text is one line.

    Example:
        >>> issubclass(cj.DataError, cj.ChinchillaError)
        True
    """


class DataError(ChinchillaError, ValueError):
    """A table or an array that cannot be used as it is.

    Example:
        >>> cj.fit("rnus.csv")
        Traceback (most recent call last):
            ...
        chinchilla_jax._util.errors.DataError: rnus.csv: no such file; check the path
    """


class UsageError(ChinchillaError, ValueError):
    """An argument, a name or a combination of options that has no meaning here.

    Example:
        >>> cj.fit(runs, objective="hubber")
        Traceback (most recent call last):
            ...
        chinchilla_jax._util.errors.UsageError: unknown objective 'hubber'; did you mean 'huber'? allowed:
        huber, huber_scale, squared, asymmetric, raw_huber, raw_squared
    """


class NoEstimateError(ChinchillaError):
    """The point fit is not certified, so there is no estimate, and no interval around one."""


class NoOptimumError(NoEstimateError):
    """The fit is certified, and its law has no best size at any budget: nothing can be prescribed."""


class DataWarning(UserWarning):
    """The table is used, but may not mean what its owner believes; the text is one line.

    Example:
        >>> issubclass(cj.DataWarning, UserWarning)
        True
    """


class EngineWarning(RuntimeWarning):
    """The fast engine, or code kept by earlier runs, cannot be used; the same is computed more slowly.

    Example:
        >>> issubclass(cj.EngineWarning, RuntimeWarning)
        True
    """


_LONGEST_NAME = 200


def closest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name nearest in spelling to `name`; None if none is near."""
    import difflib

    # Long names are not typed, and comparing two takes the square of their length.
    by_folded = {each.casefold(): each for each in allowed if len(each) <= _LONGEST_NAME}
    near = difflib.get_close_matches(name.casefold()[: 2 * _LONGEST_NAME], list(by_folded), n=1)
    return by_folded[near[0]] if near else None


def unknown_name(what: str, name: object, allowed: Iterable[str]) -> UsageError:
    """Build (not raise) the error for a name outside a fixed list.

    Args:
        what: what the name denotes, such as "params" or "counting rule".
        name: what the caller passed, of any type.
        allowed: the valid names, in the order to show them.
    """
    names = list(allowed)
    near = closest(name, names) if isinstance(name, str) else None
    hint = f"; did you mean {near!r}?" if near else ";"
    return UsageError(f"unknown {what} {short(name)}{hint} allowed: {', '.join(names)}")


def short(value: object, width: int = 40) -> str:
    """`repr(value)` on one line, cut to `width` characters."""
    try:
        text = repr(_beginning(value, width))
        if not text.isprintable():  # that of a table has several lines
            text = " ".join(text.split())
            text = text if text.isprintable() else ascii(text)[1:-1]
    except Exception:  # a repr can fail (an integer of 5,000 digits does), and must not replace the message
        text = f"<{type(value).__name__}>"
    return text if len(text) <= width else text[: width - 3] + "..."


def _beginning(value: object, most: int) -> object:
    """So much of a text or a list as `repr` needs to fill `most` characters: it may be one of a gigabyte."""
    if isinstance(value, str | bytes):
        return value[: most + 1]
    if not isinstance(value, list | tuple | dict) or type(value) not in (list, tuple, dict) or not value:
        return value
    if most <= 0:
        return ""
    if isinstance(value, dict):
        items = itertools.islice(value.items(), most)
        return {_beginning(key, most): _beginning(item, most - 1) for key, item in items}
    first = [_beginning(item, most - 1) for item in itertools.islice(value, most)]
    return tuple(first) if isinstance(value, tuple) else first
