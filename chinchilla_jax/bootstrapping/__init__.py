"""Resampling schemes, weights, and the fits of many resamples."""
