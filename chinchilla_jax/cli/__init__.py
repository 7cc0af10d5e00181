"""The command line `chinchilla-jax`: arguments in, tables or JSON out. Commands import what they need."""

from chinchilla_jax.cli.entry import main

__all__ = ["main"]
