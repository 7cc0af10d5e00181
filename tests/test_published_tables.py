"""Embedded tables that papers published as data: counts, ranges, hashes, selections and licences."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import chinchilla_jax as cj
from chinchilla_jax.bootstrapping.auto_scheme import choose_scheme
from chinchilla_jax.cli import main
from chinchilla_jax.datasets import dataset_info, dataset_names, figure_names
from chinchilla_jax.datasets.catalogue import embedded_bytes
from chinchilla_jax.fitting.unlike_rows import telling_columns

FILES = {
    "gadre": "b69899e63599cc80a9c33f84fc823bb80a136957d264fc585b2b9084c4e325cb",
    "gemstones": "6389587eb429f6d48a1b5633a2658515bbc3a10e27f92e2d3c14f0986c93d557",
    "olmo_ladder": "a8c48ee4abe86ea19ac29a331724b1f2388e137b04f21f4c8c599467b2ac5427",
    "datablations": "9f38d4b8c5fba65274502a09d3e880d7458904ab19c6ea7a9274ebce4d0d99bb",
    "routing": "4b46e8e61f545e4f807548526a8cbbc05ce8c7b32ee12152fefe5d4cffb5f532",
    "quest": "4805f1436bdf5805f5087ce1ad684c0ece6a0d261ed8d2fd6440264048891b02",
}
RANGES = {
    "gadre_c4": ["1.05693e+07", "6.88941e+09", "5.28466e+07", "1.37788e+11", "2.38222", "5.97492"],
    "gadre_redpajama": ["1.05693e+07", "6.88941e+09", "5.28466e+07", "9.21469e+11", "2.42499", "6.12388"],
    "gadre_refinedweb": ["1.05693e+07", "6.88941e+09", "5.28466e+07", "4.60734e+11", "2.45472", "6.02538"],
    "gemstones": ["4.83776e+07", "2.00784e+09", "1.09975e+10", "1.09987e+11", "2.51272", "3.51102"],
    "olmo_ladder": ["2.67425e+08", "3.50351e+09", "1.90893e+09", "6.3394e+11", "2.6644", "3.74748"],
    "datablations": ["7.09875e+06", "8.67e+09", "1e+08", "1.78e+11", "2.33674", "8.10201"],
    "datablations_repeated": ["7.09875e+06", "8.67e+09", "1e+08", "9e+11", "2.33674", "11.0184"],
    "routing_s_base": ["2.28219e+07", "2.07077e+11", "1.30548e+11", "1.31072e+11", "1.99908", "3.11241"],
    "routing_rl_r": ["2.29204e+07", "2.07083e+11", "1.30023e+11", "1.30548e+11", "2.03153", "3.11144"],
    "routing_hash": ["2.28219e+07", "2.07077e+11", "1.30548e+11", "1.30548e+11", "2.05681", "3.13469"],
    "quest_2bit": ["9.48717e+07", "3.31967e+08", "7.49994e+08", "9.99975e+09", "3.08518", "3.71868"],
    "quest_3bit": ["9.48717e+07", "3.31967e+08", "7.49994e+08", "9.99975e+09", "2.91455", "3.53777"],
    "quest_4bit": ["9.48717e+07", "3.31967e+08", "7.49994e+08", "9.99975e+09", "2.84128", "3.46177"],
}
PUBLISHED = [name for name in dataset_names() if name not in figure_names()]


@pytest.mark.parametrize("name", PUBLISHED)
def test_they_are_the_files_and_rows_that_are_stated(name):
    info = dataset_info(name)
    assert hashlib.sha256(embedded_bytes(name)).hexdigest() == FILES[info.file]
    runs = cj.load_runs(name)
    assert runs.name == name
    assert len(runs) == info.n_rows
    found = [getattr(runs, each) for each in ("params", "tokens", "loss")]
    ends = [f"{value:.6g}" for each in found for value in (each.min(), each.max())]
    assert ends == RANGES[name]
    assert set(info.variables) <= set(runs.variables)


def test_a_name_never_pools_what_follows_no_one_law():
    corpora = [cj.load_runs(f"gadre_{each}", groups=["corpus"]) for each in ("c4", "redpajama", "refinedweb")]
    assert [np.unique(runs.groups["corpus"]).tolist() for runs in corpora] == [
        ["c4"],
        ["redpajama"],
        ["refinedweb"],
    ]
    assert cj.load_runs("olmo_ladder").params.max() < 7e9  # without the two targets
    repeated = cj.load_runs("datablations_repeated")
    assert (repeated.tokens > repeated.variables["unique_tokens"] * 1.01).any()
    assert len(cj.load_runs("datablations", where="tokens >= 1e9")) == 35  # conditions are added


@pytest.mark.slow
def test_checkpoints_of_one_shape_are_resampled_together():
    boot = cj.bootstrap("gemstones", resamples=10, delta=0.01)
    assert isinstance(boot.scheme, cj.bootstrapping.schemes.Cluster)
    assert boot.scheme.by == "run"
    assert len(np.unique(boot.members)) == 20


def test_options_of_own_tables_are_theirs():
    other = cj.load_runs("gadre_redpajama", columns={"loss": "loss_paloma_redpajama"})
    assert other.source.columns["loss"] == "loss_paloma_redpajama"
    assert (other.loss != cj.load_runs("gadre_redpajama").loss).all()
    spec = cj.StudySpec(data="gadre_c4")
    assert spec.interpretations == ("as_given",)
    with pytest.raises(cj.DataError, match="did you mean 'gemstones'"):
        cj.load_runs("gemstone")


def test_the_command_lists_them_with_licences(capsys):
    assert main(["datasets"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in dataset_names())
    assert "CC BY 4.0" in printed
    assert main(["datasets", "routing_s_base"]) == 0
    assert "github.com/google-deepmind/scaling_laws_for_routing" in capsys.readouterr().out


def test_licences_that_ask_for_a_notice_have_it():
    notice = (Path(__file__).parent.parent / "NOTICE").read_text(encoding="utf-8")
    for file in FILES:
        assert f"{file}.csv" in notice
    assert "Copyright 2022 DeepMind Technologies Limited" in notice
    assert notice.count("Copyright (c)") == 3


def test_cool_downs_are_no_checkpoints_of_which_the_last_counts():
    runs = cj.load_runs("gemstones")
    (said,) = [each for each in runs.source.notes if "'run'" in each]
    assert said.startswith("rows are cool-downs of 20 runs (column 'run'), each from another place (")
    assert said.endswith("resample them together (--cluster run)") and "--final" not in said
    dependence = choose_scheme(runs, cj.fit(runs, starts=32, delta=0.01))
    assert dependence.scheme.by == "run"
    assert not any("keep the last checkpoint" in each for each in dependence.warnings)
    # A setting of the run, the same at all of its rows, says nothing of where a row ends.
    table = pd.DataFrame({"params": runs.params, "tokens": runs.tokens, "loss": runs.loss})
    table["run"] = runs.groups["run"]
    table["cooldown_steps"] = np.where(table["params"] > 5e8, 1000, 2000)
    assert any("--final keeps the last" in each for each in cj.load_runs(table).source.notes)


def test_a_ratio_by_another_count_of_the_parameters_names_no_recipes():
    runs = cj.load_runs("olmo_ladder")
    fit = cj.fit(runs, starts=64)
    assert not any("explains" in each for each in fit.warnings)
    assert "tokens_per_param_over_20" in runs.labels
    assert "tokens_per_param_over_20" not in telling_columns(runs)
    assert {"rerun"} <= set(telling_columns(runs))


def test_a_licence_that_is_none_is_explained(capsys):
    assert main(["datasets"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert " figure " not in printed.split("and chinchilla_architectures")[0]
    assert "Licence facts: numbers read off a figure or a table of a paper." in printed
    assert main(["datasets", "llama3"]) == 0
    assert "licence  facts, read off a figure" in capsys.readouterr().out


def test_readers_of_an_embedded_table_share_nothing_that_they_can_change():
    first, second = (cj.load_runs("chinchilla", drop_highest_loss=0) for _ in range(2))
    assert first == second and not first.loss.flags.writeable
    first.labels["mine"] = first.groups["mine"] = np.arange(len(first))
    third = cj.load_runs("chinchilla", drop_highest_loss=0)
    assert "mine" not in {*second.labels, *second.groups, *third.labels, *third.groups}
