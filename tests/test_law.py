"""ScalingLaw against direct powers, numerical minimisation and the published figures."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar

from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024, HOFFMANN_2022, PARAMETERS, ScalingLaw

CHINCHILLA_FLOPS = 5.76e23
LAWS = st.builds(
    ScalingLaw,
    E=st.floats(0, 3),
    A=st.floats(1, 1e5),
    B=st.floats(1, 1e5),
    alpha=st.floats(0.1, 1.0),
    beta=st.floats(0.1, 1.0),
)
FLOPS = st.floats(1e18, 1e28)
COUNTS = st.floats(1e6, 1e14)


def many(n, seed=0):
    r = np.random.default_rng(seed)
    return ScalingLaw(
        E=r.uniform(1, 2, n),
        A=r.uniform(100, 900, n),
        B=r.uniform(100, 3000, n),
        alpha=r.uniform(0.2, 0.5, n),
        beta=r.uniform(0.2, 0.5, n),
    )


@given(LAWS, COUNTS, COUNTS)
def test_loss_is_the_formula(law, n, d):
    assert law.loss(n, d) == pytest.approx(law.E + law.A * n**-law.alpha + law.B * d**-law.beta, rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(LAWS, FLOPS)
def test_optimum_is_where_scipy_finds_it(law, flops):
    nd = flops / 6

    def excess(log_n):
        return law.A * np.exp(-law.alpha * log_n) + law.B * np.exp(-law.beta * (np.log(nd) - log_n))

    params, tokens = law.optimal(flops)
    centre = np.log(params)
    found = minimize_scalar(
        excess, bounds=(centre - 30, centre + 30), method="bounded", options={"xatol": 1e-9}
    )
    assert centre == pytest.approx(found.x, abs=1e-5)
    assert excess(centre) <= found.fun * (1 + 1e-14)
    assert params * tokens == pytest.approx(nd, rel=1e-12)


@given(LAWS, FLOPS, st.floats(1, 1e4))
def test_tokens_per_param_is_a_power_of_compute(law, flops, k):
    ratio = law.tokens_per_param(flops)
    params, tokens = law.optimal(flops)
    assert ratio == pytest.approx(tokens / params, rel=1e-10)
    assert law.tokens_per_param(k * flops) / ratio == pytest.approx(k**law.slope_per_decade, rel=1e-9)
    a, b = law.exponents
    assert law.optimal(k * flops)[0] / params == pytest.approx(k**a, rel=1e-9)
    assert law.optimal(k * flops)[1] / tokens == pytest.approx(k**b, rel=1e-9)
    assert a + b == pytest.approx(1)


@given(LAWS, COUNTS, COUNTS, st.floats(1e-3, 1e3))
def test_a_factor_on_the_counts_goes_into_A(law, n, d, c):
    rescaled = ScalingLaw(E=law.E, A=law.A * c**law.alpha, B=law.B, alpha=law.alpha, beta=law.beta)
    assert rescaled.loss(c * n, d) == pytest.approx(law.loss(n, d), rel=1e-12)


def test_published_laws():
    rounded = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
    digits = {"E": 2, "A": 1, "B": 1, "alpha": 2, "beta": 2}
    assert {name: round(getattr(HOFFMANN_2022, name), digits[name]) for name in PARAMETERS} == rounded
    # Hoffmann et al. 2022, Table 2, approach 3: a = 0.46, b = 0.54; section 3.3: 40 billion parameters.
    assert HOFFMANN_2022.exponents == pytest.approx((0.46, 0.54), abs=0.005)
    assert HOFFMANN_2022.optimal(CHINCHILLA_FLOPS)[0] == pytest.approx(40e9, rel=0.05)
    # Besiroglu et al. 2024: about 20 tokens per parameter at the budget of Chinchilla.
    assert BESIROGLU_2024.tokens_per_param(CHINCHILLA_FLOPS) == pytest.approx(20, rel=0.1)


def test_the_small_model_of_sardana_and_frankle_has_the_quality_they_say():
    # arXiv:2401.00448: 6.97e9 parameters on 1.25e12 tokens are as good as a compute-optimal 13e9.
    law = ScalingLaw(A=406.4, B=410.7, E=1.69, alpha=0.336, beta=0.283)
    log_flops = brentq(lambda x: law.optimal(10**x)[0] - 13e9, 20, 26)
    optimal = law.loss(*law.optimal(10**log_flops))
    assert law.loss(6.97e9, 1.25e12) == pytest.approx(optimal, abs=2e-4)


def test_shapes_are_those_of_the_laws_then_of_the_argument():
    laws, flops = many(4), np.logspace(18, 24, 3)
    assert isinstance(BESIROGLU_2024.loss(1e9, 1e10), float)
    assert isinstance(BESIROGLU_2024.tokens_per_param(1e20), float)
    assert BESIROGLU_2024.tokens_per_param(flops).shape == (3,)
    assert laws.tokens_per_param(1e20).shape == (4,)
    assert laws.tokens_per_param(flops).shape == (4, 3)
    assert laws.loss(np.ones((2, 1)) * 1e9, np.full(5, 1e10)).shape == (4, 2, 5)
    params, tokens = laws.optimal(flops)
    assert params.shape == tokens.shape == (4, 3)
    for i, law in enumerate(laws):
        assert law.optimal(flops[1]) == pytest.approx((params[i, 1], tokens[i, 1]), rel=1e-14)
        assert law.loss(2e9, 3e10) == pytest.approx(laws.loss(2e9, 3e10)[i], rel=1e-14)


def test_an_enormous_A_does_not_overflow():
    law = ScalingLaw(E=1.0, A=1e300, B=1e300, alpha=30.0, beta=25.0)
    assert np.isfinite(law.loss(1e10, 1e12))
    assert law.loss(1e10, 1e12) == pytest.approx(3.0, rel=1e-9)  # E = 1 and two terms of 1
    params, tokens = law.optimal(6e22)
    assert params * tokens == pytest.approx(1e22)


@pytest.mark.parametrize(
    ("fields", "n", "d", "ratio"),
    [
        ({"alpha": 0.0}, 0.0, np.inf, np.inf),
        ({"alpha": -0.3}, 0.0, np.inf, np.inf),
        ({"A": 0.0}, 0.0, np.inf, np.inf),
        ({"beta": 0.0}, np.inf, 0.0, 0.0),
        ({"beta": -0.3}, np.inf, 0.0, 0.0),
        ({"B": 0.0}, np.inf, 0.0, 0.0),
        ({"alpha": -0.3, "beta": -0.2}, np.nan, np.nan, np.nan),
        ({"A": 0.0, "B": 0.0}, np.nan, np.nan, np.nan),
        ({"alpha": 0.0, "B": 0.0}, np.nan, np.nan, np.nan),
        ({"alpha": np.nan}, np.nan, np.nan, np.nan),
        ({"B": np.nan}, np.nan, np.nan, np.nan),
    ],
)
def test_edges_of_the_optimum(fields, n, d, ratio):
    law = ScalingLaw(**({"E": 1.7, "A": 400.0, "B": 900.0, "alpha": 0.3, "beta": 0.3} | fields))
    assert law.optimal(1e22) == pytest.approx((n, d), nan_ok=True)
    assert law.tokens_per_param(1e22) == pytest.approx(ratio, nan_ok=True)
    assert np.isnan(law.exponents).all()
    assert np.isnan(law.slope_per_decade)


def test_fields_broadcast_and_cannot_be_changed():
    alphas = np.array([0.3, 0.4])
    laws = ScalingLaw(E=1, A=np.float32(2), B=[3, 4], alpha=alphas, beta=np.int64(1))
    assert laws.shape == (2,)
    assert len(laws) == 2
    alphas[0] = 9
    assert laws.alpha.tolist() == [0.3, 0.4]
    assert laws.A.tolist() == [2.0, 2.0]
    assert all(getattr(laws, name).dtype == np.float64 for name in PARAMETERS)
    with pytest.raises(ValueError, match="read-only"):
        laws.B[0] = 0
    with pytest.raises(AttributeError):
        laws.E = 3
    assert type(laws[0].A) is float


def test_indexing_by_number_slice_and_mask():
    laws = many(5)
    assert laws[1] == laws[1:3][0] == laws[np.array([4, 1])][1]
    assert len(laws[laws.alpha > laws.alpha.mean()]) == int((laws.alpha > laws.alpha.mean()).sum())
    assert len(list(laws)) == 5
    with pytest.raises(IndexError):
        laws[5]
    with pytest.raises(TypeError, match="single law"):
        BESIROGLU_2024[0]
    with pytest.raises(TypeError, match="single law"):
        len(BESIROGLU_2024)


def test_equality_hash_pickle_and_repr():
    laws = many(3)
    again = pickle.loads(pickle.dumps(laws))
    assert again == laws
    assert hash(again) == hash(laws)
    assert laws != laws[:2]
    assert laws != many(3, seed=1)
    assert ScalingLaw(E=np.nan, A=1, B=1, alpha=1, beta=1) == ScalingLaw(E=np.nan, A=1, B=1, alpha=1, beta=1)
    assert BESIROGLU_2024 != 3
    assert eval(repr(BESIROGLU_2024)) == BESIROGLU_2024
    assert repr(laws).startswith("<ScalingLaw: laws of shape (3,), E 1.")


def test_to_frame():
    laws = many(3)
    frame = laws.to_frame()
    assert list(frame) == ["E", "A", "B", "alpha", "beta"]
    assert frame["beta"].tolist() == laws.beta.tolist()
    assert len(BESIROGLU_2024.to_frame()) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"A": -1.0}, "A = -1.0 is negative"),
        ({"B": [1.0, -2.0, np.nan]}, "B = -2.0 is negative"),
        ({"alpha": "0.3"}, "alpha = '0.3' is not a number"),
        ({"alpha": None}, "alpha = None is not a number"),
        ({"alpha": True}, "alpha = True is not a number"),
        ({"E": 1j}, "E = 1j is not a number"),
        ({"E": [[1], [1, 2]]}, "is not a number"),
        ({"E": [1, 2], "A": [1, 2, 3]}, "E (2,), A (3,)"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(UsageError) as caught:
        ScalingLaw(**({"E": 1.7, "A": 400.0, "B": 900.0, "alpha": 0.3, "beta": 0.3} | fields))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf, [1e9, 0.0], "1e9"])
def test_bad_counts(bad):
    for call in (
        lambda: BESIROGLU_2024.loss(bad, 1e10),
        lambda: BESIROGLU_2024.loss(1e10, bad),
        lambda: BESIROGLU_2024.optimal(bad),
        lambda: BESIROGLU_2024.tokens_per_param(bad),
    ):
        with pytest.raises(UsageError):
            call()
    with pytest.raises(UsageError, match="do not broadcast"):
        BESIROGLU_2024.loss(np.full(2, 1e9), np.full(3, 1e9))


def test_importing_law_perturbations_and_analysis_loads_nothing_heavy():
    code = (
        "import sys, chinchilla_jax.laws.scaling_law, chinchilla_jax.perturbations, chinchilla_jax.analysis;"
        "print(sorted({'jax', 'pandas', 'matplotlib', 'pyarrow', 'scipy', 'optax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_read_only_fields_are_shared_and_others_copied():
    fixed, free = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    fixed.setflags(write=False)
    law = ScalingLaw(E=fixed, A=free, B=1.0, alpha=0.3, beta=fixed[:])
    assert law.E is fixed
    free[0] = 7.0
    np.testing.assert_array_equal(law.A, [3.0, 4.0])
    assert law.beta is not fixed, "a view of what may be written to elsewhere is not trusted"
