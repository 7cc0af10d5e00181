"""Write figures of decisions to files, the same tables giving the same files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chinchilla_jax._util.errors import UsageError, short
from chinchilla_jax.plots.style import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What matplotlib writes into files by itself changes from day to day and from version to version.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": "chinchilla_jax", "Producer": None},
}


def save_figures(
    figures: Iterable[tuple[str, Figure]],
    out_dir: str | os.PathLike[str],
    *,
    dpi: float = 150,
    formats: tuple[str, ...] = ("png",),
) -> list[Path]:
    """Write (name, figure) pairs to `out_dir`, which is made if need be; files of the same name are replaced.

    Raises:
        UsageError: a format other than png and pdf.
    """
    if unknown := [each for each in formats if each not in _METADATA]:
        raise UsageError(f"format {short(unknown[0])} is unknown; give {' or '.join(_METADATA)}")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures:
        with style():
            for extension in formats:
                path = folder / f"{name}.{extension}"
                figure.savefig(path, dpi=dpi, metadata=_METADATA[extension])
                written.append(path)
    return written
