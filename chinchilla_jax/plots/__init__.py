"""Figures: for each, a function that makes a small table (`fit_table`), and one that draws (`fit`).

A function that draws one panel takes `ax` and returns that Axes. One that draws the two panels of a result
(a plan, a comparison, ...) takes `axes` and returns both. One that draws several panels of a table takes
`ax`, one for each panel, and returns the Figure: its panels follow from the table, or share a legend.
`study_figures` yields Figures. None computes statistics or changes matplotlib's settings.
"""

from __future__ import annotations

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
