"""A limit on the address space of this process (`ulimit -v`), as batch systems and shells set it.

Native code aborts where it cannot have a thread or a page: a process that may not map what its libraries need
is better stopped with a line before they are loaded.
"""

from __future__ import annotations

from chinchilla_jax._util.devices import available_cores
from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax._util.system import address_space_limit

# Measured on two cores: below 600 MB NumPy, LLVM and Arrow do not all load; XLA aborts with 1,000 and has its
# threads with 1,600. Each core adds threads with stacks of 8 MB.
_LEAST, _PER_CORE = 1_450_000_000, 32_000_000


def require_address_space() -> None:
    """Refuse to go on where the numerical libraries cannot be loaded.

    Raises:
        ChinchillaError: the limit is too low.
    """
    limit, needed = address_space_limit(), _LEAST + _PER_CORE * available_cores()
    if limit is not None and limit < needed:
        raise ChinchillaError(
            f"the address space of this process is limited to {limit / 1e6:,.0f} MB, and its libraries need "
            f"{needed / 1e6:,.0f} MB; raise the limit (ulimit -v), or ask the batch system for more memory"
        )


def out_of_memory(reason: str) -> str:
    """A line about memory that could not be had, with the limit if there is one."""
    limit = address_space_limit()
    limited = "" if limit is None else f" (limited to {limit / 1e6:,.0f} MB by ulimit -v)"
    why = f": {reason}" if reason else ""
    return f"out of memory{limited}{why}; ask for fewer resamples or workers, or run with more memory"
