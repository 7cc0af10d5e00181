"""Known models and a user's own against the optimum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_laws import spread_sample

from chinchilla_jax import DataError, planning


def test_the_embedded_models_are_those_of_their_papers():
    models = planning.known_models().set_index("model")
    assert models.loc["Chinchilla", ["params", "tokens"]].to_list() == [70e9, 1.4e12]
    assert models.loc["Llama-3-8B", ["params", "tokens"]].to_list() == [8e9, 15e12]
    assert len(models) == 7
    assert models["source"].str.contains("arXiv").all()


def test_verdicts_go_by_probability():
    placed = planning.place_models(spread_sample(400), planning.known_models()).set_index("model")
    verdicts = placed["verdict"]
    assert (verdicts[["GPT-3", "Gopher", "MT-NLG"]] == "under-trained").all()
    assert (verdicts[["Chinchilla", "LLaMA-65B"]] == "optimal within uncertainty").all()
    assert verdicts["Llama-3-8B"] == "over-trained"
    assert (placed["p_under"] + placed["p_over"] == 1).all()
    # The verdict is the interval's, so it turns where the probability passes a tail of it.
    tail = 0.1 + 1 / 400
    assert (placed.loc[verdicts == "under-trained", "p_over"] <= tail).all()
    assert (
        (placed.loc[verdicts == "optimal within uncertainty", ["p_under", "p_over"]] >= 0.1 - 1 / 400)
        .all()
        .all()
    )


@given(st.floats(1e7, 1e13), st.floats(1e8, 1e15))
def test_one_model_against_each_law_on_its_own(params, tokens):
    sample = spread_sample(9)
    import pandas as pd

    row = planning.place_models(
        sample, pd.DataFrame({"model": ["m"], "params": [params], "tokens": [tokens]})
    ).iloc[0]
    optima = [law.tokens_per_param(6 * params * tokens) for law in sample.laws]
    assert row["p_under"] == np.mean([tokens / params < optimum for optimum in optima])
    assert row["optimal_median"] == pytest.approx(np.median(optima))
    assert row["loss_median"] == pytest.approx(np.median([law.loss(params, tokens) for law in sample.laws]))
    assert 0 <= row["overhead_low"] <= row["overhead_median"] <= row["overhead_high"]


def test_models_are_read_under_common_column_names(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('name,Model Size,D,source,notes\n"a, b",1e9,2e10,here,x\n\nc,2e9,4e10,,\n')
    models = planning.read_models(path)
    assert models["model"].to_list() == ["a, b", "c"]
    assert models["params"].to_list() == [1e9, 2e9]
    assert models["tokens"].to_list() == [2e10, 4e10]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,params\na,1e9\n", "found no column for tokens or flops; the table has 'model', 'params'"),
        ("", "the file is empty"),
        ("model,params,tokens\n", "no rows under the header .*; add a row per model"),
        ("model,params,tokens\na,7x,1e9\n", "row 2, column 'params': '7x'.*write a plain number"),
        ("model,params,tokens\na,-7,1e9\n", "is negative"),
        ("model,params,tokens\na,7\n", "2 cells where the header has 3"),
        ('model,params,tokens\n"a,7,1\n', "row 2: cannot be split into cells"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(tmp_path, text, message):
    path = tmp_path / "models.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        planning.read_models(path)
    assert str(caught.value).startswith(str(path))
    with pytest.raises(DataError, match="no such file"):
        planning.read_models(tmp_path / "absent.csv")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("models") / "any.csv"
    path.write_bytes(content)
    try:
        assert len(planning.read_models(path))
    except DataError as error:
        assert "\n" not in str(error)


def test_a_table_without_names_numbers_its_rows(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss\n1e9,2e10,2.5\n2e9,4e10,2.4\n")
    assert planning.read_models(path)["model"].tolist() == ["row 1", "row 2"]
