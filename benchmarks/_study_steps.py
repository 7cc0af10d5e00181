"""The steps of every lane of the paper study, in the calls that a device would be given; taken on this CPU.

PYTHONPATH=. python benchmarks/_study_steps.py 4000 FILE     # a pickle of what `study_calls` returns
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np

import chinchilla_jax as cj
from chinchilla_jax.solvers import requests
from chinchilla_jax.solvers.jax_newton import compiled, engine
from chinchilla_jax.solvers.jax_newton.calls import Calls
from chinchilla_jax.study.execution import planning


class Call(NamedTuple):
    """One call of the engine.

    Attributes:
        starts: of each lane.
        steps: of each lane, of all its starts.
    """

    starts: int
    steps: np.ndarray


def study_calls(resamples: int, target: str) -> list[Call]:
    """Run the study and return its calls."""
    found: list[Call] = []
    lock = threading.Lock()
    call, prepare = Calls.__call__, Calls.__init__
    limits_on = engine._limits

    def prepared(self: Calls, *arguments: Any) -> None:
        prepare(self, *arguments)
        self.sizes, self.workers = compiled.sizes(target, self.n_runs), 1

    def recorded(self: Calls, lanes: Any, starts: Any, limits: Any) -> Any:
        # In calls of the size that this CPU has compiled.
        there, self.sizes = self.sizes, compiled.sizes(self.platform, self.n_runs)
        parts = [call(self, part, starts, limits) for part in self.parts(lanes)]
        self.sizes = there
        ends = jax.tree.map(lambda *each: np.concatenate(each), *parts)
        with lock:
            found.append(Call(len(starts), ends.steps))
        return ends

    with (
        mock.patch.object(Calls, "__init__", prepared),
        mock.patch.object(Calls, "__call__", recorded),
        mock.patch.object(engine, "_limits", lambda options, law, _: limits_on(options, law, target)),
        mock.patch.object(planning, "on_device", lambda *_: True),
        mock.patch.object(requests, "on_device", lambda *_: True),
        tempfile.TemporaryDirectory() as folder,
    ):
        spec = dataclasses.replace(cj.paper_study(resamples=resamples), engine="xla")
        cj.run_study(spec, out=folder, figures=False)
    return found


if __name__ == "__main__":
    found = [tuple(call) for call in study_calls(int(sys.argv[1]), "cuda")]
    Path(sys.argv[2]).write_bytes(pickle.dumps(found))
