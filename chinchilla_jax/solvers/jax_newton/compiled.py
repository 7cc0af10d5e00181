"""Compiled calls by law and shape, compiled once per process however many threads ask."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from chinchilla_jax._util.kept_programs import kept_programs
from chinchilla_jax.solvers.jax_newton.frame_program import FrameProgram
from chinchilla_jax.solvers.jax_newton.law_program import law_program
from chinchilla_jax.solvers.jax_newton.passes import Residuals
from chinchilla_jax.solvers.jax_newton.places import Layout
from chinchilla_jax.solvers.jax_newton.rounds import Limits, Requests, Stage, Tables, float64_stage
from chinchilla_jax.solvers.jax_newton.step import Rules
from chinchilla_jax.solvers.xla_options import options

if TYPE_CHECKING:
    from chinchilla_jax.laws.law import Law
    from chinchilla_jax.laws.own_objective import Rho


class Sizes(NamedTuple):
    """Sizes of a call: lanes, the rows of weights that they share, and data sets; fewer are padded."""

    lanes: int
    rows: int
    conditions: int


# Every call of a law has one shape: padding costs milliseconds, compiling seconds.
_SIZES = {"cpu": Sizes(32768, 4096, 128)}
_SIZES_ELSEWHERE = Sizes(2**20, 2**17, 256)
# Numbers in the weights of a call: of a large table it takes fewer rows. Counts are bytes elsewhere.
_MOST_WEIGHTS, _MOST_WEIGHTS_ELSEWHERE = 2**24, 2**25
_LEAST_ROWS, _LEAST_LANES = 64, 1024
_LESS = 8  # a device with too little memory for a call is given calls of this fraction
_LAYOUTS = {"cpu": Layout(places=32, copied=True)}
_LAYOUT_ELSEWHERE = Layout(places=8192, copied=False)
_ROUNDING = 8  # of an objective's value, in units of the last place
_PAIR_OF_FLOAT32 = 2.0**-47  # what float64 is on TPUs

_lock = threading.Lock()
_calls: dict[Any, Callable[..., Any]] = {}
_locks: dict[Any, threading.Lock] = {}
_room: dict[str, int] = {}  # by platform, the fraction of the sizes that its memory has proved to hold


def has_float64(platform: str) -> bool:
    """Whether float64 is that of IEEE 754 there: on TPUs it is a pair of float32."""
    return platform != "tpu"


def in_one_call(platform: str) -> bool:
    """Whether all steps and the certificates are one compiled call there, see judged.py."""
    return platform != "cpu"


def draws(platform: str) -> bool:
    """Whether weights are drawn there rather than sent; not on TPUs, which emulate 64-bit integers."""
    return platform in ("cuda", "rocm") and devices(platform) == 1


def sizes(platform: str, n_runs: int) -> Sizes:
    """Sizes that calls on a platform have, on tables of so many runs."""
    found = _SIZES.get(platform, _SIZES_ELSEWHERE)
    part = _room.get(platform, 1)
    rows = found.rows // part
    most = _MOST_WEIGHTS if platform == "cpu" else _MOST_WEIGHTS_ELSEWHERE
    while rows > _LEAST_ROWS and rows * n_runs > most:
        rows //= 2
    return found._replace(lanes=max(found.lanes // part, _LEAST_LANES), rows=max(rows, _LEAST_ROWS))


def give_less(platform: str) -> None:
    """Make the calls of a platform smaller from now on: its memory does not hold them."""
    if _SIZES_ELSEWHERE.lanes // _room.get(platform, 1) > _LEAST_LANES:
        _room[platform] = _LESS * _room.get(platform, 1)


def layout(lanes: int, platform: str) -> Layout:
    """How the places of a call of this many lanes are held."""
    found = _LAYOUTS.get(platform, _LAYOUT_ELSEWHERE)
    # As many for a small call as for a large one, so that a lane has the same digits in both.
    return found._replace(places=min(lanes, found.places))


def devices(platform: str) -> int:
    """Devices that share the lanes of a call; the host beside an accelerator is one."""
    return jax.local_device_count() if _is_default(platform) else 1


def host() -> Any:
    """The host as a device, None if JAX was told to leave it alone."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


def _is_default(platform: str) -> bool:
    return platform != "cpu" or jax.default_backend() == "cpu"


def rules_of(
    law: type[Law], constants: int, raw: bool, dtype: Any, platform: str = "cpu", rho: Rho | None = None
) -> Rules:
    """What a step needs to know of the law, and of a loss that is not Huber's; inside `float64_scope`."""
    program = law_program(law, constants, dtype)
    short = dtype == np.float64 and not has_float64(platform)
    return Rules(
        of=Residuals(program, raw, rho),
        frame=FrameProgram(law.frame, program.size, dtype),
        bounded=law.bounded,
        exponents=law.exponents,
        amplitudes=tuple(law.amplitudes),
        rounding=_ROUNDING * (_PAIR_OF_FLOAT32 if short else float(np.finfo(dtype).eps)),
        unrolled=platform != "cpu",
    )


def compiled(
    stage: Stage,
    law: type[Law],
    raw: bool,
    arguments: tuple[Tables, Requests, Limits],
    platform: str,
    rho: Rho | None = None,
) -> Callable[..., Any]:
    """A stage, or both, compiled for arguments of these shapes; inside `float64_scope`."""
    shapes = tuple((np.shape(x), x.dtype.str) for x in jax.tree.leaves(arguments))
    key = (stage, law, raw, rho, platform, shapes)
    call = _calls.get(key)
    if call is not None:
        return call
    with _lock:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        if key not in _calls:
            _calls[key] = _compile(stage, law, raw, arguments, platform, rho)
    return _calls[key]


def _compile(
    stage: Stage,
    law: type[Law],
    raw: bool,
    arguments: tuple[Tables, Requests, Limits],
    platform: str,
    rho: Rho | None,
) -> Callable[..., Any]:
    rules = static(law, raw, arguments, platform, rho, double_only=stage is float64_stage)
    function: Callable[..., Any] = functools.partial(stage, *rules)
    if devices(platform) > 1:
        function = _shared_out(function)
    with nullcontext() if _is_default(platform) else jax.default_device(host()):
        lowered = jax.jit(function, compiler_options=options(platform)).lower(*arguments)
        with kept_programs():
            return lowered.compile()


def _shared_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same call with its lanes in equal parts on all local devices: nothing is exchanged."""
    lanes, ranks, everywhere = PartitionSpec("lanes"), PartitionSpec(None, "lanes"), PartitionSpec()
    requests = Requests(condition=lanes, row=lanes, starts=ranks, down=lanes, up=lanes, n_lanes=lanes)
    mesh = Mesh(np.array(jax.local_devices()), ("lanes",))
    in_specs = (everywhere, requests, everywhere)
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=lanes, check_vma=False)


def static(
    law: type[Law],
    raw: bool,
    arguments: tuple[Tables, Requests, Limits],
    platform: str,
    rho: Rho | None = None,
    *,
    double_only: bool = False,
) -> tuple[tuple[Rules, Rules], Layout]:
    """What the stages of rounds.py are compiled for on a platform, beside the shapes of its arguments.

    With `double_only` the rules of float64 in both places, for a stage that has no other.
    """
    tables, requests, _ = arguments
    constants = tables.constants.shape[1]
    double = rules_of(law, constants, raw, np.float64, platform, rho)
    single = double if double_only else rules_of(law, constants, raw, np.float32, platform, rho)
    return (single, double), layout(len(requests.condition) // devices(platform), platform)
