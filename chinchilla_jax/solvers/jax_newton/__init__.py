"""Batched damped Newton for any law, in plain JAX: many lanes, data sets and weightings in a call."""
