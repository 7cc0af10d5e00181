"""Errors of simulated data sets: shared as asked, estimated as planted, and coverage that tells of it."""

import dataclasses

import numpy as np
import pytest
from test_intervals import TRUTH

import chinchilla_jax as cj
from chinchilla_jax.analysis import CoverageSpec, coverage
from chinchilla_jax.analysis.coverage_groups import sentence, shared_errors
from chinchilla_jax.analysis.coverage_noise import Noise, variance_shares
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.objectives import influence

SIZES, PER_SIZE = 8, 6
DELTA = 0.007  # about what auto finds in `grid`, and quicker than its search in every data set
MEMBERS = np.repeat(np.arange(SIZES), PER_SIZE)


def grid(correlation=0.0, seed=0, noise=0.005):
    """Runs of 8 sizes by 6 token counts, with an effect common to each size."""
    r = np.random.default_rng(seed)
    params = np.repeat(np.geomspace(1e8, 1e10, SIZES), PER_SIZE)
    tokens = np.tile(np.geomspace(1e9, 1e11, PER_SIZE), SIZES)
    errors = np.sqrt(correlation) * r.normal(size=SIZES)[MEMBERS] + np.sqrt(1 - correlation) * r.normal(
        size=len(MEMBERS)
    )
    loss = TRUTH.loss(params, tokens) * np.exp(noise * errors)
    return cj.Runs(params, tokens, 6 * params * tokens, loss, name="grid")


@pytest.mark.parametrize("kind", ["residuals", "signed"])
@pytest.mark.parametrize("correlation", [0.0, 0.15, 0.6, 1.0])
def test_errors_of_a_group_have_the_correlation_asked_for(kind, correlation):
    errors = np.random.default_rng(0).standard_t(5, size=len(MEMBERS)) * 0.01
    errors -= errors.mean()
    noise = Noise(errors=errors, kind=kind, shared=((MEMBERS, correlation),), delta=np.inf)
    drawn = noise.drawn(np.arange(20000), 0)
    assert drawn.mean(axis=0) == pytest.approx(np.zeros(len(MEMBERS)), abs=5e-4)
    size = np.abs(errors) if kind == "signed" else np.full(len(errors), errors.std())
    found = (drawn.T @ drawn) / len(drawn) / np.outer(size, size)
    wanted = np.where(MEMBERS[:, None] == MEMBERS, correlation, 0.0) + (1 - correlation) * np.eye(len(size))
    assert found == pytest.approx(wanted, abs=0.05)


def test_no_correlation_is_the_errors_of_each_run_on_its_own():
    errors = np.linspace(-0.01, 0.01, len(MEMBERS))
    alone = Noise(errors=errors).drawn(np.arange(5), 3)
    assert np.array_equal(Noise(errors=errors, shared=((MEMBERS, 0.0),)).drawn(np.arange(5), 3), alone)
    some = Noise(errors=errors, shared=((MEMBERS, 0.5),))
    assert np.array_equal(some.drawn(np.array([4, 1]), 3), some.drawn(np.arange(5), 3)[[4, 1]])


def test_skewed_errors_are_centred_where_the_objective_sees_no_influence():
    errors = np.random.default_rng(0).exponential(size=len(MEMBERS)) * 0.01
    errors -= np.median(errors)
    noise = Noise(errors=errors, shared=((MEMBERS, 0.4),), delta=1e-3)
    drawn = noise.drawn(np.arange(4000), 0)
    assert influence(drawn, 1e-3, 1e-3).mean() == pytest.approx(0.0, abs=2e-5)


def test_two_groupings_share_each_their_own():
    errors = np.random.default_rng(0).normal(size=len(MEMBERS)) * 0.01
    errors -= errors.mean()
    counts = np.tile(np.arange(PER_SIZE), SIZES)
    noise = Noise(errors=errors, shared=((MEMBERS, 0.4), (counts, 0.3)), delta=np.inf)
    drawn = noise.drawn(np.arange(20000), 0) / errors.std()
    found = (drawn.T @ drawn) / len(drawn)
    wanted = (
        0.4 * (MEMBERS[:, None] == MEMBERS) + 0.3 * (counts[:, None] == counts) + 0.3 * np.eye(len(errors))
    )
    assert found == pytest.approx(wanted, abs=0.05)
    seen = np.mean([variance_shares(row, [MEMBERS, counts]) for row in drawn[:400]], axis=0)
    assert seen == pytest.approx([0.4, 0.3, 0.3], abs=0.06)


def test_variance_shares_are_those_of_the_analysis_of_variance_where_groups_are_equal():
    values = np.random.default_rng(3).normal(size=len(MEMBERS)).clip(-1, 1)
    values += np.linspace(-1, 1, SIZES)[MEMBERS] / 2
    means = values.reshape(SIZES, PER_SIZE).mean(axis=1)
    within = np.sum((values - means[MEMBERS]) ** 2) / (len(values) - SIZES)
    between = np.mean(means**2) - within / PER_SIZE  # about a mean known to be 0
    assert between > 0
    found = variance_shares(values, [MEMBERS])
    assert found == pytest.approx(np.array([between, within]) / (between + within), rel=1e-9)
    opposed = np.tile([1.0, -1.0], len(MEMBERS) // 2)  # groups that agree too well to share anything
    assert list(variance_shares(opposed, [MEMBERS])) == [0.0, 1.0]
    assert list(variance_shares(np.zeros(len(MEMBERS)), [MEMBERS])) == [0.0, 1.0]
    assert variance_shares(np.linspace(-1, 1, SIZES)[MEMBERS], [MEMBERS]) == pytest.approx([1.0, 0.0])


def test_the_fit_hides_part_of_what_groups_share_and_the_estimate_puts_it_back():
    naive, corrected = [], []
    for seed in range(60):
        runs = grid(0.5, seed)
        point = cj.fit(runs, starts=8, delta=DELTA)
        jacobian = point.model.jacobian(point.theta, Design.from_runs(runs))
        naive.append(variance_shares(point.residuals, [MEMBERS])[0])
        corrected.append(variance_shares(point.residuals, [MEMBERS], jacobian)[0])
    assert np.mean(naive) < 0.38
    assert np.mean(corrected) == pytest.approx(0.48, abs=0.08)


def test_the_runs_of_chinchilla_err_together_within_a_size():
    runs = cj.load_runs("chinchilla", params="standard", drop_highest_loss=5)
    found = shared_errors(runs, cj.fit(runs, starts=16), "auto", None)
    assert [each.by for each in found] == ["params"]
    assert found[0].p < 0.01
    assert found[0].correlation == pytest.approx(0.31, abs=0.03)
    assert sentence(found) == "errors of runs of one size are correlated by 0.32 (41 groups)"


def test_groups_that_are_none_are_refused():
    runs = grid()
    point = cj.fit(runs, starts=4)
    assert shared_errors(runs, point, "none", None) == ()
    assert sentence(()) == "every run errs on its own"
    assert [each.correlation for each in shared_errors(runs, point, "params", 0.25)] == [0.25]
    with pytest.raises(cj.UsageError, match="all single runs"):
        shared_errors(runs, point, "replicates", None)
    with pytest.raises(cj.UsageError, match="correlation is of the errors of one group"):
        CoverageSpec(correlation=0.3)
    with pytest.raises(cj.UsageError, match="from 0 to 1"):
        CoverageSpec(groups="params", correlation=1.5)


def test_coverage_tells_of_shared_errors():
    """80% intervals from independent resampling hold alpha about half the time here, and not 85%."""
    spec = CoverageSpec(
        datasets=60, resamples=100, methods=("percentile",), levels=(0.8,), flops=(1e22,), scheme="pairs"
    )
    shares = {}
    for name, changed in (("alone", {"groups": "none"}), ("auto", {}), ("cluster", {"scheme": "cluster"})):
        asked = dataclasses.replace(spec, **changed)
        table = coverage(grid(0.7, 1), asked, delta=DELTA)
        shares[name] = float(table.set_index("quantity")["coverage"]["alpha"])
        assert table.attrs["groups"] == ([] if name == "alone" else ["params"])
    assert shares["alone"] > 0.75
    assert shares["auto"] < 0.68
    assert shares["cluster"] > 0.75


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scheme": "bayesian"}, "scheme is pairs there"),
        ({"boundary": "drop"}, "boundary is keep there"),
        ({"groups": "params"}, "groups is \\[\\] there"),
        ({"flops": (1e21,)}, "flops is "),
        ({"methods": ("basic",)}, "methods is "),
    ],
)
def test_another_setting_is_another_run(tmp_path, changed, message):
    base = {"datasets": 1, "resamples": 20, "methods": ("percentile",), "scheme": "pairs", "groups": "none"}
    coverage(grid(), CoverageSpec(**base), out=tmp_path / "run")
    with pytest.raises(cj.UsageError, match=message):
        coverage(grid(), CoverageSpec(**(base | changed)), out=tmp_path / "run")
    with pytest.raises(cj.UsageError, match=r"delta is auto there and 0\.01 here"):
        coverage(grid(), CoverageSpec(**base), delta=0.01, out=tmp_path / "run")
    coverage(
        grid(), CoverageSpec(**base), delta="auto", out=tmp_path / "run"
    )  # what a table of one's own has


def test_objectives_without_errors_to_simulate_are_refused():
    with pytest.raises(cj.UsageError, match="give huber"):
        coverage(grid(), CoverageSpec(datasets=1), objective="asymmetric")
    with pytest.raises(cj.UsageError, match="delta"):
        coverage(grid(), CoverageSpec(datasets=1), objective=cj.Huber(1e-3), delta="auto")


def test_clusters_given_by_labels_are_recorded_whole(tmp_path):
    base = {"datasets": 1, "resamples": 20, "methods": ("percentile",), "groups": "none"}
    labels = np.arange(len(MEMBERS)) // 4
    out = tmp_path / "run"
    coverage(grid(), CoverageSpec(**base, scheme=cj.Cluster(labels=labels)), out=out)
    coverage(grid(), CoverageSpec(**base, scheme=cj.Cluster(labels=labels.copy())), out=out)
    labels[20] += 1
    with pytest.raises(cj.UsageError, match="scheme is"):
        coverage(grid(), CoverageSpec(**base, scheme=cj.Cluster(labels=labels)), out=out)
