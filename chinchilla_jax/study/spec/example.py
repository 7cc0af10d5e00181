"""A commented spec to start from, for the embedded runs or for a table of your own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chinchilla_jax._util.errors import short
from chinchilla_jax.datasets import Runs, figure_names
from chinchilla_jax.fitting.width import decided_objective
from chinchilla_jax.laws import CHINCHILLA, Chinchilla, Law
from chinchilla_jax.study.spec.toml_file import toml_assignments

# Of the smallest model: up to twice the documented miscount, and all counts stay positive.
_SHARES = (0.1, 0.2, 0.3)


def example_toml() -> str:
    """The example, for the embedded table chinchilla."""
    return Path(__file__).with_name("example.toml").read_text(encoding="utf-8")


def example_for(
    runs: Runs, data: str, reading: Mapping[str, Any] | None = None, law: Law = CHINCHILLA
) -> str:
    """The example for another table: its own data lines, zone, and additive sizes that suit its models.

    Args:
        runs: what `load_runs` makes of the table.
        data: its path, or the name of an embedded table.
        reading: what was given to `load_runs` besides.
        law: what the study fits.
    """
    fields: dict[str, Any] = {
        name: list(each) if isinstance(each, tuple) else each for name, each in (reading or {}).items()
    }
    others = {name: column for name, column in fields.pop("variables", {}).items() if column != name}
    if others:
        fields["columns"] = {**fields.get("columns", {}), **others}
    lines = toml_assignments({"data": data, **fields})
    text = re.sub(r"^data = .*$", lambda _: "\n".join(lines), example_toml(), count=1, flags=re.MULTILINE)
    if not isinstance(law, Chinchilla):
        text = re.sub(r"^# law = .*$", f'law = "{law.name}"', text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^interpretations = ", "# interpretations = ", text, count=1, flags=re.MULTILINE)
    if data not in figure_names():
        text = re.sub(r'^# scheme = "pairs"$', 'scheme = "auto"', text, count=1, flags=re.MULTILINE)
        # The number that `fit` decides on, so that both give one answer.
        delta = getattr(decided_objective(runs, law=law), "delta", None)
        zone = f"delta = {delta!r} # as the residuals of {short(data, 60)} decide"
        text = re.sub(r"^# delta = 1e-3$", lambda _: zone, text, count=1, flags=re.MULTILINE)
    sizes = [float(f"{share * float(runs.params.min()):.2g}") for share in _SHARES]
    values = ", ".join(f"{size:g}" for size in (*(-size for size in reversed(sizes)), 0, *sizes))
    additive = f"# Up to {_SHARES[-1]:.0%} of the smallest model.\nvalues = [{values}]"
    return re.sub(r"^# Ranges and numbers mix;.*\nvalues = .*$", additive, text, count=1, flags=re.MULTILINE)
