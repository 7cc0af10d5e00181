"""Figures, page and summaries follow from what they show, whatever was killed, torn or changed before."""

import errno
import io
import itertools
import os
import re
import shutil
import struct
import threading
import time
import uuid

import pyarrow.parquet as pq
import pytest

from chinchilla_jax import plots
from chinchilla_jax._util.directories import LocalDirectory, open_directory
from chinchilla_jax._util.errors import ChinchillaError
from chinchilla_jax._util.part_files import checksum
from chinchilla_jax._util.progress_bar import Progress
from chinchilla_jax._util.sealed_json import opened_json, sealed_json
from chinchilla_jax.cli import main
from chinchilla_jax.report import finish_study, remake, run_shard, run_study, study_page, upkeep, write_report
from chinchilla_jax.study import Shard, StudySpec, open_study, study_status

SPEC = StudySpec(interpretations=("reported",), resamples=12, flops=(1e20, 1e22, 1e24))
MORE = StudySpec(interpretations=("reported",), resamples=24, flops=SPEC.flops)
SPEC_TOML = 'interpretations = ["reported"]\nresamples = 12\nflops = [1e20, 1e22, 1e24]\n'
NAMES = ("parameters_by_counting", "tokens_per_param_by_counting")
DERIVED = (*(f"figures/{name}.{kind}" for name in NAMES for kind in ("pdf", "png")), "report.html")


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def small_figures(study):
    """The study's numbers in place of pictures of them, which would take most of the time of these tests."""
    shown = f"{study.params['low'].sum():.9g}"
    return {name: lambda name=name: f"{name} {shown}".encode() for name in NAMES}


def small_files(figures, **_):
    for name, figure in figures:
        yield f"{name}.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 60, 20) + figure
        yield f"{name}.pdf", b"%PDF" + figure


def small_figures_until_killed(study):
    first, second = small_figures(study).items()

    def kill():
        first_one = study.path / "figures" / f"{first[0]}.pdf"
        while not first_one.exists():
            time.sleep(0.001)
        raise Killed

    return dict([first, (second[0], kill)])


@pytest.fixture(autouse=True)
def drawing(monkeypatch):
    assert set(NAMES) <= set(plots.study.figure_makers.__code__.co_consts)
    monkeypatch.setattr(upkeep, "figure_makers", small_figures)
    monkeypatch.setattr(upkeep, "figure_files", small_files)
    monkeypatch.setattr(study_page, "own_sections", lambda subject: [])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Directories that nothing has happened to: whole ones by spec, and one without figures."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "figure_makers", small_figures)
        patch.setattr(upkeep, "figure_files", small_files)
        patch.setattr(study_page, "own_sections", lambda subject: [])
        for spec in (SPEC, MORE):
            run_study(spec, folder / str(spec.resamples), progress=None)
        run_study(SPEC, folder / "plain", progress=None, figures=False)
    return folder


@pytest.fixture
def whole(made, tmp_path):
    return shutil.copytree(made / "12", tmp_path / "out")


@pytest.fixture
def plain(made, tmp_path):
    return shutil.copytree(made / "plain", tmp_path / "out")


@pytest.fixture
def place(request, made, tmp_path):
    """A whole study, in a folder or behind a URL."""
    if request.param == "path":
        return str(shutil.copytree(made / "12", tmp_path / "out"))
    pytest.importorskip("fsspec")
    url = f"memory://{uuid.uuid4().hex}"
    for file in (made / "12").rglob("*"):
        if file.is_file():
            open_directory(url).write(file.relative_to(made / "12").as_posix(), file.read_bytes())
    return url


def contents(place, names=DERIVED):
    directory = open_directory(place)
    return {name: directory.read(name) for name in names if directory.exists(name)}


def figures_of(place):
    return {name: content for name, content in contents(place).items() if name.startswith("figures/")}


def page_of(place):
    """The page's number of fits, its pictures, and its text."""
    text = open_directory(place).read("report.html").decode()
    return int(re.search(r"([\d,]+) bootstrap fits, ", text)[1]), text.count('src="data:image/png'), text


def as_made(place, made):
    """Whether figures are those of the study of 12, and the page shows them."""
    return figures_of(place) == figures_of(made / "12") and page_of(place)[:2] == (12, 2)


# --- more resamples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_more_resamples_give_another_page_and_other_figures(made, tmp_path, before, after):
    out = shutil.copytree(made / ("12" if before else "plain"), tmp_path / "out")
    assert page_of(out)[:2] == (12, 2 if before else 0)
    run_study(MORE, out, progress=None, figures=after)
    assert page_of(out)[:2] == (24, 2 if after else 0)
    assert figures_of(out) == (figures_of(made / "24") if after else {})
    assert study_status(out).state == "complete"
    run_study(MORE, out, progress=None)
    assert figures_of(out) == figures_of(made / "24") and page_of(out)[:2] == (24, 2)


def test_without_figures_a_study_is_complete_and_report_draws_them(plain, made, capsys):
    assert study_status(plain).state == "complete" and not figures_of(plain)
    assert main(["study", "finish", str(plain), "--no-figures"]) == 0 and not figures_of(plain)
    assert main(["report", str(plain)]) == 0
    assert as_made(plain, made) and study_status(plain).state == "complete"
    assert main(["study", "finish", str(plain), "--no-figures"]) == 0 and as_made(plain, made)


def test_a_study_that_is_to_have_no_figures_forgets_a_lost_one(whole, made):
    (whole / DERIVED[1]).unlink()
    finish_study(whole, progress=None, figures=False)
    assert page_of(whole)[:2] == (12, 1) and study_status(whole).state == "complete"
    finish_study(whole, progress=None)
    assert as_made(whole, made)


# --- killed while drawing ----------------------------------------------------------------------------------


def test_a_shard_killed_while_drawing_is_completed_by_its_resubmission(made, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(upkeep, "figure_makers", small_figures_until_killed)
        run_shard(SPEC, out, Shard(1, 1), progress=None)
    status = study_status(out)
    assert (status.state, status.lacking) == ("stopped", ("figures/", "report.html"))
    assert run_shard(SPEC, out, Shard(1, 1), progress=None).state == "complete"
    assert as_made(out, made)


@pytest.mark.parametrize("template", ["plain", "24"])
def test_a_report_killed_while_drawing_is_completed_by_the_next(
    made, tmp_path, monkeypatch, template, capsys
):
    out = shutil.copytree(made / template, tmp_path / "out")
    for file in (out / "figures").glob("*"):
        file.unlink()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(upkeep, "figure_makers", small_figures_until_killed)
        main(["report", str(out)])
    assert 0 < len(figures_of(out)) < len(DERIVED) - 1
    assert main(["study", "status", str(out)]) == 0
    said = capsys.readouterr().out
    assert "stopped (no process is working on it)" in said and "report.html" in said
    assert f"  chinchilla-jax report {out}" in said
    assert main(["report", str(out)]) == 0
    whole = made / ("12" if template == "plain" else template)
    assert figures_of(out) == figures_of(whole) and page_of(out)[:2] == page_of(whole)[:2]
    assert study_status(out).state == "complete"


def test_what_a_killed_writer_left_is_removed(whole):
    (whole / "report.html").unlink()
    left = whole / "figures" / f".0123456789abcdef.{os.uname().nodename.split('.')[0]}.999999999.tmp"
    left.write_bytes(b"half a figure")
    assert main(["report", str(whole)]) == 0
    assert contents(whole).keys() == set(DERIVED) and not list((whole / "figures").glob(".*elsewhere*"))


@pytest.mark.parametrize("name", [DERIVED[-2], "report.html", "derived.json"])
def test_a_full_disk_is_one_line_and_the_next_run_completes(plain, made, monkeypatch, name, capsys):
    write = LocalDirectory.write

    def full(directory, place, *args, **options):
        if place == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(directory, place, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LocalDirectory, "write", full)
        assert main(["study", "finish", str(plain)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert (
        f"{plain}: cannot be written (No space left on device)" in said and "rerun the same command" in said
    )
    assert main(["study", "finish", str(plain)]) == 0
    assert as_made(plain, made) and study_status(plain).state == "complete"


# --- missing, empty, torn, from the future -----------------------------------------------------------------

ENDINGS = {
    "missing": None,
    "empty": lambda content: b"",
    "torn": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "another": lambda content: b"\x89PNG\r\n\x1a\n something else",
}
COMMANDS = {
    "study": lambda place: run_study(SPEC, place, progress=None),
    "finish": lambda place: finish_study(place, progress=None),
    "report": lambda place: main(["report", place]),
    "shard": lambda place: run_shard(SPEC, place, Shard(1, 1), progress=None),
}


@pytest.mark.parametrize(
    ("place", "name", "kind", "command"),
    [
        *itertools.product(["path"], [DERIVED[1]], ENDINGS, ["study"]),
        *itertools.product(["path"], ["report.html", "derived.json"], ["empty"], COMMANDS),
        ("memory", DERIVED[1], "missing", "report"),
        ("memory", "report.html", "flipped", "finish"),
        ("memory", "derived.json", "torn", "study"),
    ],
    indirect=["place"],
)
def test_every_command_remakes_what_is_not_as_it_was_written(place, made, name, kind, command):
    directory = open_directory(place)
    before = contents(place)
    content = directory.read(name)
    directory.remove(name)
    if ENDINGS[kind]:
        directory.write(name, ENDINGS[kind](content))
    status = study_status(place)
    lacking = {"derived.json": ("figures/", "report.html"), "report.html": ("report.html",)}
    # A page shows its pictures, so it is not of a directory without one either.
    assert status.lacking == lacking.get(name, (name, "report.html")) and status.state == "stopped"
    COMMANDS[command](place)
    assert contents(place) == before
    assert study_status(place).state == "complete"


def test_dates_mean_nothing(whole):
    before = contents(whole)
    page = whole / "report.html"
    page.write_bytes(before["report.html"].replace(b"12 bootstrap fits", b"99 bootstrap fits"))
    later = time.time() + 1e8
    os.utime(page, (later, later))
    run_study(SPEC, whole, progress=None)
    assert contents(whole) == before
    for name in DERIVED:
        os.utime(whole / name, (later, later))
    run_study(SPEC, whole, progress=None)
    assert all((whole / name).stat().st_mtime == later for name in DERIVED)


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_a_directory_that_was_copied_or_moved_is_complete_as_it_is(whole, tmp_path, how, monkeypatch):
    how(whole, tmp_path / "elsewhere")
    monkeypatch.setattr(upkeep, "figure_makers", small_figures_until_killed)
    monkeypatch.setattr(upkeep, "write_page", small_figures_until_killed)
    assert study_status(tmp_path / "elsewhere").state == "complete"
    assert run_study(SPEC, tmp_path / "elsewhere", progress=None).reused


def test_only_the_figure_that_is_missing_is_drawn(whole, made, monkeypatch):
    (whole / DERIVED[-2]).unlink()
    drawn = []
    monkeypatch.setattr(
        upkeep,
        "figure_makers",
        lambda study: {
            name: lambda name=name, draw=draw: (drawn.append(name), draw())[1]
            for name, draw in small_figures(study).items()
        },
    )
    others = {name: (whole / name).stat().st_mtime_ns for name in DERIVED[:-2]}
    finish_study(whole, progress=None)
    assert drawn == [NAMES[-1]] and as_made(whole, made)
    assert others == {name: (whole / name).stat().st_mtime_ns for name in others}


def test_another_version_draws_again_and_its_figures_of_another_name_go(whole, made, monkeypatch):
    fields, _ = opened_json((whole / "derived.json").read_bytes())
    fields["figures"]["made_by"] |= {"matplotlib": "0.1"}
    fields["figures"]["files"]["older_name.png"] = checksum(b"older")
    (whole / "figures" / "older_name.png").write_bytes(b"older")
    (whole / "derived.json").write_bytes(sealed_json(fields))
    run_study(SPEC, whole, progress=None)
    assert as_made(whole, made) and not (whole / "figures" / "older_name.png").exists()


def test_names_in_the_manifest_stay_in_the_folder_of_the_figures(whole, made):
    (whole.parent / "mine.png").write_bytes(b"the user's")
    fields, _ = opened_json((whole / "derived.json").read_bytes())
    fields["figures"]["files"]["../../mine.png"] = checksum(b"the user's")
    (whole / "derived.json").write_bytes(sealed_json(fields))
    run_study(MORE, whole, progress=None, figures=False)
    assert (whole.parent / "mine.png").read_bytes() == b"the user's"


# --- several processes -------------------------------------------------------------------------------------


def test_the_last_of_two_processes_leaves_figures_of_the_tables_that_are_there(whole, made, monkeypatch):
    """One draws 12 resamples while another extends the study to 24, draws these, and ends first."""
    (whole / "derived.json").unlink()
    waiting, extended = threading.Event(), threading.Event()

    def slow_figures(study):
        makers = small_figures(study)
        if study.spec.resamples == 12:
            waiting.set()
            assert extended.wait(60)
        return makers

    monkeypatch.setattr(upkeep, "figure_makers", slow_figures)
    found = []
    slow = threading.Thread(target=lambda: found.append(run_study(SPEC, whole, progress=None)))
    slow.start()
    assert waiting.wait(60)
    run_study(MORE, whole, progress=None)
    extended.set()
    slow.join(60)
    assert figures_of(whole) == figures_of(made / "24") and page_of(whole)[:2] == (24, 2)
    assert found[0].spec.resamples == 24 and study_status(whole).state == "complete"


def test_two_that_draw_the_same_leave_the_same(plain, made):
    both = [threading.Thread(target=remake, args=(open_study(plain), Progress())) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
    assert as_made(plain, made) and study_status(plain).state == "complete"


def test_a_directory_that_never_rests_is_given_up(plain, monkeypatch):
    def meddle(study, now, own):
        (study.path / "figures" / "other.png").write_bytes(os.urandom(30))
        return write_page(study, now, own)

    write_page = upkeep.write_page
    monkeypatch.setattr(upkeep, "write_page", meddle)
    monkeypatch.setattr(upkeep, "_ROUNDS", 3)
    with pytest.raises(ChinchillaError, match="keep changing"):
        run_study(SPEC, plain, progress=None)


# --- the page ----------------------------------------------------------------------------------------------


def test_the_page_says_nothing_of_pictures_that_the_study_has_not_drawn(whole, made):
    (whole / "figures" / "mine.png").write_bytes((whole / DERIVED[1]).read_bytes())
    assert study_status(whole).lacking == ("report.html",)
    run_study(SPEC, whole, progress=None)
    text = page_of(whole)[2]
    assert page_of(whole)[1] == 3 and "Mine: as found in the study&#39;s directory, not drawn by" in text
    # A study of an older version tells nothing of its figures, so they may be of other tables.
    (whole / "derived.json").unlink()
    write_report(open_study(whole))
    assert page_of(whole)[2].count("not drawn by the study.</figcaption>") == 3


def test_figures_of_other_tables_are_not_on_the_page(whole, made):
    (whole / DERIVED[1]).write_bytes((made / "24" / DERIVED[1]).read_bytes())
    write_report(open_study(whole))
    assert page_of(whole)[1] == 1


def test_a_page_elsewhere_needs_no_writing_into_a_study_that_is_whole(whole, tmp_path):
    before = {file: file.stat().st_mtime_ns for file in whole.rglob("*")}
    assert main(["report", str(whole), "--out", str(tmp_path / "page.html")]) == 0
    assert {file: file.stat().st_mtime_ns for file in whole.rglob("*")} == before
    assert (tmp_path / "page.html").stat().st_size > 10_000


# --- the tables --------------------------------------------------------------------------------------------


def test_tables_that_are_not_as_written_are_no_complete_study(whole):
    (whole / "summary" / "params.parquet").write_bytes(b"")
    status = study_status(whole)
    assert (status.state, status.lacking) == ("stopped", ("summary/params.parquet",))
    run_study(SPEC, whole, progress=None)
    assert study_status(whole).state == "complete"


def test_tables_of_other_chunks_are_made_again(whole):
    """The same chunk from another machine: the numbers are the same, the name and the bytes are not."""
    [file] = (whole / "fits").iterdir()
    table = pq.read_table(file)
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    file.unlink()
    stem = file.name.rpartition("-")[0]
    (whole / "fits" / f"{stem}-{checksum(stream.getvalue())}.parquet").write_bytes(stream.getvalue())
    assert study_status(whole).state == "stopped"
    assert finish_study(whole, progress=None).fits().shape == (12, 11)
    assert study_status(whole).state == "complete" and page_of(whole)[:2] == (12, 2)
