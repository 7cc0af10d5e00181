"""Compiles the kernel and has it answer the self-test, in processes of its own.

Where LLVM cannot go on it ends the process it runs in, and wrong code can do the same. Here it ends that
process and not the user's, and becomes one more reason to refuse the kernel. A second process compiles half
of it meanwhile, where a core is idle: llvmlite lets only one thread of a process into LLVM. Beside other work
two take as long as one, and 0.2 s more of CPU time.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from chinchilla_jax._util import own_python, reproducible, system
from chinchilla_jax._util.devices import available_cores
from chinchilla_jax.solvers.lane_kernel.llvm_tools import host_machine, initialise
from chinchilla_jax.solvers.lane_kernel.object_code import PARTS, assembly, compiled, sealed, unsealed

_SECONDS = 600.0  # an emulated processor takes half a minute
# The code comes through a pipe: a file for it could be another user's by the time that it is read. What else
# the process prints is kept apart from it.
_PROGRAM = """
import os
answer = open(os.dup(1), "wb")
os.dup2(2, 1)
from chinchilla_jax.solvers.lane_kernel import building
with answer:
    answer.write(building.answer(sys.argv[2]))
"""
_WHOLE, _FIRST, _SECOND = "whole", "first", "second"


def built() -> tuple[bytes, ...]:
    """Object files of the kernel for this processor, which has answered the self-test.

    Raises:
        RuntimeError: it could not be compiled, or answered wrongly.
    """
    command = own_python.command(_PROGRAM)
    if command is None:
        return built_here()
    done = None
    if core_is_idle():
        with contextlib.suppress(OSError):  # the system may start one process and not two
            done = _by_two(command)
    if done is None:
        done = _done([*command, _WHOLE], subprocess.DEVNULL)
    code = unsealed(done.stdout)
    if code is None:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        raise RuntimeError(f"the compiler's process ended with {done.returncode}: {said[-1]}".rstrip(": "))
    return code


def built_here() -> tuple[bytes, ...]:
    """The same, in this process."""
    return _tested([_compiled(part) for part in PARTS])


def core_is_idle() -> bool:
    """Whether a core has been idle beside the one that this process uses; False where nobody knows."""
    load = system.load()
    return load is not None and load < available_cores() - 1


def answer(step: str) -> bytes:
    """What a process of `built` writes: all of it, or its part."""
    if step == _SECOND:
        return sealed([_compiled(PARTS[1])])
    if step == _WHOLE:
        return sealed(built_here())
    first = _compiled(PARTS[0])
    # If the other process has failed, this one meets the same reason, and says it.
    (second,) = unsealed(sys.stdin.buffer.read()) or [_compiled(PARTS[1])]
    return sealed(_tested([first, second]))


def _by_two(command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    other = subprocess.Popen(
        [*command, _SECOND],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with other:
        try:
            return _done([*command, _FIRST], other.stdout)
        finally:
            other.kill()


def _done(command: Sequence[str], given: int | IO[bytes] | None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, stdin=given, capture_output=True, timeout=_SECONDS, check=False)


def _compiled(part: frozenset[str]) -> bytes:
    initialise()
    return compiled(assembly(), host_machine(), fixed=reproducible.active(), part=part)


def _tested(code: Sequence[bytes]) -> tuple[bytes, ...]:
    # Not at the head: NumPy and the engine, which half of the work does without.
    from chinchilla_jax.solvers.lane_kernel.kernel import Kernel
    from chinchilla_jax.solvers.lane_kernel.self_test import require_right_answers

    require_right_answers(Kernel(*code))
    return tuple(code)
