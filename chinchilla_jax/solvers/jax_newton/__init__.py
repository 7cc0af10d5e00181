"""Batched damped Newton for any law, in plain JAX: any number of lanes, data sets and weightings in a call."""
