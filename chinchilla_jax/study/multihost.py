"""JAX's own multi-host runtime: each of its processes takes its share of a study.

Pieces need nothing from each other, so the runtime says only how many processes there are and which one this
is. Every process works on its own devices and writes to the shared directory; the last one summarises.
"""

from __future__ import annotations

import os

from chinchilla_jax._util.errors import ChinchillaError, UsageError
from chinchilla_jax.study.plan import Shard

# Processes end when their share is done, and the first must not take the last down with it.
_PATIENCE = 7 * 24 * 3600  # seconds


def join(given: Shard | None = None) -> Shard:
    """Join the runtime if that has not happened, and return the share of this process.

    On clusters that JAX knows (SLURM, MPI, Cloud TPU) it finds out by itself; elsewhere
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say where it is, as in JAX's documentation.

    Args:
        given: a shard asked for besides, which contradicts the runtime's.

    Raises:
        UsageError: `given` is not None.
        ChinchillaError: the runtime cannot be joined.
    """
    if given is not None:
        raise UsageError(f"shard {given}: the executor jax has shards of its own; leave one of the two out")
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
                # Left to itself, the coordinator listens on every network of the machine.
                coordinator_bind_address=address if local else None,
                shutdown_timeout_seconds=_PATIENCE,
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
