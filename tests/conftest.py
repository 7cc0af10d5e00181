"""What all tests share."""

import os

from hypothesis import settings

# Figures are written to files, never shown.
os.environ.setdefault("MPLBACKEND", "Agg")

# How long an example takes says how busy the machine is.
settings.register_profile("project", parent=settings.default, deadline=None)
settings.load_profile("project")
