"""`chinchilla-jax plan`: what it prints and what it refuses."""

import dataclasses
import json

import pytest
from test_cli import done, refused, strict_json

import chinchilla_jax as cj
from chinchilla_jax import load_runs
from chinchilla_jax.laws.scaling_law import BESIROGLU_2024

LAW = ("--law", "besiroglu2024")


def test_a_plan_as_a_table_and_as_json():
    text = done("plan", "--flops", "1e24", *LAW)
    for words in (
        "parameters N",
        "tokens per parameter",
        "20:1 rule overhead (%)",
        "hoffmann2022",
        "kaplan2020",
    ):
        assert words in text
    assert "parameters N                 95.86B" in text
    found = strict_json(done("plan", "--flops", "1e24", "--json", *LAW))
    params, tokens = BESIROGLU_2024.optimal(1e24)
    assert found["plan"]["params"]["estimate"] == pytest.approx(params)
    assert found["plan"]["tokens"]["median"] == pytest.approx(tokens)
    assert found["target"] == {"quantity": "flops", "value": 1e24}


def test_intervals_come_from_a_bootstrap_on_the_spot():
    found = strict_json(done("plan", "--params", "7e10", "--resamples", "20", "--json"))
    assert found["n_laws"] + found["n_failed"] + found["n_without_optimum"] == 20
    for quantity in ("flops", "tokens", "tokens_per_param", "loss", "rule_overhead"):
        row = found["plan"][quantity]
        assert row["low"] < row["median"] < row["high"]
    assert found["plan"]["params"]["low"] == found["plan"]["params"]["high"] == 7e10


def test_laws_come_from_a_study_directory(tmp_path):
    from chinchilla_jax import StudySpec, run_study

    spec = StudySpec(resamples=20, flops=(1e20, 1e22))
    study = run_study(spec, tmp_path / "study", figures=False)
    found = strict_json(done("plan", "--flops", "1e24", "--study", str(study.path), "--json"))
    assert found["n_laws"] == int((study.fits()["status"] == "CONVERGED").sum())
    assert "identity" in found["source"]
    message = refused("plan", "--flops", "1e24", "--study", str(study.path), "--condition", "identiti")
    assert "did you mean" in message


def test_hardware_is_turned_into_flop():
    found = strict_json(
        done("plan", "--gpus", "1024", "--hours", "720", "--device", "h100", "--mfu", "0.4", "--json", *LAW)
    )
    assert found["hardware"]["flops"] == pytest.approx(1024 * 720 * 3600 * 989e12 * 0.4)
    assert found["target"]["value"] == found["hardware"]["flops"]
    assert "datasheet" in found["hardware"]["peak_source"]


def test_two_numbers_fix_a_run_that_is_judged(tmp_path):
    found = strict_json(done("plan", "--flops", "5.76e23", "--params", "280e9", "--json", *LAW))
    assert found["models"][0]["verdict"] == "under-trained"
    same = strict_json(
        done("plan", "--params", "280e9", "--tokens", str(5.76e23 / 6 / 280e9), "--json", *LAW)
    )
    assert same["models"] == found["models"]


def test_models_known_and_a_user_s_own(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("model,params,tokens\nmine,7e9,2e12\n")
    assert "Gopher" in done("plan", "--models", "known", *LAW)
    found = json.loads(done("plan", "--models", str(path), "--json", *LAW))
    assert [row["model"] for row in found["models"]] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to plan"),
        (("--flops", "-1"), "'--flops': '-1' is not a positive number"),
        (("--flops", "nan"), "'--flops': 'nan' is not a positive number"),
        (
            ("--flops", "1e24", "--params", "1e9", "--tokens", "1e9"),
            "--flops, --params and --tokens cannot be combined",
        ),
        (("--flops", "1e24", "--loss", "2"), "--flops and --loss cannot be combined"),
        (("--flops", "1e10", "--params", "1e10"), "is too large: 1e10 FLOP pay for 0.17 tokens"),
        (("--loss", "1.2"), "cannot be reached"),
        (("--gpus", "8", "--device", "h100"), "--hours is missing"),
        (("--gpus", "8", "--hours", "1", "--device", "gtx"), "unknown device"),
        (("--gpus", "8", "--hours", "1", "--device", "h100", "--mfu", "4"), "'4' is not a fraction"),
        (("--gpus", "8", "--hours", "1", "--device", "h100", "--flops", "1e20"), "both set the budget"),
        (("--gpus", "8", "--flops", "1e20"), "--flops and --gpus both set the budget"),
        (("--device", "h100", "--flops", "1e20"), "--flops and --device both set the budget"),
        (("--flops", "1e20", "--mfu", "0.5"), "--mfu is of the machines that --gpus, --hours and --device"),
        (("--flops", "1e20", "--precision", "bf16"), "--precision is of the machines that"),
        (("--flops", "1e24", "--ratio", "0"), "'--ratio': '0' is not a positive number"),
        (("--flops", "1e24", "--level", "80"), "'80' is not a probability"),
        (("--flops", "1e24", "--study", "x"), "--study and --law cannot be combined"),
        (("--flops", "1e24", "--condition", "x"), "give --study"),
        (("--models", "absent.csv"), "absent.csv: no such file"),
        (("--params", "standard"), "'--params': 'standard' is not a positive number"),
        (("chinchilla", "--flops", "1e24"), "leave out DATA 'chinchilla', or --law"),
    ],
)
def test_what_cannot_be_planned_costs_one_line(arguments, message):
    assert message in refused("plan", *arguments, *LAW)


def test_one_law_has_no_probabilities():
    found = strict_json(done("plan", "--models", "known", "--json", *LAW))["models"]
    assert {row["p_under"] for row in found} == {row["p_over"] for row in found} == {None}
    text = done("plan", "--models", "known", *LAW)
    assert "P(under)" not in text
    assert "one law has no uncertainty" in text
    assert "P(under)" in done("plan", "--models", "known", "--resamples", "20")


def test_a_table_of_one_s_own_is_read_with_every_option_that_fit_has(tmp_path):
    path = tmp_path / "runs.csv"
    runs = load_runs("chinchilla")
    rows = zip(*(getattr(runs, name).tolist() for name in ("params", "tokens", "loss")), strict=True)
    lines = [f"{n!r},{d!r},{loss!r},{2 * loss!r}" for n, d, loss in rows]
    path.write_text("\n".join(["N,D,train/loss,val/loss", *lines]) + "\n")
    for command in (
        ("plan", "--flops", "1e21"),
        ("inference", "--like-params", "1e9", "--input-tokens", "1e12"),
    ):
        asked = (command[0], str(path), *command[1:], "--resamples", "20", "--json")
        whole = strict_json(done(*asked, "--column", "loss=train/loss"))
        fewer = strict_json(done(*asked, "--column", "loss=train/loss", "--drop-highest-loss", "30"))
        assert "240 runs" in whole["source"]
        assert "210 runs" in fewer["source"]
        same = dataclasses.replace(runs, name="runs.csv", counting="as_given")
        assert whole["point_law"]["E"] == pytest.approx(cj.fit(same, starts=64).law.E, rel=1e-9)
    found = strict_json(
        done(
            "isoflop",
            str(path),
            "--column",
            "loss=train/loss",
            "--resamples",
            "20",
            "--json",
            *(each for c in (1e19, 1e20, 1e21) for each in ("--budget", str(c))),
        )
    )
    assert found["data"]["n_runs"] == 240


def test_one_name_for_the_count_of_the_parameters_fits_every_command():
    for command in (("fit", "--starts", "16"), ("bootstrap", "--resamples", "20")):
        named = strict_json(done(command[0], "chinchilla", *command[1:], "--counting", "standard", "--json"))
        assert named["data"]["params"] == "standard"


def test_budgets_to_prescribe_for_are_named_in_errors():
    for command in ("bootstrap", "isoflop"):
        assert "'--flops': '-1' is not a positive number" in refused(command, "chinchilla", "--flops", "-1")
    assert "'--budget': '0' is not a positive number" in refused("isoflop", "--budget", "0")


def test_a_law_has_five_numbers():
    assert "five numbers" in refused("plan", "--flops", "1e24", "--law", "1,2,3")
    assert "no such file" in refused("plan", "absent.csv", "--flops", "1e24")


def test_figures_are_drawn_where_asked(tmp_path):
    done("plan", "--flops", "1e24", "--models", "known", "--figures", str(tmp_path / "f"), *LAW)
    names = sorted(path.name for path in (tmp_path / "f").iterdir())
    drawn = ("loss_contours", "model_ratios", "optimum_by_compute")
    assert names == [f"{name}.{each}" for name in drawn for each in ("png", "svg")]


def test_both_methods_on_the_same_runs(tmp_path):
    asked = ("isoflop", "chinchilla", "--flops", "1e24", "--resamples", "20", "--json")
    found = strict_json(done(*asked, "--figures", str(tmp_path)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["isoflop.png", "isoflop.svg"]
    assert len(found["minima"]) == 9
    assert found["n_left_out"] > 0
    methods = {(row["method"], row["quantity"]) for row in found["compared"]}
    assert methods == {
        (method, quantity)
        for method in ("isoflop", "parametric")
        for quantity in ("exponent_params", "params", "tokens_per_param")
    }
    assert "belong to no budget" in done("isoflop", "chinchilla", "--resamples", "20")


def test_several_budgets_are_several_plans():
    found = strict_json(done("plan", "--flops", "1e22", "--flops", "1e24", "--json", *LAW))["plans"]
    assert [each["target"]["value"] for each in found] == [1e22, 1e24]
    one = strict_json(done("plan", "--flops", "1e24", "--json", *LAW))
    assert found[1]["plan"] == one["plan"]
    text = done("plan", "--flops", "1e22", "--flops", "1e24", *LAW)
    assert text.count("compute-optimal") == 2
    message = refused("plan", "--flops", "1e22", "--flops", "1e24", "--params", "7e9", *LAW)
    assert "several --flops cannot be combined with --params" in message
