"""What a notebook needs of results: the runs behind them, tables that show themselves, save and load."""

import dataclasses
import inspect
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj
from chinchilla_jax import analysis
from chinchilla_jax._util.sealed_json import opened_json, sealed_json
from chinchilla_jax.datasets.load import Reading
from chinchilla_jax.planning.design.targets import read_targets


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


def test_an_objective_of_ones_own_is_given_when_it_is_loaded(boot, tmp_path):
    mine = cj.objective_from_function(lambda z: z**2 / 2, name="mine")
    used = dataclasses.replace(mine, scale=0.01, automatic=True)
    path = dataclasses.replace(boot.point, objective=used).save(tmp_path / "fit")
    assert cj.load(path, objective=mine).objective == used
    with pytest.raises(cj.UsageError, match=r"fit: objective mine is a function of your own.*objective=mine"):
        cj.load(path)
    other = cj.objective_from_function(lambda z: z**2 / 3, name="mine")
    with pytest.raises(cj.UsageError, match="another function"):
        cj.load(path, objective=other)
    with pytest.raises(cj.UsageError, match="boot: it holds no objective of your own; leave out objective="):
        cj.load(boot.save(tmp_path / "boot"), objective=mine)


@pytest.mark.parametrize("path", [3, None, "s3://bucket/boot"])
def test_what_is_no_path_of_this_machine_is_one_line(path, boot):
    for use in (boot.save, cj.load):
        with pytest.raises(cj.UsageError, match="give the path of a file"):
            use(path)


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


def test_what_the_user_gave_to_a_scheme_is_saved_or_one_line(boot, runs, tmp_path):
    labels = pd.Series(["a", "b"] * 120)
    made = dataclasses.replace(boot, scheme=cj.Cluster(labels=labels))
    assert list(cj.load(made.save(tmp_path / "boot")).scheme.labels) == list(labels)

    class Mine(cj.Pairs):
        pass

    with pytest.raises(cj.UsageError, match="Mine is a class of your own, which cannot be saved"):
        dataclasses.replace(boot, scheme=Mine()).save(tmp_path / "mine")


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


TAKES_TABLES = {
    "fit": lambda table: cj.fit(table, starts=16, delta=1e-3),
    "bootstrap": lambda table: cj.bootstrap(table, resamples=8, delta=1e-3),
    "plan": lambda table: cj.plan(table, 1e21),
    "predict": lambda table: cj.predict(table, {"flops": 1e21}),
    "isoflop": lambda table: cj.decide.isoflop(table, budgets=[6e18, 1e19, 3e19, 6e19], resamples=8),
    "influence": lambda table: analysis.influence(table, delta=1e-3),
}


@pytest.mark.parametrize("name", TAKES_TABLES)
def test_questions_take_a_table_in_memory(name, runs):
    TAKES_TABLES[name](runs.to_frame())
    with pytest.raises(cj.UsageError, match="cannot read 3, of type int; give an embedded name, a path"):
        TAKES_TABLES[name](3)


def test_keywords_of_load_runs_say_how_a_table_is_read(runs):
    """`Reading` lists them, for type checkers."""
    keywords = inspect.signature(cj.load_runs).parameters
    assert set(Reading.__annotations__) == set(keywords) - {"source"}
    table = runs.to_frame().rename(columns={"loss": "zz"})
    fit = cj.fit(table, starts=16, delta=1e-3, columns={"loss": "zz"}, drop_highest_loss=3)
    assert fit.n_runs == len(runs) - 3
    with pytest.raises(cj.UsageError, match="columns say how a table is read, and Runs are read already"):
        cj.fit(runs, columns={"loss": "zz"})
    with pytest.raises(
        cj.UsageError, match="unknown argument of fit or load_runs 'colums'; did you mean 'columns'"
    ):
        cj.fit(table, colums={"loss": "zz"})


def test_a_plan_takes_a_fit_and_budgets_by_position(runs):
    fit = cj.fit(runs, "chinchilla", objective="huber", delta=1e-3)
    made = cj.plan(fit, [1e21, 1e22])
    assert made.sample.runs is runs
    pd.testing.assert_frame_equal(
        made.table, cj.plan(cj.bootstrap(runs, delta=1e-3, point=fit), flops=[1e21, 1e22]).table
    )
    with pytest.raises(cj.UsageError, match="exactly one of flops, params, tokens, loss; found none"):
        cj.plan(fit)
    with pytest.raises(cj.UsageError, match="does not carry its runs"):
        cj.plan(dataclasses.replace(fit, runs=None), 1e21)


def test_intervals_are_found_by_parameter(boot):
    table = boot.interval()
    assert table.loc["alpha", "low"] < table.loc["alpha", "estimate"] < table.loc["alpha", "high"]
    assert boot.standard_errors().loc["beta", "standard_error"] > 0
    assert list(table.set_index("parameter").index) == list(table.index) == list(boot.point.parameters)
    assert len(boot.tokens_per_param(1e21)) == 1


def test_reprs_are_short_and_cards_are_safe(boot, runs):
    hostile = dataclasses.replace(runs, name="<script>alert(1)</script>", groups={"<b>": ["<i>"] * len(runs)})
    planned = cj.plan(boot, [1e21, 1e22, 1e23, 1e24])
    shown = (
        hostile,
        cj.fit(hostile, starts=16),
        boot,
        planned,
        cj.plan(boot, loss=2.1),
        cj.predict(boot, {"flops": np.geomspace(1e20, 1e24, 30)}),
        cj.compare(
            hostile.take(np.arange(120)),
            runs.take(np.arange(120, 240)),
            names=["<b>a</b>", "b"],
            resamples=20,
        ),
    )
    for each in shown:
        assert len(repr(each)) < 330 and "\n" not in repr(each)
        html = each._repr_html_()
        assert len(html) < 8000
        tags = set(re.findall(r"<(\w+)", html))
        assert tags <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
        assert set(re.findall(r'\w+="[^"]*"', html)) <= {
            'style="text-align: left"',
            'style="text-align: right"',
        }
    assert "and 18 more rows" in shown[5]._repr_html_()
    assert "alpha=0.3473 " in repr(boot)
    assert "\u03b1" in boot._repr_html_() and "0.3473" in boot._repr_html_()
    assert "2.792B" in planned._repr_html_()
    failed = dataclasses.replace(boot.point, status=cj.Status.UNIDENTIFIED)
    assert "no estimate" in failed._repr_html_() and "0.3473" not in failed._repr_html_()
    assert "no estimate" in dataclasses.replace(boot, point=failed)._repr_html_()
    jackknife = cj.bootstrap(runs.take(np.arange(60)), delta=0.01, scheme="jackknife")
    assert "standard error" in jackknife._repr_html_() and "low" not in jackknife._repr_html_()


def test_targets_without_a_budget_are_asked_at_every_one():
    found = read_targets(["tokens_per_param", "alpha", "loss@1e21"], cj.laws.CHINCHILLA, [1e22, 1e23], False)
    assert [each.text for each in found] == [
        "tokens_per_param@1e+22",
        "tokens_per_param@1e+23",
        "alpha",
        "loss@1e+21",
    ]


def test_keywords_of_load_runs_are_for_all_tables_of_a_comparison(runs):
    tables = [
        runs.take(np.arange(start, 240, 2)).to_frame().rename(columns={"loss": "zz"}) for start in (0, 1)
    ]
    found = cj.compare(*tables, names=["a", "b"], columns={"loss": "zz"}, resamples=20, delta=0.01)
    assert [len(each) for each in found.runs.values()] == [120, 120]
    with pytest.raises(cj.UsageError, match="columns say how a table is read"):
        cj.compare(tables[0], runs, columns={"loss": "zz"})
