"""Keep Dask's log off the terminal: when a scheduler or a worker dies it has thousands of lines.

What matters of it reaches the user as the error of the study. CHINCHILLA_JAX_DEBUG=1 shows the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

_DEBUG_VARIABLE = "CHINCHILLA_JAX_DEBUG"
_FAMILIES = ("distributed", "tornado", "asyncio", "dask", "bokeh")
_TRACKER = "resource_tracker"  # begins the warnings of multiprocessing's


_lasting = False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside the block the loggers of Dask and of what it runs on print nothing. Dask must be imported.

    Handlers that someone else has added, such as a file's, are left out too; they are back afterwards.
    """
    before = [(logger, logger.handlers[:], logger.propagate) for logger in _loggers()]
    silence()
    try:
        yield
    finally:
        if not _lasting:
            for logger, handlers, propagate in before:
                logger.handlers[:], logger.propagate = handlers, propagate


def quiet_until_the_end() -> None:
    """Let `quiet` last until the end of this process, at which Dask complains of what was interrupted."""
    global _lasting
    _lasting = True
    # The process that clears up what killed ones leave reports it in lines of its own; it, and the workers,
    # take the filters that are in sys.warnoptions.
    sys.warnoptions.append(f"ignore:{_TRACKER}")
    warnings.filterwarnings("ignore", _TRACKER)


def silence() -> None:
    """As `quiet`, for the rest of this process."""
    for logger in _loggers():
        logger.handlers[:], logger.propagate = [logging.NullHandler()], logger.name not in _FAMILIES


def _loggers() -> list[logging.Logger]:
    if os.environ.get(_DEBUG_VARIABLE):
        return []
    known = [*logging.root.manager.loggerDict, *_FAMILIES]
    return [logging.getLogger(name) for name in known if name.partition(".")[0] in _FAMILIES]
