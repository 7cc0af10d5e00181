"""The atlas: the published robustness study on every embedded table that determines the law, side by side."""

from chinchilla_jax.study.atlas.result import Atlas, AtlasStatus, atlas_status, open_atlas
from chinchilla_jax.study.atlas.spec import TABLES, AtlasSpec, AtlasTable, atlas_study

__all__ = [
    "TABLES",
    "Atlas",
    "AtlasSpec",
    "AtlasStatus",
    "AtlasTable",
    "atlas_status",
    "atlas_study",
    "open_atlas",
]
