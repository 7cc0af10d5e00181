"""Minimisers of other libraries behind the solver contract."""
