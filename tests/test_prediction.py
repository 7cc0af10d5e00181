"""Predicted losses: `cj.predict` against simulated runs, places from tables, a run under way, the command."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import spatial

import chinchilla_jax as cj
from chinchilla_jax.cli import main
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH
from chinchilla_jax.planning import predict_against
from chinchilla_jax.planning.prediction import loss_texts
from chinchilla_jax.planning.prediction_places import distance, inside_hull, largest_flops, read_places
from chinchilla_jax.planning.run_errors import RunErrors


def planted(seed, *, noise=0.01, shared=0.0, sizes=6, ratios=5):
    """A grid of runs with normal errors, part of which runs of one size may share."""
    generator = np.random.default_rng(seed)
    size, ratio = np.meshgrid(np.geomspace(1e7, 3e9, sizes), np.geomspace(5, 200, ratios))
    params, tokens = size.ravel(), (size * ratio).ravel()
    errors = noise * generator.standard_normal(len(params))
    errors += shared * np.tile(generator.standard_normal(sizes), ratios)
    return cj.Runs(params=params, tokens=tokens, loss=np.exp(np.log(TRUTH.loss(params, tokens)) + errors))


@pytest.fixture(scope="module")
def boot():
    return cj.bootstrap(cj.load_runs("chinchilla"), resamples=200)


def test_the_mean_is_the_interval_of_the_laws_and_a_new_run_is_wider(boot):
    places = {"params": [1e9, 7e10], "tokens": [2e10, 1.4e12]}
    table = cj.predict(boot, places, level=0.9).table
    losses = boot.laws[boot.counted].loss(places["params"], places["tokens"])
    assert np.allclose(table["mean_low"], np.quantile(losses, 0.05, axis=0), rtol=1e-9)
    assert np.allclose(table["mean_high"], np.quantile(losses, 0.95, axis=0), rtol=1e-9)
    assert np.allclose(table["loss"], boot.point.law.loss(places["params"], places["tokens"]))
    assert (table["new_run_low"] < table["mean_low"]).all()
    assert (table["new_run_high"] > table["mean_high"]).all()
    largest = (6 * boot.design.params * boot.design.tokens).max()
    assert np.allclose(table["log_distance"], np.log(table["flops"] / largest))
    again = cj.predict(boot, places, level=0.9).table
    pd.testing.assert_frame_equal(table, again)


def test_an_interval_that_leaves_out_the_estimate_is_doubted(boot):
    found = cj.predict(boot, {"params": [1e9], "tokens": [2e10]})
    assert found.doubts == [""]
    above = found.table["loss"] * 1.001
    moved = dataclasses.replace(found, table=found.table.assign(new_run_low=above))
    assert moved.doubts == ["the interval of a new run leaves out the estimate"]


def test_compute_is_that_of_plan_everywhere():
    runs = planted(0)
    flops = 7.8 * runs.params**1.02 * runs.tokens
    own = cj.bootstrap(
        cj.Runs(params=runs.params, tokens=runs.tokens, flops=flops, loss=runs.loss),
        resamples=20, objective="squared", scheme="pairs",
    )  # fmt: skip
    for cost, largest in ((None, flops.max()), ("6nd", runs.flops.max())):
        row = cj.predict(own, {"flops": [1e22]}, cost=cost).table.iloc[0]
        planned = cj.plan(own, flops=1e22, cost=cost).table.set_index("quantity")["estimate"]
        assert row["params"] == pytest.approx(planned["params"])
        assert row["log_distance"] == pytest.approx(np.log(1e22 / largest))
        assert cj.predict(own, runs, cost=cost).table["log_distance"].max() == pytest.approx(0, abs=1e-12)
    at = cj.predict(own, {"params": [1e9], "tokens": [2e10]})
    assert at.table["flops"][0] == pytest.approx(7.8 * 1e9**1.02 * 2e10)
    back = cj.predict(own, {"params": [1e9], "flops": at.table["flops"]}).table
    assert back["tokens"][0] == pytest.approx(2e10)
    under_way = predict_against(own, {"flops": at.table["flops"], "loss": [2.5]}, params=1e9)
    assert under_way.table["tokens"][0] == pytest.approx(2e10)
    with pytest.raises(cj.UsageError, match="predict: no FLOP other than 6 N D were measured"):
        cj.predict(cj.bootstrap(runs, resamples=5), {"flops": [1e22]}, cost="measured")


def test_experts_are_as_far_as_what_a_token_passes_through():
    model, sizes = read_law("sparse_experts"), np.full(5, 1e10)
    runs = cj.Runs(
        params=sizes, tokens=10 * sizes, loss=np.full(5, 3.0), variables={"sparsity": np.full(5, 0.9)}
    )
    boot = SimpleNamespace(point=SimpleNamespace(model=model), design=model.design(runs))
    assert largest_flops(boot) == pytest.approx(6 * 1e9 * 1e11)
    assert distance(read_places(runs, boot), boot) == pytest.approx(0)


def test_errors_of_least_squares_are_residuals_over_the_square_root_of_what_leverage_leaves():
    runs = planted(1)
    boot = cj.bootstrap(runs, resamples=2, objective="squared", scheme="pairs")
    jacobian = boot.point.model.jacobian(boot.point.theta, boot.design)
    hat = jacobian @ np.linalg.solve(jacobian.T @ jacobian, jacobian.T)
    errors = RunErrors.of(boot)
    assert np.allclose(errors.errors, -boot.point.residuals / np.sqrt(1 - np.diag(hat)))
    assert errors.degrees == 25
    groups = cj.bootstrap(runs, resamples=2, objective="squared", scheme=cj.Cluster(by="params"))
    found = RunErrors.of(groups)
    one = groups.members == 3
    root = np.linalg.inv(np.eye(5) - hat[np.ix_(one, one)])
    values, vectors = np.linalg.eigh(root)
    expected = vectors * np.sqrt(values) @ vectors.T @ -boot.point.residuals[one]
    assert np.allclose(found.errors[one], expected)
    assert found.n_groups == 6
    assert np.allclose(found.probability, 1 / 30)


def test_draws_have_the_distribution_of_the_errors():
    errors = RunErrors(errors=np.array([-1.0, 2.0]), probability=np.array([0.25, 0.75]), degrees=1e9)
    drawn = errors.draw(10_000, 0)
    assert np.mean(drawn < 0) == pytest.approx(0.25, abs=1e-3)
    assert not np.array_equal(drawn, errors.draw(10_000, 1))


@pytest.mark.slow
def test_new_runs_end_within_their_interval():
    """Of 60 tables, at two places each: one inside the runs, one at ten times the compute of the largest."""
    generator, inside, shared = np.random.default_rng(0), [], 0.008
    for seed in range(60):
        boot = cj.bootstrap(planted(seed, shared=shared), resamples=200, seed=seed, delta=0.017)
        places = {"params": [3e8, 9e9], "tokens": [1e10, 4e12]}
        table = cj.predict(boot, places).table
        new = TRUTH.loss(*places.values()) * np.exp(np.hypot(0.01, shared) * generator.standard_normal(2))
        inside.append((table["new_run_low"] <= new) & (new <= table["new_run_high"]))
    assert np.all(np.abs(np.mean(inside, axis=0) - 0.8) < 3 * np.sqrt(0.16 / 60))


def test_places_are_tables_of_every_kind(boot, tmp_path):
    table = pd.DataFrame({"N": [1e9, 2e9], "FLOP": [1.2e20, 6e20]})
    table.to_csv(tmp_path / "places.csv", index=False)
    expected = cj.predict(boot, {"params": [1e9, 2e9], "tokens": [2e10, 5e10]}).table
    for source in (table, tmp_path / "places.csv", {"params": 1e9, "flops": 1.2e20}):
        found = cj.predict(boot, source).table
        pd.testing.assert_frame_equal(found, expected[: len(found)])
    runs = cj.load_runs("chinchilla")
    assert len(cj.predict(boot, runs.take(np.arange(80))).table) == 80
    optimal = cj.predict(boot, {"flops": [1e21, 1e22]}).table
    assert np.allclose(optimal["params"], boot.point.law.optimal([1e21, 1e22])[0])


def test_the_hull_is_that_of_scipy(boot):
    generator = np.random.default_rng(0)
    places = {
        "params": np.exp(generator.uniform(16, 26, 300)),
        "tokens": np.exp(generator.uniform(18, 28, 300)),
    }
    runs = np.log(np.stack([boot.design.params, boot.design.tokens], axis=1))
    at = np.log(np.stack(list(places.values()), axis=1))
    inside = inside_hull(read_places(places, boot), boot.design)
    assert np.array_equal(inside, spatial.Delaunay(runs).find_simplex(at) >= 0)
    assert inside_hull(read_places(cj.load_runs("chinchilla"), boot), boot.design).all()


def test_runs_on_a_line_have_a_segment_for_a_hull(boot):
    design = dataclasses.replace(boot.design, log_tokens=boot.design.log_params)
    ends = design.params.min(), design.params.max()
    tokens = np.sort(design.tokens)
    places = {
        "params": [*ends, ends[1] * 2, ends[1]],
        "tokens": [tokens[0], tokens[-1], tokens[-1], tokens[0]],
    }
    assert inside_hull(read_places(places, boot), design).tolist() == [True, True, False, False]


def test_a_run_under_way_is_placed_among_runs_that_end_there(boot):
    tokens = np.array([4e10, 2e10, 8e10])
    losses = boot.point.law.loss(1e9, tokens)
    found = predict_against(boot, {"tokens": tokens, "loss": losses * [1.0, 1.2, 0.9]}, params=1e9)
    assert found.table["verdict"].tolist() == ["above", "inside", "below"]
    assert np.all(np.diff(found.table["tokens"]) > 0)
    assert found.table["share"].tolist() == [1.0, pytest.approx(0.5, abs=0.15), 0.0]
    assert "below the 80% interval" in found.sentence
    flops = 6 * 1e9 * tokens
    again = predict_against(boot, {"flops": flops, "loss": losses * [1.0, 1.2, 0.9]}, params=1e9)
    assert np.allclose(again.table["observed"], found.table["observed"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no option: no place to predict at; give --params and --tokens"),
        (["--params", "1e9"], "--params: no place to predict at"),
        (["--at", "missing.csv"], "missing.csv: no such file"),
        (["--at", "x", "--flops", "1"], "--at and --flops both name places; give one of them"),
        (["--against", "x", "--tokens", "1"], "--against has its places in RUN; leave out --tokens"),
        (["--flops", "1e20", "--flops", "1e21", "--params", "1e9"], "no place to predict at"),
    ],
)
def test_what_names_no_place_is_one_line(options, message, capsys):
    assert main(["predict", "chinchilla", "--resamples", "2", *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_a_law_with_further_variables_needs_them(boot):
    law = cj.laws.from_function(
        lambda p, x: p["E"] + x["batch"], {"E": cj.positive(1.7)}, variables=("params", "tokens", "batch")
    )
    other = dataclasses.replace(boot, point=dataclasses.replace(boot.point, model=law))
    with pytest.raises(cj.UsageError, match="needs batch of every place; give a table of places"):
        cj.predict(other, {"params": 1e9, "tokens": 2e10})
    with pytest.raises(cj.UsageError, match="needs further variables of the run"):
        predict_against(other, {"tokens": [1e9], "loss": [3.0]}, params=1e9)


def test_the_command_and_its_figure(tmp_path, capsys):
    common = ["predict", "chinchilla", "--resamples", "50"]
    main([*common, "--flops", "1e22", "--figures", str(tmp_path)])
    out = capsys.readouterr().out
    assert "new run low" in out
    assert "residual scale" in out
    assert (tmp_path / "prediction.png").exists()
    main([*common, "--params", "7e10", "--tokens", "1.4e12", "--json"])
    fields = json.loads(capsys.readouterr().out)
    (place,) = fields["places"]
    assert place["mean_low"] < place["loss"] < place["mean_high"] < place["new_run_high"]
    assert place["doubt"] == "45.4x the compute of the largest run"
    pd.DataFrame({"tokens": [1e10, 2e10], "loss": [3.0, 2.53]}).to_csv(tmp_path / "run.csv")
    main([*common, "--against", str(tmp_path / "run.csv"), "--params", "1e9"])
    assert "within the 80% interval of a run that ends there" in " ".join(capsys.readouterr().out.split())


def test_a_plan_shows_both_intervals_of_the_loss(boot):
    from chinchilla_jax import planning

    sample = planning.LawSample.from_bootstrap(boot)
    rows = planning.plan(sample, flops=1e22).table.set_index("quantity")
    assert rows.loc["new_run_loss", "low"] < rows.loc["loss", "low"]
    assert rows.loc["new_run_loss", "high"] > rows.loc["loss", "high"]
    assert "new_run_loss" not in planning.plan(sample, loss=2.1).table["quantity"].tolist()


def test_losses_are_shown_to_the_digits_of_their_intervals():
    """Four decimals whatever the losses: 0.0000 of small ones, and a digit that the draws do not support."""
    row = {
        "loss": 2.09986, "mean_low": 2.09100, "mean_high": 2.10267, "new_run_low": 2.08612,
        "new_run_high": 2.10834,
    }  # fmt: skip
    assert loss_texts(row) == (["2.0999", "2.0910", "2.1027"], ["2.086", "2.108"])
    small = {name: value * 1e-6 for name, value in row.items()}
    assert loss_texts(small) == (["2.0999e-6", "2.0910e-6", "2.1027e-6"], ["2.086e-6", "2.108e-6"])
    assert loss_texts(row | {"observed": 2.1}) == (loss_texts(row)[0], ["2.086", "2.108", "2.100"])
