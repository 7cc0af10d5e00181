"""Ten million resamples: the same numbers in blocks as at once, and few arrays of that length on the way."""

import dataclasses
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import chinchilla_jax as cj
from chinchilla_jax._util import address_space, blocks
from chinchilla_jax.bootstrapping import result as result_module
from chinchilla_jax.bootstrapping.boundary import boundary_comparison
from chinchilla_jax.cli import datasets, main
from chinchilla_jax.intervals import line_order, normal, parameters, tokens_per_param
from chinchilla_jax.laws import fitted, scaling_law
from chinchilla_jax.solvers import Solution, Status
from chinchilla_jax.study.spec.reproduce import study_command

BUDGETS = (1e20, 1e22, 1e24, 1e26)
GRID = np.geomspace(1e18, 1e28, 201)
LANES = 200_000


@pytest.fixture(scope="module")
def boot():
    """Fits of 2,000 resamples, repeated; some failed, and some at the bound or without an optimum."""
    few = cj.bootstrap(cj.load_runs("chinchilla"), resamples=2000)
    columns = {
        field.name: np.concatenate([getattr(few.solution, field.name)] * (LANES // 2000))
        for field in dataclasses.fields(Solution)
    }
    rng = np.random.default_rng(0)
    columns["theta"] *= 1 + 1e-3 * rng.standard_normal(columns["theta"].shape)
    columns["theta"][rng.integers(0, LANES, 100), 3] *= -1
    columns["status"][rng.integers(0, LANES, 100)] = Status.MAX_STEPS
    columns["status"][: LANES // 10] = Status.BOUNDARY
    return dataclasses.replace(
        few, solution=Solution(**columns), resample_ids=np.arange(LANES, dtype=np.int32)
    )


@pytest.fixture
def in_blocks(monkeypatch):
    """Long arrays begin at 4,000 lanes, and a block has 3,000."""
    rooms = (line_order, normal, parameters, tokens_per_param, fitted, scaling_law)
    for module in (blocks, result_module, *rooms):
        monkeypatch.setattr(module, "LONG", 4000)
    monkeypatch.setattr(blocks, "_BLOCK", 3000)


def answers(boot):
    boot = dataclasses.replace(boot)  # without what an earlier question has cached
    return [
        boot.parameter_columns(0.8, "percentile"),
        boot.tokens_per_param_columns(BUDGETS, 0.8, "percentile"),
        boot.tokens_per_param_columns(GRID, 0.8, "percentile"),
        boundary_comparison(boot, BUDGETS),
        boot.parameter_columns(0.8, "gaussian"),
        boot.counts(),
        boot.warnings,
    ]


def test_blocks_change_no_number(boot, request):
    at_once = answers(boot)
    request.getfixturevalue("in_blocks")
    for found, expected in zip(answers(boot), at_once, strict=True):
        np.testing.assert_equal(found, expected)
    assert "laws" not in dataclasses.replace(boot).__dict__


def test_laws_with_a_line_in_blocks(boot, request):
    laws = boot.laws
    requests = [parameters.IntervalRequest(boot.point.law, level, "percentile") for level in (0.5, 0.8)]
    for budgets in (GRID, np.array(BUDGETS)):
        at_once = tokens_per_param.interval_bands(laws, budgets, requests, counted=boot.counted)
        with pytest.MonkeyPatch.context():
            request.getfixturevalue("in_blocks")
            np.testing.assert_equal(
                tokens_per_param.interval_bands(laws, budgets, requests, counted=boot.counted), at_once
            )


def test_summaries_take_few_arrays_of_the_length_of_the_bootstrap(boot, in_blocks):
    """The fits themselves take 65 bytes each; ten million and their summaries stay below a gigabyte."""
    boot = dataclasses.replace(boot)  # without the laws that an earlier test has asked for
    tracemalloc.start()
    try:
        for ask, most in (
            (lambda: boot.parameter_columns(0.8, "percentile"), 22),
            (lambda: boot.tokens_per_param_columns(BUDGETS, 0.8, "percentile"), 22),
            (lambda: boundary_comparison(boot, BUDGETS), 22),
            (lambda: boot.counts(), 2),
            (lambda: boot.warnings, 4),
        ):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            ask()
            assert (tracemalloc.get_traced_memory()[1] - before) / LANES < most
    finally:
        tracemalloc.stop()


def test_a_normal_is_drawn_with_the_same_covariance_in_blocks(boot, request):
    at_once = normal.law_covariance(boot.laws, boot.counted)
    request.getfixturevalue("in_blocks")
    np.testing.assert_allclose(normal.law_covariance(boot.laws, boot.counted), at_once, rtol=1e-12)


def test_more_resamples_than_the_published_study_may_have_need_no_published_study():
    sweeps = [{"family": "multiplicative", "values": [1.0]}]
    spec = cj.StudySpec.from_dict({"data": "chinchilla", "sweeps": sweeps, "resamples": 10**7})
    assert study_command(spec).startswith("chinchilla-jax study spec.toml")
    assert study_command(cj.paper_study(resamples=200, seed=3)).startswith("chinchilla-jax study paper")


def test_the_laws_of_a_condition_are_those_of_its_fits(small_study):
    for condition in small_study.conditions["condition"]:
        fits, (laws, codes) = small_study.fits(condition), small_study.laws(condition)
        for name, values in laws.as_dict().items():
            np.testing.assert_array_equal(values, fits[name].to_numpy())
        assert [Status(code).name for code in codes] == fits["status"].tolist()
    with pytest.raises(cj.UsageError, match="no condition 'multiplicativ'"):
        small_study.laws("multiplicativ")


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
@pytest.mark.parametrize("megabytes", [200, 1000])
def test_a_small_address_space_is_refused_in_a_line(megabytes):
    """Below what the libraries map, native code aborts: nothing of it is loaded."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({megabytes}_000_000,) * 2)"
    code = f"{limit}; import sys; from chinchilla_jax.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "fit", "chinchilla", "--engine", "xla"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"limited to {megabytes:,} MB" in done.stderr and done.stderr.count("\n") == 1
    shown = subprocess.run([*command[:3], "--version"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0 and "chinchilla" in shown.stdout


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 76.3 MiB for an array"),
        MemoryError(),
        RuntimeError("can't start new thread"),
        ImportError("libjax_common.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_memory_that_cannot_be_had_is_one_line(error, monkeypatch, capsys):
    def failing(*arguments, **options):
        raise error

    monkeypatch.setattr(datasets.datasets_command, "callback", failing)
    monkeypatch.setattr(address_space, "address_space_limit", lambda: 2**40)
    assert main(["datasets"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("chinchilla-jax: error: out of memory (limited to 1,099,512 MB by ulimit -v)")
    assert printed.count("\n") == 1 and "with more memory" in printed
