"""When Python looks for garbage, in processes of this project's own."""

from __future__ import annotations

import gc

# Allocations between collections. Modules that load make many objects and no garbage: the 700 of Python 3.11
# cost a small command a tenth of its time, and three of 50,000 a study 0.07 s of one thread.
_COLLECT_AFTER = 500_000


def collect_seldom() -> None:
    """Look for garbage once in half a million allocations."""
    gc.set_threshold(_COLLECT_AFTER)
