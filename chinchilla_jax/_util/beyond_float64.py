"""Arithmetic whose results may lie beyond float64."""

from __future__ import annotations

import numpy as np


def beyond_float64() -> np.errstate:
    """Let results beyond float64 become infinite, 0 or NaN without a warning; a context or a decorator."""
    return np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore")
