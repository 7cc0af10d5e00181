"""Simulated ladders: exact without noise, the documented scenario, and the effect of noise."""

import dataclasses

import numpy as np
import pytest
from test_cli import done, refused, strict_json

from chinchilla_jax import UsageError
from chinchilla_jax.datasets import Runs
from chinchilla_jax.laws import CHINCHILLA
from chinchilla_jax.laws.design import Design
from chinchilla_jax.laws.scaling_law import HOFFMANN_2022, ScalingLaw
from chinchilla_jax.planning.ladder.simulation import (
    Scenario,
    _Group,
    compare_scenarios,
    exponential_noise,
    normal_noise,
    simulate,
)

# 8 replicas of 30 runs in a table: as many as Chinchilla has, so that what is compiled once serves all tests.
SMALL = Scenario(flops_range=(1e18, 1e20), seeds=28, steps=2, factor=3.0, noise=normal_noise(0.01))


def test_without_noise_the_true_optimum_is_found():
    exact = dataclasses.replace(SMALL, noise=normal_noise(0.0))
    result = simulate(exact, replicas=5)
    assert result.counted.all()
    np.testing.assert_allclose(result.error, 0, atol=1e-4)
    np.testing.assert_allclose(result.overhead, 0, atol=1e-8)
    np.testing.assert_allclose(result.loss_error, 0, atol=1e-5)
    np.testing.assert_allclose(result.laws.alpha, HOFFMANN_2022.alpha, rtol=1e-4)
    estimated = result.laws[0].optimal(result.flops[0])[0]
    assert estimated == pytest.approx(HOFFMANN_2022.optimal(result.flops[0])[0], rel=1e-3)
    table = compare_scenarios({"exact": exact}, replicas=2, flops=1e24).set_index("quantity")
    assert table.loc["params_error", "median"] == pytest.approx(0, abs=1e-3)
    assert (table["n"] == 2).all()


def test_a_replica_is_the_fit_of_its_own_runs():
    group = _Group(SMALL, range(3), 0)
    laws, counted = group.run()
    assert counted.all()
    row = 1
    n, d, loss = group.params[row], group.tokens[row], group.loss[row]
    # At the optimum of a Huber sum the clipped residuals are orthogonal to every derivative: checked on the
    # replica's own runs, without the table that it shared.
    design = Design.from_runs(Runs(n, d, 6 * n * d, loss))
    theta = CHINCHILLA.theta(laws[row], design)
    influence = np.clip(CHINCHILLA.residuals(theta, design), -1e-3, 1e-3)
    assert (np.abs(influence) < 1e-3).any()
    slopes = influence @ CHINCHILLA.jacobian(theta, design)
    assert np.abs(slopes).max() < 1e-9
    assert np.abs((influence + 1e-6) @ CHINCHILLA.jacobian(theta, design)).max() > 1e-7
    # Each step was trained at the factor times the largest budget before it.
    flops = 6 * n * d
    assert flops[28] == pytest.approx(3 * flops[:28].max())
    assert flops[29] == pytest.approx(3 * flops[28])
    result = simulate(SMALL, replicas=3)
    assert result.flops[row] == pytest.approx(3 * flops.max())
    assert result.spent[row] == pytest.approx(flops.sum())


def test_a_replica_depends_on_its_own_number_only():
    few, many = simulate(SMALL, replicas=3, seed=5), simulate(SMALL, replicas=11, seed=5)
    np.testing.assert_allclose(few.error, many.error[:3], rtol=1e-6, atol=1e-9)
    assert not np.allclose(few.error, simulate(SMALL, replicas=3, seed=6).error)


def test_more_noise_is_more_error():
    spreads = []
    for scale in (0.002, 0.05):
        result = simulate(dataclasses.replace(SMALL, noise=normal_noise(scale)), replicas=16)
        spreads.append(np.nanmedian(np.abs(result.error)))
    assert spreads[1] > 5 * spreads[0]


def test_the_documented_default_scenario():
    """The toolkit's example: 401 seeds, one step of factor 10, exponential noise of mean 0.1."""
    scenario = Scenario()
    assert (scenario.seeds, scenario.steps, scenario.factor) == (401, 1, 10.0)
    for name, value in {
        "E": 1.69337368,
        "A": 406.401018,
        "B": 410.722827,
        "alpha": 0.33917084,
        "beta": 0.2849083,
    }.items():
        assert getattr(scenario.target, name) == pytest.approx(value, rel=1e-7)
    added = scenario.noise(np.random.default_rng(0), 200_000)
    assert added.min() >= 0
    assert added.mean() == pytest.approx(0.1, rel=0.01)
    assert added.std() == pytest.approx(0.1, rel=0.02)
    result = simulate(scenario, replicas=8)
    assert result.counted.sum() >= 7
    assert ((result.flops > 10**16.9) & (result.flops <= 1e18)).all()
    table = result.summary().set_index("quantity")
    # One-sided noise lifts the floor, and 0.8 of the replicas end within a factor of two of the true size.
    assert table.loc["params_error", "low"] > -0.5
    assert table.loc["params_error", "high"] < 1.0
    assert table.loc["overhead", "high"] < 0.25


def test_the_noise_may_be_any_function():
    shifted = dataclasses.replace(SMALL, noise=lambda generator, count: 0.1)
    result = simulate(shifted, replicas=2)
    np.testing.assert_allclose(result.laws.E, HOFFMANN_2022.E + 0.1, rtol=1e-4)
    for noise in (
        lambda g, n: np.zeros(n + 1),
        lambda g, n: np.full(n, np.nan),
        lambda g, n: -np.full(n, 50.0),
    ):
        with pytest.raises(UsageError, match="the noise gave"):
            simulate(dataclasses.replace(SMALL, noise=noise), replicas=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 3}, "seeds is 3"),
        ({"factor": 0.5}, "factor is 0.5"),
        ({"steps": -1}, "steps"),
        ({"flops_range": (2.0, 1.0)}, "lower limit below"),
        ({"target": ScalingLaw(E=1, A=0, B=1, alpha=0.3, beta=0.3)}, "has an optimum"),
    ],
)
def test_scenarios_are_checked(change, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(SMALL, **change)


def test_bad_noise_and_replicas_are_one_line():
    with pytest.raises(UsageError, match="scale of the noise is -1"):
        normal_noise(-1)
    with pytest.raises(UsageError, match="mean of the noise"):
        exponential_noise(float("inf"))
    with pytest.raises(UsageError, match="replicas"):
        simulate(SMALL, replicas=0)
    with pytest.raises(UsageError, match="flops is -1"):
        simulate(SMALL, flops=-1)
    assert "'gaussian' is not one of exponential, normal" in refused(
        "progress", "simulate", "--noise", "gaussian"
    )
    assert "factor is 0.1" in refused("progress", "simulate", "--factor", "0.1")


def test_on_the_command_line(tmp_path):
    asked = (
        "progress",
        "simulate",
        "--seeds",
        "30",
        "--steps",
        "0",
        "--replicas",
        "8",
        "--noise-size",
        "0.01",
    )
    found = strict_json(done(*asked, "--flops", "1e20", "--figures", str(tmp_path), "--json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "simulation_errors.png",
        "simulation_errors.svg",
    ]
    scenario = Scenario(seeds=30, steps=0, noise=exponential_noise(0.01))
    expected = compare_scenarios({"x": scenario}, replicas=8, flops=1e20).set_index("quantity")
    for row in found["summary"]:
        assert row["median"] == expected.loc[row["quantity"], "median"]
    assert found["n_counted"] == int(expected["n"].iloc[0])
    assert "at 1e20 FLOP" in done(*asked, "--flops", "1e20")
    assert "'--flops': '-1' is not a positive number" in refused(*asked, "--flops", "-1")
    assert "did you mean 'normal'" in refused(*asked, "--noise", "norml")
