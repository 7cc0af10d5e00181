"""What a notebook needs of results: the runs behind them, tables that show themselves, save and load."""

import dataclasses
import zipfile

import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.sealed_json import opened_json, sealed_json


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


@pytest.fixture(scope="module")
def saved(boot, tmp_path_factory):
    return boot.save(tmp_path_factory.mktemp("saved") / "boot.cj")


def test_what_is_loaded_answers_as_what_was_saved(boot, saved, tmp_path):
    found = cj.load(saved)
    assert found.runs == boot.runs
    assert found.runs.source == boot.runs.source
    assert found.warnings == boot.warnings
    for ask in (
        lambda b: b.interval(),
        lambda b: b.intervals(flops=[1e21, 1e24], methods=["gaussian"]),
        lambda b: b.to_frame(),
        lambda b: cj.plan(b, flops=[1e21, 1e22]).table,
        lambda b: cj.predict(b, {"flops": [1e23]}).table,
        lambda b: b.point.to_frame(),
    ):
        pd.testing.assert_frame_equal(ask(found), ask(boot), check_exact=True)
    np.testing.assert_array_equal(found.weights(3), boot.weights(3))
    assert found.save(tmp_path / "again").read_bytes() == saved.read_bytes()
    point = cj.load(boot.point.save(tmp_path / "fit"))
    assert point.parameters == boot.point.parameters
    assert point.goodness == boot.point.goodness
    assert [each.name for each in tmp_path.iterdir()] in (["again", "fit"], ["fit", "again"])


def test_a_table_with_compute_and_groups_is_saved(runs, tmp_path):
    table = runs.to_frame().assign(seed=np.arange(len(runs)) % 8)
    table["flops"] *= (table["params"] / 1e9) ** 0.1 * np.exp(0.01 * np.sin(np.arange(len(runs))))
    own = cj.load_runs(table, groups=["seed"])
    boot = cj.bootstrap(own, resamples=20, delta=0.01, scheme=cj.Cluster(by="seed"))
    found = cj.load(boot.save(tmp_path / "boot"))
    assert found.scheme.text == boot.scheme.text
    assert list(found.runs.groups["seed"]) == list(own.groups["seed"])
    assert found.point.cost == boot.point.cost
    for name in ("coefficient", "params_power", "tokens_power"):
        np.testing.assert_array_equal(getattr(found.costs, name), getattr(boot.costs, name))
    pd.testing.assert_frame_equal(found.interval(), boot.interval())


@pytest.mark.parametrize("law", [cj.laws.FixedFloor(floor=1.7), *(kind() for kind in cj.laws.LAWS.values())])
def test_every_law_is_saved(law, boot, tmp_path):
    """The fields of a saved result are enough; a fit would compile the law."""
    path = dataclasses.replace(boot.point, model=law).save(tmp_path / "fit")
    assert cj.load(path).model == law


def test_a_law_of_ones_own_is_given_when_it_is_loaded(runs, boot, tmp_path):
    def mine(p, x):
        return p["E"] + p["A"] * x["params"] ** -p["alpha"]

    def made(function, name="mine"):
        kinds = {"E": cj.positive(1.7), "A": cj.positive(400.0), "alpha": cj.positive(0.3)}
        return cj.laws.from_function(function, kinds, name=name)

    law = made(mine)
    fit = dataclasses.replace(boot.point, model=law)
    path = fit.save(tmp_path / "fit")
    assert cj.load(path, law=law).model is law
    with pytest.raises(cj.UsageError, match=r"fit: law mine is a function of your own.*law=mine"):
        cj.load(path)
    with pytest.raises(cj.UsageError, match="another function"):
        cj.load(path, law=made(lambda p, x: p["E"] * x["tokens"] ** -p["alpha"] * p["A"]))


@pytest.mark.parametrize("kind", ["nothing", "text", "zip", "cut", "later", "class"])
def test_other_files_are_one_line(kind, saved, tmp_path):
    path = tmp_path / "other"
    content = saved.read_bytes()
    if kind == "text":
        path.write_text("params,tokens,loss\n")
    elif kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other.txt", "x")
    elif kind != "nothing":
        fields, _ = opened_json(zipfile.ZipFile(saved).read("result.json"))
        changes = {"later": {"version": 2}, "class": {"value": {"class": "Popen", "fields": {"args": "ls"}}}}
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as archive:
            archive.writestr("result.json", sealed_json({**fields, **changes[kind]}))
            for name in fields["tables"]:
                archive.writestr(name, old.read(name))
    with pytest.raises(cj.DataError, match=r"^[^\n]*other: [^\n]+$"):
        cj.load(path)


def test_a_changed_byte_is_noticed_or_changes_nothing(boot, saved, tmp_path):
    content, path = saved.read_bytes(), tmp_path / "flipped"
    expected = boot.to_frame()
    for place in np.random.default_rng().integers(len(content), size=40):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(place) % 8
        path.write_bytes(flipped)
        try:
            found = cj.load(path)
        except cj.DataError as error:
            assert "\n" not in str(error)
        else:
            pd.testing.assert_frame_equal(found.to_frame(), expected, check_exact=True)


def test_a_folder_that_is_not_there_is_one_line(boot, tmp_path):
    with pytest.raises(cj.UsageError, match="cannot be written"):
        boot.save(tmp_path / "none" / "boot")


def test_weights_are_those_of_the_resample(runs, boot):
    weights = boot.weights(7)
    assert weights.shape == (len(runs),)
    assert weights.sum() == len(runs)
    again = cj.bootstrap(runs, resamples=10)
    np.testing.assert_array_equal(again.weights(7), weights)
    refit = cj.fit(runs, weights=weights, starts=boot.point, objective=boot.point.objective)
    assert refit.law.alpha == pytest.approx(boot.laws.alpha[7], rel=1e-7)
    with pytest.raises(cj.UsageError, match="i is 20"):
        boot.weights(20)
    with pytest.raises(cj.UsageError, match="losses, not weights"):
        cj.bootstrap(runs, resamples=4, scheme="wild").weights(0)
