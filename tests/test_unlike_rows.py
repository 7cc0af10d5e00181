"""Runs that do not follow one law: found by a column that explains residuals, said by fits and studies."""

import dataclasses
import shlex

import numpy as np
import pandas as pd
import pytest
from test_cli import done, strict_json

import chinchilla_jax as cj
from chinchilla_jax.fitting.unlike_rows import explaining_columns
from chinchilla_jax.planning.recipes import split_recipes

LAW = cj.ScalingLaw(E=1.7, A=400.0, B=900.0, alpha=0.34, beta=0.31)
PLACES = [(n, d) for n in np.geomspace(3e7, 3e9, 6) for d in np.geomspace(1e9, 1e11, 5)]
SIZES, LENGTHS = (np.array(each) for each in zip(*PLACES, strict=True))


def corpora(gap, *, seed=0, alpha=LAW.alpha, noise=0.005):
    """Three corpora at the same places: the second's losses are higher, the third's have another slope."""
    rng = np.random.default_rng(seed)
    parts = []
    for i, name in enumerate(("c4", "pile", "web")):
        law = dataclasses.replace(LAW, alpha=alpha) if i == 2 else LAW
        losses = law.loss(SIZES, LENGTHS) * np.exp(rng.normal(0, noise, len(SIZES)) + gap * (i == 1))
        parts.append(pd.DataFrame({"params": SIZES, "tokens": LENGTHS, "loss": losses, "corpus": name}))
    table = pd.concat(parts, ignore_index=True)
    table["width"] = np.round(np.sqrt(table["params"] / 100)).astype(int)
    table["seed"] = rng.integers(0, 4, len(table))
    table["loss_other"] = table["loss"].round(1)
    return table


def named(runs, starts=32):
    return [
        each.column for each in explaining_columns(runs, cj.fit(runs, starts=starts, delta=0.005).residuals)
    ]


def test_corpora_that_are_fitted_as_one_law_are_named_with_what_they_explain():
    runs = cj.load_runs(corpora(0.02))
    fit = cj.fit(runs, starts=32, delta=0.005)
    assert fit.status.certified
    (said,) = fit.warnings
    assert said.startswith("column 'corpus' explains ") and "--where \"corpus == 'c4'\"" in said
    assert said.endswith("or compare them, with compare --by corpus")
    (found,) = explaining_columns(runs, fit.residuals)
    assert f"{found.share:.0%}" in said and found.n_labels == 3
    # The share by slow, obvious code: adjusted R^2 of one mean for each corpus, beyond a common slope.
    frame = pd.DataFrame({"e": fit.residuals, "corpus": runs.labels["corpus"]})
    means = frame.groupby("corpus")["e"].transform("mean")
    assert found.share == pytest.approx(1 - ((frame["e"] - means).var() / frame["e"].var()), abs=0.06)
    assert said in cj.bootstrap(runs, resamples=4, delta=0.005).warnings
    alone = cj.fit(cj.load_runs(corpora(0.02), where="corpus == 'c4'"), starts=32, delta=0.005)
    assert not any("explains" in each for each in alone.warnings)


@pytest.mark.parametrize("column", ["corpus", "data set", "eval/split"])
@pytest.mark.parametrize("labels", [("a", "b", "c"), ("it's", 'so "so"', "$HOME `ls`"), ("1", "2.5", "")])
def test_the_option_that_is_proposed_works_to_the_letter(column, labels):
    table = corpora(0.02).drop(columns=["seed", "loss_other"])
    table[column] = table.pop("corpus").map(dict(zip(("pile", "c4", "web"), labels, strict=True)))
    (said,) = cj.fit(cj.load_runs(table), starts=16, delta=0.005).warnings
    words = shlex.split(said[said.index("--where") : said.index(" (where=")])
    runs = cj.load_runs(table, where=words[1])
    assert words[0] == "--where" and len(words) == 2 and len(runs) == 30


def test_another_exponent_is_found_where_the_means_agree():
    assert named(cj.load_runs(corpora(0.0, alpha=0.31, noise=0.002))) == ["corpus"]


def test_runs_of_one_law_are_not_told_apart():
    runs, rng = cj.load_runs(corpora(0.0)), np.random.default_rng(1)
    false = [explaining_columns(runs, rng.standard_t(3, len(runs))) for _ in range(300)]
    assert sum(map(bool, false)) <= 3


def test_columns_that_follow_from_size_or_are_results_are_not_named():
    table = corpora(0.0)
    table["loss"] *= np.where(table["width"] == table["width"].max(), 1.02, 1.0)  # one size fits badly
    runs = cj.load_runs(table)
    assert "width" in runs.labels and "loss_other" not in runs.labels
    assert "width" not in named(runs)


def test_a_study_notes_it_for_the_unperturbed_runs(tmp_path):
    path = tmp_path / "runs.csv"
    corpora(0.02).to_csv(path, index=False)
    spec = cj.StudySpec(
        data=str(path), resamples=4, flops=[1e20], sweeps=[{"family": "multiplicative", "values": [2.0]}]
    )
    study = cj.run_study(spec, tmp_path / "out", figures=False, progress=None)
    (note,) = [each for each in study.info["notes"] if "explains" in each["note"]]
    assert note["condition"] == "identity" and "column 'corpus'" in note["note"]


def test_cells_of_any_kind_are_labels_or_none():
    table = corpora(0.0)
    table["tags"] = [np.arange(i % 3) for i in range(len(table))]
    table["note"] = [None if i % 2 else float("nan") for i in range(len(table))]
    labels = cj.load_runs(table.assign(lists=[[i % 2] for i in range(len(table))])).labels
    assert set(labels["tags"]) == {"[]", "[0]", "[0 1]"} and set(labels["lists"]) == {"[0]", "[1]"}
    assert "note" not in labels  # nothing in any cell


def test_repeats_and_checkpoints_are_said_when_a_table_is_read(tmp_path):
    said = cj.load_runs(corpora(0.02)).source.notes[-1]
    assert said.startswith(
        "90 rows are of 30 configurations, the same params and tokens, and differ in 'corpus'"
    )
    frame = corpora(0.02).query("corpus == 'c4'").drop(columns="loss_other")
    assert cj.load_runs(frame).source.notes == ()
    frame = frame.assign(run=[f"run-{n:g}" for n in frame["params"]])
    (said,) = cj.load_runs(frame).source.notes
    assert said == "rows look like checkpoints of 6 runs (column 'run'); --final keeps the last of each"
    path = tmp_path / "runs.csv"
    frame.to_csv(path, index=False)
    assert said in strict_json(done("fit", str(path), "--starts", "4", "--json"))["data"]["read"]["notes"]


def test_recipes_of_one_table_repeat_each_other_without_a_word():
    table = corpora(0.02).drop(columns=["seed", "loss_other"])
    assert not any(part.source.notes for part in split_recipes(cj.load_runs(table), "corpus").values())
    twice = pd.concat([table.assign(trial=1), table.assign(trial=2, loss=table["loss"] * 1.01)])
    for part in split_recipes(cj.load_runs(twice), "corpus").values():
        (said,) = part.source.notes
        assert said.startswith("60 rows are of 30 configurations") and "differ in 'trial'" in said
        assert "--best-of params,tokens,corpus keeps the best" in said
    kept = cj.load_runs(twice, best_of=("params", "tokens", "corpus"))
    assert [len(part) for part in split_recipes(kept, "corpus").values()] == [30, 30, 30]


def test_what_is_explained_depends_on_neither_the_order_of_rows_nor_the_names_of_labels():
    table, rng = corpora(0.02), np.random.default_rng(5)
    residuals = rng.normal(0, 0.01, len(table)) + 0.02 * (table["corpus"] == "pile").to_numpy()
    (found,) = explaining_columns(cj.load_runs(table), residuals)
    order = rng.permutation(len(table))
    shuffled = table.iloc[order].assign(corpus=lambda t: t["corpus"].map({"c4": 3, "pile": 1, "web": 2}))
    (again,) = explaining_columns(cj.load_runs(shuffled), residuals[order])
    assert again.column == found.column and again.share == pytest.approx(found.share, rel=1e-9)
    assert again.p == pytest.approx(found.p, rel=1e-6)
