"""Multiverses of small, flagged and far tables: options, the default analysis, units and doubts."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares, minimize_scalar
from test_cli import done

import chinchilla_jax as cj
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.analysis import multiverse_answer
from chinchilla_jax.study.multiverse.multiverse import plan_multiverse

LAW = cj.ScalingLaw(E=1.8, A=400.0, B=1500.0, alpha=0.34, beta=0.3)
ONE = {
    "laws": ["chinchilla"], "objectives": ["squared"], "rows": ["all"], "schemes": ["pairs"], "resamples": 20,
    "progress": None,
}  # fmt: skip


def table(n, sizes=6):
    rng = np.random.default_rng(1)
    params = np.resize(np.geomspace(3e7, 2e9, sizes), n)
    tokens = params * np.exp(rng.uniform(np.log(3), np.log(200), n))
    loss = LAW.loss(params, tokens) * np.exp(0.003 * rng.standard_normal(n))
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})


def planned(data, **options):
    asked = dict.fromkeys(
        ("flops", "laws", "objectives", "deltas", "countings", "costs", "rows", "schemes", "options")
    )
    return plan_multiverse(data, **{**asked, "resamples": 20, "seed": 0, **options})


@pytest.mark.parametrize("n", [6, 7, 12])
def test_every_table_has_the_usual_options_that_leave_enough_runs(n):
    """A table of six runs was refused for an option of rows that nobody had named."""
    plan = planned(table(n), laws=["chinchilla"], objectives=["squared"], schemes=["pairs"])
    assert all(plan.work.masks[name].sum() > 5 for name in plan.choices.rows)
    assert plan.choices.rows[0] == "all"
    assert any(name.startswith("drop_loss") for name in plan.choices.rows) == (n > 6)


@pytest.mark.parametrize(
    ("rows", "default"),
    [
        (["unflagged", "all"], "unflagged"),
        (["all", "unflagged"], "unflagged"),
        (["all", "drop_loss:2"], None),
        (["all", "min_params:1"], "min_params:1"),  # the same runs by another name
    ],
)
def test_the_default_analysis_leaves_out_what_is_flagged(rows, default):
    """Where "unflagged" was not listed, all runs were called the default analysis."""
    flagged = table(30).assign(outlier=lambda each: (each.index % 10 == 3).astype(int))
    plan = planned(flagged, laws=["chinchilla"], rows=rows)
    named = None if plan.default is None else plan.choices.frame()["rows"].iloc[plan.default]
    assert named == default


@pytest.mark.parametrize("labels", [1, 12])
def test_flags_of_a_table_whose_labels_repeat_are_seen(labels):
    """Of two concatenated DataFrames every label occurs twice, and no run was flagged."""
    runs = table(30).assign(outlier=lambda each: (each.index % 10 == 3).astype(int))
    plan = planned(runs.set_axis(runs.index % labels), laws=["chinchilla"], schemes=["pairs"])
    assert np.flatnonzero(plan.table.flagged).tolist() == [3, 13, 23]
    usual = cj.load_runs(runs)
    np.testing.assert_array_equal(plan.table.usual.loss, usual.loss)
    assert plan.work.masks["unflagged"].sum() == 27


def test_the_default_analysis_counts_as_an_embedded_table_is_read():
    """The first counting was called the default analysis, whatever `cj.bootstrap` reads."""
    plan = planned("chinchilla", laws=["chinchilla"], countings=["standard", "as_plotted"])
    assert plan.choices.frame()["counting"].iloc[plan.default] == "as_plotted"


def test_architectures_need_the_reported_counts_first():
    with pytest.raises(UsageError, match="list the counting as_plotted first"):
        planned("chinchilla", countings=["standard", "as_plotted"], costs=["attention"], rows=["all"])


def test_losses_in_bits_per_byte_are_never_called_nats(tmp_path):
    path = tmp_path / "runs.csv"
    table(30).rename(columns={"loss": "loss_bpb"}).to_csv(path, index=False)
    text = done(
        "multiverse", str(path), "--flops", "1e21", "--laws", "chinchilla", "--objectives", "squared",
        "--rows", "all", "--schemes", "pairs", "--resamples", "20",
    )  # fmt: skip
    assert "loss L (bits per byte)" in text
    assert "loss L (nats per token)" not in text
    found = cj.multiverse(path, flops=1e21, **ONE)
    assert "bits per byte" in found.answer("loss").label
    assert "bits per byte" in found.range_text("loss", 0)


def test_budgets_far_beyond_the_runs_and_implausible_answers_are_marked():
    runs = table(30)
    largest = 6 * float((runs["params"] * runs["tokens"]).max())
    found = cj.multiverse(runs, flops=[largest, 50 * largest], **ONE)
    (note,) = found.notes
    assert "50x the compute of the largest run" in note
    # The loss does not depend on tokens, so that the fitted optimum has next to none.
    rng = np.random.default_rng(2)
    loss = (2 + 300 / runs["params"] ** 0.3) * np.exp(0.002 * rng.standard_normal(30))
    flat = cj.multiverse(runs.assign(loss=loss), flops=1e22, **ONE)
    ratio = flat.estimates()
    assert not ratio[0] > 0.1
    assert (flat.table["doubt"] != "").all()


@pytest.mark.parametrize("counting", ["params", "params_non_embedding"])
def test_an_optimum_is_that_of_scipy_and_a_search_over_sizes(counting):
    """One specification by hand: SciPy's fit, and the size of least loss at its measured cost."""
    found = cj.multiverse("olmo_ladder", flops=1e21, **ONE)
    runs = cj.load_runs("olmo_ladder", params=counting, countings={counting: counting})
    plain = cj.load_runs("olmo_ladder").params
    logs = [np.log(each) for each in (runs.params, runs.tokens, runs.loss)]

    def residuals(theta):
        e, a, b, alpha, beta = theta
        return np.logaddexp(np.logaddexp(e, a - alpha * logs[0]), b - beta * logs[1]) - logs[2]

    rng = np.random.default_rng(0)
    starts = rng.uniform([-1, 2, 2, 0.1, 0.1], [1, 15, 15, 1, 1], (20, 5))
    fits = [least_squares(residuals, each, xtol=1e-15, ftol=1e-15, gtol=1e-15) for each in starts]
    e, a, b, alpha, beta = min(fits, key=lambda each: each.cost).x

    for name, (c, of_params, of_tokens) in {
        "6nd": (6.0, 1.0, 1.0),
        "measured": (runs.cost.coefficient, runs.cost.params_power, runs.cost.tokens_power),
    }.items():

        def tokens_of(log_n, c=c, of_params=of_params, of_tokens=of_tokens):
            return (np.log(1e21 / c) - of_params * log_n) / of_tokens

        def loss(log_n, tokens_of=tokens_of):
            return np.exp(e) + np.exp(a - alpha * log_n) + np.exp(b - beta * tokens_of(log_n))

        best = minimize_scalar(loss, bounds=np.log([1e8, 1e12]), method="bounded", options={"xatol": 1e-9})
        chosen = (found.table["counting"] == counting) & (found.table["cost"] == name)
        mine = found.table[chosen].set_index("quantity")["estimate"]
        assert mine["loss"] == pytest.approx(best.fun, rel=1e-6)
        assert mine["tokens"] == pytest.approx(np.exp(tokens_of(best.x)), rel=1e-3)
        # N is stated by the plain count, which the table's nearest models have too.
        near = np.abs(np.log(runs.params) - best.x).argmin()
        told = plain[near] / runs.params[near] if counting != "params" else 1.0
        assert mine["params"] == pytest.approx(np.exp(best.x) * told, rel=0.04 if told != 1.0 else 1e-3)


def test_a_cost_that_is_extrapolated_below_that_of_every_model_is_doubted():
    """At 74B parameters the power of N is 0.79 times 6 N D; no model of the table is below 0.99 times it."""
    found = cj.multiverse("chinchilla", flops=[1e21, 5.76e23], **{**ONE, "countings": ["as_plotted"]})
    row = found.table[(found.table["cost"] == "attention") & (found.table["flops"] == 5.76e23)].iloc[0]
    assert row["doubt"] == "at 5.76e23 FLOP the cost is extrapolated: less, over 6 N D, than of any run"
    assert not found.table[found.table["cost"] == "6nd"]["doubt"].str.contains("the cost").any()


def test_thousands_of_tokens_per_parameter_are_written_out():
    """A sentence ran "from 646 to 1.27e3"."""
    choices = pd.DataFrame({"law": ["a", "b", "c"]})
    answer = multiverse_answer(choices, [646.2, 1268.9, 2.5e6], np.full((3, 2), np.nan))
    assert "runs from 646 to 2.5e6 (median 1,270" in answer.sentence
