"""Figures: for each, a function that makes a small table (`fit_table`), and one that draws (`fit`).

Functions that take what a user has (a fit, a bootstrap, a comparison, ...) return the Axes they drew on, and
show themselves in a notebook. Functions that take a table return the Figure. All take `ax`, one Axes or one
per panel, compute no statistics and change no matplotlib settings.
"""

from __future__ import annotations

from chinchilla_jax._util.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
