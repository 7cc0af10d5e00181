"""Breakdown sizes against closed forms: two families move every fitted law by an exact rule."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from test_intervals import runs_with_noise

import chinchilla_jax as cj
from chinchilla_jax.analysis import breakdown
from chinchilla_jax.analysis.breakdown_criteria import CRITERIA
from chinchilla_jax.analysis.miscount_paths import paths
from chinchilla_jax.perturbations import DOCUMENTED_MISCOUNT, FAMILIES, documented_sizes
from chinchilla_jax.plots import breakdown_table

RUNS = runs_with_noise()
BUDGETS = np.geomspace(1e20, 1e26, 25)


@pytest.fixture(scope="module")
def table():
    families = ["multiplicative", "systematic_bias"]
    return breakdown(RUNS, families=families, resamples=40, tolerance=0.15, flops=5.76e23)


@pytest.fixture(scope="module")
def laws():
    boot = cj.bootstrap(RUNS, resamples=40)
    assert boot.converged.all()
    return boot.laws


def moved(laws, family, x):
    """The laws that the resamples have under a miscount of ln size x, by the exact identities."""
    if family == "multiplicative":
        A, alpha = laws.A * np.exp(x * laws.alpha), laws.alpha
    else:
        s, mu = math.exp(x), np.exp(np.log(RUNS.params).mean())
        A, alpha = laws.A * mu ** ((1 - s) * laws.alpha / s), laws.alpha / s
    return cj.ScalingLaw(E=laws.E, A=A, B=laws.B, alpha=alpha, beta=laws.beta)


def beyond(laws, family, criterion, x):
    """Positive where the criterion is met at ln size x."""
    new = moved(laws, family, x)
    if criterion == "slope_excludes_zero":
        low, high = np.quantile((new.alpha - new.beta) / (new.alpha + new.beta), [0.1, 0.9])
        return max(low, -high)
    if criterion == "ratio_leaves_interval":
        low, high = np.quantile(np.log(laws.tokens_per_param(5.76e23)), [0.1, 0.9])
        median = np.median(np.log(new.tokens_per_param(5.76e23)))
        return max(low - median, median - high)
    medians = np.median(np.log(new.tokens_per_param(BUDGETS)), axis=0)
    return max(math.log(10) - medians.min(), medians.max() - math.log(40))


def test_sizes_are_those_of_the_closed_form(table, laws):
    assert len(table) == 2 * 2 * 3
    found = 0
    for row in table.to_dict("records"):
        sign = 1 if row["direction"] == "up" else -1
        measure = lambda x, row=row, sign=sign: beyond(laws, row["family"], row["criterion"], sign * x)  # noqa: E731
        searched = abs(math.log(row["searched_to"]))
        grid = np.linspace(0, searched, 300)
        met = [x for x in grid if measure(x) > 0]
        if not met:
            assert math.isnan(row["size"]) and not row["within_documented"]
            continue
        if met[0] == 0:
            assert row["size"] == 1
            continue
        exact = brentq(measure, met[0] - grid[1], met[0])
        assert abs(math.log(row["size"])) == pytest.approx(exact, rel=0.08)
        found += 1
    assert found >= 5


def test_a_factor_never_changes_the_slope(table):
    rows = table[(table["family"] == "multiplicative") & (table["criterion"] == "slope_excludes_zero")]
    # Either the slope excludes zero without any error, or no factor makes it.
    assert (rows["size"].isna() | (rows["size"] == 1)).all()


def test_the_documented_miscount_is_the_unit(table):
    for family, made in FAMILIES.items():
        if made.of == "loss":
            assert documented_sizes(RUNS, family) is None
            with pytest.raises(cj.UsageError, match="no miscount of losses is documented"):
                paths(RUNS, family)
            continue
        for path in paths(RUNS, family):
            changed = getattr(path.at(path.documented).apply(RUNS), made.of)
            factor = np.abs(np.log(changed / getattr(RUNS, made.of))).max()
            if made.random:
                assert path.documented == pytest.approx(math.log(1 + DOCUMENTED_MISCOUNT))
            elif made.form == "additive" and path.direction == "down":
                assert 1 - np.exp(-factor) == pytest.approx(DOCUMENTED_MISCOUNT)
            else:
                assert math.exp(factor) == pytest.approx(1 + DOCUMENTED_MISCOUNT)
    sizes = table.dropna(subset="size")
    unit = np.log(sizes["size"]) / np.log(sizes["documented"])
    assert unit.to_numpy() == pytest.approx(sizes["times_documented"].to_numpy())
    assert ((sizes["times_documented"] <= 1) == sizes["within_documented"]).all()


def test_intervals_are_ordered(table):
    assert (table["low"] <= table["high"]).all()
    assert (table["times_low"] <= table["times_high"]).all()
    assert set(table["criterion"]) == set(CRITERIA)


def test_intervals_hold_their_sizes(table):
    noise = breakdown(
        RUNS, families=["log_normal_noise", "additive"], resamples=40, repeats=2, tolerance=0.15
    )
    for rows in (table, noise):
        known = rows.dropna(subset="size")
        assert ((known["low"] <= known["size"]) & (known["size"] <= known["high"])).all()
        # A conclusion that no size changes is beyond every size.
        assert np.isinf(rows.loc[rows["size"].isna(), "times_high"]).all()


def test_half_of_the_resamples_meet_a_criterion_before_its_size(laws):
    """By the closed form: the interval is of the same number as the size, and not of a more extreme one."""
    rows = breakdown(RUNS, families=["multiplicative"], resamples=40, tolerance=0.01)
    row = rows[(rows["criterion"] == "ratio_leaves_interval") & (rows["direction"] == "up")].iloc[0]
    # ln tokens per parameter moves by -2 alpha/(alpha + beta) ln c in each resample.
    ratio = np.log(laws.tokens_per_param(row_budget := rows.attrs["flops"]))
    low = np.quantile(ratio, 0.1)
    rate = 2 * laws.alpha / (laws.alpha + laws.beta)
    own = (np.median(ratio) - low) / rate
    assert math.log(row["size"]) == pytest.approx(np.median(own), rel=0.03)
    expected = np.quantile(own, [0.1, 0.9], method="nearest")
    assert np.log([row["low"], row["high"]]) == pytest.approx(expected, rel=0.03)
    assert row_budget == pytest.approx((6 * RUNS.params * RUNS.tokens).max())


def test_criteria_and_budget_are_explained():
    rows = breakdown(RUNS, families=["multiplicative"], resamples=20, flops=5.76e23)
    assert rows.attrs["flops"] == 5.76e23 and list(rows.attrs["criteria"]) == list(CRITERIA)
    assert "at 5.76e23 FLOP leave" in rows.attrs["criteria"]["ratio_leaves_interval"]


def test_budgets_that_are_nearly_alike_are_told_apart():
    """Those alike to three digits shared a key, and both rows had the size of the last."""
    near, quick = [1.001e23, 1.002e23], {"families": ["multiplicative"], "resamples": 20, "tolerance": 0.3}
    rows = breakdown(RUNS, flops=near, **quick)
    keys = ["ratio_leaves_interval@1.001e23", "ratio_leaves_interval@1.002e23"]
    assert list(rows.attrs["criteria"])[:2] == keys
    alone = [breakdown(RUNS, flops=each, **quick) for each in near]
    for each, one in zip(near, alone, strict=True):
        both = [table[table["flops"] == each].reset_index(drop=True) for table in (rows, one)]
        columns = ["direction", "criterion", "size"]
        assert both[0][columns].equals(both[1][columns])
    assert len(set(breakdown_table(rows)["label"])) == 4


def test_noise_is_searched_in_every_draw():
    rows = breakdown(RUNS, families=["log_normal_noise"], resamples=20, repeats=2, tolerance=0.3)
    assert (rows["repeats"] == 2).all()
    assert (rows["searched_to"] > 0.2).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"families": ["additiv"]}, "did you mean 'additive'"),
        ({"tolerance": 0}, "tolerance is 0"),
        ({"level": 2}, "not a probability"),
    ],
)
def test_what_cannot_be_searched(arguments, message):
    with pytest.raises(cj.UsageError, match=message):
        breakdown(RUNS, resamples=10, **arguments)


@pytest.mark.slow
def test_a_run_that_is_stopped_or_damaged_ends_with_the_same_table(tmp_path):
    quick = {"resamples": 10, "tolerance": 0.5, "flops": 5.76e23}
    families = ["multiplicative", "log_normal_noise"]
    whole = breakdown(RUNS, families=families, repeats=2, **quick)

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breakdown(RUNS, families=families[:1], out=tmp_path / "run", progress=stop, **quick)
    (kept,) = (tmp_path / "run").glob("multiplicative-up-0000-*.parquet")
    stamp = kept.stat().st_mtime_ns
    pd.testing.assert_frame_equal(
        breakdown(RUNS, families=families, repeats=2, out=tmp_path / "run", **quick), whole
    )
    assert kept.stat().st_mtime_ns == stamp and len(list((tmp_path / "run").glob("*.parquet"))) == 4
    content = bytearray(kept.read_bytes())
    content[1000] ^= 4
    kept.write_bytes(content)
    with pytest.warns(cj.DataWarning, match=f"{kept.name}: damaged, will be recomputed"):
        again = breakdown(RUNS, families=families, repeats=2, out=tmp_path / "run", **quick)
    pd.testing.assert_frame_equal(again, whole)
    assert again.attrs == whole.attrs
    with pytest.raises(cj.UsageError, match=r"another breakdown run .resamples is 10 there and 11 here"):
        breakdown(RUNS, families=families, out=tmp_path / "run", **quick | {"resamples": 11})


def test_several_budgets_are_each_judged_as_alone(table, tmp_path):
    common = {"families": ["multiplicative", "systematic_bias"], "resamples": 40, "tolerance": 0.15}
    several = breakdown(RUNS, flops=[5.76e23, 1e21], out=tmp_path / "run", **common)
    assert several.attrs["flops"] == 5.76e23 and list(several.attrs["estimates"]) == [5.76e23, 1e21]
    first, second, *_ = several.attrs["criteria"]
    assert (first, second) == ("ratio_leaves_interval@5.76e23", "ratio_leaves_interval@1e21")
    alone = {5.76e23: table, 1e21: breakdown(RUNS, flops=1e21, **common)}
    for budget, one in alone.items():
        of = several[(several["flops"] == budget) | several["flops"].isna()].reset_index(drop=True)
        # Sizes that another criterion had fitted narrow the interval of a resample, not the size itself.
        pd.testing.assert_frame_equal(
            of[["family", "direction", "criterion", "flops", "size", "documented"]],
            one[["family", "direction", "criterion", "flops", "size", "documented"]],
        )
    again = breakdown(RUNS, flops=[5.76e23, 1e21], out=tmp_path / "run", **common)
    pd.testing.assert_frame_equal(again, several)
    with pytest.raises(cj.UsageError, match="another breakdown"):
        breakdown(RUNS, flops=5.76e23, out=tmp_path / "run", **common)
