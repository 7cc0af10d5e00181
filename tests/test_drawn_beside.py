"""Figures that a second process draws are those that this one draws."""

import contextlib
import dataclasses

import pytest

import chinchilla_jax as cj
from chinchilla_jax._util.side_process import SideProcess, SideProcessError
from chinchilla_jax.plots.save import figure_files
from chinchilla_jax.plots.study import figure_makers
from chinchilla_jax.report import drawn_beside as beside

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
    spec = small_study.spec
    few = dataclasses.replace(spec, sweeps=spec.sweeps[:1])
    for chosen, out, figures in (
        (few, tmp_path, True),
        (spec, tmp_path, False),
        (spec, small_study.location, True),  # complete
        (spec, "memory://nothing/here", True),
    ):
        with beside.side_process_for(chosen, out, figures=figures) as side:
            assert side is None
    with pytest.raises(AssertionError), beside.side_process_for(spec, tmp_path, figures=True):
        pass
    working = contextlib.ExitStack()
    assert beside.drawn_beside(small_study, NAMES, None, working) == {}
    with pytest.raises(AssertionError):
        beside.drawn_beside(small_study, [*NAMES, *"abcd"], None, working)
    assert beside.drawn_beside(small_study, ["joint_a_b"], side, working) == {}
    monkeypatch.setattr(beside, "is_worth_it", lambda: False)
    with beside.side_process_for(spec, tmp_path, figures=True) as side:
        assert side is None
