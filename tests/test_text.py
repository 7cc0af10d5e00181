"""Numbers, counts, durations, sizes and names as text."""

import math

import pytest

from chinchilla_jax._util.digits import interval_texts
from chinchilla_jax._util.labels import (
    QUANTITIES,
    interval_text,
    kind_text,
    percent_text,
    quantity_label,
    quantity_text,
)
from chinchilla_jax._util.text import (
    count_text,
    duration_text,
    flops_text,
    list_text,
    number_text,
    plain_number,
    scaled_number,
    size_text,
    speed_text,
    time_left_text,
    width_text,
)
from chinchilla_jax.intervals.quantities import PRESCRIPTIONS
from chinchilla_jax.laws.scaling_law import PARAMETERS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (0.0, "0"),
        (20.0, "20"),
        (0.25, "0.25"),
        (-40.0, "\u221240"),
        (5000.0, "5,000"),
        (1e6, "10\u2076"),
        (1e-4, "10\u207b\u2074"),
        (5.76e23, "5.76\u00d710\u00b2\u00b3"),
        (999999.9999, "10\u2076"),
        (1234567, "1,234,567"),
        (-1234567, "\u22121,234,567"),
        (math.nan, "\u2013"),
        (math.inf, "\u221e"),
        (-math.inf, "\u2212\u221e"),
    ],
)
def test_numbers_of_figures_are_typeset(value, text):
    assert number_text(value) == text


def test_numbers_are_rounded_to_the_digits_asked_for():
    assert [number_text(v, 2) for v in (0.12345, 987.6, 1.26e23)] == [
        "0.12",
        "990",
        "1.3\u00d710\u00b2\u00b3",
    ]
    assert number_text(1000.0, as_power=True) == "10\u00b3"
    assert number_text(2000.0, as_power=True) == "2\u00d710\u00b3"


def test_numbers_of_a_terminal_are_plain():
    values = (1234567, 5.76e23, -0.5, math.nan, math.inf)
    assert [plain_number(value) for value in values] == ["1,234,567", "5.76e23", "-0.5", "-", "inf"]
    assert plain_number(1.23456789, 3) == "1.23"
    assert [flops_text(value) for value in (5.76e23, 1e21, 3.16228e18)] == ["5.76e23", "1e21", "3.16e18"]
    assert plain_number(2.5e-07) == "2.5e-7"
    widths = [width_text(value) for value in (0.2, 0.08312, 12.5, 123.4, math.inf)]
    assert widths == ["0.200", "0.0831", "12.5", "123", "inf"]


@pytest.mark.parametrize(
    ("values", "spread", "quantity", "texts"),
    [
        ((1.85808, 0.0160608), 0.0160608, "E", ("1.858", "0.016")),
        ((2971.67, 2351.89), 569.0, "B", ("2970", "2350")),
        ((9.572e9, 1.05e10), 0.93e9, "params", ("9.57B", "10.50B")),
        ((116e6, 3.96e9), 1.9e9, "params", ("120M", "4.0B")),
        ((0.00083, 0.0077), 0.0038, "saving", ("0.083", "0.77")),
        ((1.1e22, 1.19e22), 0.7e21, "flops", ("1.100e22", "1.190e22")),
        ((-0.001223, 0.002767), 0.0035, "", ("-0.0012", "0.0028")),
        ((-0.001, 2.0), 1.0, "", ("0.0", "2.0")),
        ((5.0, 0.0023, 400.0), 200.0, "tokens_per_param", ("5.0", "0.0023", "400")),
        ((7e9, 7e9), 1e-3, "params", ("7B", "7B")),
        ((18.19, math.inf, math.nan), 3.0, "", ("18.2", "inf", "-")),
        ((18.19, math.inf), math.nan, "", ("18.19", "inf")),
    ],
)
def test_numbers_have_the_digits_of_their_uncertainty(values, spread, quantity, texts):
    assert tuple(interval_texts(values, spread, quantity)) == texts


def test_counts_and_lists():
    assert [count_text(n, "piece") for n in (0, 1, 3000)] == ["0 pieces", "1 piece", "3,000 pieces"]
    assert [count_text(n, "loss", "losses") for n in (1, 2)] == ["1 loss", "2 losses"]
    assert [list_text("abc"[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert [list_text("abcd", most) for most in (2, 4)] == ["a, b and 2 more", "a, b, c and d"]


def test_durations_sizes_and_rates():
    durations = [duration_text(seconds) for seconds in (0.05, 5.04, 86.9, 900, 36000)]
    assert durations == ["0.05 s", "5.0 s", "87 s", "15 min", "10.0 h"]
    assert [size_text(n) for n in (9, 58_000, 1.5e6, 52e6, 1.44e9)] == [
        *("1 kB", "58 kB", "1.5 MB", "52 MB", "1.4 GB")
    ]
    assert [speed_text(rate, "fits") for rate in (23_456.7, 0.25)] == ["23,457 fits/s", "0.2 fits/s"]
    left = [time_left_text(*work) for work in ((100, 0.0), (0, 5.0), (650, 10.0), (36_610, 10.0))]
    assert left == ["? left", "0:00 left", "1:05 left", "1:01:01 left"]


def test_every_quantity_of_the_tables_has_a_label():
    assert set(PARAMETERS) | set(PRESCRIPTIONS) | {"loss"} <= set(QUANTITIES)
    assert quantity_label("flops") == "training compute C (FLOP)"
    assert quantity_label("alpha") == "\u03b1"
    assert quantity_label("some_new_quantity") == "some new quantity"
    assert interval_text(0.8, "percentile") == "80% interval"
    assert (kind_text(0.8), kind_text(0.57, "bca")) == ("80% percentile", "57% BCa")
    assert [percent_text(level) for level in (0.95, 0.995)] == ["95%", "99.5%"]


def test_values_of_quantities_are_read_at_a_glance():
    assert [
        scaled_number(value) for value in (124e6, 97.1792e9, 999.96e9, 1.71505e12, 9e15, 512.0, 5.46e5)
    ] == [*("124M", "97.18B", "1T", "1.715T", "9e15", "512", "546K")]
    assert [scaled_number(value, 2) for value in (2.8e8, 1.4e10, 999e6)] == ["280M", "14B", "1B"]
    assert quantity_text("params", 7e10) == "70B"
    assert quantity_text("tokens", math.inf) == "inf"
    assert quantity_text("flops", 1.05e24) == "1.05e24"
    assert quantity_text("saving", 0.17412) == "17.41"
