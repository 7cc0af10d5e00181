"""The tail of the F distribution, against SciPy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import fdtrc, fdtri

from chinchilla_jax.fitting.f_tail import f_quantile, f_tail

DEGREES = st.integers(1, 30_000)


@given(st.floats(0, 1e6), DEGREES, DEGREES)
def test_it_is_scipys(ratio, between, within):
    expected = fdtrc(between, within, ratio)
    assert f_tail(ratio, between, within) == pytest.approx(expected, rel=1e-8, abs=1e-280)


@given(st.sampled_from([0.5, 0.1, 0.05, 0.01]), st.integers(1, 20), DEGREES)
def test_its_quantile_is_scipys(tail, between, within):
    assert f_quantile(tail, between, within) == pytest.approx(fdtri(between, within, 1 - tail), rel=1e-9)
