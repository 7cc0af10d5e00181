"""What is asked for is counted before anything is expanded; limits are raised on purpose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import chinchilla_jax as cj
from chinchilla_jax._util import limits
from chinchilla_jax._util.errors import UsageError
from chinchilla_jax.cli.entry import main
from chinchilla_jax.study.chunks import plan_chunks, plan_ranges

MANY = 10**18
NOISE = {"family": "log_normal_noise", "values": [0.1], "repeats": 10**9}
FACTORS = [
    {"family": "multiplicative", "values": [{"logspace": [-3, 3, 100_000]}]},
    {"family": "loss_offset", "values": [{"linspace": [0.001, 0.1, 100_000]}]},
]


@pytest.mark.parametrize(
    ("fields", "place", "count"),
    [
        ({"sweeps": [NOISE]}, ("sweeps", 0), "1,000,000,001 conditions"),
        ({"sweeps": [{"product": FACTORS}]}, ("sweeps", 0), "10,000,000,001 conditions"),
        ({"resamples": MANY}, ("resamples",), "about 1.0e+18 resamples"),
        ({"resamples": 10**8, "sweeps": [NOISE | {"repeats": 1000}]}, ("resamples",), "100,100,000,000 fits"),
        (
            {"flops": [{"logspace": [18, 28, 90_000]}], "sweeps": [NOISE | {"repeats": 99}], "resamples": 2},
            ("flops",),
            "27,000,000 rows",
        ),
        ({"levels": [{"linspace": [0.1, 0.9, 10**12]}]}, ("levels",), "1,000,000,000,000 numbers"),
        ({"flops": [{"logspace": [18, 28, 60_000]}] * 5}, ("flops",), "300,000 numbers"),
    ],
)
def test_a_spec_is_counted_and_not_expanded(fields: dict, place: tuple, count: str) -> None:
    """Repeats, products, resamples and ranges beyond a limit are one line with the count and the variable."""
    with pytest.raises(UsageError, match="CHINCHILLA_JAX_MAX_") as caught:
        cj.StudySpec.from_dict(fields)
    assert caught.value.place == place
    assert f"{count}, and the limit is " in str(caught.value)


def test_the_count_of_conditions_is_that_of_the_plan() -> None:
    """What is counted is what would be made."""
    spec = cj.paper_study()
    assert spec.n_conditions == len(cj.study.plan_conditions(spec)) == 224


def test_chunks_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short ranges of a large table are refused before they are planned."""
    spec = cj.paper_study(resamples=8000)
    monkeypatch.setenv("CHINCHILLA_JAX_MAX_CHUNKS", "300")
    with pytest.raises(UsageError, match="448 chunks"):
        plan_chunks(spec, {}, plan_ranges(8000, 240))


def test_a_limit_is_raised_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment variable of the message allows what it refused."""
    with pytest.raises(UsageError, match="CHINCHILLA_JAX_MAX_RESAMPLES"):
        cj.StudySpec(resamples=2 * 10**8)
    monkeypatch.setenv("CHINCHILLA_JAX_MAX_RESAMPLES", "1e9")
    assert cj.StudySpec(resamples=2 * 10**8).resamples == 2 * 10**8


@pytest.mark.parametrize("text", ["many", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that cannot be read is an error of its own."""
    monkeypatch.setenv("CHINCHILLA_JAX_MAX_FITS", text)
    with pytest.raises(UsageError, match="CHINCHILLA_JAX_MAX_FITS is "):
        limits.FITS.require("a study", 1)


@pytest.mark.parametrize(
    "command",
    [
        f"bootstrap chinchilla --resamples {MANY}",
        f"forms chinchilla --resamples {MANY}",
        f"plan chinchilla --resamples {MANY}",
        f"isoflop chinchilla --resamples {MANY}",
        f"breakdown chinchilla --resamples {MANY}",
        f"breakdown chinchilla --repeats {10**9}",
        f"coverage chinchilla --resamples {MANY}",
        f"coverage chinchilla --datasets {10**9}",
        f"progress simulate --seeds {10**12}",
        f"progress simulate --steps {10**12}",
        f"progress simulate --replicas {10**12}",
        f"study check paper --resamples {10**15}",
        f"study check paper --workers {10**15}",
        f"study paper --out nowhere --resamples {10**7}",
    ],
)
def test_counts_of_commands_have_limits(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2; nothing is allocated or simulated first."""
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "CHINCHILLA_JAX_MAX_" in error


def test_numbers_of_thousands_of_digits_are_quoted_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    """An option is not repeated in full."""
    assert main(["bootstrap", "chinchilla", "--resamples", "9" * 5000]) == 2
    assert len(capsys.readouterr().err) < 250


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs a file without end")
@pytest.mark.parametrize("path", ["/dev/zero", "digits.toml"])
def test_a_spec_file_has_an_end(path: str, tmp_path: Path) -> None:
    """A device is not read for ever, and an integer of 5,000 digits is no traceback."""
    (tmp_path / "digits.toml").write_text(f"seed = {'1' * 5000}")
    with pytest.raises(UsageError, match=r"too large for a study's TOML file|not TOML: Exceeds the limit"):
        cj.StudySpec.from_toml(tmp_path / path)
