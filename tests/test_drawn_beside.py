"""Figures that a second process draws are those that this one draws."""

import contextlib
import dataclasses

import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.side_process import SideProcess, SideProcessError
from chinchilla_jax.plots.save import figure_files
from chinchilla_jax.plots.study import figure_makers
from chinchilla_jax.report import drawn_beside as beside
from chinchilla_jax.study.execution import processes
from chinchilla_jax.study.execution.executors import ExecutorChoice

NAMES = ["parameters_additive", "perturbations"]


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(beside, "is_worth_it", lambda: True)


@pytest.mark.slow
def test_its_files_are_the_same_to_the_byte(small_study, two_cores):
    with SideProcess() as side, contextlib.ExitStack() as working:
        futures = beside.drawn_beside(small_study, NAMES, side, working)
        assert list(futures) == NAMES[::-1]  # from the end, where this process comes last
        found = {name: future.result() for name, future in futures.items()}
        extended = cj.open_study(small_study.location)
        extended.info = extended.info | {"n_fits": 0}
        futures = beside.drawn_beside(extended, NAMES[:1], side, working)
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
    working = contextlib.ExitStack()
    assert beside.drawn_beside(small_study, NAMES, None, working) == {}
    with pytest.raises(AssertionError):
        beside.drawn_beside(small_study, [*NAMES, *"abcd"], None, working)
    assert beside.drawn_beside(small_study, ["joint_a_b"], None, working) == {}
    monkeypatch.setattr(beside, "is_worth_it", lambda: False)
    with beside.processes_for(spec, tmp_path, threads, figures=True) as found:
        assert found == ()
