"""Shares of variance by choice, against a slow reference, closed forms and identities."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chinchilla_jax import DataError, UsageError
from chinchilla_jax.analysis import choice_effects, choice_interactions


def crossed(**options):
    return pd.DataFrame(itertools.product(*options.values()), columns=list(options))


def huber_design():
    """Objectives of which only one takes a delta, crossed with laws and rows."""
    rows = [
        (law, objective, delta, rows)
        for law in ("a", "b", "c")
        for objective in ("huber", "squared", "asymmetric")
        for delta in ((1e-4, 1e-3, 1e-2) if objective == "huber" else (None,))
        for rows in ("all", "clean")
    ]
    return pd.DataFrame(rows, columns=["law", "objective", "delta", "rows"])


def slow_effects(table, values, within=None):
    """Shapley effects by walking every permitted order, with plain dictionaries of lists."""
    within = within or {}
    names = [name for name in table if table[name].nunique(dropna=False) > 1]
    records = table.astype(object).where(table.notna(), "none").to_dict("records")

    def explained(known):
        groups = {}
        for record, value in zip(records, values, strict=True):
            groups.setdefault(tuple(record[name] for name in known), []).append(value)
        mean = math.fsum(values) / len(values)
        return math.fsum(len(g) * (math.fsum(g) / len(g) - mean) ** 2 for g in groups.values()) / len(values)

    permitted = [
        order
        for order in itertools.permutations(names)
        if all(order.index(outer) < order.index(inner) for inner, outer in within.items())
    ]
    gains = dict.fromkeys(names, 0.0)
    for order in permitted:
        for i, name in enumerate(order):
            gains[name] += explained(order[: i + 1]) - explained(order[:i])
    return {name: gain / len(permitted) / np.var(values) for name, gain in gains.items()}


def shares(table, column="share"):
    return dict(zip(table["choice"], table[column], strict=True))


def test_an_additive_answer_gives_each_choice_its_planted_share():
    table = crossed(law=range(4), counting=range(3), rows=range(5), cost=["6nd"])
    effects = {"law": [0.0, 1.0, 3.0, 4.0], "counting": [0.0, 0.0, 2.0], "rows": [1.0] * 5}
    logs = sum(np.take(effects[name], table[name]) for name in effects)
    variances = {name: np.var(effects[name]) for name in effects}
    found = choice_effects(table, np.exp(logs))
    for column in ("share", "alone", "total"):
        got = shares(found, column)
        for name, variance in variances.items():
            assert got[name] == pytest.approx(variance / sum(variances.values()), abs=1e-12)
        assert got["cost"] == 0.0
    assert list(found["choice"][:2]) == ["law", "counting"]
    moves = shares(found, "move")
    assert moves["law"] == pytest.approx(math.exp(4.0)) and moves["counting"] == pytest.approx(math.exp(2.0))
    assert moves["rows"] == pytest.approx(1.0) and moves["cost"] == 1.0
    assert found.attrs["scale"] == "log" and found.attrs["variance"] == pytest.approx(sum(variances.values()))
    assert choice_interactions(table, np.exp(logs)).empty


def test_a_pure_interaction_is_shared_and_explained_by_neither_alone():
    table = crossed(a=[-1, 1], b=[-1, 1], idle=range(3))
    found = choice_effects(table, table["a"] * table["b"])
    assert found.attrs["scale"] == "linear"
    assert shares(found) == pytest.approx({"a": 0.5, "b": 0.5, "idle": 0.0})
    assert shares(found, "alone") == pytest.approx({"a": 0.0, "b": 0.0, "idle": 0.0})
    assert shares(found, "total") == pytest.approx({"a": 1.0, "b": 1.0, "idle": 0.0})
    pairs = choice_interactions(table, table["a"] * table["b"])
    assert pairs.to_dict("records") == [{"first": "a", "second": "b", "share": pytest.approx(1.0)}]


def test_a_balanced_design_gives_the_sums_of_squares_of_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    shape = (3, 4, 2)
    y = rng.normal(size=shape)
    table = crossed(a=range(3), b=range(4), c=range(2))
    # Moebius inversion of means over margins: the effects of a crossed analysis of variance.
    axes = range(3)
    components = {}
    for size in range(4):
        for kept in itertools.combinations(axes, size):
            mean = y.mean(axis=tuple(set(axes) - set(kept)), keepdims=True)
            lower = sum(c for u, c in components.items() if set(u) < set(kept))
            components[kept] = mean - lower
    part = {u: np.mean(np.broadcast_to(c, shape) ** 2) / y.var() for u, c in components.items() if u}
    found = choice_effects(table, y.ravel(), scale="linear")
    for i, name in enumerate("abc"):
        assert shares(found, "alone")[name] == pytest.approx(part[(i,)])
        assert shares(found, "total")[name] == pytest.approx(sum(v for u, v in part.items() if i in u))
        # Owen 2014: in independent choices each interaction is split equally.
        assert shares(found)[name] == pytest.approx(sum(v / len(u) for u, v in part.items() if i in u))
    pairs = choice_interactions(table, y.ravel(), scale="linear", least=0.0)
    for _, first, second, share in pairs.itertuples():
        assert share == pytest.approx(part[("abc".index(first), "abc".index(second))])


def test_a_nested_choice_is_not_credited_for_the_one_it_lies_within():
    table = huber_design()
    values = np.where(table["objective"] == "huber", 30.0, 20.0)
    found = choice_effects(table, values)
    assert shares(found, "within") == {"objective": "", "delta": "objective", "law": "", "rows": ""}
    for column in ("share", "alone", "total"):
        assert shares(found, column) == pytest.approx({"objective": 1, "delta": 0, "law": 0, "rows": 0})
    (objective,) = found[found["choice"] == "objective"].itertuples()
    assert (objective.lowest, objective.highest) in {("squared", "huber"), ("asymmetric", "huber")}
    assert objective.move == pytest.approx(1.5) and objective.n_matched == 6


def test_a_nested_choice_that_alone_moves_the_answer_gets_all_but_what_its_outer_choice_explains():
    table = huber_design()
    values = table["delta"].fillna(1e-3).map({1e-4: 10.0, 1e-3: 20.0, 1e-2: 40.0})
    found = choice_effects(table, values)
    # The mean over deltas is that of the other objectives, so the objective explains nothing.
    assert shares(found) == pytest.approx({"delta": 1, "objective": 0, "law": 0, "rows": 0}, abs=1e-12)
    assert shares(found, "total")["objective"] == pytest.approx(1.0)  # without it delta has no meaning
    (delta,) = found[found["choice"] == "delta"].itertuples()
    assert (delta.lowest, delta.highest, delta.move) == (1e-4, 1e-2, pytest.approx(4.0))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=30, max_size=30))
def test_in_a_crossed_design_a_share_lies_between_alone_and_total(values):
    found = choice_effects(huber_design(), values, scale="linear")
    assert (found["alone"] <= found["share"] + 1e-9).all() and (found["share"] <= found["total"] + 1e-9).all()
    pairs = choice_interactions(huber_design(), values, scale="linear", least=0.0)
    assert (pairs["share"] >= -1e-9).all()
    assert {"objective", "delta"} not in [{row.first, row.second} for row in pairs.itertuples()]


@st.composite
def designs(draw):
    """Part of a crossed design, with a choice nested in another, and answers of any sign."""
    table = huber_design() if draw(st.booleans()) else crossed(a=range(3), b="xy", c=range(2), d=[0.5, 1.5])
    n = len(table)
    kept = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n, unique=True))
    values = draw(st.lists(st.integers(-50, 50), min_size=n, max_size=n))
    failed = np.ones(n, dtype=bool)
    failed[kept] = False
    return table, np.where(failed, np.nan, np.array(values, dtype=float))


@settings(max_examples=60, deadline=None)
@given(designs())
def test_shares_agree_with_the_slow_reference_whatever_fails(design):
    table, values = design
    answered = np.isfinite(values)
    found = choice_effects(table, values, scale="linear")
    assert found.attrs["n"] == answered.sum() and found.attrs["n_left_out"] == (~answered).sum()
    got = shares(found)
    if np.ptp(values[answered]) == 0:
        assert set(got.values()) == {0.0}
        return
    within = {"delta": "objective"} if "delta" in table else {}
    kept = table[answered]
    within = within if len(kept) and all(kept[name].nunique(dropna=False) > 1 for name in within) else {}
    within = within if all(kept[name].nunique(dropna=False) > 1 for name in within.values()) else {}
    slow = slow_effects(kept, values[answered].tolist(), within)
    assert {name: got[name] for name in slow} == pytest.approx(slow, abs=1e-9)
    assert all(got[name] == 0 for name in got if name not in slow)
    assert sum(got.values()) == pytest.approx(1.0) and min(got.values()) >= 0.0
    assert (found[["alone", "total"]].to_numpy() <= 1 + 1e-12).all()


def test_a_move_is_between_analyses_that_agree_in_all_else_whatever_failed():
    table = crossed(law=["a", "b"], rows=["all", "clean"])
    logs = 1.0 * (table["law"] == "b") + 5.0 * (table["rows"] == "clean")
    values = np.exp(logs).to_numpy(copy=True)
    values[3] = np.nan  # without it the plain means would say that b lowers the answer
    found = choice_effects(table, values)
    (law,) = found[found["choice"] == "law"].itertuples()
    assert (law.move, law.lowest, law.highest, law.n_matched) == (pytest.approx(math.e), "a", "b", 1)
    diagonal = choice_effects(table.iloc[[0, 3]], values[[0, 1]])
    assert diagonal["move"].isna().all() and diagonal["lowest"].isna().all()
    assert shares(diagonal) == pytest.approx({"law": 0.5, "rows": 0.5})


def test_shares_do_not_depend_on_the_order_of_rows_or_on_units():
    rng = np.random.default_rng(3)
    table = huber_design()
    values = np.exp(rng.normal(size=len(table)))
    order = rng.permutation(len(table))
    first = shares(choice_effects(table, values))
    assert shares(choice_effects(table.iloc[order], values[order])) == pytest.approx(first)
    assert shares(choice_effects(table, 1e12 * values)) == pytest.approx(first)


def test_equal_answers_have_no_mover():
    found = choice_effects(crossed(a="xy", b=range(3)), [0.1 + 0.2] * 6)
    assert (found[["share", "alone", "total"]] == 0).all(axis=None) and (found["move"] == 1).all()
    assert choice_interactions(crossed(a="xy", b=range(3)), [0.1 + 0.2] * 6).empty


def test_bad_input_is_one_line():
    table = crossed(a="xy", b=range(3))
    six = np.arange(1.0, 7.0)
    with pytest.raises(DataError, match="6 rows and estimates 5"):
        choice_effects(table, six[:5])
    with pytest.raises(DataError, match="give a DataFrame"):
        choice_effects([1, 2], six)
    with pytest.raises(DataError, match="no analysis has a finite answer"):
        choice_effects(table, six * np.nan)
    with pytest.raises(UsageError, match="did you mean 'log'"):
        choice_effects(table, six, scale="logs")
    with pytest.raises(UsageError, match="zero or negative"):
        choice_effects(table, six - 3, scale="log")
    with pytest.raises(UsageError, match="unknown choice 'c'"):
        choice_effects(table, six, nested={"c": "a"})
    with pytest.raises(UsageError, match="cannot lie within itself"):
        choice_effects(table, six, nested={"a": "b", "b": "a"})
    many = pd.DataFrame(np.eye(18, dtype=int), columns=[f"c{i}" for i in range(18)])
    with pytest.raises(UsageError, match="18 choices"):
        choice_effects(many, np.arange(1.0, 19.0))
