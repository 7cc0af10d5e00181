"""Units, styles of numbers and names of columns: read where certain, asked about, refused where mixed."""

import math
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chinchilla_jax as cj
from chinchilla_jax import DataError, DataWarning, UsageError, load_runs
from chinchilla_jax.datasets.meaning import meaning_of
from chinchilla_jax.datasets.number_styles import read_numbers
from chinchilla_jax.datasets.units import FACTORS, Unit, read_unit
from chinchilla_jax.study import StudySpec

LAW = cj.ScalingLaw(E=1.7, A=400.0, B=900.0, alpha=0.34, beta=0.31)
N, D = (each.ravel() for each in np.meshgrid(np.geomspace(7e7, 3e9, 5), np.geomspace(1e9, 1e11, 5)))
L = LAW.loss(N, D) * np.exp(np.random.default_rng(0).normal(0, 0.004, N.size))
C = 6 * N * D
PLAIN = load_runs({"params": N, "tokens": D, "loss": L})


def question(table, **reading):
    with pytest.raises(DataError) as caught:
        load_runs(table, **reading)
    assert str(caught.value).isprintable()
    return str(caught.value)


def same(runs):
    for name in ("params", "tokens", "flops", "loss"):
        np.testing.assert_allclose(getattr(runs, name), getattr(PLAIN, name), rtol=1e-9)


def test_a_unit_of_what_is_not_read_is_said_not_to_be_used():
    table = {"params": N / 1e6, "tokens": D, "loss": L}
    both = {"params": "millions", "flops": "PFLOP", "unique_tokens": "billions"}
    runs = load_runs(table, units=both)
    same(runs)
    assert runs.source.notes[-1] == (
        "no column of flops and unique_tokens is read, so the unit given for them is not used"
    )
    assert load_runs(table, units={"params": "millions"}).source.notes == ()


# --- units -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "units"),
    [
        (
            {"params (M)": N / 1e6, "tokens_B": D / 1e9, "loss": L},
            {"params": "millions", "tokens": "billions"},
        ),
        ({"N [B]": N / 1e9, "Training Tokens (T)": D / 1e12, "loss": L}, {"params": "billions"}),
        ({"params": N, "total GFLOPs": C / 1e9, "loss": L}, {"flops": "GFLOP"}),
        ({"params": N, "compute_EFLOP": C / 1e18, "loss": L}, {"flops": "EFLOP"}),
        ({"tokens": D, "Compute (PF-days)": C / 8.64e19, "loss": L}, {"flops": "PF-days"}),
        ({"params": N, "petaflop/s-days": C / 8.64e19, "loss": L}, {"flops": "PF-days"}),
        ({"params": N, "flops_1e18": C / 1e18, "loss": L}, {"flops": "1e+18"}),
        ({"params": N, "tokens": D, "loss (bits)": L / math.log(2)}, {"loss": "bits"}),
        ({"params": N, "tokens": D, "val_ppl": np.exp(L)}, {"loss": "perplexity"}),
    ],
)
def test_units_in_names_are_read_and_said(columns, units):
    runs = load_runs(columns)
    same(runs)
    assert units.items() <= dict(runs.source.units).items()
    assert all(f"in {unit}" in runs.read_lines[0] for unit in units.values())


@pytest.mark.parametrize(
    ("quantity", "unit", "values"),
    [
        *(("params", unit, N / factor) for unit, factor in FACTORS["params"].items()),
        *(("flops", unit, C / factor) for unit, factor in FACTORS["flops"].items()),
        ("tokens", "1e6", D / 1e6),
        ("loss", "bits", L / math.log(2)),
        ("loss", "ppl", np.exp(L)),
    ],
)
def test_stated_units_are_converted(quantity, unit, values):
    table = {"params": N, "tokens": D, "loss": L} | {quantity: values}
    if quantity == "flops":
        del table["tokens"]
    same(load_runs(table, units={quantity: unit}))
    spec = StudySpec(data="runs.csv", units={quantity: unit}, bytes_per_token=None)
    assert StudySpec.from_dict(spec.to_dict()).reading["units"] == {quantity: unit}


def test_bits_per_byte_become_nats_per_token():
    table = {"params": N, "tokens": D, "val_bpb": L / math.log(2) / 4.2}
    same(load_runs(table, bytes_per_token=4.2))
    plain = load_runs(table)
    np.testing.assert_array_equal(plain.loss, table["val_bpb"])
    assert "--bytes-per-token" in plain.source.notes[0]
    same(
        load_runs(
            {"params": N, "tokens": D, "loss": table["val_bpb"]}, units={"loss": "bpb"}, bytes_per_token=4.2
        )
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"params": N, "flops": C / 1e18, "loss": L}, "flops has a median of 27.5, which looks like EFLOP"),
        ({"params": N, "flops": C / 1e9, "loss": L}, "which looks like GFLOP"),
        ({"params": N, "tokens": D, "flops": C / 8.64e19, "loss": L}, "which looks like PF-days"),
        ({"tokens": D, "flops": C / 1e15, "loss": L}, "which looks like PFLOP"),
        ({"params": N / 1e6, "flops": C, "loss": L}, "which looks like millions of parameters"),
    ],
)
def test_a_question_is_about_the_column_that_is_there(table, said):
    found = question(table)
    assert said in found
    answer = re.search(r"pass --unit (\w+)=(\S+) if so", found)
    same(load_runs(table, units={answer[1]: answer[2]}))
    assert "multiply" not in found


def test_a_name_that_contradicts_its_numbers_is_a_question():
    table = {"params": N, "tokens_B": D, "loss": L}
    assert "(column 'tokens_B'), as billions, has a median of 1e+19, which no run has" in question(table)
    same(load_runs(table, units={"tokens": "count"}))


@given(st.sampled_from(["params", "tokens", "flops", "loss"]), st.text(max_size=12))
def test_any_text_is_a_unit_or_one_line(quantity, text):
    try:
        assert read_unit(quantity, text).factor > 0
    except UsageError as error:
        assert str(error).isprintable()


# --- two units in one column -------------------------------------------------------------------------------


def test_half_of_the_rows_in_millions_are_refused_by_row():
    mixed = np.where(np.arange(N.size) % 2 == 0, N / 1e6, N)
    found = question({"params": mixed, "tokens": D, "loss": L})
    assert "70 to 3000 in the other rows: two units in one column" in found
    assert "indices 1, 3, 5, 7, 9 and 7 more" in found
    assert len(load_runs({"params": mixed, "tokens": D, "loss": L}, units={"params": "count"})) == N.size


def test_perplexity_in_half_of_the_rows_is_refused():
    mixed = np.where(np.arange(N.size) % 2 == 0, np.exp(L), L)
    assert "perplexity and loss in one column" in question({"params": N, "tokens": D, "loss": mixed})


@pytest.mark.parametrize("row", [0, 7, 12, 24])
@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e6])
@pytest.mark.parametrize(
    ("quantity", "other"),
    [("params", "tokens"), ("tokens", "params"), ("flops", "params"), ("params", "flops")],
)
def test_one_row_in_another_unit_is_a_jump(quantity, other, row, factor):
    plain = {"params": N, "tokens": D, "flops": C}
    wrong = plain[quantity].copy()
    wrong[row] *= factor
    table = {quantity: wrong, other: plain[other], "loss": L}
    found = question(table)
    assert f"index {row}, column '{quantity}'" in found
    assert len(load_runs(table, units={quantity: "count" if quantity != "flops" else "FLOP"})) == N.size


def test_the_row_is_named_where_all_three_are_given():
    tokens = D.copy()
    tokens[3] *= 1e3
    found = question({"params": N, "tokens": tokens, "flops": C, "loss": L})
    assert "index 3" in found and "0.001 times 6 * params * tokens" in found


def test_a_run_that_diverged_is_no_jump():
    loss = L.copy()
    loss[3] = 7.5
    assert len(load_runs({"params": N, "tokens": D, "loss": loss})) == N.size
    loss[3] = 40.0
    with pytest.warns(DataWarning, match="index 3: a loss of 40 nats per token is more than guessing costs"):
        load_runs({"params": N, "tokens": D, "loss": loss})


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.003, 0.02, 0.08]))
def test_noise_is_no_jump(seed, noise):
    """Of 1,500 such tables with 8% of noise two are refused, of 3,000 with 4% one, of 1,500 with 2% none."""
    random = np.random.default_rng(seed)
    refused = 0
    for _ in range(8):
        count = int(random.integers(9, 60))
        spread = random.uniform(math.log(1e6), math.log(1e11), (2, count))
        params, tokens = np.exp(spread + np.array([[0], [3]]))
        loss = LAW.loss(params, tokens) * np.exp(random.normal(0, noise, count))
        try:
            load_runs({"params": params, "tokens": tokens, "loss": np.minimum(loss, 12.0)})
        except DataError:
            refused += 1
    assert refused <= 1


# --- how numbers are written -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "style"),
    [
        (lambda x: f"{x / 1e6:.6f}M", "such as"),
        (lambda x: f"{x / 1e9:.9f} bn", "such as"),
        (lambda x: f"{x:,.0f}", "with thousands separators"),
        (lambda x: f"{x:,.0f}".replace(",", " "), "with thousands separators"),
        (lambda x: f"{x:,.0f}".replace(",", "'"), "with thousands separators"),
        (lambda x: f"{x:,.3f}".translate(str.maketrans(",.", ".,")), "with decimal commas"),
        (lambda x: f"{x:.9e}".replace(".", ","), "with decimal commas"),
    ],
)
def test_numbers_are_read_where_one_meaning_is_possible(write, style):
    whole = np.round(N)
    runs = load_runs({"params": [write(x) for x in whole], "tokens": D, "loss": [f"{x:.9f}" for x in L]})
    np.testing.assert_allclose(runs.params, whole, rtol=1e-8)
    assert f"params: numbers {style}" in runs.source.notes[0]


def test_a_decimal_comma_of_a_loss_has_one_meaning():
    same(load_runs({"params": N, "tokens": D, "loss": [f"{x:.12f}".replace(".", ",") for x in L]}))
    three = [f"{x:.3f}".replace(".", ",") for x in L]  # each could be thousands, and no loss is
    np.testing.assert_array_equal(load_runs({"params": N, "tokens": D, "loss": three}).loss, np.round(L, 3))


def test_cells_that_disagree_are_refused():
    suffixed = [f"{x / 1e6:.0f}M" for x in N]
    suffixed[4] = "160"
    found = question({"params": suffixed, "tokens": D, "loss": L})
    assert "index 4, column 'params': '160' has no unit, where other cells have one, such as '70M'" in found
    either = [
        f"{x / 1e6:.3f}".replace(".", ",") for x in N
    ]  # "458,258": neither is a model's size for certain
    assert "params" in question({"params": either, "tokens": D, "loss": L})
    with pytest.raises(UsageError, match="state their unit"):
        load_runs({"params": [f"{x / 1e6}M" for x in N], "tokens": D, "loss": L}, units={"params": "M"})


def test_flops_may_state_their_unit():
    same(load_runs({"params": N, "flops": [f"{x / 1e18!r} EFLOP" for x in C.tolist()], "loss": L}))


@given(st.lists(st.text(max_size=8), max_size=6), st.sampled_from(["params", "flops", "loss"]))
def test_any_cells_are_numbers_or_problems(cells, quantity):
    plain = {"params": "count", "flops": "FLOP", "loss": "nats"}[quantity]
    numbers = read_numbers(cells, Unit(quantity, plain))
    bad = {row for row, _ in numbers.problems}
    assert all((row in bad) == bool(np.isnan(value)) for row, value in enumerate(numbers.values))


# --- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "tokens_per_second", "params_dtype", "num_experts", "loss-scale", "num_iterations", "model_dim",
        "d_model", "tokens_per_param", "D/N", "flops_per_token", "loss_low", "grad_norm", "batch_size_tokens",
        "vocab_size", "log_params", "loss_std", "aux_loss", "lm loss vs samples", "train_time_sec",
        "tokenizer", "context_length",
    ],
)  # fmt: skip
def test_other_things_are_no_quantities(name):
    assert meaning_of(name) is None


@given(st.text(max_size=20))
def test_any_name_has_a_meaning_or_none(name):
    found = meaning_of(name)
    if found is not None and found.unit:
        assert read_unit(found.quantity, found.unit).factor > 0


@pytest.mark.parametrize(
    ("extra", "quantity"),
    [
        ({"train/loss": L + 0.1}, "loss"), ({"eval/paloma/c4/loss": L + 0.2}, "loss"),
        ({"params_active": N / 2}, "params"), ({"train_tokens": D * 1.1}, "tokens"),
        ({"N": N * 1.1}, "params"),
    ],
)  # fmt: skip
def test_a_second_candidate_is_a_question(extra, quantity):
    table = {"params": N, "tokens": D, "loss": L}
    (name,) = extra
    found = question(table | extra)
    assert f"two columns may hold {quantity}: " in found and f"--column {quantity}={name}" in found
    same(load_runs(table | extra, columns={quantity: quantity}))


def test_variants_are_mentioned_and_not_asked_about():
    variants = {"params_non_embedding": N * 0.8, "unique_tokens": D, "loss_c4": L}
    runs = load_runs({"params": N, "tokens": D, "loss": L, **variants})
    same(runs)
    (note,) = (note for note in runs.source.notes if "other columns" in note)
    assert all(name in note for name in variants)


ALIASES = {
    "params": (["params", "N", "Model Size", "n_params", "total_params", "model/num_parameters"], 1.0),
    "params (M)": (["params (M)", "Model Size [M]", "params_millions"], 1e6),
    "tokens": (["tokens", "D", "tokens_trained", "throughput/total_tokens", "consumed tokens"], 1.0),
    "loss": (["loss", "L", "val/loss", "final_loss", "eval_nll", "lm loss"], 1.0),
}
OTHERS = ["lr", "seed", "num_layers", "tokens_per_second", "model_dim", "params_dtype", "remark"]


@settings(max_examples=30)
@given(st.data())
def test_order_aliases_and_other_columns_do_not_change_the_fit(data):
    params = data.draw(st.sampled_from(["params", "params (M)"]))
    columns = {}
    for key, values in ((params, N), ("tokens", D), ("loss", L)):
        names, factor = ALIASES[key]
        columns[data.draw(st.sampled_from(names))] = values / factor
    for name in data.draw(st.lists(st.sampled_from(OTHERS), unique=True)):
        random = np.random.default_rng(len(name))
        columns[name] = (
            ["x"] * N.size if name in ("remark", "params_dtype") else random.uniform(1, 4000, N.size)
        )
    order = data.draw(st.permutations(list(columns)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(load_runs(pd.DataFrame({name: columns[name] for name in order})))


def test_texts_under_the_name_of_a_quantity_are_not_it():
    text = ["large"] * N.size
    same(load_runs({"params": N, "tokens": D, "compute": text, "model_size": text, "loss": L}))
    assert "'large' (index 0) is not a number" in question({"params": text, "tokens": D, "loss": L})


def test_one_quantity_in_two_units_is_one_column():
    table = {
        "params (M)": np.round(N / 1e6),
        "params": np.round(N),
        "tokens": D,
        "val_ppl": np.exp(L),
        "val_loss": L,
    }
    runs = load_runs(table)
    assert dict(runs.source.columns) == {"params": "params", "tokens": "tokens", "loss": "val_loss"}
    assert "two columns may hold loss" in question(table | {"val_ppl": np.exp(L + 0.1)})


def test_bytes_per_token_of_a_loss_in_nats_are_refused():
    with pytest.raises(UsageError, match="bytes per token are for a loss in bits per byte"):
        load_runs({"params": N, "tokens": D, "loss": L}, bytes_per_token=4.2)


def test_a_row_in_another_unit_among_few_is_warned_of():
    few = [0, 4, 7, 12, 15, 18, 24]
    tokens = D[few].copy()
    tokens[2] *= 1e-3
    with pytest.warns(DataWarning, match=r"index 2: .* tokens in another unit \(by a factor of 1000\)"):
        load_runs({"params": N[few], "tokens": tokens, "loss": L[few]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_runs({"params": N[few], "tokens": D[few], "loss": L[few]})
        load_runs({"params": N[few], "tokens": tokens, "loss": L[few]}, units={"tokens": "count"})


def test_one_row_of_many_in_another_unit_is_a_jump():
    random = np.random.default_rng(0)
    params = np.exp(random.uniform(math.log(1e7), math.log(1e10), 5000))
    tokens = params * np.exp(random.uniform(1, 6, 5000))
    loss = LAW.loss(params, tokens) * np.exp(random.normal(0, 0.01, 5000))
    tokens[777] *= 1e-3
    assert "index 777, column 'tokens'" in question({"params": params, "tokens": tokens, "loss": loss})


def test_the_only_loss_is_the_loss_and_impossible_columns_are_not_asked_about():
    layers, dollars = np.full(N.size, 24), np.geomspace(100, 9000, N.size)
    runs = load_runs({"params": N, "tokens": D, "flops": C, "budget": dollars, "L": layers, "loss": L})
    same(runs)
    assert runs.source.columns["flops"] == "flops"
    assert runs.source.notes == ()
    same(load_runs({"params": N, "tokens": D, "eval/paloma/macro_loss": L}))
    assert "may hold" not in question({"params": N, "tokens": D, "loss_c4": L, "loss_pile": L})


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("tokens (10^9)", "billions"),
        ("Mparams", "millions"),
        ("FLOPs x10**18", "1e18"),
        ("Loss [nats/token]", "nats"),
        ("loss (bits/byte)", "bpb"),
    ],
)
def test_units_are_written_in_many_ways(name, unit):
    found = meaning_of(name)
    assert found.plain and found.unit == unit
