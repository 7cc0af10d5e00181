"""Compiles the kernel and has it answer the self-test, in a process of its own.

Where LLVM cannot go on it ends the process it runs in, and wrong code can do the same. Here it ends that
process and not the user's, and becomes one more reason to refuse the kernel.
"""

from __future__ import annotations

import subprocess

from chinchilla_jax._util import own_python, reproducible
from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine, initialise
from chinchilla_jax.solvers.lane_kernel.object_code import assembly, compiled, unsealed
from chinchilla_jax.solvers.lane_kernel.self_test import require_right_answers

_SECONDS = 600.0  # an emulated processor takes half a minute
# The code comes through a pipe: a file for it could be another user's by the time that it is read. What else
# the process prints is kept apart from it.
_PROGRAM = """
import os
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
    command = own_python.command(_PROGRAM)
    if command is None:
        return built_here()
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
