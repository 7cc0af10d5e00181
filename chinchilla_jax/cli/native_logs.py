"""What native libraries log is for their developers and not for a terminal.

On a slow machine XLA prints that a compilation was very slow, with how to file a bug. It says nothing here
unless it ends the process; errors reach Python as exceptions. The library leaves its logs to the program
that imports it.
"""

from __future__ import annotations

import os

_VARIABLE, _FATAL_ONLY = "TF_CPP_MIN_LOG_LEVEL", "3"


def keep_native_logs_quiet() -> None:
    """Have XLA log fatal errors only, before JAX is imported, unless the user has set the variable."""
    os.environ.setdefault(_VARIABLE, _FATAL_ONLY)
