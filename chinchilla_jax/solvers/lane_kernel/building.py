"""Compiles the kernel and has it answer the self-test, in a process of its own.

Where LLVM cannot go on it ends the process it runs in, and wrong code can do the same. Here it ends that
process and not the user's, and becomes one more reason to refuse the kernel.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from chinchilla_jax._util import reproducible
from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine, initialise
from chinchilla_jax.solvers.lane_kernel.object_code import assembly, compiled, unsealed
from chinchilla_jax.solvers.lane_kernel.self_test import require_right_answers

_SECONDS = 600.0  # an emulated processor takes half a minute
# The code comes through a pipe: a file for it could be another user's by the time that it is read. What else
# the process prints is kept apart from it.
_PROGRAM = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
answer = open(os.dup(1), "wb")
os.dup2(2, 1)
from chinchilla_jax.solvers.lane_kernel import building, object_code
with answer:
    answer.write(object_code.sealed(building.built_here()))
"""


def built() -> bytes:
    """Object code of the kernel for this processor, which has answered the self-test.

    Raises:
        RuntimeError: it could not be compiled, or answered wrongly.
    """
    # Elsewhere, as in programs that embed Python, `sys.executable` may be anything.
    if not Path(sys.executable or "").stem.lower().startswith("python"):
        return built_here()
    # -P: json is not taken from the folder that the user happens to be in.
    command = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
    )
    code = unsealed(done.stdout)
    if code is None:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        raise RuntimeError(f"the compiler's process ended with {done.returncode}: {said[-1]}".rstrip(": "))
    return code


def built_here() -> bytes:
    """The same, in this process."""
    initialise()
    code = compiled(assembly(), host_machine(), fixed=reproducible.active())
    require_right_answers(Kernel(code))
    return code
