"""The Newton method for the five-parameter law as programs of XLA, for any device."""
