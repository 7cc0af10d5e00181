"""Compiled programs are kept between runs, where they may be."""

import os
import subprocess
import sys

import pytest

from chinchilla_jax._util import cache_dir as compiled_code
from chinchilla_jax._util.cache_dir import VARIABLE
from chinchilla_jax._util.kept_programs import keep_programs_of_process

CHOSEN = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture
def environment(monkeypatch, tmp_path):
    for name in (VARIABLE, CHOSEN, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        # Set first, so that whatever the code under test sets is undone as well.
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return monkeypatch


def test_on_by_default_in_the_users_cache(environment, tmp_path):
    keep_programs_of_process()
    assert os.environ[CHOSEN].startswith(str(tmp_path / "xdg" / "chinchilla_jax"))
    assert os.path.isdir(os.environ[CHOSEN])


def test_a_folder_of_ones_own(environment, tmp_path):
    environment.setenv(VARIABLE, str(tmp_path / "mine"))
    keep_programs_of_process()
    assert os.path.dirname(os.environ[CHOSEN]) == str(tmp_path / "mine")


def test_off(environment, tmp_path):
    environment.setenv(VARIABLE, "off")
    keep_programs_of_process()
    assert CHOSEN not in os.environ
    assert not (tmp_path / "xdg").exists()


def test_jaxs_own_setting_stands(environment):
    environment.setenv(CHOSEN, "elsewhere")
    keep_programs_of_process()
    assert os.environ[CHOSEN] == "elsewhere"


def test_no_place_to_write_is_no_error(environment, tmp_path):
    (tmp_path / "file").write_text("")
    environment.setenv(VARIABLE, str(tmp_path / "file"))
    keep_programs_of_process()
    assert CHOSEN not in os.environ


def test_another_processor_has_its_own_folder(environment, tmp_path):
    keep_programs_of_process()
    first = os.environ.pop(CHOSEN)
    environment.setattr(compiled_code, "processor_digest", lambda: "another")
    keep_programs_of_process()
    assert os.environ[CHOSEN] != first


FIT = [sys.executable, "-m", "chinchilla_jax", "fit", "chinchilla", "--starts", "2", "--json"]


@pytest.mark.slow
def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    # A program of XLA's: the kernel for CPUs is kept as well, see test_lane_kernel.py.
    environment = {**os.environ, VARIABLE: str(tmp_path)}
    environment.pop(CHOSEN, None)
    command = [*FIT, "--solver", "optax-lbfgs"]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    def kept():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("jit_*-cache")}

    before = kept()
    assert before
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert second.stdout == first.stdout
    assert kept() == before


PYTHON = """
import jax, chinchilla_jax as cj
names = [name for name in dir(jax.config) if "cache" in name]
before = {name: getattr(jax.config, name) for name in names}
print(cj.fit(cj.load_runs("chinchilla"), "kaplan", starts=4).objective_value)
assert before == {name: getattr(jax.config, name) for name in names}
"""


@pytest.mark.slow
def test_a_second_process_of_the_library_does_too_and_leaves_the_settings_of_jax(tmp_path):
    environment = {**os.environ, VARIABLE: str(tmp_path)}
    environment.pop(CHOSEN, None)
    command = [sys.executable, "-c", PYTHON]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("jit_float64_stage-*-cache")}
    assert len(kept) == 1
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert second.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("jit_float64_stage-*-cache")} == kept


def test_a_compilation_is_announced_before_it_begins(monkeypatch, tmp_path, capsys):
    from chinchilla_jax._util import progress_bar as progress
    from chinchilla_jax.solvers.lane_kernel import building, loading

    def compiler():
        raise RuntimeError("in place of the compiler")

    def attempt():
        assert "in place of the compiler" in str(loading._attempt.__wrapped__())
        return capsys.readouterr().err

    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(progress, "_logged", True)
    monkeypatch.setattr(building, "built", compiler)
    assert "compiling the solver, once for this machine" in attempt()
    monkeypatch.setenv(VARIABLE, "off")
    assert "in every run" in attempt()
    with progress.silenced():
        assert attempt() == ""
