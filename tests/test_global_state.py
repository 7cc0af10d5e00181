"""Neither importing the library nor running studies changes the state of the process."""

import subprocess
import sys
import textwrap
import threading
import time

import matplotlib
import pytest

from chinchilla_jax.plots.styles import style

STATE = """
import gc, importlib, json, locale, logging, os, pkgutil, random, signal, socket, sys, threading, warnings
import jax, matplotlib, matplotlib.pyplot, numpy as np, pandas as pd

def state():
    loggers = [logging.getLogger(name) for name in ("", "jax", "matplotlib", "chinchilla_jax", "numba")]
    return {
        "jax": {name: repr(value) for name, value in jax.config.values.items()},
        "warnings": (repr(warnings.filters), repr(warnings.showwarning)),
        "matplotlib": {name: repr(value) for name, value in matplotlib.rcParams.items()},
        "figures": matplotlib.pyplot.get_fignums(),
        "logging": [(log.level, repr(log.handlers), log.propagate, log.disabled) for log in loggers],
        "numpy": (np.geterr(), np.get_printoptions(), repr(np.random.get_state())),
        "pandas": repr([pd.get_option(name) for name in ("display.precision", "mode.string_storage")]),
        "random": repr(random.getstate()),
        "environment": dict(os.environ),
        "signals": {str(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "locale": locale.setlocale(locale.LC_ALL),
        "python": (sys.path[:], repr(sys.excepthook), sys.getrecursionlimit(), sys.getswitchinterval()),
        "gc": (gc.isenabled(), gc.get_threshold()),
        "socket": socket.getdefaulttimeout(),
        "folder": os.getcwd(),
        "threads": sorted(t.name for t in threading.enumerate() if not t.daemon),
    }

def changed(before):
    after = state()
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}
"""


def in_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", STATE + textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


@pytest.mark.slow
def test_importing_every_module_changes_nothing():
    found = in_python("""
        before = state()
        import chinchilla_jax
        modules = [found.name for found in pkgutil.walk_packages(chinchilla_jax.__path__, "chinchilla_jax.")]
        for name in modules:
            if not name.endswith("__main__"):
                importlib.import_module(name)
        print(len(modules) > 100, changed(before))
    """)
    assert found == "True {}\n"


@pytest.mark.slow
def test_studies_in_threads_change_nothing(tmp_path):
    found = in_python(
        """
        from concurrent.futures import ThreadPoolExecutor
        before = state()
        import chinchilla_jax as cj
        from chinchilla_jax.study import Sweep
        np.random.seed(5)
        before["numpy"] = state()["numpy"]
        noise = Sweep(family="log_normal_noise", values=(0.3,))
        specs = [cj.StudySpec(sweeps=(noise,), resamples=8, seed=s, flops=(1e20, 1e24)) for s in range(2)]
        with ThreadPoolExecutor(2) as pool:
            runs = [
                pool.submit(cj.run_study, spec, f"{sys.argv[1]}/{spec.seed}", figures=False) for spec in specs
            ]
            print([run.result().info["state"] for run in runs])
        print(changed(before))
        """,
        tmp_path,
    )
    assert found == "['complete', 'complete']\n{}\n"


def test_two_threads_draw_in_the_style_and_leave_the_callers():
    """The settings of matplotlib are of the process: what one thread puts back, another would lose."""
    before, inside, seen = dict(matplotlib.rcParams), threading.Event(), []

    def first():
        with style():
            inside.set()
            time.sleep(0.1)

    def second():
        inside.wait()
        with style():
            time.sleep(0.2)
            seen.append(matplotlib.rcParams["legend.handlelength"])

    threads = [threading.Thread(target=draw) for draw in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1.8]
    assert dict(matplotlib.rcParams) == before
