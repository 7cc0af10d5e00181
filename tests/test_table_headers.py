"""Headers that trackers and libraries write: read as they are, or by the options that the message proposes.

The names are those of the projects; the numbers are made up here.
"""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chinchilla_jax as cj
from chinchilla_jax._util.errors import DataError
from chinchilla_jax.cli.table_options import Table

LAW = cj.ScalingLaw(E=1.7, A=400.0, B=900.0, alpha=0.34, beta=0.31)
N, D = (each.ravel() for each in np.meshgrid([7e7, 1.6e8, 4.1e8, 1.2e9], [3e9, 1e10, 4e10]))
RNG = np.random.default_rng(0)
L = LAW.loss(N, D) * np.exp(RNG.normal(0, 0.003, N.size))
GIVEN = {
    "N": N, "D": D, "C": 6 * N * D, "L": L, "train": L * 1.02, "other": L + 0.3, "ppl": np.exp(L),
    "bpb": L / np.log(2) / 4.2, "GFLOP": 6 * N * D / 1e9, "PFLOP": 6 * N * D / 1e15,
    "PF-days": 6 * N * D / 8.64e19, "M": N / 1e6, "most of N": 0.8 * N, "some of N": 0.2 * N,
    "rate": RNG.uniform(3e5, 9e5, N.size), "TFLOP/s": RNG.uniform(200, 500, N.size),
    "small": RNG.uniform(0.1, 0.9, N.size),
    "whole": RNG.integers(10, 4000, N.size), "steps": D / 2**20, "text": ["bfloat16"] * N.size,
    "name": [f"run-{i}" for i in range(N.size)], "done": ["FINISHED"] * N.size,
}  # fmt: skip

# Columns with what they hold, and the column that each quantity is read from in the end.
HEADERS = {
    "nanochat": (
        "flops_budget=C depth=whole model_dim=whole params_wte=some of N params_value_embeds=some of N "
        "params_lm_head=some of N params_transformer=most of N params_scalars=whole params_total=N "
        "num_iterations=steps tokens_trained=D val_bpb=bpb core_score=small train_time_sec=rate",
        "params_total tokens_trained flops_budget val_bpb",
    ),
    "Levanter": (
        "throughput/total_tokens=D throughput/tokens_per_second=rate throughput/total_gflops=GFLOP "
        "throughput/gflops_per_second=rate throughput/mfu=small throughput/examples_per_second=whole "
        "parameter_count=N train/loss=train optim/learning_rate=small",
        "parameter_count throughput/total_tokens throughput/total_gflops train/loss",
    ),
    "Levanter with evaluations": (
        "throughput/total_tokens=D throughput/tokens_per_second=rate parameter_count=N train/loss=train "
        "eval/loss=L eval/paloma/c4_en/loss=other eval/paloma/c4_en/bpb=bpb",
        "parameter_count throughput/total_tokens - train/loss",
    ),
    "MLflow": (
        "run_id=name experiment_id=whole status=done artifact_uri=text metrics.loss=L "
        "params.batch_size=whole "
        "params.n_params=N params.n_tokens=D params.dtype=text params.lr=small tags.mlflow.runName=name",
        "params.n_params params.n_tokens - metrics.loss",
    ),
    "Nanotron": (
        "iteration=steps consumed_tokens=D elapsed_time_per_iteration_ms=rate tokens_per_sec=rate "
        "tokens_per_sec_per_gpu=rate global_batch_size=whole lm_loss=L lr=small model_tflops_per_gpu=TFLOP/s "
        "hardware_tflops_per_gpu=TFLOP/s grad_norm=small model.dtype=text tokens.train_steps=steps "
        "tokens.sequence_length=whole num_params=N params_dtype=text",
        "num_params consumed_tokens - lm_loss",
    ),
    "OLMo-core": (
        "num_params=N|num_non_embedding_params=most of N|throughput/total tokens=D|"
        "throughput/device/TPS=rate|"
        "throughput/total petaflops=PFLOP|throughput/device/MFU=small|train/CE loss=train|train/PPL=ppl|"
        "train/Z loss=small|train/load balancing loss=small|eval/lm/c4_en-validation/CE loss=L|"
        "eval/lm/c4_en-validation/PPL=ppl|optim/total grad norm=small",
        "num_params|throughput/total tokens|throughput/total petaflops|train/CE loss",
    ),
    "Megatron-LM": (
        "params_dtype=text|num_layers=whole|seq_length=whole|consumed-train-tokens=D|learning-rate=small|"
        "batch-size=whole|loss-scale=whole|grad-norm=small|params-norm=small|lm loss=train|"
        "lm loss vs samples=train|lm loss validation=L|lm loss validation ppl=ppl|n_params=N",
        "n_params|consumed-train-tokens|-|lm loss",
    ),
    "GPT-NeoX": (
        "train/lm_loss=train validation/lm_loss=L validation/lm_loss_ppl=ppl "
        "runtime/flops_per_sec_per_gpu=rate "
        "runtime/samples_per_sec=whole total_params=N tokens=D",
        "total_params tokens - train/lm_loss",
    ),
    "HF Trainer on W&B": (
        "model/num_parameters=N train/loss=train train/global_step=steps train/num_input_tokens_seen=D "
        "train/total_flos=C train_runtime=rate train_samples_per_second=whole "
        "per_device_train_batch_size=whole",
        "model/num_parameters train/num_input_tokens_seen train/total_flos train/loss",
    ),
    "HF all_results.json": (
        "epoch=small eval_loss=L eval_runtime=rate eval_samples_per_second=whole perplexity=ppl total_flos=C "
        "train_loss=train train_runtime=rate train_samples=whole num_input_tokens_seen=D num_parameters=N",
        "num_parameters num_input_tokens_seen total_flos eval_loss",
    ),
    "Open-Athena": (
        "source=text dataset=text model=name condition=text tokens=D params=N budget=C loss=L",
        "params tokens budget loss",
    ),
    "Gemstones": (
        "run_name=name params_active_precise=N width=whole depth=whole tokens=D step=steps num_nodes=whole "
        "seconds_per_step=small final_loss=L",
        "params_active_precise tokens - final_loss",
    ),
    "Gadre": (
        "name=name dataset_name=text hyperparameters.tokens=D hyperparameters.warmup=whole "
        "hyperparameters.lr=small "
        "hyperparameters.global_bs=whole hyperparameters.z_loss=small hyperparameters.params=N "
        "hyperparameters.params_no_embed=most of N hyperparameters.chinchilla_multiplier=small c4_loss=L",
        "hyperparameters.params hyperparameters.tokens - c4_loss",
    ),
    "datablations": ("unique_tokens=D params=N tokens=D loss=L", "params tokens - loss"),
    "Step Law": (
        "N=N|D=D|h=whole|ffnh=whole|numh=whole|numl=whole|lr=small|bs=whole|ti=steps|smooth loss=L",
        "N|D|-|smooth loss",
    ),
    "chinchilla toolkit": ("C=C N=N D=D loss=L", "N D C loss"),
    "MosaicML Composer": (
        "time/token=D time/batch=steps loss/train/total=train throughput/tokens_per_sec=rate n_params=N "
        "throughput/device/flops_per_sec=rate metrics/train/TokenAccuracy=small",
        "n_params time/token - loss/train/total",
    ),
    "torchtitan": (
        "loss_metrics/global_avg_loss=L loss_metrics/global_max_loss=other grad_norm=small "
        "throughput(tps)=rate "
        "tflops=TFLOP/s mfu(%)=small time_metrics/end_to_end(s)=rate n_tokens_seen=D model_param_count=N",
        "model_param_count n_tokens_seen - loss_metrics/global_avg_loss",
    ),
    "DeepMind, routing": (
        "hyper_id=name step=steps router_type=text num_experts=whole k=whole d_model=whole "
        "num_blocks=whole seed=whole "
        "total_parameter_count=N dense_parameter_count=most of N flops_per_step=rate loss_validation=L "
        "tokens=D "
        "loss_c4=other loss_pile=other",
        "total_parameter_count tokens - loss_validation",
    ),
    "by hand": (
        "Model Size (M)=M|Compute (PF-days)=PF-days|Val. perplexity=ppl|Notes=text",
        "Model Size (M)|-|Compute (PF-days)|Val. perplexity",
    ),
    "W&B": (
        "Name=name|Runtime=rate|config.n_params=N|config.batch_size=whole|config.max_steps=steps|"
        "summary.tokens_seen=D|summary.val/loss=L|summary._step=steps",
        "config.n_params|summary.tokens_seen|-|summary.val/loss",
    ),
}  # fmt: skip
ASKED = {
    "Levanter with evaluations", "OLMo-core", "Megatron-LM", "GPT-NeoX", "HF all_results.json",
    "Gemstones", "torchtitan",
}  # fmt: skip


def frame_of(header):
    columns = re.split(r"\|" if "|" in header else r" (?=\S+=)", header)
    return pd.DataFrame({name: GIVEN[held] for name, held in (each.rsplit("=", 1) for each in columns)})


def options_in(said):
    """The first option that a message proposes for each quantity, as words of a shell."""
    found = {}
    for option in re.findall(r"--(?:column|unit) (?:'[^']*'|\S+)", said):
        name, value = shlex.split(option)
        found.setdefault((name, value.partition("=")[0]), value)
    return {
        name: tuple(value for (each, _), value in found.items() if each == name)
        for name in ("--column", "--unit")
    }


@pytest.mark.parametrize("tool", HEADERS)
def test_a_header_is_read_or_what_is_proposed_works(tool, tmp_path):
    header, wanted = HEADERS[tool]
    path = str(tmp_path / "runs.csv")
    frame_of(header).to_csv(path, index=False)
    column, unit = (), ()
    for asked in range(5):  # noqa: B007
        try:
            runs = Table(data=path, column=column, unit=unit).read()
            break
        except DataError as error:
            told = options_in(str(error))
            assert told["--column"] or told["--unit"], str(error)
            assert not any(value.endswith("=NAME") for value in told["--column"]), str(error)
            column, unit = column + told["--column"], unit + told["--unit"]
    assert bool(asked) == (tool in ASKED), runs.read_lines
    names = wanted.split("|" if "|" in wanted else " ")
    quantities = ("params", "tokens", "flops", "loss")
    assert [runs.source.columns.get(quantity, "-") for quantity in quantities] == names
    np.testing.assert_allclose(runs.params, N, rtol=1e-9)
    np.testing.assert_allclose(runs.tokens, D, rtol=1e-9)
    assert np.corrcoef(runs.loss, L)[0, 1] > 0.999
    assert len(runs) == len(N)


NAMES = sorted({name for header, _ in HEADERS.values() for name in frame_of(header)})
ODD = [["1.3B"], ["1,234"], ["1.234,5"], [""], [None], [True], [0], [1e308], [1e-308], ["2 EFLOP"]]


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.sampled_from(sorted(GIVEN)) | st.integers(0, len(ODD) - 1), min_size=1
    )
)
@pytest.mark.filterwarnings("ignore::chinchilla_jax._util.errors.DataWarning")
def test_whatever_is_under_these_names_what_is_proposed_can_be_said(held):
    frame = pd.DataFrame({n: ODD[x] * N.size if isinstance(x, int) else GIVEN[x] for n, x in held.items()})
    columns, units = {}, {}
    for _ in range(6):
        try:
            cj.load_runs(frame, columns=columns, units=units)
            break
        except DataError as error:  # a UsageError would be a proposal that cannot be followed
            assert str(error).isprintable()
            told = options_in(str(error))
            columns |= dict(text.split("=", 1) for text in told["--column"] if "=NAME" not in text)
            units |= dict(text.split("=", 1) for text in told["--unit"])


@pytest.mark.parametrize("odd", ["diverged", "-1", "inf", "nan (spike)", "0"])
@pytest.mark.parametrize(
    "names", [("loss", "train_loss"), ("val loss", "train loss"), ("eval/ce", "train/ce")]
)
def test_a_cell_that_is_no_loss_does_not_choose_the_other_loss(names, odd):
    sizes, tokens = np.repeat([1e8, 2e8, 4e8], 3), np.tile([1e9, 4e9, 2e10], 3)
    losses = 1.7 + 400 / sizes**0.34 + 1500 / tokens**0.36
    held = {
        "params": sizes,
        "tokens": tokens,
        names[0]: [odd if row == 4 else f"{loss:.4f}" for row, loss in enumerate(losses)],
        names[1]: losses - 0.1,
    }
    with pytest.raises(cj.DataError, match=f"two columns may hold loss: '{names[0]}' and '{names[1]}'"):
        cj.load_runs(held)
    with pytest.raises(cj.DataError, match=f"index 4, column '{names[0]}'"):
        cj.load_runs(held, columns={"loss": names[0]})
    held[names[0]] = ["baseline"] * len(sizes)  # which holds no losses
    assert cj.load_runs(held).source.columns["loss"] == names[1]
