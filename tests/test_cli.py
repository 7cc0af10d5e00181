"""The command line: what it prints, what it exits with, and that a mistake costs one line."""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys

import click
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chinchilla_jax as cj
from chinchilla_jax._util.errors import short
from chinchilla_jax.analysis.coverage_noise import NOISES
from chinchilla_jax.analysis.splits import SPLITS
from chinchilla_jax.analysis.wald_coordinates import COMPARED as WALD_COMPARED
from chinchilla_jax.bootstrapping.schemes import SCHEMES
from chinchilla_jax.cli import choices, main, output
from chinchilla_jax.datasets import dataset_names, figure_names, load_runs
from chinchilla_jax.datasets.counting import COUNTING_RULES
from chinchilla_jax.datasets.groupings import BUILT_IN
from chinchilla_jax.datasets.load import COUNTINGS
from chinchilla_jax.intervals.methods import BOOTSTRAP_METHODS
from chinchilla_jax.laws import LAWS, OBJECTIVES
from chinchilla_jax.solvers import SOLVER_NAMES
from chinchilla_jax.solvers.base import ENGINES
from chinchilla_jax.solvers.lane_kernel.loading import load_kernel
from chinchilla_jax.study.execution.executors import EXECUTORS

COMMANDS = (
    "fit", "bootstrap", "study", "report", "coverage", "influence", "breakdown", "diagnose",
    "forms", "objectives", "multiverse", "wald", "compare", "predict", "backtest", "plan", "next",
    "inference", "isoflop", "flops",
    "progress", "datasets", "doctor",
)  # fmt: skip
STATUSES = {"CONVERGED", "MAX_STEPS", "UNIDENTIFIED", "INVALID", "BOUNDARY"}
# One number of starts and of resamples throughout, and always 240 runs: what is compiled once serves all.
STARTS, RESAMPLES = "16", "20"


def run(*arguments):
    """Exit code, stdout and stderr of the command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


def done(*arguments):
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    return out


def refused(*arguments, code=2):
    """The message of a run that ends with `code`, nothing on stdout and one line on stderr."""
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    return error_text(err)


def error_text(err):
    assert err.startswith("chinchilla-jax: error: ")
    assert err.endswith("\n")
    message = err.removeprefix("chinchilla-jax: error: ").removesuffix("\n")
    assert message.isprintable(), "one line"
    return message


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


def strict_json(text):
    return json.loads(text, parse_constant=refuse_constant)


def in_python(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


@pytest.fixture
def table(tmp_path):
    """Writes the 240 runs of Chinchilla as a table of the user's own, with changed losses."""

    def write(change=lambda loss: loss, name="mine.csv"):
        frame = load_runs("chinchilla").to_frame()
        frame["loss"] = change(frame["loss"])
        frame.rename(columns={"params": "Model Size", "tokens": "D"})[["Model Size", "D", "loss"]].to_csv(
            tmp_path / name, index=False
        )
        return str(tmp_path / name)

    return write


# --- start -------------------------------------------------------------------------------------------------


# What takes long to import, and is of no use to a fit on a CPU.
HEAVY = {
    "jax", "optax", "pandas", "pandera", "pyarrow", "matplotlib", "scipy", "numba", "jinja2", "pydantic",
    "rich",
}  # fmt: skip
# Where there may be an accelerator, JAX is asked for it.
USELESS = HEAVY - {"jax"} if any(map(importlib.util.find_spec, ("jax_plugins", "libtpu"))) else HEAVY


# Slow to import, and needed by the few commands that start processes, ask servers or read packages' metadata.
RARE = {"subprocess", "socket", "importlib.metadata", "html", "numba"}
OTHER_LAWS = {"broken", "compute_only", "experts", "farseer", "gamma", "kaplan", "restrictions", "own_law"}
OTHER_TABLES = {"arrow", "excel", "folder", "in_memory"}


def imported_by(*arguments):
    """The modules that a run of the command line has imported in the end, and what it has printed."""
    code = (
        "import sys; from chinchilla_jax.cli import main; code = main(sys.argv[1:]);"
        "print(code, *sys.modules, file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    code, *modules = result.stderr.splitlines()[-1].split()
    assert code == "0", result.stderr
    return set(modules), result.stdout


def test_help_loads_nothing_heavy():
    modules, text = imported_by("--help")
    assert not (HEAVY | RARE | {"numpy"}) & modules
    assert "bootstrap" in text
    rooms = {module.split(".")[1] for module in modules if module.startswith("chinchilla_jax.")}
    assert rooms == {"_util", "cli"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "chinchilla", "--starts", STARTS, "--json"),
        ("fit", "llama3", "--starts", STARTS, "--delta", "1e-3"),
        ("bootstrap", "chinchilla", "--resamples", RESAMPLES, "--seed", "3", "--json"),
        ("bootstrap", "chinchilla", "--resamples", RESAMPLES, "--flops", "1e21", "--flops", "1e24"),
        ("bootstrap", "chinchilla", "--resamples", RESAMPLES, "--method", "basic", "--level", "0.9"),
    ],
)
def test_a_fit_loads_nothing_that_it_has_no_use_for(arguments):
    load_kernel()  # compiled and kept by now
    modules, text = imported_by(*arguments)
    assert text
    assert not USELESS & modules
    commands = {module.removeprefix("chinchilla_jax.cli.") for module in modules} & set(COMMANDS)
    assert commands <= {"fit", "bootstrap"}, "no other command's module"
    assert not RARE & modules
    assert not {f"chinchilla_jax.laws.{name}" for name in OTHER_LAWS} & modules
    assert not {f"chinchilla_jax.datasets.readers.{name}" for name in OTHER_TABLES} & modules
    assert not {"chinchilla_jax._util.remote", "chinchilla_jax.solvers.lane_kernel.building"} & modules


def test_a_plan_in_closed_form_loads_no_jax():
    modules, text = imported_by("plan", "chinchilla", "--flops", "1e22")
    assert not (USELESS - {"pandas", "pyarrow", "rich"}) & modules
    assert "tokens" in text


# --- names and numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "home"),
    [
        (choices.DATASETS, dataset_names()),
        (choices.FIGURES, figure_names()),
        (choices.COUNTINGS, COUNTINGS),
        (choices.COUNTING_RULES, COUNTING_RULES),
        (choices.LAWS, LAWS),
        (choices.WALD_COMPARED, WALD_COMPARED),
        (choices.OBJECTIVES, OBJECTIVES),
        (choices.SOLVERS, SOLVER_NAMES),
        (choices.ENGINES, ENGINES),
        (choices.METHODS, BOOTSTRAP_METHODS),
        (choices.SCHEMES, SCHEMES),
        (choices.GROUPINGS, BUILT_IN),
        (choices.NOISES, NOISES),
        (choices.SPLITS, SPLITS),
        (choices.EXECUTORS, (*EXECUTORS, "jax")),
    ],
)
def test_names_are_those_of_the_library(names, home):
    assert names == tuple(home)


NUMBERS = st.one_of(
    st.text(alphabet="0123456789+-.eE_ ", max_size=12),
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(["1e999", "-0", "007", "1e-400", "0.1", "5.", ".5", "1e5", "nan", "inf", "true", ""]),
    st.text(max_size=5),
)


BOUNDS = [
    (choices.POSITIVE, 5e-324, sys.float_info.max),
    (choices.NON_NEGATIVE, 0.0, sys.float_info.max),
    (choices.FRACTION, 5e-324, 1.0),
    (choices.PROBABILITY, 5e-324, 1 - 2**-53),
]


@given(NUMBERS, st.sampled_from(BOUNDS))
def test_a_number_is_finite_and_within_its_bounds_or_refused(text, bounds):
    kind, low, high = bounds
    try:
        number = kind.convert(text, None, None)
    except click.BadParameter as error:
        assert short(text) in error.message  # all of it, unless it is long
        with contextlib.suppress(ValueError):
            assert not low <= float(text) <= high
        return
    assert type(number) is float and low <= number <= high


@given(NUMBERS, st.integers(0, 3))
def test_a_whole_number_is_whole_or_refused(text, least):
    try:
        number = choices.WholeNumber(least).convert(text, None, None)
    except click.BadParameter as error:
        assert short(text) in error.message  # all of it, unless it is long
        return
    assert type(number) is int and number >= least and number == int(text)


def test_help_names_the_commands_that_there_are():
    text = done("--help")
    listed = [line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line.strip()]
    assert sorted(listed) == sorted(COMMANDS)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    assert f"Usage: chinchilla-jax {command}" in done(command, "--help")


def test_version():
    import chinchilla_jax

    assert done("--version") == f"chinchilla-jax {chinchilla_jax.__version__}\n"


def test_the_module_runs_as_the_script_does():
    result = subprocess.run(
        [sys.executable, "-m", "chinchilla_jax", "fti"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "did you mean 'fit'" in error_text(result.stderr).lower()


# --- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "datasets, doctor; see chinchilla-jax --help"),
        (["fti"], "did you mean 'fit'?"),
        (["report"], "missing argument 'DATA'; see chinchilla-jax report --help"),
        (["report", "."], "no study.json"),
        (["fit"], "missing argument 'DATA'; see chinchilla-jax fit --help"),
        (["fit", "chinchila"], "did you mean 'chinchilla'?"),
        (["fit", "nowhere/runs.csv"], "nowhere/runs.csv"),
        (["fit", "."], "."),
        (["fit", "chinchilla", "--counting", "standrd"], "did you mean 'standard'?"),
        (["fit", "llama3", "--counting", "standard"], "Table A9"),
        (["fit", "chinchilla", "--objective", "hubert"], "did you mean 'huber'?"),
        (["fit", "chinchilla", "--delta", "-1"], "delta"),
        (["fit", "chinchilla", "--delta", "nan"], "'--delta': 'nan' is not a positive number"),
        (["fit", "chinchilla", "--delta", "small"], "'--delta'"),
        (["fit", "chinchilla", "--solver", "newtn"], "did you mean 'newton'?"),
        (["fit", "chinchilla", "--starts", "0"], "starts"),
        (["fit", "chinchilla", "--starts", "many"], "starts"),
        (["fit", "chinchilla", "--drop-highest-loss", "240"], "chinchilla"),
        (
            ["fit", "chinchilla", "--drop-highest-loss", "-1"],
            "'--drop-highest-loss': '-1' is not a whole number",
        ),
        (["fit", "chinchilla", "--solvr", "newton"], "--solver"),
        (["bootstrap", "chinchilla", "--resamples", "1"], "at least 2"),
        (["bootstrap", "chinchilla", "--resamples", "1e3"], "'--resamples'"),
        (["bootstrap", "chinchilla", "--seed", "-1"], "'--seed'"),
        (["bootstrap", "chinchilla", "--level", "80"], "'80' is not a probability between 0 and 1"),
        (["bootstrap", "chinchilla", "--method", "gausian"], "did you mean 'gaussian'?"),
        (["bootstrap", "chinchilla", "--method", "besiroglu2024"], "not one of percentile, basic"),
        (["bootstrap", "chinchilla", "--flops", "-1"], "'--flops': '-1' is not a positive number"),
        (["bootstrap", "chinchilla", "--flops", "8.8B"], "is not a positive number; write 8.8e9"),
        (["bootstrap", "chinchilla", "--flops", "500m"], "is not a positive number; write 500e6"),
        (["study", "papr", "--out", "x"], "did you mean 'paper'?"),
        (["study", "paper"], "'--out'"),
        (["study", "none.toml", "--out", "x"], "none.toml"),
        (["study", "paper", "--out", "x", "--resamples", "0"], "at least 1"),
        (["datasets", "llama"], "did you mean 'llama3'?"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_and_what_to_do(arguments, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hint in refused(*arguments)
    assert os.listdir(tmp_path) == [], "nothing is written before everything is checked"


def test_a_bad_cell_is_named_by_file_row_and_column(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("N,tokens,loss\n" + "".join(f"{n}e8,2e9,2.{n}\n" for n in range(1, 9)) + "1e9,oops,2.1\n")
    message = refused("fit", str(path))
    for part in ("bad.csv", "10", "tokens", "oops"):
        assert part in message


@settings(max_examples=60, deadline=None)
@given(
    command=st.sampled_from([("datasets",), ("fit",), ("bootstrap",), ("study", "--out", "x")]),
    text=st.text(min_size=1, max_size=12).filter(lambda text: text not in ("chinchilla", "llama3", "paper")),
)
def test_any_text_gets_an_answer_of_one_line(command, text):
    code, out, err = run(*command, text)
    if code == 0:  # --help, or a table's name
        assert err == ""
    else:
        assert (code, out) == (2, "")
        error_text(err)


# --- what is not the user's mistake ------------------------------------------------------------------------


def test_an_unexpected_error_is_one_line_and_its_traceback_can_be_had(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("chinchilla_jax.datasets.dataset_info", broken)
    monkeypatch.delenv("CHINCHILLA_JAX_DEBUG", raising=False)
    message = refused("datasets", code=1)
    assert message == "RuntimeError: first line second line (set CHINCHILLA_JAX_DEBUG=1 to see where)"
    monkeypatch.setenv("CHINCHILLA_JAX_DEBUG", "1")
    code, _, err = run("datasets")
    assert code == 1
    assert "Traceback" in err
    assert "in broken" in err
    assert err.splitlines()[-1].startswith("chinchilla-jax: error: RuntimeError")


def test_ctrl_c_is_one_line(monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("chinchilla_jax.datasets.dataset_info", interrupted)
    assert refused("datasets", code=1) == "interrupted"


def test_a_reader_that_left_is_no_error():
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from chinchilla_jax.cli import main; sys.exit(main(['datasets', 'chinchilla']))"
    result = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line():
    code = "import sys; from chinchilla_jax.cli import main; sys.exit(main(['datasets', 'chinchilla']))"
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 1
    reason = "stdout: cannot be written (No space left on device); make room there, or give another path"
    assert error_text(result.stderr) == reason


def test_without_click_the_way_out_is_named():
    code = (
        "import sys; sys.modules['click'] = None;"
        "from chinchilla_jax.cli import main; sys.exit(main(['datasets']))"
    )
    result = in_python(code)
    assert (result.returncode, result.stdout) == (1, "")
    assert error_text(result.stderr) == "the command line needs click: pip install click"


# --- datasets ----------------------------------------------------------------------------------------------


def test_datasets_lists_the_tables():
    lines = [line.split() for line in done("datasets").split("\n\n")[0].splitlines()]
    assert [line[0] for line in lines] == ["name", *dataset_names()]
    assert [line[1] for line in lines[1:4]] == ["245", "133", "34"]


@pytest.mark.parametrize("name", ["chinchilla", "llama3", "chinchilla_architectures"])
def test_datasets_shows_where_a_table_comes_from(name):
    assert "arXiv:" in done("datasets", name)


# --- fit ---------------------------------------------------------------------------------------------------


def test_fit_as_json():
    found = strict_json(done("fit", "chinchilla", "--starts", STARTS, "--json"))
    assert list(found) == [
        "data",
        "model",
        "objective",
        "delta",
        "delta_automatic",
        "weights",
        "solver",
        "law",
        "law_found",
        "objective_value",
        "status",
        "reason",
        "certificate",
        "goodness",
        "steps",
        "starts",
        "residual_scale",
        "residual_scale_over_delta",
        "optimal_exponents",
        "no_optimum",
        "doubt",
        "warnings",
    ]
    runs = load_runs("chinchilla")
    assert found["data"] == {
        "name": "chinchilla",
        "params": "as_plotted",
        "n_runs": 240,
        "hash": runs.data_hash,
        "read": runs.source.as_dict(),
    }
    assert (found["objective"], found["delta"], found["solver"]) == ("huber", 1e-3, "newton")
    assert found["objective_value"] == pytest.approx(0.0010182740175, abs=1e-12)
    assert found["law"] == pytest.approx(
        {"E": 1.81722, "A": 477.826, "B": 2143.42, "alpha": 0.347310, "beta": 0.367172}, rel=1e-5
    )
    assert found["status"] == "CONVERGED"
    assert found["certificate"]["holds"] is True
    assert found["starts"]["n"] == int(STARTS)
    assert set(found["starts"]["status_counts"]) == STATUSES
    assert sum(found["starts"]["status_counts"].values()) == int(STARTS)
    assert sum(found["optimal_exponents"].values()) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [(), ("--engine", "auto"), ("--engine", "xla")], ids=" ".join)
def test_fit_is_the_fit_of_the_library(engine):
    found = strict_json(done("fit", "chinchilla", "--starts", STARTS, *engine, "--json"))
    expected = cj.fit(load_runs("chinchilla"), starts=int(STARTS))
    assert found["law"] == pytest.approx(expected.law.as_dict(), rel=1e-9)
    if "xla" not in engine:
        assert found["law"] == expected.law.as_dict()
        assert found["steps"] == expected.steps
        assert found["starts"]["status_counts"] == dict(expected.starts.status)


@pytest.mark.slow
def test_bootstrap_is_the_bootstrap_of_the_library():
    asked = ("bootstrap", "chinchilla", "--resamples", RESAMPLES, "--flops", "1e22", "--json")
    found = strict_json(done(*asked))
    boot = cj.bootstrap(load_runs("chinchilla"), resamples=int(RESAMPLES))
    assert [row["low"] for row in found["parameters"]] == list(boot.interval()["low"])
    other = strict_json(done(*asked, "--engine", "xla"))
    assert found["tokens_per_param"][0].pop("doubt") == other["tokens_per_param"][0].pop("doubt") is None
    assert other["tokens_per_param"][0] == pytest.approx(found["tokens_per_param"][0], rel=1e-6)


def test_fit_as_text_shows_the_same_numbers():
    text = done("fit", "chinchilla", "--starts", STARTS)
    for part in (
        "240 runs",
        "1.81722",
        "477.826",
        "2143.42",
        "0.001018274017",
        "CONVERGED",
        "of 16 at the best",
    ):
        assert part in text


def test_fit_of_a_table_of_ones_own_under_other_column_names(table):
    path = table()
    found = strict_json(done("fit", path, "--starts", STARTS, "--delta", "1e-3", "--json"))
    assert found["data"]["name"] == "mine.csv"
    assert found["data"]["params"] == "as_given"
    assert found["objective_value"] == pytest.approx(0.0010182740175, abs=1e-9)


def test_the_residuals_decide_the_zone_of_a_table_of_ones_own_and_of_no_embedded_one(table):
    for command in (("fit", "--starts", STARTS), ("bootstrap", "--resamples", "20")):
        own = strict_json(done(command[0], table(), *command[1:], "--json"))
        embedded = strict_json(done(command[0], "chinchilla", *command[1:], "--json"))
        assert (own["delta"], own["delta_automatic"]) == (pytest.approx(0.00658, rel=0.01), True)
        assert (embedded["delta"], embedded["delta_automatic"]) == (1e-3, False)


def test_a_fit_that_is_not_certified_is_printed_and_exits_with_1(table):
    # Losses that know neither size nor tokens: the terms are anything.
    path = table(change=lambda loss: 0.0 * loss + 2.0)
    code, out, err = run("fit", path, "--starts", STARTS, "--json")
    found = strict_json(out)
    assert code == 1
    assert found["status"] == "UNIDENTIFIED"
    assert found["certificate"]["holds"] is False
    assert found["status"] in error_text(err)


# --- bootstrap ---------------------------------------------------------------------------------------------


def test_bootstrap_as_json():
    arguments = ("bootstrap", "chinchilla", "--resamples", RESAMPLES, "--seed", "3", "--json")
    text = done(*arguments, "--flops", "5.76e23", "--flops", "1e21")
    found = strict_json(text)
    assert list(found) == [
        "data",
        "model",
        "objective",
        "delta",
        "delta_automatic",
        "weights",
        "resamples",
        "seed",
        "level",
        "method",
        "scheme",
        "cluster",
        "dependence",
        "boundary",
        "solver",
        "status_counts",
        "point",
        "parameters",
        "tokens_per_param",
        "cost",
        "no_optimum",
        "other_boundary",
        "warnings",
    ]
    assert (found["resamples"], found["seed"], found["level"], found["method"]) == (20, 3, 0.8, "percentile")
    assert set(found["status_counts"]) == STATUSES
    assert sum(found["status_counts"].values()) == 20
    assert found["point"]["objective_value"] == pytest.approx(0.0010182740175, abs=1e-12)
    assert [row["parameter"] for row in found["parameters"]] == ["E", "A", "B", "alpha", "beta"]
    for row in found["parameters"]:
        assert row["n_converged"] + row["n_failed"] == 20
        assert row["low"] < row["high"]
        assert row["standard_error"] > 0
        assert row["estimate"] == found["point"]["law"][row["parameter"]]
    assert [row["flops"] for row in found["tokens_per_param"]] == [5.76e23, 1e21]
    for row in found["tokens_per_param"]:
        assert row["low"] < row["median"] < row["high"]
        law = cj.ScalingLaw(**found["point"]["law"])
        assert row["estimate"] == pytest.approx(law.tokens_per_param(row["flops"]), rel=1e-12)
    assert found["other_boundary"] is None
    assert done(*arguments, "--flops", "5.76e23", "--flops", "1e21") == text, "same seed, same answer"


def test_bootstrap_as_text(monkeypatch):
    text = done(
        "bootstrap",
        "chinchilla",
        "--resamples",
        RESAMPLES,
        "--method",
        "gaussian",
        "--level",
        "0.9",
        "--counting",
        "standard",
    )
    for part in (
        "params standard: 240 runs",
        "20 resamples, huber: 20 CONVERGED",
        "90% Gaussian",
        "1e20",
        "1e26",
    ):
        assert part in text


# --- study -------------------------------------------------------------------------------------------------

SPEC = """
data = "chinchilla"
resamples = 4
levels = [0.8]
flops = [1e20, 1e22, 1e24]

[[sweeps]]
family = "multiplicative"
values = [2.0]
"""


def test_a_study_runs_is_found_again_and_never_overwritten(tmp_path):
    spec, out = tmp_path / "spec.toml", tmp_path / "out"
    spec.write_text(SPEC)
    arguments = (
        "study",
        str(spec),
        "--out",
        str(out),
        "--resamples",
        RESAMPLES,
        "--seed",
        "1",
        "--no-figures",
    )
    text = done(*arguments)
    assert "2 conditions, 40 fits" in text
    assert "40 CONVERGED" in text
    assert "identity" in text
    record = json.loads((out / "study.json").read_text())
    assert (record["state"], record["seed"], record["spec"]["resamples"]) == ("complete", 1, 20)
    assert (out / "summary" / "params.parquet").is_file()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert "nothing computed" in done(*arguments)
    code, _, err = run(*(argument if argument != "1" else "2" for argument in arguments))
    message = error_text(err)
    assert code == 2
    assert str(out) in message
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_study_by_another_engine_resumes_by_the_command_it_shows(tmp_path):
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    out = str(tmp_path / "out")
    text = done("study", str(spec), "--out", out, "--engine", "xla", "--shard", "1/2")
    assert f"--out {out} --resamples 4 --seed 0 --engine xla" in text
    assert "engine" in refused("study", str(spec), "--out", out, "--shard", "2/2")
    done("study", str(spec), "--out", out, "--engine", "xla", "--no-figures")
    assert json.loads((tmp_path / "out" / "study.json").read_text())["spec"]["engine"] == "xla"


# --- output ------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats()
    | st.floats().map(np.float64)
    | st.integers(-(2**31), 2**31 - 1).map(np.int64)
    | st.booleans().map(np.bool_),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_json_is_json_whatever_the_numbers(fields):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        output.print_json(fields)
    assert list(strict_json(out.getvalue())) == list(fields)


def test_nan_and_infinity_are_null():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        output.print_json({"a": float("nan"), "b": [np.float64("inf"), 1.5], "c": {"d": -np.inf}})
    assert strict_json(out.getvalue()) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


def test_a_table_is_aligned_and_plain_in_a_pipe():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        output.print_table(("name", "count", "value"), [("a", 12345, 1.23456789), ("long", 6, float("nan"))])
    assert out.getvalue() == ("name   count    value\na     12,345  1.23457\nlong       6        -\n")
