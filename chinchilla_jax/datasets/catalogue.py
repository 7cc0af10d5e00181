"""The tables embedded in the package, and what is known about them."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from chinchilla_jax._util.errors import unknown_name
from chinchilla_jax.datasets.published import PUBLISHED
from chinchilla_jax.datasets.table_info import DatasetInfo as DatasetInfo
from chinchilla_jax.datasets.units import FIGURE_UNIT

if TYPE_CHECKING:
    from chinchilla_jax.datasets.runs import Runs


_INFO = (
    DatasetInfo(
        name="chinchilla",
        title="Chinchilla: 245 language models of 57M to 16.2B parameters",
        n_rows=245,
        source="read off Figure 4 of Hoffmann et al. 2022 by Besiroglu et al. 2024",
        arxiv=("2203.15556", "2404.10102"),
        columns=MappingProxyType(
            {
                "params": "parameters, as read off the figure (count)",
                "flops": "training compute (FLOP)",
                "loss": "final training loss (nats per token)",
            }
        ),
        determines="the five-parameter law",
        drop_highest_loss=5,
        notes=(
            "tokens = flops / (6 params), always with the parameters as plotted. The five runs of highest "
            "loss are left out by default, as in the replication. The parameters, rounded to whole millions, "
            "each equal one reported count of Table A9 (43 of its 50 models occur), which gives a run its "
            "architecture: params='reported', 'standard' or 'best_fit'."
        ),
    ),
    DatasetInfo(
        name="llama3",
        title="Llama 3: 133 language models of 59M to 16.8B parameters in 10 compute budgets",
        n_rows=133,
        source="read off Figure 2 (IsoFLOP curves) of Dubey et al. 2024 by Czech et al. 2026",
        arxiv=("2407.21783", "2603.22339"),
        columns=MappingProxyType(
            {
                "params": "parameters, as read off the figure (count)",
                "tokens": "training tokens (count)",
                "flops": "training compute: the budget of the curve (FLOP)",
                "loss": "validation loss, in the unit of the figure",
            }
        ),
        loss_unit=FIGURE_UNIT,
        determines="the five-parameter law",
        notes=(
            "flops = 6 params tokens to nine digits. The losses (0.69 to 0.93) are well below what models of "
            "this size reach in nats per token, so E, A and B of a fit are in the figure's own unit and not "
            "comparable with those of Chinchilla; exponents and optimal tokens per parameter do not depend "
            "on that unit."
        ),
    ),
    DatasetInfo(
        name="chinchilla_architectures",
        title="Table A9: the 50 architectures of the Chinchilla runs",
        n_rows=50,
        source="Table A9 of Hoffmann et al. 2022",
        arxiv=("2203.15556",),
        columns=MappingProxyType(
            {
                "reported_params_millions": "the table's own parameter count (millions)",
                "d_model": "width of the residual stream",
                "ffw_size": "width of the feed-forward layer",
                "kv_size": "width of one attention head's keys and values",
                "n_heads": "attention heads per layer",
                "n_layers": "layers",
            }
        ),
        notes="Architectures, not runs: see chinchilla_architectures(). The vocabulary is 32,168 for all.",
    ),
)
_BY_NAME = {info.name: info for info in (*_INFO, *PUBLISHED)}
_FIGURES = ("chinchilla", "llama3")
COUNTINGS = ("as_plotted", "reported", "standard", "best_fit")
"""How the parameters of embedded runs can be counted."""


def dataset_names() -> tuple[str, ...]:
    """Names of the embedded tables of runs, for `load_runs`."""
    return (*_FIGURES, *(info.name for info in PUBLISHED))


def figure_names() -> tuple[str, ...]:
    """Those that were read off figures: fitted and resampled as published, and without further columns."""
    return _FIGURES


def is_embedded(runs: Runs) -> bool:
    """Whether these are runs read off a figure, perhaps perturbed; a file of such a name is none."""
    return runs.name in _FIGURES and runs.counting in COUNTINGS


def dataset_info(name: str) -> DatasetInfo:
    """What is known about an embedded table: one of `dataset_names()` or "chinchilla_architectures".

    Raises:
        UsageError: no embedded table has this name.
    """
    if not isinstance(name, str) or name not in _BY_NAME:
        raise unknown_name("embedded table", name, _BY_NAME)
    return _BY_NAME[name]


def own_reading(source: object) -> tuple[tuple[str, ...], dict[str, str]]:
    """Conditions on the rows and further variables that an embedded name stands for."""
    if not isinstance(source, str) or source not in dataset_names():
        return (), {}
    info = dataset_info(source)
    return (info.where,) if info.where else (), {name: name for name in info.variables}


def embedded_bytes(name: str) -> bytes:
    """The content of an embedded table's file."""
    file = dataset_info(name).file or name
    return (Path(__file__).with_name("tables") / f"{file}.csv").read_bytes()
