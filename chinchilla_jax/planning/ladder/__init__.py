"""Progressive scaling: propose a run, train it, append its loss, and continue at a larger budget."""

from chinchilla_jax.planning.ladder.ladder import Ladder, LadderSettings, tokens_for_params
from chinchilla_jax.planning.ladder.model_grid import ModelGrid
from chinchilla_jax.planning.ladder.run_store import Run, RunStore
from chinchilla_jax.planning.ladder.tables import export_runs, import_runs

__all__ = [
    "Ladder",
    "LadderSettings",
    "ModelGrid",
    "Run",
    "RunStore",
    "export_runs",
    "import_runs",
    "tokens_for_params",
]
