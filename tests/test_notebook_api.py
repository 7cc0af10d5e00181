"""What a notebook needs of results: the runs behind them, tables that show themselves, save and load."""

import pytest

import chinchilla_jax as cj


@pytest.fixture(scope="module")
def runs():
    return cj.load_runs("chinchilla")


@pytest.fixture(scope="module")
def boot(runs):
    return cj.bootstrap(runs, resamples=20)


def test_results_carry_the_runs_they_were_fitted_to(runs, boot):
    fit = cj.fit(runs, starts=16)
    assert fit.runs is runs
    assert boot.runs is runs is boot.point.runs
    assert "Runs" not in repr(fit) + repr(boot)
