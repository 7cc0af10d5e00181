"""Dependence of runs: columns of groups, what is measured within them, and the scheme chosen for it."""

import dataclasses
import pickle

import numpy as np
import pytest
from scipy import stats

import chinchilla_jax as cj
from chinchilla_jax import UsageError
from chinchilla_jax.bootstrapping import group_correlation
from chinchilla_jax.bootstrapping.auto_scheme import choose_scheme
from chinchilla_jax.bootstrapping.group_correlation import PermutedResiduals
from chinchilla_jax.datasets.groupings import members_of, sizes_are_trajectories, trajectory_column


def write_grid(tmp_path, header="run", n_sizes=6, n_tokens=4):
    """A table of n_sizes x n_tokens runs with a column of names; its path."""
    lines = [f"params,tokens,loss,{header},lab"]
    for i, params in enumerate(np.geomspace(1e8, 1e10, n_sizes)):
        for tokens in np.geomspace(1e9, 1e11, n_tokens):
            loss = 1.7 + 400 / params**0.34 + 400 / tokens**0.28
            lines.append(f"{params:.0f},{tokens:.0f},{loss:.6f},run {i},{'a' if i % 2 else ''}")
    path = tmp_path / "grid.csv"
    path.write_text("\n".join(lines))
    return path


def test_columns_of_groups_travel_with_the_runs(tmp_path):
    runs = cj.load_runs(write_grid(tmp_path), groups=("lab",))
    assert set(runs.groups) == {"run", "lab"}  # a column named after runs is found unasked
    assert runs.groups["run"][:5].tolist() == ["run 0"] * 4 + ["run 1"]
    kept = runs.drop_highest_loss(3)
    assert kept.groups["run"].tolist() == runs.groups["run"][np.isin(runs.loss, kept.loss)].tolist()
    assert cj.Multiplicative(2.0).apply(runs).groups["lab"].tolist() == runs.groups["lab"].tolist()
    assert runs.with_params(runs.params * 2).groups.keys() == runs.groups.keys()
    assert pickle.loads(pickle.dumps(runs)).groups["run"].tolist() == runs.groups["run"].tolist()
    with pytest.raises(ValueError, match="read-only"):
        runs.groups["run"][0] = "other"


def test_groups_change_neither_hash_nor_equality(tmp_path):
    path = write_grid(tmp_path)
    plain, carried = cj.load_runs(path), cj.load_runs(path, groups=("lab",))
    assert plain == carried and hash(plain) == hash(carried)


def test_groups_that_cannot_be_read_are_refused_in_one_line(tmp_path):
    path = write_grid(tmp_path)
    with pytest.raises(UsageError, match="no column is named 'labs'; did you mean 'lab'"):
        cj.load_runs(path, groups=("labs",))
    with pytest.raises(UsageError, match="give a list of column names"):
        cj.load_runs(path, groups="lab")
    with pytest.raises(UsageError, match="'llama3' is an embedded table"):
        cj.load_runs("llama3", groups=("lab",))
    with pytest.raises(
        cj.DataError, match=r"group 'lab' has shape \(2,\); give one label for each of 1 runs"
    ):
        cj.Runs([1.0], [1.0], [1.0], [1.0], groups={"lab": ["a", "b"]})


# Measurement, against slow and obvious code


def anova(values, members):
    """(n0, icc, F) of the one-way analysis of variance, group by group."""
    groups = [[v for v, m in zip(values, members, strict=True) if m == g] for g in sorted(set(members))]
    n, k, mean = len(values), len(groups), np.mean(values)
    between = sum(len(g) * (np.mean(g) - mean) ** 2 for g in groups) / (k - 1)
    within = sum(sum((v - np.mean(g)) ** 2 for v in g) for g in groups) / (n - k)
    n0 = (n - sum(len(g) ** 2 for g in groups) / n) / (k - 1)
    return n0, (between - within) / (between + (n0 - 1) * within), between / within


def test_the_analysis_of_variance_is_that_of_the_textbook_and_of_scipy():
    rng = np.random.default_rng(0)
    members = np.sort(rng.integers(0, 7, 60))
    values = rng.normal(size=60) + 0.8 * rng.normal(size=7)[members]
    found = PermutedResiduals(values).within(members)
    assert found[:3] == pytest.approx(anova(values, members), rel=1e-12)
    groups = [values[members == g] for g in range(7)]
    assert pytest.approx(stats.f_oneway(*groups).statistic, rel=1e-12) == found.F
    permuted = stats.permutation_test(
        groups,
        lambda *g, axis: stats.f_oneway(*g, axis=axis).statistic,
        n_resamples=2000,
        alternative="greater",
        vectorized=True,
        rng=1,
    )
    assert found.p == pytest.approx(permuted.pvalue, abs=0.01)
    assert found == PermutedResiduals(values).within(members)


def test_permuted_residuals_are_fitted_again():
    rng = np.random.default_rng(1)
    x = np.repeat(np.arange(6.0), 5)
    members, slopes = x.astype(int), np.stack([np.ones(30), x, x**2], axis=1)
    values = rng.normal(size=30)
    values -= slopes @ np.linalg.lstsq(slopes, values, rcond=None)[0]
    shares = []
    for _ in range(1500):
        drawn = rng.permutation(values)
        drawn = drawn - slopes @ np.linalg.lstsq(slopes, drawn, rcond=None)[0]
        shares.append(anova(drawn, members)[2])
    expected = np.mean(np.array(shares) >= anova(values, members)[2])
    assert PermutedResiduals(values, slopes).within(members).p == pytest.approx(expected, abs=0.04)
    assert PermutedResiduals(values).within(members).p > expected  # the fit has taken up what groups share


@pytest.mark.parametrize("runs", [12, 240])
def test_large_tables_permute_a_few_columns_at_a_time_with_the_same_numbers(monkeypatch, runs):
    rng = np.random.default_rng(runs)
    values, slopes, members = rng.normal(size=runs), rng.normal(size=(runs, 3)), np.arange(runs) % (runs // 4)
    whole = PermutedResiduals(values, slopes).within(members)
    monkeypatch.setattr(group_correlation, "_MOST_HELD", runs * 2000)
    monkeypatch.setattr(group_correlation, "_BLOCK", 37 * runs)
    in_parts = PermutedResiduals(values, slopes)
    assert max(drawn.size for drawn, _ in in_parts._blocks()) == 37 * runs
    assert in_parts.within(members) == whole


def test_degenerate_residuals_are_measured_without_a_warning():
    members = np.repeat(np.arange(4), 3)
    assert PermutedResiduals(np.zeros(12)).within(members) == (3.0, 0.0, 1.0, 1.0)
    alike = PermutedResiduals(np.repeat([0.0, 1.0, 2.0, 5.0], 3)).within(members)
    assert alike.icc == 1.0 and alike.F > 1e12 and alike.p < 0.01


@pytest.mark.parametrize(
    ("name", "counting", "grouping", "n_groups", "icc", "ratio"),
    [("chinchilla", "standard", "sizes", 41, 0.31, 3.6), ("llama3", "as_plotted", "budgets", 10, 0.21, 4.4)],
)
def test_the_published_tables_are_correlated_as_known(name, counting, grouping, n_groups, icc, ratio):
    runs = cj.load_runs(name, params=counting)
    found = measured(runs, "auto")
    rows = found.to_frame().set_index("grouping")
    row = rows.loc[grouping]
    assert row.n_groups == n_groups and row.p <= 0.002
    assert row.icc == pytest.approx(icc, abs=0.03) and pytest.approx(ratio, abs=0.5) == row.F
    assert rows.drop(grouping).p.min() > 0.2  # within the other grouping there is none
    assert isinstance(found.scheme, cj.Cluster) and found.scheme.by == row.by
    assert list(rows.index[rows.chosen]) == [grouping]


# Groupings


def checkpoints(spacing, seed=0, n_sizes=5):
    """Runs of several sizes with losses at tokens from `spacing`."""
    tokens = np.tile(spacing, n_sizes)
    params = np.repeat(np.geomspace(1e8, 1e10, n_sizes), len(spacing))
    noise = np.exp(0.003 * np.random.default_rng(seed).standard_normal(len(tokens)))
    loss = (1.8 + 480 / params**0.35 + 2000 / tokens**0.37) * noise
    return cj.Runs(params, tokens, 6 * params * tokens, loss)


def test_checkpoints_at_equal_steps_are_trajectories_and_grids_are_not():
    assert sizes_are_trajectories(checkpoints(np.arange(1, 31) * 1e10))
    assert sizes_are_trajectories(
        checkpoints(np.concatenate([2.0 ** np.arange(8), np.arange(200, 2000, 100)]))
    )
    assert not sizes_are_trajectories(checkpoints(np.geomspace(1e9, 1e12, 12)))
    assert not sizes_are_trajectories(checkpoints(20e9 * np.array([0.5, 1, 2, 4, 8, 16])))
    for name in ("chinchilla", "llama3"):
        assert not sizes_are_trajectories(cj.load_runs(name))


def test_a_column_of_run_names_shows_trajectories_if_names_have_one_size_and_several_token_counts(tmp_path):
    assert trajectory_column(cj.load_runs(write_grid(tmp_path))) == "run"
    assert trajectory_column(cj.load_runs(write_grid(tmp_path, header="model"))) is None
    runs = checkpoints(np.geomspace(1e9, 1e12, 8))
    for labels in (np.arange(40), np.tile(np.arange(8), 5), np.zeros(40)):  # unique, of budgets, all the same
        assert trajectory_column(dataclasses.replace(runs, groups={"run": labels})) is None


def test_replicates_have_one_size_and_one_token_count_within_rounding():
    params = np.repeat([1e8, 1.003e8, 1e9], 3)
    tokens = np.array([1e9, 1.002e9, 1.02e9] * 3)
    runs = cj.Runs(params, tokens, 6 * params * tokens, np.full(9, 3.0))
    assert members_of(runs, "replicates").tolist() == [0, 0, 1, 0, 0, 1, 2, 2, 3]


def test_empty_labels_belong_to_nobody(tmp_path):
    runs = cj.load_runs(write_grid(tmp_path), groups=("lab",))
    members = cj.Cluster(by="lab").members(runs)
    assert members.max() + 1 == 1 + 12 and np.sum(members == members[4]) == 12
    with pytest.raises(UsageError, match=r"no column 'labs'; did you mean 'lab'.*groups=\('labs',\)"):
        cj.Cluster(by="labs").members(runs)


# The choice


def table(members, correlation, seed, params, tokens, spread=0.006):
    """Runs whose errors are correlated within groups."""
    rng = np.random.default_rng(seed)
    own, common = rng.standard_normal(len(params)), rng.standard_normal(members.max() + 1)[members]
    errors = np.sqrt(1 - correlation) * own + np.sqrt(correlation) * common
    loss = (1.8172 + 482.0 / params**0.3478 + 2085.4 / tokens**0.3658) * np.exp(spread * errors)
    return cj.Runs(params, tokens, 6 * params * tokens, loss)


def grid(n_sizes, n_tokens, seeds=1):
    params, tokens = np.meshgrid(np.geomspace(1e8, 1e10, n_sizes), np.geomspace(2e9, 2e11, n_tokens))
    params, tokens = (np.repeat(each.T.ravel(), seeds) for each in (params, tokens))
    return params, tokens


def measured(runs, delta=0.008):
    """The choice for a table of one's own; by default with the delta that auto finds for those of `table`."""
    return choose_scheme(dataclasses.replace(runs, name="mine"), cj.fit(runs, starts=16, delta=delta))


def test_independent_runs_are_resampled_one_by_one():
    params, tokens = grid(8, 6)
    chosen = [measured(table(np.arange(48), 0.0, seed, params, tokens)).scheme.name for seed in range(20)]
    assert chosen.count("pairs") >= 14  # nominal 18: two groupings, each with a level of a tenth


def test_shared_errors_are_found_and_their_groups_resampled():
    params, tokens = grid(5, 4, seeds=3)
    found = [measured(table(np.repeat(np.arange(20), 3), 0.6, seed, params, tokens)) for seed in range(12)]
    assert sum(each.scheme.name == "cluster" for each in found) >= 11
    assert sum(getattr(each.scheme, "by", "") == "replicates" for each in found) >= 8
    params, tokens = grid(12, 5)
    found = [measured(table(np.repeat(np.arange(12), 5), 0.5, seed, params, tokens)) for seed in range(12)]
    assert sum(getattr(each.scheme, "by", "") == "params" for each in found) >= 10


def test_a_coarser_grouping_is_measured_on_the_means_of_a_finer_one():
    params, tokens = grid(10, 3, seeds=3)
    seeds = measured(table(np.repeat(np.arange(30), 3), 0.9, 4, params, tokens))
    rows = seeds.to_frame().set_index("grouping")
    assert rows.loc["replicates", "unit"] == "runs" and rows.loc["sizes", "unit"] == "replicates"
    assert seeds.scheme.by == "replicates"  # what seeds share is not taken for something that sizes share
    sizes = measured(table(np.repeat(np.arange(10), 9), 0.9, 4, params, tokens))
    assert sizes.scheme.by == "params"  # the coarser of two


def test_few_groups_are_warned_about_and_fewer_are_left_alone():
    params, tokens = grid(5, 8)
    five = measured(table(np.repeat(np.arange(5), 8), 0.8, 1, params, tokens))
    assert five.scheme.concentration < 1 and "only 5 sizes can be resampled" in five.warnings[0]
    assert five.sentence.endswith("by real weights in place of counts, since the groups are few")
    params, tokens = grid(12, 5)
    labs = np.repeat(np.arange(3), 20)
    order = np.random.default_rng(0).permutation(60)
    runs = table(labs, 0.8, 0, params[order], tokens[order])
    three = measured(dataclasses.replace(runs, groups={"lab": labs}))
    assert three.scheme.name == "pairs" and "too few groups to resample" in three.sentence
    assert "3 groups by lab" in three.warnings[0] and "too narrow, by a factor of about" in three.warnings[0]


# The bootstrap


def test_auto_is_the_default_and_holds_what_it_chose():
    params, tokens = grid(12, 5)
    runs = table(np.repeat(np.arange(12), 5), 0.6, 0, params, tokens)
    boot = cj.bootstrap(runs, resamples=40)
    assert boot.scheme.name == "cluster" and boot.dependence.scheme is boot.scheme
    assert "whole groups are resampled, since residuals are correlated within 12 sizes" in repr(
        boot.dependence
    )
    again = cj.bootstrap(runs, resamples=40, scheme=boot.scheme, point=boot.point)
    assert again.dependence is None
    np.testing.assert_array_equal(boot.laws.alpha, again.laws.alpha)


def test_embedded_tables_stay_with_pairs_and_say_what_it_would_have_been():
    runs = cj.load_runs("chinchilla")
    boot = cj.bootstrap(runs, resamples=40)
    pairs = cj.bootstrap(runs, resamples=40, scheme="pairs", point=boot.point)
    np.testing.assert_array_equal(boot.laws.alpha, pairs.laws.alpha)
    sentence = boot.dependence.sentence
    assert "one by one, as published for chinchilla; in a table of your own whole groups would be" in sentence
    assert "41 sizes" in sentence and not boot.dependence.to_frame().chosen.any()
    own = cj.bootstrap(dataclasses.replace(runs, name="mine.csv"), resamples=40, point=boot.point)
    assert own.scheme.name == "cluster"


def test_a_fit_without_residuals_is_resampled_by_pairs():
    runs = checkpoints(np.geomspace(1e9, 1e12, 8))
    broken = dataclasses.replace(runs, params=-runs.params)
    boot = cj.bootstrap(broken, resamples=4)
    assert boot.scheme.name == "pairs" and boot.dependence.groupings == ()


def test_clusters_have_resamples_of_resamples():
    params, tokens = grid(12, 5)
    runs = table(np.repeat(np.arange(12), 5), 0.6, 0, params, tokens)
    boot = cj.bootstrap(runs, resamples=30, inner=10, jackknife=True, scheme=cj.Cluster("params"))
    assert boot.inner.shape == (30, 10) and boot.jackknife.shape == (12,)
    low, high = boot.interval(0.8, "studentised")[["low", "high"]].to_numpy().T
    assert np.all(low < high)


@pytest.mark.parametrize("digits", [None, 6, 3])
def test_rounding_is_no_correlation(digits):
    """Losses that a law gives exactly, printed with so many decimals."""
    params, tokens = (
        each.ravel() for each in np.meshgrid(np.geomspace(5e7, 8e8, 5), np.geomspace(1e9, 8e10, 5))
    )
    loss = 1.8 + 450 * params**-0.345 + 2100 * tokens**-0.367
    loss = loss if digits is None else np.round(loss, digits)
    runs = cj.Runs(params, tokens, 6 * params * tokens, loss)
    boot = cj.bootstrap(runs, resamples=4)
    assert boot.scheme.name != "cluster" and boot.dependence.groupings == ()
    assert "the law is exact here" in boot.dependence.sentence
    noisy = dataclasses.replace(runs, loss=np.round(loss * np.exp(0.004 * np.sin(np.arange(25.0) ** 2)), 3))
    assert cj.bootstrap(noisy, resamples=4).dependence.groupings
