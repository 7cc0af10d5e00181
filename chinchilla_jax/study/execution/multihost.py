"""JAX's own multi-host runtime: each of its processes takes one shard of a study.

Chunks need nothing from each other, so the runtime only says how many processes there are and which one this
is. Every process works on its own devices and writes to the shared directory; the last one summarises.
"""

from __future__ import annotations

import os

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax.study.chunks import Shard

# Processes end when their shard is done, and the first to end must not take the others down.
_SHUTDOWN_SECONDS = 7 * 24 * 3600


def join(given: Shard | None = None) -> Shard:
    """Join the runtime unless this process already has, and return the shard of this process.

    On clusters that JAX knows (SLURM, MPI, Cloud TPU) nothing needs to be set; elsewhere set
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, as in JAX's documentation.

    Args:
        given: a shard asked for as well, which would contradict the runtime's.

    Raises:
        UsageError: `given` is not None.
        ChinchillaError: the runtime cannot be joined.
    """
    if given is not None:
        raise UsageError(
            f"shard {given}: the executor jax makes its own shards; leave out --shard or --executor"
        )
    import jax

    if not jax.distributed.is_initialized():
        numbers = {
            name: int(text) if (text := os.environ.get(variable, "")).isdigit() else None
            for name, variable in (
                ("num_processes", "JAX_NUM_PROCESSES"),
                ("process_id", "JAX_PROCESS_ID"),
            )
        }
        address = os.environ.get("JAX_COORDINATOR_ADDRESS")
        local = address is not None and address.partition(":")[0] in ("127.0.0.1", "localhost")
        try:
            jax.distributed.initialize(
                coordinator_address=address,
                # By default the coordinator listens on every network interface.
                coordinator_bind_address=address if local else None,
                shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
                num_processes=numbers["num_processes"],
                process_id=numbers["process_id"],
            )
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ChinchillaError(
                f"JAX's multi-host runtime cannot be joined ({reason}); set JAX_COORDINATOR_ADDRESS, "
                "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or start under SLURM or MPI"
            ) from None
    return Shard(jax.process_index() + 1, jax.process_count())
