"""Point fits: starts, optima, and the fit with its certificate."""
