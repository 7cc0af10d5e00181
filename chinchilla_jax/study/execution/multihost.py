"""JAX's own multi-host runtime: each of its processes takes one shard of a study.

Chunks need nothing from each other, so the runtime only says how many processes there are and which one this
is. Every process then leaves it, before it computes: that a coordinator or another process dies ends no
other. Each works on its own devices and writes to the shared directory; the last one summarises.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import socket
import time
from concurrent.futures import Future

from chinchilla_jax._util.daemon_thread import in_daemon_thread
from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax.study.chunks import Shard

SILENT_SECONDS = 20.0
"""How long a coordinator may be away: one that starts late is waited for."""
_JOIN_SECONDS = 280.0  # for all processes to come; after 300 JAX aborts the process
_LOOK_SECONDS = 1.0  # from one look for the coordinator to the next
_PROBE_SECONDS = 4.0
_HTTP2_SETTINGS = b"\x04"  # the type of the frame with which a gRPC server greets
_KEPT = "Chunks that were written are kept: the same command resumes"


def join(given: Shard | None = None) -> Shard:
    """The shard of this process in JAX's runtime, which it joins for that unless it already has.

    On clusters that JAX knows (SLURM, MPI, Cloud TPU) nothing needs to be set; elsewhere set
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, as in JAX's documentation.

    Args:
        given: a shard asked for as well, which would contradict the runtime's.

    Raises:
        UsageError: `given` is not None.
        ChinchillaError: the runtime cannot be joined, or no coordinator answers.
    """
    if given is not None:
        raise UsageError(
            f"shard {given}: the executor jax makes its own shards; leave out --shard or --executor"
        )
    import jax

    if jax.distributed.is_initialized():
        return Shard(jax.process_index() + 1, jax.process_count())
    return _join_once()


@functools.cache  # JAX joins once in a process
def _join_once() -> Shard:
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    joining = in_daemon_thread(functools.partial(_visit, address), "joining JAX's runtime")
    try:
        _await(joining, address)
        return joining.result()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ChinchillaError(
            f"JAX's multi-host runtime cannot be joined ({reason}); set JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or start under SLURM or MPI"
        ) from None


def _visit(address: str | None) -> Shard:
    """Join the runtime, see which process this is, and leave again when all have."""
    import jax

    local = address is not None and address.partition(":")[0] in ("127.0.0.1", "localhost")
    jax.distributed.initialize(
        coordinator_address=address,
        # By default the coordinator listens on every network interface.
        coordinator_bind_address=address if local else None,
        num_processes=_number("JAX_NUM_PROCESSES"),
        process_id=_number("JAX_PROCESS_ID"),
    )
    found = Shard(jax.process_index() + 1, jax.process_count())
    with contextlib.suppress(RuntimeError):
        jax.distributed.shutdown()
    return found


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else None


def _await(joining: Future[Shard], address: str | None) -> None:
    """Wait until the runtime is joined, as long as there is one.

    JAX itself would end the process, without a word of what was missing.

    Raises:
        ChinchillaError: no coordinator answers, or not all processes come.
    """
    begun = heard = time.monotonic()
    while not concurrent.futures.wait([joining], _LOOK_SECONDS).done:
        now = time.monotonic()
        silence = _silence(address)
        heard = heard if silence else now
        if now - heard > SILENT_SECONDS:
            raise ChinchillaError(
                f"JAX's coordinator at {address} {silence} for {now - heard:.0f} s; start process 0 there, "
                f"or set JAX_COORDINATOR_ADDRESS to where it runs. {_KEPT}"
            )
        if now - begun > _JOIN_SECONDS:
            raise ChinchillaError(
                f"not all processes of JAX's runtime came within {now - begun:.0f} s (JAX_NUM_PROCESSES is "
                f"{os.environ.get('JAX_NUM_PROCESSES', 'not set')}); start them together. {_KEPT}"
            )


def _silence(address: str | None) -> str:
    """What is wrong with a coordinator; "" if it speaks, or its address is JAX's to find."""
    host, _, port = (address or "").rpartition(":")
    if not port.isdigit():
        return ""
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PROBE_SECONDS) as connection:
            speaks = connection.recv(9)[3:4] == _HTTP2_SETTINGS
            return "" if speaks else "takes connections and is no coordinator"
    except TimeoutError:
        return "has not answered"
    except OSError as error:
        return f"has not answered ({error.strerror or error})"
