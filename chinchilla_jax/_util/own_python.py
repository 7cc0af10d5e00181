"""Programs for a second process of this Python, which finds modules where this one does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

_SAME_PATH = "import json, sys\nsys.path[:] = json.loads(sys.argv[1])\n"


def command(program: str) -> list[str] | None:
    """The command that runs a program; None where none can be known.

    Programs that embed Python have another `sys.executable`, which may be anything.
    """
    if not Path(sys.executable or "").stem.lower().startswith("python"):
        return None
    # -P: json is not taken from the folder that the user happens to be in.
    return [sys.executable, "-P", "-c", _SAME_PATH + program, json.dumps(sys.path)]
