"""What a reader must know before using the numbers of a point fit, one sentence each."""

from __future__ import annotations

from chinchilla_jax.solvers.status import Status


def doubts(status: Status) -> tuple[str, ...]:
    """The warnings of a point fit that ended like this."""
    found = []
    if status is Status.BOUNDARY:
        found.append(
            "the best E is 0: these runs show no irreducible loss, so predictions far beyond them are too "
            "low if there is one; add runs with more compute"
        )
    return tuple(found)
