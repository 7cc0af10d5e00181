"""The failpoints of benchmarks/faults.py strike what they say, and an atomic write survives each."""

import errno
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FAULTS = ROOT / "benchmarks" / "_faults"
_spec = importlib.util.spec_from_file_location("failpoints", FAULTS / "failpoints.py")
failpoints = importlib.util.module_from_spec(_spec)
sys.modules["failpoints"] = failpoints
_spec.loader.exec_module(failpoints)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
PROGRAM = """
import sys
from pathlib import Path
from chinchilla_jax._util.atomic_write import atomic_write
with atomic_write(Path(sys.argv[1])) as stream:
    stream.write(b"new " * 1000)
"""
OLD, NEW = b"old", b"new " * 1000


def strike(tmp_path, at, deed):
    """A write of one file; its exit code, what it said, and its points as (kind, deed)."""
    folder, log = tmp_path / "out", tmp_path / "log"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_bytes(OLD)
    plan = failpoints.Plan((str(folder),), at, deed, str(log))
    path = os.pathsep.join([str(FAULTS / "injected"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, failpoints.VARIABLE: plan.to_json()}
    command = [sys.executable, "-c", PROGRAM, str(folder / "file")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    points = [json.loads(line) for line in log.read_text().splitlines()]
    return done.returncode, done.stderr, [(kind, deed) for _, kind, _, deed in points]


@pytest.mark.slow
def test_every_deed_at_every_point_leaves_the_old_file_or_the_new(tmp_path):
    code, _, points = strike(tmp_path, -1, "")
    kinds = [kind for kind, _ in points]
    assert code == 0 and {"open", "write", "sync", "rename"} <= set(kinds)
    for at, kind in enumerate(kinds[: kinds.index("rename") + 1]):
        for deed in failpoints.deeds(kind):
            place = tmp_path / f"{at}-{deed.replace(' ', '-')}"
            place.mkdir()
            code, said, struck = strike(place, at, deed)
            assert (kind, deed) in struck
            content = (place / "out" / "file").read_bytes()
            assert content in (OLD, NEW)
            if deed in failpoints.KILLS:
                assert code == -9
            elif deed == failpoints.SHORT:
                assert code == 0 and content == NEW
            else:
                number = failpoints.ERRORS[deed]
                assert code == 1 and os.strerror(number) in said and content == OLD


def test_a_plan_names_known_deeds():
    for kind in ("open", "write", "sync", "rename", "remove", "mkdir", "spawn", "remote"):
        assert set(failpoints.deeds(kind)) <= set(failpoints.EVERY)
    assert failpoints.ERRORS["ENOSPC"] == errno.ENOSPC
