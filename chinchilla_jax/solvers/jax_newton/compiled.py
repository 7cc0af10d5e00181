"""Compiled calls by law and shape, compiled once per process however many threads ask."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from chinchilla_jax.solvers.jax_newton.frame_program import FrameProgram
from chinchilla_jax.solvers.jax_newton.law_program import law_program
from chinchilla_jax.solvers.jax_newton.passes import Residuals
from chinchilla_jax.solvers.jax_newton.rounds import Ends, Limits, Requests, Tables, solve
from chinchilla_jax.solvers.jax_newton.step import Rules

if TYPE_CHECKING:
    from chinchilla_jax.laws.law import Law

LANES = (64, 512, 4096)  # sizes of a call; fewer lanes are padded
PLACES = {"cpu": 32}
FEW = 8  # places of a call of the few lanes that take many steps
PLACES_ELSEWHERE = 16384
_RUNS = 16  # the number of runs is padded to a multiple
_SMALL_TABLE = 64

_lock = threading.Lock()
_calls: dict[Any, Callable[..., Ends]] = {}
_locks: dict[Any, threading.Lock] = {}


def places_of(lanes: int, few: bool) -> int:
    """Places of a call of this many lanes."""
    return min(FEW if few else lanes, PLACES.get(jax.default_backend(), PLACES_ELSEWHERE))


def runs_of_rows(count: int) -> tuple[int, int]:
    """Numbers of runs with a weight that calls are compiled for, on a table of so many runs.

    A resample has 63% of the runs; of small tables anything from few to all.
    """
    whole = -(-count // _RUNS) * _RUNS
    few = -(-3 * count // (4 * _RUNS)) * _RUNS
    return (few if count >= _SMALL_TABLE else whole), whole


def padded_lanes(count: int) -> int:
    """The number of lanes of a compiled call."""
    return next((size for size in LANES if size >= count), LANES[-1])


def rules_of(law: type[Law], constants: int, raw: bool, dtype: Any) -> Rules:
    """What a step needs to know of the law; inside `float64_scope`."""
    program = law_program(law, constants, dtype)
    return Rules(
        of=Residuals(program, raw),
        frame=FrameProgram(law.frame, program.size, dtype),
        bounded=law.bounded,
        exponents=law.exponents,
    )


def compiled(
    law: type[Law], raw: bool, tables: Tables, requests: Requests, limits: Limits, few: bool = False
) -> Callable[..., Ends]:
    """The compiled call for arguments of these shapes; inside `float64_scope`.

    With `few`, a step costs less and a batch of lanes more.
    """
    arguments = (tables, requests, limits)
    shapes = tuple((np.shape(x), np.asarray(x).dtype.str) for x in jax.tree.leaves(arguments))
    key = (law, raw, few, jax.default_backend(), shapes)
    call = _calls.get(key)
    if call is not None:
        return call
    with _lock:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        if key not in _calls:
            _calls[key] = _compile(law, raw, arguments, few)
    return _calls[key]


def _compile(
    law: type[Law], raw: bool, arguments: tuple[Tables, Requests, Limits], few: bool
) -> Callable[..., Ends]:
    tables, requests, _ = arguments
    constants = tables.constants.shape[1]
    rules = (rules_of(law, constants, raw, np.float32), rules_of(law, constants, raw, np.float64))
    function = functools.partial(solve, rules, places_of(len(requests.condition), few))
    # Sums over the runs become vector arithmetic only if their order may change. Calls are the unit of
    # parallel work on the CPU; XLA's own threads inside one only get in the way.
    on_cpu = {
        "xla_cpu_enable_fast_math": True,
        "xla_cpu_multi_thread_eigen": False,
        "xla_cpu_prefer_vector_width": 512,
    }
    options = on_cpu if jax.default_backend() == "cpu" else None
    return jax.jit(function, compiler_options=options).lower(*arguments).compile()
