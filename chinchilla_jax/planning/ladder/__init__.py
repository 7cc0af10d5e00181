"""Progressive scaling: propose a run, train it, append its loss, go on at a larger budget."""

from chinchilla_jax.planning.ladder.loop import ProgressiveScaling, ProgressiveSettings, tokens_for_params
from chinchilla_jax.planning.ladder.search import ConfigGrid, transformer_size
from chinchilla_jax.planning.ladder.store import Run, RunStore

__all__ = [
    "ConfigGrid",
    "ProgressiveScaling",
    "ProgressiveSettings",
    "Run",
    "RunStore",
    "tokens_for_params",
    "transformer_size",
]
