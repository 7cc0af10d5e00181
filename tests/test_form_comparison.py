"""Comparison of forms: folds, errors against a slow reference, planted forms, sentences, figures."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis import FormComparison, compare_forms, objective_sensitivity
from chinchilla_jax.analysis.form_comparison import COMPARED
from chinchilla_jax.analysis.splits import make_splits
from chinchilla_jax.bootstrapping.schemes import Cluster
from chinchilla_jax.laws import STANDARD, Broken, Squared

RUNS = cj.load_runs("chinchilla")


def few(rows):
    return dataclasses.replace(
        RUNS, params=RUNS.params[rows], tokens=RUNS.tokens[rows], flops=RUNS.flops[rows], loss=RUNS.loss[rows]
    )


@pytest.fixture(scope="module")
def comparison():
    return compare_forms(
        RUNS, ["equal_exponents"], splits=["runs", "flops"], folds=2, budgets=[8e20], resamples=12, seed=1
    )


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
    row = table.loc[("above 8e+20 FLOP", "chinchilla")]
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


@pytest.mark.slow
def test_an_irreducible_loss_is_fixed_only_where_asked():
    assert "fixed_floor" not in COMPARED and set(STANDARD) - set(COMPARED) == {"fixed_floor"}
    found = compare_forms(RUNS, splits=["flops"], budgets=[8e20], resamples=2)
    assert found.table["form"].tolist() == ["chinchilla", "equal_exponents", "kaplan", "broken"]


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
    def row(form, error, difference, low, high):
        return {"split": "5 folds of runs", "form": form, "error": error, "difference": difference,
                "low": low, "high": high}  # fmt: skip

    rows = [row("chinchilla", 0.01, 0, 0, 0), row("a", 0.02, 0.01, 0.005, 0.02),
            row("b", 0.009, -0.001, -0.002, -0.0005), row("c", 0.0101, 1e-4, -1e-3, 1e-3),
            row("d", 0.01, 0.0, np.nan, np.nan)]  # fmt: skip
    found = FormComparison(
        table=pd.DataFrame(rows), reference="chinchilla", objective=cj.Huber(), level=0.9, method="basic"
    )
    assert found.sentences == [
        "Held out 5 folds of runs: chinchilla errs by 1% on average; 90% intervals put b (-10.0%) below it, "
        "put a (+100.0%) above it, leave c (+1.0%) open; d could not be fitted often enough to say."
    ]


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


def test_objectives_side_by_side():
    table = objective_sensitivity(
        RUNS, deltas=(1e-3, 1.0), others=(Squared(),), flops=[1e22], resamples=50, seed=2
    )
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
