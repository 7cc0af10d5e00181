"""Running a study, its directory, and opening it again."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from chinchilla_jax._util.errors import ChinchillaError, DataError, UsageError
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax.bootstrapping.bootstrap import bootstrap
from chinchilla_jax.bootstrapping.schemes import Cluster, read_scheme
from chinchilla_jax.datasets import Runs, load_runs
from chinchilla_jax.laws.objectives import Huber
from chinchilla_jax.laws.scaling_law import PARAMETERS, ScalingLaw
from chinchilla_jax.perturbations import Additive
from chinchilla_jax.report import run_study
from chinchilla_jax.solvers import Status, dispatch, engine_choice
from chinchilla_jax.study import StudySpec, Sweep, finished, open_study, plan_conditions
from chinchilla_jax.study.chunks import plan_chunks, plan_ranges
from chinchilla_jax.study.storage.record import record_bytes
from chinchilla_jax.study.storage.runs_file import parse_runs, runs_bytes
from chinchilla_jax.study.storage.tables import COLUMNS, FILES, RUNS, table_bytes

SPEC = StudySpec(
    interpretations=("standard", "reported"),
    sweeps=(
        Sweep(family="multiplicative", values=(0.001,)),
        Sweep(family="additive", values=(-1e9,)),
        Sweep(family="log_normal_noise", values=(0.3,), repeats=2),
    ),
    resamples=20,
    levels=(0.5, 0.8),
    flops=(1e20, 1e22, 1e24),
)
INVALID = "additive=-1000000000.0"
LAW = ["E", "A", "B", "alpha", "beta"]


class Recorder(Progress):
    """Remembers what it is told."""

    def __init__(self):
        self.total = self.done = 0
        self.notes = []

    def begin(self, label, total, unit="fits"):
        self.total += total

    def advance(self, done):
        self.done += done

    def note(self, text):
        self.notes.append(text)


def message(action, *arguments, kind=ChinchillaError, **options):
    with pytest.raises(kind) as caught:
        action(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable(), "one line"
    assert len(text) < 600
    return text


@pytest.fixture(scope="module")
def recorder():
    return Recorder()


@pytest.fixture(scope="module")
def study(tmp_path_factory, recorder):
    return run_study(SPEC, tmp_path_factory.mktemp("study") / "out", progress=recorder, workers=1)


@pytest.fixture
def copy(study, tmp_path):
    """A directory of its own with the study in it, to damage."""
    return shutil.copytree(study.path, tmp_path / "copy")


def without_runs(path):
    """Make a directory what versions wrote that kept no runs."""
    record = json.loads((path / "study.json").read_text())
    for name in ("tables", "checksums"):
        del record[name]["runs.parquet"]
    (path / "study.json").write_bytes(record_bytes(record))
    (path / "runs.parquet").unlink()


def contents(path):
    """Every table of a study directory, as the bytes of its file."""
    return {file.relative_to(path): file.read_bytes() for file in sorted(path.rglob("*.parquet"))}


# --- the directory -----------------------------------------------------------------------------------------


def test_the_directory_holds_the_documented_files(study):
    names = {file.relative_to(study.path).as_posix() for file in study.path.rglob("*") if file.is_file()}
    tables = {name for name in names if not name.startswith("figures/")}
    parts = sorted(tables - {"study.json", "derived.json", "report.html", RUNS, *FILES.values()})
    assert len(parts) == 6 and len(tables) == 14, "and no temporary file is left"
    for index, part in enumerate(parts):
        assert re.fullmatch(rf"fits/part-{index:05d}-0000000000-[0-9a-f]{{16}}-[0-9a-f]{{32}}\.parquet", part)
    assert {path.suffix for path in study.figures} == {".png", ".pdf"}
    assert {path.stem for path in study.figures} >= {"relative_error", "parameters_additive"}


@pytest.mark.parametrize("kind", list(COLUMNS))
def test_every_table_has_the_documented_columns_and_types(study, kind):
    frame = study.fits() if kind == "fits" else getattr(study, kind)
    assert list(frame.columns) == list(COLUMNS[kind])
    for name, dtype in COLUMNS[kind].items():
        if dtype == "string":
            assert pd.api.types.is_string_dtype(frame[name]) and isinstance(frame[name].iloc[0], str)
        else:
            assert frame[name].dtype == dtype
    ids = [condition.id for condition in plan_conditions(SPEC)]
    assert list(dict.fromkeys(frame["condition"])) == ids, "in the order of the plan"


def test_columns_are_exactly_those_that_users_rely_on():
    """Written out by hand: other people's code and checks use them."""
    documented = {
        "conditions": "condition family value repeat params n_runs",
        "point": "condition objective E A B alpha beta objective_value status steps",
        "fits": "condition resample E A B alpha beta objective_value decrement status steps",
        "params": "condition parameter estimate standard_error low high level method n_converged n_failed",
        "tokens_per_param": "condition flops low median high level method estimate",
    }
    assert {kind: " ".join(columns) for kind, columns in COLUMNS.items()} == documented


def test_every_combination_has_its_row(study):
    assert len(study.conditions) == 6
    assert set(study.conditions["n_runs"]) == {240}
    assert study.conditions["params"].tolist() == ["standard", "reported", *["standard"] * 4]
    assert study.point.groupby("condition")["objective"].agg(list).map(tuple).unique().tolist() == [
        ("huber", "huber_scale")
    ]
    methods, levels = {"percentile", "gaussian", "besiroglu2024"}, {0.5, 0.8}
    keys = study.params.groupby(["method", "level", "parameter"]).size()
    assert len(keys) == 3 * 2 * 5 and set(keys) == {6}
    assert set(study.params["method"]) == methods and set(study.params["level"]) == levels
    bands = study.tokens_per_param.groupby(["method", "level", "flops"]).size()
    assert len(bands) == 3 * 2 * 3 and set(bands) == {6}
    fits = study.fits()
    assert len(fits) == 6 * 20
    assert (fits.groupby("condition")["resample"].agg(list).map(lambda ids: ids == list(range(20)))).all()


def test_the_record_says_what_was_done_where_and_how_it_went(study):
    record = json.loads((study.path / "study.json").read_text())
    assert record == study.info
    json.dumps(record, allow_nan=False)
    assert record["state"] == "complete" and record["error"] is None
    assert StudySpec.from_dict(record["spec"]) == SPEC == study.spec
    assert record["seed"] == 0
    assert record["data_hash"] == load_runs("chinchilla", params="standard").data_hash
    assert {"python", "jax", "numpy", "chinchilla_jax"} <= set(record["versions"])
    assert {"platform", "kind", "count"} <= set(record["device"])
    assert (record["n_conditions"], record["n_fits"]) == (6, 120)
    assert sum(record["status_counts"].values()) == 120
    assert record["status_counts"] == {
        name: int((study.fits()["status"] == name).sum()) for name in Status.__members__
    }
    assert sum(record["point_status_counts"].values()) == 12
    assert record["wall_time"] > 0 and record["timing"]["conditions"] > 0


def test_progress_counts_every_fit(study, recorder):
    assert recorder.total == recorder.done == 6 * 20


def test_numbers_are_there_unless_a_status_says_why_not(study):
    for table in (study.fits(), study.point):
        good = table["status"] != "INVALID"
        assert np.isfinite(table.loc[good, [*LAW, "objective_value"]]).all(axis=None)
        assert table.loc[~good, LAW].isna().all(axis=None)
    assert set(study.fits().loc[lambda f: f["status"] == "INVALID", "condition"]) == {INVALID}


# --- what the numbers mean ---------------------------------------------------------------------------------


def test_a_multiplicative_error_moves_a_alone_on_every_resample(study):
    """REFERENCE.md, "Exact identities": through the ordinary path, resample by resample."""
    plain, scaled = study.fits("identity"), study.fits("multiplicative=0.001")
    ok = (plain["status"] == "CONVERGED") & (scaled["status"] == "CONVERGED")
    assert ok.sum() >= 19
    for name in ("alpha", "E", "B", "beta"):
        np.testing.assert_allclose(scaled.loc[ok, name], plain.loc[ok, name], rtol=1e-5)
    np.testing.assert_allclose(scaled.loc[ok, "A"], (plain["A"] * 0.001 ** plain["alpha"])[ok], rtol=1e-5)


def test_an_impossible_condition_is_kept_and_explained(study):
    fits = study.fits(INVALID)
    assert len(fits) == 20 and set(fits["status"]) == {"INVALID"}
    assert fits[[*LAW, "objective_value", "decrement"]].isna().all(axis=None)
    assert set(study.point.set_index("condition").loc[INVALID, "status"]) == {"INVALID"}
    rows = study.params[study.params["condition"] == INVALID]
    assert set(rows["n_failed"]) == {20} and set(rows["n_converged"]) == {0}
    assert rows[["estimate", "standard_error", "low", "high"]].isna().all(axis=None)
    bands = study.tokens_per_param[study.tokens_per_param["condition"] == INVALID]
    assert bands[["low", "median", "high"]].isna().all(axis=None)
    notes = [note["note"] for note in study.info["notes"] if note["condition"] == INVALID]
    assert len(notes) == 1 and "INVALID" in notes[0] and "not positive" in notes[0]


def test_summaries_are_those_of_the_fits(study):
    fits = study.fits("identity@reported")
    fits = fits[fits["status"] == "CONVERGED"]
    row = study.params.query("condition == 'identity@reported' and parameter == 'alpha' and level == 0.8")
    row = row.set_index("method")
    assert row.loc["percentile", "low"] == pytest.approx(np.quantile(fits["alpha"], 0.1))
    assert row.loc["gaussian", "standard_error"] == pytest.approx(fits["alpha"].std())
    point = study.point.set_index(["condition", "objective"])["alpha"]["identity@reported"]
    assert row.loc["gaussian", "estimate"] == row.loc["percentile", "estimate"] == point["huber"]
    assert row.loc["besiroglu2024", "estimate"] == point["huber_scale"] != point["huber"]
    assert (row["n_converged"] == len(fits)).all()


def test_noise_is_that_of_the_perturbation_with_the_seed_of_the_study(study):
    first, second = study.point.query("condition.str.startswith('log_normal') and objective == 'huber'")[
        "alpha"
    ]
    assert first != second
    plan = {condition.id: condition for condition in study.plan()}
    assert plan["log_normal_noise=0.3#1"].apply(study.runs(), seed=0).params[0] != study.runs().params[0]


# --- the same numbers, whatever the circumstances -----------------------------------------------------------


def test_neither_workers_nor_the_rest_of_the_study_change_a_bit(study, tmp_path):
    other = run_study(SPEC, tmp_path / "two", progress=None, figures=False, workers=2)
    assert contents(other.path) == contents(study.path)
    single = StudySpec.from_dict(
        SPEC.to_dict() | {"sweeps": [{"family": "log_normal_noise", "values": [0.3], "repeats": 2}]}
    )
    alone = run_study(single, tmp_path / "alone", progress=None, figures=False, workers=1)
    name = "log_normal_noise=0.3#1"
    pd.testing.assert_frame_equal(alone.fits(name), study.fits(name), check_exact=True)


def test_more_resamples_keep_the_first(study, tmp_path):
    spec = StudySpec(resamples=40, flops=SPEC.flops)
    longer = run_study(spec, tmp_path / "longer", progress=None, figures=False).fits("identity")
    names = ["resample", *LAW, "objective_value"]
    pd.testing.assert_frame_equal(longer[names].iloc[:20], study.fits("identity")[names], rtol=1e-9)


# --- what is in the way ------------------------------------------------------------------------------------


def test_a_finished_study_is_opened_and_not_run_again(study, recorder, monkeypatch):
    monkeypatch.setattr(finished, "run_job", None)
    before = {file: file.stat().st_mtime_ns for file in study.path.rglob("*")}
    listener = Recorder()
    again = run_study(SPEC, study.path, progress=listener)
    assert again.reused and not study.reused
    assert "complete" in listener.notes[0]
    assert {file: file.stat().st_mtime_ns for file in study.path.rglob("*")} == before


def test_another_spec_is_refused_with_what_differs(study):
    spec = StudySpec.from_dict(SPEC.to_dict() | {"seed": 1, "resamples": 21})
    said = message(run_study, spec, study.path, kind=UsageError)
    assert "seed: 0 there, 1 asked for" in said and "another directory" in said
    assert "resamples" not in said, "more of them is the same study"
    fewer = StudySpec.from_dict(SPEC.to_dict() | {"resamples": 19})
    assert "already has 20 resamples" in message(run_study, fewer, study.path, kind=UsageError)


@pytest.mark.slow
def test_the_engine_is_part_of_a_study_and_auto_goes_without_saying(tmp_path, monkeypatch):
    # Records and chunks of studies from before the field was there keep their meaning.
    assert "engine" not in SPEC.to_dict()
    hashes = {"standard": "of the runs"}
    chunks = {}
    for engine in ("auto", "lanes", "xla"):
        spec = StudySpec(resamples=20, flops=(1e20,), engine=engine)
        assert StudySpec.from_dict(spec.to_dict()) == spec
        (chunk,) = plan_chunks(spec, hashes, plan_ranges(20, 240))
        chunks[engine] = chunk.key
    assert len(set(chunks.values())) == 3
    used = set()
    chosen = engine_choice.chosen_kernel
    monkeypatch.setattr(dispatch, "chosen_kernel", lambda engine: used.add(engine) or chosen(engine))
    found = {}
    for engine in ("lanes", "xla"):
        spec = StudySpec(resamples=20, flops=(1e20,), engine=engine)
        found[engine] = run_study(spec, tmp_path / engine, progress=None, figures=False).fits()
        assert used == {engine}
        used.clear()
    assert (found["lanes"].status == found["xla"].status).all()
    np.testing.assert_allclose(found["lanes"].objective_value, found["xla"].objective_value, rtol=1e-9)
    said = message(run_study, spec, tmp_path / "lanes", kind=UsageError)
    assert "engine: 'lanes' there, 'xla' asked for" in said


def test_another_table_under_the_same_name_is_refused(tmp_path, own_table):
    spec = StudySpec(data=str(own_table), resamples=4, flops=(1e20,))
    study = run_study(spec, tmp_path / "out", progress=None, figures=False)
    assert study.conditions["params"].tolist() == ["as_given"]
    frame = pd.read_csv(own_table)
    frame.loc[0, "loss"] *= 1.01
    frame.to_csv(own_table, index=False)
    assert "content of the table" in message(run_study, spec, tmp_path / "out", kind=UsageError)
    assert open_study(tmp_path / "out").runs().data_hash == study.info["data_hash"]
    without_runs(tmp_path / "out")
    assert "not the runs that the study fitted" in message(open_study(tmp_path / "out").runs, kind=DataError)


def test_its_own_runs_are_in_the_directory(study, copy):
    runs, weights = study.weighted_runs()
    asked = load_runs("chinchilla", params=study.spec.interpretations[0])
    assert runs == asked and weights is None and runs.name_row(3) == asked.name_row(3)
    assert (runs.source, runs.labels.keys(), runs.row_word) == (asked.source, asked.labels.keys(), "row")
    boot = study.bootstrap()
    table = study.params.query("condition == 'identity' and level == 0.8 and method == 'percentile'")
    np.testing.assert_allclose(boot.interval()["high"], table["high"], rtol=1e-12)
    np.testing.assert_allclose(boot.standard_errors()["standard_error"], table["standard_error"], rtol=1e-9)
    assert str(boot.point.goodness) == study.info["goodness"]
    (copy / "runs.parquet").write_bytes(b"PAR1")
    assert "runs.parquet: torn" in message(open_study, copy)
    without_runs(copy)
    assert open_study(copy).runs() == asked


def test_runs_keep_what_they_hold_beside_their_numbers(tmp_path):
    table = {"params": [1e8, 2e8], "tokens": [2e9, 3e9], "loss": [3.0, 2.9], "U": [1e9, 2e9]}
    runs = dataclasses.replace(
        Runs(**{name: table[name] for name in ("params", "tokens", "loss")}, name="a.csv"),
        groups={"loss": ["", "b"]}, labels={"lab": ["x", "y"]}, variables={"unique_tokens": table["U"]},
        rows=np.array(["3", "7"]), centre=1.5e8,
    )  # fmt: skip
    read, weights = parse_runs("here", runs_bytes(runs, np.array([1.0, 2.0])))
    assert read == runs and weights.tolist() == [1.0, 2.0]
    assert (read.centre, read.derived, read.groups["loss"].tolist()) == (1.5e8, "flops", ["", "b"])
    assert (read.name_row(1), read.labels["lab"].tolist()) == ("row 7", ["x", "y"])
    with pytest.raises(DataError, match="here: torn or not what was written"):
        parse_runs("here", table_bytes(pa.table({"a": [1]})))


@pytest.fixture
def own_table(tmp_path):
    runs = load_runs("chinchilla")  # as many runs as in the other studies, so that nothing is compiled twice
    path = tmp_path / "own.csv"
    runs.to_frame()[["params", "tokens", "loss"]].to_csv(path, index=False)
    return path


@pytest.mark.parametrize("state", ["running", "failed"])
def test_an_unfinished_study_is_not_opened(copy, state):
    record = json.loads((copy / "study.json").read_text()) | {"state": state, "error": "disk full"}
    (copy / "study.json").write_bytes(record_bytes(record))
    said = message(open_study, copy, kind=UsageError)
    assert "not complete (disk full)" in said and str(copy) in said and "study status" in said


@pytest.mark.parametrize("name", ["fits", "summary", "figures", "conditions.parquet"])
def test_a_directory_with_something_of_ours_but_no_record_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    assert name in message(run_study, SPEC, tmp_path, kind=UsageError)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    assert "this is a file" in message(run_study, SPEC, tmp_path / "out", kind=UsageError)
    assert "cannot be written" in message(run_study, SPEC, tmp_path / "out" / "in", kind=UsageError)
    assert (tmp_path / "out").read_text() == "x"


def test_a_failure_is_recorded(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("the engine\nhas stopped")

    with monkeypatch.context() as patch:
        patch.setattr(finished, "run_job", fail)
        with pytest.raises(RuntimeError):
            run_study(SPEC, tmp_path / "out", progress=None, workers=2)
    record = json.loads((tmp_path / "out" / "study.json").read_text())
    assert record["state"] == "failed" and record["error"] == "RuntimeError: the engine has stopped"
    assert "the engine has stopped" in message(open_study, tmp_path / "out", kind=UsageError)
    run_study(SPEC, tmp_path / "out", progress=None, figures=False)
    record = json.loads((tmp_path / "out" / "study.json").read_text())
    assert record["state"] == "complete" and record["error"] is None


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"workers": 0}, "workers"),
        ({"progress": "yes"}, "progress"),
        ({"spec": "paper"}, "StudySpec"),
        ({"spec": StudySpec(data="no-such.csv")}, "no-such.csv"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, options, part):
    spec = options.pop("spec", SPEC)
    assert part in message(run_study, spec, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# --- open_study --------------------------------------------------------------------------------------------


def test_an_opened_study_is_the_same(study):
    opened = open_study(str(study.path))
    assert opened.info == study.info and not opened.reused
    pd.testing.assert_frame_equal(opened.fits(), study.fits())
    pd.testing.assert_frame_equal(opened.fits("identity"), study.fits().iloc[:20])
    assert opened.runs() == load_runs("chinchilla", params="standard")
    assert "6 conditions, 120 fits" in repr(opened)
    assert "120 fits" in opened._repr_html_()


def test_changing_a_table_in_memory_changes_nothing_else(study):
    frame = study.params
    frame["estimate"] = 0.0
    frame.loc[:, "low"] = -1.0
    assert (study.params[["estimate", "low"]].dropna() > 0).all(axis=None)


def test_what_is_no_study_is_refused(tmp_path):
    assert "no such directory" in message(open_study, tmp_path / "none", kind=UsageError)
    assert "no study.json" in message(open_study, tmp_path, kind=UsageError)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"state": "complete"}', '{"format": 99, "state": "complete"}']
)
def test_a_torn_or_foreign_record_is_named(tmp_path, content):
    (tmp_path / "study.json").write_text(content)
    assert "study.json" in message(open_study, tmp_path, kind=DataError)
    assert "study.json" in message(run_study, SPEC, tmp_path, kind=DataError)


@pytest.mark.parametrize("pattern", ["fits/part-00003-*.parquet", "summary/params.parquet", "point.parquet"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "one bit"])
@pytest.mark.usefixtures("drawn_once")
def test_a_damaged_file_is_named_and_repaired(study, copy, pattern, damage):
    (file,) = copy.glob(pattern)
    name = str(file.relative_to(copy))
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[:-50])
    else:
        content[len(content) // 2] ^= 16
        file.write_bytes(content)

    def read():
        opened = open_study(copy)
        return opened.params, opened.point, opened.fits()

    said = message(read, kind=DataError)
    assert name in said and "to repair it" in said
    listener = Recorder()
    repaired = run_study(SPEC, copy, progress=listener, figures=False)
    if damage != "missing" or "part" not in name:
        assert name in listener.notes[0]
    assert listener.done == (20 if "part" in name else 0)
    assert contents(copy) == contents(study.path)
    assert read()[0].equals(repaired.params)


def test_an_unknown_condition_gets_the_nearest_name(study):
    assert "did you mean 'identity@reported'" in message(study.fits, "identity@reportd", kind=UsageError)
    assert "study.conditions" in message(study.fits, "zzz", kind=UsageError)


# --- a bare machine ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_runs_where_only_the_core_is_installed(tmp_path):
    code = f"""
        import sys
        for name in ("click", "rich", "pydantic", "jinja2", "scipy", "jaxopt"):
            sys.modules[name] = None
        from chinchilla_jax.report import run_study
        from chinchilla_jax.study import StudySpec
        study = run_study(StudySpec(resamples=3, flops=(1e20, 1e22)), {str(tmp_path / "out")!r})
        assert study.info["state"] == "complete"
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == "", "quiet unless stderr is a terminal"


@pytest.mark.slow
def test_a_study_without_a_usable_size_is_still_drawn(tmp_path):
    spec = StudySpec(
        sweeps=(Sweep(family="multiplicative", values=(-0.5,)),), resamples=5, flops=(1e20, 1e22)
    )
    study = run_study(spec, tmp_path / "out")
    assert study.info["status_counts"]["INVALID"] == 5
    assert (tmp_path / "out" / "figures" / "tokens_per_param_multiplicative.png").exists()


@pytest.mark.parametrize("scheme", ["bayesian", "cluster"])
def test_a_study_resamples_as_its_scheme_says(scheme, tmp_path):
    spec = StudySpec(sweeps=(Sweep(family="additive", values=(2e7,)),), resamples=12, scheme=scheme)
    study = run_study(spec, tmp_path / "study", figures=False)
    runs = load_runs("chinchilla", params="standard")
    weights = read_scheme(scheme).completed(len(runs), 5).weights(runs, np.arange(12), 0)
    # The same resamples of the runs as they are and as they are perturbed.
    for condition, data in (("identity", runs), ("additive=20000000.0", Additive(2e7).apply(runs))):
        fits = study.fits(condition)
        assert (fits["status"] == "CONVERGED").all()
        law = ScalingLaw(**{name: fits[name].to_numpy() for name in PARAMETERS})
        residuals = np.log(law.loss(data.params, data.tokens) / data.loss)
        np.testing.assert_allclose(fits["objective_value"], Huber().value(residuals, weights), rtol=1e-9)
    again = bootstrap(runs, resamples=12, scheme=scheme)
    np.testing.assert_allclose(study.fits("identity")["objective_value"], again.objective_value, rtol=1e-9)


@pytest.mark.parametrize(("objective", "resamples"), [("squared", 12), ("asymmetric", 4)])
def test_a_study_minimises_its_objective(objective, resamples, tmp_path):
    spec = StudySpec(objective=objective, resamples=resamples, flops=(1e20, 1e22))
    study = run_study(spec, tmp_path / "study", progress=None)
    assert study.point["objective"].tolist() == [objective]
    assert set(study.params["method"]) == {"percentile", "gaussian"}
    runs = load_runs("chinchilla", params="standard")
    boot = bootstrap(runs, resamples=resamples, objective=objective)
    fits = study.fits()
    assert fits["status"].tolist() == boot.status.tolist()
    np.testing.assert_allclose(fits["objective_value"], boot.objective_value, rtol=1e-7)
    assert f"<dd>{objective}" in (study.path / "report.html").read_text(encoding="utf-8")


def test_a_study_of_runs_that_err_together_resamples_their_groups(tmp_path):
    runs = load_runs("chinchilla")
    table = tmp_path / "own.csv"
    frame = runs.to_frame()[["params", "tokens", "loss"]]
    frame.assign(lab=[f"lab {i % 20}" for i in range(len(runs))]).to_csv(table, index=False)
    common = {"data": str(table), "resamples": 6, "flops": (1e20, 1e22)}
    own = load_runs(table, groups=("lab",))
    for asked, scheme in (({"scheme": "auto"}, Cluster("params")), ({"cluster": "lab"}, Cluster("lab"))):
        spec = StudySpec(**common, **({"scheme": "cluster"} | asked))
        assert StudySpec.from_dict(spec.to_dict()) == spec
        study = run_study(spec, tmp_path / scheme.by, progress=None, figures=False)
        boot = bootstrap(own, resamples=6, delta=1e-3, scheme=scheme)
        np.testing.assert_allclose(study.fits()["objective_value"], boot.objective_value, rtol=1e-7)
        assert ("correlated within 41 sizes" in study.info["resampling"]) is (asked == {"scheme": "auto"})
    frame.assign(lab="all").to_csv(table, index=False)  # the runs are the same, and their groups are not
    assert "content of the table" in message(run_study, spec, tmp_path / "lab", kind=UsageError)
    with pytest.raises(UsageError, match="cluster is for scheme 'cluster', not 'pairs'"):
        StudySpec(**common, cluster="lab")


def test_the_published_study_says_how_a_table_of_one_s_own_would_be_resampled(tmp_path):
    study = run_study(StudySpec(resamples=4, flops=(1e20, 1e22)), tmp_path / "study", progress=None)
    assert study.spec.scheme == "pairs"
    said = study.info["resampling"]
    assert "one by one, as published for chinchilla; in a table of your own whole groups would be" in said
    page = (study.path / "report.html").read_text(encoding="utf-8")
    assert said in page
    assert study.info["goodness"].startswith("residual scale 0.464%, R2 of ln L 0.99461")
    assert study.info["goodness"] in page


def test_a_study_weights_the_runs_by_a_column(tmp_path):
    runs = load_runs("chinchilla")
    weights = np.where(runs.loss < np.median(runs.loss), 2.0, 0.5)
    table = tmp_path / "own.csv"
    runs.to_frame()[["params", "tokens", "loss"]].assign(w=weights).to_csv(table, index=False)
    spec = StudySpec(data=str(table), weights="w", resamples=6, flops=(1e20, 1e22))
    study = run_study(spec, tmp_path / "study", progress=None)
    boot = bootstrap(load_runs(table), resamples=6, delta=1e-3, weights=weights, scheme="pairs")
    np.testing.assert_allclose(study.fits()["objective_value"], boot.objective_value, rtol=1e-7)
    assert study.runs() == load_runs(table)
    assert open_study(study.path).spec.weights == "w"
    pd.read_csv(table).assign(w=1.0).to_csv(table, index=False)
    assert "content of the table" in message(run_study, spec, study.path, kind=UsageError)
    unknown = StudySpec(data=str(table), weights="v", resamples=6)
    assert "no column is named 'v'" in message(run_study, unknown, tmp_path / "other", kind=UsageError)
    assert not (tmp_path / "other").exists()
