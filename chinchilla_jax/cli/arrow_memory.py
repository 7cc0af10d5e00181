"""Arrow's memory from the system's allocator, for the command line's own process.

Arrow's own one keeps what it has had: at its end the paper study then has 35 MB more (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import os

_VARIABLE = "ARROW_DEFAULT_MEMORY_POOL"


def take_arrow_memory_from_system() -> None:
    """Choose the allocator, before Arrow is imported, unless the user has set the variable."""
    os.environ.setdefault(_VARIABLE, "system")
