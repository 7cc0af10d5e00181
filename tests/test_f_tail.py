"""The tail of the F distribution, against SciPy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import fdtrc

from chinchilla_jax.fitting.f_tail import f_tail

DEGREES = st.integers(1, 30_000)


@given(st.floats(0, 1e6), DEGREES, DEGREES)
def test_it_is_scipys(ratio, between, within):
    expected = fdtrc(between, within, ratio)
    assert f_tail(ratio, between, within) == pytest.approx(expected, rel=1e-8, abs=1e-280)
