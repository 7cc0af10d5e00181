"""Published fits beside ours: the figures, their objective by an independent formula, and what is kept."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.special
from scripts import loaded

import chinchilla_jax as cj

FOLDER = Path(__file__).parents[1] / "experiments" / "atlas" / "published_fits"


@pytest.fixture(scope="module")
def published():
    return pd.read_csv(FOLDER / "published.csv")


@pytest.fixture(scope="module")
def comparison():
    return pd.read_csv(FOLDER / "comparison.csv")


@pytest.fixture(scope="module")
def beside():
    return loaded(FOLDER / "beside.py")


def test_every_published_fit_is_compared_and_has_a_source(published, comparison):
    assert set(published["fit"]) <= set(comparison["fit"])
    assert published["source"].notna().all()
    assert set(published["kind"]) == {"primary", "secondary", "their code"}


def test_their_figures_are_those_published(published, comparison):
    both = comparison.merge(published, on=["fit", "quantity"])
    # Printed rounded; the parameters beside it give it to all digits.
    both = both[(both["fit"] != "hoffmann") | (both["quantity"] != "exponent of N")]
    assert len(both) > 100
    np.testing.assert_allclose(both["theirs"], both["value"], rtol=6e-5)


def test_our_objective_is_never_above_theirs(comparison):
    rows = comparison[comparison["quantity"].isin(["objective", "cost", "sum of absolute residuals"])]
    assert len(rows) >= 14
    assert (rows["ours"] <= rows["theirs"] * (1 + 1e-9)).all()


@pytest.mark.parametrize("delta", ["1e-4", "1e-3"])
@pytest.mark.parametrize("ending", ["", ", no input embedding"])
def test_rows_and_objective_of_gemstones_give_the_published_objective(beside, published, delta, ending):
    theirs = beside.of(published, f"gemstones, delta {delta}{ending}")
    column = "params_without_input_embedding" if ending else "params"
    runs = cj.load_runs("gemstones", columns={"params": column})
    terms = theirs["A"] * runs.params ** -theirs["alpha"] + theirs["B"] * runs.tokens ** -theirs["beta"]
    residuals = np.log(theirs["E"] + terms) - np.log(runs.loss)
    value = scipy.special.huber(float(delta), residuals).sum()
    assert value == pytest.approx(theirs["objective"], rel=1e-6)


@pytest.mark.parametrize(
    ("theirs", "ours", "downhill", "says"),
    [
        (1.0, 1.0, 1.0, "our optimum"),
        (1.0057, 1.0, 1.0, "no minimum: 0.57% above our optimum, which lies downhill"),
        (6.4, 1.0, 1.0, "no minimum: 6.4 times our optimum, which lies downhill"),
        (1.0014, 1.0, 1.0013, "another minimum, 0.13% above ours; as printed 0.14% above"),
    ],
)
def test_verdict_says_what_their_parameters_are(beside, theirs, ours, downhill, says):
    assert beside.verdict(theirs, ours, downhill) == says


def test_fits_that_are_not_run_again_are_kept(beside, comparison, tmp_path):
    path = tmp_path / "comparison.csv"
    beside.write(comparison, path)
    again = pd.DataFrame([beside.row("quest", "cost", 1.0, 2.0)], columns=beside.COLUMNS)
    beside.write(again, path)
    kept = pd.read_csv(path)
    assert kept[kept["fit"] == "quest"][["theirs", "ours"]].to_numpy(float).tolist() == [[1.0, 2.0]]
    others = comparison[comparison["fit"] != "quest"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept[kept["fit"] != "quest"].reset_index(drop=True), others)


def test_what_is_kept_keeps_its_digits(beside, tmp_path):
    path, before = tmp_path / "comparison.csv", (FOLDER / "comparison.csv").read_text()
    path.write_text(before)
    beside.write(pd.DataFrame([beside.row("quest", "cost", 1.0, 2.0)], columns=beside.COLUMNS), path)
    others = [line for line in before.splitlines() if not line.startswith("quest,")]
    assert path.read_text().splitlines() == [*others, "quest,cost,1,2,,,,"]


def test_a_row_says_whether_theirs_is_within_the_interval(beside):
    draws = np.append(np.linspace(0, 1, 101), math.nan)
    assert beside.row("fit", "alpha", 0.5, 0.4, draws)["inside"] == "yes"
    assert beside.row("fit", "alpha", 0.95, 0.4, draws)["inside"] == "no"
    assert beside.row("fit", "alpha", 0.95, 0.4)["inside"] == ""
