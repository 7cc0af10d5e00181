"""This machine and its processes, for files that name who wrote them."""

from __future__ import annotations

import os
import re
import socket


def host_name() -> str:
    """This machine's name, with what a file name could not hold replaced by dashes."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())


def is_alive(pid: int) -> bool:
    """Whether a process of this machine may still be running."""
    if os.name == "nt":  # where os.kill would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
