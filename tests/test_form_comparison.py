"""Comparison of forms: folds, errors against a slow reference, planted forms, sentences, figures."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import MCS

import chinchilla_jax as cj
from chinchilla_jax._util.errors import NoEstimateError, UsageError
from chinchilla_jax.analysis import FormComparison, compare_forms, objective_sensitivity
from chinchilla_jax.analysis.comparable_laws import ONLY_WHERE_NAMED, comparable_laws
from chinchilla_jax.analysis.form_store import FormParts
from chinchilla_jax.analysis.joint_limits import best_set, joint_limits
from chinchilla_jax.analysis.splits import make_splits
from chinchilla_jax.bootstrapping.schemes import Cluster, Pairs
from chinchilla_jax.fitting.problem import read_problem
from chinchilla_jax.laws import LAWS, Broken, Squared

RUNS = cj.load_runs("chinchilla")


def few(rows):
    return dataclasses.replace(
        RUNS, params=RUNS.params[rows], tokens=RUNS.tokens[rows], flops=RUNS.flops[rows], loss=RUNS.loss[rows]
    )


COMPARED_SO = {"splits": ["runs", "flops"], "folds": 2, "budgets": [8e20], "resamples": 12, "seed": 1}


@pytest.fixture(scope="module")
def comparison():
    return compare_forms(RUNS, ["equal_exponents"], **COMPARED_SO)


def stop(done):
    raise KeyboardInterrupt


def flip(path):
    content = bytearray(path.read_bytes())
    content[600] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["runs", "params"])
def test_folds_hold_every_run_out_once(kind):
    (split,) = make_splits(RUNS, kind, folds=7, seed=3)
    assert split.masks.shape == (7, 240) and (split.masks.sum(axis=0) == 1).all()
    sizes = split.masks.sum(axis=1)
    assert sizes.max() - sizes.min() <= (1 if kind == "runs" else 12)
    if kind == "params":
        members = Cluster("params").members(RUNS)
        for mask in split.masks:
            assert not set(members[mask]) & set(members[~mask])
    (other,) = make_splits(RUNS, kind, folds=7, seed=4)
    assert (other.masks != split.masks).any()


def test_default_budgets_lie_between_isoflop_curves():
    for split in make_splits(RUNS, "flops"):
        (mask,) = split.masks
        assert 0.1 < mask.mean() < 0.5
        assert RUNS.flops[~mask].max() < RUNS.flops[mask].min()
        # Nobody is cut off from a neighbour a few percent away.
        assert RUNS.flops[mask].min() / RUNS.flops[~mask].max() > 1.1


def test_errors_are_those_of_fits_to_the_other_runs(comparison):
    (split,) = make_splits(RUNS, "runs", folds=2, seed=1)
    errors = []
    for mask in split.masks:
        fit = cj.fit(few(~mask), starts=32)
        held = few(mask)
        errors.append(np.abs(np.log(fit.law.loss(held.params, held.tokens) / held.loss)))
    table = comparison.table.set_index(["split", "form"])
    assert table.loc[("2 folds of runs", "chinchilla"), "error"] == pytest.approx(
        np.concatenate(errors).mean(), rel=1e-5
    )
    above = RUNS.flops > 8e20
    fit, held = cj.fit(few(~above), starts=32), few(above)
    expected = np.abs(np.log(fit.law.loss(held.params, held.tokens) / held.loss)).mean()
    row = table.loc[("above 8e20 FLOP", "chinchilla")]
    assert row["error"] == pytest.approx(expected, rel=1e-5) and row["n_held_out"] == above.sum()


def test_the_table(comparison):
    table = comparison.table
    assert list(table["form"]) == ["chinchilla", "equal_exponents"] * 2
    reference = table[table["form"] == "chinchilla"]
    assert (reference[["difference", "low", "high"]] == 0).all(axis=None)
    for _, group in table.groupby("split"):
        own, other = group.to_dict("records")
        assert other["difference"] == pytest.approx(other["error"] - own["error"], abs=1e-15)
        assert other["low"] < other["high"] and other["n_resamples"] == 12
    # Paired: a difference is known better than either error.
    first = table.iloc[1]
    assert first["high"] - first["low"] < first["error_high"] - first["error_low"]


def test_intervals_hold_their_estimates(comparison):
    table = comparison.table
    assert comparison.method == "centred"
    assert ((table["error_low"] <= table["error"]) & (table["error"] <= table["error_high"])).all()
    assert ((table["low"] <= table["difference"]) & (table["difference"] <= table["high"])).all()
    # As wide as the others, around another place.
    given = {"splits": ["runs", "flops"], "folds": 2, "budgets": [8e20], "resamples": 12, "seed": 1}
    for method in ("basic", "percentile"):
        other = compare_forms(RUNS, ["equal_exponents"], method=method, **given).table
        assert (table["high"] - table["low"]).to_numpy() == pytest.approx(
            other["high"] - other["low"], rel=1e-9
        )
    percentile = other.iloc[1]
    row = table.iloc[1]
    # Reflected: as far above as the percentile interval reaches below its median.
    middle = percentile["high"] - (row["difference"] - row["low"])
    assert percentile["low"] < middle < percentile["high"]
    with pytest.raises(UsageError, match="interval method"):
        compare_forms(RUNS, ["equal_exponents"], method="bca", **given)


def test_laws_are_compared_whose_variables_the_runs_have():
    laws, left_out = comparable_laws(RUNS)
    assert [law.name for law in laws] == ["chinchilla", "equal_exponents", "kaplan", "broken", "gamma"]
    assert len(laws) + len(left_out) == len(LAWS)
    assert "repeated_data needs unique_tokens, which the runs do not have" in left_out
    assert all(any(why.startswith(name) for why in left_out) for name in ONLY_WHERE_NAMED)
    repeated = dataclasses.replace(RUNS, variables={"unique_tokens": RUNS.tokens / 2})
    assert "repeated_data" in [law.name for law in comparable_laws(repeated)[0]]


@pytest.mark.parametrize("planted", ["kaplan", "broken"])
@pytest.mark.slow
def test_planted_forms_win_out_of_sample(planted):
    rng = np.random.default_rng(0)
    if planted == "kaplan":  # constants of Kaplan et al. 2020
        clean = ((6.4e13 / RUNS.params) ** (0.076 / 0.103) + 1.8e13 / RUNS.tokens) ** 0.103
    else:
        law = cj.ScalingLaw(E=1.8, A=480, B=2100, alpha=0.35, beta=0.37)
        bend = np.cosh(0.5 * (np.log(RUNS.params) - np.log(RUNS.params).mean())) ** -0.5
        clean = law.E + law.A * RUNS.params**-law.alpha * bend + law.B * RUNS.tokens**-law.beta
    runs = dataclasses.replace(RUNS, loss=clean * np.exp(1e-3 * rng.standard_normal(240)))
    found = compare_forms(runs, [planted], splits=["runs"], folds=2, resamples=4, seed=1)
    row = found.table.iloc[1]
    assert row["form"] == planted and row["high"] < 0
    assert f"80% intervals put {planted} (-" in found.sentences[0] and "below it" in found.sentences[0]


def test_sentences_follow_the_numbers():
    def row(form, error, low, high, p_best):
        return {"split": "5 folds of runs", "form": form, "error": error, "difference": error - 0.01,
                "joint_low": low, "joint_high": high, "p_best": p_best}  # fmt: skip

    def said(*rows):
        table = pd.DataFrame(rows)
        return FormComparison(
            table=table, reference="chinchilla", objective=cj.Huber(), level=0.9, method="basic"
        ).sentences

    rows = [row("chinchilla", 0.01, 0, 0, 0.3), row("a", 0.02, 0.005, 0.02, 0.0),
            row("b", 0.009, -0.002, -0.0005, 1.0), row("c", 0.0101, -1e-3, 1e-3, 0.1),
            row("d", 0.01, np.nan, np.nan, np.nan)]  # fmt: skip
    start = (
        "Held out 5 folds of runs: chinchilla errs by 1% on average; 90% intervals, which hold for all 3 "
        "laws together, put b (-10.0%) below it, put a (+100.0%) above it, leave c (+1.0%) open; "
    )
    end = "; d could not be fitted often enough to say."
    assert said(*rows) == [f"{start}these runs cannot tell b and c apart{end}"]
    rows[3]["p_best"] = 0.05
    assert said(*rows) == [f"{start}b predicts best{end}"]
    # Where b is left open beside chinchilla, so is what is best, whatever the set says.
    rows[2]["joint_high"] = 0.001
    assert said(*rows)[0].endswith(f"these runs cannot tell chinchilla, b and c apart{end}")
    for each in rows[:4]:
        each["p_best"] = 0.5
    assert said(*rows)[0].endswith(f"these runs cannot tell any of them apart{end}")


def test_joint_intervals_hold_together():
    rng = np.random.default_rng(0)
    values = np.concatenate([np.zeros((1, 8)), rng.standard_normal((20_000, 8)) * np.arange(1, 9)])
    values[::7, 3] = np.nan  # some resamples have no such quantity
    values[0, 3] = 0.0
    _, high, joint_low, joint_high = joint_limits(values, 0.8, "centred")
    assert high / np.arange(1, 9) == pytest.approx(1.2816, abs=0.04)
    # The 80% quantile of the largest of eight |z|, seven in some resamples.
    assert joint_high / np.arange(1, 9) == pytest.approx(2.195, abs=0.05)
    inside = (values[1:] >= joint_low) & (values[1:] <= joint_high) | np.isnan(values[1:])
    assert inside.all(axis=1).mean() == pytest.approx(0.8, abs=0.01)
    # Of one quantity, whatever the method, they are its own.
    for method in ("centred", "basic", "percentile"):
        alone = joint_limits(np.exp(values[:, :1]), 0.8, method)
        assert alone[2:] == pytest.approx(alone[:2], rel=0.05)


def test_the_set_of_the_best_is_that_of_arch():
    rng = np.random.default_rng(3)
    common = rng.standard_normal((300, 1))
    losses = common + rng.standard_normal((300, 5)) + np.array([0.0, 0.05, 0.1, 0.2, 0.6])
    drawn = rng.multinomial(300, np.full(300, 1 / 300), size=4000) / 300
    found = best_set(np.concatenate([losses.mean(axis=0)[None], drawn @ losses]))
    theirs = MCS(losses, size=0.2, reps=4000, block_size=1, method="R", bootstrap="circular", seed=1)
    theirs.compute()
    assert found == pytest.approx(theirs.pvalues["Pvalue"].sort_index().to_numpy(), abs=0.05)
    assert found[4] < 0.01 and found.max() == 1.0


def test_the_same_law_twice_is_not_told_apart():
    rng = np.random.default_rng(1)
    one = 1 + 0.1 * rng.standard_normal(50)
    assert best_set(np.stack([one, one, one + 1], axis=1)).tolist() == [1.0, 1.0, 0.0]


def test_groups_are_held_out_in_turn():
    labels = np.array(list("abcdef"))[np.arange(240) % 6]
    runs = dataclasses.replace(RUNS, name="own", groups={"corpus": labels})
    (split,) = make_splits(runs, "corpus")
    assert split.label == "each corpus in turn" and split.masks.shape == (6, 240)
    assert all(len(set(labels[mask])) == 1 for mask in split.masks)
    found = compare_forms(runs, ["equal_exponents"], splits=["corpus"], resamples=6, objective=cj.Huber(1e-3))
    # Whole groups are resampled: the score of each resample is a mean over six at most.
    errors = found.scores["each corpus in turn"]["chinchilla"]
    assert np.isfinite(errors).all() and found.table["n_held_out"].tolist() == [240, 240]
    many = dataclasses.replace(runs, groups={"corpus": np.arange(240) // 6})
    (split,) = make_splits(many, "corpus", folds=5)
    assert split.label == "5 folds of groups of corpus" and len(split.masks) == 5
    three = dataclasses.replace(RUNS, name="own", groups={"corpus": np.arange(240) % 3})
    warned = compare_forms(
        three, ["equal_exponents"], splits=["corpus"], resamples=3, objective=cj.Huber(1e-3)
    ).warnings
    assert any("3 groups of corpus are too few to resample" in each for each in warned)


def test_every_pair_has_an_interval(comparison):
    pairs, table = comparison.pairs, comparison.table
    assert pairs[["form", "other"]].drop_duplicates().to_numpy().tolist() == [
        ["chinchilla", "equal_exponents"]
    ]
    others = table[table["form"] == "equal_exponents"]
    assert pairs["difference"].to_numpy() == pytest.approx(-others["difference"], abs=1e-15)
    assert pairs["low"].to_numpy() == pytest.approx(-others["high"], abs=1e-12)


@pytest.mark.slow
def test_the_reference_is_a_law_that_the_runs_determine():
    runs = cj.Runs(RUNS.params, np.full(240, 1e10), loss=1.7 + 400 * RUNS.params**-0.3 + RUNS.loss / 100)
    found = compare_forms(runs, ["compute_only"], splits=["runs"], folds=2, resamples=3)
    assert found.reference == "compute_only" and found.table["form"].tolist() == ["compute_only"]
    assert found.left_out[0].startswith("chinchilla has no certified fit to all runs (UNIDENTIFIED)")
    with pytest.raises(NoEstimateError, match="chinchilla"):
        compare_forms(runs, ["compute_only"], reference="chinchilla", splits=["runs"], folds=2, resamples=3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"splits": ["rows"]}, "unknown split"),
        ({"splits": []}, "no splits"),
        ({"folds": 1}, "at least 2"),
        ({"splits": ["runs"], "folds": 300}, "240 runs do not make 300 folds"),
        ({"splits": ["params"], "folds": 60}, "model sizes do not make 60 folds"),
        ({"splits": ["flops"], "budgets": [1e30]}, "no run lies above"),
        ({"splits": ["flops"], "budgets": [-1.0]}, "budgets: 1 of 1 not positive and finite"),
        ({"splits": ["flops"], "budgets": [1.001 * np.sort(RUNS.flops)[3]]}, "a part has 4 runs"),
        ({"method": "bca"}, "unknown interval method"),
        ({"level": 80}, "between 0 and 1"),
        ({"weights": np.where(np.arange(240) < 6, 1.0, 0.0)}, "a part has"),
        ({"forms": [Broken(), Broken(sharpness=0.5)]}, "two forms have one name"),
    ],
)
def test_mistakes_cost_one_line(given, message):
    with pytest.raises(UsageError, match=message) as caught:
        compare_forms(RUNS, **({"forms": ["kaplan"], "resamples": 2} | given))
    assert "\n" not in str(caught.value)


def test_one_size_makes_no_folds():
    with pytest.raises(UsageError, match="1 model sizes do not make 2 folds"):
        compare_forms(few(np.full(20, 3)), splits=["params"], folds=2, resamples=2)


def test_a_comparison_that_is_stopped_damaged_or_extended_ends_with_the_same_table(comparison, tmp_path):
    first = COMPARED_SO | {"splits": ["runs"]}
    with pytest.raises(KeyboardInterrupt):
        compare_forms(RUNS, ["equal_exponents"], out=tmp_path, progress=stop, **first)
    (kept,) = tmp_path.glob("runs-chinchilla-*.parquet")
    stamp = kept.stat().st_mtime_ns

    def complete():
        found = compare_forms(RUNS, ["equal_exponents"], out=tmp_path, **COMPARED_SO)
        pd.testing.assert_frame_equal(found.table, comparison.table)
        assert found.sentences == comparison.sentences and found.warnings == comparison.warnings

    complete()
    assert kept.stat().st_mtime_ns == stamp and len(list(tmp_path.glob("*.parquet"))) == 4
    flip(kept)
    with pytest.warns(cj.DataWarning, match=f"{kept.name}: damaged, will be recomputed"):
        complete()
    with pytest.raises(UsageError, match=r"another forms run .resamples is 12 there and 13 here"):
        compare_forms(RUNS, ["equal_exponents"], out=tmp_path, **COMPARED_SO | {"resamples": 13})


def test_scores_of_a_law_that_has_changed_under_its_name_are_not_taken(tmp_path):
    (split,) = make_splits(RUNS, "flops", budgets=[8e20])
    before, after = (read_problem("", RUNS, Broken(sharpness=sharpness), "huber") for sharpness in (1.0, 0.5))
    parts = FormParts(tmp_path, {})
    kept = parts.take(split, Pairs(), before, lambda: np.arange(3.0))
    assert parts.take(split, Pairs(), before, lambda: pytest.fail("computed again")).tolist() == kept.tolist()
    with pytest.warns(cj.DataWarning, match="law broken has changed since"):
        assert parts.take(split, Pairs(), after, lambda: np.ones(3)).tolist() == [1, 1, 1]
    assert parts.take(split, Cluster("params"), after, lambda: np.zeros(3)).tolist() == [0, 0, 0]


def test_objectives_side_by_side(tmp_path):
    asked = {"deltas": (1e-3, 1.0), "others": (Squared(),), "flops": [1e22], "resamples": 50, "seed": 2}
    table = objective_sensitivity(RUNS, **asked)
    with pytest.raises(KeyboardInterrupt):
        objective_sensitivity(RUNS, out=tmp_path, progress=stop, **asked)
    (kept,) = tmp_path.glob("huber-*.parquet")
    flip(kept)
    with pytest.warns(cj.DataWarning, match=f"{kept.name}: damaged, will be recomputed"):
        again = objective_sensitivity(RUNS, out=tmp_path, **asked)
    pd.testing.assert_frame_equal(again, table)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    again = objective_sensitivity(RUNS, out=tmp_path, **asked)
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs == table.attrs and len(stamps) == 3
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    with pytest.raises(UsageError, match=r"another objectives run .level is 0.8 there and 0.9 here"):
        objective_sensitivity(RUNS, out=tmp_path, level=0.9, **asked)
    assert len(table) == 3 * 6 and (table["status"] == "CONVERGED").all()
    boot = cj.bootstrap(RUNS, resamples=50, seed=2)
    ours = table[(table["delta"] == 1e-3) & (table["quantity"] == "tokens_per_param")].iloc[0]
    band = boot.tokens_per_param([1e22]).iloc[0]
    assert (ours["low"], ours["high"]) == pytest.approx((band["low"], band["high"]), rel=1e-6)
    # No residual is as large as 1: that delta is least squares.
    wide, squared = (table[table["delta"] == 1.0], table[table["objective"] == "squared"])
    assert wide["estimate"].to_numpy() == pytest.approx(squared["estimate"].to_numpy(), rel=1e-6)
    with pytest.raises(UsageError, match="no others"):
        objective_sensitivity(RUNS, deltas=(), others=())
