"""`cj.compare`: multipliers against root finding, pairing, sharing, what is refused, the command."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import chinchilla_jax as cj
from chinchilla_jax.cli import choices, main
from chinchilla_jax.laws import read_law
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024 as TRUTH
from chinchilla_jax.planning.multipliers import (
    Frontier,
    first_crossing,
    log_multiplier,
    log_multiplier_at_ratio,
    log_multiplier_at_size,
    require_frontier,
)
from chinchilla_jax.planning.recipe_ranking import _likely
from chinchilla_jax.planning.recipe_sharing import SHARED
from chinchilla_jax.planning.recipe_tables import Frontiers, crossing_table, curve_table, multiplier_table
from chinchilla_jax.planning.recipes import is_compute_only, load_recipe
from chinchilla_jax.planning.searched_frontier import SearchedFrontier

SAVED = 2.0  # how many times the compute B saves
GAMMA = TRUTH.alpha * TRUTH.beta / (TRUTH.alpha + TRUTH.beta)
BETTER = cj.ScalingLaw(
    E=TRUTH.E,
    A=TRUTH.A * SAVED**-GAMMA,
    B=TRUTH.B * SAVED**-GAMMA,
    alpha=TRUTH.alpha,
    beta=TRUTH.beta,
)
OTHER = cj.ScalingLaw(E=1.75, A=300.0, B=1500.0, alpha=0.31, beta=0.34)


def planted(law, seed, *, noise=0.004, common=None, name="", shift=1.0):
    """36 runs on six budgets, with errors of their own and perhaps common ones."""
    flops, ratio = np.meshgrid(np.geomspace(1e18, 1e21, 6), np.geomspace(4, 100, 6))
    params = shift * np.sqrt(flops / 6 / ratio).ravel()
    tokens = params * ratio.ravel()
    errors = noise * np.random.default_rng(seed).standard_normal(len(params))
    errors = errors if common is None else errors + common
    return cj.Runs(params=params, tokens=tokens, loss=law.loss(params, tokens) * np.exp(errors), name=name)


@pytest.fixture(scope="module")
def compared():
    return cj.compare(
        planted(TRUTH, 2), planted(BETTER, 3), names=["old", "new"], flops=[1e20, 1e22], resamples=200,
        places=[(1e9, 2e10)], level=0.98,
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    for name, law in (("old", TRUTH), ("new", BETTER), ("other", OTHER)):
        frame = planted(law, len(name)).to_frame()[["params", "tokens", "loss"]]
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_the_multiplier_is_the_root_of_its_definition():
    """L_a*(m C) = L_b*(C), by SciPy on the laws' own optimum; at a fixed run likewise."""
    for a, b in ((TRUTH, OTHER), (OTHER, TRUTH), (TRUTH, BETTER)):
        for flops in (1e19, 1e22):
            goal = b.loss(*b.optimal(flops))
            if goal <= a.E:
                continue
            root = optimize.brentq(lambda x, a=a, goal=goal: a.loss(*a.optimal(np.exp(x))) - goal, 20, 90)
            found = log_multiplier(Frontier.of(a), Frontier.of(b), np.log([flops]))[0]
            assert found == pytest.approx(root - np.log(flops), abs=1e-8)
    params, tokens = np.array([1e9]), np.array([2e10])
    goal = OTHER.loss(1e9, 2e10)
    root = optimize.brentq(lambda t: TRUTH.loss(1e9 * np.exp(t / 2), 2e10 * np.exp(t / 2)) - goal, -9, 9)
    assert log_multiplier_at_ratio(TRUTH, OTHER, params, tokens)[0] == pytest.approx(root, abs=1e-8)
    root = optimize.brentq(lambda t: TRUTH.loss(1e9, 2e10 * np.exp(t)) - goal, -9, 9)
    assert log_multiplier_at_size(TRUTH, OTHER, params, tokens)[0] == pytest.approx(root, abs=1e-8)


def test_what_a_never_reaches_is_infinite():
    low = cj.ScalingLaw(E=1.0, A=TRUTH.A, B=TRUTH.B, alpha=TRUTH.alpha, beta=TRUTH.beta)
    at = np.log([1e25])
    assert log_multiplier(Frontier.of(TRUTH), Frontier.of(low), at)[0] == np.inf
    places = np.array([1e12]), np.array([1e14])
    assert log_multiplier_at_ratio(TRUTH, low, *places)[0] == np.inf
    assert log_multiplier_at_size(TRUTH, low, *places)[0] == np.inf


def test_a_crossing_is_where_the_losses_agree():
    grid = np.log(np.geomspace(1e17, 1e26, 400))
    curve = log_multiplier(Frontier.of(TRUTH), Frontier.of(OTHER), grid)
    at = first_crossing(curve[None], grid)[0]
    losses = [Frontier.of(law).loss(np.array([at]))[0] for law in (TRUTH, OTHER)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert np.isnan(first_crossing(np.ones((1, 400)), grid)[0])
    assert np.isfinite(first_crossing(np.array([[-1.0, np.inf, np.inf]]), grid[:3])[0])
    assert first_crossing(np.array([[1.0, 0.0, -1.0]]), grid[:3])[0] == grid[1]
    assert np.isnan(first_crossing(np.zeros((1, 3)), grid[:3])[0])


def test_compute_of_recipes_is_6nd_and_it_is_said():
    old, new = planted(TRUTH, 2), planted(BETTER, 3)
    own = cj.Runs(params=new.params, tokens=new.tokens, flops=7.8 * new.params * new.tokens, loss=new.loss)
    quick = {"names": ["old", "new"], "resamples": 10, "objective": "squared"}
    found, plain = cj.compare(old, own, **quick), cj.compare(old, new, **quick)
    pd.testing.assert_frame_equal(found.table, plain.table)
    assert found.doubts == plain.doubts
    said = "compute is 6 N D here, budgets too: the FLOP of 'new', 1.3 to 1.3 times that, are not used"
    assert said in found.warnings
    assert not any("6 N D" in each for each in plain.warnings)
    assert found.along_6nd


def test_a_crossing_that_its_resamples_leave_out_is_doubted():
    draws = {"E": np.full(20, 1.7), "log_k": np.linspace(4.0, 4.1, 20), "gamma": np.full(20, 0.15)}
    steeper = {**draws, "log_k": draws["log_k"] + 2.4, "gamma": draws["gamma"] + 0.05}  # cross at e^48
    points = [{name: values[0] for name, values in each.items()} for each in (draws, steeper)]
    points[1]["log_k"] = points[0]["log_k"] + 2.2  # and the estimate at e^44
    found = Frontiers(
        points=dict(zip("ab", (Frontier(**each) for each in points), strict=True)),
        draws={"a": Frontier(**draws), "b": Frontier(**steeper)},
        warnings=(),
    )
    budgets = np.geomspace(1e17, 1e24, 41)
    assert "leaves out the estimate" in crossing_table(found, budgets, 0.8)["doubt"].iloc[0]
    points[1]["log_k"] = points[0]["log_k"] + 2.4
    held = dataclasses.replace(found, points={"a": found.points["a"], "b": Frontier(**points[1])})
    assert crossing_table(held, budgets, 0.8)["doubt"].tolist() == [""]


def test_the_table_says_what_was_planted(compared):
    table = compared.table
    assert list(table.columns[:5]) == ["recipe", "flops", "multiplier", "low", "high"]
    inside = table.iloc[0]
    assert inside["low"] < SAVED < inside["high"]
    assert inside["low"] > 1.5
    assert (table["adjusted_low"] <= table["low"]).all()
    assert (table["adjusted_high"] >= table["high"]).all()
    assert (table["better"] > 0.95).all()
    assert compared.doubts == ["", "beyond both tables"]
    assert np.allclose(table["difference"], table["loss"] - table["baseline_loss"])
    curve = compared.curve
    assert (curve["band_low"] <= curve["low"]).all()
    assert (curve["band_high"] >= curve["high"]).all()
    place = compared.places.iloc[0]
    assert place["same_ratio_low"] < SAVED < place["same_ratio_high"]
    assert "new at 1e20 FLOP: better than old" in compared.sentences[0]


def test_the_baseline_turns_multipliers_round(compared):
    turned = cj.compare(
        planted(TRUTH, 2),
        planted(BETTER, 3),
        names=["old", "new"],
        flops=[1e20],
        resamples=200,
        baseline="new",
    )
    assert turned.table["recipe"].tolist() == ["old"]
    assert turned.table["multiplier"][0] * compared.table["multiplier"][0] == pytest.approx(1, rel=0.05)


def test_the_same_seed_gives_the_same_numbers(compared):
    tables = planted(TRUTH, 2), planted(BETTER, 3)
    again = cj.compare(*tables, names=["old", "new"], flops=[1e20, 1e22], resamples=200, level=0.98)
    pd.testing.assert_frame_equal(again.table, compared.table)


def test_common_errors_are_found_and_their_pairs_drawn_together():
    common = 0.008 * np.random.default_rng(9).standard_normal(36)
    tables = [planted(law, i, common=common) for i, law in enumerate((TRUTH, BETTER))]
    found, apart = (
        cj.compare(*tables, names=["old", "new"], flops=[1e20], resamples=300, level=0.98, pair=pair)
        for pair in (None, "none")
    )
    assert found.laws.pairing.startswith("runs are paired by params and tokens")
    assert apart.laws.pairing == "the tables are resampled independently"
    width, other = (np.log(each.table["high"][0] / each.table["low"][0]) for each in (found, apart))
    assert width < 0.8 * other
    assert found.table["low"][0] < SAVED < found.table["high"][0]


def test_a_column_pairs_runs_in_any_order():
    common = 0.008 * np.random.default_rng(9).standard_normal(36)
    seeds = np.array([f"s{i}" for i in range(36)])
    tables = [planted(law, i, common=common) for i, law in enumerate((TRUTH, BETTER))]
    tables = [cj.Runs(params=t.params, tokens=t.tokens, loss=t.loss, groups={"seed": seeds}) for t in tables]
    order = np.random.default_rng(0).permutation(36)
    found = cj.compare(tables[0], tables[1].take(order), names=["a", "b"], resamples=200, pair="seed")
    assert "paired by column 'seed'" in found.laws.pairing
    assert "36 pairs" in found.laws.pairing
    with pytest.raises(cj.UsageError, match="carries no column 'run' to pair runs by"):
        cj.compare(*tables, names=["a", "b"], resamples=2, pair="run")


def test_of_several_the_best_is_named_and_its_lead_corrected():
    third = cj.ScalingLaw(E=TRUTH.E, A=BETTER.A * 1.002, B=BETTER.B, alpha=TRUTH.alpha, beta=TRUTH.beta)
    tables = [planted(law, i) for i, law in enumerate((TRUTH, BETTER, third))]
    found = cj.compare(*tables, names=["old", "new", "third"], flops=[1e20], resamples=200)
    ranking = found.ranking.set_index("recipe")
    assert ranking["p_best"].sum() == pytest.approx(1)
    assert not ranking.loc["old", "may_be_best"]
    assert ranking.loc[["new", "third"], "may_be_best"].all()
    lead = found.leads.iloc[0]
    assert {lead["best"], lead["second"]} == {"new", "third"}
    assert lead["corrected"] < lead["lead"]
    assert cj.compare(*tables[:2], names=["a", "b"], resamples=10).ranking is None


def test_the_probability_of_being_best_is_how_often_the_first_is():
    generator = np.random.default_rng(5)
    claimed, right, raw = [], [], []
    for _ in range(150):
        truth = 0.5 * generator.standard_normal(4)
        points = truth + generator.standard_normal(4)
        draws = points[:, None] + generator.standard_normal((4, 300))
        best = int(points.argmin())
        claimed.append(np.mean(_likely(points, draws).argmin(axis=0) == best))
        raw.append(np.mean(draws.argmin(axis=0) == best))
        right.append(truth.argmin() == best)
    assert abs(np.mean(claimed) - np.mean(right)) < 0.1 < np.mean(raw) - np.mean(right)
    # Losses that are known are what they are.
    certain = points[:, None] + 1e-9 * generator.standard_normal((4, 300))
    assert (_likely(points, certain).argmin(axis=0) == best).all()


def test_sharing_is_rejected_where_exponents_differ_and_not_where_they_agree(compared):
    assert min(test.p for test in compared.sharing) > 0.01
    bent = cj.ScalingLaw(E=TRUTH.E, A=1200.0, B=TRUTH.B, alpha=0.4, beta=TRUTH.beta)
    found = cj.compare(
        planted(TRUTH, 0, noise=0.001), planted(bent, 1, noise=0.001), names=["a", "b"], resamples=300
    )
    assert next(test for test in found.sharing if test.shared == "exponents").p < 0.02


@pytest.mark.slow
def test_few_runs_share_exponents_and_it_is_said():
    few = planted(BETTER, 1).take(np.array([0, 7, 14, 21, 28, 35]))
    found = cj.compare(
        planted(TRUTH, 0), few, names=["old", "new"], flops=[1e20, 1e23], resamples=200, level=0.98
    )
    assert found.laws.shared == "all"
    assert "share the exponents and E, since 'new' cannot be fitted alone" in found.warnings[0]
    assert (found.table["low"] < SAVED).all()
    assert (found.table["high"] > SAVED).all()
    assert np.ptp(found.table["multiplier"]) < 1e-6


def test_tables_of_compute_alone_are_read_for_the_law_of_compute(tmp_path):
    flops = np.geomspace(1e18, 1e21, 14)
    table = pd.DataFrame({"C (PF-days)": flops / 8.64e19, "loss": TRUTH.loss(*TRUTH.optimal(flops))})
    table.to_csv(tmp_path / "old.csv", index=False)
    for source in (tmp_path / "old.csv", table):
        runs = load_recipe(source)
        assert np.allclose(runs.flops, flops)
        assert is_compute_only(runs)
    assert not is_compute_only(load_recipe(planted(TRUTH, 0).to_frame()))


@pytest.mark.slow
def test_a_frontier_by_search_is_the_closed_form_where_there_is_one():
    law, design = read_law("gamma"), read_law("gamma").design(planted(TRUTH, 0))
    five = cj.ScalingLaw(
        **{name: np.array([values, getattr(OTHER, name)]) for name, values in TRUTH.as_dict().items()}
    )
    searched = Frontier.of(law.fitted(law.internal(five.as_dict() | {"gamma": np.ones(2)}, design), design))
    closed, logs = Frontier.of(five), np.log(np.geomspace(1e19, 1e26, 6))
    assert isinstance(searched, SearchedFrontier) and searched.sound.all()
    np.testing.assert_allclose(searched.loss(logs), closed.loss(logs), rtol=1e-13)
    # Between the points of its grid, at and below E, and above all that its grid begins with.
    losses = np.array([[1.7, 1.9, 2.3, 2.9, 3.7, 1e3]] * 2)
    found, wanted = searched.log_budget(losses), closed.log_budget(losses)
    np.testing.assert_allclose(found[:, 1:5], wanted[:, 1:5], atol=1e-9)
    assert np.isinf(found[:, 0]).all() and np.isnan(found[:, 5]).all()
    # And so are the tables of a comparison, with the two laws as resamples of each recipe.
    tables = []
    for frontier in (searched, closed):
        one, two = (frontier.take(np.array(each)) for each in ([0], [1]))
        points = {"a": Frontier.of(five[0]), "b": Frontier.of(five[1])}
        made = Frontiers(
            points=points, draws={"a": frontier, "b": frontier.take(np.array([1, 0]))}, warnings=()
        )
        budgets = np.exp(logs)
        tables.append(
            [table(made, budgets, 0.8) for table in (multiplier_table, curve_table, crossing_table)]
        )
        assert log_multiplier(one, two, logs).shape == (1, 6)
    for mine, wanted in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(mine, wanted, rtol=1e-8)


def test_laws_without_a_division_of_budgets_are_not_compared():
    require_frontier(read_law("kaplan"))
    with pytest.raises(
        cj.UsageError, match="law routed_experts says nothing of how a budget is best divided"
    ):
        require_frontier(read_law("routed_experts"))
    own = cj.laws.from_function(
        lambda p, x: p["E"] + x["epochs"] / x["tokens"], {"E": cj.positive(1.0)},
        variables=("params", "tokens", "epochs"),
    )  # fmt: skip
    with pytest.raises(cj.UsageError, match="needs epochs of the model that a budget buys"):
        require_frontier(own)


def test_the_frontier_of_the_law_of_compute_is_the_law():
    design = read_law("compute_only").design(planted(TRUTH, 0))
    law = read_law("compute_only")
    theta = law.internal({"E": 1.7, "K": 2000.0, "gamma": 0.17}, design)
    frontier = Frontier.of(law.fitted(theta, design))
    logs = np.log([1e18, 1e22])
    assert np.allclose(frontier.loss(logs), 1.7 + 2000.0 * np.exp(-0.17 * logs))
    assert np.allclose(frontier.log_budget(frontier.loss(logs)), logs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["old.csv", "three.csv"], "3 distinct runs in 3 rows"),
        (["old.csv", "same.csv"], "'old' and 'same' hold the same runs"),
        (["old.csv", "far.csv"], "does not overlap, so that any multiplier is extrapolation"),
        (["old.csv", "new.csv", "--baseline", "nwe"], "unknown baseline 'nwe'; did you mean 'new'?"),
        (["old.csv"], "1 table; give two or more"),
        (["old.csv", "--by", "recipe"], "no column is named 'recipe'"),
        (["old.csv", "new.csv", "--by", "params"], "by splits one table, and 2 are given"),
        (["old.csv", "new.csv", "--at", "3"], "give the parameters and tokens of a run"),
        (["old.csv", "new.csv", "--law", "compute_only", "--at", "1e9,2e10"], "places are for laws of"),
        (["old.csv", "new.csv", "--name", "x"], "give 2 different ones"),
        (
            ["old.csv", "new.csv", "--law", "compute_only", "--share", "all"],
            "share parameters of the law chinchilla",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(arguments, message, files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    old = pd.read_csv("old.csv")
    old.head(3).to_csv("three.csv", index=False)
    shutil.copy("old.csv", "same.csv")
    old.assign(params=old["params"] * 1e3, tokens=old["tokens"] * 1e3).to_csv("far.csv", index=False)
    assert main(["compare", "--resamples", "2", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_the_command_offers_what_the_library_shares():
    assert ("auto", "none", *SHARED) == choices.SHARES


def test_four_runs_of_one_table_are_the_fewest(files):
    old, new = (pd.read_csv(files / f"{name}.csv").assign(recipe=name) for name in ("old", "new"))
    table = pd.concat([old, new.head(3)], ignore_index=True)
    with pytest.raises(cj.UsageError, match="'new' has 3 runs; give at least 4"):
        cj.compare(table, by="recipe", resamples=2)


def test_the_command_splits_a_table_draws_and_prints_json(files, tmp_path, capsys):
    names = ("old", "new", "other")
    table = pd.concat([pd.read_csv(files / f"{name}.csv").assign(recipe=name) for name in names])
    table.to_csv(tmp_path / "all.csv", index=False)
    common = ["compare", str(tmp_path / "all.csv"), "--by", "recipe", "--resamples", "50", "--flops", "1e20"]
    page = tmp_path / "page.html"
    assert main([*common, "--figures", str(tmp_path), "--page", str(page)]) == 0
    out = capsys.readouterr().out
    assert "which is best" in out
    assert "in common?" in out
    assert "80% percentile interval" in " ".join(out.split())
    assert "--best-of" not in out
    assert all(len(line) <= 80 for line in out.splitlines() if "  " not in line)  # titles, not tables
    assert (tmp_path / "recipes.png").exists()
    text = page.read_text(encoding="utf-8")
    assert "<h1>new and other against old</h1>" in text
    for anchor in ("multipliers", "crossings", "ranking", "parameters", "curve", "run"):
        assert f'<section id="{anchor}">' in text
    assert text.count("data:image/png") == 1
    assert main([*common, "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert list(fields["recipes"]) == list(names)
    assert {row["recipe"] for row in fields["table"]} == {"new", "other"}
    assert len(fields["ranking"]) == 3


def test_other_validation_sets_and_disjoint_losses_are_warned_of(files, tmp_path):
    for name, corpus in (("old", "c4"), ("new", "pile")):
        pd.read_csv(files / f"{name}.csv").assign(val_set=corpus).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    found = cj.compare(tmp_path / "old.csv", tmp_path / "new.csv", resamples=20)
    assert "column 'val_set' names 'c4' in 'old' and 'pile' in 'new'" in found.warnings[0]
    near = planted(BETTER, 1)
    far = cj.Runs(params=near.params, tokens=near.tokens, loss=near.loss / 3)
    found = cj.compare(planted(TRUTH, 0), far, names=["old", "new"], resamples=20)
    assert "do not overlap although their compute does" in found.warnings[0]
