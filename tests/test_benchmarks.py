"""What the benchmarks compare is comparable, and their files and pages say what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares
from scripts import loaded

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.weights import resample_weights
from chinchilla_jax.solvers.lane_kernel.loading import load_kernel
from chinchilla_jax.solvers.lane_kernel.self_test import require_right_answers

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PROCEDURES = loaded(BENCHMARKS / "_procedures.py")
PAGE = loaded(BENCHMARKS / "_page.py")
MACHINE = loaded(BENCHMARKS / "_machine.py")
RATIOS = loaded(BENCHMARKS / "_ratio_records.py")
AARCH64 = loaded(BENCHMARKS / "aarch64.py")


def record(ratio, low, high, commit="a", processor="one"):
    return RATIOS.Record("2026-11-28", commit, processor, "scipy", ratio, low, high)


def test_procedures_of_others_end_at_one_minimum():
    runs = cj.load_runs("chinchilla", params="standard")
    start = np.array([1.9, 4.0, 1.0, 0.36, 0.4])
    for weights in resample_weights(len(runs), np.arange(3), 0).astype(float):
        table = PROCEDURES.Losses.drawn(runs.params / 1e6, runs.tokens / 1e9, runs.loss, weights)

        def residuals(x, table=table):
            e, a, b = np.exp(x[:3])
            law = e + a * table.params ** -x[3] + b * table.tokens ** -x[4]
            return np.sqrt(table.weights) * (law - table.loss)

        x0 = np.concatenate([np.log(start[:3]), start[3:]])
        lowest = least_squares(residuals, x0, xtol=1e-15, ftol=1e-15, gtol=1e-15).cost
        value, _, law = PROCEDURES.variable_projection(table)
        assert value == pytest.approx(lowest, rel=1e-12)
        assert value == pytest.approx(PROCEDURES.squared_error(law, table), rel=1e-12)
        assert PROCEDURES.curve_fit((start, table))[0] == pytest.approx(lowest, rel=1e-8)
        on_grid, points, best = PROCEDURES.variable_projection_grid(table)
        assert points == 99 * 99 and lowest < on_grid < 1.01 * lowest
        assert np.abs(best[3:] - law[3:]).max() < 0.02


def test_no_grid_point_is_below_the_best_by_linear_least_squares_at_each():
    runs = cj.load_runs("chinchilla", params="standard").take(np.arange(0, 240, 6))
    weights = np.random.default_rng(0).integers(0, 3, len(runs)).astype(float)
    table = PROCEDURES.Losses(runs.params / 1e6, runs.tokens / 1e9, runs.loss, weights)
    best = np.inf
    for alpha in PROCEDURES.EXPONENTS[::3]:
        for beta in PROCEDURES.EXPONENTS[::3]:
            design = np.column_stack([np.ones(len(runs)), table.params**-alpha, table.tokens**-beta])
            root = np.sqrt(weights)
            linear = np.linalg.lstsq(root[:, None] * design, root * runs.loss, rcond=None)[0]
            if (linear > 0).all():
                law = np.concatenate([linear, [alpha, beta]])
                best = min(best, PROCEDURES.squared_error(law, table))
    assert PROCEDURES.variable_projection_grid(table)[0] <= best * (1 + 1e-9)


def test_ratios_are_read_as_they_were_added(tmp_path):
    path = tmp_path / "ratios.csv"
    assert RATIOS.read(path) == []
    first, second = record(500.0, 480.0, 510.0), record(52.34, 50.0, 55.0, processor="AMD EPYC, AVX-512")
    RATIOS.append(path, [first])
    RATIOS.append(path, [second])
    assert RATIOS.read(path) == [first, second]


@pytest.mark.parametrize(
    ("ratio", "slower_if", "says"),
    [
        (480.0, "lower", None),
        (520.0, "lower", None),
        (470.0, "lower", "scipy is slower: 470, recorded 480 to 520 in 2 records since a"),
        (530.0, "lower", "scipy is faster: 530"),
        (530.0, "higher", "scipy is slower: 530"),
    ],
)
def test_a_ratio_outside_its_records_is_a_warning(ratio, slower_if, says):
    old = [record(500.0, 480.0, 510.0), record(510.0, 490.0, 520.0, commit="b")]
    said = RATIOS.warning(record(ratio, ratio, ratio), old, slower_if)
    assert said is None if says is None else said.startswith(f"warning: {says}")


def test_a_ratio_is_compared_with_the_last_records_of_its_processor():
    old = [record(float(i), 1.0, 2.0, processor="one" if i % 2 else "two") for i in range(20)]
    assert [each.ratio for each in RATIOS.compared_with(record(0, 0, 0), old)] == [11, 13, 15, 17, 19]
    third = record(0.0, 0.0, 0.0, processor="three")
    assert [each.ratio for each in RATIOS.compared_with(third, old)] == [15, 16, 17, 18, 19]
    assert "on one" in RATIOS.warning(third, old, "higher")
    assert RATIOS.warning(third, [], "higher") is None


def test_the_file_of_ratios_is_whole():
    records = RATIOS.read(RATIOS.RECORDS)
    assert {each.pair for each in records} == {"scipy", "numpy", "xla", "study", "start"}
    assert all(each.low <= each.ratio <= each.high and not each.commit.endswith("+") for each in records)


def test_the_page_has_the_tables_that_were_measured():
    measured = json.loads(PAGE.MEASURED.read_text(encoding="utf-8"))
    page = PAGE.PAGE.read_text(encoding="utf-8")
    assert PAGE.filled(page, measured) == page, "run python benchmarks/run_all.py --page"
    assert all(row["name"] in PAGE.text(measured) for group in measured["groups"] for row in group["rows"])


def test_a_benchmark_without_what_it_needs_ends_in_one_line_that_says_where_that_is_named():
    MACHINE.require("json")
    with pytest.raises(SystemExit, match=r"needs no_such_module and nor_this; install .*README\.md"):
        MACHINE.require("json", "no_such_module", "nor_this")
    install = (BENCHMARKS / "README.md").read_text(encoding="utf-8").split("pip install", 1)[1]
    assert {"benchmarks", "excel"} <= set(install.split("[", 1)[1].split("]", 1)[0].split(","))


def test_an_emulated_kernel_takes_the_fits_of_the_self_test(monkeypatch):
    """Without the emulator, which few machines have: each call goes to this processor's kernel."""
    emulated = AARCH64.EmulatedKernel.__new__(AARCH64.EmulatedKernel)
    monkeypatch.setattr(emulated, "call", load_kernel().call)
    require_right_answers(emulated)
    with pytest.raises(ValueError, match="2 calls; one is emulated at a time"):
        emulated.fit_lanes(np.array([0, 2]))
