"""Figures that a second process draws are those that this one draws."""

import contextlib
import dataclasses

import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.side_process import SideProcess, SideProcessError
from chinchilla_jax.plots.save import figure_files
from chinchilla_jax.plots.study import figure_makers
from chinchilla_jax.report import drawn_beside as beside
from chinchilla_jax.report.facts import Facts
from chinchilla_jax.report.page import html
from chinchilla_jax.report.study_page import own_sections, study_page
from chinchilla_jax.study.derived import Figures, look
from chinchilla_jax.study.execution import processes
from chinchilla_jax.study.execution.executors import ExecutorChoice

NAMES = ["parameters_additive", "perturbations"]


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(beside, "is_worth_it", lambda: True)


@pytest.mark.slow
def test_its_files_are_the_same_to_the_byte(small_study, two_cores):
    with SideProcess() as side, contextlib.ExitStack() as working:
        futures = beside.Beside(side, working, page=False).figures(small_study, NAMES)
        assert list(futures) == NAMES[::-1]  # from the end, where this process comes last
        found = {name: future.result() for name, future in futures.items()}
        extended = cj.open_study(small_study.location)
        extended.info = extended.info | {"n_fits": 0}
        futures = beside.Beside(side, working, page=False).figures(extended, NAMES[:1])
        assert isinstance(futures[NAMES[0]].exception(), SideProcessError)
    for name in NAMES:
        drawn = [(name, figure_makers(small_study)[name]())]
        assert found[name] == dict(figure_files(drawn, dpi=beside.DPI, formats=beside.FORMATS))


def test_a_process_is_started_only_where_it_is_worth_it(small_study, two_cores, monkeypatch, tmp_path):
    class NoProcess:
        def __init__(self):
            raise AssertionError

    monkeypatch.setattr(beside, "SideProcess", NoProcess)
    monkeypatch.setattr(processes, "SideProcess", NoProcess)
    spec, threads = small_study.spec, ExecutorChoice(workers=2)
    computing = ExecutorChoice("processes", workers=2)
    few = dataclasses.replace(spec, sweeps=spec.sweeps[:1])
    for chosen, out, choice, figures in (
        (few, tmp_path, threads, True),
        (spec, tmp_path, threads, False),
        (spec, small_study.location, threads, True),  # complete
        (spec, small_study.location, computing, True),
        (spec, "memory://nothing/here", threads, True),
        (few, tmp_path, ExecutorChoice("processes", workers=1), True),
    ):
        with beside.processes_for(chosen, out, choice, figures=figures) as found:
            assert found == ()
    for choice, figures in ((threads, True), (computing, True), (computing, False)):
        with pytest.raises(AssertionError), beside.processes_for(spec, tmp_path, choice, figures=figures):
            pass
    alone = beside.Beside(None, contextlib.ExitStack(), page=True)
    assert alone.figures(small_study, NAMES) == {}
    with pytest.raises(AssertionError):
        alone.figures(small_study, [*NAMES, *"abcd"])
    assert alone.figures(small_study, ["joint_a_b"]) == {}
    monkeypatch.setattr(beside, "is_worth_it", lambda: False)
    with beside.processes_for(spec, tmp_path, threads, figures=True) as found:
        assert found == ()


@pytest.mark.slow
def test_the_sections_that_it_makes_are_those_of_this_process(small_study, two_cores):
    now = look(small_study.directory, small_study.info)
    drawn = dataclasses.replace(now, figures=Figures(now.figure_inputs, "", True, {}))
    with SideProcess() as side:
        both = beside.Beside(side, contextlib.ExitStack(), page=True)
        assert both.sections(small_study, drawn) is None, "it was not asked"
        both.figures(small_study, [])
        while not both._sections[1].running():
            pass
        assert both.sections(small_study, dataclasses.replace(drawn, figures=None)) is None, "no pictures"
        extended = cj.open_study(small_study.location)
        extended.info = extended.info | {"n_fits": 0}
        assert both.sections(extended, drawn) is None
        found = both.sections(small_study, drawn)
    here = dataclasses.replace(Facts(small_study).subject, pictures=True)
    page, same = (html(study_page(Facts(small_study), own)) for own in (found, own_sections(here)))
    assert page == same and found[0].stills
