"""Flags of `os.open`, of which every system has its own."""

from __future__ import annotations

import functools
import operator
import os


def open_flags(*names: str) -> int:
    """Flags of `os.open` together; no system has all of them, and those that this one lacks are 0."""
    return functools.reduce(operator.or_, (getattr(os, name, 0) for name in names))
