"""Closed forms at the ends of float64: a number, an infinity, NaN or one line, and never a warning."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_intervals import runs_with_noise

from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax.analysis.chi_squared import log10_chi_squared_tail
from chinchilla_jax.analysis.identities import exact_map, power_map
from chinchilla_jax.analysis.trends import fit_line
from chinchilla_jax.analysis.wald_coordinates import coordinates
from chinchilla_jax.intervals import (
    Replicates,
    exponent_quantities,
    interval_table,
    limits,
    loss_quantities,
    parameter_quantities,
    parameter_table,
    prescription_quantities,
    slope_monte_carlo_error,
    slope_per_decade,
    tokens_per_param_band,
)
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022, ScalingLaw
from chinchilla_jax.perturbations import FAMILIES, geometric_mean, parse_condition
from chinchilla_jax.planning import Costs, Demand, LawSample, Machine, inference_plan, plan, ratio_map
from chinchilla_jax.planning.frontier import compute_overhead, frontier_line, log_budget
from chinchilla_jax.planning.isoflop_minima import parabola_shift
from chinchilla_jax.planning.references import REFERENCES, reference_flops

RUNS = runs_with_noise()
LARGEST = float(np.finfo(float).max)
ENDS = [5e-324, 1e-300, 1e-16, 1.0, 1e16, 1e300, LARGEST]
ANY = st.floats() | st.sampled_from([*ENDS, *(-x for x in ENDS)])
POSITIVE = st.floats(min_value=5e-324, max_value=LARGEST) | st.sampled_from(ENDS)
TARGETS = ("flops", "params", "tokens", "loss")


def laws_of(E, A, B, alpha, beta):
    return st.builds(
        lambda *fields: ScalingLaw(**dict(zip(("E", "A", "B", "alpha", "beta"), fields, strict=True))),
        *(E, A, B, alpha, beta),
    )


LAWS = laws_of(ANY, st.just(0.0) | st.just(math.nan) | POSITIVE, st.just(0.0) | POSITIVE, ANY, ANY)
WITH_OPTIMUM = laws_of(st.just(0.0) | POSITIVE, *(POSITIVE,) * 4)
COUNTED = st.lists(LAWS, min_size=3, max_size=5).map(
    lambda laws: ScalingLaw(**{name: [law.as_dict()[name] for law in laws] for name in laws[0].as_dict()})
)
FAR_APART = ScalingLaw(
    E=np.zeros(5),
    A=np.array([0.0, 0.0, 0.0, 1.0, 1.0]),
    B=np.array([0.0, 0.0, 0.0, 1.0, 1.0]),
    alpha=np.zeros(5),
    beta=np.array([0.0, 0.0, 0.0, 1e300, LARGEST]),
)
COLUMNS = st.lists(ANY, min_size=1, max_size=6).map(lambda values: np.array(values)[:, None])
FINITE = st.lists(st.floats(-LARGEST, LARGEST), min_size=4, max_size=4).map(np.array)


def intervals(laws, point, method, flops, factor, simultaneous):
    replicates = Replicates(
        laws=laws, counted=np.ones(len(laws), bool), point=point, factor=factor, jackknife=laws
    )
    quantities = [
        *parameter_quantities(),
        *exponent_quantities(),
        *prescription_quantities([flops, 1e20]),
        *loss_quantities([(flops, 1e9)]),
    ]
    return interval_table(replicates, quantities, methods=[method], draws=20, simultaneous=simultaneous)


def mapped(family, size, law, mu):
    found = exact_map(FAMILIES[family](size), mu)
    return found and (found.law(law), power_map(FAMILIES[family](size), mu))


def mapped_twice(sizes, law, mu):
    condition = "|".join(f"{family}={size!r}" for family, size in sizes)
    return exact_map(parse_condition(condition), mu).law(law)


def rented(peak, share, price):
    machine = Machine(peak_flops=peak, utilisation=share, price_per_hour=price)
    return Costs.rented(train=machine, read=machine, write=machine)


FAMILY = st.sampled_from(sorted(FAMILIES))
EXACT = st.sampled_from(["multiplicative", "systematic_bias", "tokens_multiplicative", "loss_multiplicative"])
NORMAL = st.sampled_from(["percentile", "gaussian"])
METHOD = st.sampled_from(["percentile", "gaussian", "basic", "highest_density", "bca"])

# Each: the function, strategies of its arguments, and calls that once failed.
CLOSED_FORMS = {
    "loss": (lambda law, n, d: law.loss(n, d), (LAWS, POSITIVE, POSITIVE), []),
    "optimum": (lambda law, c: (law.optimal(c), law.tokens_per_param(c)), (LAWS, POSITIVE), []),
    "exponents": (lambda law: (law.exponents, law.slope_per_decade), (LAWS,), []),
    "perturbation": (lambda family, size: FAMILIES[family](size).apply(RUNS), (FAMILY, ANY), []),
    "geometric mean": (geometric_mean, (st.lists(ANY, max_size=4),), [([LARGEST] * 60,)]),
    "exact map": (
        mapped,
        (FAMILY, ANY, LAWS, ANY),
        [
            ("additive", 0.0, HOFFMANN_2022, 0.0),
            ("systematic_bias", 5e16, HOFFMANN_2022, 3e-105),
            ("systematic_bias", 2e-182, ScalingLaw(E=0.0, A=1.0, B=1.0, alpha=2e254, beta=1.0), 1e9),
        ],
    ),
    "composed map": (
        mapped_twice,
        (st.lists(st.tuples(EXACT, POSITIVE), min_size=2, max_size=3), LAWS, POSITIVE),
        [([("systematic_bias", 2e307), ("multiplicative", 5e-324)], HOFFMANN_2022, 5e-324)],
    ),
    "trend": (fit_line, (FINITE, FINITE), [(np.array([LARGEST, LARGEST, 1.0, 0.0]), np.arange(4.0))]),
    "slope": (slope_per_decade, (FINITE.map(np.abs), FINITE), [(np.array([1.0, 1e9]), np.full(2, LARGEST))]),
    "basic limits": (lambda t, e: limits.basic(t, np.array([e]), 0.1), (COLUMNS, ANY), []),
    "gaussian limits": (lambda t, e: limits.gaussian(t, np.array([e]), 0.1), (COLUMNS, ANY), []),
    "studentised limits": (
        lambda t, e: limits.studentised(t, np.array([e]), np.abs(t), 0.1),
        (COLUMNS, ANY),
        [],
    ),
    "bca limits": (lambda t, e, j: limits.bca(t, np.array([e]), j, 0.1), (COLUMNS, ANY, COLUMNS), []),
    "parameter table": (
        lambda laws, point, method: parameter_table(laws, np.ones(len(laws), bool), point, method=method),
        (COUNTED, LAWS, NORMAL),
        [],
    ),
    "band": (
        lambda laws, point, method, c: tokens_per_param_band(laws, [c], 0.8, method, point, draws=20),
        (COUNTED, LAWS, NORMAL, POSITIVE),
        [(HOFFMANN_2022.map(np.atleast_1d), HOFFMANN_2022, "percentile", 5e-324)],
    ),
    "interval table": (
        intervals,
        (COUNTED, LAWS, METHOD, POSITIVE, st.sampled_from([1.0, 2.0]), st.booleans()),
        [(FAR_APART, HOFFMANN_2022, "gaussian", 1.0, 1.0, False)],
    ),
    "error of the slope": (
        lambda laws, point, method: slope_monte_carlo_error(
            laws, point, [1e18, 1e20, 1e28], method, draws=20, repeats=2
        ),
        (COUNTED, LAWS, NORMAL),
        [],
    ),
    "coordinates": (lambda law: coordinates(law, RUNS), (WITH_OPTIMUM,), []),
    "chi-squared tail": (lambda w: log10_chi_squared_tail(w, 5), (ANY,), [(LARGEST,), (-1.0,), (1e200,)]),
    "frontier": (
        lambda law, target, value: (frontier_line(law), log_budget(law, target, value)),
        (WITH_OPTIMUM, st.sampled_from(TARGETS), POSITIVE),
        [(ScalingLaw(E=0.0, A=1.0, B=1.0, alpha=LARGEST, beta=1e300), "params", 1.0)],
    ),
    "overhead": (compute_overhead, (WITH_OPTIMUM, POSITIVE, POSITIVE), []),
    "plan": (
        lambda law, target, value, ratio: plan(LawSample.from_law(law), ratio=ratio, **{target: value}),
        (st.just(HOFFMANN_2022) | WITH_OPTIMUM, st.sampled_from(TARGETS), POSITIVE, POSITIVE),
        [(HOFFMANN_2022, "params", 1.7e308, 20.0)],
    ),
    "inference plan": (
        lambda law, quality, value, demand: inference_plan(
            LawSample.from_law(law), demand=Demand(input_tokens=demand), **{quality: value}
        ),
        (
            st.just(HOFFMANN_2022) | WITH_OPTIMUM,
            st.sampled_from(["loss", "like_params"]),
            POSITIVE,
            POSITIVE,
        ),
        [(HOFFMANN_2022, "loss", 8e142, 0.15)],
    ),
    "map of ratios": (
        lambda law, loss, d: ratio_map(law, [loss], [d]),
        (WITH_OPTIMUM, POSITIVE, POSITIVE),
        [],
    ),
    "rent": (rented, (POSITIVE, st.floats(1e-300, 1.0), POSITIVE), [(5e-324, 1e-300, 5e-324)]),
    "shift of a parabola": (parabola_shift, (POSITIVE, POSITIVE, FINITE), []),
    "published laws": (
        lambda name, target, value: (
            REFERENCES[name].optimal(value),
            reference_flops(REFERENCES[name], target, value),
        ),
        (st.sampled_from(sorted(REFERENCES)), st.sampled_from(TARGETS), POSITIVE),
        [("kaplan2020", "params", 1e308), ("kaplan2020", "tokens", 5e-324)],
    ),
}


@pytest.mark.parametrize("name", list(CLOSED_FORMS))
def test_a_closed_form_takes_any_number(name):
    function, arguments, known = CLOSED_FORMS[name]

    def check(call):
        try:
            function(*call)
        except ChinchillaError as error:
            assert "\n" not in str(error)

    for call in known:
        check = example(call)(check)
    settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])(
        given(st.tuples(*arguments))(check)
    )()
